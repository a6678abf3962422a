use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Objective, Progress, Real, Seed};

use crate::TemplateError;

/// Gradient descent with backtracking: θ ← θ − η g with the first of η, η/2, η/4, … at which
/// f falls by at least c η ‖g‖².
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Template {
    /// Largest rate η > 0. Default 1 (the paper's; say so where it is not).
    pub lr: f64,
    /// Share c of the decrease that the gradient promises, in (0, 1). Default 1e-4.
    pub decrease: f64,
}

impl Default for Template {
    fn default() -> Self {
        Self { lr: 1.0, decrease: 1e-4 }
    }
}

/// State of [`Template`]: everything that a resumed run needs, and nothing else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TemplateState<T> {
    pub(crate) theta: Vec<T>,
}

impl<T> Iterate<T> for TemplateState<T> {
    fn theta(&self) -> &[T] {
        &self.theta
    }
}

impl<P: Objective + ?Sized> Method<P> for Template {
    type State = TemplateState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "template"
    }

    fn validate(&self) -> Result<(), Invalid> {
        Invalid::positive("lr", self.lr)?;
        Invalid::in_open("decrease", self.decrease, 0.0, 1.0)
    }

    fn init(&self, problem: &mut P, _seed: Seed) -> Result<Self::State, MethodError> {
        Ok(TemplateState { theta: problem.start()? })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        let mut grad = vec![P::Scalar::ZERO; state.theta.len()];
        let value = problem.value_grad(&state.theta, &mut grad)?;
        let norm2: f64 = grad.iter().map(|g| g.to_f64() * g.to_f64()).sum();
        let mut evaluations = 1;
        let mut lr = self.lr;
        let value = loop {
            let eta = P::Scalar::from_f64(lr);
            let theta: Vec<_> = state.theta.iter().zip(&grad).map(|(x, g)| *x - eta * *g).collect();
            let next = problem.value(&theta)?;
            evaluations += 1;
            if next <= value - self.decrease * lr * norm2 {
                state.theta = theta;
                break next;
            }
            lr /= 2.0;
            if lr < f64::EPSILON * self.lr {
                return Err(TemplateError::NoDescent { norm: norm2.sqrt() }.into());
            }
        };
        let largest = grad.iter().fold(0.0, |max: f64, g| max.max(g.to_f64().abs()));
        let metrics = vec![(Progress::GRAD_MAX.into(), largest), ("lr".into(), lr)];
        Ok(Progress { value, evaluations, metrics, ..Progress::default() })
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.theta)
    }
}
