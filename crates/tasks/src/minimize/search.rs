//! Searches by values alone: runs in parallel and their statistics.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use thalweg_cbo::runs::rate_interval;
use thalweg_cbo::search::{FRESH, MOVED, SPREAD};
use thalweg_cbo::{Algorithm, Answer, Runs, SearchProblem, Space};
use thalweg_core::{Drive, Invalid, Method, Outcome, Problem, Run, RunError, Seed, Stop, StopReason};
use thalweg_optim::blackbox::BlackBox;

use super::history::{HISTORY, History, Record, csv};
use super::objective::Objective;
use super::{CONVERGENCE, Settings, report};
use crate::error::bail;
use crate::settings::fields;
use crate::{Context, Driver, Folder, Host, Result, TaskError};

/// What is said of a search. Numbers that JSON does not have are none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the method.
    pub method: String,
    /// Value of the best point of all runs, without penalty.
    pub best_f: Option<f64>,
    /// What a program says of that point when it is asked again after the search; equal to `best_f` unless the program
    /// is noisy. None for test functions, and where the time was up before.
    pub best_f_again: Option<f64>,
    /// The best point, a feasible one if there was any.
    pub best_x: Vec<f64>,
    /// Whether it is feasible: no constraint is violated by more than 1e-6, and the point is in the box and on the
    /// surface.
    pub best_feasible: bool,
    /// Value of the final consensus of that run.
    pub consensus_f: Option<f64>,
    /// The final consensus of that run.
    pub consensus_x: Vec<f64>,
    /// Whether it is feasible.
    pub consensus_feasible: bool,
    /// Evaluations of all runs.
    pub evals: u64,
    /// Why the best run ended: target, evaluations, iterations, time, interrupt, stalled, collapsed, unbounded or
    /// failures.
    pub stop: String,
    /// Runs made.
    pub runs: u64,
    /// Runs that reached the target, if there is one.
    pub successes: Option<usize>,
    /// 95 % interval of the rate of success, where there is a target.
    pub success_interval: Option<(f64, f64)>,
    /// Expected running time: evaluations of all runs per success.
    pub ert: Option<f64>,
    /// 95 % interval of it.
    pub ert_interval: Option<(f64, Option<f64>)>,
    /// Evaluations that gave no finite value.
    pub failures: u64,
    /// Calls of a program that took too long.
    pub timeouts: u64,
    /// What the first failure said.
    pub complaint: Option<String>,
    /// Restarts made.
    pub restarts: u64,
    /// Time of the search.
    pub seconds: f64,
}

/// The records of each run.
pub(super) type Histories = Vec<(u64, Vec<Record>)>;

/// Largest number of evaluations of a run.
const MAX_EVALUATIONS: u64 = 100_000;

/// Times the evaluations that the best value took, for which a search without target goes on.
const PATIENCE: f64 = 2.0;

