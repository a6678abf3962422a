//! Dense matrices by `faer`. Every function clears the vector registers that faer leaves in use, so
//! that what follows runs at full speed; matrices are given as they are, as references or as views.
#![allow(clippy::disallowed_methods, reason = "here faer is called, and nowhere else")]

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::solvers::{DenseSolveCore, Llt, PartialPivLu, Solve};
use faer::linalg::{matmul, triangular_solve};
use faer::mat::{AsMatMut, AsMatRef};
use faer::traits::ComplexField;
use faer::{Accum, Col, Mat, MatMut, MatRef, Par, Side};

use crate::simd::cleared;

/// A matrix, a reference to one, or a view.
pub trait Dense<T = f64>: AsMatRef<T = T, Rows = usize, Cols = usize> {}

impl<T, M: AsMatRef<T = T, Rows = usize, Cols = usize>> Dense<T> for M {}

/// An iteration for eigenvalues or singular values that did not come to its end: the matrix has
/// entries that are not finite or are badly scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the iteration for eigenvalues or singular values did not converge; rescale the matrix")]
pub struct NoConvergence;

/// A matrix whose Cholesky factorisation met a pivot ≤ 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the matrix is not positive definite; add to its diagonal")]
pub struct NotPositive;

// Products.

/// A B: `[m, k] × [k, n]`.
///
/// # Panics
/// Shapes that do not fit.
pub fn product<T: ComplexField>(a: impl Dense<T>, b: impl Dense<T>) -> Mat<T> {
    let (a, b) = (a.as_mat_ref(), b.as_mat_ref());
    let mut c = Mat::zeros(a.nrows(), b.ncols());
    multiply(c.as_mut(), Accum::Replace, a, b);
    c
}

/// C ← A B, or C ← C + A B: `[m, n]`, `[m, k]`, `[k, n]`; on one thread, without allocation.
///
/// # Panics
/// Shapes that do not fit.
pub fn multiply<T: ComplexField>(c: MatMut<'_, T>, accum: Accum, a: impl Dense<T>, b: impl Dense<T>) {
    cleared(|| matmul::matmul(c, accum, a.as_mat_ref(), b.as_mat_ref(), T::one_impl(), Par::Seq));
}

/// The lower triangle of C ← s A B, or of C ← C + s A B: `[n, n]`, `[n, k]`, `[k, n]`. The rest of C stays
/// as it is.
///
/// # Panics
/// Shapes that do not fit.
pub fn multiply_lower(c: MatMut<'_, f64>, accum: Accum, a: impl Dense, b: impl Dense, s: f64) {
    use BlockStructure::{Rectangular, TriangularLower};
    let (a, b) = (a.as_mat_ref(), b.as_mat_ref());
    cleared(|| {
        triangular::matmul(c, TriangularLower, accum, a, Rectangular, b, Rectangular, s, Par::Seq);
    });
}

/// A B, `[n, k] × [k, n]`, where that is known to be symmetric: half the work.
///
/// # Panics
/// Shapes that do not fit.
pub fn symmetric_product(a: impl Dense, b: impl Dense) -> Mat<f64> {
    let n = a.as_mat_ref().nrows();
    let mut c = Mat::zeros(n, n);
    multiply_lower(c.as_mut(), Accum::Replace, a, b, 1.0);
    for j in 0..n {
        for i in 0..j {
            c[(i, j)] = c[(j, i)];
        }
    }
    c
}

/// Aᵀ S A for A `[m, n]` and symmetric S `[m, m]`: symmetric, `[n, n]`.
///
/// # Panics
/// Shapes that do not fit.
pub fn congruence(a: &Mat<f64>, s: &Mat<f64>) -> Mat<f64> {
    symmetric(&product(a.transpose(), product(s, a)))
}

/// A x, `[m, n] × [n]`, column by column from the left.
///
/// # Panics
/// More numbers than columns.
pub fn apply(a: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; a.nrows()];
    for (j, &x) in x.iter().enumerate() {
        for (y, a) in y.iter_mut().zip(a.col_as_slice(j)) {
            *y += a * x;
        }
    }
    y
}

