//! What the convex program is compared with: the ADMM and the block coordinate descent as published,
//! training by gradients, linear models.

mod gradient;
mod linear;
pub(crate) mod paper;
mod rbcd;

pub use gradient::Training;
pub use linear::linear;
pub use paper::{AdmmPaper, DenseProgram, PaperState};
pub use rbcd::{BlockProgram, Rbcd, RbcdState};
