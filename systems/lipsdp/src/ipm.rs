//! A primal–dual interior-point method for `min costᵀp, M(p) ⪰ 0, p ≥ 0` (HKM direction, predictor
//! and corrector) that uses the rank-one structure of M. p is feasible at every iteration.
//!
//! ```text
//! X, w: dual variables of M(p) ⪰ 0 and p ≥ 0;  Z = M(p);  g_j = ⟨A_j, Z⁻¹⟩;  μ = (⟨X,Z⟩ + wᵀp)/(n+m)
//! H_jk = ⟨A_j, X A_k Z⁻¹⟩ + [j=k] w_j/p_j
//! dp = H⁻¹(σμ(g + 1/p) − cost − ⟨A,E⟩ − e)          dZ = Σ dp_j A_j
//! dX = σμ Z⁻¹ − X − sym(X dZ Z⁻¹) − E               dw = σμ/p − w − w∘dp/p − e
//! ```
//!
//! with E = e = 0 in the predictor and the products of its steps in the corrector.

use faer::Mat;
use thalweg_linalg::dense::{
    Cholesky, Eigen, apply, cholesky, lambda_min, product, solve_lower, symmetric, symmetric_product,
};
use thalweg_linalg::vector::dot;

use crate::LipError;
use crate::lmi::{Lmi, Part};

/// Multipliers near the optimum.
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    pub p: Vec<f64>,
    /// (⟨X,Z⟩ + wᵀp)/costᵀp: how far from the optimum at most.
    pub gap: f64,
    pub iterations: usize,
}

/// Share of the way to the boundary.
const SHARE: f64 = 0.95;

