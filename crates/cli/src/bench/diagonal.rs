//! The estimated diagonal of the Hessian against the exact one, on a small net.

use anyhow::Result;
use serde_json::json;
use thalweg::adahessian::{Average, BlockRule, Probe, average, estimated_diagonal, exact_diagonal};
use thalweg::core::{Layout, Problem, Seed};
use thalweg::plot::{Figure, Table};
use thalweg::train::{Plan, Sampling, Trainer};

use super::Finding;
use crate::task::{From, Task};
use crate::train::Job;

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
pub fn diagonal() -> Result<Finding> {
    let arch = "mlp:64-16-10:tanh";
    let from = From { data: "digits".into(), ..From::default() };
    let task = Task::load(&from, arch, None)?;
    let job = Job::plain(&task, None, Sampling { batch: 512, seed: Seed(1), ..Sampling::default() }, 30)?;
    let mut training = job.training()?;
    let trainer = Trainer::new("adahessian", serde_json::Map::new())?;
    let theta = trainer.fit(&mut training, &Plan { steps: 30, ..Plan::default() })?.solution;
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
