//! Which training labels to trust, learned from a few clean ones.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg_bilevel::penalty::lower;
use thalweg_bilevel::tasks::classify::Examples;
use thalweg_bilevel::tasks::cleaning::{Cleaning, corrupt, f1};
use thalweg_bilevel::{Batch, Bilevel, Grad, Oracle, Solution, Sparse};
use thalweg_core::{Seed, StopReason};
use thalweg_data::{Dataset, Part, Source, Values, digits, read_split};
use thalweg_plot::{Figure, Report, Table};

use super::job::{Job, Trace, algorithm};
use super::regularization::precise;
use super::{DIGITS_WHITE, classes, inputs};
use crate::error::bail;
use crate::source::{DataSource, Parted};
use crate::train::standardize;
use crate::{Folder, Host, Result};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Images or a table: a file or folder as of `train --data` [default: digits]
    #[arg(long)]
    pub data: Option<String>,
    /// Column of the classes in a table [default: the last]
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
    /// CSV that divides them and has the labels [default: every fifth training example to validate on, wrong labels as
    /// of `corrupt`]
    #[arg(long, value_name = "FILE", conflicts_with = "corrupt")]
    pub split: Option<PathBuf>,
    /// Share of the training labels to replace by wrong ones [default: 0.5]
    #[arg(long, value_name = "P")]
    pub corrupt: Option<f64>,
    /// Weight C of C‖y‖² in the classifier's training [default: 0.001]
    #[arg(long, alias = "reg", value_name = "C", allow_negative_numbers = true)]
    #[serde(alias = "reg")]
    pub ridge: Option<f64>,
    /// Hidden units of the classifier; 0 for a linear one [default: 0]
    #[arg(long, value_name = "N")]
    pub hidden: Option<usize>,
    /// Put a third of the validation part aside and keep the weights that do best on it
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub hold_out: Option<bool>,
    /// pbo, pbo-double, pbo-single, f2sa, pbgd, g-pbgd, bome, aid, stocbio, soba, saba, amigo, implicit [default:
    /// pbo-double]
    #[arg(long)]
    pub method: Option<String>,
    /// Fields of the method.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Steps [default: 50; 20000 of sampled single-loop methods]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Seed of corruption, hidden weights and batches [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
}

/// A cleaning problem with what only the judge may know.
pub struct Judged {
    /// The problem.
    pub problem: Cleaning,
    /// True classes of the training examples.
    clean: Vec<u32>,
    test: Examples,
}

impl Judged {
    fn new(parts: [(Examples, Vec<u32>); 3], classes: usize, ridge: f64) -> Result<Self> {
        let [(train, clean), (val, _), (test, _)] = parts;
        Ok(Self { problem: Cleaning::new(train, val, classes, ridge)?, clean, test })
    }

    /// Images, a file or folder or `digits`, with a split.
    ///
    /// # Errors
    /// Files that cannot be read or do not belong together.
    pub fn of_split(data: &DataSource, split: &Path, ridge: f64) -> Result<Self> {
        // The numbers of the split count in the file: a test part may only be its end.
        let (train, test) = examples(&DataSource { parted: Some(Parted::tail()), ..data.clone() })?;
        // In the order of the file, or training file before test file.
        let images = train.concat(&test)?;
        let white = if data.data == "digits" { DIGITS_WHITE } else { 255.0 };
        let split = read_split(split)?;
        if let Some(index) = split.index.iter().find(|i| **i >= images.len()) {
            bail!(
                "the split names example {index}, the data has {}; give files that belong together",
                images.len()
            );
        }
        let part = |part: Part| -> Result<(Examples, Vec<u32>)> {
            let rows: Vec<(usize, u32, u32)> = split.of(part).collect();
            let index: Vec<usize> = rows.iter().map(|r| r.0).collect();
            let clean: Vec<u32> = rows.iter().map(|r| r.1).collect();
            // Wrong labels are for training alone.
            let given = if part == Part::Train { rows.iter().map(|r| r.2).collect() } else { clean.clone() };
            Ok((Examples::new(inputs(&images.select(&index), white)?, given)?, clean))
        };
        let classes = split.clean.iter().chain(&split.given).max().map_or(0, |&c| c as usize + 1);
        Self::new([part(Part::Train)?, part(Part::Val)?, part(Part::Test)?], classes, ridge)
    }