/// Solves from a strictly feasible `start` to the relative gap `tol`, or as far as the precision
/// allows; `early` may stop it sooner.
pub(crate) fn minimise(
    lmi: &Lmi,
    start: Vec<f64>,
    tol: f64,
    early: impl Fn(&[f64]) -> bool,
) -> Result<Solution, LipError> {
    let m = lmi.cost.len();
    let n: usize = lmi.parts.iter().map(Part::side).sum();
    let mut p = start;
    let mut parts: Vec<Pair<'_>> =
        lmi.parts.iter().map(|part| Pair::new(part, &p)).collect::<Option<_>>().ok_or(LipError::NoStart)?;

    // Dual start on the central ray, X = μ Z⁻¹ and w = μ/p, as large as the costs ask for: a smaller
    // one sends p far away first.
    let mut g = vec![0.0; m];
    parts.iter().for_each(|x| x.part.inner(&x.inverse, &mut g));
    let value = |p: &[f64]| dot(&lmi.cost, p);
    let mu = (0..m).map(|j| lmi.cost[j] / (g[j] + 1.0 / p[j])).fold(0.0, f64::max);
    for x in &mut parts {
        x.dual = &x.inverse * faer::Scale(mu);
        x.dual_factor = Factor::of(&x.dual).ok_or(LipError::NoStart)?;
    }
    let mut w: Vec<f64> = p.iter().map(|p| mu / p).collect();

    let mut best = Solution { p: p.clone(), gap: f64::INFINITY, iterations: 0 };
    let mut stuck = 0;
    for iteration in 0..150 {
        let mut h = Mat::<f64>::zeros(m, m);
        let (mut g, mut ax) = (vec![0.0; m], vec![0.0; m]);
        for x in &parts {
            x.schur(&mut h, &mut g, &mut ax);
        }
        let complementarity = parts.iter().map(Pair::complementarity).sum::<f64>() + dot(&w, &p);
        let mu = complementarity / (n + m) as f64;
        let residual =
            (0..m).map(|j| (lmi.cost[j] - ax[j] - w[j]).abs() * p[j]).fold(0.0, f64::max) / value(&p);
        let gap = complementarity / value(&p);
        best = Solution { p: p.clone(), gap: gap.max(residual), iterations: iteration };
        if best.gap <= tol || early(&p) || stuck >= 4 {
            break;
        }
        (0..m).for_each(|j| h[(j, j)] += w[j] / p[j]);
        let Some(newton) = Newton::new(&h) else { break };

        // One direction; `second` are the predictor's steps.
        let direction = |parts: &mut [Pair<'_>], sigma: f64, second: Option<(&[f64], &[f64])>| {
            let mut ae = vec![0.0; m];
            for x in parts.iter_mut() {
                x.error = second.map(|_| symmetric(&product(&x.d_dual, product(&x.d_matrix, &x.inverse))));
                if let Some(e) = &x.error {
                    x.part.inner(e, &mut ae);
                }
            }
            let e: Vec<f64> = (0..m).map(|j| second.map_or(0.0, |(dp, dw)| dw[j] * dp[j] / p[j])).collect();
            let rhs = |j: usize| sigma * mu * (g[j] + 1.0 / p[j]) - lmi.cost[j] - ae[j] - e[j];
            let dp = newton.solve(&(0..m).map(rhs).collect::<Vec<_>>());
            let dw: Vec<f64> =
                (0..m).map(|j| sigma * mu / p[j] - w[j] - w[j] * dp[j] / p[j] - e[j]).collect();
            for x in parts.iter_mut() {
                x.d_matrix = x.part.combine(&dp);
                x.d_dual = x.dual_direction(sigma * mu);
            }
            let step = |x: &[f64], dx: &[f64]| {
                x.iter().zip(dx).map(|(x, d)| if *d < 0.0 { -SHARE * x / d } else { 1.0 }).fold(1.0, f64::min)
            };
            let a = parts.iter().map(Pair::primal_step).fold(step(&p, &dp), f64::min);
            let b = parts.iter().map(Pair::dual_step).fold(step(&w, &dw), f64::min);
            (dp, dw, a, b)
        };
        let (dp, dw, a, b) = direction(&mut parts, 0.0, None);
        let after = parts.iter().map(|x| x.complementarity_after(a, b)).sum::<f64>()
            + (0..m).map(|j| (p[j] + a * dp[j]) * (w[j] + b * dw[j])).sum::<f64>();
        let shortest = a.min(b);
        let power = f64::max(1.0, 3.0 * shortest * shortest);
        let mut sigma = (after / complementarity).max(0.0).powf(power).clamp(1e-4, 0.9);
        if shortest < 0.05 {
            sigma = 0.9;
        }
        let (dp, dw, mut a, mut b) = direction(&mut parts, sigma, Some((&dp, &dw)));

        // Rounding may leave the cone where the estimate of the boundary was too bold.
        let moved = |a: f64| p.iter().zip(&dp).map(|(p, d)| p + a * d).collect::<Vec<_>>();
        let next = loop {
            let trial = moved(a);
            let matrices: Option<Vec<_>> = parts.iter().map(|x| Factor::with(x.part.at(&trial))).collect();
            match matrices {
                Some(matrices) => break Some((trial, matrices)),
                None if a < 1e-10 => break None,
                None => a *= 0.7,
            }
        };
        let Some((trial, matrices)) = next else { break };
        let duals = loop {
            let duals: Option<Vec<_>> =
                parts.iter().map(|x| Factor::with(&x.dual + &x.d_dual * faer::Scale(b))).collect();
            match duals {
                Some(duals) => break Some(duals),
                None if b < 1e-10 => break None,
                None => b *= 0.7,
            }
        };
        let Some(duals) = duals else { break };
        stuck = if a.max(b) < 1e-3 { stuck + 1 } else { 0 };
        p = trial;
        w.iter_mut().zip(&dw).for_each(|(w, d)| *w += b * d);
        for ((x, primal), dual) in parts.iter_mut().zip(matrices).zip(duals) {
            (x.matrix, x.factor) = primal;
            (x.dual, x.dual_factor) = dual;
            x.inverse = x.factor.inverse();
        }
    }
    Ok(best)
}

/// L⁻¹ of a positive definite matrix L Lᵀ.
struct Factor(Mat<f64>);

impl Factor {
    fn of(a: &Mat<f64>) -> Option<Self> {
        let l = cholesky(a)?;
        let n = l.nrows();
        let mut inverse = Mat::identity(n, n);
        solve_lower(&l, inverse.as_mut());
        Some(Self(inverse))
    }

