//! Minimisation with gradients, and the picture of the trajectories.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use thalweg::adahessian::AdaHessian;
use thalweg::core::{Iterate, Method, Objective, Outcome, Run, Seed, Stop};
use thalweg::optim::functions::named;
use thalweg::optim::{Adam, Lbfgs, Sgd};
use thalweg::plot::{Figure, Table};

use super::Options;
use crate::config;
use crate::failure::Interrupted;
use crate::output;

/// A path through the plane and where it ended.
#[derive(Clone, Debug, Serialize)]
pub struct Trajectory {
    method: String,
    best_f: f64,
    best_x: Vec<f64>,
    evals: u64,
    steps: u64,
    stop: String,
    seconds: f64,
    #[serde(skip)]
    path: Vec<(f64, f64)>,
}

/// Minimises by each method, writes and prints.
pub fn run(options: &Options) -> Result<()> {
    let given = &options.settings;
    let Some(function) = &given.function else {
        bail!("a program has no gradient; use --method auto, cbo, ch or adaptive");
    };
    if given.start.is_empty() || given.start.iter().any(|x| !x.is_finite()) {
        bail!("start = {:?} is not allowed; use finite numbers, e.g. --start=-1.2,1", given.start);
    }
    if function == "rosenbrock" && given.start.len() < 2 {
        bail!("rosenbrock needs at least 2 numbers to start from, e.g. --start=-1.2,1");
    }
    let one = || vec![given.method.clone().unwrap_or_else(|| "adahessian".into())];
    let names = given.compare.clone().unwrap_or_else(one);
    let mut all = Vec::new();
    for name in &names {
        let mut fields = Map::new();
        if name != "lbfgs" {
            fields.insert("lr".into(), given.lr.unwrap_or_else(|| rate(name)).into());
        }
        fields.extend(config::fields(&given.set)?);
        let steps = Stop::Steps(given.steps.unwrap_or(1000));
        let mut stops = vec![steps, Stop::Tolerance(given.tol.unwrap_or(1e-8)), Stop::Interrupt];
        stops.extend(given.time.map(|t| Stop::Time(t.0)));
        let t = minimize(function, &given.start, name, fields, &stops, given.seed())?;
        if thalweg::core::interrupt::requested() {
            return Err(Interrupted { resume: None }.into());
        }
        all.push(t);
    }
    if let Some(out) = &options.out {
        output::write_json(&out.join("summary.json"), &all)?;
        if given.start.len() == 2 {
            let file = out.join("trajectories.svg");
            picture(function, &all)?.save(&file)?;
            options.common.note(format!("picture: {}", file.display()));
        }
    }
    if options.common.json {
        return if given.compare.is_some() { output::print_json(&all) } else { output::print_json(&all[0]) };
    }
    output::print(&table(&all).text())
}

/// A rate at which the method goes well on the functions here.
pub fn rate(method: &str) -> f64 {
    match method {
        "adam" => 0.2,
        "sgd" => 5e-4,
        _ => 1.0, // Newton's, since nothing is random but the probe
    }
}

/// Minimises the function of that name from `start`.
pub fn minimize(
    function: &str,
    start: &[f64],
    method: &str,
    fields: Map<String, Value>,
    stops: &[Stop],
    seed: u64,
) -> Result<Trajectory> {
    let problem = named(function, start.to_vec());
    let mut problem =
        problem.with_context(|| format!("there is no function `{function}`; use rosenbrock or rastrigin"))?;
    let (problem, fields) = (problem.as_mut(), Value::Object(fields));
    match method {
        "adahessian" => walk::<AdaHessian>(fields, problem, stops, seed),
        "sgd" => walk::<Sgd>(fields, problem, stops, seed),
        "adam" => walk::<Adam>(fields, problem, stops, seed),
        "lbfgs" => walk::<Lbfgs>(fields, problem, stops, seed),
        _ => bail!("there is no method `{method}` here; use adahessian, sgd, adam or lbfgs"),
    }
}

fn walk<M>(
    fields: Value,
    problem: &mut (dyn Objective<Scalar = f64> + 'static),
    stops: &[Stop],
    seed: u64,
) -> Result<Trajectory>
where
    M: Method<dyn Objective<Scalar = f64>, Solution = Vec<f64>> + serde::de::DeserializeOwned,
    M::State: Iterate<f64>,
{
    let method: M = serde_json::from_value(fields)?;
    let plane = |x: &[f64]| (x[0], x.get(1).copied().unwrap_or(0.0));
    let mut path = vec![plane(&problem.start()?)];
    let mut run = Run::new(&method, problem).seed(Seed(seed)).each(1, |tick, _| {
        path.push(plane(tick.state.theta()));
        Ok(std::ops::ControlFlow::Continue(()))
    });
    for stop in stops {
        run = run.stop(*stop);
    }
    let Outcome { solution, stopped_because, steps, evaluations, elapsed, .. } = run.run()?;
    Ok(Trajectory {
        method: method.name().into(),
        best_f: problem.value(&solution)?,
        best_x: solution,
        evals: evaluations,
        steps,
        stop: serde_json::to_value(stopped_because)?.as_str().unwrap_or_default().into(),
        seconds: elapsed.as_secs_f64(),
        path,
    })
}

/// The trajectories over the function's level sets.
pub fn picture(function: &str, all: &[Trajectory]) -> Result<Figure> {
    let points = || all.iter().flat_map(|t| &t.path).filter(|p| p.0.abs() < 10.0 && p.1.abs() < 10.0);
    let span = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = points()
            .map(of)
            .chain([0.0, 1.0])
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        let margin = 0.15 * (high - low).max(1.0);
        (low - margin, high + margin)
    };
    let (x, y) = (span(|p| p.0), span(|p| p.1));
    let f = named(function, vec![0.0, 0.0]).with_context(|| format!("there is no function `{function}`"))?;
    let f = std::cell::RefCell::new(f);
    let value = |a, b| f.borrow_mut().value(&[a, b]).map_or(f64::NAN, |v| v.max(1e-2));
    let figure =
        Figure::new(format!("Trajectories on {function}")).x_label("x₁").y_label("x₂").colour_label("f");
    let figure = if function == "rosenbrock" { figure.log_colour() } else { figure };
    let figure = figure.contours(x, y, 12, value).x_range(x.0, x.1).y_range(y.0, y.1);
    Ok(all.iter().fold(figure, |f, t| f.path(&t.method, &t.path)))
}

/// Results for people.
fn table(all: &[Trajectory]) -> Table {
    let x = |t: &Trajectory| t.best_x.iter().map(|x| format!("{x:.6}")).collect::<Vec<_>>().join(", ");
    let mut table = Table::new(["method", "f", "x", "steps", "evaluations", "stopped by"]);
    for t in all {
        let (f, steps, evals) = (format!("{:.3e}", t.best_f), t.steps.to_string(), t.evals.to_string());
        table.row([t.method.clone(), f, x(t), steps, evals, t.stop.clone()]);
    }
    table
}

impl Trajectory {
    /// A row of a table.
    pub fn cells(&self, function: &str) -> [String; 5] {
        let x: Vec<String> = self.best_x.iter().map(|x| format!("{x:.4}")).collect();
        [
            function.into(),
            self.method.clone(),
            format!("{:.2e}", self.best_f),
            x.join(", "),
            self.steps.to_string(),
        ]
    }
}
