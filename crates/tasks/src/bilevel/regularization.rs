//! A ridge weight for every feature of logistic regression.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg_bilevel::penalty::lower;
use thalweg_bilevel::tasks::regularization::Regularization as Problem;
use thalweg_bilevel::{Batch, Bilevel, Grad, Oracle, Solution, Sparse};
use thalweg_core::StopReason;
use thalweg_data::{Dataset, Svmlight, digits, read_svmlight};
use thalweg_plot::{Figure, Report, Table};

use super::job::{Job, Snapshot, Trace, algorithm};
use super::{DIGITS_WHITE, classes, inputs, parse_range};
use crate::error::bail;
use crate::folder::REPORT;
use crate::{Folder, Host, Result};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Training rows: svmlight, perhaps packed with gzip or bzip2 [default: the digits]
    #[arg(long, value_name = "FILE", requires = "test")]
    pub train: Option<PathBuf>,
    /// Test rows, likewise
    #[arg(long, value_name = "FILE", requires = "train")]
    pub test: Option<PathBuf>,
    /// Bounds of every x [default: -10:2]
    #[arg(long = "box", value_name = "LO:HI", allow_hyphen_values = true)]
    #[serde(rename = "box")]
    pub bounds: Option<String>,
    /// Where every x starts [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    pub start: Option<f64>,
    /// pbo, pbo-double, pbo-single, f2sa, pbgd, g-pbgd, bome, aid, stocbio, soba, saba, amigo, implicit, grid, random
    /// [default: pbo]
    #[arg(long)]
    pub method: Option<String>,
    /// Fields of the method.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Steps at most [default: 1000 of precise methods, 20000 of sampled ones]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Seed of the batches [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
}

/// The problem of two svmlight files.
///
/// # Errors
/// Files that cannot be read, an empty box.
pub fn of_files(train: &Path, test: &Path, bounds: (f64, f64)) -> Result<Problem> {
    let [train, test] = read_svmlight([train, test])?;
    let rows = |s: Svmlight| -> Result<(Sparse, Vec<f64>)> {
        Ok((Sparse::new(s.indptr, s.indices, s.values, s.columns)?, s.labels))
    };
    let ((train, a), (test, b)) = (rows(train)?, rows(test)?);
    Ok(Problem::new((train, &a), (test, &b), bounds.0, bounds.1)?)
}

/// The problem of the embedded digits: ten classes, a weight per pixel.
///
/// # Errors
/// Files that cannot be read, an empty box.
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

/// What is said of the weights.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Method.
    pub method: String,
    /// Where every x started.
    pub start: f64,
    /// ψ: loss on the test rows.
    pub upper: f64,
    /// Share of right classes there.
    pub accuracy: f64,
    /// Logarithms of the ridge weights.
    pub x: Vec<f64>,
    /// Gradients of both levels.
    pub gradient_calls: u64,
    /// Terms of the sums in them.
    pub terms: u64,
    /// Steps made.
    pub steps: u64,
    /// Why they ended.
    pub stopped_because: StopReason,
    /// Time of the method.
    pub seconds: f64,
}

impl Summary {
    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["", ""]);
        table.row(["test loss".to_owned(), format!("{:.9}", self.upper)]);
        table.row(["test accuracy".to_owned(), format!("{:.4}", self.accuracy)]);
        table.row(["gradients".to_owned(), self.gradient_calls.to_string()]);
        table.row(["steps".to_owned(), self.steps.to_string()]);
        table.row(["seconds".to_owned(), format!("{:.2}", self.seconds)]);
        table
    }
}

/// Chooses the weights. The lower level minimises mean log-loss on the training rows plus ½Σ exp(x_j)·y_j²; the
/// upper level is the loss on the test rows. It is not convex in x: where x starts matters.
///
/// # Errors
/// Files that cannot be read, settings that do not fit, an interruption.
pub fn regularization(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Summary> {
    let bounds = parse_range(settings.bounds.as_deref().unwrap_or("-10:2"))?;
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
    let algorithm = algorithm(name, &settings.set, &usual(name))?;
    if let Some(folder) = folder {
        folder.begin(settings, &[])?;
    }

    let mut oracle = Oracle::new(&problem)?;
    let mut evaluator = Evaluator::new(&problem)?;
    let mut observer = |at: &Solution| evaluator.look(at);
    let steps = settings.steps.unwrap_or(if precise(name) { 1000 } else { 20_000 });
    let mut job = Job {
        folder,
        configuration: serde_json::to_value(settings)?,
        spacing: if precise(name) { 1.0 } else { 1.25 },
        ..Job::plain(steps, settings.seed.unwrap_or(0), host.clone())
    };
    let outcome = job.run(&algorithm, &mut oracle, &mut observer)?;
    let (seen, calls) = (job.seen, oracle.calls());
    let mut judge = Evaluator { oracle: Oracle::new(&problem)?, y: outcome.solution.y };
    let summary = Summary {
        method: name.into(),
        start,
        upper: judge.value(&outcome.solution.x, 1e-8)?,
        accuracy: problem.accuracy(&judge.y),
        x: outcome.solution.x,
        gradient_calls: calls.total(),
        terms: calls.terms,
        steps: outcome.steps,
        stopped_because: outcome.stopped_because,
        seconds: seen.last().map_or(outcome.elapsed.as_secs_f64(), |s| s.seconds),
    };
    if let Some(folder) = folder {
        write_report(folder, name, &seen, &summary.x, &summary)?;
        folder.end(&summary, Some(summary.stopped_because))?;
    }
    Ok(summary)
}

/// Evaluates ψ by precise lower solves of its own, warm from one to the next.
pub struct Evaluator<'a> {
    oracle: Oracle<'a>,
    y: Vec<f64>,
}

impl<'a> Evaluator<'a> {
    /// From the problem's start.
    ///
    /// # Errors
    /// A problem that is none.
    pub fn new(problem: &'a Problem) -> Result<Self> {
        Ok(Self { oracle: Oracle::new(problem)?, y: problem.start().1 })
    }

    /// ψ(x); y moves to the lower solution.
    fn value(&mut self, x: &[f64], tolerance: f64) -> Result<f64> {
        lower(&mut self.oracle, x, &mut self.y, tolerance)?;
        Ok(self.oracle.upper(x, &self.y, Batch::Full, Grad::NONE)?)
    }

    /// ψ of a solution, as `upper`.
    ///
    /// # Errors
    /// A lower level that cannot be solved.
    pub fn look(&mut self, at: &Solution) -> Result<Snapshot> {
        Ok((vec![("upper", self.value(&at.x, 1e-6)?)], ControlFlow::Continue(())))
    }
}

/// Curves of the test loss and the weights found.
fn write_report(folder: &Folder, name: &str, seen: &[Trace], x: &[f64], summary: &Summary) -> Result<()> {
    let curve = |of: fn(&Trace) -> f64, y: &str| -> Vec<(f64, f64)> {
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
    section.text(&format!("Test loss {} after {} gradients.", summary.upper, summary.gradient_calls));
    for (file, picture) in &figures {
        picture.save(&folder.file(file))?;
        section.figure(picture, "");
    }
    Ok(report.save(&folder.file(REPORT))?)
}
