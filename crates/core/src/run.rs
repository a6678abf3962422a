use std::error::Error;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::checkpoint::{self, Header};
use crate::{
    Checkpoint, CheckpointError, Checkpointer, Every, Interrupt, Invalid, Method, MethodError, Observe,
    Problem, Progress, Seed, Stop, StopReason, Tick,
};

/// Any error of a user's callback.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a run failed.
#[derive(Debug, Error)]
pub enum RunError {
    /// A hyper-parameter is outside its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The method or the problem failed.
    #[error("step {step}: {source}")]
    Method {
        /// Steps made before.
        step: u64,
        /// What happened.
        source: MethodError,
    },
    /// A checkpoint could not be written or used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An observer failed, e.g. a recorder on a full disk.
    #[error("cannot record the run: {0}; check the output folder, its permissions and its free space")]
    Observer(io::Error),
    /// A callback of [`Run::each`] failed.
    #[error("step {step}: {source}")]
    Callback {
        /// Steps made.
        step: u64,
        /// What happened.
        source: BoxError,
    },
    /// The method reports no gradient, so that the tolerance could never hold.
    #[error(
        "{method} reports no gradient norm for the tolerance {tolerance}; stop on steps, time or a target value instead"
    )]
    NoTolerance {
        /// The method.
        method: &'static str,
        /// The tolerance asked for.
        tolerance: f64,
    },
    /// The configuration could not be written as JSON.
    #[error("the configuration cannot be written as JSON: {0}; use plain fields")]
    Configuration(#[from] serde_json::Error),
}

/// What a run gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<X> {
    /// The method's solution.
    pub solution: X,
    /// The rule that ended the run.
    pub stopped_because: StopReason,
    /// Steps made, also before a resume.
    pub steps: u64,
    /// Evaluations spent, also before a resume.
    pub evaluations: u64,
    /// Time spent, also before a resume.
    pub elapsed: Duration,
    /// What the last step reported.
    pub progress: Progress,
}

impl<X> Outcome<X> {
    /// Why the run ended, in words: the method's own where it ended itself.
    pub fn why(&self) -> String {
        let own = self.progress.ended.clone().filter(|_| self.stopped_because == StopReason::Method);
        own.unwrap_or_else(|| self.stopped_because.to_string())
    }
}

type Callback<'a, S, P> = Box<dyn FnMut(&mut Tick<'_, S>, &mut P) -> Result<ControlFlow<()>, BoxError> + 'a>;
type Condition<'a, S> = Box<dyn FnMut(&Tick<'_, S>) -> bool + 'a>;

/// The driver: makes steps until a rule holds, runs callbacks, tells observers, writes
/// checkpoints.
///
/// After each step come, in this order: callbacks, observers, stopping rules, checkpoint.
///
/// ```
/// use thalweg_core::{Invalid, Method, MethodError, Problem, Progress, Run, Seed, Stop};
///
/// /// Halves the problem's number until it is small.
/// #[derive(serde::Serialize)]
/// struct Halving;
/// struct Number(f64);
/// impl Problem for Number {}
/// impl Method<Number> for Halving {
///     type State = f64;
///     type Solution = f64;
///     fn name(&self) -> &'static str {
///         "halving"
///     }
///     fn validate(&self) -> Result<(), Invalid> {
///         Ok(())
///     }
///     fn init(&self, problem: &mut Number, _seed: Seed) -> Result<f64, MethodError> {
///         Ok(problem.0)
///     }
///     fn step(&self, _: &mut Number, x: &mut f64) -> Result<Progress, MethodError> {
///         *x /= 2.0;
///         Ok(Progress { value: *x, evaluations: 1, ..Progress::default() })
///     }
///     fn finish(&self, _: &mut Number, x: f64) -> Result<f64, MethodError> {
///         Ok(x)
///     }
/// }
///
/// let outcome = Run::new(&Halving, &mut Number(8.0)).stop(Stop::Target(1.0)).run()?;
/// assert_eq!((outcome.solution, outcome.steps), (1.0, 3));
/// # Ok::<(), thalweg_core::RunError>(())
/// ```
#[must_use = "a run does nothing before .run()"]
pub struct Run<'a, M: Method<P>, P: Problem + ?Sized> {
    method: &'a M,
    problem: &'a mut P,
    seed: Seed,
    configuration: Result<Value, serde_json::Error>,
    stops: Vec<Stop>,
    interrupt: Option<Interrupt>,
    conditions: Vec<Condition<'a, M::State>>,
    callbacks: Vec<(u64, Callback<'a, M::State, P>)>,
    observers: Vec<Box<dyn Observe<M::State> + 'a>>,
    checkpointer: Option<Checkpointer>,
    resume: Option<Checkpoint>,
}

