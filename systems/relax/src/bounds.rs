//! Upper bounds of iteration counts from spectra: what the paper's analysis puts in the place of the
//! counts. Dense linear algebra, for matrices of a few hundred rows.

use faer::Mat;
use thalweg_linalg::dense::{self, Cholesky, product, solve_lower, solve_upper};

use crate::{Csr, Matrix, RelaxError};

/// The spectral quantities of one symmetric positive definite matrix, scaled to unit diagonal where
/// that changes nothing.
#[derive(Clone, Debug)]
pub struct Surrogates {
    dense: Mat<f64>,
    /// β = ρ(I − D⁻¹A).
    pub beta: f64,
    /// Condition number of A.
    pub condition: f64,
    /// α = λmax(D A⁻¹).
    pub alpha: f64,
    /// δ = λmax((L D⁻¹ Lᵀ − D/4) A⁻¹).
    pub delta: f64,
    /// ρ(D⁻¹L D⁻¹Lᵀ).
    pub lower: f64,
}

fn failed<E: std::fmt::Debug>(e: E) -> RelaxError {
    RelaxError::Spectrum(format!("the eigenvalues could not be computed ({e:?}); rescale the matrix"))
}

fn extremes(a: &Mat<f64>) -> Result<(f64, f64), RelaxError> {
    let all = dense::eigenvalues(a).map_err(failed)?;
    Ok((all[0], all[all.len() - 1]))
}

impl Surrogates {
    /// Rows of the largest matrix that is taken.
    pub const MOST: usize = 600;

    /// Of a symmetric positive definite matrix with at most [`Surrogates::MOST`] rows.
    pub fn new(a: &Csr) -> Result<Self, RelaxError> {
        a.check_symmetric()?;
        let n = a.rows();
        if n > Self::MOST {
            return Err(RelaxError::Spectrum(format!(
                "bounds need dense eigenvalues and {n} rows are too many (at most {}); leave them out",
                Self::MOST
            )));
        }
        let mut dense = Mat::<f64>::zeros(n, n);
        for (i, j, value) in a.triplets() {
            dense[(i, j)] = value;
        }
        let root = |i: usize| dense[(i, i)].sqrt();
        let scaled = Mat::from_fn(n, n, |i, j| dense[(i, j)] / (root(i) * root(j)));
        let lower = Mat::from_fn(n, n, |i, j| if j < i { scaled[(i, j)] } else { 0.0 });
        let (least, most) = extremes(&dense)?;
        if least <= 0.0 {
            return Err(RelaxError::Spectrum(format!(
                "the matrix has the eigenvalue {least:.3e}; the bounds hold for positive definite matrices"
            )));
        }
        let (low, high) = extremes(&scaled)?;
        let gram = product(&lower, lower.transpose());
        let factor = Cholesky::new(&scaled).map_err(failed)?;
        let mut half = Mat::from_fn(n, n, |i, j| gram[(i, j)] - if i == j { 0.25 } else { 0.0 });
        // λmax(S Ã⁻¹) = λmax(C⁻¹ S C⁻ᵀ) with Ã = C Cᵀ.
        solve_lower(factor.lower(), half.as_mut());
        let mut full = half.transpose().to_owned();
        solve_lower(factor.lower(), full.as_mut());
        let delta = extremes(&full)?.1;
        Ok(Self {
            beta: (1.0 - low).max(high - 1.0),
            condition: most / least,
            alpha: 1.0 / low,
            delta,
            lower: extremes(&gram)?.1,
            dense,
        })
    }

    /// C_ω = I − A M_ω⁻¹, which a sweep multiplies the residual with.
    fn propagator(&self, omega: f64) -> Mat<f64> {
        let n = self.dense.nrows();
        let m = Mat::from_fn(n, n, |i, j| match i.cmp(&j) {
            std::cmp::Ordering::Greater => self.dense[(i, j)],
            std::cmp::Ordering::Equal => self.dense[(i, i)] / omega,
            std::cmp::Ordering::Less => 0.0,
        });
        // A M⁻¹ = (M⁻ᵀ A)ᵀ for symmetric A.
        let mut product = self.dense.clone();
        solve_upper(m.transpose().to_owned(), product.as_mut());
        Mat::from_fn(n, n, |i, j| if i == j { 1.0 } else { 0.0 } - product[(j, i)])
    }

    /// ρ(C_ω), from the eigenvalues; no ordering is assumed.
    pub fn spectral_radius(&self, omega: f64) -> Result<f64, RelaxError> {
        dense::spectral_radius(self.propagator(omega)).map_err(failed)
    }

    /// How far ‖C_ω^{k−1}‖^{1/(k−1)} lies between ρ(C_ω) and 1, for the count k of a solve; the largest
    /// over all ω is τ.
    pub fn transient(&self, omega: f64, k: usize) -> Result<f64, RelaxError> {
        let radius = self.spectral_radius(omega)?;
        let power = k.saturating_sub(1).max(1);
        // Squaring from the highest bit on; sizes are kept as logarithms.
        let base = self.propagator(omega);
        let (mut step, mut log) = (base.clone(), 0.0);
        for bit in (0..power.ilog2()).rev() {
            step = product(&step, &step);
            log *= 2.0;
            if power >> bit & 1 == 1 {
                step = product(&step, &base);
            }
            let size = step.norm_l2();
            if size == 0.0 {
                return Ok(0.0);
            }
            step *= faer::Scale(1.0 / size);
            log += size.ln();
        }
        let norm = extremes(&product(step.transpose(), &step))?.1.max(0.0).sqrt();
        let mean = ((norm.ln() + log) / power as f64).exp();
        Ok((mean - radius) / (1.0 - radius))
    }

    /// The paper's near-asymptotic bound of SOR, 1 + log ε / log(ρ + τ(1 − ρ)).
    pub fn near_asymptotic(&self, omega: f64, tau: f64, tol: f64) -> Result<f64, RelaxError> {
        let radius = self.spectral_radius(omega)?;
        Ok(1.0 + tol.ln() / (radius + tau * (1.0 - radius)).ln())
    }

    /// Hackbusch's bound of SOR by the energy norm (*Iterative Solution of Large Sparse Systems of
    /// Equations*, Cor. 3.45).
    pub fn energy(&self, omega: f64, tol: f64) -> f64 {
        let w = (2.0 - omega) / (2.0 * omega);
        let gamma = 1.0 - self.beta;
        let norm = (1.0 - 2.0 * w * gamma / (w * w + gamma / omega + self.lower - 0.25)).sqrt();
        (tol / (2.0 * self.condition.sqrt())).ln() / norm.ln()
    }

    /// Axelsson's bound of SSOR-CG (*Iterative Solution Methods*, Thm 7.17), for ω ∈ [2√2 − 2, 1.9].
    pub fn axelsson(&self, omega: f64, tol: f64) -> f64 {
        let gap = 2.0 - omega;
        let s = gap / (1.0 + 0.25 * gap * gap / omega * self.alpha + omega * self.delta);
        let ratio = self.condition.sqrt() / tol;
        let start = (ratio + (self.condition / (tol * tol) - 1.0).sqrt()).ln();
        1.0 + start / -(1.0 - 2.0 / (1.0 + (1.0 / s).sqrt())).ln()
    }
}