    /// Data with a test part: every fifth training example for validation, wrong labels among the others. Real values
    /// are standardised by the training examples.
    ///
    /// # Errors
    /// Data that cannot be read, or have no classes.
    pub fn of_data(data: &DataSource, corrupted: f64, ridge: f64, seed: Seed) -> Result<Self> {
        let (train, test) = examples(data)?;
        let Some(count) = train.classes() else {
            bail!("{} has numbers for targets; hyper-cleaning needs classes", data.data)
        };
        let (val, rest): (Vec<usize>, Vec<usize>) = (0..train.len()).partition(|i| i % 5 == 4);
        let (val, train) = (train.select(&val), train.select(&rest));
        let preprocess = standardize(&train);
        let part = |d: &Dataset, given: &[u32]| -> Result<(Examples, Vec<u32>)> {
            let rows = match &d.x {
                Values::Bytes(_) => inputs(d, 255.0)?,
                Values::Floats(x) => {
                    let columns = d.example_len();
                    let scaled = |(i, v): (usize, &f32)| {
                        let c = i % preprocess.mean.len();
                        f64::from(*v - preprocess.mean[c]) / f64::from(preprocess.std[c])
                    };
                    Sparse::dense(&x.iter().enumerate().map(scaled).collect::<Vec<f64>>(), columns)?
                }
            };
            Ok((Examples::new(rows, given.to_vec())?, classes(d).to_vec()))
        };
        let given = corrupt(classes(&train), count as u32, corrupted, seed);
        let clean = |d: &Dataset| part(d, classes(d));
        Self::new([part(&train, &given)?, clean(&val)?, clean(&test)?], count, ridge)
    }

    /// The embedded digits: a fifth of the training images for validation, wrong labels among the others.
    ///
    /// # Errors
    /// None but defects.
    pub fn of_digits(corrupted: f64, ridge: f64, seed: Seed) -> Result<Self> {
        let (train, test) = digits();
        let cut = train.len() * 4 / 5;
        let (val, train) = (train.slice(cut..train.len()), train.slice(0..cut));
        let part = |d: &Dataset, given: &[u32]| -> Result<(Examples, Vec<u32>)> {
            Ok((Examples::new(inputs(d, DIGITS_WHITE)?, given.to_vec())?, classes(d).to_vec()))
        };
        let given = corrupt(classes(&train), 10, corrupted, seed);
        let clean = |d: &Dataset| part(d, classes(d));
        Self::new([part(&train, &given)?, clean(&val)?, clean(&test)?], 10, ridge)
    }

    /// Share of right classes on the test part.
    pub fn test_accuracy(&self, y: &[f64]) -> f64 {
        self.problem.classifier().accuracy(y, &self.test)
    }

    /// F1 of kept = rightly labelled.
    pub fn f1(&self, x: &[f64]) -> f64 {
        f1(x, self.problem.train().classes(), &self.clean)
    }

    /// Test accuracies of training on: the given labels, the validation part, both, the rightly labelled examples
    /// with the validation part.
    ///
    /// # Errors
    /// None but defects.
    pub fn baselines(&self) -> Result<[f64; 4]> {
        let (train, val) = (self.problem.train(), self.problem.val());
        let right: Vec<usize> = (0..train.len()).filter(|&i| train.classes()[i] == self.clean[i]).collect();
        let right = train.select(&right);
        let fit =
            |parts: &[&Examples]| -> Result<f64> { Ok(self.test_accuracy(&self.problem.fit(parts, 1e-6)?)) };
        Ok([fit(&[train])?, fit(&[val])?, fit(&[train, val])?, fit(&[&right, val])?])
    }

