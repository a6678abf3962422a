//! Eigenvalues and eigenvectors of symmetric matrices, and how close such a matrix is to one vector.

use faer::linalg::solvers::DenseSolveCore;
use faer::{MatRef, Side};
use thalweg_core::MethodError;

/// Eigenvalues of the symmetric row-major `[d, d]` matrix, ascending.
pub fn eigenvalues(matrix: &[f64], d: usize) -> Result<Vec<f64>, MethodError> {
    if d == 0 {
        return Ok(Vec::new());
    }
    let values = MatRef::from_row_major_slice(matrix, d, d).self_adjoint_eigenvalues(Side::Lower);
    values.map_err(|_| no_convergence(d))
}

/// Eigenvalues of the symmetric row-major `[d, d]` matrix, ascending, and the eigenvectors as the
/// columns of a row-major `[d, d]` matrix.
pub fn eigen(matrix: &[f64], d: usize) -> Result<(Vec<f64>, Vec<f64>), MethodError> {
    let eigen = MatRef::from_row_major_slice(matrix, d, d).self_adjoint_eigen(Side::Lower);
    let eigen = eigen.map_err(|_| no_convergence(d))?;
    let (values, vectors) = (eigen.S().column_vector(), eigen.U());
    let values = (0..d).map(|i| values[i]).collect();
    Ok((values, (0..d * d).map(|at| vectors[(at / d, at % d)]).collect()))
}

/// The inverse of the symmetric positive definite row-major `[d, d]` matrix, row-major: what K-FAC
/// without eigen-decompositions computes, to compare with.
pub fn cholesky_inverse(matrix: &[f64], d: usize) -> Result<Vec<f64>, MethodError> {
    let factor = MatRef::from_row_major_slice(matrix, d, d).llt(Side::Lower);
    let singular = |_| MethodError::Problem(format!("a {d} × {d} factor is not positive definite").into());
    let inverse = factor.map_err(singular)?.inverse();
    Ok((0..d * d).map(|at| inverse[(at / d, at % d)]).collect())
}

/// The leading eigenpair (λ, u) of the positive semidefinite row-major matrix `c`, after that many
/// power iterations from `start`, or from the column of the largest variance if that is 0.
pub fn leading(c: &[f64], start: &[f64], iterations: u32) -> (f64, Vec<f64>) {
    let d = start.len();
    let mut u = start.to_vec();
    if norm(&u) == 0.0 {
        let largest = (0..d).max_by(|&i, &j| c[i * d + i].total_cmp(&c[j * d + j])).unwrap_or(0);
        u.copy_from_slice(&c[largest * d..(largest + 1) * d]);
    }
    let unit = |u: &mut [f64]| {
        let length = norm(u);
        u.iter_mut().for_each(|u| *u /= if length > 0.0 { length } else { 1.0 });
    };
    unit(&mut u);
    for _ in 0..iterations {
        u = times(c, &u);
        unit(&mut u);
    }
    (inner(&u, &times(c, &u)), u)
}

/// ‖C − vvᵀ‖/‖C‖ in the Frobenius norm: of the mean `v`, and of the best vector there is. 0 for
/// C = 0.
pub fn rank_one_errors(c: &[f64], v: &[f64]) -> (f64, f64) {
    let square = inner(c, c);
    if square == 0.0 {
        return (0.0, 0.0);
    }
    let error = |excess: f64| ((square + excess).max(0.0) / square).sqrt();
    let (lambda, _) = leading(c, v, 100);
    (error(inner(v, v).powi(2) - 2.0 * inner(v, &times(c, v))), error(-lambda * lambda))
}

fn times(c: &[f64], v: &[f64]) -> Vec<f64> {
    c.chunks(v.len()).map(|row| inner(row, v)).collect()
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    thalweg_linalg::vector::dot(a, b)
}

fn norm(v: &[f64]) -> f64 {
    inner(v, v).sqrt()
}

fn no_convergence(d: usize) -> MethodError {
    let error = format!(
        "the eigenvalues of a {d} × {d} factor did not converge; lower the learning rate or exclude the layer"
    );
    MethodError::Problem(error.into())
}
