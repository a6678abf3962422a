//! Variants of training, repeated over seeds.

use serde::Serialize;
use serde_json::Value;
use thalweg_core::{Seed, StopReason};
use thalweg_net::Model;
use thalweg_optim::Schedule;
use thalweg_plot::Table;

use super::{Epoch, Job, Sampling, Trainer};
use crate::error::bail;
use crate::source::Prepared;
use crate::{Fault, Host, Result, TaskError};

/// A method with settings, under a name for people.
pub struct Variant {
    /// Shown.
    pub label: String,
    /// Name of the method.
    pub method: &'static str,
    /// Hyper-parameters that differ from the defaults.
    pub fields: Value,
}

/// A variant.
pub fn variant(label: impl Into<String>, method: &'static str, fields: Value) -> Variant {
    Variant { label: label.into(), method, fields }
}

/// How all variants are trained.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Examples per step.
    pub batch: usize,
    /// Passes, or steps.
    pub length: Length,
    /// Text of the schedule, unless the variant has its own.
    pub schedule: &'a str,
    /// Seeds 1..=N.
    pub seeds: u64,
    /// The networks that the runs go on from, one per seed; empty: each starts afresh.
    pub from: &'a [Model],
}

/// Length of a training.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// Passes over the training part.
    Epochs(u64),
    /// Steps.
    Steps(u64),
}

/// Results of one variant, one entry per seed.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the variant.
    pub label: String,
    /// Learning rate, unless it follows from other settings.
    pub lr: Option<f64>,
    /// Test accuracy in percent; 0 where training diverged.
    pub accuracy: Vec<f64>,
    /// Loss of the last epoch's mini-batches.
    pub train_loss: Vec<f64>,
    /// Loss on the test part.
    pub test_loss: Vec<f64>,
    /// Time of the steps.
    pub seconds: Vec<f64>,
    /// Scores by epoch; shorter where training diverged.
    pub curves: Vec<Vec<Epoch>>,
    /// Learning rates tried on a part of the training data, with their scores there; empty where the rate was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grid: Vec<(f64, f64)>,
}

/// What a learning rate is chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The highest accuracy.
    Accuracy,
    /// The lowest loss.
    Loss,
}

impl Row {
    /// A quantity after that many epochs, one entry per seed; infinite where training diverged.
    pub fn after(&self, epochs: usize, of: impl Fn(&Epoch) -> f64) -> Vec<f64> {
        self.curves.iter().map(|c| c.get(epochs - 1).map_or(f64::INFINITY, &of)).collect()
    }

    /// The rate in words.
    pub fn rate(&self) -> String {
        self.lr.map_or_else(|| "default".into(), |lr| lr.to_string())
    }

    /// The higher, the better.
    pub fn score(&self, by: By) -> f64 {
        match by {
            By::Accuracy => self.mean(),
            By::Loss => -moments(&self.test_loss).0,
        }
    }

    /// Mean accuracy.
    pub fn mean(&self) -> f64 {
        moments(&self.accuracy).0
    }
}

/// The method of that name with these hyper-parameters, an object.
///
/// # Errors
/// As [`Trainer::new`].
pub fn trainer(name: &str, fields: Value) -> Result<Trainer> {
    Ok(Trainer::new(name, serde_json::from_value(fields)?)?)
}

/// Trains every variant with every seed.
///
/// # Errors
/// What a run fails with; divergence is a result.
pub fn compare(
    data: &Prepared,
    variants: &[Variant],
    setting: &Setting<'_>,
    host: &Host,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for v in variants {
        let Value::Object(fields) = &v.fields else { bail!("{}: no object", v.label) };
        let mut row = Row {
            label: v.label.clone(),
            lr: None,
            accuracy: vec![],
            train_loss: vec![],
            test_loss: vec![],
            seconds: vec![],
            curves: vec![],
            grid: vec![],
        };
        for seed in 1..=setting.seeds {
            let sampling = Sampling { batch: setting.batch, seed: Seed(seed), ..Sampling::default() };
            let mut job = Job::plain(data, None, sampling, 0)?;
            if let Some(model) = setting.from.get(seed as usize - 1) {
                job.start_from(model.theta.clone(), model.buffers.clone());
            }
            let epoch = job.training()?.steps_per_epoch();
            job.steps = match setting.length {
                Length::Epochs(n) => n * epoch,
                Length::Steps(n) => n,
            };
            let schedule = fields.get("schedule").and_then(Value::as_str).unwrap_or(setting.schedule);
            let schedule = schedule.parse::<Schedule>()?.bind(job.steps).to_string();
            let mut bound = fields.clone();
            bound.insert("schedule".into(), schedule.into());
            let trainer = Trainer::new(v.method, bound)?.suited(job.net());
            trainer.validate()?;
            row.lr = trainer.field("lr").and_then(|lr| lr.as_f64());
            match job.try_out(&trainer, host) {
                Ok(done) if done.reason == StopReason::Interrupted => {
                    return Err(TaskError::Interrupted { folder: None });
                }
                Ok(done) => {
                    let s = done.summary;
                    row.curves.push(done.curve);
                    row.accuracy.push(100.0 * s.test_accuracy.unwrap_or(f64::NAN));
                    row.train_loss.push(s.train_loss.unwrap_or(f64::NAN));
                    row.test_loss.push(s.test_loss);
                    row.seconds.push(s.seconds);
                }
                // Divergence is a result here.
                Err(e) if e.fault() == Fault::Failure && e.to_string().contains("not finite") => {
                    row.accuracy.push(0.0);
                    row.train_loss.push(f64::INFINITY);
                    row.test_loss.push(f64::INFINITY);
                    row.seconds.push(f64::NAN);
                    row.curves.push(Vec::new());
                }
                Err(e) => return Err(e),
            }
        }
        host.note(format!("  {:<44} {}", row.label, spread(&row.accuracy, 2)));
        rows.push(row);
    }
    Ok(rows)
}

