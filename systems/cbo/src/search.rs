//! The loop of every search, as [`thalweg_core::Run`] drives it: ask the swarm for points, evaluate them, tell it
//! their values.

use serde::{Deserialize, Serialize};
use thalweg_core::{Iterate, MethodError, Problem, Progress};
use thalweg_optim::blackbox::{BlackBox, Evaluator};

use crate::{CboError, Space, Swarm};

/// A black box and the space in which its minimum is sought.
pub struct SearchProblem<'a> {
    space: Space,
    f: Evaluator<'a>,
}

impl<'a> SearchProblem<'a> {
    /// `f` over `space`.
    pub fn new(space: &Space, f: &'a dyn BlackBox) -> Self {
        Self { space: space.clone(), f: Evaluator::new(f, space.dim) }
    }

    /// Where the particles may be.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Counts of evaluations and failures, and the best point so far.
    pub fn evaluator(&self) -> &Evaluator<'a> {
        &self.f
    }
}

impl Problem for SearchProblem<'_> {
    fn save(&self) -> Vec<u8> {
        self.f.save()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MethodError> {
        self.f.restore(saved)
    }
}

/// What a search found: always both, the best point that was ever evaluated and the final consensus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Best point evaluated, `[dim]`: a feasible one, if there was any.
    pub best_x: Vec<f64>,
    /// Its value, without penalty.
    pub best_f: f64,
    /// Whether no constraint is violated there by more than the tolerance.
    pub best_feasible: bool,
    /// Final consensus, within the space, `[dim]`.
    pub consensus: Vec<f64>,
    /// Its value, without penalty; NaN if that evaluation failed.
    pub consensus_f: f64,
    /// Whether no constraint is violated there by more than the tolerance.
    pub consensus_feasible: bool,
    /// Evaluations made, exactly; that of the consensus included.
    pub evaluations: u64,
    /// Evaluations that gave no finite value.
    pub failures: u64,
    /// Restarts made.
    pub restarts: u64,
    /// Why the search ended itself, if it did.
    pub ended: Option<Ended>,
}

/// Why a search ends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The best value does not improve any more.
    Stalled,
    /// All particles are in one place.
    Collapsed,
    /// A value of −∞ was found.
    Unbounded,
    /// More than half of the evaluations failed, many times in a row.
    Failures,
}

impl Ended {
    /// In words that follow "it ended because".
    fn words(self) -> &'static str {
        match self {
            Self::Stalled => "the best value did not improve any more",
            Self::Collapsed => "all particles were in one place",
            Self::Unbounded => "a value of −∞ was found",
            Self::Failures => "more than half of the evaluations failed, many times in a row",
        }
    }
}

/// Evaluations after which a function without any finite value is given up.
const HOPELESS: u64 = 1000;

/// Iterations in a row with more than half of the evaluations failing.
const FAILING: u64 = 10;

/// What changes: the swarm, and what the loop has to remember. The consensus is its iterate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State<W> {
    swarm: W,
    /// Points asked for whose values are still unknown, because the step was stopped in its middle.
    pending: Option<Vec<f64>>,
    /// Iterations in a row with many failures.
    failing: u64,
    /// The consensus before.
    before: Vec<f64>,
    /// Movements of the consensus in the latest iterations, at most [`PATIENCE`], the oldest first.
    moves: Vec<f64>,
    freshness: Freshness,
    ended: Option<Ended>,
    /// Of the last iteration: points `[n, dim]`, what the swarm saw there, and gradients.
    #[serde(skip)]
    points: Vec<f64>,
    #[serde(skip)]
    seen: Vec<f64>,
    #[serde(skip)]
    gradients: Vec<f64>,
}

/// Iterations over which [`MOVED`] looks back.
pub const PATIENCE: usize = 20;

/// Metric: the largest movement of the consensus in one of the latest [`PATIENCE`] iterations, in the largest
/// coordinate; infinite until there are so many.
pub const MOVED: &str = "moved";

