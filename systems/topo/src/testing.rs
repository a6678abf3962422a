//! What the crate's own tests share.

use faer::Mat;
use thalweg_core::{Seed, normal};
use thalweg_linalg::dense::product;

/// A matrix of standard normal numbers.
pub(crate) fn gaussian(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let mut data = vec![0.0; rows * columns];
    normal(&mut Seed(seed).stream("test", 0), &mut data);
    Mat::from_fn(rows, columns, |i, j| data[i * columns + j])
}

/// A covariance matrix without structure.
pub(crate) fn covariance(d: usize, seed: u64) -> Mat<f64> {
    let x = gaussian(3 * d, d, seed);
    let s = product(x.transpose(), &x);
    Mat::from_fn(d, d, |i, j| s[(i, j)] / (3 * d) as f64)
}