    /// The matrix with its factor.
    fn with(a: Mat<f64>) -> Option<(Mat<f64>, Self)> {
        Self::of(&a).map(|f| (a, f))
    }

    fn inverse(&self) -> Mat<f64> {
        symmetric_product(self.0.transpose(), &self.0)
    }

    /// Longest step ≤ 1, times [`SHARE`], that keeps `L Lᵀ + a·D` positive semidefinite.
    fn step(&self, d: &Mat<f64>) -> f64 {
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

/// A part with its Z and X, and their directions.
struct Pair<'a> {
    part: &'a Part,
    matrix: Mat<f64>,
    factor: Factor,
    inverse: Mat<f64>,
    dual: Mat<f64>,
    dual_factor: Factor,
    d_matrix: Mat<f64>,
    d_dual: Mat<f64>,
    /// E.
    error: Option<Mat<f64>>,
}

impl<'a> Pair<'a> {
    fn new(part: &'a Part, p: &[f64]) -> Option<Self> {
        let (matrix, factor) = Factor::with(part.at(p))?;
        let inverse = factor.inverse();
        let (dual, dual_factor) = Factor::with(inverse.clone())?;
        let (d_matrix, d_dual) = (Mat::new(), Mat::new());
        Some(Self { part, matrix, factor, inverse, dual, dual_factor, d_matrix, d_dual, error: None })
    }

    fn complementarity(&self) -> f64 {
        inner(&self.dual, &self.matrix)
    }

    fn complementarity_after(&self, a: f64, b: f64) -> f64 {
        self.complementarity()
            + a * inner(&self.dual, &self.d_matrix)
            + b * inner(&self.d_dual, &self.matrix)
            + a * b * inner(&self.d_dual, &self.d_matrix)
    }

    fn dual_direction(&self, sigma_mu: f64) -> Mat<f64> {
        let mut d = &self.inverse * faer::Scale(sigma_mu) - &self.dual;
        d -= symmetric(&product(&self.dual, product(&self.d_matrix, &self.inverse)));
        if let Some(e) = &self.error {
            d -= e;
        }
        d
    }

    fn primal_step(&self) -> f64 {
        self.factor.step(&self.d_matrix)
    }

    fn dual_step(&self) -> f64 {
        self.dual_factor.step(&self.d_dual)
    }

    /// Adds H, g = ⟨A, Z⁻¹⟩ and ⟨A, X⟩. Entry (r, s) of the elementwise product of UᵀXU and
    /// UᵀZ⁻¹U, where U holds the coordinates and the terms, goes to the owners of r and s.
    fn schur(&self, h: &mut Mat<f64>, g: &mut [f64], ax: &mut [f64]) {
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

/// The factorised Newton matrix, scaled to unit diagonal.
struct Newton {
    factor: Cholesky,
    scale: Vec<f64>,
}

impl Newton {
    fn new(h: &Mat<f64>) -> Option<Self> {
        let n = h.nrows();
        let scale: Vec<f64> = (0..n).map(|i| 1.0 / h[(i, i)].sqrt()).collect();
        if scale.iter().any(|s| !s.is_finite()) {
            return None;
        }
        // The factorisation reads the lower triangle only.
        let entry = |i: usize, j: usize| if i < j { 0.0 } else { h[(i, j)] * scale[i] * scale[j] };
        let mut scaled = Mat::from_fn(n, n, entry);
        let mut ridge = 1e-14;
        while ridge < 1e-3 {
            (0..n).for_each(|i| scaled[(i, i)] = 1.0 + ridge);
            if let Ok(factor) = Cholesky::new(&scaled) {
                return Some(Self { factor, scale });
            }
            ridge *= 10.0;
        }
        None
    }

    fn solve(&self, rhs: &[f64]) -> Vec<f64> {
        let b = Mat::from_fn(rhs.len(), 1, |i, _| rhs[i] * self.scale[i]);
        let x = self.factor.solve(&b);
        (0..rhs.len()).map(|i| x[(i, 0)] * self.scale[i]).collect()
    }
}
