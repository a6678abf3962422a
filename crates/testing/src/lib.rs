//! What tests, benches and examples in documentation share. Everything here panics where a test would.
//!
//! ```
//! use thalweg_testing::{close, gradient};
//! let f = |x: &[f64]| x[0] * x[0] * x[1];
//! close(&gradient(f, &[3.0, 2.0], 1e-5), &[12.0, 9.0], 1e-9);
//! ```
#![forbid(unsafe_code)]

mod bits;
mod bowl;
mod differences;
mod random;
mod regression;
mod shared;

pub use bits::{bits, close, on_threads, same_bits};
pub use bowl::{Bad, Bowl};
pub use differences::{gradient, moved, product, slope};
pub use random::{covariance, gaussian, normals, orthogonal};
pub use regression::Regression;
pub use shared::shared_data;
