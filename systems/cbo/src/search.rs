//! The search loop: ask for points, evaluate them, tell their values, until a rule holds.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thalweg_core::{Invalid, Seed, interrupt};

use crate::consensus::lowest;
use crate::{BlackBox, CboError, Constraints, Space};

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

    /// The function has changed: what is remembered of its values is void.
    fn forget(&mut self) {}

    /// Everything that changes, for checkpoints.
    fn save(&self) -> Result<Vec<u8>, CboError>;

    /// Takes back what [`Swarm::save`] of a swarm with the same settings gave.
    fn restore(&mut self, saved: &[u8]) -> Result<(), CboError>;
}

/// [`Swarm::save`] of a swarm that is plain data.
pub(crate) fn pack(swarm: &impl Serialize) -> Result<Vec<u8>, CboError> {
    postcard::to_stdvec(swarm).map_err(|e| CboError::Saved { cause: e.to_string() })
}

/// Its inverse.
pub(crate) fn unpack<S: DeserializeOwned>(saved: &[u8]) -> Result<S, CboError> {
    postcard::from_bytes(saved).map_err(|e| CboError::Saved { cause: e.to_string() })
}

/// Numbers of one iteration; NaN where the method has none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Evaluations, the one of the final consensus included.
    pub max_evals: u64,
    /// Iterations.
    pub max_iters: Option<u64>,
    /// Time, looked at after every batch of evaluations; also what was spent before a resume.
    pub time: Option<Duration>,
    /// Stop when the best value is at most this, at a feasible point.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Whether it was cut short, and could go on.
    pub fn is_cut(self) -> bool {
        matches!(self, Self::Time | Self::Interrupt)
    }
}

/// One line of the history.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    fn swarm(&self, space: &Space, seed: Seed) -> Box<dyn Swarm + '_>;

    /// A search about to begin, for those who want to look at each iteration or to save it.
    fn course(&self, space: &Space, limits: &Limits, seed: Seed) -> Result<Course<'_>, CboError> {
        space.validate()?;
        limits.validate()?;
        self.validate(space)?;
        Ok(Course::new(self.swarm(space, seed), space, limits))
    }

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
        self.course(space, limits, seed)?.run(f, watch)
    }
}

/// Moves a swarm until a rule of `limits` holds.
pub fn search(
    swarm: impl Swarm,
    space: &Space,
    f: &dyn BlackBox,
    limits: &Limits,
    watch: &mut dyn FnMut(&Step<'_>),
) -> Result<Answer, CboError> {
    Course::new(Box::new(swarm), space, limits).run(f, watch)
}

/// Evaluations after which a function without any finite value is given up.
const HOPELESS: u64 = 1000;

/// Iterations in a row with more than half of the evaluations failing.
const FAILING: u64 = 10;

/// NaN and +∞ are failures of the function.
fn failed(f: f64) -> bool {
    f.is_nan() || f == f64::INFINITY
}

/// A search under way: [`Course::step`] until it says why it ends, then [`Course::finish`].
///
/// A saved course that is restored under the same settings ends in the same bits as one that was never
/// interrupted.
pub struct Course<'a> {
    swarm: Box<dyn Swarm + 'a>,
    space: Space,
    limits: Limits,
    state: State,
    /// Values at the points, and what the cloud is told of them.
    values: Vec<f64>,
    told: Vec<f64>,
    constraints: Vec<f64>,
    gradients: Vec<f64>,
    /// Evaluations of an iteration that was cut short, which a resumed search makes again.
    dropped: u64,
    record: Option<Record>,
    since: Instant,
}

/// What changes, beside the swarm.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    best: Place,
    evals: u64,
    iteration: u64,
    failures: u64,
    /// Iterations in a row with many failures.
    failing: u64,
    /// Iterations in a row without movement.
    still: u64,
    /// The consensus before.
    before: Vec<f64>,
    /// Weight of the penalty, once there is one.
    weight: Option<f64>,
    /// Time spent before a resume.
    elapsed: Duration,
    /// The points that the swarm asked for last, `[n, dim]`.
    points: Vec<f64>,
    /// It has not been told their values yet.
    pending: bool,
}

/// A point with its rank: by violation beyond the tolerance, then by value.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    x: Vec<f64>,
    violation: f64,
    f: f64,
}

impl Place {
    fn worse_than(&self, violation: f64, f: f64) -> bool {
        violation < self.violation || (violation == self.violation && f < self.f)
    }
}

/// A course between two iterations, as checkpoints hold it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    state: State,
    swarm: Vec<u8>,
}

