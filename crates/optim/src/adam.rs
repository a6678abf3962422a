use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Objective, Progress, Real, Seed};
use thalweg_linalg::vector::each4;

use crate::descent::{BlockStep, check_betas};
use crate::{FirstOrderState, Group, Schedule, StepSettings};

/// State of [`Adam`], [`AdamW`] and [`crate::Lamb`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct AdamState<T> {
    pub(crate) descent: FirstOrderState<T>,
    pub(crate) moments: Moments<T>,
}

/// Exponential averages of the gradient and of its square.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub(crate) struct Moments<T> {
    pub m: Vec<T>,
    pub v: Vec<T>,
}

impl<T: Real> Moments<T> {
    pub fn zero(n: usize) -> Self {
        Self { m: vec![T::ZERO; n], v: vec![T::ZERO; n] }
    }
}

impl<T> Iterate<T> for AdamState<T> {
    fn theta(&self) -> &[T] {
        self.descent.theta()
    }
}

impl<T: Real> AdamState<T> {
    pub(crate) fn new<P: Objective<Scalar = T> + ?Sized>(problem: &mut P) -> Result<Self, MethodError> {
        let descent = FirstOrderState::new(problem)?;
        let moments = Moments::zero(descent.theta.len());
        Ok(Self { descent, moments })
    }
}

/// θ ← (1 − `shrink`) θ − η m̂/(√v̂ + ε) with g ← g + `couple`·θ in the averages.
pub(crate) fn adam_update<T: Real>(
    at: BlockStep<'_, T>,
    moments: &mut Moments<T>,
    betas: (f64, f64),
    eps: f64,
    (couple, shrink): (f64, f64),
) {
    let real = T::from_f64;
    let correct = |beta: f64| 1.0 - beta.powf(at.update as f64);
    let step = real(at.lr / correct(betas.0));
    let root = real(1.0 / correct(betas.1).sqrt());
    let (b1, c1, b2, c2) = (real(betas.0), real(1.0 - betas.0), real(betas.1), real(1.0 - betas.1));
    let (eps, couple, keep) = (real(eps), real(couple), real(1.0 - shrink));
    let range = at.rates.range.clone();
    let (m, v) = (&mut moments.m[range.clone()], &mut moments.v[range]);
    each4(at.theta, m, v, at.grad, |x, m, v, g| {
        let g = g + couple * *x;
        *m = b1 * *m + c1 * g;
        *v = b2 * *v + c2 * g * g;
        *x = keep * *x - step * *m / (v.sqrt() * root + eps);
    });
}

macro_rules! adam {
    ($(#[$doc:meta])* $Name:ident, $name:literal, $decay:expr, $decay_doc:literal, $coefficients:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $Name {
            /// Learning rate η ≥ 0. Default 1e-3.
            pub lr: f64,
            /// Decay rates of the two averages, each in [0, 1). Default (0.9, 0.999).
            pub betas: (f64, f64),
            /// Added to the denominator, ≥ 0. Default 1e-8.
            pub eps: f64,
            #[doc = $decay_doc]
            pub weight_decay: f64,
            /// Factor on the learning rate. Default constant.
            pub schedule: Schedule,
            /// Overrides for some blocks.
            pub groups: Vec<Group>,
        }

        impl Default for $Name {
            fn default() -> Self {
                let (schedule, groups) = Default::default();
                Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: $decay, schedule, groups }
            }
        }

        impl $Name {
            fn pace(&self) -> StepSettings<'_> {
                let Self { lr, weight_decay, schedule, groups, .. } = self;
                StepSettings { lr: *lr, weight_decay: *weight_decay, schedule, groups }
            }
        }

        impl<P: Objective + ?Sized> Method<P> for $Name {
            type State = AdamState<P::Scalar>;
            type Solution = Vec<P::Scalar>;

            fn name(&self) -> &'static str {
                $name
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
                let coefficients: fn(f64, f64) -> (f64, f64) = $coefficients;
                descent.step(problem, self.pace(), |at| {
                    let decay = coefficients(at.lr, at.rates.weight_decay);
                    adam_update(at, moments, self.betas, self.eps, decay);
                })
            }

            fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
                Ok(state.descent.theta)
            }
        }
    };
}

adam!(
    /// Adam (Kingma and Ba 2015, arXiv:1412.6980): m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g²,
    /// θ ← θ − η m̂/(√v̂ + ε) with both averages corrected for their start at 0.
    Adam,
    "adam",
    0.0,
    "Weight decay λ ≥ 0, added to the gradient as λθ. Default 0.",
    |_lr, decay| (decay, 0.0)
);
adam!(
    /// AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101): Adam with decoupled decay,
    /// θ ← (1 − ηλ) θ − η m̂/(√v̂ + ε).
    AdamW,
    "adamw",
    0.01,
    "Weight decay λ ≥ 0, applied to the weights and not to the gradient. Default 0.01.",
    |lr, decay| (0.0, lr * decay)
);
