//! The stops of the tour: paths of gradients, and a rugged function by values alone.

use std::ops::ControlFlow;

use rand::RngExt;
use serde_json::{Map, Value, json};
use thalweg_cbo::{Auto, Cbo, Runs, SearchProblem, Space};
use thalweg_core::{Iterate, Objective, Run, Seed, Stop};
use thalweg_optim::Lbfgs;
use thalweg_optim::functions::{Function, TestFunction, by_name};
use thalweg_plot::{Figure, Table};

use super::descent::Walk;
use super::report::{TUNED, picture};
use super::{Settings, Trajectory};
use crate::{Context, Finding, Host, Result};

/// AdaHessian's paths beside those of its rivals.
///
/// # Errors
/// What a run fails with.
pub fn trajectories(host: &Host) -> Result<Finding> {
    let mut table = Table::new(["function", "method", "rate", "f", "x", "steps"]);
    let (mut figures, mut data) = (Vec::new(), Map::new());
    for (function, start) in [("rosenbrock", [-2.0, 2.0]), ("rastrigin", [-2.0, 3.5])] {
        let f = by_name(function, 2)?;
        let walk = Walk {
            host: &host.quiet(),
            folder: None,
            stops: vec![Stop::Steps(1000), Stop::Tolerance(1e-8)],
            seed: Seed(1),
            settings: &Settings::default(),
        };
        let one = |method: &&str| walk.one(method, &Map::new(), true, &f, &start);
        let all = ["sgd", "adam", "adahessian"].iter().map(one).collect::<Result<Vec<_>>>()?;
        for t in &all {
            table.row(cells(function, t));
        }
        figures.push((picture(&f, &all), format!("From ({}, {}).", start[0], start[1])));
        data.insert(function.into(), serde_json::to_value(&all)?);
    }
    Ok(Finding {
        name: "trajectories",
        title: "Trajectories".into(),
        text: format!("1000 steps at most, or ‖g‖∞ ≤ 1e-8. {TUNED}"),
        table,
        figures,
        marks: Vec::new(),
        data: Value::Object(data),
    })
}

fn cells(function: &str, t: &Trajectory) -> [String; 6] {
    let x: Vec<String> = t.best_x.iter().map(|x| format!("{x:.4}")).collect();
    let rate = t.lr.map_or_else(String::new, |lr| format!("{lr:.1e}"));
    [function.into(), t.method.clone(), rate, format!("{:.2e}", t.best_f), x.join(", "), t.steps.to_string()]
}

const DIM: usize = 10;
const RUNS: u64 = 5;
const EVALUATIONS: u64 = 200_000;
const TARGET: f64 = 1e-3;

/// Shifted Rastrigin in ten dimensions by `auto` beside L-BFGS with random starts, and the particles in two.
///
/// # Errors
/// What a run fails with.
pub fn rugged(_host: &Host) -> Result<Finding> {
    let f = shifted(DIM)?;
    let space = Space::cube(DIM, -f.half_width(), f.half_width());
    let auto = Auto::default();
    let runs = Runs::make(RUNS, Seed(1), |_, seed| {
        let mut problem = SearchProblem::new(&space, &f);
        let run = Run::new(&auto, &mut problem).seed(seed).stop(Stop::Target(TARGET));
        run.stop(Stop::Evaluations(EVALUATIONS)).run()
    })?;
    let mut table = Table::new(["method", "successes", "best f", "evaluations"]);
    let best = runs.best().context("no run was made")?;
    let evaluations: u64 = runs.outcomes.iter().map(|o| o.solution.evaluations).sum();
    let row = |name: &str, hits: usize, best: f64, evaluations: u64| {
        [name.to_owned(), format!("{hits} of {RUNS}"), format!("{best:.2e}"), evaluations.to_string()]
    };
    table.row(row("auto: values alone", runs.successes, best.solution.best_f, evaluations));
    let (hits, low, spent) = gradients(&f)?;
    table.row(row("L-BFGS from random starts", hits, low, spent));
    Ok(Finding {
        name: "cbo",
        title: "Consensus-based optimisation: a rugged function by values alone".into(),
        text: format!(
            "Rastrigin's function in {DIM} dimensions, its minimum moved; success is f ≤ {TARGET} within {EVALUATIONS} \
             evaluations. L-BFGS starts anew from random points until the same evaluations are spent."
        ),
        table,
        figures: vec![particles()?],
        marks: vec![("every run of `auto` finds the minimum".into(), runs.successes as u64 == RUNS)],
        data: json!({ "runs": RUNS, "successes": runs.successes, "ert": runs.ert, "lbfgs_successes": hits }),
    })
}

fn shifted(dim: usize) -> Result<TestFunction> {
    let shift = (0..dim).map(|j| 2.5 * (1.7 * j as f64 + 0.6).sin()).collect();
    Ok(by_name("rastrigin", dim)?.shifted(shift)?)
}

/// L-BFGS with restarts: successes, best value, evaluations.
fn gradients(f: &TestFunction) -> Result<(usize, f64, u64)> {
    let plain = by_name("rastrigin", DIM)?;
    let (lbfgs, mut hits, mut low, mut spent) = (Lbfgs::default(), 0, f64::INFINITY, 0);
    for run in 0..RUNS {
        let mut rng = Seed(1).stream("starts", run);
        let (mut evaluations, mut best) = (0, f64::INFINITY);
        while evaluations < EVALUATIONS && best > TARGET {
            let start = f.minimizer().iter().map(|s| rng.random_range(-5.12..5.12) - s).collect();
            let mut problem = Function::new(plain.clone(), start);
            let walk = Run::new(&lbfgs, &mut problem).stop(Stop::Steps(100));
            let end = walk.stop(Stop::Tolerance(1e-6)).run()?;
            evaluations += end.evaluations.max(1);
            best = best.min(problem.value(&end.solution)?);
        }
        hits += usize::from(best <= TARGET);
        low = low.min(best);
        spent += evaluations;
    }
    Ok((hits, low, spent))
}

/// The cloud at three moments, and the way of its consensus.
fn particles() -> Result<(Figure, String)> {
    let f = shifted(2)?;
    let cbo = Cbo { particles: 60, ..Cbo::default() };
    let mut problem = SearchProblem::new(&Space::cube(2, -5.12, 5.12), &f);
    let (mut clouds, mut path) = (Vec::new(), Vec::new());
    let run = Run::new(&cbo, &mut problem).seed(Seed(4)).stop(Stop::Steps(30)).each(1, |tick, _| {
        let consensus = tick.state.theta();
        path.push((consensus[0], consensus[1]));
        if [1, 8, 20].contains(&tick.step) {
            let cloud: Vec<(f64, f64)> = tick.state.points().chunks_exact(2).map(|x| (x[0], x[1])).collect();
            clouds.push((format!("step {}", tick.step), cloud));
        }
        Ok(ControlFlow::Continue(()))
    });
    run.run()?;
    let range = (-5.12, 5.12);
    let figure = Figure::new("Particles on Rastrigin's function")
        .size(640.0, 560.0)
        .x_label("x₁")
        .y_label("x₂")
        .colour_label("f")
        .contours(range, range, 12, |x, y| f.value(&[x, y]))
        .x_range(range.0, range.1)
        .y_range(range.0, range.1);
    let figure = clouds.iter().fold(figure, |figure, (name, cloud)| figure.scatter(name, cloud));
    Ok((
        figure.path("consensus", &path),
        "CBO with 60 particles: uniform at first, then in agreement; the consensus passes barriers.".into(),
    ))
}
