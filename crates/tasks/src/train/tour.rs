//! The stops of the tour that train: AdaHessian and MKOR beside their rivals, the Hessian's diagonal.

use serde_json::{Map, Value, json};
use thalweg_adahessian::{Average, BlockRule, Probe, average, estimated_diagonal, exact_diagonal};
use thalweg_core::{Layout, Problem, Seed};
use thalweg_net::Model;
use thalweg_plot::{Figure, Table};

use super::compare::{By, Length, Setting, Variant, leader, moments, table, trainer, tuned, variant};
use super::{Job, Plan, Sampling, Trainer};
use crate::source::{DataSource, Prepared};
use crate::{Finding, Host, Result};

/// The network of the tour.
pub const ARCH: &str = "mlp:64-128-10";

fn digits(arch: &str) -> Result<Prepared> {
    Prepared::load(&DataSource { data: "digits".into(), ..DataSource::default() }, arch, None)
}

/// The digits, and a network that ten epochs of AdamW have trained on them.
///
/// # Errors
/// What the run fails with.
pub fn trained(arch: &str, mut fields: Value, host: &Host) -> Result<(Prepared, Model)> {
    let data = digits(arch)?;
    let sampling = Sampling { batch: 64, seed: Seed(1), ..Sampling::default() };
    (fields["lr"], fields["schedule"]) = (3e-3.into(), "linear:220".into());
    let job = Job::plain(&data, None, sampling, 220)?;
    let model = job.try_out(&trainer("adamw", fields)?, &host.quiet())?.model;
    Ok((data, model))
}

/// A training comparison on the embedded digits.
fn beside(
    host: &Host,
    name: &'static str,
    title: &str,
    variants: Vec<Variant>,
    epochs: u64,
) -> Result<Finding> {
    let data = digits(ARCH)?;
    let setting =
        Setting { batch: 64, length: Length::Epochs(epochs), schedule: "linear", seeds: 3, from: &[] };
    let rows = tuned(&data, variants, &setting, By::Loss, &host.quiet())?;
    let bars: Vec<_> = rows
        .iter()
        .map(|r| {
            let (mean, sd) = moments(&r.test_loss);
            (r.label.clone(), mean, sd)
        })
        .collect();
    let figure = Figure::new(format!("Test loss after {epochs} epochs")).y_label("cross-entropy");
    Ok(Finding {
        name,
        title: title.into(),
        text: format!(
            "{} {ARCH} on {} digits, batch 64, {epochs} epochs, linear decay, 3 seeds, each method at the rate that is best \
             for it on a held-out sixth of the training part.",
            leader(&rows, By::Loss),
            data.train.len()
        ),
        table: table(&rows),
        figures: vec![(
            figure.bars("test loss", &bars),
            "Lower is better; whiskers are one standard deviation over the seeds.".into(),
        )],
        marks: Vec::new(),
        data: serde_json::to_value(&rows)?,
    })
}

/// AdaHessian against its baselines.
///
/// # Errors
/// What a run fails with.
pub fn adahessian(host: &Host) -> Result<Finding> {
    let variants = vec![
        variant("AdaHessian", "adahessian", json!({})),
        variant("AdaHessian, no averaging", "adahessian", json!({ "average": "none" })),
        variant("AdamW", "adamw", json!({})),
        variant("SGD", "sgd", json!({})),
        variant("Muon", "muon", json!({})),
    ];
    beside(host, "adahessian", "AdaHessian: training with the Hessian's diagonal", variants, 15)
}

/// MKOR and its rivals on the same first-order method.
///
/// # Errors
/// What a run fails with.
pub fn mkor(host: &Host) -> Result<Finding> {
    let variants = vec![
        variant("SGD", "sgd", json!({})),
        variant("MKOR", "mkor", json!({})),
        variant("K-FAC", "kfac", json!({ "inv_freq": 10, "rescale": "joint", "kl_clip": null })),
        variant("M-FAC", "mfac", json!({ "window": 64, "damping": 1e-3, "lr": 1.0 / 64.0 })),
        variant("Muon", "muon", json!({})),
    ];
    beside(host, "mkor", "MKOR: Kronecker factors from two vectors per layer", variants, 5)
}

