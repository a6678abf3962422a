//! The tour's stop: a rugged function by values alone.

use anyhow::{Context, Result};
use serde_json::json;
use thalweg::cbo::{Auto, Cbo, CboSwarm, Limits, Runs, Search, Space, TestFunction, search};
use thalweg::core::{Run, Seed, Stop};
use thalweg::optim::Lbfgs;
use thalweg::optim::functions::named;
use thalweg::plot::{Figure, Table};

use crate::bench::Finding;

const DIM: usize = 10;
const RUNS: u64 = 5;
const EVALS: u64 = 200_000;
const TARGET: f64 = 1e-3;

/// Shifted Rastrigin in ten dimensions by `auto` beside L-BFGS with random starts, and the particles
/// in two.
pub fn stop() -> Result<Finding> {
    let f = shifted(DIM)?;
    let space = Space::cube(DIM, -f.half_width(), f.half_width());
    let limits = Limits { max_evals: EVALS, target: Some(TARGET), ..Limits::default() };
    let auto = Auto::default();
    let runs = Runs::make(RUNS, Seed(1), |_, seed| auto.minimize(&space, &f, &limits, seed))?;
    let mut table = Table::new(["method", "successes", "best f", "evaluations"]);
    let best = runs.best().context("no run was made")?;
    let evals: u64 = runs.answers.iter().map(|a| a.evals).sum();
    let row = |name: &str, hits: usize, best: f64, evals: u64| {
        [name.to_owned(), format!("{hits} of {RUNS}"), format!("{best:.2e}"), evals.to_string()]
    };
    table.row(row("auto: values alone", runs.successes, best.best_f, evals));
    let (hits, low, spent) = gradients(&f)?;
    table.row(row("L-BFGS from random starts", hits, low, spent));
    Ok(Finding {
        name: "cbo",
        title: "Consensus-based optimisation: a rugged function by values alone".into(),
        text: format!(
            "Rastrigin's function in {DIM} dimensions, its minimum moved; success is f ≤ {TARGET} within {EVALS} \
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
    Ok(TestFunction::named("rastrigin", dim)?.shifted(shift)?)
}

/// L-BFGS with restarts: successes, best value, evaluations.
fn gradients(f: &TestFunction) -> Result<(usize, f64, u64)> {
    use rand::RngExt;
    let (lbfgs, mut hits, mut low, mut spent) = (Lbfgs::default(), 0, f64::INFINITY, 0);
    for run in 0..RUNS {
        let mut rng = Seed(1).stream("starts", run);
        let (mut evals, mut best) = (0, f64::INFINITY);
        while evals < EVALS && best > TARGET {
            let start = f.minimiser().iter().map(|s| rng.random_range(-5.12..5.12) - s).collect();
            let mut problem = named("rastrigin", start).context("rastrigin has gradients")?;
            let walk = Run::new(&lbfgs, problem.as_mut()).stop(Stop::Steps(100));
            let end = walk.stop(Stop::Tolerance(1e-6)).run()?;
            evals += end.evaluations.max(1);
            best = best.min(problem.value(&end.solution)?);
        }
        hits += usize::from(best <= TARGET);
        low = low.min(best);
        spent += evals;
    }
    Ok((hits, low, spent))
}

/// The cloud at three moments, and the way of its consensus.
fn particles() -> Result<(Figure, String)> {
    let f = shifted(2)?;
    let (space, seed) = (Space::cube(2, -5.12, 5.12), Seed(4));
    let swarm = CboSwarm::new(Cbo { particles: 60, ..Cbo::default() }, space.clone(), seed);
    let limits = Limits { max_iters: Some(30), ..Limits::default() };
    let (mut clouds, mut path) = (Vec::new(), Vec::new());
    search(swarm, &space, &f, &limits, &mut |step| {
        path.push((step.consensus[0], step.consensus[1]));
        if [1, 8, 20].contains(&step.record.iteration) {
            let cloud: Vec<(f64, f64)> = step.points.chunks_exact(2).map(|x| (x[0], x[1])).collect();
            clouds.push((format!("step {}", step.record.iteration), cloud));
        }
    })?;
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
