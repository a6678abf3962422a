use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};

use crate::method::sampled::{Sampled, add, descend, descend_within, positive, report};
use crate::{Oracle, Solution};

/// What is penalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// g(x,y) − min g(x,·): V-PBGD.
    #[default]
    Gap,
    /// ½‖∇_y g‖²: G-PBGD, with second derivatives.
    Gradient,
}

/// V-PBGD and G-PBGD (Shen and Chen, ICML 2023, arXiv:2302.05185): joint projected gradient steps on x and y.
///
/// V-PBGD: `(x,y) −= step/max(1,γ)·(∇f + γ(∇g(x,y) − [∇_x g(x,z); 0]))`, z by T steps on g. G-PBGD has ½‖∇_y g‖² in
/// place of the gap. γ grows linearly from `penalty` to `penalty_end` over `ramp` iterations. Defaults of the authors'
/// data hyper-cleaning: steps 0.1, 0.1 and 0.01, γ from 0 to 0.2 over 30,000 iterations, all terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pbgd {
    /// What is penalised. Default the gap.
    pub value: Value,
    /// γ at first. Default 0.
    pub penalty: f64,
    /// γ at last. Default 0.2.
    pub penalty_end: f64,
    /// Iterations in between. Default 30,000.
    pub ramp: u64,
    /// Step on x. Default 0.1.
    pub alpha: f64,
    /// Step on y. Default 0.1.
    pub beta: f64,
    /// Step on z. Default 0.01.
    pub gamma: f64,
    /// Steps T on z. Default 1.
    pub inner: u64,
    /// Terms per gradient; 0 for all. Default 0.
    pub batch: u64,
    /// Longest step on x. Default 1e3.
    pub trust: f64,
}

impl Default for Pbgd {
    fn default() -> Self {
        Self {
            value: Value::Gap,
            penalty: 0.0,
            penalty_end: 0.2,
            ramp: 30_000,
            alpha: 0.1,
            beta: 0.1,
            gamma: 0.01,
            inner: 1,
            batch: 0,
            trust: 1e3,
        }
    }
}

impl<'p> Method<Oracle<'p>> for Pbgd {
    type State = Sampled<()>;
    type Solution = Solution;

    fn name(&self) -> &'static str {
        match self.value {
            Value::Gap => "pbgd",
            Value::Gradient => "g-pbgd",
        }
    }

    fn validate(&self) -> Result<(), Invalid> {
        let &Self { penalty, penalty_end, alpha, beta, gamma, inner, trust, .. } = self;
        positive([("alpha", alpha), ("beta", beta), ("gamma", gamma), ("trust", trust)])?;
        Invalid::at_least_zero("penalty", penalty)?;
        Invalid::at_least_zero("penalty_end", penalty_end)?;
        Invalid::count("inner", inner)
    }

    fn init(&self, oracle: &mut Oracle<'p>, seed: Seed) -> Result<Self::State, MethodError> {
        Ok(Sampled::new(oracle.start(), seed, ()))
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls();
        let (x_set, y_set) = (oracle.problem().x_set(), oracle.problem().y_set());
        let part = (state.k as f64 / self.ramp.max(1) as f64).min(1.0);
        let weight = self.penalty + (self.penalty_end - self.penalty) * part;
        if self.value == Value::Gap {
            for _ in 0..self.inner {
                let (_, zeta) = state.draw(oracle, self.batch);
                let Solution { x, z, .. } = &mut state.at;
                let d = oracle.g_y((x, z), zeta.batch())?;
                descend(z, y_set, self.gamma, &d, None);
            }
        }
        let (xi, zeta) = state.draw(oracle, self.batch);
        let Solution { x, y, z } = &mut state.at;
        let f = oracle.f_xy((x, y), xi.batch())?;
        let (mut d_x, mut d_y) = (f.x, f.y);
        match self.value {
            Value::Gap => {
                let g = oracle.g_xy((x, y), zeta.batch())?;
                add(&mut d_x, weight, &g.x);
                add(&mut d_y, weight, &g.y);
                add(&mut d_x, -weight, &oracle.g_x((x, z), zeta.batch())?.1);
            }
            Value::Gradient => {
                let g_y = oracle.g_y((x, y), zeta.batch())?;
                let (cross, product) = oracle.hessian((x, y), &g_y, zeta.batch())?;
                add(&mut d_x, weight, &cross);
                add(&mut d_y, weight, &product);
            }
        }
        let shrink = weight.max(1.0);
        descend_within(x, x_set, self.alpha / shrink, &d_x, self.trust);
        descend(y, y_set, self.beta / shrink, &d_y, None);
        if self.value == Value::Gradient {
            z.copy_from_slice(y);
        }
        state.k += 1;
        Ok(report(oracle, before, f.value, &d_x, &[("penalty", weight)]))
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.at)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.at)
    }
}
