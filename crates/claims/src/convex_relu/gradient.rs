//! Training by gradients on the same objective with as many neurons.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use thalweg::convex_relu::baselines::Training;
use thalweg::convex_relu::{Certificate, ConvexRelu, Loss, Program, Solver};
use thalweg::core::{Objective, Run, Seed, Stop};
use thalweg::fit::Data;
use thalweg::optim::{Adam, Sgd};
use thalweg::plot::Table;
use thalweg::tasks::Finding;

use super::{PLAIN, accuracy, finding, load, network, program, timed};
use crate::measure::median;

/// Small problems whose list holds every pattern that there is: name and β.
const COMPLETE: [(&str, f64); 3] = [("exact2d_0", 0.05), ("exact2d_1", 0.05), ("exact3d_0", 0.02)];

/// A run by gradients: last value, seconds to two values, test accuracy.
struct Descent {
    value: f64,
    reached: [f64; 2],
    accuracy: Option<f64>,
}

fn descend(
    method: &str,
    lr: f64,
    seed: u64,
    data: &Data,
    loss: Loss,
    beta: f64,
    hidden: usize,
    targets: [f64; 2],
) -> Result<Descent> {
    let mut training = Training::new(&data.train, &data.y, loss, beta, hidden, Seed(seed))?;
    let mut reached = [f64::INFINITY; 2];
    let problem = &mut training as &mut dyn Objective<Scalar = f64>;
    let watch = |value: f64, seconds: f64, reached: &mut [f64; 2]| {
        for (at, target) in reached.iter_mut().zip(targets) {
            if at.is_infinite() && value <= target {
                *at = seconds;
            }
        }
    };
    macro_rules! run {
        ($method:expr) => {
            Run::new(&$method, problem)
                .stop(Stop::Steps(3000))
                .each(1, |tick, _| {
                    watch(tick.progress.value, tick.elapsed.as_secs_f64(), &mut reached);
                    Ok(ControlFlow::Continue(()))
                })
                .run()
        };
    }
    let outcome = match method {
        "SGD" => run!(Sgd { lr, momentum: 0.9, ..Sgd::default() }),
        _ => run!(Adam { lr, ..Adam::default() }),
    };
    // A rate that is too high ends in numbers that are not finite.
    let Ok(outcome) = outcome else { return Ok(Descent { value: f64::INFINITY, reached, accuracy: None }) };
    let network = training.network(&outcome.solution);
    let value = network.objective(&data.train, &data.y, loss, beta)?;
    let accuracy = data.test.is_some().then(|| accuracy(&network, data)).transpose()?;
    Ok(Descent { value, reached, accuracy })
}

/// What is measured.
#[derive(Default)]
struct Measured {
    cells: Vec<[String; 7]>,
    marks: Vec<(String, bool)>,
    rows: Vec<Value>,
}

pub fn gradient(seeds: u64) -> Result<Finding> {
    let mut measured = Measured::default();
    for (name, beta) in PLAIN[..2].iter().chain(&COMPLETE) {
        for loss in Loss::ALL {
            measured.problem(name, loss, *beta, seeds)?;
        }
    }
    let mut table =
        Table::new(["set", "loss", "method", "value", "seconds", "to 1e-3 of the grown", "test accuracy"]);
    measured.cells.into_iter().for_each(|cells| {
        table.row(cells);
    });
    Ok(finding(
        "gradient",
        "Against training by gradients",
        "Full-batch SGD (momentum 0.9) and Adam on the same objective with as many neurons, five rates: the least value, and the medians of the seconds to within 1e-3 of ours for the listed patterns and for those that growth adds. ∞: not within 3000 steps. A run is free to use other patterns than the listed ones, so it may end below their optimum.",
        table,
        measured.marks,
        measured.rows,
    ))
}

