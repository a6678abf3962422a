use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Objective, Progress, Real, Seed};

use crate::TemplateState;

/// Gradient descent with one rate: θ ← θ − η g.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fixed {
    /// Rate η > 0. Default 0.1.
    pub lr: f64,
}

impl Default for Fixed {
    fn default() -> Self {
        Self { lr: 0.1 }
    }
}

impl<P: Objective + ?Sized> Method<P> for Fixed {
    type State = TemplateState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "fixed"
    }

    fn validate(&self) -> Result<(), Invalid> {
        Invalid::positive("lr", self.lr)
    }

    fn init(&self, problem: &mut P, _seed: Seed) -> Result<Self::State, MethodError> {
        Ok(TemplateState { theta: problem.start()? })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        let (eta, mut grad) = (P::Scalar::from_f64(self.lr), vec![P::Scalar::ZERO; state.theta.len()]);
        let value = problem.value_grad(&state.theta, &mut grad)?;
        state.theta.iter_mut().zip(&grad).for_each(|(x, g)| *x -= eta * *g);
        Ok(Progress { value, evaluations: 1, ..Progress::default() })
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.theta)
    }
}
