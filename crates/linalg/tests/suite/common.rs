//! Random numbers and plain loops.

use faer::Mat;
use thalweg_core::{Seed, normal};

pub fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut x = vec![0.0; n];
    normal(&mut Seed(seed).stream("test", 0), &mut x);
    x
}

pub fn matrix(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let x = numbers(rows * columns, seed);
    Mat::from_fn(rows, columns, |i, j| x[i * columns + j])
}

/// AB by its definition.
pub fn naive(a: &Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
    let entry = |i, j| (0..a.ncols()).map(|k| a[(i, k)] * b[(k, j)]).sum();
    Mat::from_fn(a.nrows(), b.ncols(), entry)
}

pub fn transposed(a: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(a.ncols(), a.nrows(), |i, j| a[(j, i)])
}

/// AAᵀ + I.
pub fn positive(n: usize, seed: u64) -> Mat<f64> {
    let a = matrix(n, n, seed);
    naive(&a, &transposed(&a)) + Mat::<f64>::identity(n, n)
}

#[track_caller]
pub fn close(a: &Mat<f64>, b: &Mat<f64>) {
    assert_eq!((a.nrows(), a.ncols()), (b.nrows(), b.ncols()));
    for j in 0..a.ncols() {
        for i in 0..a.nrows() {
            assert!((a[(i, j)] - b[(i, j)]).abs() < 1e-9, "({i}, {j}): {} and {}", a[(i, j)], b[(i, j)]);
        }
    }
}