/// Metric: distance of the farthest particle from the consensus, in the largest coordinate.
pub const SPREAD: &str = "spread";

/// Metric: the share of the evaluations so far after which the best value still improved, from 1 just after an
/// improvement down to 0. Improvements count once they add up to 1e-12 of the first cloud's range of values, or of the
/// value itself; the first [`YOUNG`] evaluations are always fresh, and so is a swarm that has not settled
/// ([`Swarm::settled`]).
pub const FRESH: &str = "fresh";

/// Evaluations that are too few to say that nothing improves.
pub const YOUNG: u64 = 500;

/// When the best value improved last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Freshness {
    /// Violation and value of the incumbent then; none before the first.
    then: Option<(f64, f64)>,
    /// Evaluations made by then.
    since: u64,
    /// From the best to the median finite value of the first cloud that has one.
    range: f64,
}

impl Freshness {
    fn see(&mut self, evaluator: &Evaluator<'_>, seen: &[f64]) {
        let best = evaluator.incumbent();
        if best.f == f64::INFINITY {
            return;
        }
        if self.then.is_none() {
            let mut finite: Vec<f64> = seen.iter().copied().filter(|f| f.is_finite()).collect();
            finite.sort_by(f64::total_cmp);
            self.range = finite.get(finite.len() / 2).map_or(0.0, |median| median - finite[0]);
        }
        let better = self.then.is_none_or(|(violation, f)| {
            let least = 1e-12 * self.range.max(f.abs());
            best.violation < violation || (best.violation == violation && f - best.f > least)
        });
        if better {
            (self.then, self.since) = (Some((best.violation, best.f)), evaluator.evaluations());
        }
    }

    fn share(&self, evaluations: u64) -> f64 {
        if evaluations <= YOUNG { 1.0 } else { self.since as f64 / evaluations as f64 }
    }
}

/// Metric: value of the incumbent, also where it is infeasible; the objective value is +∞ there.
pub const BEST: &str = "best_f";

impl<W: Swarm> Iterate<f64> for State<W> {
    fn theta(&self) -> &[f64] {
        self.swarm.consensus()
    }
}

impl<W: Swarm> State<W> {
    /// Before the first iteration.
    pub(crate) fn new(problem: &mut SearchProblem<'_>, swarm: W) -> Self {
        problem.f.reset();
        let before = swarm.consensus().to_vec();
        let (pending, failing, moves, freshness, ended) = Default::default();
        let (points, seen, gradients) = Default::default();
        Self { swarm, pending, failing, before, moves, freshness, ended, points, seen, gradients }
    }

    /// The swarm.
    pub fn swarm(&self) -> &W {
        &self.swarm
    }

    /// The points evaluated last, `[n, dim]`.
    pub fn points(&self) -> &[f64] {
        &self.points
    }

    /// The swarm, unless it waits for values.
    pub(crate) fn idle(&mut self) -> Option<&mut W> {
        self.pending.is_none().then_some(&mut self.swarm)
    }

    /// Evaluations of the next iteration and of the final consensus.
    pub(crate) fn upcoming(&self) -> u64 {
        self.swarm.upcoming() as u64 + 1
    }

