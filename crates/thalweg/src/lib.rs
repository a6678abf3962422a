//! Optimisation beyond the plain gradient: one library, every system behind a feature
