//! The linear algebra that several systems share.
//!
//! - [`dense`]: products, factorisations and eigenvalues by `faer`, which is called here alone;
//!   [`faer::Mat`] is the matrix type everywhere.
//! - [`vector`]: loops over vectors, in pieces of fixed size, and sums whose order is part of their name.
//! - [`sparse`]: compressed rows.
//! - [`quasi_newton`]: the pairs of L-BFGS and the two-loop recursion.
//! - [`iterative`]: the power iteration.
//!
//! Nothing here depends on the number of threads.
//!
//! ```
//! use faer::Mat;
//! use thalweg_linalg::dense::{Cholesky, product};
//!
//! let a: Mat<f64> = Mat::from_fn(3, 3, |i, j| if i == j { 4.0 } else { 1.0 });
//! let b = Mat::from_fn(3, 1, |i, _| i as f64);
//! let x = Cholesky::new(&a).unwrap().solve(&b);
//! assert!((product(&a, &x) - b).norm_max() < 1e-15);
//! ```
#![forbid(unsafe_code)]

pub mod dense;
pub mod iterative;
pub mod quasi_newton;
mod simd;
pub mod sparse;
pub mod vector;
