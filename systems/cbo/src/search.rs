//! The search loop: ask for points, evaluate them, tell their values, until a rule holds.

use std::time::{Duration, Instant};

use serde::Serialize;
use thalweg_core::{Invalid, Seed, interrupt};

use crate::{BlackBox, CboError, Space};

/// A cloud of particles that asks for values and moves by them.
pub trait Swarm {
    /// The points to evaluate next, `[n, dim]`, row by row.
    fn ask(&mut self) -> &[f64];

    /// Their values, `[n]`; NaN and +∞ are failures.
    fn tell(&mut self, values: &[f64]);

    /// The gradients at the same points, before the values, if the function knows them.
    fn tell_gradients(&mut self, _gradients: &[f64]) {}

    /// Whether gradients would be used.
    fn wants_gradients(&self) -> bool {
        false
    }

    /// Where the cloud agrees to be, `[dim]`; its best point before the first [`Swarm::tell`].
    fn consensus(&self) -> &[f64];

    /// Largest distance of a particle from the consensus in any coordinate.
    fn spread(&self) -> f64;

    /// Numbers worth recording: effective sample size, α, noise.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// Why the swarm can do no more, if so.
    fn over(&self) -> Option<StopCause> {
        None
    }

    /// Restarts made.
    fn restarts(&self) -> u64 {
        0
    }
}

/// Numbers of one iteration; NaN where the method has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Effective sample size.
    pub ess: f64,
    /// Inverse temperature.
    pub alpha: f64,
    /// Noise per step, σ√Δt.
    pub noise: f64,
}

impl Default for Facts {
    fn default() -> Self {
        Self { ess: f64::NAN, alpha: f64::NAN, noise: f64::NAN }
    }
}

/// When to stop. The default: after 100,000 evaluations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Evaluations, the one of the final consensus included.
    pub max_evals: u64,
    /// Iterations.
    pub max_iters: Option<u64>,
    /// Time, looked at after every batch of evaluations.
    pub time: Option<Duration>,
    /// Stop when the best value is at most this.
    pub target: Option<f64>,
    /// Stop when the consensus has moved less than this (largest coordinate) for `patience`
    /// iterations.
    pub xtol: Option<f64>,
    /// Iterations for `xtol`.
    pub patience: u64,
    /// Stop when no coordinate of a particle is further than this from the consensus.
    pub dtol: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        let (max_iters, time, target, xtol, dtol) = Default::default();
        Self { max_evals: 100_000, max_iters, time, target, xtol, patience: 20, dtol }
    }
}

impl Limits {
    fn validate(&self) -> Result<(), CboError> {
        let positive = |name, tol: Option<f64>| {
            Invalid::check(tol.is_none_or(|t| t >= 0.0), name, format!("{tol:?}"), "a number ≥ 0")
        };
        positive("xtol", self.xtol)?;
        positive("dtol", self.dtol)?;
        let number = self.target.is_none_or(|t| !t.is_nan());
        Invalid::check(number, "target", "NaN", "a number")?;
        Ok(())
    }
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopCause {
    /// The best value reached the target.
    Target,
    /// The next step would exceed the evaluations allowed.
    Evaluations,
    /// Iterations.
    Iterations,
    /// Time.
    Time,
    /// The consensus does not move any more.
    Stalled,
    /// All particles are in one place.
    Collapsed,
    /// A value of −∞ was found.
    Unbounded,
    /// More than half of the evaluations failed, 10 times in a row.
    Failures,
    /// Ctrl-C.
    Interrupt,
}

impl StopCause {
    /// Whether the search found what it was to find.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Target | Self::Unbounded)
    }
}

/// One line of the history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// Iterations made.
    pub iteration: u64,
    /// Evaluations made.
    pub evals: u64,
    /// Best value so far.
    pub best_f: f64,
    /// Distance of the farthest particle from the consensus, in the largest coordinate.
    pub spread: f64,
    /// The method's own numbers.
    pub facts: Facts,
}

/// What a search found: always both, the best point that was ever evaluated and the final consensus.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Best point evaluated, `[dim]`.
    pub best_x: Vec<f64>,
    /// Its value.
    pub best_f: f64,
    /// Final consensus, within the space, `[dim]`.
    pub consensus: Vec<f64>,
    /// Its value; NaN if that evaluation failed.
    pub consensus_f: f64,
    /// Evaluations made, exactly.
    pub evals: u64,
    /// Iterations made.
    pub iterations: u64,
    /// Evaluations that gave no finite value.
    pub failures: u64,
    /// Restarts made.
    pub restarts: u64,
    /// Why it ended.
    pub stop: StopCause,
    /// Duration.
    pub seconds: f64,
}

/// What a watcher sees after each iteration.
pub struct Step<'a> {
    /// Numbers.
    pub record: Record,
    /// The points just evaluated, `[n, dim]`.
    pub points: &'a [f64],
    /// Consensus, `[dim]`.
    pub consensus: &'a [f64],
}

/// A method: its hyper-parameters, from which swarms start.
pub trait Search: Sync {
    /// Names the bad field, its value and its legal range.
    fn validate(&self, space: &Space) -> Result<(), CboError>;