    /// The classifier that the weights alone train, without the validation part: the method's y has seen that. A
    /// network is as far as the method's own z has come.
    ///
    /// # Errors
    /// A lower level that cannot be solved.
    pub fn trained(&self, at: &Solution) -> Result<Vec<f64>> {
        let mut z = at.z.clone();
        if self.problem.classifier().hidden == 0 {
            lower(&mut Oracle::new(&self.problem)?, &at.x, &mut z, 1e-6)?;
        }
        Ok(z)
    }

    /// Numbers of a solution that no method sees, and the loss on what was held out.
    fn look(&self, at: &Solution) -> Result<Vec<(&'static str, f64)>> {
        let (classifier, z) = (self.problem.classifier(), self.trained(at)?);
        let mut numbers = vec![
            ("upper", classifier.loss(&z, self.problem.val())),
            ("test_accuracy", self.test_accuracy(&z)),
            ("f1", self.f1(&at.x)),
        ];
        if let Some(held) = self.problem.held() {
            numbers.push(("held_out_accuracy", classifier.accuracy(&z, held)));
        }
        Ok(numbers)
    }

    /// A whole run: what was seen on the way, and the solution: the last one, or the best on what was held out.
    ///
    /// # Errors
    /// What the run fails with.
    pub fn solve(&self, mut job: Job<'_>, name: &str, set: &[String]) -> Result<Solved> {
        let n = self.problem.dims().0 as f64;
        let algorithm = algorithm(name, set, &usual(name, n))?;
        let mut best: Option<(f64, Solution)> = None;
        let mut watch = |at: &Solution| {
            let numbers = self.look(at)?;
            if let Some((_, held)) = numbers.iter().find(|n| n.0 == "held_out_accuracy")
                && best.as_ref().is_none_or(|b| *held > b.0)
            {
                best = Some((*held, at.clone()));
            }
            Ok((numbers, ControlFlow::Continue(())))
        };
        let mut oracle = Oracle::new(&self.problem)?;
        let outcome = job.run(&algorithm, &mut oracle, &mut watch)?;
        let seen = job.seen;
        let why = outcome.why();
        let solution = best.map_or(outcome.solution, |b| b.1);
        let seconds = seen.last().map_or(outcome.elapsed.as_secs_f64(), |s| s.seconds);
        let (calls, steps) = (oracle.calls().total(), outcome.steps);
        let trained = self.trained(&solution)?;
        Ok(Solved {
            solution,
            trained,
            seen,
            calls,
            steps,
            stopped_because: outcome.stopped_because,
            why,
            seconds,
        })
    }
}

/// Training and test part of data with examples.
fn examples(data: &DataSource) -> Result<(Dataset, Dataset)> {
    match data.load()?.source {
        Source::Examples { train, test } => Ok((train, test)),
        _ => bail!("{} is text; hyper-cleaning needs examples with classes", data.data),
    }
}

/// What came of it.
pub struct Solved {
    /// The solution.
    pub solution: Solution,
    /// The classifier that its weights alone train.
    pub trained: Vec<f64>,
    /// What was seen on the way.
    pub seen: Vec<Trace>,
    /// Gradients of both levels.
    pub calls: u64,
    /// Steps made.
    pub steps: u64,
    /// Why they ended.
    pub stopped_because: StopReason,
    /// The same in words.
    pub why: String,
    /// Time of the method.
    pub seconds: f64,
}

