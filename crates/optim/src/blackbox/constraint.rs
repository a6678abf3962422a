//! Constraints by penalties: the cloud sees f + weight · violation, the user sees f and whether a
//! point is feasible.
//!
//! Exact (ℓ1) penalties in consensus-based optimisation, with a weight that follows the violation: G.
//! Borghi, M. Herty, L. Pareschi, *Constrained consensus-based optimization*, arXiv:2111.10571.
//! Feasible points rank before infeasible ones, these by their violation: K. Deb, *An efficient
//! constraint handling method for genetic algorithms*, 2000. The rule by which the weight grows here is
//! ours: by a factor after each iteration whose leading particle (at α = ∞ the consensus) is infeasible.

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, StopReason};

use super::BlackBox;

/// What a violation costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Penalty {
    /// First weight.
    pub weight: f64,
    /// Factor on the weight after an iteration whose leading particle is infeasible; 1: none.
    pub growth: f64,
    /// Squares instead of absolute values: smooth, but never quite feasible at a finite weight.
    pub quadratic: bool,
    /// Largest violation of a constraint that still counts as feasible, in the constraint's own unit: penalties and
    /// rounding do not meet g(x) ≤ 0 to the last bit.
    pub tolerance: f64,
}

impl Default for Penalty {
    fn default() -> Self {
        Self { weight: 1.0, growth: 1.1, quadratic: false, tolerance: 1e-6 }
    }
}

impl Penalty {
    /// Names the bad field, its value and its legal range.
    ///
    /// # Errors
    /// A field outside its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        let growth = self.growth;
        Invalid::positive("penalty.weight", self.weight)?;
        Invalid::check(growth >= 1.0 && growth.is_finite(), "penalty.growth", growth, "a number ≥ 1")?;
        Invalid::at_least_zero("penalty.tolerance", self.tolerance)
    }

    /// The weight after an infeasible iteration; it stays where sums with it are still finite.
    pub(crate) fn grown(&self, weight: f64) -> f64 {
        (weight * self.growth).min(weight.max(1e100))
    }
}

/// How many constraints a function has, and their penalty.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Constraints {
    /// g(x) ≤ 0; they come first.
    pub inequalities: usize,
    /// h(x) = 0.
    pub equalities: usize,
    /// What a violation costs.
    pub penalty: Penalty,
}

impl Constraints {
    /// Number of constraints.
    pub fn count(&self) -> usize {
        self.inequalities + self.equalities
    }

    /// Sum of the violations (or of their squares) and the largest one of point `i` of `n`; NaN where a
    /// constraint has no value. `values` is `[count, n]`.
    pub(crate) fn violation(&self, values: &[f64], i: usize, n: usize) -> (f64, f64) {
        let (mut sum, mut largest) = (0.0, 0.0f64);
        for (j, g) in values.iter().skip(i).step_by(n).enumerate() {
            let v = if j >= self.inequalities || g.is_nan() { g.abs() } else { g.max(0.0) };
            sum += if self.penalty.quadratic { v * v } else { v };
            largest = if v.is_nan() { v } else { largest.max(v) };
        }
        (sum, if sum.is_nan() { sum } else { largest })
    }

    /// The largest violation, or 0 where it counts as none.
    pub(crate) fn beyond(&self, largest: f64) -> f64 {
        if largest <= self.penalty.tolerance { 0.0 } else { largest }
    }

    /// The value that the cloud sees. Where a constraint is violated, −∞ would win over everything.
    pub(crate) fn priced(&self, value: f64, sum: f64, weight: f64) -> f64 {
        match sum {
            0.0 => value,
            _ if value == f64::NEG_INFINITY => f64::NAN,
            _ => value + weight * sum,
        }
    }
}

type Function<'a> = Box<dyn Fn(&[f64]) -> f64 + Sync + 'a>;

/// A function with constraints that are closures. A search reports whether its points are feasible; for
/// anything else this is the function plus its penalty at the first weight.
///
/// ```
/// use thalweg_optim::blackbox::{BlackBox, Constrained, Penalty};
///
/// // x₀ + x₁ in the disc |x| ≤ 1.
/// let f = Constrained::new(|x: &[f64]| x[0] + x[1], Penalty::default())
///     .at_most_zero(|x| x[0] * x[0] + x[1] * x[1] - 1.0);
/// let mut values = [0.0; 2];
/// f.values(&[0.5, 0.5, 1.0, 1.0], 2, &mut values);
/// assert_eq!(values, [1.0, 3.0]);
/// ```
pub struct Constrained<'a, F> {
    f: F,
    inequalities: Vec<Function<'a>>,
    equalities: Vec<Function<'a>>,
    penalty: Penalty,
}

impl<'a, F: BlackBox> Constrained<'a, F> {
    /// `f` without a constraint yet.
    pub fn new(f: F, penalty: Penalty) -> Self {
        Self { f, inequalities: Vec::new(), equalities: Vec::new(), penalty }
    }

    /// Adds g(x) ≤ 0.
    pub fn at_most_zero(mut self, g: impl Fn(&[f64]) -> f64 + Sync + 'a) -> Self {
        self.inequalities.push(Box::new(g));
        self
    }

    /// Adds h(x) = 0.
    pub fn zero(mut self, h: impl Fn(&[f64]) -> f64 + Sync + 'a) -> Self {
        self.equalities.push(Box::new(h));
        self
    }

    fn about(&self) -> Constraints {
        let (inequalities, equalities) = (self.inequalities.len(), self.equalities.len());
        Constraints { inequalities, equalities, penalty: self.penalty }
    }
}

impl<F: BlackBox> BlackBox for Constrained<'_, F> {
    fn values(&self, points: &[f64], dim: usize, values: &mut [f64]) {
        let (about, n) = (self.about(), values.len());
        let mut constraints = vec![0.0; about.count() * n];
        self.constrained(points, dim, values, &mut constraints);
        for (i, value) in values.iter_mut().enumerate() {
            let (sum, _) = about.violation(&constraints, i, n);
            *value = about.priced(*value, sum, self.penalty.weight);
        }
    }

    fn constraints(&self) -> Option<Constraints> {
        Some(self.about())
    }

    fn constrained(&self, points: &[f64], dim: usize, values: &mut [f64], constraints: &mut [f64]) {
        self.f.values(points, dim, values);
        let all = self.inequalities.iter().chain(&self.equalities);
        for (g, out) in all.zip(constraints.chunks_exact_mut(values.len())) {
            g.as_ref().values(points, dim, out);
        }
    }

    fn stopped(&self) -> Option<StopReason> {
        self.f.stopped()
    }

    fn hopeless(&self) -> bool {
        self.f.hopeless()
    }

    fn complaint(&self) -> Option<String> {
        self.f.complaint()
    }

    fn timeouts(&self) -> u64 {
        self.f.timeouts()
    }
}
