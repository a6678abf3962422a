//! The first-order method behind a preconditioner.

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Objective, Progress, Real, Seed};
use thalweg_optim::{Adam, AdamState, AdamW, Lamb, Muon, MuonState, Sgd, SgdState};

/// The first-order method that takes the preconditioned gradient for its gradient.
///
/// In files: its name and its own fields, `{"name": "sgd", "lr": 0.1, "momentum": 0.9}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Backend {
    /// Stochastic gradient descent with momentum.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// LAMB.
    Lamb(Lamb),
    /// Muon.
    Muon(Muon),
}

impl Default for Backend {
    fn default() -> Self {
        Self::Sgd(Sgd::default())
    }
}

/// State of a [`Backend`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub enum BackendState<T> {
    /// Of [`Backend::Sgd`].
    Sgd(SgdState<T>),
    /// Of [`Backend::Adam`], [`Backend::AdamW`] and [`Backend::Lamb`].
    Adam(AdamState<T>),
    /// Of [`Backend::Muon`].
    Muon(MuonState<T>),
}

impl<T> Iterate<T> for BackendState<T> {
    fn theta(&self) -> &[T] {
        match self {
            Self::Sgd(state) => state.theta(),
            Self::Adam(state) => state.theta(),
            Self::Muon(state) => state.theta(),
        }
    }
}

/// `$body` for whichever method it is.
macro_rules! each {
    ($backend:expr, $method:ident => $body:expr) => {
        match $backend {
            Backend::Sgd($method) => $body,
            Backend::Adam($method) => $body,
            Backend::AdamW($method) => $body,
            Backend::Lamb($method) => $body,
            Backend::Muon($method) => $body,
        }
    };
}

impl Backend {
    /// Learning rate of step `t`, from 0.
    pub fn lr(&self, t: u64) -> f64 {
        each!(self, method => method.lr * method.schedule.factor(t))
    }

    /// The same with all its learning rates multiplied by `factor`.
    pub fn scaled(&self, factor: f64) -> Self {
        let mut scaled = self.clone();
        each!(&mut scaled, method => method.lr *= factor);
        if let Self::Muon(muon) = &mut scaled {
            muon.adam_lr *= factor;
        }
        scaled
    }

    /// Names the bad field.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let checked = each!(self, method => Method::<dyn Objective<Scalar = f64>>::validate(method));
        checked.map_err(|e| Invalid { field: format!("backend.{}", e.field), ..e })
    }
}

impl<P: Objective + ?Sized> Method<P> for Backend {
    type State = BackendState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        each!(self, method => Method::<P>::name(method))
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.check()
    }

    fn init(&self, problem: &mut P, seed: Seed) -> Result<Self::State, MethodError> {
        Ok(match self {
            Self::Sgd(method) => BackendState::Sgd(method.init(problem, seed)?),
            Self::Adam(method) => BackendState::Adam(method.init(problem, seed)?),
            Self::AdamW(method) => BackendState::Adam(method.init(problem, seed)?),
            Self::Lamb(method) => BackendState::Adam(method.init(problem, seed)?),
            Self::Muon(method) => BackendState::Muon(method.init(problem, seed)?),
        })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        match (self, state) {
            (Self::Sgd(method), BackendState::Sgd(state)) => method.step(problem, state),
            (Self::Adam(method), BackendState::Adam(state)) => method.step(problem, state),
            (Self::AdamW(method), BackendState::Adam(state)) => method.step(problem, state),
            (Self::Lamb(method), BackendState::Adam(state)) => method.step(problem, state),
            (Self::Muon(method), BackendState::Muon(state)) => method.step(problem, state),
            _ => Err(Invalid {
                field: "backend".into(),
                value: Method::<P>::name(self).into(),
                legal: "the method that the state was made for".into(),
            }
            .into()),
        }
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.theta().to_vec())
    }
}
