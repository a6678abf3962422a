//! Searches by values alone: runs in parallel, their statistics, their pictures.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use thalweg::cbo::{
    Adaptive, Answer, Auto, Cbo, Hopping, Limits, Record, Runs, Search, Space, StopCause, rate_interval,
};
use thalweg::core::{Seed, interrupt};
use thalweg::plot::{Figure, Report, Table};

use super::Options;
use super::objective::Objective;
use crate::failure::{Failed, Interrupted};
use crate::{config, output};

#[derive(Args, Clone)]
pub struct Budget {
    /// Evaluations per run [default: 100000]
    #[arg(long, value_name = "N")]
    pub max_evals: Option<u64>,
    /// Success: a value of at most this
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub target: Option<f64>,
    /// Independent runs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub runs: u64,
    /// Standard deviation of the first cloud around --start (or 0); else it is uniform in the box
    #[arg(long, value_name = "S")]
    pub std: Option<f64>,
    /// Particles [default: from the number of unknowns]
    #[arg(long, value_name = "N")]
    pub particles: Option<u64>,
    /// Stop when the consensus stays within this for 20 steps
    #[arg(long, value_name = "D")]
    pub xtol: Option<f64>,
    /// Stop when all particles are within this of the consensus
    #[arg(long, value_name = "D")]
    pub dtol: Option<f64>,
}

/// Methods that need values alone.
pub const METHODS: [&str; 4] = ["auto", "cbo", "ch", "adaptive"];

impl Budget {
    /// Options of searches, and whether they were given.
    pub fn used(&self) -> [(&'static str, bool); 7] {
        [
            ("--max-evals", self.max_evals.is_some()),
            ("--target", self.target.is_some()),
            ("--runs", self.runs != 1),
            ("--std", self.std.is_some()),
            ("--particles", self.particles.is_some()),
            ("--xtol", self.xtol.is_some()),
            ("--dtol", self.dtol.is_some()),
        ]
    }
}

/// `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    method: &'a str,
    best_f: f64,
    best_x: &'a [f64],
    consensus_f: f64,
    consensus_x: &'a [f64],
    evals: u64,
    stop: StopCause,
    runs: u64,
    successes: usize,
    success_interval: (f64, f64),
    ert: Option<f64>,
    ert_interval: Option<(f64, Option<f64>)>,
    failures: u64,
    timeouts: u64,
    complaint: Option<String>,
    restarts: u64,
    seconds: f64,
}

/// The method of that name with some of its fields.
pub fn method(name: &str, fields: Map<String, Value>) -> Result<Box<dyn Search>> {
    let fields = Value::Object(fields);
    let read = || format!("settings of {name}");
    Ok(match name {
        "cbo" => Box::new(serde_json::from_value::<Cbo>(fields).with_context(read)?),
        "ch" => Box::new(serde_json::from_value::<Hopping>(fields).with_context(read)?),
        "adaptive" => Box::new(serde_json::from_value::<Adaptive>(fields).with_context(read)?),
        _ => Box::new(serde_json::from_value::<Auto>(fields).with_context(read)?),
    })
}

/// `FIELD=VALUE` pairs; a value is JSON, or else a word.
pub fn fields(pairs: &[String]) -> Result<Map<String, Value>> {
    let field = |pair: &String| {
        let (key, value) = config::field_value(pair)?;
        Ok((key.to_owned(), config::value(value)))
    };
    pairs.iter().map(field).collect()
}

pub fn run(options: &Options) -> Result<()> {
    let given = &options.search;
    anyhow::ensure!(given.runs > 0, "runs = 0 is not allowed; use at least 1");
    let time = options.time.map(|t| t.0);
    let (objective, space) = options.objective.resolve(&options.start, given.std, time)?;
    let name = options.method.as_deref().unwrap_or("auto");
    let mut fields = fields(&options.set)?;
    if let Some(n) = given.particles {
        fields.insert("particles".into(), n.into());
    }
    if name == "cbo" {
        note_exponents(options, &space, &fields)?;
    }
    let method = method(name, fields)?;
    interrupt::install().map_err(Failed)?;
    let clock = Instant::now();
    let made = runs(method.as_ref(), &objective, &space, options, time);
    if made.is_err() && interrupt::requested() {
        return Err(Interrupted { resume: None }.into());
    }
    let (runs, histories) = made?;
    let best = runs.best().context("no run was made")?;
    let program = match &objective {
        Objective::Program(program) => Some(program.as_ref() as &dyn thalweg::cbo::BlackBox),
        Objective::Functions(_) => None,
    };
    let sum = |of: fn(&Answer) -> u64| runs.answers.iter().map(of).sum::<u64>();
    let finite = |x: f64| Some(x).filter(|x| x.is_finite());
    let summary = Summary {
        method: name,
        best_f: best.best_f,
        best_x: &best.best_x,
        consensus_f: best.consensus_f,
        consensus_x: &best.consensus,
        evals: sum(|a| a.evals),
        stop: best.stop,
        runs: given.runs,
        successes: runs.successes,
        success_interval: rate_interval(runs.successes, runs.answers.len()),
        ert: runs.ert,
        ert_interval: runs.ert_interval(Seed(options.seed)).map(|(l, h)| (l, finite(h))),
        failures: sum(|a| a.failures),
        timeouts: program.map_or(0, |p| p.timeouts()),
        complaint: program.and_then(|p| p.complaint()),
        restarts: sum(|a| a.restarts),
        seconds: clock.elapsed().as_secs_f64(),
    };
    if let Some(out) = &options.out {
        output::write_json(&out.join("summary.json"), &summary)?;
        output::write(&out.join("history.csv"), history_csv(&histories).as_bytes())?;
        let figure = convergence(&histories, given.target);
        figure.save(&out.join("convergence.svg"))?;
        let mut report = Report::new("Minimisation by values alone");
        let section = report.section(format!("{name}, {} unknowns", space.dim));
        section.table(&table(&summary)).figure(&figure, "Best value over evaluations, a line per run.");
        report.save(&out.join("report.html"))?;
        options.common.note(format!("report: {}", out.join("report.html").display()));
    }
    if options.common.json {
        output::print_json(&summary)?;
    } else {
        output::print(&table(&summary).text())?;
    }
    if interrupt::requested() { Err(Interrupted { resume: None }.into()) } else { Ok(()) }
}

