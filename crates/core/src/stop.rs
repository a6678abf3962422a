use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Progress, Tick};

/// When a run ends. Several rules may be given; the first that holds is the reason.
///
/// A rule looks only at the last [`Tick`] and at what checkpoints keep, so that a resumed run stops
/// where the uninterrupted one does. Counts and times include what was spent before a resume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// After this many steps.
    Steps(u64),
    /// As soon as this many evaluations are spent, or the next step would exceed them where the method knows
    /// what it needs ([`crate::Method::upcoming`]).
    Evaluations(u64),
    /// After this time, at the next step boundary.
    Time(Duration),
    /// As soon as a step sees an objective value at or below this one.
    Target(f64),
    /// As soon as a step sees ‖g‖∞ at or below this number.
    Tolerance(f64),
    /// As soon as a step reports a metric below this number.
    Below {
        /// One of [`Progress::metrics`].
        metric: &'static str,
        /// Not NaN.
        value: f64,
    },
    /// When nothing moves: over `steps` steps the number stayed within `within` of what it was.
    Still {
        /// A metric of [`Progress::metrics`]; `None`: the objective value.
        metric: Option<&'static str>,
        /// Largest difference that counts as none, ≥ 0.
        within: f64,
        /// Steps without a larger one.
        steps: u64,
    },
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
    /// The token given to [`crate::Run::interrupt`].
    Interrupted,
    /// The user's closure, given to [`crate::Run::stop_when`] or [`crate::Run::each`].
    Condition,
    /// [`Stop::Below`].
    Below,
    /// [`Stop::Still`].
    Still,
    /// The method ended itself; [`Progress::ended`] says why.
    Method,
}

impl Stop {
    /// The reason to stop now, if this rule holds.
    pub fn check<S>(&self, tick: &Tick<'_, S>) -> Option<StopReason> {
        let seen = tick.step > 0;
        let (holds, reason) = match *self {
            Self::Steps(n) => (tick.step >= n, StopReason::Steps),
            Self::Evaluations(n) => {
                let spent = tick.evaluations >= n || tick.evaluations.saturating_add(tick.upcoming) > n;
                (spent, StopReason::Evaluations)
            }
            Self::Time(limit) => (tick.elapsed >= limit, StopReason::Time),
            Self::Target(value) => (seen && tick.progress.value <= value, StopReason::Target),
            Self::Tolerance(tol) => (
                tick.progress.metric(Progress::GRAD_MAX).is_some_and(|g| seen && g <= tol),
                StopReason::Tolerance,
            ),
            Self::Below { metric, value } => {
                (tick.progress.metric(metric).is_some_and(|m| seen && m < value), StopReason::Below)
            }
            Self::Still { .. } => (false, StopReason::Still), // the driver remembers
        };
        holds.then_some(reason)
    }

    /// Whether a rule [`Stop::Still`] holds now; `memory` has an entry of each: the number it compares with
    /// and the step that had it.
    pub(crate) fn nothing_moved<S>(rules: &[Self], tick: &Tick<'_, S>, memory: &mut Vec<(f64, u64)>) -> bool {
        let mut holds = false;
        let stills = rules.iter().filter_map(|rule| match *rule {
            Self::Still { metric, within, steps } => Some((metric, within, steps)),
            _ => None,
        });
        for (i, (metric, within, steps)) in stills.enumerate().filter(|_| tick.step > 0) {
            let now = metric.map_or(Some(tick.progress.value), |name| tick.progress.metric(name));
            let Some(now) = now else { continue };
            memory.resize(memory.len().max(i + 1), (f64::NAN, tick.step));
            let (before, since) = &mut memory[i];
            let near = now == *before || (now - *before).abs() <= within;
            if !near {
                (*before, *since) = (now, tick.step);
            }
            holds |= tick.step - *since >= steps;
        }
        holds
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
            Self::Below => "a metric fell below its limit",
            Self::Still => "nothing moved any more",
            Self::Method => "the method ended itself",
        })
    }
}
