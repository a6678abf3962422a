//! The few dense operations that all files share, in `faer`'s terms.

use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef, Side};
use thalweg_core::zero_upper;

/// `(A + Aᵀ)/2`.
pub(crate) fn symmetric(a: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| 0.5 * (a[(i, j)] + a[(j, i)]))
}

/// `Aᵀ S A` for symmetric S.
pub(crate) fn congruence(a: &Mat<f64>, s: &Mat<f64>) -> Mat<f64> {
    let product = a.transpose() * (s * a);
    zero_upper();
    symmetric(&product)
}

/// `A B` where that is known to be symmetric: half the work.
pub(crate) fn symmetric_product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    use faer::linalg::matmul::triangular::{BlockStructure::*, matmul};
    let n = a.nrows();
    let mut c = Mat::zeros(n, n);
    let threads = faer::get_global_parallelism();
    matmul(c.as_mut(), TriangularLower, faer::Accum::Replace, a, Rectangular, b, Rectangular, 1.0, threads);
    zero_upper();
    for j in 0..n {
        for i in 0..j {
            c[(i, j)] = c[(j, i)];
        }
    }
    c
}

/// The rows of A, each multiplied by its number.
pub(crate) fn scale_rows(a: &Mat<f64>, by: impl Fn(usize) -> f64) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| by(i) * a[(i, j)])
}

/// The lower triangular factor L of `A = L Lᵀ`, unless A is not positive definite.
pub(crate) fn cholesky(a: &Mat<f64>) -> Option<Mat<f64>> {
    let factor = a.llt(Side::Lower).ok()?.L().to_owned();
    zero_upper();
    (0..a.nrows()).all(|i| factor[(i, i)].is_finite()).then_some(factor)
}

/// `A⁻¹ B` for positive definite A.
pub(crate) fn solve(a: &Mat<f64>, b: MatRef<'_, f64>) -> Option<Mat<f64>> {
    let x = a.llt(Side::Lower).ok()?.solve(b);
    zero_upper();
    Some(x)
}

/// Eigenvalues of a symmetric matrix, ascending; not a number if it has none.
pub(crate) fn eigenvalues(a: &Mat<f64>) -> Vec<f64> {
    let values = a.self_adjoint_eigenvalues(Side::Lower);
    zero_upper();
    values.unwrap_or_else(|_| vec![f64::NAN; a.nrows()])
}

/// Largest eigenvalue of a symmetric matrix.
pub(crate) fn lambda_max(a: &Mat<f64>) -> f64 {
    eigenvalues(a).last().copied().unwrap_or(0.0)
}

/// ‖A‖₂, not rounded: for starts and estimates, never for a proof.
pub(crate) fn norm2(a: &Mat<f64>) -> f64 {
    let gram = if a.nrows() <= a.ncols() { a * a.transpose() } else { a.transpose() * a };
    lambda_max(&gram).max(0.0).sqrt()
}

/// Columns `from..to`.
pub(crate) fn columns(a: &Mat<f64>, from: usize, to: usize) -> Mat<f64> {
    a.subcols(from, to - from).to_owned()
}

/// A matrix from rows.
pub fn matrix(rows: &[&[f64]]) -> Mat<f64> {
    Mat::from_fn(rows.len(), rows.first().map_or(0, |r| r.len()), |i, j| rows[i][j])
}

/// `A x` for a slice.
pub(crate) fn apply(a: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; a.nrows()];
    for (j, &x) in x.iter().enumerate() {
        for (y, a) in y.iter_mut().zip(a.col_as_slice(j)) {
            *y += a * x;
        }
    }
    y
}
