//! What the tour shows of convex training.

use std::ops::ControlFlow;
use std::time::Instant;

use serde_json::json;
use thalweg_convex_relu::baselines::Training;
use thalweg_convex_relu::scaling::Scaling;
use thalweg_convex_relu::{ConvexRelu, Fit, Loss, PatternChoice, Samples};
use thalweg_core::{Objective, Run, Seed, Stop};
use thalweg_data::{Targets, Values, digits};
use thalweg_optim::{Adam, Schedule};
use thalweg_plot::{Figure, Table};

use crate::error::bail;
use crate::{Finding, Host, Result};

const LOSS: Loss = Loss::Bce;
const BETA: f64 = 0.1;
/// Few enough that all activation patterns can be listed.
const SAMPLES: usize = 30;

/// The certified optimum of a small problem, and where Adam ends from several seeds.
///
/// # Errors
/// None but defects.
pub fn certified_gap(_host: &Host) -> Result<Finding> {
    let (samples, y) = threes_and_eights()?;
    let clock = Instant::now();
    let settings =
        ConvexRelu { loss: LOSS, beta: BETA, patterns: PatternChoice::All, ..ConvexRelu::default() };
    let fit = settings.fit(&samples, &y)?;
    let seconds = clock.elapsed().as_secs_f64();
    let (bound, patterns) = (fit.certificate.dual_bound, fit.program.patterns().len());
    let above = |value: f64| (value - bound) / bound;

    let mut table = Table::new(["training", "neurons", "objective", "above the bound %", "seconds"]);
    let mut row = |name: String, neurons: usize, value: f64, seconds: f64| {
        let cells =
            [name, neurons.to_string(), format!("{value:.6}"), format!("{:.4}", 100.0 * above(value))];
        table.row(cells.into_iter().chain([format!("{seconds:.2}")]));
    };
    let neurons = fit.network.neurons.len();
    row("convex program".into(), neurons, fit.nonconvex_objective, seconds);
    let mut figure = Figure::new("Distance from the global optimum")
        .x_label("step of Adam")
        .y_label("objective above the bound")
        .log_y();
    let mut ends = Vec::new();
    for seed in 1..=5 {
        let (curve, seconds) = adam(&samples, &y, 2 * neurons, Seed(seed))?;
        let end = curve.last().map_or(f64::NAN, |p| p.1);
        row(format!("Adam, seed {seed}"), 2 * neurons, end, seconds);
        let points: Vec<_> = curve.into_iter().map(|(step, value)| (step, above(value))).collect();
        figure = figure.line(&format!("Adam, seed {seed}"), &points);
        ends.push(end);
    }
    let ours = above(fit.nonconvex_objective).max(f64::EPSILON);
    figure = figure.line("convex program", &[(0.0, ours), (STEPS as f64, ours)]);
    let lowest = ends.iter().copied().fold(f64::INFINITY, f64::min);
    let marks = vec![
        (
            format!("the gap is proved to be at most 1e-4 ({:.1e})", fit.certificate.gap),
            fit.certificate.gap <= 1e-4,
        ),
        ("no run of Adam ends below the bound".into(), lowest >= bound),
    ];
    let data = json!({ "objective": fit.nonconvex_objective, "dual_bound": bound, "gap": fit.certificate.gap, "patterns": patterns, "adam": ends });
    Ok(Finding {
        name: "convex-relu",
        title: "Convex training: how far from the best of all networks".into(),
        text: format!(
            "{SAMPLES} digits 3 and 8 by their ink on the left and on the right; all {patterns} activation patterns are listed, so the bound holds for every two-layer ReLU network, whatever its width."
        ),
        table,
        figures: vec![
            (figure, "The bound is proved; Adam cannot know how far it is.".into()),
            (decision(&fit, &samples, &y), "Output of the trained network.".into()),
        ],
        marks,
        data,
    })
}

const STEPS: u64 = 1000;

/// Values of the objective on the way, by step, and the time.
fn adam(samples: &Samples, y: &[f64], hidden: usize, seed: Seed) -> Result<(Vec<(f64, f64)>, f64)> {
    let clock = Instant::now();
    let mut training = Training::new(samples, y, LOSS, BETA, hidden, seed)?;
    let mut curve = Vec::new();
    let schedule: Schedule = format!("linear:{STEPS}").parse()?;
    let method = Adam { lr: 0.03, schedule, ..Adam::default() };
    Run::new(&method, &mut training as &mut dyn Objective<Scalar = f64>)
        .stop(Stop::Steps(STEPS))
        .each(5, |tick, _| {
            curve.push((tick.step as f64, tick.progress.value));
            Ok(ControlFlow::Continue(()))
        })
        .run()?;
    Ok((curve, clock.elapsed().as_secs_f64()))
}

/// Two features of the first digits of two classes, scaled, with a constant; labels −1 and +1.
fn threes_and_eights() -> Result<(Samples, Vec<f64>)> {
    let (data, _) = digits();
    let (Targets::Classes { labels, .. }, Values::Bytes(pixels)) = (&data.targets, &data.x) else {
        bail!("the digits are bytes with classes")
    };
    let (mut features, mut y) = (Vec::new(), Vec::new());
    for (image, label) in pixels.chunks(64).zip(labels).filter(|(_, l)| [3, 8].contains(*l)).take(SAMPLES) {
        let ink = |columns: std::ops::Range<usize>| -> f64 {
            image.chunks(8).flat_map(|row| &row[columns.clone()]).map(|p| f64::from(*p)).sum()
        };
        features.extend([ink(0..4), ink(4..8)]);
        y.push(if *label == 8 { 1.0 } else { -1.0 });
    }
    let raw = Samples::new(features, 2)?;
    Ok((Scaling::of(&raw).apply(&raw)?, y))
}

/// The network's output over the two features, with the samples.
fn decision(fit: &Fit, samples: &Samples, y: &[f64]) -> Figure {
    let constant = samples.row(0).get(2).copied();
    let reach = samples.rows().flat_map(|r| [r[0].abs(), r[1].abs()]).fold(0.0, f64::max) * 1.1;
    let output = |a: f64, b: f64| {
        let x: Vec<f64> = [a, b].into_iter().chain(constant).collect();
        fit.network.predict(&x).map_or(f64::NAN, |f| f[0].tanh())
    };
    let of = |sign: f64| -> Vec<(f64, f64)> {
        samples.rows().zip(y).filter(|(_, y)| **y == sign).map(|(r, _)| (r[0], r[1])).collect()
    };
    Figure::new("The network that was proved optimal")
        .x_label("ink on the left")
        .y_label("ink on the right")
        .contours((-reach, reach), (-reach, reach), 8, output)
        .colour_label("tanh of the output")
        .scatter("3", &of(-1.0))
        .scatter("8", &of(1.0))
}