/// Searches as the settings say.
pub(super) fn search(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Summary> {
    let runs = settings.runs.unwrap_or(1);
    Invalid::count("runs", usize::try_from(runs).unwrap_or(usize::MAX))?;
    let dim = settings.unknowns()?;
    let objective = Objective::new(settings, dim, host)?;
    let space = settings.space(dim, &objective)?;
    let algorithm = settings.algorithm(&space, host)?;
    let effective = Settings {
        method: Some(algorithm.name().into()),
        dim: Some(dim),
        seed: Some(settings.seed().0),
        ..settings.clone()
    };
    if let Some(folder) = folder {
        folder.begin(&effective, &[HISTORY, CONVERGENCE])?;
        if let Some(done) = folder.finished() {
            folder.drop_numbered(RUN, &[HISTORY]); // where the end was cut short
            return Ok(done);
        }
    }
    let places = places(folder, runs)?;
    let clock = Instant::now();
    let all = All { settings: &effective, algorithm, objective, space, places, host, clock };
    let interrupted = || TaskError::Interrupted { folder: folder.map(|f| f.path().into()) };
    let made = all.search(runs);
    if made.is_err() && host.interrupt.requested() {
        return Err(interrupted()); // before there was anything to say
    }
    let (made, histories) = made?;
    let summary = all.verified(all.summary(&made)?)?;
    let cut = made.outcomes.iter().map(|o| o.stopped_because).find(is_cut);
    if let Some(folder) = folder {
        all.write(folder, &summary, &made, &histories)?;
        folder.end(&summary, cut)?;
        if cut.is_none() {
            folder.drop_numbered(RUN, &[HISTORY]);
        }
    }
    match cut {
        Some(StopReason::Interrupted) => return Err(interrupted()),
        Some(_) if folder.is_some() => host.note("the time was up; `resume` with a longer `time` goes on"),
        _ => {}
    }
    Ok(summary)
}

/// Whether a run was cut short and could go on.
fn is_cut(reason: &StopReason) -> bool {
    matches!(reason, StopReason::Time | StopReason::Interrupted)
}

/// Inner folders of several runs, until all are through.
const RUN: &str = "run";

/// The folder of each run: the whole one where there is no other.
fn places(folder: Option<&Folder>, runs: u64) -> Result<Vec<Folder>> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    if !folder.reopened() {
        folder.drop_numbered(RUN, &[HISTORY]);
    }
    if runs == 1 {
        return Ok(vec![folder.clone()]);
    }
    let place = |k: u64| {
        let inner = folder.inner(&format!("{RUN}-{k}"));
        inner.clear(&[HISTORY]).map(|()| inner)
    };
    (0..runs).map(place).collect()
}

impl Settings {
    /// The method, which must fit the space and its evaluations.
    fn algorithm(&self, space: &Space, host: &Host) -> Result<Algorithm> {
        let name = self.methods().swap_remove(0);
        let mut fields = fields(&self.set)?;
        if let Some(n) = self.particles
            && fields.insert("particles".into(), n.into()).is_some()
        {
            bail!("`particles` and `set` both give the number of particles; leave out one");
        }
        let algorithm = Algorithm::named(&name, fields)?;
        algorithm.check(space)?;
        algorithm.check_budget(space, self.max_evaluations.unwrap_or(MAX_EVALUATIONS))?;
        if let Algorithm::Cbo(cbo) = &algorithm {
            // Both exponents of contraction, so that a cloud that cannot contract is no surprise.
            let (square, path) = cbo.exponents(space.dim);
            let cannot = square >= 0.0 && path >= 0.0 && !cbo.freezing;
            let warning = "; this noise cannot contract: lower noise_ratio, or use noise=anisotropic";
            host.note(format!(
                "noise per step {:.3}; growth of distances per step: {square:+.4} in the mean square, {path:+.4} on a \
                 path{}",
                cbo.ratio(),
                if cannot { warning } else { "" }
            ));
        }
        Ok(algorithm)
    }

    /// The share of the evaluations after which the best value must still have improved, where there is no target.
    fn least_fresh(&self) -> Option<f64> {
        self.target.is_none().then(|| 1.0 / (1.0 + self.patience.unwrap_or(PATIENCE)))
    }

    /// What ends a run, the first that holds, when there is so much `time` left.
    fn stops(&self, time: Option<Duration>) -> Vec<Stop> {
        let evaluations = Stop::Evaluations(self.max_evaluations.unwrap_or(MAX_EVALUATIONS));
        let below = |metric, value: Option<f64>| value.map(|value| Stop::Below { metric, value });
        let rules = [self.target.map(Stop::Target), self.steps.map(Stop::Steps)];
        let still = [below(MOVED, self.xtol), below(SPREAD, self.dtol), below(FRESH, self.least_fresh())];
        let rest = [Some(evaluations), time.map(Stop::Time)];
        rules.into_iter().chain(still).chain(rest).flatten().collect()
    }
}

