use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Objective, Progress, Real, Seed};
use thalweg_linalg::vector::{each2, each3};

use crate::{FirstOrderState, Group, Schedule, StepSettings};

/// Stochastic gradient descent with momentum, as PyTorch defines it:
/// b ← μ b + g + λθ, θ ← θ − η b, or with Nesterov's look-ahead θ ← θ − η (g + λθ + μ b).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Learning rate η ≥ 0. Default 0.1.
    pub lr: f64,
    /// Momentum μ in [0, 1). Default 0.9.
    pub momentum: f64,
    /// Nesterov's variant; needs momentum. Default off.
    pub nesterov: bool,
    /// Weight decay λ ≥ 0, added to the gradient. Default 0.
    pub weight_decay: f64,
    /// Factor on the learning rate. Default constant.
    pub schedule: Schedule,
    /// Overrides for some blocks.
    pub groups: Vec<Group>,
}

impl Default for Sgd {
    fn default() -> Self {
        let (schedule, groups) = Default::default();
        Self { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.0, schedule, groups }
    }
}

/// State of [`Sgd`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct SgdState<T> {
    descent: FirstOrderState<T>,
    /// Momentum buffer, empty without momentum.
    buffer: Vec<T>,
}

impl<T> Iterate<T> for SgdState<T> {
    fn theta(&self) -> &[T] {
        self.descent.theta()
    }
}

impl Sgd {
    fn pace(&self) -> StepSettings<'_> {
        let Self { lr, weight_decay, schedule, groups, .. } = self;
        StepSettings { lr: *lr, weight_decay: *weight_decay, schedule, groups }
    }
}

impl<P: Objective + ?Sized> Method<P> for Sgd {
    type State = SgdState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "sgd"
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.pace().validate()?;
        Invalid::in_half_open("momentum", self.momentum, 0.0, 1.0)?;
        let legal = !self.nesterov || self.momentum > 0.0;
        Invalid::check(legal, "nesterov", self.nesterov, "momentum > 0 together with nesterov")
    }

    fn init(&self, problem: &mut P, _seed: Seed) -> Result<Self::State, MethodError> {
        let descent = FirstOrderState::new(problem)?;
        let n = if self.momentum > 0.0 { descent.theta.len() } else { 0 };
        Ok(SgdState { descent, buffer: vec![Real::ZERO; n] })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        let SgdState { descent, buffer } = state;
        let real = P::Scalar::from_f64;
        let mu = real(self.momentum);
        descent.step(problem, self.pace(), |m| {
            let (lr, decay) = (real(m.lr), real(m.rates.weight_decay));
            if buffer.is_empty() {
                return each2(m.theta, m.grad, |x, g| *x -= lr * (g + decay * *x));
            }
            let buffer = &mut buffer[m.rates.range.clone()];
            match self.nesterov {
                false => each3(m.theta, buffer, m.grad, |x, b, g| {
                    *b = mu * *b + (g + decay * *x);
                    *x -= lr * *b;
                }),
                true => each3(m.theta, buffer, m.grad, |x, b, g| {
                    let g = g + decay * *x;
                    *b = mu * *b + g;
                    *x -= lr * (g + mu * *b);
                }),
            }
        })
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.descent.theta)
    }
}
