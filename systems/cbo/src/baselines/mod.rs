//! Methods that consensus-based optimisation is compared with.

mod langevin;

pub use langevin::langevin;
