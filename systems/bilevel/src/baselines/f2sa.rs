use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};

use crate::method::sampled::{Sampled, add, decayed, descend, descend_within, positive, report};
use crate::{Oracle, Solution};

/// F2SA (Kwon, Kwon, Wright and Nowak, ICML 2023, arXiv:2301.10945), for strongly convex lower levels.
///
/// With the multiplier λ = 1/σ: per iteration T steps `z −= γ∇_y g(x,z)` and `y −= a(∇_y f + λ∇_y g)(x,y)`, then
/// `x −= ξ(∇_x f + λ(∇_x g(x,y) − ∇_x g(x,z)))`, and λ grows by δ. Defaults as in benchmark_bilevel: T = 10, batch
/// 64, λ from 1 in steps of 0.01, exponents 5/7 of a, 4/7 of γ and of ξ, 1/7 of δ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct F2sa {
    /// λ at first. Default 1.
    pub lambda: f64,
    /// Growth δ of λ at first. Default 0.01.
    pub delta: f64,
    /// Step γ on z at first. Default 0.1.
    pub gamma: f64,
    /// Step a on y at first. Default 0.1.
    pub a: f64,
    /// Step ξ on x at first. Default 0.1.
    pub alpha: f64,
    /// Lower steps T. Default 10.
    pub inner: u64,
    /// Terms per gradient; 0 for all. Default 64.
    pub batch: u64,
    /// Iterations before decay sets in, > 0. Default 1.
    pub shift: f64,
    /// Longest step on x. Default 1e3.
    pub trust: f64,
}

impl Default for F2sa {
    fn default() -> Self {
        Self {
            lambda: 1.0,
            delta: 0.01,
            gamma: 0.1,
            a: 0.1,
            alpha: 0.1,
            inner: 10,
            batch: 64,
            shift: 1.0,
            trust: 1e3,
        }
    }
}

impl<'p> Method<Oracle<'p>> for F2sa {
    /// With λ.
    type State = Sampled<f64>;
    type Solution = Solution;

    fn name(&self) -> &'static str {
        "f2sa"
    }

    fn validate(&self) -> Result<(), Invalid> {
        let &Self { lambda, delta, gamma, a, alpha, inner, shift, trust, .. } = self;
        positive([
            ("lambda", lambda),
            ("gamma", gamma),
            ("a", a),
            ("alpha", alpha),
            ("shift", shift),
            ("trust", trust),
        ])?;
        Invalid::at_least_zero("delta", delta)?;
        Invalid::count("inner", inner)
    }

    fn init(&self, oracle: &mut Oracle<'p>, seed: Seed) -> Result<Self::State, MethodError> {
        Ok(Sampled::new(oracle.start(), seed, self.lambda))
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls();
        let (x_set, y_set) = (oracle.problem().x_set(), oracle.problem().y_set());
        let rate = |a: f64, power: f64| decayed(a, power, self.shift, state.k);
        let (a, gamma) = (rate(self.a, 5.0 / 7.0), rate(self.gamma, 4.0 / 7.0));
        let (alpha, delta) = (rate(self.alpha, 4.0 / 7.0), rate(self.delta, 1.0 / 7.0));
        let lambda = state.memory;
        for _ in 0..self.inner {
            let (xi, zeta) = state.draw(oracle, self.batch);
            let Solution { x, y, z } = &mut state.at;
            let d = oracle.g_y((x, z), zeta.batch())?;
            descend(z, y_set, gamma, &d, None);
            let mut d = oracle.f_y((x, y), xi.batch())?;
            add(&mut d, lambda, &oracle.g_y((x, y), zeta.batch())?);
            descend(y, y_set, a, &d, None);
        }
        let (xi, zeta) = state.draw(oracle, self.batch);
        let Solution { x, y, z } = &mut state.at;
        let (value, mut d) = oracle.f_x((x, y), xi.batch())?;
        add(&mut d, lambda, &oracle.g_x((x, y), zeta.batch())?.1);
        add(&mut d, -lambda, &oracle.g_x((x, z), zeta.batch())?.1);
        descend_within(x, x_set, alpha, &d, self.trust);
        state.memory += delta;
        state.k += 1;
        Ok(report(oracle, before, value, &d, &[("lambda", lambda)]))
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.at)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.at)
    }
}