// Entries.

/// A matrix from its rows, which are of one length.
pub fn from_rows(rows: &[&[f64]]) -> Mat<f64> {
    Mat::from_fn(rows.len(), rows.first().map_or(0, |r| r.len()), |i, j| rows[i][j])
}

/// (A + Aᵀ)/2 of a square A.
pub fn symmetric(a: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| 0.5 * (a[(i, j)] + a[(j, i)]))
}

/// diag(by) A: row i times `by(i)`.
pub fn scale_rows(a: &Mat<f64>, by: impl Fn(usize) -> f64) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| by(i) * a[(i, j)])
}

/// A ← A + x I of a square A.
pub fn shift(a: &mut Mat<f64>, x: f64) {
    (0..a.nrows()).for_each(|i| a[(i, i)] += x);
}

// Factorisations.

/// A = L Lᵀ of a positive definite matrix `[n, n]`.
#[derive(Clone, Debug)]
pub struct Cholesky(Llt<f64>);

impl Cholesky {
    /// Reads the lower triangle alone. Numbers that are not finite may go through.
    ///
    /// # Errors
    /// A pivot that is not positive.
    pub fn new(a: impl Dense) -> Result<Self, NotPositive> {
        cleared(|| Llt::new(a.as_mat_ref(), Side::Lower)).map(Self).map_err(|_| NotPositive)
    }

    /// L, `[n, n]`, with zeros above the diagonal.
    pub fn lower(&self) -> MatRef<'_, f64> {
        self.0.L()
    }

    /// A⁻¹ B, `[n, k]`.
    ///
    /// # Panics
    /// Another number of rows than A has.
    pub fn solve(&self, b: impl Dense) -> Mat<f64> {
        cleared(|| self.0.solve(b.as_mat_ref()))
    }

    /// B ← A⁻¹ B, `[n, k]`.
    ///
    /// # Panics
    /// Another number of rows than A has.
    pub fn solve_in_place(&self, mut b: impl AsMatMut<T = f64, Rows = usize, Cols = usize>) {
        cleared(|| self.0.solve_in_place(b.as_mat_mut()));
    }

    /// A⁻¹.
    pub fn inverse(&self) -> Mat<f64> {
        cleared(|| self.0.inverse())
    }
}

/// L of A = L Lᵀ, `[n, n]` with zeros above the diagonal, unless A is not positive definite or its factor
/// is not finite. Reads the lower triangle alone.
pub fn cholesky(a: impl Dense) -> Option<Mat<f64>> {
    let factor = Cholesky::new(a).ok()?.lower().to_owned();
    (0..factor.nrows()).all(|i| factor[(i, i)].is_finite()).then_some(factor)
}

/// A⁻¹ B, `[n, n]⁻¹ × [n, k]`, unless A is not positive definite.
pub fn solve(a: impl Dense, b: impl Dense) -> Option<Mat<f64>> {
    Cholesky::new(a).ok().map(|factor| factor.solve(b))
}

/// A⁻¹ b for a positive semidefinite A, `[n, n]⁻¹ × [n]`, row by row: a pivot that vanishes counts as
/// infinite, which leaves that unknown 0.
pub fn solve_semidefinite(a: &Mat<f64>, b: &[f64]) -> Vec<f64> {
    let m = b.len();
    // Lower factor by rows.
    let mut l = vec![0.0; m * m];
    let mut x = b.to_vec();
    for i in 0..m {
        for j in 0..=i {
            let (ri, rj) = (&l[i * m..i * m + j], &l[j * m..j * m + j]);
            let rest = a[(i, j)] - ri.iter().zip(rj).map(|(p, q)| p * q).sum::<f64>();
            l[i * m + j] = match i == j {
                true if rest <= 1e-13 * a[(i, i)] => f64::INFINITY,
                true => rest.sqrt(),
                false => rest / l[j * m + j],
            };
        }
        let known: f64 = (0..i).map(|j| l[i * m + j] * x[j]).sum();
        x[i] = (x[i] - known) / l[i * m + i];
    }
    for i in (0..m).rev() {
        let known: f64 = (i + 1..m).map(|j| l[j * m + i] * x[j]).sum();
        x[i] = (x[i] - known) / l[i * m + i];
    }
    x
}

