//! `thalweg bilevel regularisation`: a ridge weight for every feature of logistic regression.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg::bilevel::tasks::regularisation::Regularisation as Problem;
use thalweg::bilevel::{Batch, Bilevel, Grad, Oracle, Solution, Sparse, lower};
use thalweg::data::{Dataset, Svmlight, digits, read_svmlight};
use thalweg::plot::{Figure, Report, Table};

use super::job::{Job, Look, Place, Seen, algorithm};
use super::{DIGITS_WHITE, classes, inputs, parse_range};
use crate::config::{Common, Time};
use crate::output;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg bilevel regularisation --time 10s
  thalweg bilevel regularisation --method implicit --box -8:2 --out r/ --json
  thalweg bilevel regularisation --train ijcnn1.train.svm.bz2 --test ijcnn1.test.svm.bz2 --box -10:2 --json

The lower level minimises mean log-loss on the training file plus ½Σ exp(x_j)·y_j²; the upper level is the loss on
the test file. It is not convex in x: where x starts matters. Without files, the embedded digits.")]
pub struct Regularisation {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    common: Common,
}

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// Training rows: svmlight, perhaps packed with gzip or bzip2 [default: the digits]
    #[arg(long, value_name = "FILE", requires = "test")]
    train: Option<PathBuf>,
    /// Test rows, likewise
    #[arg(long, value_name = "FILE", requires = "train")]
    test: Option<PathBuf>,
    /// Bounds of every x [default: -10:2]
    #[arg(long = "box", value_name = "LO:HI", allow_hyphen_values = true)]
    #[serde(rename = "box")]
    bounds: Option<String>,
    /// Where every x starts [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    start: Option<f64>,
    /// pbo, pbo-double, pbo-single, f2sa, pbgd, g-pbgd, bome, aid, stocbio, soba, saba, amigo, implicit, grid, random
    /// [default: pbo]
    #[arg(long)]
    method: Option<String>,
    /// A field of the method
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Option<Vec<String>>,
    /// Steps at most [default: 1000 of precise methods, 20000 of sampled ones]
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Stop after this time, e.g. 30s, 5m
    #[arg(long)]
    time: Option<Time>,
    /// Seed of the batches [default: 0]
    #[arg(long)]
    seed: Option<u64>,
}

/// The problem of two svmlight files.
pub fn of_files(train: &Path, test: &Path, bounds: (f64, f64)) -> Result<Problem> {
    let [train, test] = read_svmlight([train, test])?;
    let rows = |s: Svmlight| -> Result<(Sparse, Vec<f64>)> {
        Ok((Sparse::new(s.indptr, s.indices, s.values, s.columns)?, s.labels))
    };
    let ((train, a), (test, b)) = (rows(train)?, rows(test)?);
    Ok(Problem::new((train, &a), (test, &b), bounds.0, bounds.1)?)
}

/// The problem of the embedded digits: ten classes, a weight per pixel.
pub fn of_digits(bounds: (f64, f64)) -> Result<Problem> {
    let (train, test) = digits();
    let labels = |d: &Dataset| -> Vec<f64> { classes(d).iter().map(|&l| f64::from(l)).collect() };
    let (a, b) = (labels(&train), labels(&test));
    let (train, test) = (inputs(&train, DIGITS_WHITE)?, inputs(&test, DIGITS_WHITE)?);
    Ok(Problem::new((train, &a), (test, &b), bounds.0, bounds.1)?)
}

/// Settings that suit the task: a strongly convex lower level, scaled by its curvature.
pub fn usual(method: &str) -> Vec<(&'static str, Value)> {
    match method {
        "pbo" => vec![("difference", "central".into()), ("sigma", 0.1.into()), ("sigma_min", 0.01.into())],
        "pbo-double" => {
            let sigma = [("sigma", json!(0.1)), ("sigma_power", json!(0.0))];
            let alpha = [("alpha", json!(2000.0)), ("alpha_power", json!(0.0)), ("trust", json!(10.0))];
            [sigma.as_slice(), &alpha].concat()
        }
        "pbo-single" => vec![("alpha", 30.0.into()), ("alpha_power", 0.5.into()), ("trust", 1.0.into())],
        "f2sa" => vec![("alpha", 20.0.into()), ("trust", 1.0.into())],
        "aid" | "stocbio" | "amigo" | "soba" | "saba" => {
            vec![
                ("alpha", 100.0.into()),
                ("trust", 1.0.into()),
                ("gamma", 0.3.into()),
                ("scaled", true.into()),
            ]
        }
        _ => Vec::new(),
    }
}

/// Whether a step of the method is a whole solve.
pub fn precise(method: &str) -> bool {
    matches!(method, "pbo" | "implicit" | "grid" | "random")
}

impl Regularisation {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        let settings = self.place.settings(&self.settings)?;
        let bounds =
            parse_range(settings.bounds.as_deref().unwrap_or("-10:2")).map_err(anyhow::Error::msg)?;
        let problem = match (&settings.train, &settings.test) {
            (Some(train), Some(test)) => of_files(train, test, bounds)?,
            _ => of_digits(bounds)?,
        };
        let start = settings.start.unwrap_or(0.0);
        if !(bounds.0..=bounds.1).contains(&start) {
            bail!("start = {start} is outside the box {}:{}", bounds.0, bounds.1);
        }
        let n = problem.dims().0;
        let problem = problem.from(vec![start; n]);
        let name = settings.method.as_deref().unwrap_or("pbo");
        let algorithm = algorithm(name, settings.set.as_deref().unwrap_or_default(), &usual(name))?;
        self.place.prepare(&settings)?;

