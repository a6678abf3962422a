//! `thalweg tour`: every system against its baselines on embedded data, into one report.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use thalweg::core::Seed;
use thalweg::mfac::Saliency;
use thalweg::net::Model;
use thalweg::plot::{Figure, Report};
use thalweg::train::Sampling;

use crate::bench::{self, Finding, Length, Setting, Variant, variant};
use crate::config::Common;
use crate::task::{From, Task};
use crate::{bilevel, certify, dag, fit, linsolve, minimize, output, prune, train};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg tour
  thalweg tour --out tour/ --json")]
pub struct Tour {
    /// Folder for report.html and summary.json
    #[arg(long, value_name = "DIR", default_value = "tour")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// A stop of the tour: the system's name and what shows it.
type Stop = (&'static str, fn(&Common) -> Result<Finding>);

/// The systems in the tour, a few seconds each.
const STOPS: &[Stop] = &[
    ("adahessian", adahessian),
    ("adahessian", |_| bench::diagonal()),
    ("adahessian", |_| bench::trajectories()),
    ("mkor", mkor),
    ("mfac", mfac),
    ("convex-relu", |_| fit::certified_gap()),
    ("lipsdp", certify::all_bounds),
    ("topo", |_| dag::tour::stop()),
    ("relax", |_| linsolve::tour::heat()),
    ("cbo", |_| minimize::tour::stop()),
    ("bilevel", |_| bilevel::tour::cleaning()),
];

impl Tour {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        output::make_folder(&self.out)?;
        let mut report = Report::new("A tour of Thalweg");
        report
            .lead("Every system against its baselines on embedded data, measured on this machine just now.");
        let clock = Instant::now();
        let mut all = Vec::new();
        for (system, stop) in STOPS {
            let began = Instant::now();
            let finding = stop(&self.common)?;
            let seconds = began.elapsed().as_secs_f64();
            if !self.common.json {
                output::print(&format!("{system}: {}\n{}\n", finding.title, finding.table.text()))?;
            }
            finding.add_to(&mut report);
            let marks: Vec<_> = finding.marks.iter().map(|(m, h)| json!({ "mark": m, "holds": h })).collect();
            all.push(json!({ "system": system, "title": finding.title, "seconds": seconds, "results": finding.data, "marks": marks }));
        }
        let file = self.out.join("report.html");
        report.save(&file)?;
        let summary = json!({ "stops": all, "seconds": clock.elapsed().as_secs_f64(), "report": file });
        output::write_json(&self.out.join("summary.json"), &summary)?;
        if self.common.json {
            return output::print_json(&summary);
        }
        output::print(&format!("{:.1} s; open {}\n", clock.elapsed().as_secs_f64(), file.display()))
    }
}

const ARCH: &str = "mlp:64-128-10";

fn digits(arch: &str) -> Result<Task> {
    Task::load(&From { data: "digits".into(), ..From::default() }, arch, None)
}

/// The digits, and a network that ten epochs of AdamW have trained on them.
pub fn trained(arch: &str, mut fields: Value, common: &Common) -> Result<(Task, Model)> {
    let task = digits(arch)?;
    let quiet = Common { quiet: true, ..common.clone() };
    let sampling = Sampling { batch: 64, seed: Seed(1), ..Sampling::default() };
    (fields["lr"], fields["schedule"]) = (3e-3.into(), "linear:220".into());
    let job = train::Job::plain(&task, None, sampling, 220)?;
    let model = job.try_out(&bench::trainer("adamw", fields)?, &quiet)?.model;
    Ok((task, model))
}

/// A training comparison on the embedded digits.
fn compare(
    common: &Common,
    name: &'static str,
    title: &str,
    variants: &[Variant],
    epochs: u64,
) -> Result<Finding> {
    let task = digits(ARCH)?;
    let setting = Setting { batch: 64, length: Length::Epochs(epochs), schedule: "linear", seeds: 3 };
    let quiet = Common { quiet: true, ..common.clone() };
    let rows = bench::train(&task, variants, &setting, &quiet)?;
    let bars: Vec<_> = rows
        .iter()
        .map(|r| {
            let (mean, sd) = bench::moments(&r.test_loss);
            (r.label.clone(), mean, sd)
        })
        .collect();
    let figure = Figure::new(format!("Test loss after {epochs} epochs")).y_label("cross-entropy");
    Ok(Finding {
        name,
        title: title.into(),
        text: format!(
            "{ARCH} on {} digits, batch 64, {epochs} epochs, linear decay, 3 seeds, each method at its usual rate.",
            task.train.len()
        ),
        table: bench::table(&rows),
        figures: vec![(
            figure.bars("test loss", &bars),
            "Lower is better; whiskers are one standard deviation over the seeds.".into(),
        )],
        marks: Vec::new(),
        data: serde_json::to_value(&rows)?,
    })
}

/// AdaHessian against its baselines.
fn adahessian(common: &Common) -> Result<Finding> {
    let variants = [
        variant("AdaHessian", "adahessian", json!({ "lr": 0.15 })),
        variant("AdaHessian, no averaging", "adahessian", json!({ "lr": 0.15, "average": "none" })),
        variant("AdamW", "adamw", json!({ "lr": 3e-3 })),
        variant("SGD", "sgd", json!({ "lr": 0.1 })),
        variant("Muon", "muon", json!({ "lr": 0.02 })),
    ];
    compare(common, "adahessian", "AdaHessian: training with the Hessian's diagonal", &variants, 15)
}

/// MKOR and its rivals on the same first-order method.
fn mkor(common: &Common) -> Result<Finding> {
    let variants = [
        variant("SGD", "sgd", json!({ "lr": 0.05 })),
        variant("MKOR", "mkor", json!({ "lr": 0.05 })),
        variant("K-FAC", "kfac", json!({ "lr": 0.05, "inv_freq": 10, "rescale": "joint", "kl_clip": null })),
        variant("M-FAC", "mfac", json!({ "window": 64, "damp": 1e-3 })),
    ];
    compare(common, "mkor", "MKOR: Kronecker factors from two vectors per layer", &variants, 5)
}

/// One-shot pruning of a small network.
fn mfac(common: &Common) -> Result<Finding> {
    let (task, model) = trained(ARCH, json!({}), common)?;
    let quiet = Common { quiet: true, ..common.clone() };
    let settings = prune::Settings {
        compare: Some(vec![Saliency::Mfac, Saliency::DiagFisher, Saliency::Magnitude]),
        sparsity: Some(vec![0.5, 0.7, 0.8, 0.85, 0.9, 0.95]),
        recompute: Some(8),
        seed: Some(1),
        ..prune::Settings::default()
    };
    let Task { description, train, test, .. } = task;
    let job = prune::Job::new(&settings, &quiet, description, model, train, test)?;
    let (dense, rows) = (job.dense()?, job.rows(&mut job.source()?, None, false)?);
    let figure = prune::curves("Accuracy after pruning", "share of right classes", &rows, |r| r.accuracy);
    Ok(Finding {
        name: "mfac",
        title: "M-FAC: pruning with the inverse Fisher matrix".into(),
        text: format!(
            "{ARCH} trained on the digits, then pruned in one go without fine-tuning; fresh gradients 8 times on the way."
        ),
        table: prune::table(&rows, &dense),
        figures: vec![(figure, "Higher is better.".into())],
        marks: Vec::new(),
        data: serde_json::to_value(&rows)?,
    })
}