    /// One iteration.
    pub(crate) fn step(&mut self, problem: &mut SearchProblem<'_>) -> Result<Progress, MethodError> {
        match self.pending.take() {
            Some(points) => self.points = points,
            None => {
                self.points.clear();
                self.points.extend_from_slice(self.swarm.ask());
            }
        }
        let evaluator = &mut problem.f;
        let lost = evaluator.evaluate(&self.points, &mut self.seen).inspect_err(|_| {
            self.pending = Some(self.points.clone());
        })?;

        let n = self.seen.len() as u64;
        self.failing = if 2 * lost > n { self.failing + 1 } else { 0 };
        let never = evaluator.failures() == evaluator.evaluations();
        let long = self.failing >= FAILING || evaluator.evaluations() >= HOPELESS;
        let hopeless = never && (long || evaluator.hopeless());
        self.freshness.see(evaluator, &self.seen);
        let best = evaluator.incumbent();
        self.ended = match () {
            () if best.f == f64::NEG_INFINITY && best.feasible() => Some(Ended::Unbounded),
            () if hopeless => Some(Ended::Failures),
            () => None,
        };
        if self.ended.is_none() {
            self.tell(evaluator);
            self.ended = if self.failing >= FAILING { Some(Ended::Failures) } else { self.swarm.over() };
        }
        Ok(self.progress(evaluator, n))
    }

    fn tell(&mut self, evaluator: &mut Evaluator<'_>) {
        if self.swarm.wants_gradients() {
            self.gradients.resize(self.points.len(), 0.0);
            if evaluator.gradients(&self.points, &mut self.gradients) {
                self.swarm.tell_gradients(&self.gradients);
            }
        }
        self.swarm.tell(&self.seen);
        if evaluator.follow_violation(&self.seen) {
            self.swarm.forget();
        }
        let consensus = self.swarm.consensus();
        let moved = self.before.iter().zip(consensus).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        self.before.copy_from_slice(consensus);
        self.moves.drain(..(self.moves.len() + 1).saturating_sub(PATIENCE));
        self.moves.push(moved);
    }

    fn progress(&self, evaluator: &Evaluator<'_>, evaluations: u64) -> Progress {
        let (best, d) = (evaluator.incumbent(), self.swarm.diagnostics());
        let moved = match self.moves.len() {
            PATIENCE => self.moves.iter().copied().fold(0.0, f64::max),
            _ => f64::INFINITY,
        };
        let metrics = [
            (BEST, best.f),
            (FRESH, if self.swarm.settled() { self.freshness.share(evaluator.evaluations()) } else { 1.0 }),
            (SPREAD, self.swarm.spread()),
            (MOVED, moved),
            ("ess", d.ess),
            ("alpha", d.alpha),
            ("noise", d.noise),
        ];
        Progress {
            value: if best.feasible() { best.f } else { f64::INFINITY },
            evaluations,
            metrics: metrics.map(|(name, x)| (name.into(), x)).into(),
            ended: self.ended.map(|why| why.words().into()),
            ..Progress::default()
        }
    }

    /// Evaluates the final consensus.
    pub(crate) fn finish(self, problem: &mut SearchProblem<'_>) -> Result<Answer, MethodError> {
        let none = |f: &Evaluator<'_>| {
            let cause = f.complaint().map_or_else(String::new, |c| format!(" ({c})"));
            let point = self.points.get(..problem.space.dim).unwrap_or(&self.before);
            let point = format!("{point:?}");
            match f.complaint() {
                Some(cause) if f.hopeless() => CboError::Hopeless { point, cause },
                _ => CboError::NoFinite { evaluations: f.evaluations(), point, cause },
            }
        };
        let evaluator = &mut problem.f;
        if evaluator.evaluations() > 0 && evaluator.incumbent().f == f64::INFINITY {
            return Err(none(evaluator).into());
        }
        let mut consensus = self.swarm.consensus().to_vec();
        problem.space.project(&mut consensus);
        let consensus = evaluator.report(&consensus);
        let best = evaluator.incumbent();
        if best.f == f64::INFINITY {
            return Err(none(evaluator).into());
        }
        Ok(Answer {
            best_x: best.x.clone(),
            best_f: best.f,
            best_feasible: best.feasible(),
            consensus_feasible: consensus.feasible(),
            consensus_f: consensus.f,
            consensus: consensus.x,
            evaluations: evaluator.evaluations(),
            failures: evaluator.failures(),
            restarts: self.swarm.restarts(),
            ended: self.ended,
        })
    }
}