/// B ← L⁻¹ B for a lower triangular L: `[n, n]`, `[n, k]`; on one thread.
///
/// # Panics
/// Shapes that do not fit.
pub fn solve_lower(l: impl Dense, b: MatMut<'_, f64>) {
    cleared(|| triangular_solve::solve_lower_triangular_in_place(l.as_mat_ref(), b, Par::Seq));
}

/// B ← U⁻¹ B for an upper triangular U: `[n, n]`, `[n, k]`; on one thread.
///
/// # Panics
/// Shapes that do not fit.
pub fn solve_upper(u: impl Dense, b: MatMut<'_, f64>) {
    cleared(|| triangular_solve::solve_upper_triangular_in_place(u.as_mat_ref(), b, Par::Seq));
}

/// (L Lᵀ)⁻¹ b for the lower triangular L `[n, n]` of a Cholesky factorisation.
///
/// # Panics
/// Another number of elements than L has rows.
pub fn solve_factored(l: &Mat<f64>, b: &[f64]) -> Vec<f64> {
    let mut x = Col::from_fn(b.len(), |i| b[i]);
    solve_lower(l, x.as_mat_mut());
    solve_upper(l.transpose(), x.as_mat_mut());
    x.iter().copied().collect()
}

/// P A = L U of a square matrix `[n, n]`, with partial pivoting.
#[derive(Clone, Debug)]
pub struct Lu(PartialPivLu<f64>);

impl Lu {
    /// Of any square matrix; where it is singular, what follows is not finite.
    ///
    /// # Panics
    /// A matrix that is not square.
    pub fn new(a: impl Dense) -> Self {
        Self(cleared(|| PartialPivLu::new(a.as_mat_ref())))
    }

    /// log |det A|.
    pub fn log_det(&self) -> f64 {
        let u = self.0.U();
        (0..u.nrows()).map(|i| u[(i, i)].abs().ln()).sum()
    }

    /// A⁻¹ B, `[n, k]`.
    ///
    /// # Panics
    /// Another number of rows than A has.
    pub fn solve(&self, b: impl Dense) -> Mat<f64> {
        cleared(|| self.0.solve(b.as_mat_ref()))
    }

    /// A⁻¹.
    pub fn inverse(&self) -> Mat<f64> {
        cleared(|| self.0.inverse())
    }
}

/// Q of A = Q R, `[m, min(m, n)]`: orthonormal columns.
pub fn thin_q(a: impl Dense) -> Mat<f64> {
    cleared(|| a.as_mat_ref().qr().compute_thin_Q())
}

/// R of A = Q R, `[min(m, n), n]`: upper triangular.
pub fn thin_r(a: impl Dense) -> Mat<f64> {
    cleared(|| a.as_mat_ref().qr().thin_R().to_owned())
}

// Spectra.

/// A = V diag(λ) Vᵀ of a symmetric matrix `[n, n]`.
#[derive(Clone, Debug)]
pub struct Eigen {
    /// Eigenvalues λ, ascending.
    pub values: Vec<f64>,
    /// Eigenvectors V as columns, `[n, n]`, in the same order.
    pub vectors: Mat<f64>,
}

impl Eigen {
    /// Reads the lower triangle alone.
    ///
    /// # Errors
    /// No convergence.
    ///
    /// # Panics
    /// A matrix that is not square.
    pub fn new(a: impl Dense) -> Result<Self, NoConvergence> {
        let eigen = cleared(|| a.as_mat_ref().self_adjoint_eigen(Side::Lower)).map_err(|_| NoConvergence)?;
        let values = eigen.S().column_vector().iter().copied().collect();
        Ok(Self { values, vectors: eigen.U().to_owned() })
    }
}

