//! Eigenvalues and eigenvectors of symmetric matrices, and how close such a matrix is to one vector.

use faer::MatRef;
use thalweg_core::MethodError;
use thalweg_linalg::dense::{self, Cholesky, Eigen};
use thalweg_linalg::iterative::power_iteration;
use thalweg_linalg::vector::{dot, square};

/// Eigenvalues of the symmetric row-major `[d, d]` matrix, ascending.
pub fn eigenvalues(matrix: &[f64], d: usize) -> Result<Vec<f64>, MethodError> {
    if d == 0 {
        return Ok(Vec::new());
    }
    dense::eigenvalues(MatRef::from_row_major_slice(matrix, d, d)).map_err(|_| no_convergence(d))
}

/// Eigenvalues of the symmetric row-major `[d, d]` matrix, ascending, and the eigenvectors as the
/// columns of a row-major `[d, d]` matrix.
pub fn eigen(matrix: &[f64], d: usize) -> Result<(Vec<f64>, Vec<f64>), MethodError> {
    let eigen = Eigen::new(MatRef::from_row_major_slice(matrix, d, d));
    let Eigen { values, vectors } = eigen.map_err(|_| no_convergence(d))?;
    Ok((values, (0..d * d).map(|at| vectors[(at / d, at % d)]).collect()))
}

/// The inverse of the symmetric positive definite row-major `[d, d]` matrix, row-major: what K-FAC
/// without eigen-decompositions computes, to compare with.
pub fn cholesky_inverse(matrix: &[f64], d: usize) -> Result<Vec<f64>, MethodError> {
    let factor = Cholesky::new(MatRef::from_row_major_slice(matrix, d, d));
    let singular = |_| MethodError::Problem(format!("a {d} × {d} factor is not positive definite").into());
    let inverse = factor.map_err(singular)?.inverse();
    Ok((0..d * d).map(|at| inverse[(at / d, at % d)]).collect())
}

/// The leading eigenpair (λ, u) of the positive semidefinite row-major matrix `c`, after that many
/// power iterations from `start`, or from the column of the largest variance if that is 0.
pub fn leading(c: &[f64], start: &[f64], iterations: u32) -> (f64, Vec<f64>) {
    let d = start.len();
    let mut u = start.to_vec();
    if square(&u) == 0.0 {
        let largest = (0..d).max_by(|&i, &j| c[i * d + i].total_cmp(&c[j * d + j])).unwrap_or(0);
        u.copy_from_slice(&c[largest * d..(largest + 1) * d]);
    }
    power_iteration(&mut u, iterations as usize, |u| square(u).sqrt(), |u| times(c, u));
    (dot(&u, &times(c, &u)), u)
}

/// ‖C − vvᵀ‖/‖C‖ in the Frobenius norm: of the mean `v`, and of the best vector there is. 0 for
/// C = 0.
pub fn rank_one_errors(c: &[f64], v: &[f64]) -> (f64, f64) {
    let size = square(c);
    if size == 0.0 {
        return (0.0, 0.0);
    }
    let error = |excess: f64| ((size + excess).max(0.0) / size).sqrt();
    let (lambda, _) = leading(c, v, 100);
    (error(square(v).powi(2) - 2.0 * dot(v, &times(c, v))), error(-lambda * lambda))
}

fn times(c: &[f64], v: &[f64]) -> Vec<f64> {
    c.chunks(v.len()).map(|row| dot(row, v)).collect()
}

fn no_convergence(d: usize) -> MethodError {
    let error = format!(
        "the eigenvalues of a {d} × {d} factor did not converge; lower the learning rate or exclude the layer"
    );
    MethodError::Problem(error.into())
}
