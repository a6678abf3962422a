//! Small dense factorisations in double precision, by faer, on one thread.

use faer::linalg::triangular_solve as solve;
use faer::{Col, Mat, MatMut, Par, Side};
use thalweg_core::zero_upper;

/// The lower Cholesky factor of a matrix given by its lower triangle; `None` if a pivot is not
/// positive.
pub(crate) fn cholesky(a: &Mat<f64>) -> Option<Mat<f64>> {
    let factor = a.llt(Side::Lower).ok().map(|llt| llt.L().to_owned());
    zero_upper();
    factor
}

/// Adds `x` to the diagonal.
pub(crate) fn shift(a: &mut Mat<f64>, x: f64) {
    (0..a.nrows()).for_each(|i| a[(i, i)] += x);
}

/// `b ← L⁻¹ b`.
pub(crate) fn forward(l: &Mat<f64>, b: MatMut<'_, f64>) {
    solve::solve_lower_triangular_in_place(l.as_ref(), b, Par::Seq);
    zero_upper();
}

/// (L Lᵀ)⁻¹ b.
pub(crate) fn solved(l: &Mat<f64>, b: &[f64]) -> Vec<f64> {
    let mut x = Col::from_fn(b.len(), |i| b[i]);
    solve::solve_lower_triangular_in_place(l.as_ref(), x.as_mat_mut(), Par::Seq);
    solve::solve_upper_triangular_in_place(l.transpose(), x.as_mat_mut(), Par::Seq);
    x.iter().copied().collect()
}
