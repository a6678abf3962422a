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
use thalweg_net::{Model, Preprocess};
use thalweg_plot::{Figure, Report, Table};

use super::job::{Job, Snapshot, Trace, algorithm};
use super::{DIGITS_WHITE, classes, inputs, parse_range};
use crate::error::bail;
use crate::{Folder, Host, Result};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Training rows: svmlight, perhaps packed with gzip or bzip2 [default: the digits]
    #[arg(long, value_name = "FILE", requires = "validation")]
    pub train: Option<PathBuf>,
    /// Rows that the weights are chosen by, likewise
    #[arg(long, value_name = "FILE", requires = "train")]
    pub validation: Option<PathBuf>,
    /// Rows that have no part in the choice, for the final score
    #[arg(long, value_name = "FILE", requires = "validation")]
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

/// Rows with their labels.
type Rows = (Sparse, Vec<f64>);

/// A problem, and rows that have no part in it.
pub struct Task {
    /// The problem.
    pub problem: Problem,
    /// The third set.
    pub test: Option<Rows>,
    /// What raw values are divided by.
    white: f64,
}

impl Task {
    /// The problem of two svmlight files, and a third one to test on.
    ///
    /// # Errors
    /// Files that cannot be read, an empty box.
    pub fn of_files(
        train: &Path,
        validation: &Path,
        test: Option<&Path>,
        bounds: (f64, f64),
    ) -> Result<Self> {
        let rows = |s: Svmlight| -> Result<Rows> {
            Ok((Sparse::new(s.indptr, s.indices, s.values, s.columns)?, s.labels))
        };
        let (train, validation, test) = match test {
            Some(test) => {
                let [a, b, c] = read_svmlight([train, validation, test])?;
                (rows(a)?, rows(b)?, Some(rows(c)?))
            }
            None => {
                let [a, b] = read_svmlight([train, validation])?;
                (rows(a)?, rows(b)?, None)
            }
        };
        Self::new(train, validation, test, bounds, 1.0)
    }

    /// The embedded digits: ten classes, a weight per pixel; the last fifth of the training images to choose by.
    ///
    /// # Errors
    /// An empty box.
    pub fn of_digits(bounds: (f64, f64)) -> Result<Self> {
        let (train, test) = digits();
        let cut = train.len() * 4 / 5;
        let rows = |d: &Dataset| -> Result<Rows> {
            Ok((inputs(d, DIGITS_WHITE)?, classes(d).iter().map(|&l| f64::from(l)).collect()))
        };
        let (validation, train) = (rows(&train.slice(cut..train.len()))?, rows(&train.slice(0..cut))?);
        Self::new(train, validation, Some(rows(&test)?), bounds, DIGITS_WHITE)
    }

    fn new(
        train: Rows,
        validation: Rows,
        test: Option<Rows>,
        bounds: (f64, f64),
        white: f64,
    ) -> Result<Self> {
        let problem = Problem::new((train.0, &train.1), (validation.0, &validation.1), bounds.0, bounds.1)?;
        Ok(Self { problem, test, white })
    }

    /// ψ(x) by a precise lower solve from y, which moves to the classifier, with accuracies.
    fn score(&self, x: &[f64], y: Vec<f64>) -> Result<(Score, Vec<f64>)> {
        let mut judge = Evaluator { oracle: Oracle::new(&self.problem)?, y };
        let upper = judge.value(x, 1e-8)?;
        let y = judge.y;
        let on_test = |(rows, labels): &Rows| self.problem.score(&y, (rows.clone(), labels));
        let test = self.test.as_ref().map(on_test).transpose()?;
        let validation_accuracy = self.problem.accuracy(&y);
        let (test_loss, test_accuracy) = (test.map(|t| t.0), test.map(|t| t.1));
        Ok((Score { upper, validation_accuracy, test_loss, test_accuracy }, y))
    }

    /// The best single weight for all features of 25 in the box, with what it comes to.
    fn common(&self, bounds: (f64, f64)) -> Result<Common> {
        let mut judge = Evaluator::new(&self.problem)?;
        let n = self.problem.dims().0;
        let mut best: Option<(f64, f64, Vec<f64>)> = None;
        for k in 0..25 {
            let x = bounds.0 + f64::from(k) / 24.0 * (bounds.1 - bounds.0);
            let upper = judge.value(&vec![x; n], 1e-6)?;
            if best.as_ref().is_none_or(|b| upper < b.1) {
                best = Some((x, upper, judge.y.clone()));
            }
        }
        let (x, _, y) = best.unwrap_or((bounds.0, f64::INFINITY, judge.y));
        Ok(Common { x, score: self.score(&vec![x; n], y)?.0 })
    }
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

/// How good a classifier is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Score {
    /// ψ: loss on the validation rows.
    pub upper: f64,
    /// Share of right classes there.
    pub validation_accuracy: f64,
    /// Loss on the test rows, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    /// Share of right classes there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
}