/// Factors on a method's usual rate that are tried.
const FACTORS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

/// How often a grid grows by a factor of 2 beyond an end that is best.
const MOST_GROWTHS: usize = 4;

/// Seeds that a rate is chosen with.
const TRIAL_SEEDS: u64 = 2;

/// Trains every variant at its best rate, all by the same rule: its own rate times ¼, ½, 1, 2, 4, and more beyond
/// an end that is best, are tried on five sixths of the training part and scored on the last sixth; the best of
/// them trains on all of it and is scored on the test part.
///
/// # Errors
/// As [`compare`]; a variant without a rate.
pub fn tuned(
    data: &Prepared,
    variants: Vec<Variant>,
    setting: &Setting<'_>,
    by: By,
    host: &Host,
) -> Result<Vec<Row>> {
    let trial = data.held_out()?;
    let trial_setting = Setting { seeds: setting.seeds.min(TRIAL_SEEDS), ..*setting };
    let mut rows = Vec::new();
    for mut variant in variants {
        let usual = usual_rate(&variant)?;
        let mut grid: Vec<(f64, f64)> = Vec::new();
        let mut next: Vec<f64> = FACTORS.map(|f| f * usual).into();
        for _ in 0..=MOST_GROWTHS {
            for lr in std::mem::take(&mut next) {
                variant.fields["lr"] = lr.into();
                let row = compare(&trial, std::slice::from_ref(&variant), &trial_setting, &host.quiet())?;
                grid.push((lr, row[0].score(by)));
            }
            grid.sort_by(|a, b| a.0.total_cmp(&b.0));
            match peak(&grid) {
                0 => next.push(grid[0].0 / 2.0),
                last if last + 1 == grid.len() => next.push(grid[last].0 * 2.0),
                _ => break,
            }
        }
        variant.fields["lr"] = grid[peak(&grid)].0.into();
        let mut row = compare(data, std::slice::from_ref(&variant), setting, host)?.remove(0);
        row.grid = grid;
        rows.push(row);
    }
    Ok(rows)
}

/// Place of the best score, the first of equal ones.
fn peak(grid: &[(f64, f64)]) -> usize {
    (0..grid.len()).rev().max_by(|&a, &b| grid[a].1.total_cmp(&grid[b].1)).unwrap_or(0)
}

/// The rate that a variant names, else its method's default.
fn usual_rate(variant: &Variant) -> Result<f64> {
    let Value::Object(fields) = &variant.fields else { bail!("{}: no object", variant.label) };
    let trainer = Trainer::new(variant.method, fields.clone())?;
    match trainer.field("lr").and_then(|lr| lr.as_f64()) {
        Some(lr) => Ok(lr),
        None => bail!("{} has no rate of its own; give it one", variant.label),
    }
}

/// The best row in words, to be said before anything else.
pub fn leader(rows: &[Row], by: By) -> String {
    let best = rows.iter().max_by(|a, b| a.score(by).total_cmp(&b.score(by)));
    best.map_or_else(String::new, |best| match by {
        By::Accuracy => format!("{} leads with {} %.", best.label, spread(&best.accuracy, 2)),
        By::Loss => format!("{} leads with a test loss of {}.", best.label, spread(&best.test_loss, 4)),
    })
}

/// Mean and sample standard deviation.
pub fn moments(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, var.sqrt())
}

/// `mean ± sd`.
pub fn spread(x: &[f64], digits: usize) -> String {
    let (mean, sd) = moments(x);
    match x.len() {
        _ if !mean.is_finite() => "diverged".into(),
        1 => format!("{mean:.digits$}"),
        _ => format!("{mean:.digits$} ± {sd:.digits$}"),
    }
}

/// All rows as a table.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["method", "rate", "test accuracy %", "train loss", "test loss", "seconds"]);
    for r in rows {
        let (accuracy, train, test) =
            (spread(&r.accuracy, 2), spread(&r.train_loss, 3), spread(&r.test_loss, 3));
        table.row([r.label.clone(), r.rate(), accuracy, train, test, spread(&r.seconds, 2)]);
    }
    table
}

/// The best of the rows whose label is `label`, by mean accuracy.
pub fn best<'a>(rows: &'a [Row], label: &str) -> &'a Row {
    let of = rows.iter().filter(|r| r.label == label);
    of.max_by(|a, b| a.mean().total_cmp(&b.mean())).unwrap_or(&rows[0])
}