/// The eigenvalues of a symmetric matrix, ascending, from its lower triangle.
///
/// # Errors
/// No convergence.
///
/// # Panics
/// A matrix that is not square.
pub fn eigenvalues(a: impl Dense) -> Result<Vec<f64>, NoConvergence> {
    let values = cleared(|| a.as_mat_ref().self_adjoint_eigenvalues(Side::Lower));
    values.ok().filter(|values| values.iter().all(|v| v.is_finite())).ok_or(NoConvergence)
}

/// The smallest eigenvalue of a symmetric matrix; 0 if it is empty, not a number if there is none.
pub fn lambda_min(a: impl Dense) -> f64 {
    eigenvalues(a).map_or(f64::NAN, |values| values.first().copied().unwrap_or(0.0))
}

/// The largest eigenvalue of a symmetric matrix; 0 if it is empty, not a number if there is none.
pub fn lambda_max(a: impl Dense) -> f64 {
    eigenvalues(a).map_or(f64::NAN, |values| values.last().copied().unwrap_or(0.0))
}

/// ρ(A): the largest absolute value of the eigenvalues of any square matrix.
///
/// # Errors
/// No convergence.
///
/// # Panics
/// A matrix that is not square.
pub fn spectral_radius(a: impl Dense) -> Result<f64, NoConvergence> {
    let all = cleared(|| a.as_mat_ref().eigenvalues()).map_err(|_| NoConvergence)?;
    Ok(all.iter().map(|z| z.re.hypot(z.im)).fold(0.0, f64::max))
}

/// ‖A‖₂ by the smaller of AAᵀ and AᵀA, not rounded: for starts and estimates, never for a proof.
pub fn norm2(a: &Mat<f64>) -> f64 {
    let gram = if a.nrows() <= a.ncols() { product(a, a.transpose()) } else { product(a.transpose(), a) };
    lambda_max(&gram).max(0.0).sqrt()
}

/// A = U diag(σ) Vᵀ of a matrix `[m, n]`; k = min(m, n).
#[derive(Clone, Debug)]
pub struct Svd {
    /// Left singular vectors as columns, `[m, k]`; `[m, m]` if full.
    pub u: Mat<f64>,
    /// Singular values, `[k]`, descending.
    pub values: Vec<f64>,
    /// Right singular vectors as columns, `[n, k]`; `[n, n]` if full.
    pub v: Mat<f64>,
}

impl Svd {
    /// With all singular vectors, those of the null spaces too.
    ///
    /// # Errors
    /// No convergence.
    pub fn full(a: impl Dense) -> Result<Self, NoConvergence> {
        Self::of(cleared(|| a.as_mat_ref().svd()))
    }

    /// With the first k singular vectors of either side.
    ///
    /// # Errors
    /// No convergence.
    pub fn thin(a: impl Dense) -> Result<Self, NoConvergence> {
        Self::of(cleared(|| a.as_mat_ref().thin_svd()))
    }

    fn of<E>(svd: Result<faer::linalg::solvers::Svd<f64>, E>) -> Result<Self, NoConvergence> {
        let svd = svd.map_err(|_| NoConvergence)?;
        let values = svd.S().column_vector().iter().copied().collect();
        Ok(Self { u: svd.U().to_owned(), values, v: svd.V().to_owned() })
    }
}

/// The singular values, `[min(m, n)]`, descending.
///
/// # Errors
/// No convergence.
pub fn singular_values(a: impl Dense) -> Result<Vec<f64>, NoConvergence> {
    cleared(|| a.as_mat_ref().singular_values()).map_err(|_| NoConvergence)
}

/// The pseudo-inverse A⁺, `[n, m]`, of a matrix `[m, n]`.
///
/// # Errors
/// No convergence.
pub fn pseudo_inverse(a: impl Dense) -> Result<Mat<f64>, NoConvergence> {
    cleared(|| a.as_mat_ref().thin_svd().map(|svd| svd.pseudoinverse())).map_err(|_| NoConvergence)
}