/// All runs of a search.
struct All<'a> {
    settings: &'a Settings,
    algorithm: Algorithm,
    objective: Objective,
    space: Space,
    /// The folder of each run; none without a folder.
    places: Vec<Folder>,
    host: &'a Host,
    /// Since when.
    clock: Instant,
}

impl All<'_> {
    /// Makes them, in parallel.
    fn search(&self, runs: u64) -> Result<(Runs, Histories)> {
        let histories = Mutex::new(Vec::new());
        // One run has its bar of steps; several have one of runs.
        let meter = if runs > 1 { self.host.meter(self.algorithm.name(), Some(runs)) } else { None };
        let meter = Mutex::new((meter, 0, f64::INFINITY));
        let made = Runs::make(runs, self.settings.seed(), |k, seed| {
            let (outcome, history) = self.run(k, seed, runs == 1)?;
            histories.lock().unwrap_or_else(PoisonError::into_inner).push((k, history));
            let (meter, done, best) = &mut *meter.lock().unwrap_or_else(PoisonError::into_inner);
            (*done, *best) = (*done + 1, best.min(outcome.solution.best_f));
            if let Some(meter) = meter {
                meter.show(*done, *best);
            }
            Ok::<_, TaskError>(outcome)
        })?;
        if let (Some(mut meter), done, best) = meter.into_inner().unwrap_or_else(PoisonError::into_inner) {
            meter.finish(done, best);
        }
        let mut histories = histories.into_inner().unwrap_or_else(PoisonError::into_inner);
        histories.sort_by_key(|h| h.0);
        Ok((made, histories))
    }

    /// Run `k` to its end, on from where it was saved.
    fn run(&self, k: u64, seed: Seed, alone: bool) -> Result<(Outcome<Answer>, Vec<Record>)> {
        let folder = self.places.get(k as usize);
        let host = if alone { self.host.clone() } else { self.host.quiet() };
        let host = Host { time: None, ..host }; // among the rules, behind the target
        let mut driver = host.driver(self.algorithm.name(), folder);
        driver.stops = self.settings.stops(self.host.time.map(|t| t.saturating_sub(self.clock.elapsed())));
        driver.every = self.settings.every();
        driver.configuration = json!({ "search": self.settings.shared()?, "run": k });
        let mut recorded = Recorded { driver, history: folder.map(|folder| History::new(k, folder)) };
        let mut problem = SearchProblem::new(&self.space, self.objective.of_run(k));
        let outcome = self.algorithm.drive(&mut recorded, &mut problem, seed)?;
        Ok((outcome, recorded.history.map(History::into_records).unwrap_or_default()))
    }

    fn summary(&self, made: &Runs) -> Result<Summary> {
        let outcome = made.best().context("no run was made")?;
        let program = match &self.objective {
            Objective::Program(program) => Some(program.as_ref() as &dyn BlackBox),
            Objective::Functions(_) => None,
        };
        let (best, answers) = (&outcome.solution, made.outcomes.iter().map(|o| &o.solution));
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let elapsed = made.outcomes.iter().map(|o| o.elapsed.as_secs_f64());
        let aimed = self.settings.target.is_some();
        let ert_interval = made.ert_interval(self.settings.seed());
        Ok(Summary {
            method: self.algorithm.name().into(),
            best_f: finite(best.best_f),
            best_f_again: None,
            best_x: best.best_x.clone(),
            best_feasible: best.best_feasible,
            consensus_f: finite(best.consensus_f),
            consensus_x: best.consensus.clone(),
            consensus_feasible: best.consensus_feasible,
            evals: answers.clone().map(|a| a.evaluations).sum(),
            stop: reason(outcome, self.settings),
            runs: made.outcomes.len() as u64,
            successes: aimed.then_some(made.successes),
            success_interval: aimed.then(|| rate_interval(made.successes, made.outcomes.len())),
            ert: made.ert.filter(|_| aimed),
            ert_interval: ert_interval.filter(|_| aimed).map(|(l, h)| (l, finite(h))),
            failures: answers.clone().map(|a| a.failures).sum(),
            timeouts: program.map_or(0, |p| p.timeouts()),
            complaint: program.and_then(|p| p.complaint()),
            restarts: answers.map(|a| a.restarts).sum(),
            seconds: elapsed.fold(self.clock.elapsed().as_secs_f64(), f64::max),
        })
    }

    /// Asks a program for the best point again: an answer out of step with its question would be found nowhere else.
    fn verified(&self, summary: Summary) -> Result<Summary> {
        let (Objective::Program(program), Some(f)) = (&self.objective, summary.best_f) else {
            return Ok(summary);
        };
        if self.host.interrupt.requested() {
            return Ok(summary); // nothing is reported yet
        }
        let over = program.stopped().is_some();
        let Some(again) = program.again(&summary.best_x) else {
            if over {
                self.host.note("the time was up before the best point could be asked again");
                return Ok(summary);
            }
            let (x, why) = (&summary.best_x, program.complaint().unwrap_or_default());
            return Err(TaskError::Failed(format!("the value {f} at {x:?} was not said again: {why}")));
        };
        let equal = (again.f - f).abs() <= SAME * f.abs().max(again.f.abs());
        let as_feasible = again.feasible() == summary.best_feasible;
        if !(equal && as_feasible) && self.settings.noisy != Some(true) {
            let other = if as_feasible { "" } else { " and other constraints" };
            return Err(TaskError::Failed(format!(
                "the program says {}{other} at {:?} where it said {f} before; print one line per point and nothing else \
                 on standard output, or set `noisy` where its values are random",
                again.f, summary.best_x
            )));
        }
        Ok(Summary { best_f_again: Some(again.f).filter(|f| f.is_finite()), ..summary })
    }

    fn write(&self, folder: &Folder, summary: &Summary, made: &Runs, histories: &Histories) -> Result<()> {
        let records = histories.iter().map(|(k, records)| (*k, records.as_slice()));
        folder.write(HISTORY, csv(records).as_bytes())?;
        if made.outcomes.len() > 1 {
            let line = |(k, o): (usize, &Outcome<Answer>)| {
                let (evaluations, seconds) = (o.solution.evaluations, o.elapsed.as_secs_f64());
                json!({ "step": k + 1, "evaluations": evaluations, "seconds": seconds, "value": o.solution.best_f })
            };
            folder.write_metrics(made.outcomes.iter().enumerate().map(line))?;
        }
        report::search(folder, summary, self.space.dim, histories, self.settings.target, self.host)
    }
}