        let mut oracle = Oracle::new(&problem)?;
        let mut watcher = Watcher::new(&problem)?;
        let mut watch = |at: &Solution| watcher.look(at);
        let steps = settings.steps.unwrap_or(if precise(name) { 1000 } else { 20_000 });
        let mut job = Job {
            time: settings.time,
            folder: self.place.folder(),
            resume: self.place.resumes(),
            configuration: serde_json::to_value(&settings)?,
            spacing: if precise(name) { 1.0 } else { 1.25 },
            ..Job::plain(steps, settings.seed.unwrap_or(0), &self.common)
        };
        let outcome = job.run(&algorithm, &mut oracle, "regularisation", &mut watch)?;
        let seen = job.seen;
        let calls = oracle.calls();
        let mut judge = Watcher { oracle: Oracle::new(&problem)?, y: outcome.solution.y };
        let upper = judge.value(&outcome.solution.x, 1e-8)?;
        let accuracy = problem.accuracy(&judge.y);
        let summary = json!({
            "method": name,
            "start": start,
            "upper": upper,
            "accuracy": accuracy,
            "x": outcome.solution.x,
            "gradient_calls": calls.total(),
            "terms": calls.terms,
            "steps": outcome.steps,
            "stopped_because": outcome.stopped_because,
            "seconds": seen.last().map_or(outcome.elapsed.as_secs_f64(), |s| s.seconds),
        });
        if let Some(folder) = self.place.folder() {
            output::write_json(&folder.join("summary.json"), &summary)?;
            write_report(folder, name, &seen, &outcome.solution.x, &summary)?;
            let _ = std::fs::remove_file(folder.join(super::job::CHECKPOINT));
        }
        if self.common.json {
            return output::print_json(&summary);
        }
        let mut table = Table::new(["", ""]);
        table.row(["test loss".to_owned(), format!("{upper:.9}")]);
        table.row(["test accuracy".to_owned(), format!("{accuracy:.4}")]);
        table.row(["gradients".to_owned(), calls.total().to_string()]);
        table.row(["steps".to_owned(), outcome.steps.to_string()]);
        table.row(["seconds".to_owned(), format!("{:.2}", summary["seconds"].as_f64().unwrap_or(f64::NAN))]);
        output::print(&table.text())
    }
}

/// Evaluates ψ by precise lower solves of its own, warm from one to the next.
pub struct Watcher<'a> {
    oracle: Oracle<'a>,
    y: Vec<f64>,
}

impl<'a> Watcher<'a> {
    pub fn new(problem: &'a Problem) -> Result<Self> {
        Ok(Self { oracle: Oracle::new(problem)?, y: problem.start().1 })
    }

    /// ψ(x); y moves to the lower solution.
    fn value(&mut self, x: &[f64], tolerance: f64) -> Result<f64> {
        lower(&mut self.oracle, x, &mut self.y, tolerance)?;
        Ok(self.oracle.upper(x, &self.y, Batch::Full, Grad::NONE)?)
    }

    pub fn look(&mut self, at: &Solution) -> Result<Look> {
        Ok((vec![("upper", self.value(&at.x, 1e-6)?)], ControlFlow::Continue(())))
    }
}

/// Curves of the test loss and the weights found.
fn write_report(folder: &Path, name: &str, seen: &[Seen], x: &[f64], summary: &Value) -> Result<()> {
    let curve = |of: fn(&Seen) -> f64, y: &str| -> Vec<(f64, f64)> {
        seen.iter().filter_map(|s| Some((of(s), s.number(y)?))).collect()
    };
    let figure = |title: &str, x: &str, y: &str| Figure::new(title).x_label(x).y_label(y);
    let mut figures = vec![
        (
            "upper_calls.svg",
            figure("Test loss by oracle calls", "gradients", "test loss")
                .log_x()
                .line(name, &curve(|s| s.calls as f64, "upper")),
        ),
        (
            "upper_time.svg",
            figure("Test loss by time", "seconds", "test loss").line(name, &curve(|s| s.seconds, "upper")),
        ),
        (
            "weights.svg",
            figure("Ridge weights found", "x (logarithm of the weight)", "features").histogram("x", x, 30),
        ),
    ];
    let stationarity = curve(|s| s.calls as f64, "stationarity");
    if stationarity.iter().any(|p| p.1 > 0.0) {
        let picture =
            figure("Stationarity by oracle calls", "gradients", "projected gradient").log_x().log_y();
        figures.push(("stationarity.svg", picture.line(name, &stationarity)));
    }
    let mut report = Report::new("Regularisation by bilevel optimisation");
    let section = report.section(format!("Method {name}"));
    section.text(&format!("Test loss {} after {} gradients.", summary["upper"], summary["gradient_calls"]));
    for (file, picture) in &figures {
        picture.save(&folder.join(file))?;
        section.figure(picture, "");
    }
    Ok(report.save(&folder.join("report.html"))?)
}