/// Settings that suit the task: steps on x of the order of the number of examples, since each has a share of 1/n of
/// the gradient.
fn usual(method: &str, n: f64) -> Vec<(&'static str, Value)> {
    match method {
        "pbo" => vec![("sigma", 0.1.into()), ("sigma_min", 0.1.into()), ("difference", "forward".into())],
        "pbo-double" => {
            let sigma = [("sigma", json!(0.1)), ("sigma_power", json!(0.0)), ("inner", json!(5))];
            let alpha = [("alpha", json!(500.0 * n)), ("alpha_power", json!(0.0))];
            [sigma.as_slice(), &alpha].concat()
        }
        "pbo-single" => vec![("alpha", (3.0 * n).into()), ("sigma", 0.1.into())],
        // Pixels are all positive: the largest curvature is about 20.
        "f2sa" => {
            let rates = [
                ("gamma", json!(0.02)),
                ("a", json!(0.002)),
                ("lambda", json!(10.0)),
                ("shift", json!(50.0)),
            ];
            [rates.as_slice(), &[("alpha", json!(500.0 * n))]].concat()
        }
        "aid" | "stocbio" | "amigo" => vec![("alpha", (500.0 * n).into()), ("gamma", 0.02.into())],
        "soba" | "saba" => vec![("alpha", (3.0 * n).into()), ("gamma", 0.02.into())],
        _ => Vec::new(),
    }
}

/// What is said of a cleaning.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Method.
    pub method: String,
    /// Share of right classes on the test part, of the classifier that the weights alone train.
    pub test_accuracy: f64,
    /// F1 of kept = rightly labelled.
    pub f1: f64,
    /// Its loss on the validation part.
    pub upper: f64,
    /// g(x, y) − min g(x, ·).
    pub lower_gap: f64,
    /// Examples with a weight above ½.
    pub kept: usize,
    /// Training examples.
    pub examples: usize,
    /// Gradients of both levels.
    pub gradient_calls: u64,
    /// Steps made.
    pub steps: u64,
    /// Why they ended.
    pub stopped_because: StopReason,
    /// The same in words.
    pub why: String,
    /// Time of the method.
    pub seconds: f64,
}

/// What [`hyperclean`] gives back.
pub struct Cleaned {
    /// What is said of it.
    pub summary: Summary,
    /// Weights of the training examples before the sigmoid, kept where > 0.
    pub x: Vec<f64>,
    /// The problem and its judge.
    pub judged: Judged,
}

/// The weights' file.
const PRODUCT: &str = "weights.csv";