/// Relative difference of two values of a program that counts as rounding, of threads that add in another order.
const SAME: f64 = 1e-9;

/// Why a run ended, in the words of the summary.
fn reason(outcome: &Outcome<Answer>, settings: &Settings) -> String {
    let below = |metric, value: Option<f64>| {
        value.is_some_and(|value| outcome.progress.metric(metric).is_some_and(|now| now < value))
    };
    let still = below(MOVED, settings.xtol) || below(FRESH, settings.least_fresh());
    let word = match (outcome.stopped_because, outcome.solution.ended) {
        (StopReason::Method, Some(ended)) => json!(ended),
        (StopReason::Steps, _) => json!("iterations"),
        (StopReason::Interrupted, _) => json!("interrupt"),
        (StopReason::Below, _) if still => json!("stalled"),
        (StopReason::Below, _) => json!("collapsed"),
        (other, _) => json!(other),
    };
    word.as_str().unwrap_or_default().into()
}

/// The host's driver, and the history beside it.
struct Recorded<'a> {
    driver: Driver<'a>,
    history: Option<History<'a>>,
}

impl Drive<Answer> for Recorded<'_> {
    fn drive<M, P>(&mut self, method: &M, problem: &mut P, seed: Seed) -> Result<Outcome<Answer>, RunError>
    where
        M: Method<P, Solution = Answer>,
        P: Problem + ?Sized,
    {
        let run = self.driver.dress(Run::new(method, problem).seed(seed))?;
        run.observe(self.history.as_mut()).run()
    }
}
