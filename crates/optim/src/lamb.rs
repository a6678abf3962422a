use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Objective, Progress, Real, Seed};
use thalweg_linalg::vector::{dot, each2, each3};

use crate::adam::AdamState;
use crate::descent::check_betas;
use crate::{Group, Schedule, StepSettings};

/// LAMB (You et al. 2020, arXiv:1904.00962): Adam whose update of each block is scaled to the
/// norm of the block. With u = m̂/(√v̂ + ε) + λθ: θ ← θ − η (‖θ‖/‖u‖) u; the ratio is 1 where a
/// norm is 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lamb {
    /// Learning rate η ≥ 0. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the two averages, each in [0, 1). Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the denominator, ≥ 0. Default 1e-6.
    pub eps: f64,
    /// Weight decay λ ≥ 0, part of the scaled update. Default 0.01.
    pub weight_decay: f64,
    /// Factor on the learning rate. Default constant.
    pub schedule: Schedule,
    /// Overrides for some blocks.
    pub groups: Vec<Group>,
}

impl Default for Lamb {
    fn default() -> Self {
        let (schedule, groups) = Default::default();
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-6, weight_decay: 0.01, schedule, groups }
    }
}

impl Lamb {
    fn pace(&self) -> StepSettings<'_> {
        let Self { lr, weight_decay, schedule, groups, .. } = self;
        StepSettings { lr: *lr, weight_decay: *weight_decay, schedule, groups }
    }
}

impl<P: Objective + ?Sized> Method<P> for Lamb {
    type State = AdamState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "lamb"
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.pace().validate()?;
        check_betas(self.betas)?;
        Invalid::at_least_zero("eps", self.eps)
    }

    fn init(&self, problem: &mut P, _seed: Seed) -> Result<Self::State, MethodError> {
        AdamState::new(problem)
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        let AdamState { descent, moments } = state;
        let real = P::Scalar::from_f64;
        let (b1, b2) = self.betas;
        descent.step(problem, self.pace(), |at| {
            let range = at.rates.range.clone();
            let (m, v) = (&mut moments.m[range.clone()], &mut moments.v[range]);
            let (b1t, c1, b2t, c2) = (real(b1), real(1.0 - b1), real(b2), real(1.0 - b2));
            each3(m, v, at.grad, |m, v, g| {
                *m = b1t * *m + c1 * g;
                *v = b2t * *v + c2 * g * g;
            });
            let correct = |beta: f64| 1.0 - beta.powf(at.update as f64);
            let (mean, root) = (real(1.0 / correct(b1)), real(1.0 / correct(b2).sqrt()));
            let (eps, decay) = (real(self.eps), real(at.rates.weight_decay));
            let mut u = at.theta.to_vec();
            each3(&mut u, v, m, |u, v, m| *u = m * mean / (v.sqrt() * root + eps) + decay * *u);
            let norms = (dot(at.theta, at.theta).sqrt(), dot(&u, &u).sqrt());
            let trust = if norms.0 > 0.0 && norms.1 > 0.0 { norms.0 / norms.1 } else { 1.0 };
            let step = real(at.lr * trust);
            each2(at.theta, &u, |x, u| *x -= step * u);
        })
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.descent.theta)
    }
}
