//! Other people's preconditioners on the same layers: K-FAC in its eigenvalue form, and Eva.

mod eva;
mod kfac;

pub use eva::{Eva, Means};
pub use kfac::{Covariances, Kfac};
