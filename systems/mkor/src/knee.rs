//! When a preconditioner no longer pays: MKOR-H, and schedules by knees of the loss.

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Objective, Progress, Real, Seed};

use crate::Backend;
use crate::backend::BackendState;

/// Finds the knee of a training curve: the loss falls much more slowly than it did on average
/// since the last knee.
///
/// The curve is read in checks, each the mean loss ℓ of `window` steps. r is an exponential
/// average of the improvements ℓ₋₁ − ℓ; R = (ℓ at the last knee − ℓ)/(checks since). A knee is
/// where r < βR in `patience` checks in a row; then r and R start anew.
///
/// ```
/// use thalweg_mkor::Knee;
/// use thalweg_mkor::knee::KneeState;
/// let (knee, mut state) = (Knee { window: 1, ..Knee::default() }, KneeState::default());
/// let falls = |t: u32| f64::from(t.min(20)) * -0.1;
/// let found: Vec<u32> = (0..100).filter(|t| knee.observe(&mut state, falls(*t))).collect();
/// assert_eq!(found.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knee {
    /// β in (0, 1). Default 0.1 (the authors name it and give no value).
    pub beta: f64,
    /// Steps per check, at least 1. Default 50; an epoch's steps are a good choice.
    pub window: u64,
    /// Weight of the past in r, in [0, 1). Default 0.9.
    pub smoothing: f64,
    /// Checks in a row, at least 1. Default 2.
    pub patience: u32,
}

impl Default for Knee {
    fn default() -> Self {
        Self { beta: 0.1, window: 50, smoothing: 0.9, patience: 2 }
    }
}

/// What a [`Knee`] remembers of the curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KneeState {
    /// Sum and number of the losses of the current window.
    sum: f64,
    steps: u64,
    /// ℓ of the last check and of the last knee.
    last: Option<f64>,
    reference: f64,
    /// r.
    rate: Option<f64>,
    checks: u64,
    low: u32,
}

impl Knee {
    /// Names the bad field.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_open("knee.beta", self.beta, 0.0, 1.0)?;
        Invalid::count("knee.window", self.window)?;
        Invalid::in_half_open("knee.smoothing", self.smoothing, 0.0, 1.0)?;
        Invalid::count("knee.patience", self.patience)
    }

    /// Takes in the loss of one step; whether a knee is reached. Losses that are not finite are
    /// passed over.
    pub fn observe(&self, state: &mut KneeState, loss: f64) -> bool {
        if !loss.is_finite() {
            return false;
        }
        (state.sum, state.steps) = (state.sum + loss, state.steps + 1);
        if state.steps < self.window {
            return false;
        }
        let level = state.sum / state.steps as f64;
        (state.sum, state.steps) = (0.0, 0);
        self.check(state, level)
    }

    fn check(&self, state: &mut KneeState, level: f64) -> bool {
        let Some(last) = state.last.replace(level) else {
            state.reference = level;
            return false;
        };
        state.checks += 1;
        let gain = last - level;
        let rate = state.rate.map_or(gain, |r| self.smoothing * r + (1.0 - self.smoothing) * gain);
        let average = (state.reference - level) / state.checks as f64;
        state.rate = Some(rate);
        state.low = if rate < self.beta * average { state.low + 1 } else { 0 };
        if state.low < self.patience {
            return false;
        }
        *state = KneeState { last: Some(level), reference: level, ..KneeState::default() };
        true
    }
}

/// Lowers the learning rate at each knee of the training curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KneeSchedule {
    /// Where.
    pub knee: Knee,
    /// KroneckerFactor on the learning rate at each knee, in (0, 1). Default ½; 0.1 is usual too.
    pub factor: f64,
}

impl Default for KneeSchedule {
    fn default() -> Self {
        Self { knee: Knee::default(), factor: 0.5 }
    }
}

/// State of a [`KneeSchedule`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KneeScheduleState {
    /// The curve.
    pub knee: KneeState,
    /// KroneckerFactor reached.
    pub factor: f64,
}

impl Default for KneeScheduleState {
    fn default() -> Self {
        Self { knee: KneeState::default(), factor: 1.0 }
    }
}

impl KneeSchedule {
    /// Names the bad field.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::in_open("factor", self.factor, 0.0, 1.0)?;
        self.knee.validate()
    }

    /// Takes in the loss of one step.
    pub fn observe(&self, state: &mut KneeScheduleState, loss: f64) {
        if self.knee.observe(&mut state.knee, loss) {
            state.factor *= self.factor;
        }
    }
}

/// A first-order method whose learning rate falls at the knees of its training curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduled {
    /// The method.
    pub backend: Backend,
    /// Where its rate falls, and by how much.
    pub schedule: KneeSchedule,
}

/// State of [`Scheduled`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct ScheduledState<T> {
    /// Iterate and moments.
    pub backend: BackendState<T>,
    /// Curve and factor.
    pub schedule: KneeScheduleState,
}

impl<T> Iterate<T> for ScheduledState<T> {
    fn theta(&self) -> &[T] {
        self.backend.theta()
    }
}

impl<P: Objective + ?Sized> Method<P> for Scheduled {
    type State = ScheduledState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        Method::<P>::name(&self.backend)
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.backend.check()?;
        self.schedule.validate()
    }

    fn init(&self, problem: &mut P, seed: Seed) -> Result<Self::State, MethodError> {
        let backend = self.backend.init(problem, seed)?;
        Ok(ScheduledState { backend, schedule: KneeScheduleState::default() })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        let backend = self.backend.scaled(state.schedule.factor);
        let progress = backend.step(problem, &mut state.backend)?;
        self.schedule.observe(&mut state.schedule, progress.value);
        Ok(progress)
    }

    fn finish(&self, problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        self.backend.finish(problem, state.backend)
    }
}