/// One weight for all features, for comparison.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Common {
    /// Its logarithm.
    pub x: f64,
    /// What it comes to.
    #[serde(flatten)]
    pub score: Score,
}

/// What is said of the weights.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Method.
    pub method: String,
    /// Where every x started.
    pub start: f64,
    /// The classifier of these weights.
    #[serde(flatten)]
    pub score: Score,
    /// The best single weight for all features.
    pub common: Common,
    /// Logarithms of the ridge weights.
    pub x: Vec<f64>,
    /// How many of them are at the lower and at the upper end of the box.
    pub at_bounds: [usize; 2],
    /// Gradients of both levels.
    pub gradient_calls: u64,
    /// Terms of the sums in them.
    pub terms: u64,
    /// Steps made.
    pub steps: u64,
    /// Why they ended.
    pub stopped_because: StopReason,
    /// The same in words.
    pub why: String,
    /// Time of the method.
    pub seconds: f64,
}

impl Summary {
    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["", "a weight each", "one weight"]);
        let (own, common) = (&self.score, &self.common.score);
        let mut row = |name: &str, of: &dyn Fn(&Score) -> Option<String>| {
            if let (Some(own), Some(common)) = (of(own), of(common)) {
                table.row([name.to_owned(), own, common]);
            }
        };
        row("validation loss", &|s| Some(format!("{:.9}", s.upper)));
        row("validation accuracy", &|s| Some(format!("{:.4}", s.validation_accuracy)));
        row("test loss", &|s| s.test_loss.map(|l| format!("{l:.9}")));
        row("test accuracy", &|s| s.test_accuracy.map(|a| format!("{a:.4}")));
        let mut row = |name: &str, own: String, common: String| {
            table.row([name.to_owned(), own, common]);
        };
        let [low, high] = self.at_bounds;
        let free = self.x.len() - low - high;
        row(
            "x",
            format!("{low} at the lower end, {high} at the upper, {free} between"),
            format!("{:.2}", self.common.x),
        );
        row("gradients", self.gradient_calls.to_string(), String::new());
        row("steps", self.steps.to_string(), String::new());
        row("seconds", format!("{:.2}", self.seconds), String::new());
        table
    }
}