    /// A swarm before its first step.
    fn swarm(&self, space: &Space, seed: Seed) -> Box<dyn Swarm>;

    /// Minimises `f` over `space`.
    fn minimize(
        &self,
        space: &Space,
        f: &dyn BlackBox,
        limits: &Limits,
        seed: Seed,
    ) -> Result<Answer, CboError> {
        self.watch(space, f, limits, seed, &mut |_| {})
    }

    /// As [`Search::minimize`]; calls `watch` after each iteration.
    fn watch(
        &self,
        space: &Space,
        f: &dyn BlackBox,
        limits: &Limits,
        seed: Seed,
        watch: &mut dyn FnMut(&Step<'_>),
    ) -> Result<Answer, CboError> {
        space.validate()?;
        limits.validate()?;
        self.validate(space)?;
        search(self.swarm(space, seed).as_mut(), space, f, limits, watch)
    }
}

/// Evaluations after which a function without any finite value is given up.
const HOPELESS: u64 = 1000;

/// Iterations in a row with more than half of the evaluations failing.
const FAILING: u64 = 10;

/// NaN and +∞ are failures of the function.
fn failed(f: f64) -> bool {
    f.is_nan() || f == f64::INFINITY
}

/// Moves a swarm until a rule of `limits` holds.
pub fn search(
    swarm: &mut dyn Swarm,
    space: &Space,
    f: &dyn BlackBox,
    limits: &Limits,
    watch: &mut dyn FnMut(&Step<'_>),
) -> Result<Answer, CboError> {
    let (clock, dim) = (Instant::now(), space.dim);
    let mut best_x = swarm.consensus().to_vec();
    let mut best_f = f64::INFINITY;
    let (mut evals, mut iteration, mut failures, mut failing, mut still) = (0, 0, 0, 0, 0);
    let (mut values, mut gradients, mut points) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = best_x.clone();
    let stop = loop {
        points.clear();
        points.extend_from_slice(swarm.ask());
        let n = (points.len() / dim) as u64;
        if evals + n + 1 > limits.max_evals {
            if evals == 0 {
                return Err(CboError::Budget { budget: limits.max_evals, needed: n });
            }
            break StopCause::Evaluations;
        }
        values.resize(n as usize, 0.0);
        f.values(&points, dim, &mut values);
        if swarm.wants_gradients() {
            gradients.resize(points.len(), 0.0);
            if f.gradients(&points, dim, &mut gradients) {
                swarm.tell_gradients(&gradients);
            }
        }
        (evals, iteration) = (evals + n, iteration + 1);
        let lost = values.iter().filter(|f| failed(**f)).count() as u64;
        failures += lost;
        failing = if 2 * lost > n { failing + 1 } else { 0 };
        if let Some(i) = crate::consensus::lowest(&values).filter(|&i| values[i] < best_f) {
            best_f = values[i];
            best_x.copy_from_slice(&points[i * dim..(i + 1) * dim]);
        }
        if best_f == f64::NEG_INFINITY {
            break StopCause::Unbounded;
        }
        if failures == evals && (failing >= FAILING || evals >= HOPELESS) {
            break StopCause::Failures;
        }
        swarm.tell(&values);
        let consensus = swarm.consensus();
        let moved = before.iter().zip(consensus).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        before.copy_from_slice(consensus);
        still = if limits.xtol.is_some_and(|tol| moved < tol) { still + 1 } else { 0 };
        let spread = swarm.spread();
        let record = Record { iteration, evals, best_f, spread, facts: swarm.facts() };
        watch(&Step { record, points: &points, consensus });
        match () {
            () if limits.target.is_some_and(|t| best_f <= t) => break StopCause::Target,
            () if interrupt::requested() => break StopCause::Interrupt,
            () if limits.time.is_some_and(|t| clock.elapsed() >= t) => break StopCause::Time,
            () if limits.max_iters.is_some_and(|m| iteration >= m) => break StopCause::Iterations,
            () if failing >= FAILING => break StopCause::Failures,
            () if still >= limits.patience => break StopCause::Stalled,
            () if limits.dtol.is_some_and(|tol| spread < tol) => break StopCause::Collapsed,
            () => {}
        }
        if let Some(cause) = swarm.over() {
            break cause;
        }
    };
    if best_f == f64::INFINITY {
        let cause = f.complaint().map_or_else(String::new, |c| format!(" ({c})"));
        return Err(CboError::NoFinite { evals, point: format!("{:?}", &points[..dim]), cause });
    }
    let mut consensus = swarm.consensus().to_vec();
    space.project(&mut consensus);
    let mut value = [f64::NAN];
    f.values(&consensus, dim, &mut value);
    let [consensus_f] = value;
    failures += u64::from(failed(consensus_f));
    if consensus_f < best_f {
        (best_f, best_x) = (consensus_f, consensus.clone());
    }
    Ok(Answer {
        best_x,
        best_f,
        consensus,
        consensus_f,
        evals: evals + 1,
        iterations: iteration,
        failures,
        restarts: swarm.restarts(),
        stop,
        seconds: clock.elapsed().as_secs_f64(),
    })
}
