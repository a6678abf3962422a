use faer::Mat;
use thalweg_linalg::dense::{product, symmetric, symmetric_product};
use thalweg_linalg::vector::dot;

use super::factor::Factor;
use crate::lmi::Part;

/// A part of the inequality with its Z and X, and their directions.
pub(super) struct Cone<'a> {
    /// Where C and the A_j stand.
    pub part: &'a Part,
    /// The matrix Z = M(p).
    matrix: Mat<f64>,
    factor: Factor,
    /// The inverse Z⁻¹.
    pub inverse: Mat<f64>,
    /// The dual variable X.
    dual: Mat<f64>,
    dual_factor: Factor,
    /// The direction dZ.
    d_matrix: Mat<f64>,
    /// The direction dX.
    d_dual: Mat<f64>,
    /// The corrector's second order E.
    error: Option<Mat<f64>>,
}

impl<'a> Cone<'a> {
    /// On the central ray at p, with μ = 1; `None` outside the interior.
    pub fn new(part: &'a Part, p: &[f64]) -> Option<Self> {
        let (matrix, factor) = Factor::with(part.at(p))?;
        let inverse = factor.inverse();
        let (dual, dual_factor) = Factor::with(inverse.clone())?;
        let (d_matrix, d_dual) = (Mat::new(), Mat::new());
        Some(Self { part, matrix, factor, inverse, dual, dual_factor, d_matrix, d_dual, error: None })
    }

    /// The dual variable on the central ray, X = μ Z⁻¹.
    pub fn set_dual(&mut self, mu: f64) -> Option<()> {
        self.dual = &self.inverse * faer::Scale(mu);
        self.dual_factor = Factor::of(&self.dual)?;
        Some(())
    }

    /// ⟨X, Z⟩.
    pub fn complementarity(&self) -> f64 {
        inner(&self.dual, &self.matrix)
    }

    /// ⟨X + b·dX, Z + a·dZ⟩.
    pub fn complementarity_after(&self, a: f64, b: f64) -> f64 {
        self.complementarity()
            + a * inner(&self.dual, &self.d_matrix)
            + b * inner(&self.d_dual, &self.matrix)
            + a * b * inner(&self.d_dual, &self.d_matrix)
    }

    /// The product of the predictor's steps, E = sym(dX dZ Z⁻¹), or none; adds ⟨A, E⟩.
    pub fn set_error(&mut self, second: bool, ae: &mut [f64]) {
        self.error =
            second.then(|| symmetric(&product(&self.d_dual, product(&self.d_matrix, &self.inverse))));
        if let Some(e) = &self.error {
            self.part.inner(e, ae);
        }
    }

    /// The directions dZ and dX that belong to dp.
    pub fn set_direction(&mut self, dp: &[f64], sigma_mu: f64) {
        self.d_matrix = self.part.combine(dp);
        self.d_dual = self.dual_direction(sigma_mu);
    }

    fn dual_direction(&self, sigma_mu: f64) -> Mat<f64> {
        let mut d = &self.inverse * faer::Scale(sigma_mu) - &self.dual;
        d -= symmetric(&product(&self.dual, product(&self.d_matrix, &self.inverse)));
        if let Some(e) = &self.error {
            d -= e;
        }
        d
    }

    /// Longest step of Z.
    pub fn primal_step(&self) -> f64 {
        self.factor.step(&self.d_matrix)
    }

    /// Longest step of X.
    pub fn dual_step(&self) -> f64 {
        self.dual_factor.step(&self.d_dual)
    }

    /// Z at p with its factor; `None` if it has left the cone.
    pub fn matrix_at(&self, p: &[f64]) -> Option<(Mat<f64>, Factor)> {
        Factor::with(self.part.at(p))
    }

    /// X after a step b with its factor; `None` if it has left the cone.
    pub fn dual_after(&self, b: f64) -> Option<(Mat<f64>, Factor)> {
        Factor::with(&self.dual + &self.d_dual * faer::Scale(b))
    }

    /// Goes there.
    pub fn go(&mut self, primal: (Mat<f64>, Factor), dual: (Mat<f64>, Factor)) {
        (self.matrix, self.factor) = primal;
        (self.dual, self.dual_factor) = dual;
        self.inverse = self.factor.inverse();
    }

    /// Adds H, g = ⟨A, Z⁻¹⟩ and ⟨A, X⟩. Entry (r, s) of the elementwise product of UᵀXU and
    /// UᵀZ⁻¹U, where U holds the coordinates and the terms, goes to the owners of r and s.
    pub fn schur(&self, h: &mut Mat<f64>, g: &mut [f64], ax: &mut [f64]) {
        let Part { diagonal, terms, sign, owner, .. } = self.part;
        let (zi, x) = (&self.inverse, &self.dual);
        let (zt, xt) = (product(zi, terms), product(x, terms));
        let [tzt, txt] = [&zt, &xt].map(|m| symmetric_product(terms.transpose(), m));
        for (l, (k, f)) in diagonal.iter().enumerate() {
            g[*k] += f * zi[(l, l)];
            ax[*k] += f * x[(l, l)];
            for (i, (j, e)) in diagonal.iter().enumerate() {
                h[(*j, *k)] += e * f * zi[(i, l)] * x[(i, l)];
            }
        }
        for (l, (k, f)) in owner.iter().zip(sign).enumerate() {
            g[*k] += f * tzt[(l, l)];
            ax[*k] += f * txt[(l, l)];
            for (i, (j, e)) in diagonal.iter().enumerate() {
                let cross = e * f * zt[(i, l)] * xt[(i, l)];
                h[(*j, *k)] += cross;
                h[(*k, *j)] += cross;
            }
            for (i, (j, e)) in owner.iter().zip(sign).enumerate() {
                h[(*j, *k)] += e * f * tzt[(i, l)] * txt[(i, l)];
            }
        }
    }
}

impl Part {
    /// Adds ⟨A_j, S⟩ for symmetric S.
    pub fn inner(&self, s: &Mat<f64>, to: &mut [f64]) {
        for (i, (j, factor)) in self.diagonal.iter().enumerate() {
            to[*j] += factor * s[(i, i)];
        }
        let st = product(s, &self.terms);
        for (k, j) in self.owner.iter().enumerate() {
            to[*j] += self.sign[k] * dot(self.terms.col_as_slice(k), st.col_as_slice(k));
        }
    }
}

fn inner(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (0..a.ncols()).map(|j| dot(a.col_as_slice(j), b.col_as_slice(j))).sum()
}
