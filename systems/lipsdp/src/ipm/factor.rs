//! Factors of positive definite matrices, and how far one can go before it is none.

use faer::Mat;
use thalweg_linalg::dense::{Eigen, apply, cholesky, lambda_min, solve_lower, symmetric_product};
use thalweg_linalg::vector::dot;

use super::SHARE;

/// L⁻¹ of a positive definite matrix L Lᵀ.
pub(super) struct Factor(Mat<f64>);

impl Factor {
    pub fn of(a: &Mat<f64>) -> Option<Self> {
        let l = cholesky(a)?;
        let n = l.nrows();
        let mut inverse = Mat::identity(n, n);
        solve_lower(&l, inverse.as_mut());
        Some(Self(inverse))
    }

    /// The matrix with its factor.
    pub fn with(a: Mat<f64>) -> Option<(Mat<f64>, Self)> {
        Self::of(&a).map(|f| (a, f))
    }

    pub fn inverse(&self) -> Mat<f64> {
        symmetric_product(self.0.transpose(), &self.0)
    }

    /// Longest step ≤ 1, times [`SHARE`], that keeps `L Lᵀ + a·D` positive semidefinite.
    pub fn step(&self, d: &Mat<f64>) -> f64 {
        let lowest = self.lowest(d);
        if lowest < 0.0 { (SHARE / -lowest).min(1.0) } else { 1.0 }
    }

    /// A little less than the smallest eigenvalue of L⁻¹ D L⁻ᵀ: by Lanczos, less its residual.
    fn lowest(&self, d: &Mat<f64>) -> f64 {
        let n = d.nrows();
        let times = |v: &[f64]| {
            let u: Vec<f64> = (0..n).map(|j| dot(&self.0.col_as_slice(j)[j..], &v[j..])).collect();
            apply(&self.0, &apply(d, &u))
        };
        // Signs that no eigenvector shares.
        let mut v: Vec<f64> = (0..n).map(|i| if (i * i + 3 * i) % 7 < 3 { 1.0 } else { -0.9 }).collect();
        scale(&mut v, 1.0);
        let mut basis: Vec<Vec<f64>> = Vec::new();
        let (mut alpha, mut beta) = (Vec::new(), Vec::<f64>::new());
        let mut estimate = 0.0;
        for k in 0..n.min(60) {
            let mut u = times(&v);
            basis.push(v);
            alpha.push(dot(&u, &basis[k]));
            for _ in 0..2 {
                for q in &basis {
                    let c = dot(&u, q);
                    u.iter_mut().zip(q).for_each(|(u, q)| *u -= c * q);
                }
            }
            let rest = dot(&u, &u).sqrt();
            if k % 5 == 4 || rest < 1e-12 || k + 1 == n.min(60) {
                let t = Mat::from_fn(k + 1, k + 1, |i, j| match i.abs_diff(j) {
                    0 => alpha[i],
                    1 => beta[i.min(j)],
                    _ => 0.0,
                });
                let Ok(e) = Eigen::new(&t) else { return lambda_min(&t) };
                let (lowest, residual) = (e.values[0], rest * e.vectors[(k, 0)].abs());
                estimate = lowest - residual;
                if residual <= 0.02 * lowest.abs() || lowest - residual > -0.5 && k > 15 {
                    return estimate;
                }
            }
            if rest < 1e-12 {
                return estimate;
            }
            scale(&mut u, 1.0);
            beta.push(rest);
            v = u;
        }
        estimate
    }
}

/// To the given length.
fn scale(v: &mut [f64], length: f64) {
    let norm = dot(v, v).sqrt();
    v.iter_mut().for_each(|v| *v *= length / norm);
}