/// Finds out which training labels are wrong. Each training example has a weight; a classifier is trained on the
/// weighted examples, and the weights are chosen so that it does well on the validation part.
///
/// # Errors
/// Data that cannot be read, settings that do not fit, an interruption.
pub fn hyperclean(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Cleaned> {
    let seed = settings.seed.unwrap_or(0);
    let hidden = settings.hidden.unwrap_or(0);
    let judged = settings.judged(seed, hidden)?;
    let name = settings.method.as_deref().unwrap_or("pbo-double");
    let few = precise(name) || matches!(name, "pbo-double" | "aid" | "f2sa");
    let steps = settings.steps.unwrap_or(if few { 50 } else { 20_000 });
    if let Some(folder) = folder {
        folder.begin(settings, &[PRODUCT])?;
    }
    let job = Job {
        folder,
        configuration: serde_json::to_value(settings)?,
        spacing: if few { 1.0 } else { 1.1 },
        ..Job::plain(steps, seed, host.clone())
    };
    let Solved { solution, trained, seen, calls, steps, stopped_because, why, seconds } =
        judged.solve(job, name, &settings.set)?;

    let problem = &judged.problem;
    let mut judge = Oracle::new(problem)?;
    let mut z = solution.z.clone();
    let tolerance = if hidden > 0 { 1e-4 } else { 1e-7 }; // of the gradients' size
    let least = lower(&mut judge, &solution.x, &mut z, tolerance)?;
    let summary = Summary {
        method: name.into(),
        test_accuracy: judged.test_accuracy(&trained),
        f1: judged.f1(&solution.x),
        upper: problem.classifier().loss(&trained, problem.val()),
        lower_gap: judge.lower(&solution.x, &solution.y, Batch::Full, Grad::NONE)? - least,
        kept: solution.x.iter().filter(|x| **x > 0.0).count(),
        examples: solution.x.len(),
        gradient_calls: calls,
        steps,
        stopped_because,
        why,
        seconds,
    };
    if let Some(folder) = folder {
        let rows = solution.x.iter().enumerate().map(|(i, x)| format!("{i},{x}\n")).collect::<String>();
        folder.write(PRODUCT, format!("example,x\n{rows}").as_bytes())?;
        let mut report = Report::new("Data hyper-cleaning");
        let section = report.section(format!("Method {name}"));
        section.text(&format!(
            "Test accuracy {} and F1 {} of kept = clean after {steps} steps.",
            summary.test_accuracy, summary.f1
        ));
        for (file, picture) in [("curves.svg", curves(&seen)), ("weights.svg", judged.histogram(&solution.x))]
        {
            picture.save(&folder.file(file))?;
            section.figure(&picture, "");
        }
        folder.report(report)?;
        folder.end(&summary, Some(stopped_because))?;
    }
    Ok(Cleaned { summary, x: solution.x, judged })
}

impl Settings {
    /// The problem that is asked for.
    fn judged(&self, seed: u64, hidden: usize) -> Result<Judged> {
        let ridge = self.ridge.unwrap_or(1e-3);
        let corrupted = self.corrupt.unwrap_or(0.5);
        if !(0.0..1.0).contains(&corrupted) {
            bail!("corrupt = {corrupted} is not allowed; use a number in [0, 1)");
        }
        let data = self.data.clone().unwrap_or_else(|| "digits".into());
        if data == "digits" && self.label.is_some() {
            bail!("`label` names a column of a table; the digits have none");
        }
        let source = DataSource { data, label: self.label.clone(), seed, ..DataSource::default() };
        let mut judged = match &self.split {
            None if source.data == "digits" => Judged::of_digits(corrupted, ridge, Seed(seed))?,
            None => Judged::of_data(&source, corrupted, ridge, Seed(seed))?,
            Some(split) => Judged::of_split(&source, split, ridge)?,
        };
        judged.problem = judged.problem.hidden(hidden, Seed(seed));
        if self.hold_out == Some(true) {
            judged.problem = judged.problem.hold_out();
        }
        Ok(judged)
    }
}

impl Cleaned {
    /// Beside training without weights, for people.
    ///
    /// # Errors
    /// None but defects.
    pub fn table(&self) -> Result<Table> {
        let mut table = Table::new(["trained on", "test accuracy", "F1 of kept = clean"]);
        let row = |name: &str, accuracy: f64, f1: Option<f64>| {
            [name.to_owned(), format!("{accuracy:.4}"), f1.map_or(String::new(), |f| format!("{f:.4}"))]
        };
        let [noisy, val, both, right] = self.judged.baselines()?;
        let s = &self.summary;
        table.row(row("all training examples as given", noisy, None));
        table.row(row("the validation part", val, None));
        table.row(row("both", both, None));
        let weighted = format!("weighted training examples ({})", s.method);
        table.row(row(&weighted, s.test_accuracy, Some(s.f1)));
        table.row(row("the rightly labelled ones and the validation part", right, None));
        Ok(table)
    }
}

/// Accuracy and F1 over the steps.
pub fn curves(seen: &[Trace]) -> Figure {
    let of = |name: &str| -> Vec<(f64, f64)> {
        seen.iter().filter_map(|s| Some((s.step as f64, s.number(name)?))).collect()
    };
    let figure = Figure::new("Cleaning").x_label("steps on the weights").y_label("share").log_x();
    let figure = figure.line("test accuracy", &of("test_accuracy")).line("F1 of kept = clean", &of("f1"));
    let held = of("held_out_accuracy");
    if held.is_empty() { figure } else { figure.line("accuracy on held-out validation", &held) }
}

impl Judged {
    /// Learned weights of rightly and wrongly labelled examples.
    pub fn histogram(&self, x: &[f64]) -> Figure {
        let given = self.problem.train().classes();
        let of = |right: bool| -> Vec<f64> {
            (0..x.len()).filter(|&i| (given[i] == self.clean[i]) == right).map(|i| x[i]).collect()
        };
        let figure =
            Figure::new("Learned weights").x_label("x (kept where > 0)").y_label("training examples");
        figure.histogram("label right", &of(true), 40).histogram("label wrong", &of(false), 40)
    }
}
