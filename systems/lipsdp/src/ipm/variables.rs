use super::SHARE;
use super::cone::Cone;
use super::newton::Newton;
use super::residuals::Residuals;
use crate::lmi::Lmi;

/// The multipliers p and their duals w, with Z and X of every part.
pub(super) struct Variables<'a> {
    pub p: Vec<f64>,
    pub w: Vec<f64>,
    pub cones: Vec<Cone<'a>>,
}

/// A direction, with the longest steps along it; dZ and dX are in the cones.
pub(super) struct Direction {
    dp: Vec<f64>,
    dw: Vec<f64>,
    /// Step of p and Z.
    a: f64,
    /// Step of w and X.
    b: f64,
}

impl<'a> Variables<'a> {
    /// From a strictly feasible p, the duals on the central ray, X = μ Z⁻¹ and w = μ/p, as large as the costs
    /// ask for: smaller ones send p far away first. `None` if p is not strictly feasible.
    pub fn central(lmi: &'a Lmi, p: Vec<f64>) -> Option<Self> {
        let m = lmi.cost.len();
        let mut cones: Vec<Cone<'_>> =
            lmi.parts.iter().map(|part| Cone::new(part, &p)).collect::<Option<_>>()?;
        let mut g = vec![0.0; m];
        cones.iter().for_each(|c| c.part.inner(&c.inverse, &mut g));
        let mu = (0..m).map(|j| lmi.cost[j] / (g[j] + 1.0 / p[j])).fold(0.0, f64::max);
        for cone in &mut cones {
            cone.set_dual(mu)?;
        }
        let w = p.iter().map(|p| mu / p).collect();
        Some(Self { p, w, cones })
    }

    /// The direction towards σμ: the predictor, or with its steps the corrector.
    pub fn direction(
        &mut self,
        lmi: &Lmi,
        residuals: &Residuals,
        newton: &Newton,
        sigma: f64,
        predictor: Option<&Direction>,
    ) -> Direction {
        let Self { p, w, cones } = self;
        let (m, sigma_mu) = (p.len(), sigma * residuals.mu);
        let mut ae = vec![0.0; m];
        cones.iter_mut().for_each(|c| c.set_error(predictor.is_some(), &mut ae));
        let e: Vec<f64> =
            (0..m).map(|j| predictor.map_or(0.0, |second| second.dw[j] * second.dp[j] / p[j])).collect();
        let rhs = |j: usize| sigma_mu * (residuals.g[j] + 1.0 / p[j]) - lmi.cost[j] - ae[j] - e[j];
        let dp = newton.solve(&(0..m).map(rhs).collect::<Vec<_>>());
        let dw: Vec<f64> = (0..m).map(|j| sigma_mu / p[j] - w[j] - w[j] * dp[j] / p[j] - e[j]).collect();
        cones.iter_mut().for_each(|c| c.set_direction(&dp, sigma_mu));
        let a = cones.iter().map(Cone::primal_step).fold(longest(p, &dp), f64::min);
        let b = cones.iter().map(Cone::dual_step).fold(longest(w, &dw), f64::min);
        Direction { dp, dw, a, b }
    }

    /// The share σ of μ that the corrector aims at: the less, the farther the predictor comes.
    pub fn centering(&self, residuals: &Residuals, predictor: &Direction) -> f64 {
        let Direction { dp, dw, a, b } = predictor;
        let after = self.cones.iter().map(|c| c.complementarity_after(*a, *b)).sum::<f64>()
            + (0..dp.len()).map(|j| (self.p[j] + a * dp[j]) * (self.w[j] + b * dw[j])).sum::<f64>();
        let shortest = a.min(*b);
        if shortest < 0.05 {
            return 0.9;
        }
        let power = f64::max(1.0, 3.0 * shortest * shortest);
        (after / residuals.complementarity).max(0.0).powf(power).clamp(1e-4, 0.9)
    }

    /// Goes along a direction, and says how far at most; `None` where no step stays inside. Rounding may leave
    /// the cone where the estimate of the boundary was too bold.
    pub fn advance(&mut self, direction: &Direction) -> Option<f64> {
        let Direction { dp, dw, a, b } = direction;
        let primal = |a: f64| {
            let p: Vec<f64> = self.p.iter().zip(dp).map(|(p, d)| p + a * d).collect();
            let matrices = self.cones.iter().map(|c| c.matrix_at(&p)).collect::<Option<Vec<_>>>()?;
            Some((p, matrices))
        };
        let dual = |b: f64| self.cones.iter().map(|c| c.dual_after(b)).collect::<Option<Vec<_>>>();
        let (a, (p, matrices)) = shortened(*a, primal)?;
        let (b, duals) = shortened(*b, dual)?;
        self.p = p;
        self.w.iter_mut().zip(dw).for_each(|(w, d)| *w += b * d);
        for ((cone, matrix), dual) in self.cones.iter_mut().zip(matrices).zip(duals) {
            cone.go(matrix, dual);
        }
        Some(a.max(b))
    }
}

/// Longest step ≤ 1, times [`SHARE`], that keeps `x + a·dx` at least 0.
fn longest(x: &[f64], dx: &[f64]) -> f64 {
    x.iter().zip(dx).map(|(x, d)| if *d < 0.0 { -SHARE * x / d } else { 1.0 }).fold(1.0, f64::min)
}

/// The first of ever shorter steps that leads somewhere, and where.
fn shortened<T>(mut step: f64, to: impl Fn(f64) -> Option<T>) -> Option<(f64, T)> {
    loop {
        match to(step) {
            Some(there) => return Some((step, there)),
            None if step < 1e-10 => return None,
            None => step *= 0.7,
        }
    }
}