/// Relative distance ‖a − b‖/‖b‖.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    let (d, n) = a.iter().zip(b).fold((0.0, 0.0), |(d, n), (a, b)| (d + square(a - b), n + square(*b)));
    (d / n).sqrt()
}

/// Signed means over the natural blocks, in place.
fn blocks(layout: &Layout, mut d: Vec<f32>) -> Vec<f32> {
    for block in layout.blocks() {
        average(&mut d[block.range()], BlockRule::Natural.chunk(block), Average::Signed);
    }
    d
}

/// Estimates from 1 to 256 probes, element by element and averaged over blocks, against the exact
/// diagonal, after a short training on the embedded digits.
///
/// # Errors
/// What the run fails with.
pub fn diagonal(_host: &Host) -> Result<Finding> {
    let arch = "mlp:64-16-10:tanh";
    let data = digits(arch)?;
    let job = Job::plain(&data, None, Sampling { batch: 512, seed: Seed(1), ..Sampling::default() }, 30)?;
    let mut training = job.training()?;
    let trainer = Trainer::new("adahessian", Map::new())?;
    let theta = trainer.run(&mut training, &Plan { steps: 30, ..Plan::default() })?.solution;
    training.begin_step(0)?;

    let exact = exact_diagonal(&mut training, &theta)?;
    let layout = training.net().layout().clone();
    let exact_blocks = blocks(&layout, exact.clone());
    let mut table = Table::new(["probes", "relative error", "averaged over blocks"]);
    let (mut plain, mut averaged, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    for probes in [1, 4, 16, 64, 256] {
        let estimate = estimated_diagonal(&mut training, &theta, probes, Probe::Rademacher, Seed(2))?;
        let error = distance(&estimate, &exact);
        let error_blocks = distance(&blocks(&layout, estimate.clone()), &exact_blocks);
        table.row([probes.to_string(), format!("{error:.3}"), format!("{error_blocks:.3}")]);
        plain.push((probes as f64, error));
        averaged.push((probes as f64, error_blocks));
        shown = estimate;
    }
    let values = |d: &[f32]| d.iter().map(|x| f64::from(*x)).filter(|x| x.abs() > 1e-6).collect::<Vec<f64>>();
    let pairs: Vec<(f64, f64)> =
        exact.iter().zip(&shown).map(|(e, s)| (f64::from(*e), f64::from(*s))).collect();
    let ends = pairs.iter().fold((f64::MAX, f64::MIN), |(l, h), p| (l.min(p.0), h.max(p.0)));
    let figures = vec![
        (
            Figure::new("Error of the estimated diagonal").x_label("probes").y_label("relative error").log_x().log_y().line("each element", &plain).line("block means", &averaged),
            "Hutchinson's estimate against the exact diagonal; the slope is −½. Averaging over blocks makes the error smaller at every number of probes.".to_string(),
        ),
        (
            Figure::new("Estimated against exact").x_label("exact").y_label("256 probes").scatter("element", &pairs).line("equal", &[(ends.0, ends.0), (ends.1, ends.1)]),
            "One dot per weight.".to_string(),
        ),
        (
            Figure::new("Distribution of the diagonal").x_label("value").y_label("weights").histogram("exact", &values(&exact), 40).histogram("256 probes", &values(&shown), 40),
            "Entries below 1e-6 (inputs that are always 0) are left out.".to_string(),
        ),
    ];
    let better = plain.iter().zip(&averaged).all(|(p, a)| a.1 < p.1);
    let slope = (plain[4].1 / plain[0].1).ln() / (256f64).ln();
    Ok(Finding {
        name: "diagonal",
        title: "The estimated diagonal against the exact one".into(),
        text: format!("{arch} on the digits after 30 steps; {} weights.", theta.len()),
        table,
        figures,
        marks: vec![
            ("averaging over blocks reduces the error at every number of probes".into(), better),
            (format!("the error falls like 1/√probes (slope {slope:.2})"), (slope + 0.5).abs() < 0.15),
        ],
        data: json!({ "elements": plain, "blocks": averaged }),
    })
}