impl Measured {
    /// A row of the table; `labels` are those of the problem's first.
    fn row(&mut self, labels: [&str; 3], value: f64, seconds: f64, later: Option<f64>, tested: Option<f64>) {
        let time = |s: f64| if s.is_finite() { format!("{s:.2}") } else { "∞".into() };
        let [set, loss, method] = labels.map(String::from);
        let (later, tested) =
            (later.map_or_else(String::new, time), tested.map_or_else(String::new, |a| format!("{a:.4}")));
        self.cells.push([set, loss, method, format!("{value:.4}"), time(seconds), later, tested]);
    }

    /// Ours and all runs of gradient methods on one problem.
    fn problem(&mut self, name: &str, loss: Loss, beta: f64, seeds: u64) -> Result<()> {
        let data = load(name, loss)?;
        let program = program(&data, loss, beta)?;
        let solver = Solver { tol: 1e-3, ..Solver::default() };
        let (solved, seconds) = timed(|| solver.solve(&program, Seed(0)))?;
        let listed = &solved.certified.certificate;
        let ours = network(&program, &solved.certified.solution);
        let tested = data.test.is_some().then(|| accuracy(&ours, &data)).transpose()?;
        self.row([name, loss.name(), "ours"], listed.objective, seconds, None, tested);
        let complete = COMPLETE.iter().any(|(all, _)| *all == name);
        let known = if complete { listed.clone() } else { self.grown(&data, &program, solver)? };
        let targets = [listed.objective, known.objective].map(|value| 1.001 * value);
        let hidden = ours.neurons.len().max(1);
        let (mut best, mut adam) = (f64::INFINITY, f64::INFINITY);
        for (method, rates) in
            [("SGD", [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]), ("Adam", [1e-3, 3e-3, 1e-2, 3e-2, 1e-1])]
        {
            let mut runs = Vec::new();
            for lr in rates {
                for seed in 1..=seeds {
                    runs.push(descend(method, lr, seed, &data, loss, beta, hidden, targets)?);
                }
            }
            let least = runs.iter().min_by(|a, b| a.value.total_cmp(&b.value)).context("no run")?;
            let [listed_at, known_at] = [0, 1].map(|i| median(runs.iter().map(|r| r.reached[i]).collect()));
            self.row(["", "", method], least.value, listed_at, Some(known_at), least.accuracy);
            self.rows.push(json!({ "set": name, "loss": loss, "method": method, "best": least.value, "listed": listed.objective, "bound": known.dual_bound, "to_listed": listed_at, "to_known": known_at, "ours_seconds": seconds, "accuracy": least.accuracy, "our_accuracy": tested }));
            (best, adam) = (best.min(least.value), listed_at);
        }
        let (all, bound) = (
            if complete { "the bound for all patterns" } else { "the grown program's bound" },
            known.dual_bound,
        );
        let problem = format!("{name} {}", loss.name());
        self.marks.extend([
            (
                format!("{problem}: no run ends below {all} ({best:.4}, {bound:.4})"),
                best >= bound * (1.0 - 1e-9),
            ),
            (
                format!(
                    "{problem}: gap 1e-3 before the median Adam run is that low ({seconds:.2} s, {adam:.2} s)"
                ),
                seconds < adam,
            ),
        ]);
        Ok(())
    }

    /// The best that is known: the program of the patterns that growth finds.
    fn grown(&mut self, data: &Data, program: &Program, solver: Solver) -> Result<Certificate> {
        let (loss, beta, listed) = (program.loss(), program.beta(), program.patterns().clone());
        let fit = ConvexRelu { loss, beta, extra_pattern_searches: 20, solver, ..ConvexRelu::default() };
        let (fit, seconds) = timed(|| fit.fit_patterns(&data.train, &data.y, listed))?;
        let tested = accuracy(&fit.network, data)?;
        self.row(["", "", "ours, grown"], fit.certificate.objective, seconds, None, Some(tested));
        Ok(fit.certificate)
    }
}
