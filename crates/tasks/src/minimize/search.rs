//! Searches by values alone: runs in parallel, their statistics, their pictures.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thalweg::cbo::{
    Adaptive, Answer, Auto, BlackBox, Cbo, Course, Hopping, Limits, Record, Runs, Search, Space, Step,
    StopCause, rate_interval,
};
use thalweg::core::{Bar, Seed, interrupt};
use thalweg::plot::{Figure, Report, Table};

use super::objective::Objective;
use super::saving::{Kept, Saver};
use super::{Options, Settings};
use crate::failure::{Failed, Interrupted};
use crate::{config, output};

/// Methods that need values alone.
pub const METHODS: [&str; 4] = ["auto", "cbo", "ch", "adaptive"];

/// `--json`. Numbers that JSON does not have are none.
#[derive(Serialize, Deserialize)]
struct Summary {
    method: String,
    best_f: Option<f64>,
    best_x: Vec<f64>,
    best_feasible: bool,
    consensus_f: Option<f64>,
    consensus_x: Vec<f64>,
    consensus_feasible: bool,
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

pub fn run(options: &Options) -> Result<()> {
    let given = &options.settings;
    let runs = given.runs.unwrap_or(1);
    if runs == 0 {
        bail!("runs = 0 is not allowed; use at least 1");
    }
    let folder = options.resume.as_deref().or(options.out.as_deref());
    if let Some(done) = options.resume.as_deref().and_then(finished) {
        return say(options, &done);
    }
    let time = given.time.map(|t| t.0);
    let (objective, space) = given.resolve(time)?;
    let name = given.method.as_deref().unwrap_or("auto");
    let mut fields = config::fields(&given.set)?;
    if let Some(n) = given.particles {
        fields.insert("particles".into(), n.into());
    }
    if name == "cbo" {
        note_exponents(options, &space, &fields)?;
    }
    let method = method(name, fields)?;
    method.validate(&space)?;
    interrupt::install().map_err(Failed)?;
    let saver = folder.map(|folder| saver(folder, options)).transpose()?;
    let clock = Instant::now();
    let made = search_all(method.as_ref(), &objective, &space, options, saver.as_ref());
    if let Some(saver) = &saver {
        saver.flush()?;
    }
    let resume = || folder.map(|f| format!("thalweg minimize --resume {}", f.display()));
    if made.is_err() && interrupt::requested() {
        return Err(Interrupted { resume: resume() }.into());
    }
    let (all, histories) = made?;
    let best = all.best().context("no run was made")?;
    let program = match &objective {
        Objective::Program(program) => Some(program.as_ref() as &dyn BlackBox),
        Objective::Functions(_) => None,
    };
    let sum = |of: fn(&Answer) -> u64| all.answers.iter().map(of).sum::<u64>();
    let finite = |x: f64| Some(x).filter(|x| x.is_finite());
    let summary = Summary {
        method: name.into(),
        best_f: finite(best.best_f),
        best_x: best.best_x.clone(),
        best_feasible: best.best_feasible,
        consensus_f: finite(best.consensus_f),
        consensus_x: best.consensus.clone(),
        consensus_feasible: best.consensus_feasible,
        evals: sum(|a| a.evals),
        stop: best.stop,
        runs,
        successes: all.successes,
        success_interval: rate_interval(all.successes, all.answers.len()),
        ert: all.ert,
        ert_interval: all.ert_interval(Seed(given.seed())).map(|(l, h)| (l, finite(h))),
        failures: sum(|a| a.failures),
        timeouts: program.map_or(0, |p| p.timeouts()),
        complaint: program.and_then(|p| p.complaint()),
        restarts: sum(|a| a.restarts),
        seconds: all.answers.iter().map(|a| a.seconds).fold(clock.elapsed().as_secs_f64(), f64::max),
    };
    if let Some(out) = folder {
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
    say(options, &summary)?;
    if interrupt::requested() {
        return Err(Interrupted { resume: resume() }.into());
    }
    match (saver, all.answers.iter().any(|a| a.stop.is_cut())) {
        (Some(saver), false) => saver.clear(),
        (Some(_), true) => {
            let folder = folder.unwrap_or(Path::new("")).display();
            options.common.note(format!("the time was up; go on with --resume {folder} --time LONGER"));
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

/// Summary of a folder whose search is through.
fn finished(folder: &Path) -> Option<Summary> {
    let text = std::fs::read_to_string(folder.join("summary.json")).ok()?;
    serde_json::from_str(&text).ok().filter(|_| !Saver::unfinished(folder))
}

/// The folder made ready.
fn saver(folder: &Path, options: &Options) -> Result<Saver> {
    output::make_folder(folder)?;
    if options.resume.is_none() {
        if Saver::unfinished(folder) && !options.overwrite {
            let folder = folder.display();
            bail!(
                "{folder} holds an unfinished search; continue it with --resume {folder}, or add --overwrite"
            );
        }
        Saver::remove(folder)?;
        output::write(&folder.join("config.toml"), config::to_toml(&options.settings)?.as_bytes())?;
    }
    // More time is no other search.
    let shared = Settings { time: None, checkpoint_every: None, ..options.settings.clone() };
    Saver::new(folder, json!(shared), options.settings.checkpoint_every)
}

fn say(options: &Options, summary: &Summary) -> Result<()> {
    if options.common.json { output::print_json(summary) } else { output::print(&table(summary).text()) }
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

fn search_all(
    method: &dyn Search,
    objective: &Objective,
    space: &Space,
    options: &Options,
    saver: Option<&Saver>,
) -> Result<(Runs, Histories)> {
    let given = &options.settings;
    let limits = Limits {
        max_evals: given.max_evals.unwrap_or(100_000),
        max_iters: given.steps,
        time: given.time.map(|t| t.0),
        target: given.target,
        xtol: given.xtol,
        dtol: given.dtol,
        ..Limits::default()
    };
    let runs = given.runs.unwrap_or(1);
    let name = given.method.as_deref().unwrap_or("auto");
    let progress = Progress::new(name, runs, limits.max_evals, options.common.quiet);
    let histories = Mutex::new(Vec::new());
    let runs = Runs::make(runs, Seed(given.seed()), |k, seed| {
        let kept = saver.map_or(Ok(None), |s| s.load(k))?;
        let (answer, history) = match kept {
            Some(Kept::Done { answer, history }) => {
                progress.skip(limits.max_evals);
                (answer, history)
            }
            kept => {
                let course = method.course(space, &limits, seed)?;
                finish(k, course, kept, objective.of_run(k), saver, &progress)?
            }
        };
        histories.lock().unwrap_or_else(PoisonError::into_inner).push((k, history));
        anyhow::Ok(answer)
    });
    progress.end();
    let mut histories = histories.into_inner().unwrap_or_else(PoisonError::into_inner);
    histories.sort_by_key(|h| h.0);
    Ok((runs?, histories))
}

/// Run `k` to its end, on from what is kept of it.
fn finish(
    k: u64,
    mut course: Course<'_>,
    kept: Option<Kept>,
    f: &dyn BlackBox,
    saver: Option<&Saver>,
    progress: &Progress,
) -> Result<(Answer, Vec<Record>)> {
    let mut history = Vec::new();
    if let Some(Kept::Running { course: saved, history: so_far }) = kept {
        course.restore(saved)?;
        history = so_far;
    }
    let (mut counted, mut saved_at) = (course.evals(), Instant::now());
    progress.skip(counted);
    let stop = loop {
        let stop = course.step(f)?;
        if let Some(Step { record, .. }) = course.last() {
            progress.advance(record.evals - counted, record.best_f);
            counted = record.evals;
            if saver.is_some() {
                history.push(record);
            }
        }
        let over = stop.is_some_and(|cause| !cause.is_cut());
        let due = |s: &&Saver| stop.is_some() || s.due(history.len() as u64, saved_at);
        if let Some(saver) = saver.filter(|_| !over).filter(due) {
            saver.save(k, &Kept::Running { course: course.save()?, history: history.clone() })?;
            saved_at = Instant::now();
        }
        if let Some(cause) = stop {
            break cause;
        }
    };
    progress.through(counted);
    let answer = course.finish(f, stop)?;
    if let Some(saver) = saver.filter(|_| !stop.is_cut()) {
        saver.finished(k, Kept::Done { answer: answer.clone(), history: history.clone() })?;
    }
    Ok((answer, history))
}

/// The bar of all runs, unless it is to be quiet: evaluations made of those allowed, and the best value.
/// A run that is through counts as all of its evaluations.
struct Progress {
    max_evals: u64,
    now: Option<Mutex<(Bar, u64, f64)>>,
}

impl Progress {
    fn new(name: &str, runs: u64, max_evals: u64, quiet: bool) -> Self {
        let bar = || {
            let mut bar = Bar::new(name, Some(runs.saturating_mul(max_evals)));
            bar.begin(0);
            Mutex::new((bar, 0, f64::INFINITY))
        };
        Self { max_evals, now: (!quiet).then(bar) }
    }

    fn with(&self, act: impl FnOnce(&mut Bar, &mut u64, &mut f64)) {
        if let Some(now) = &self.now {
            let (bar, made, best) = &mut *now.lock().unwrap_or_else(PoisonError::into_inner);
            act(bar, made, best);
        }
    }

    /// Evaluations made before, which say nothing about the rate.
    fn skip(&self, evals: u64) {
        if evals > 0 {
            self.with(|bar, made, _| {
                *made = made.saturating_add(evals);
                bar.begin(*made);
            });
        }
    }

    fn advance(&self, evals: u64, best_f: f64) {
        self.with(|bar, made, best| {
            (*made, *best) = (made.saturating_add(evals), best.min(best_f));
            bar.show(*made, *best);
        });
    }

    /// A run has ended after so many evaluations.
    fn through(&self, evals: u64) {
        self.advance(self.max_evals.saturating_sub(evals), f64::INFINITY);
    }

    fn end(self) {
        self.with(|bar, made, best| bar.finish(*made, *best));
    }
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
    let value = |f: Option<f64>, feasible| {
        let f = f.map_or_else(|| "none".into(), |f| format!("{f:.6e}"));
        if feasible { f } else { f + " (infeasible)" }
    };
    let mut table = Table::new(["", "value"]);
    table
        .row(["best f", &value(s.best_f, s.best_feasible)])
        .row(["best x", &list(&s.best_x)])
        .row(["consensus f", &value(s.consensus_f, s.consensus_feasible)])
        .row(["consensus x", &list(&s.consensus_x)])
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
