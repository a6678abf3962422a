//! One run of one method: watched, recorded, saved and stopped like any other run.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use thalweg::bilevel::{Algorithm, At, Bilevel, Drive, Oracle, Solution};
use thalweg::core::{
    Bar, Checkpointer, Every, Method, Outcome, Recorder, Run, RunError, Seed, Stop, StopReason, interrupt,
};

use crate::config::{self, Common, Time};
use crate::failure::Interrupted;
use crate::output;

pub const CHECKPOINT: &str = "checkpoint.bin";

/// What is seen of a solution on the way: names and numbers, and whether it is good enough to stop.
pub type Look = (Vec<(&'static str, f64)>, ControlFlow<()>);
pub type Watch<'a> = &'a mut dyn FnMut(&Solution) -> Result<Look>;

/// Sees nothing.
pub fn blind(_: &Solution) -> Result<Look> {
    Ok((Vec::new(), ControlFlow::Continue(())))
}

/// A point of a curve.
#[derive(Clone, Debug)]
pub struct Seen {
    pub step: u64,
    pub calls: u64,
    pub seconds: f64,
    pub numbers: Vec<(&'static str, f64)>,
}

impl Seen {
    pub fn number(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|n| n.0 == name).map(|n| n.1)
    }
}

/// Where a run's settings come from and where its results go.
#[derive(Args)]
pub struct Place {
    /// TOML file with settings named as the flags; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the answer, its log, pictures, report and checkpoint
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with an interrupted run of that folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out"])]
    resume: Option<PathBuf>,
}

impl Place {
    pub fn folder(&self) -> Option<&Path> {
        self.resume.as_deref().or(self.out.as_deref())
    }

    pub fn resumes(&self) -> bool {
        self.resume.is_some()
    }

    /// The settings of the run: those that it is to go on with, or the file's under the flags.
    pub fn settings<T: Serialize + DeserializeOwned>(&self, flags: &T) -> Result<T> {
        let folder = self.folder().unwrap_or(Path::new(""));
        Ok(config::of_run(flags, self.resume.as_deref(), folder, self.config.as_deref())?.1)
    }

    /// Makes the folder and keeps the settings there.
    pub fn prepare(&self, settings: &impl Serialize) -> Result<()> {
        let Some(folder) = self.folder() else { return Ok(()) };
        output::make_folder(folder)?;
        output::write(&folder.join("config.toml"), config::to_toml(settings)?.as_bytes())
    }
}

/// How to run.
pub struct Job<'a> {
    pub steps: u64,
    pub time: Option<Time>,
    pub seed: Seed,
    /// Where to record and to save.
    pub folder: Option<&'a Path>,
    pub resume: bool,
    /// Settings that a resumed run must share.
    pub configuration: Value,
    pub common: &'a Common,
    /// Looks at the solution after steps 1, 2, …, each at least this many times the one before; what looking takes is
    /// not counted.
    pub spacing: f64,
    pub seen: Vec<Seen>,
}

impl<'a> Job<'a> {
    /// A run without a folder.
    pub fn plain(steps: u64, seed: u64, common: &'a Common) -> Self {
        Self {
            steps,
            time: None,
            seed: Seed(seed),
            folder: None,
            resume: false,
            configuration: Value::Null,
            common,
            spacing: 1.1,
            seen: Vec::new(),
        }
    }

    /// Runs it to its end; how to go on is said if it is interrupted.
    pub fn run(
        &mut self,
        algorithm: &Algorithm,
        oracle: &mut Oracle<'_>,
        verb: &str,
        watch: Watch<'_>,
    ) -> Result<Outcome<Solution>> {
        interrupt::install().map_err(anyhow::Error::msg)?;
        let outcome = algorithm.drive(oracle, &mut Watched { job: self, watch })?;
        if outcome.stopped_because == StopReason::Interrupted {
            let resume = self.folder.map(|f| format!("thalweg bilevel {verb} --resume {}", f.display()));
            return Err(Interrupted { resume }.into());
        }
        Ok(outcome)
    }
}

/// A job under somebody's eyes.
struct Watched<'a, 'b> {
    job: &'a mut Job<'b>,
    watch: Watch<'a>,
}

impl Drive for Watched<'_, '_> {
    fn drive<'p, M>(&mut self, method: &M, oracle: &mut Oracle<'p>) -> Result<Outcome<Solution>, RunError>
    where
        M: Method<Oracle<'p>, Solution = Solution>,
        M::State: At,
    {
        let Self { job, watch } = self;
        let (steps, spacing, seen) = (job.steps, job.spacing, &mut job.seen);
        let (mut next, mut looking) = (1, Duration::ZERO);
        let mut run = Run::new(method, oracle)
            .seed(job.seed)
            .configuration(&job.configuration)
            .stop(Stop::Steps(steps))
            .stop(Stop::Interrupt)
            .observe((!job.common.quiet).then(|| Bar::new(method.name(), Some(steps))))
            .each(1, |tick, _| {
                let last = tick.step == steps || tick.progress.converged;
                if tick.step < next && !last {
                    return Ok(ControlFlow::Continue(()));
                }
                next = next.max(tick.step + 1).max((tick.step as f64 * spacing) as u64);
                let clock = std::time::Instant::now();
                let (mut numbers, flow) = watch(tick.state.at())?;
                let seconds = tick.elapsed.saturating_sub(looking).as_secs_f64();
                looking += clock.elapsed();
                for (name, value) in &numbers {
                    tick.note(*name, *value);
                }
                if let Some(stationarity) = tick.progress.metric("stationarity") {
                    numbers.push(("stationarity", stationarity));
                }
                seen.push(Seen { step: tick.step, calls: tick.evaluations, seconds, numbers });
                Ok(flow)
            });
        if let Some(time) = job.time {
            run = run.stop(Stop::Time(time.0));
        }
        if let Some(folder) = job.folder {
            let path = folder.join(CHECKPOINT);
            run = run
                .observe(Recorder::new(folder.join("metrics.jsonl"), 100))
                .checkpoint(Checkpointer { path: path.clone(), every: Every::Time(Duration::from_secs(5)) });
            if job.resume && path.exists() {
                run = run.resume(path)?;
            }
        }
        run.run()
    }
}

/// A run for benchmarks: what was seen on the way, and the end, or why there is none: a rival may diverge.
pub fn trace(
    problem: &dyn Bilevel,
    algorithm: &Algorithm,
    (steps, time): (u64, Option<Duration>),
    seed: u64,
    spacing: f64,
    watch: Watch<'_>,
) -> Result<(Vec<Seen>, Result<Solution, String>)> {
    let quiet = Common { quiet: true, ..Common::default() };
    let mut job = Job { time: time.map(Time), spacing, ..Job::plain(steps, seed, &quiet) };
    let end = match job.run(algorithm, &mut Oracle::new(problem)?, "bench", watch) {
        Ok(outcome) => Ok(outcome.solution),
        Err(e) if e.is::<Interrupted>() => return Err(e),
        Err(e) => Err(format!("{e:#}")),
    };
    Ok((job.seen, end))
}

/// The method of that name with the fields of `--set`.
pub fn algorithm(name: &str, set: &[String], usual: &[(&str, Value)]) -> Result<Algorithm> {
    let mut fields: Map<String, Value> = usual.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    fields.extend(config::fields(set)?);
    Algorithm::named(name, fields).with_context(|| format!("--method {name}"))
}
