//! Pictures of a sequence: regret, ω over time on the cost of every ω, cost per step.

use serde_json::Value;
use thalweg_plot::{Figure, Report, Table};
use thalweg_relax::TunedSolver;
use thalweg_relax::method::Cost;
use thalweg_relax::oracle::Comparison;

use super::sequence::SequenceSummary;
use crate::train::report::{read_metrics, smooth};
use crate::{Folder, Result};

/// One solve of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// In the unit of the run; a solve that failed costs the limit.
    pub cost: f64,
    pub omega: f64,
    pub context: f64,
}

impl Step {
    /// The steps that a run recorded.
    pub fn read(folder: &Folder) -> Result<Vec<Self>> {
        let number = |r: &Value, key: &str| r.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let step = |r: Value| Self {
            cost: number(&r, "cost"),
            omega: number(&r, "omega"),
            context: number(&r, "context"),
        };
        Ok(read_metrics(folder)?.into_iter().map(step).collect())
    }
}

/// At most about 500 of the points, evenly.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(500).max(1);
    points.into_iter().step_by(every).collect()
}

/// Running sums.
fn sums(values: impl Iterator<Item = f64>) -> Vec<f64> {
    values
        .scan(0.0, |sum, v| {
            *sum += v;
            Some(*sum)
        })
        .collect()
}

/// What was spent beyond the cost of the best ω for every instance.
pub fn regret(name: &str, unit: Cost, steps: &[Step], comparison: &Comparison) -> Figure {
    let count = steps.len().min(comparison.costs.len());
    let best = comparison.best_arm();
    let optimal = |t: usize| comparison.optimal[t];
    let over = |cost: &dyn Fn(usize) -> f64| {
        let over = sums((0..count).map(|t| cost(t) - optimal(t)));
        thin(over.into_iter().enumerate().map(|(t, r)| ((t + 1) as f64, r)).collect())
    };
    Figure::new("Regret against the best ω for every instance")
        .x_label("systems solved")
        .y_label(&format!("{} more", unit.unit()))
        .line(name, &over(&|t| steps[t].cost))
        .line("best fixed ω", &over(&|t| comparison.costs[t][best]))
}

/// The ω chosen, on the ground of what every ω costs.
pub fn omegas(name: &str, steps: &[Step], tuned: &TunedSolver, comparison: Option<&Comparison>) -> Figure {
    // The first colour is the ground's own blue: the dots take the second.
    let mut figure = Figure::new("ω over time").names(&["ground", name]).x_label("system").y_label("ω");
    let omegas: Vec<f64> = tuned.arms.iter().map(|a| a.omega).collect();
    let even = omegas.windows(3).all(|w| ((w[1] - w[0]) - (w[2] - w[1])).abs() < 1e-9 && w[1] > w[0]);
    if let Some(c) = comparison.filter(|_| even && omegas.len() > 2) {
        let (half, count) = (0.5 * (omegas[1] - omegas[0]), c.costs.len());
        let columns = count.min(240);
        let mean = |arm: usize, column: usize| {
            let steps = column * count / columns..(column + 1) * count / columns;
            let n = steps.len() as f64;
            steps.map(|t| c.costs[t][arm]).sum::<f64>() / n
        };
        let values: Vec<f64> = (0..omegas.len())
            .flat_map(|a| (0..columns).map(move |col| (a, col)))
            .map(|(a, col)| mean(a, col))
            .collect();
        let y = (omegas[0] - half, omegas[omegas.len() - 1] + half);
        figure = figure
            .colour_label(tuned.cost.unit())
            .log_colour()
            .heat_map((0.0, count as f64), y, omegas.len(), columns, &values)
            .y_range(y.0, y.1);
    }
    let chosen: Vec<_> = steps.iter().enumerate().map(|(t, s)| (t as f64, s.omega)).collect();
    figure.scatter(name, &thin(chosen))
}

/// Cost per system, neighbours averaged.
pub fn costs(name: &str, unit: Cost, steps: &[Step], comparison: Option<&Comparison>) -> Figure {
    let line = |values: &mut dyn Iterator<Item = f64>| {
        smooth(&values.enumerate().map(|(t, v)| (t as f64, v)).collect())
    };
    let figure = Figure::new("Cost per system").x_label("system").y_label(unit.unit()).log_y();
    let figure = figure.line(name, &line(&mut steps.iter().map(|s| s.cost)));
    match comparison {
        None => figure,
        Some(c) => {
            let best = c.best_arm();
            figure
                .line("best fixed ω", &line(&mut c.costs.iter().map(|costs| costs[best])))
                .line("best ω for every instance", &line(&mut c.optimal.iter().copied()))
        }
    }
}

/// Totals of the run and of what it is compared with.
fn totals(summary: &SequenceSummary, tuned: &TunedSolver, comparison: Option<&Comparison>) -> Table {
    let unit = Some(tuned.cost.unit()).filter(|_| tuned.cost != Cost::Iterations);
    let mut table = Table::new(["policy", "iterations", "unsolved"].into_iter().chain(unit));
    let mut row = |name: String, iterations: u64, unsolved: u64, cost: f64| {
        let cells = [name, iterations.to_string(), unsolved.to_string()];
        table.row(cells.into_iter().chain(unit.map(|_| format!("{cost:.0}"))));
    };
    row(summary.policy.clone(), summary.total_iterations, summary.unsolved, summary.total_cost);
    if let Some(c) = comparison {
        for (arm, total) in tuned.arms.iter().zip(&c.fixed) {
            let name = format!("{} ω = {:.3}", arm.method, arm.omega);
            row(name, total.iterations, total.unsolved, total.cost);
        }
        row("best ω for every instance".into(), c.oracle.iterations, c.oracle.unsolved, c.oracle.cost);
    }
    table
}

/// Writes the pictures and the report of a sequence.
pub fn report(
    folder: &Folder,
    summary: &SequenceSummary,
    steps: &[Step],
    tuned: &TunedSolver,
    comparison: Option<&Comparison>,
) -> Result<()> {
    let name = &*summary.policy;
    let mut report = Report::new("A sequence of linear systems");
    let solved = match summary.unsolved {
        0 => "all solved to the tolerance".into(),
        n => format!(
            "{n} not solved to the tolerance, each of which counts as {} iterations",
            tuned.max_iterations
        ),
    };
    report.lead(&format!("{} systems, {solved}; ω chosen by {name}.", steps.len()));
    report.section("Totals").table(&totals(summary, tuned, comparison));
    let section = report.section("Pictures");
    let mut figures = vec![
        (
            "omega",
            omegas(name, steps, tuned, comparison),
            "The dots are the ω chosen; the ground is what every ω costs.",
        ),
        ("iterations", costs(name, tuned.cost, steps, comparison), "Neighbouring systems averaged."),
    ];
    if let Some(c) = comparison {
        figures.insert(
            0,
            ("regret", regret(name, tuned.cost, steps, c), "A flat curve has learnt all there is to learn."),
        );
    }
    let by_context: Vec<_> = steps.iter().map(|s| (s.context, s.omega)).collect();
    let figure = Figure::new("ω by context").x_label("context").y_label("ω").scatter(name, &thin(by_context));
    figures.push(("context", figure, "What was chosen for which context."));
    for (file, figure, caption) in figures {
        figure.save(&folder.file(&format!("{file}.svg")))?;
        section.figure(&figure, caption);
    }
    folder.report(report)?;
    Ok(())
}
