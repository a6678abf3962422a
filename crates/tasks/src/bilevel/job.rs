//! One run of one method: watched, recorded, saved and stopped like any other run.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use thalweg_bilevel::{Algorithm, Bilevel, Oracle, Solution};
use thalweg_core::{Drive, Method, Outcome, Problem, Run, RunError, Seed, StopReason};

use crate::settings::fields;
use crate::{Context, Folder, Host, Result, TaskError};

/// What is seen of a solution on the way: names and numbers, and whether it is good enough to stop.
pub type Snapshot = (Vec<(&'static str, f64)>, ControlFlow<()>);
/// Looks at a solution.
pub type Observer<'a> = &'a mut dyn FnMut(&Solution) -> Result<Snapshot>;

/// Sees nothing.
///
/// # Errors
/// None.
pub fn no_observer(_: &Solution) -> Result<Snapshot> {
    Ok((Vec::new(), ControlFlow::Continue(())))
}

/// A point of a curve.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Steps made.
    pub step: u64,
    /// Gradients taken.
    pub calls: u64,
    /// Time of the method, without looking.
    pub seconds: f64,
    /// What was seen.
    pub numbers: Vec<(&'static str, f64)>,
}

impl Trace {
    /// The number of that name.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|n| n.0 == name).map(|n| n.1)
    }
}

/// How to run.
pub struct Job<'a> {
    /// Steps at most.
    pub steps: u64,
    /// Seed of the method.
    pub seed: Seed,
    /// Where to record and to save.
    pub folder: Option<&'a Folder>,
    /// Settings that a resumed run must share.
    pub configuration: Value,
    /// Who looks on.
    pub host: Host,
    /// Looks at the solution after steps 1, 2, …, each at least this many times the one before; what looking takes is
    /// not counted.
    pub spacing: f64,
    /// What was seen.
    pub seen: Vec<Trace>,
}

impl<'a> Job<'a> {
    /// A run without a folder.
    pub fn plain(steps: u64, seed: u64, host: Host) -> Self {
        let (configuration, seen) = (Value::Null, Vec::new());
        Self { steps, seed: Seed(seed), folder: None, configuration, host, spacing: 1.1, seen }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// What the run fails with, an interruption.
    pub fn run(
        &mut self,
        algorithm: &Algorithm,
        oracle: &mut Oracle<'_>,
        observer: Observer<'_>,
    ) -> Result<Outcome<Solution>> {
        let seed = self.seed;
        let outcome = algorithm.drive(oracle, seed, &mut Observed { job: self, observer })?;
        match outcome.stopped_because {
            StopReason::Interrupted => {
                Err(TaskError::Interrupted { folder: self.folder.map(|f| f.path().into()) })
            }
            StopReason::Time if outcome.steps < self.steps => {
                let (made, all) = (outcome.steps, self.steps);
                self.host.note(format!("the time was up after {made} of at most {all} steps"));
                Ok(outcome)
            }
            _ => Ok(outcome),
        }
    }
}

/// A job and who looks at its solutions.
struct Observed<'a, 'b> {
    job: &'a mut Job<'b>,
    observer: Observer<'a>,
}

impl Drive<Solution> for Observed<'_, '_> {
    fn drive<M, P>(&mut self, method: &M, problem: &mut P, seed: Seed) -> Result<Outcome<Solution>, RunError>
    where
        M: Method<P, Solution = Solution>,
        P: Problem + ?Sized,
    {
        let Self { job, observer } = self;
        let (steps, spacing, seen) = (job.steps, job.spacing, &mut job.seen);
        let (mut next, mut looking) = (1, Duration::ZERO);
        let mut driver = job.host.driver(method.name(), job.folder);
        driver.steps = Some(steps);
        driver.records = 100;
        driver.configuration = job.configuration.clone();
        let run = driver.dress(Run::new(method, problem).seed(seed))?.each(1, |tick, _| {
            let last = tick.step == steps || tick.progress.converged;
            let Some(at) = method.current(tick.state).filter(|_| tick.step >= next || last) else {
                return Ok(ControlFlow::Continue(()));
            };
            next = next.max(tick.step + 1).max((tick.step as f64 * spacing) as u64);
            let clock = Instant::now();
            let (mut numbers, flow) = observer(at)?;
            let seconds = tick.elapsed.saturating_sub(looking).as_secs_f64();
            looking += clock.elapsed();
            for (name, value) in &numbers {
                tick.note(*name, *value);
            }
            if let Some(stationarity) = tick.progress.metric("stationarity") {
                numbers.push(("stationarity", stationarity));
            }
            seen.push(Trace { step: tick.step, calls: tick.evaluations, seconds, numbers });
            Ok(flow)
        });
        run.run().inspect_err(|e| driver.give_up(e))
    }
}

/// A run for comparisons: what was seen on the way, and the end, or why there is none: a rival may diverge.
///
/// # Errors
/// An interruption; a problem that is none.
pub fn trace(
    problem: &dyn Bilevel,
    algorithm: &Algorithm,
    (steps, time): (u64, Option<Duration>),
    seed: u64,
    spacing: f64,
    observer: Observer<'_>,
) -> Result<(Vec<Trace>, Result<Solution, String>)> {
    let host = Host { time, ..Host::default() };
    let mut job = Job { spacing, ..Job::plain(steps, seed, host) };
    let end = match job.run(algorithm, &mut Oracle::new(problem)?, observer) {
        Ok(outcome) => Ok(outcome.solution),
        Err(e @ TaskError::Interrupted { .. }) => return Err(e),
        Err(e) => Err(e.to_string()),
    };
    Ok((job.seen, end))
}

/// The method of that name with the `usual` fields of the task under those that are `set`.
///
/// # Errors
/// No such method, no such field.
pub fn algorithm(name: &str, set: &[String], usual: &[(&str, Value)]) -> Result<Algorithm> {
    let mut all: Map<String, Value> = usual.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    all.extend(fields(set)?);
    Algorithm::new(name, all).with_context(|| format!("`method` {name}"))
}