impl<'a> Course<'a> {
    fn new(swarm: Box<dyn Swarm + 'a>, space: &Space, limits: &Limits) -> Self {
        let x = swarm.consensus().to_vec();
        let before = x.clone();
        let best = Place { x, violation: f64::INFINITY, f: f64::INFINITY };
        let (evals, iteration, failures, failing, still, weight) = Default::default();
        let (elapsed, points, pending) = Default::default();
        let state = State {
            best,
            evals,
            iteration,
            failures,
            failing,
            still,
            before,
            weight,
            elapsed,
            points,
            pending,
        };
        let (values, told, constraints, gradients, dropped, record) = Default::default();
        let (space, limits, since) = (space.clone(), *limits, Instant::now());
        Self { swarm, space, limits, state, values, told, constraints, gradients, dropped, record, since }
    }

    /// Everything that a resumed search needs beside its settings.
    pub fn save(&self) -> Result<Saved, CboError> {
        let mut state = self.state.clone();
        state.elapsed = self.elapsed();
        if !state.pending {
            state.points.clear();
        }
        Ok(Saved { state, swarm: self.swarm.save()? })
    }

    /// Goes on from there. Method, space, limits (but the time) and function must be those of the saved
    /// course.
    pub fn restore(&mut self, saved: Saved) -> Result<(), CboError> {
        self.swarm.restore(&saved.swarm)?;
        (self.state, self.since) = (saved.state, Instant::now());
        Ok(())
    }

    /// Time spent, also before a resume.
    pub fn elapsed(&self) -> Duration {
        self.state.elapsed + self.since.elapsed()
    }

    /// Evaluations that count, also before a resume.
    pub fn evals(&self) -> u64 {
        self.state.evals
    }

