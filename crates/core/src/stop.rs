use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Progress, Tick, interrupt};

/// When a run ends. Several rules may be given; the first that holds is the reason.
///
/// A rule looks only at the last [`Tick`], so that a resumed run stops where the uninterrupted
/// one does. Counts and times include what was spent before a resume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// After this many steps.
    Steps(u64),
    /// As soon as this many evaluations are spent.
    Evaluations(u64),
    /// After this time, at the next step boundary.
    Time(Duration),
    /// As soon as a step sees an objective value at or below this one.
    Target(f64),
    /// As soon as a step sees ‖g‖∞ at or below this number.
    Tolerance(f64),
    /// At the step boundary after Ctrl-C; see [`crate::interrupt`].
    Interrupt,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// [`Stop::Steps`].
    Steps,
    /// [`Stop::Evaluations`].
    Evaluations,
    /// [`Stop::Time`].
    Time,
    /// [`Stop::Target`].
    Target,
    /// [`Stop::Tolerance`].
    Tolerance,
    /// The method's own convergence test.
    Converged,
    /// [`Stop::Interrupt`].
    Interrupted,
    /// The user's closure, given to [`crate::Run::stop_when`] or [`crate::Run::each`].
    Condition,
}

impl Stop {
    /// The reason to stop now, if this rule holds.
    pub fn check<S>(&self, tick: &Tick<'_, S>) -> Option<StopReason> {
        let seen = tick.step > 0;
        let (holds, reason) = match *self {
            Self::Steps(n) => (tick.step >= n, StopReason::Steps),
            Self::Evaluations(n) => (tick.evaluations >= n, StopReason::Evaluations),
            Self::Time(limit) => (tick.elapsed >= limit, StopReason::Time),
            Self::Target(value) => (seen && tick.progress.value <= value, StopReason::Target),
            Self::Tolerance(tol) => (
                tick.progress.metric(Progress::GRAD_MAX).is_some_and(|g| seen && g <= tol),
                StopReason::Tolerance,
            ),
            Self::Interrupt => (interrupt::requested(), StopReason::Interrupted),
        };
        holds.then_some(reason)
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steps => "the number of steps was reached",
            Self::Evaluations => "the number of evaluations was reached",
            Self::Time => "the time was up",
            Self::Target => "the target value was reached",
            Self::Tolerance => "the gradient fell below the tolerance",
            Self::Converged => "the method converged",
            Self::Interrupted => "it was interrupted",
            Self::Condition => "the caller's condition held",
        })
    }
}
