use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};

use crate::method::sampled::{Sampled, add, descend, descend_within, positive, report};
use crate::set::{dot, norm2};
use crate::{Oracle, Solution};

/// BOME (Ye, Liu, Wright, Stone and Liu, NeurIPS 2022, arXiv:2209.08709): a dynamic barrier on the value-function gap.
///
/// z = y^{(T)} comes from T steps on g started at y and is held constant; `q = g(x,y) − g(x,z)`,
/// `λ = max(φ − ⟨∇f,∇q⟩, 0)/‖∇q‖²` with `φ = η‖∇q‖²`, then `(x,y) −= ξ(∇f + λ∇q)`. Defaults of the paper: T = 10,
/// η = 0.5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bome {
    /// Step ξ on x. Default 0.1.
    pub alpha: f64,
    /// Step ξ on y. Default 0.1.
    pub beta: f64,
    /// Step on z. Default 0.1.
    pub gamma: f64,
    /// Control barrier η. Default 0.5.
    pub eta: f64,
    /// Lower steps T. Default 10.
    pub inner: u64,
    /// Terms per gradient; 0 for all. Default 0.
    pub batch: u64,
    /// Longest step on x. Default 1e3.
    pub trust: f64,
}

impl Default for Bome {
    fn default() -> Self {
        Self { alpha: 0.1, beta: 0.1, gamma: 0.1, eta: 0.5, inner: 10, batch: 0, trust: 1e3 }
    }
}

impl<'p> Method<Oracle<'p>> for Bome {
    type State = Sampled<()>;
    type Solution = Solution;

    fn name(&self) -> &'static str {
        "bome"
    }

    fn validate(&self) -> Result<(), Invalid> {
        let &Self { alpha, beta, gamma, eta, inner, trust, .. } = self;
        positive([("alpha", alpha), ("beta", beta), ("gamma", gamma), ("eta", eta), ("trust", trust)])?;
        Invalid::count("inner", inner)
    }

    fn init(&self, oracle: &mut Oracle<'p>, seed: Seed) -> Result<Self::State, MethodError> {
        Ok(Sampled::new(oracle.start(), seed, ()))
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls();
        let (x_set, y_set) = (oracle.problem().x_set(), oracle.problem().y_set());
        state.at.z = state.at.y.clone();
        for _ in 0..self.inner {
            let (_, zeta) = state.draw(oracle, self.batch);
            let Solution { x, z, .. } = &mut state.at;
            let d = oracle.g_y((x, z), zeta.batch())?;
            descend(z, y_set, self.gamma, &d, None);
        }
        let (xi, zeta) = state.draw(oracle, self.batch);
        let Solution { x, y, z } = &mut state.at;
        let f = oracle.f_xy((x, y), xi.batch())?;
        let q = oracle.g_xy((x, y), zeta.batch())?;
        let (mut q_x, q_y) = (q.x, q.y);
        add(&mut q_x, -1.0, &oracle.g_x((x, z), zeta.batch())?.1);
        let norm = norm2(&q_x) + norm2(&q_y);
        let align = dot(&f.x, &q_x) + dot(&f.y, &q_y);
        let lambda = if norm > 0.0 { (self.eta - align / norm).max(0.0) } else { 0.0 };
        let (mut d_x, mut d_y) = (f.x, f.y);
        add(&mut d_x, lambda, &q_x);
        add(&mut d_y, lambda, &q_y);
        descend_within(x, x_set, self.alpha, &d_x, self.trust);
        descend(y, y_set, self.beta, &d_y, None);
        state.k += 1;
        Ok(report(oracle, before, f.value, &d_x, &[("lambda", lambda)]))
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.at)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.at)
    }
}