    /// The last iteration, after [`Course::step`] has made one.
    pub fn last(&self) -> Option<Step<'_>> {
        let (points, consensus) = (self.state.points.as_slice(), self.swarm.consensus());
        self.record.map(|record| Step { record, points, consensus })
    }

    /// Why to stop whether or not the search is through. Asked beside iterations only, so that a search
    /// that goes on later stops where it would have stopped anyway.
    fn cut(&self) -> Option<StopCause> {
        match () {
            () if interrupt::requested() => Some(StopCause::Interrupt),
            () if self.limits.time.is_some_and(|t| self.elapsed() >= t) => Some(StopCause::Time),
            () => None,
        }
    }

    /// Makes an iteration, unless a rule holds.
    pub fn step(&mut self, f: &dyn BlackBox) -> Result<Option<StopCause>, CboError> {
        self.record = None;
        if let Some(cause) = self.cut().filter(|_| self.state.evals > 0) {
            return Ok(Some(cause));
        }
        let s = &mut self.state;
        if !s.pending {
            s.points.clear();
            s.points.extend_from_slice(self.swarm.ask());
            s.pending = true;
        }
        let n = (s.points.len() / self.space.dim) as u64;
        if s.evals + n + 1 > self.limits.max_evals {
            return match s.evals {
                0 => Err(CboError::Budget { budget: self.limits.max_evals, needed: n }),
                _ => Ok(Some(StopCause::Evaluations)),
            };
        }
        let constraints = f.constraints();
        self.evaluate(f, constraints.as_ref())?;
        if let Some(cause) = self.cut() {
            // What the function left out in the hurry must not steer the cloud.
            self.dropped = n;
            return Ok(Some(cause));
        }

        let s = &mut self.state;
        (s.evals, s.iteration, s.pending) = (s.evals + n, s.iteration + 1, false);
        let lost = self.told.iter().filter(|f| failed(**f)).count() as u64;
        s.failures += lost;
        s.failing = if 2 * lost > n { s.failing + 1 } else { 0 };
        if s.best.f == f64::NEG_INFINITY && s.best.violation == 0.0 {
            return Ok(Some(StopCause::Unbounded));
        }
        if s.failures == s.evals && (s.failing >= FAILING || s.evals >= HOPELESS) {
            return Ok(Some(StopCause::Failures));
        }
        if self.swarm.wants_gradients() {
            self.gradients.resize(s.points.len(), 0.0);
            if f.gradients(&s.points, self.space.dim, &mut self.gradients) {
                self.swarm.tell_gradients(&self.gradients);
            }
        }
        self.swarm.tell(&self.told);
        if let Some(c) = constraints {
            self.follow_violation(&c);
        }
        Ok(self.stop())
    }

    /// Values, what the cloud is told of them, and the best point.
    fn evaluate(&mut self, f: &dyn BlackBox, constraints: Option<&Constraints>) -> Result<(), CboError> {
        let (s, dim) = (&mut self.state, self.space.dim);
        let n = s.points.len() / dim;
        self.told.resize(n, 0.0);
        let best = match constraints {
            None => {
                f.values(&s.points, dim, &mut self.told);
                lowest(&self.told).map(|i| (i, 0.0, self.told[i]))
            }
            Some(c) => {
                c.penalty.validate()?;
                self.values.resize(n, 0.0);
                self.constraints.resize(c.count() * n, 0.0);
                f.constrained(&s.points, dim, &mut self.values, &mut self.constraints);
                let weight = *s.weight.get_or_insert(c.penalty.weight);
                let mut ranks = Vec::with_capacity(n);
                for (i, (told, &value)) in self.told.iter_mut().zip(&self.values).enumerate() {
                    let (sum, largest) = c.violation(&self.constraints, i, n);
                    *told = c.priced(value, sum, weight);
                    ranks.push((i, c.beyond(largest), value));
                }
                let usable = ranks.into_iter().filter(|r| !r.1.is_nan() && !failed(r.2));
                usable.min_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)))
            }
        };
        if let Some((i, violation, value)) = best.filter(|b| s.best.worse_than(b.1, b.2)) {
            (s.best.violation, s.best.f) = (violation, value);
            s.best.x.copy_from_slice(&s.points[i * dim..(i + 1) * dim]);
        }
        Ok(())
    }

    /// The weight grows while the particle that leads is infeasible.
    fn follow_violation(&mut self, c: &Constraints) {
        let Some(leader) = lowest(&self.told) else { return };
        let (_, largest) = c.violation(&self.constraints, leader, self.told.len());
        if let Some(weight) = self.state.weight.as_mut().filter(|_| largest > c.penalty.tolerance) {
            let grown = c.penalty.grown(*weight);
            if grown > *weight {
                *weight = grown;
                self.swarm.forget();
            }
        }
    }

    /// Looks at the iteration just made.
    fn stop(&mut self) -> Option<StopCause> {
        let (s, limits, consensus) = (&mut self.state, &self.limits, self.swarm.consensus());
        let moved = s.before.iter().zip(consensus).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        s.before.copy_from_slice(consensus);
        s.still = if limits.xtol.is_some_and(|tol| moved < tol) { s.still + 1 } else { 0 };
        let (iteration, evals, best_f, spread) = (s.iteration, s.evals, s.best.f, self.swarm.spread());
        self.record = Some(Record { iteration, evals, best_f, spread, facts: self.swarm.facts() });
        match () {
            () if limits.target.is_some_and(|t| best_f <= t && s.best.violation == 0.0) => {
                Some(StopCause::Target)
            }
            () if limits.max_iters.is_some_and(|m| iteration >= m) => Some(StopCause::Iterations),
            () if s.failing >= FAILING => Some(StopCause::Failures),
            () if s.still >= limits.patience => Some(StopCause::Stalled),
            () if limits.dtol.is_some_and(|tol| spread < tol) => Some(StopCause::Collapsed),
            () => self.swarm.over(),
        }
    }

    /// Evaluates the final consensus.
    pub fn finish(mut self, f: &dyn BlackBox, stop: StopCause) -> Result<Answer, CboError> {
        let (dim, seconds) = (self.space.dim, self.elapsed().as_secs_f64());
        let evals = self.state.evals + self.dropped;
        if self.state.best.f == f64::INFINITY {
            let cause = f.complaint().map_or_else(String::new, |c| format!(" ({c})"));
            let point = self.state.points.get(..dim).unwrap_or(&self.state.best.x);
            return Err(CboError::NoFinite { evals, point: format!("{point:?}"), cause });
        }
        let mut consensus = self.swarm.consensus().to_vec();
        self.space.project(&mut consensus);
        let (mut value, mut violation) = ([f64::NAN], 0.0);
        match f.constraints() {
            None => f.values(&consensus, dim, &mut value),
            Some(c) => {
                self.constraints.resize(c.count(), 0.0);
                f.constrained(&consensus, dim, &mut value, &mut self.constraints);
                let (_, largest) = c.violation(&self.constraints, 0, 1);
                violation = c.beyond(largest);
            }
        }
        let ([consensus_f], mut best) = (value, self.state.best);
        if !failed(consensus_f) && best.worse_than(violation, consensus_f) {
            best = Place { x: consensus.clone(), violation, f: consensus_f };
        }
        Ok(Answer {
            best_x: best.x,
            best_f: best.f,
            best_feasible: best.violation == 0.0,
            consensus,
            consensus_f,
            consensus_feasible: violation == 0.0,
            evals: evals + 1,
            iterations: self.state.iteration,
            failures: self.state.failures + u64::from(failed(consensus_f)),
            restarts: self.swarm.restarts(),
            stop,
            seconds,
        })
    }

    /// All iterations and the end.
    fn run(mut self, f: &dyn BlackBox, watch: &mut dyn FnMut(&Step<'_>)) -> Result<Answer, CboError> {
        let stop = loop {
            let stop = self.step(f)?;
            if let Some(step) = self.last() {
                watch(&step);
            }
            if let Some(cause) = stop {
                break cause;
            }
        };
        self.finish(f, stop)
    }
}