/// Chooses the weights. The lower level minimises mean log-loss on the training rows plus ½Σ exp(x_j)·y_j²; the
/// upper level is the loss on the validation rows. It is not convex in x: where x starts matters.
///
/// # Errors
/// Files that cannot be read, settings that do not fit, an interruption.
pub fn regularization(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Summary> {
    let bounds = parse_range(settings.bounds.as_deref().unwrap_or("-10:2"))?;
    let mut task = match (&settings.train, &settings.validation) {
        (Some(train), Some(validation)) => {
            Task::of_files(train, validation, settings.test.as_deref(), bounds)?
        }
        (None, None) if settings.test.is_none() => Task::of_digits(bounds)?,
        _ => bail!("`train` and `validation` belong together; `test` is a third set for the final score"),
    };
    let start = settings.start.unwrap_or(0.0);
    if !(bounds.0..=bounds.1).contains(&start) {
        bail!("start = {start} is outside the box {}:{}", bounds.0, bounds.1);
    }
    let n = task.problem.dims().0;
    task.problem = task.problem.from(vec![start; n]);
    let name = settings.method.as_deref().unwrap_or("pbo");
    let algorithm = algorithm(name, &settings.set, &usual(name))?;
    if let Some(folder) = folder {
        folder.begin(settings, &[WEIGHTS, MODEL])?;
    }

    let mut oracle = Oracle::new(&task.problem)?;
    let mut evaluator = Evaluator::new(&task.problem)?;
    let mut observer = |at: &Solution| evaluator.look(at, 1e-6);
    let steps = settings.steps.unwrap_or(if precise(name) { 1000 } else { 20_000 });
    let mut job = Job {
        folder,
        configuration: serde_json::to_value(settings)?,
        spacing: if precise(name) { 1.0 } else { 1.25 },
        ..Job::plain(steps, settings.seed.unwrap_or(0), host.clone())
    };
    let outcome = job.run(&algorithm, &mut oracle, &mut observer)?;
    let (seen, calls, why) = (job.seen, oracle.calls(), outcome.why());
    let (x, from) = (outcome.solution.x, outcome.solution.y);
    let (score, y) = task.score(&x, from)?;
    let at = |bound: f64| x.iter().filter(|x| at_bound(**x, bound)).count();
    let summary = Summary {
        method: name.into(),
        start,
        score,
        common: task.common(bounds)?,
        at_bounds: [at(bounds.0), at(bounds.1)],
        x,
        gradient_calls: calls.total(),
        terms: calls.terms,
        steps: outcome.steps,
        stopped_because: outcome.stopped_because,
        why,
        seconds: seen.last().map_or(outcome.elapsed.as_secs_f64(), |s| s.seconds),
    };
    if let Some(folder) = folder {
        folder.write(WEIGHTS, weights(&summary.x, &y, bounds).as_bytes())?;
        model(&task, &y)?.save(folder.file(MODEL))?;
        write_report(folder, name, &seen, &summary.x, &summary)?;
        folder.end(&summary, Some(summary.stopped_because))?;
    }
    Ok(summary)
}

/// The table of features, and the classifier.
const WEIGHTS: &str = "weights.csv";
const MODEL: &str = "model.safetensors";

fn at_bound(x: f64, bound: f64) -> bool {
    (x - bound).abs() <= 1e-6 * bound.abs().max(1.0)
}

/// Feature, its x, its ridge weight eˣ, whether the box holds it, and the size of its part of the classifier.
fn weights(x: &[f64], y: &[f64], (lo, hi): (f64, f64)) -> String {
    let scores = y.len() / x.len();
    let row = |(j, (x, y)): (usize, (&f64, &[f64]))| {
        let held = if at_bound(*x, lo) {
            "lower"
        } else if at_bound(*x, hi) {
            "upper"
        } else {
            ""
        };
        let size = y.iter().map(|y| y * y).sum::<f64>().sqrt();
        format!("{},{x},{},{held},{size}\n", j + 1, x.exp())
    };
    let rows = x.iter().zip(y.chunks_exact(scores)).enumerate().map(row).collect::<String>();
    format!("feature,x,weight,at_bound,size\n{rows}")
}

/// The classifier as a network of one layer, its bias 0; of two classes the first one's score is 0.
fn model(task: &Task, y: &[f64]) -> Result<Model> {
    let (labels, features) = (task.problem.labels(), task.problem.dims().0);
    let (classes, scores) = (labels.len(), y.len() / features);
    let graph = thalweg_net::named(&format!("mlp:{features}-{classes}"), &[features], classes)?;
    let mut theta = vec![0.0; graph.layout()?.len()];
    for (j, y) in y.chunks_exact(scores).enumerate() {
        for (k, y) in y.iter().enumerate() {
            theta[(k + classes - scores) * features + j] = *y as f32;
        }
    }
    let classes = labels.iter().map(f64::to_string).collect();
    let preprocess = Preprocess { scale: 1.0 / task.white as f32, ..Preprocess::default() };
    Ok(Model { graph, theta, preprocess, classes, ..Model::default() })
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

    /// ψ of a solution, as `upper`, by a lower level solved to that share of its gradients' size.
    ///
    /// # Errors
    /// A lower level that cannot be solved.
    pub fn look(&mut self, at: &Solution, tolerance: f64) -> Result<Snapshot> {
        Ok((vec![("upper", self.value(&at.x, tolerance)?)], ControlFlow::Continue(())))
    }
}

/// Curves of the validation loss and the weights found.
fn write_report(folder: &Folder, name: &str, seen: &[Trace], x: &[f64], summary: &Summary) -> Result<()> {
    let curve = |of: fn(&Trace) -> f64, y: &str| -> Vec<(f64, f64)> {
        seen.iter().filter_map(|s| Some((of(s), s.number(y)?))).collect()
    };
    let figure = |title: &str, x: &str, y: &str| Figure::new(title).x_label(x).y_label(y);
    let mut figures = vec![
        (
            "upper_calls.svg",
            figure("Validation loss by oracle calls", "gradients", "validation loss")
                .log_x()
                .line(name, &curve(|s| s.calls as f64, "upper")),
        ),
        (
            "upper_time.svg",
            figure("Validation loss by time", "seconds", "validation loss")
                .line(name, &curve(|s| s.seconds, "upper")),
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
    section.text(&format!(
        "Validation loss {} after {} gradients.",
        summary.score.upper, summary.gradient_calls
    ));
    section.table(&summary.table());
    for (file, picture) in &figures {
        picture.save(&folder.file(file))?;
        section.figure(picture, "");
    }
    folder.report(report)
}