impl<'a, M: Method<P>, P: Problem + ?Sized> Run<'a, M, P> {
    /// A run of `method` on `problem`, with seed 0 and no stopping rule.
    pub fn new(method: &'a M, problem: &'a mut P) -> Self {
        Self {
            method,
            problem,
            seed: Seed::default(),
            configuration: Ok(Value::Null),
            stops: Vec::new(),
            interrupt: None,
            conditions: Vec::new(),
            callbacks: Vec::new(),
            observers: Vec::new(),
            checkpointer: None,
            resume: None,
        }
    }

    /// Where the method's randomness comes from.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Settings beside the method's that a resumed run must share: data, model, batch size.
    pub fn configuration(mut self, settings: &impl Serialize) -> Self {
        self.configuration = serde_json::to_value(settings);
        self
    }

    /// Adds a stopping rule.
    pub fn stop(mut self, rule: Stop) -> Self {
        self.stops.push(rule);
        self
    }

    /// Stops at the next step boundary once the token asks for it; `None` does nothing.
    pub fn interrupt(mut self, token: impl Into<Option<Interrupt>>) -> Self {
        self.interrupt = token.into();
        self
    }

    /// Adds a stopping rule of the user's own; it sees every tick, also the one before the first
    /// step.
    pub fn stop_when(mut self, rule: impl FnMut(&Tick<'_, M::State>) -> bool + 'a) -> Self {
        self.conditions.push(Box::new(rule));
        self
    }

    /// Calls `f` after each `n` steps (1 if 0 is given) with the tick and the problem, e.g. to
    /// evaluate on the test set at the end of an epoch. What it adds with [`Tick::note`] is
    /// recorded. [`ControlFlow::Break`] ends the run.
    pub fn each(
        mut self,
        n: u64,
        f: impl FnMut(&mut Tick<'_, M::State>, &mut P) -> Result<ControlFlow<()>, BoxError> + 'a,
    ) -> Self {
        self.callbacks.push((n.max(1), Box::new(f)));
        self
    }

    /// Adds an observer, by value or as `&mut observer`.
    pub fn observe(mut self, observer: impl Observe<M::State> + 'a) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Saves the run regularly; `None` does nothing.
    pub fn checkpoint(mut self, checkpointer: impl Into<Option<Checkpointer>>) -> Self {
        self.checkpointer = checkpointer.into();
        self
    }

    /// Continues from a checkpoint, which [`Run::run`] refuses if method, hyper-parameters, seed
    /// or configuration differ. The end is the same, bit for bit, as without interruption.
    pub fn resume(mut self, path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        self.resume = Some(Checkpoint::read(path)?);
        Ok(self)
    }

    /// Runs to the end.
    pub fn run(mut self) -> Result<Outcome<M::Solution>, RunError> {
        self.prepare()?;
        let configuration = self.settings()?;
        let (mut state, mut header) = match self.resume.take() {
            None => {
                let state = self.method.init(self.problem, self.seed);
                let state = state.map_err(|source| RunError::Method { step: 0, source })?;
                (state, Header::fresh(configuration, self.seed))
            }
            Some(saved) => {
                saved.compare(&configuration)?;
                let state = saved.state()?;
                let step = saved.header.step;
                let restored = self.problem.restore(&saved.header.problem);
                restored.map_err(|source| RunError::Method { step, source })?;
                (state, saved.header)
            }
        };

        let clock = Clock { before: header.elapsed, since: Instant::now() };
        let mut saved_at = clock.elapsed();
        self.save(&mut header, &state)?;
        let tick = header.tick(self.method, &state);
        for observer in &mut self.observers {
            observer.start(&tick).map_err(RunError::Observer)?;
        }
        let mut reason = self.reason(&tick, header.ended, &mut header.still)?;

        while reason.is_none() {
            let step = header.step;
            let made = step_once(self.method, self.problem, step, &mut state);
            header.progress = match made {
                Ok(progress) => progress,
                Err(MethodError::Stopped(why)) => {
                    header.elapsed = clock.elapsed();
                    self.save(&mut header, &state)?;
                    reason = Some(why);
                    break;
                }
                Err(source) => return Err(RunError::Method { step, source }),
            };
            header.step += 1;
            header.evaluations += header.progress.evaluations;
            header.elapsed = clock.elapsed();

            let mut tick = header.tick(self.method, &state);
            for (n, callback) in &mut self.callbacks {
                if tick.step.is_multiple_of(*n) {
                    let answer = callback(&mut tick, self.problem);
                    let answer = answer.map_err(|source| RunError::Callback { step: tick.step, source })?;
                    header.ended |= answer.is_break();
                }
            }
            for observer in &mut self.observers {
                observer.step(&tick).map_err(RunError::Observer)?;
            }
            if step == 0 {
                self.check_tolerance(&tick.progress)?;
            }
            reason = self.reason(&tick, header.ended, &mut header.still)?;
            header.progress = tick.progress;

            let now = clock.elapsed();
            let due = self.checkpointer.as_ref().is_some_and(|c| match c.every {
                Every::Steps(n) => header.step.is_multiple_of(n),
                Every::Time(t) => now - saved_at >= t,
            });
            if due || reason.is_some() {
                self.save(&mut header, &state)?;
                saved_at = clock.elapsed();
            }
        }

        header.elapsed = clock.elapsed();
        let stopped_because = reason.unwrap_or(StopReason::Condition);
        let tick = header.tick(self.method, &state);
        for observer in &mut self.observers {
            observer.end(&tick, stopped_because).map_err(RunError::Observer)?;
        }
        let solution = self.method.finish(self.problem, state);
        Ok(Outcome {
            solution: solution.map_err(|source| RunError::Method { step: header.step, source })?,
            stopped_because,
            steps: header.step,
            evaluations: header.evaluations,
            elapsed: header.elapsed,
            progress: header.progress,
        })
    }
}

impl<M: Method<P>, P: Problem + ?Sized> Run<'_, M, P> {
    /// What can be refused before the first step.
    fn prepare(&self) -> Result<(), RunError> {
        self.method.validate()?;
        if let Some(Checkpointer { every: Every::Steps(0), .. }) = self.checkpointer {
            Invalid::check(false, "checkpoint every", 0, "at least 1 step")?;
        }
        for stop in &self.stops {
            match *stop {
                Stop::Tolerance(tol) => Invalid::check(tol >= 0.0, "tolerance", tol, "a number ≥ 0")?,
                Stop::Target(value) => Invalid::check(!value.is_nan(), "target", value, "a number")?,
                Stop::Below { metric, value } => Invalid::check(!value.is_nan(), metric, value, "a number")?,
                Stop::Still { within, steps, .. } => {
                    Invalid::check(within >= 0.0, "still within", within, "a number ≥ 0")?;
                    Invalid::check(steps > 0, "still steps", steps, "at least 1 step")?
                }
                Stop::Steps(_) | Stop::Evaluations(_) | Stop::Time(_) => {}
            }
        }
        Ok(())
    }

    /// A tolerance that can never hold is an error, not an endless run.
    fn check_tolerance(&self, first: &Progress) -> Result<(), RunError> {
        let tolerance = self.stops.iter().find_map(|s| match s {
            Stop::Tolerance(tol) => Some(*tol),
            _ => None,
        });
        match tolerance.filter(|_| first.metric(Progress::GRAD_MAX).is_none()) {
            Some(tolerance) => Err(RunError::NoTolerance { method: self.method.name(), tolerance }),
            None => Ok(()),
        }
    }

    /// JSON of everything that a resumed run must share.
    fn settings(&mut self) -> Result<String, RunError> {
        let run = std::mem::replace(&mut self.configuration, Ok(Value::Null))?;
        let parameters = serde_json::to_value(self.method)?;
        let (method, seed) = (self.method.name(), self.seed);
        Ok(json!({ "method": method, "parameters": parameters, "run": run, "seed": seed }).to_string())
    }

    /// The first rule that holds, before reasons of the method's own: a target that is reached is reached.
    /// Agreed with whoever shares the problem.
    fn reason(
        &mut self,
        tick: &Tick<'_, M::State>,
        ended: bool,
        still: &mut Vec<(f64, u64)>,
    ) -> Result<Option<StopReason>, RunError> {
        let converged = tick.progress.converged.then_some(StopReason::Converged);
        let own = tick.progress.ended.is_some().then_some(StopReason::Method);
        let nothing_moved = Stop::nothing_moved(&self.stops, tick, still).then_some(StopReason::Still);
        let rule = || self.stops.iter().find_map(|s| s.check(tick)).or(nothing_moved);
        let asked = self.interrupt.as_ref().is_some_and(Interrupt::requested);
        let asked = || asked.then_some(StopReason::Interrupted);
        let mine = converged.or_else(rule).or(own).or_else(asked).or_else(|| {
            let holds = ended | self.conditions.iter_mut().any(|c| c(tick));
            holds.then_some(StopReason::Condition)
        });
        self.problem.agree(mine).map_err(|source| RunError::Method { step: tick.step, source })
    }

    /// Records first, so that the checkpoint never runs ahead of them.
    fn save(&mut self, header: &mut Header, state: &M::State) -> Result<(), RunError> {
        let Some(checkpointer) = &self.checkpointer else { return Ok(()) };
        for observer in &mut self.observers {
            observer.flush().map_err(RunError::Observer)?;
        }
        header.problem = self.problem.save();
        checkpoint::write(&checkpointer.path, header, state)?;
        Ok(())
    }
}

/// One step with the problem's brackets around it.
fn step_once<M: Method<P>, P: Problem + ?Sized>(
    method: &M,
    problem: &mut P,
    t: u64,
    state: &mut M::State,
) -> Result<Progress, MethodError> {
    problem.begin_step(t)?;
    let progress = method.step(problem, state)?;
    problem.end_step()?;
    Ok(progress)
}

impl Header {
    pub(crate) fn fresh(configuration: String, seed: Seed) -> Self {
        let (elapsed, progress, problem, still) = Default::default();
        Self { configuration, seed, step: 0, evaluations: 0, elapsed, progress, ended: false, problem, still }
    }

    fn tick<'a, M: Method<P>, P: Problem + ?Sized>(
        &self,
        method: &M,
        state: &'a M::State,
    ) -> Tick<'a, M::State> {
        let upcoming = method.upcoming(state);
        let progress = self.progress.clone();
        let (step, evaluations, elapsed) = (self.step, self.evaluations, self.elapsed);
        Tick { step, evaluations, upcoming, elapsed, progress, state, noted: false }
    }
}

/// Time of this run and the ones it continues.
struct Clock {
    before: Duration,
    since: Instant,
}

impl Clock {
    fn elapsed(&self) -> Duration {
        self.before + self.since.elapsed()
    }
}