/// Both exponents of contraction, so that a cloud that cannot contract is no surprise.
fn note_exponents(options: &Options, space: &Space, fields: &Map<String, Value>) -> Result<()> {
    let cbo: Cbo = serde_json::from_value(Value::Object(fields.clone())).context("settings of cbo")?;
    cbo.validate(space)?;
    let (square, path) = cbo.exponents(space.dim);
    let warning = if square >= 0.0 && path >= 0.0 && !cbo.freezing {
        "; this noise cannot contract: lower noise_ratio, or use noise=anisotropic"
    } else {
        ""
    };
    options.common.note(format!(
        "noise per step {:.3}; growth of distances per step: {square:+.4} in the mean square, {path:+.4} on a path{warning}",
        cbo.ratio()
    ));
    Ok(())
}

type Histories = Vec<(u64, Vec<Record>)>;

fn runs(
    method: &dyn Search,
    objective: &Objective,
    space: &Space,
    options: &Options,
    time: Option<Duration>,
) -> Result<(Runs, Histories)> {
    let given = &options.search;
    let limits = Limits {
        max_evals: given.max_evals.unwrap_or(100_000),
        max_iters: options.steps,
        time,
        target: given.target,
        xtol: given.xtol,
        dtol: given.dtol,
        ..Limits::default()
    };
    let histories = Mutex::new(Vec::new());
    let keep = options.out.is_some();
    let runs = Runs::make(given.runs, Seed(options.seed), |k, seed| {
        let mut history = Vec::new();
        let answer = method.watch(space, objective.of_run(k), &limits, seed, &mut |step| {
            if keep {
                history.push(step.record);
            }
        })?;
        histories.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((k, history));
        Ok(answer)
    })?;
    let mut histories = histories.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    histories.sort_by_key(|h| h.0);
    Ok((runs, histories))
}

fn history_csv(histories: &Histories) -> String {
    let mut text = "run,iteration,evaluations,best_f,spread,ess,alpha,noise\n".to_owned();
    for (run, history) in histories {
        for r in history {
            let f = r.facts;
            let line = [r.best_f, r.spread, f.ess, f.alpha, f.noise].map(|x| x.to_string()).join(",");
            text += &format!("{run},{},{},{line}\n", r.iteration, r.evals);
        }
    }
    text
}

/// Best value over evaluations: a line per run; with many runs their median and quartiles.
fn convergence(histories: &Histories, target: Option<f64>) -> Figure {
    let low = histories.iter().filter_map(|h| h.1.last()).fold(f64::INFINITY, |l, r| l.min(r.best_f));
    let mut figure = Figure::new("Convergence").x_label("evaluations").y_label("best value");
    if low > 0.0 {
        figure = figure.log_y();
    }
    for (run, history) in histories.iter().take(12) {
        let points: Vec<(f64, f64)> = history.iter().map(|r| (r.evals as f64, r.best_f)).collect();
        figure = figure.line(&format!("run {run}"), &points);
    }
    if let (Some(target), Some(end)) =
        (target, histories.iter().filter_map(|h| h.1.last()).map(|r| r.evals).max())
    {
        figure = figure.line("target", &[(0.0, target), (end as f64, target)]);
    }
    figure
}

fn table(s: &Summary) -> Table {
    let list = |x: &[f64]| x.iter().map(|x| format!("{x:.6}")).collect::<Vec<_>>().join(", ");
    let mut table = Table::new(["", "value"]);
    table
        .row(["best f", &format!("{:.6e}", s.best_f)])
        .row(["best x", &list(s.best_x)])
        .row(["consensus f", &format!("{:.6e}", s.consensus_f)])
        .row(["consensus x", &list(s.consensus_x)])
        .row(["evaluations", &s.evals.to_string()])
        .row(["failures", &format!("{} (of these too slow: {})", s.failures, s.timeouts)])
        .row(["stopped by", serde_json::to_value(s.stop).ok().as_ref().and_then(Value::as_str).unwrap_or("")])
        .row(["successes", &format!("{} of {}", s.successes, s.runs)]);
    if let Some(ert) = s.ert {
        table.row(["evaluations per success", &format!("{ert:.0}")]);
    }
    if let Some(complaint) = &s.complaint {
        table.row(["first failure", complaint]);
    }
    table.row(["seconds", &format!("{:.3}", s.seconds)]);
    table
}
