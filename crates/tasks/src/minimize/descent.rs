//! Minimization with gradients, and the paths that it takes.

use std::ops::ControlFlow;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thalweg_cbo::Algorithm;
use thalweg_core::{Invalid, Iterate, Method, Objective as _, Outcome, Run, Seed, Stop, StopReason, named};
use thalweg_optim::functions::{Function, TestFunction};
use thalweg_optim::{Adam, AdamW, Lamb, Lbfgs, Sgd};

use super::{PICTURE, Settings, report};
use crate::error::bail;
use crate::folder::SUMMARY;
use crate::settings::fields;
use crate::{Context, Folder, Host, Result, TaskError};

named! {
    /// A method with gradients that fits any function of a vector, chosen by name.
    #[derive(Clone, Debug, PartialEq)]
    pub enum Descent: "method with gradients", each_descent {
        #[cfg(feature = "adahessian")]
        "adahessian" => AdaHessian(thalweg_adahessian::AdaHessian),
        "sgd" => Sgd(Sgd),
        "adam" => Adam(Adam),
        "adamw" => AdamW(AdamW),
        "lamb" => Lamb(Lamb),
        "lbfgs" => Lbfgs(Lbfgs),
    }
}

/// Why a method that trains networks does not fit a function of a vector.
fn misfit(name: &str) -> Option<&'static str> {
    match name {
        "mkor" | "mkor-h" | "kfac" | "eva" => Some(
            "preconditions by the inputs and outputs of layers, of which a function of a vector has none",
        ),
        "mfac" => Some(
            "takes its curvature from how gradients scatter over mini-batches, and those of a function do not",
        ),
        "muon" => Some("makes the steps of matrices orthogonal, and a function of a vector has none"),
        _ => None,
    }
}

/// Refuses what is no method with gradients, or not one for functions.
pub(super) fn check_name(name: &str) -> Result<()> {
    let known = Descent::NAMES.join(", ");
    match misfit(name) {
        _ if Descent::NAMES.contains(&name) => Ok(()),
        Some(why) => bail!("{name} {why}; use one of {known}"),
        None => bail!(
            "there is no method `{name}` here; use {}, or with gradients {known}",
            Algorithm::NAMES.join(", ")
        ),
    }
}

/// Refuses functions without a gradient everywhere.
fn check_function(f: &TestFunction, method: &str) -> Result<()> {
    if f.is_differentiable() {
        return Ok(());
    }
    bail!(
        "{} is not differentiable everywhere, as {method} needs it; use {}",
        f.name(),
        Algorithm::NAMES.join(", ")
    )
}

/// A path through space and where it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trajectory {
    /// Name of the method.
    pub method: String,
    /// Value at the end.
    pub best_f: f64,
    /// The end.
    pub best_x: Vec<f64>,
    /// Evaluations spent.
    pub evals: u64,
    /// Steps made.
    pub steps: u64,
    /// Why they ended.
    pub stop: StopReason,
    /// Time of the run.
    pub seconds: f64,
    /// The first two coordinates from the start on, a point per step.
    #[serde(skip)]
    pub path: Vec<(f64, f64)>,
}

/// A rate at which the method goes well on the test functions.
fn rate(method: &str) -> f64 {
    match method {
        "adam" | "adamw" => 0.2,
        "lamb" => 0.02,
        "sgd" => 5e-4,
        _ => 1.0, // Newton's, since nothing is random but the probe
    }
}

/// The method of that name, at its usual rate here but for `fields`.
///
/// # Errors
/// No such method, no such field.
pub fn descent(name: &str, fields: Map<String, Value>) -> Result<Descent> {
    let mut all = Map::new();
    if name != "lbfgs" {
        all.insert("lr".into(), rate(name).into());
    }
    all.extend(fields);
    Ok(Descent::named(name, all)?)
}

/// How a path is made: where it goes on, who looks on, what ends it.
pub struct Walk<'a> {
    /// Who looks on.
    pub host: &'a Host,
    /// Where it is recorded and saved.
    pub folder: Option<&'a Folder>,
    /// What ends it.
    pub stops: Vec<Stop>,
    /// Seed of the method.
    pub seed: Seed,
    /// What a resumed one must share.
    pub settings: &'a Settings,
}

impl Walk<'_> {
    /// Minimizes `f` from `start`.
    ///
    /// # Errors
    /// A function that is not differentiable, a start that is not finite, what the run fails with.
    pub fn run(&self, descent: &Descent, f: &TestFunction, start: &[f64]) -> Result<Trajectory> {
        check_function(f, descent.name())?;
        let mut problem = Function::new(f.clone(), start.to_vec());
        each_descent!(descent, method => self.walk(method, &mut problem, start))
    }

    fn walk<M>(&self, method: &M, problem: &mut Function<TestFunction>, start: &[f64]) -> Result<Trajectory>
    where
        M: Method<Function<TestFunction>, Solution = Vec<f64>>,
        M::State: Iterate<f64>,
    {
        let mut driver = self.host.driver(method.name(), self.folder);
        driver.stops.clone_from(&self.stops);
        driver.every = self.settings.every();
        driver.configuration = self.settings.shared()?;
        let mut path = vec![plane(start)];
        path.extend(self.folder.filter(|_| driver.resume).map(recorded).unwrap_or_default());
        let run = driver.dress(Run::new(method, problem).seed(self.seed))?.each(1, |tick, _| {
            let at = plane(tick.state.theta());
            path.truncate(tick.step as usize); // what was recorded after the checkpoint comes again
            path.push(at);
            tick.progress.metrics.extend([("x1".to_owned(), at.0), ("x2".to_owned(), at.1)]);
            Ok(ControlFlow::Continue(()))
        });
        let outcome = run.run().inspect_err(|e| driver.give_up(e))?;
        let Outcome { solution, stopped_because, steps, evaluations, elapsed, .. } = outcome;
        Ok(Trajectory {
            method: method.name().into(),
            best_f: problem.value(&solution)?,
            best_x: solution,
            evals: evaluations,
            steps,
            stop: stopped_because,
            seconds: elapsed.as_secs_f64(),
            path,
        })
    }
}

/// The first two coordinates.
fn plane(x: &[f64]) -> (f64, f64) {
    (x[0], x.get(1).copied().unwrap_or(0.0))
}

/// The recorded steps of a path.
fn recorded(folder: &Folder) -> Vec<(f64, f64)> {
    let text = folder.read(crate::folder::METRICS).unwrap_or_default();
    let point = |line: &str| {
        let record: Value = serde_json::from_str(line).ok()?;
        Some((record.get("x1")?.as_f64()?, record.get("x2")?.as_f64()?))
    };
    text.lines().map_while(point).collect()
}

/// Minimizes by each of the methods, writes and reports.
pub(super) fn descend(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Vec<Trajectory>> {
    if settings.function.is_none() {
        let names = Algorithm::NAMES.join(", ");
        bail!(
            "gradients need a test function: set `function`; a program has none: set `method` to one of {names}"
        );
    }
    let dim = settings.unknowns()?;
    let f = settings.functions(dim)?.swap_remove(0);
    let start = settings.start(&f, dim)?;
    let names = settings.methods();
    let set = settings.lr.map(|lr| ("lr".to_owned(), lr.into())).into_iter().chain(fields(&settings.set)?);
    let set: Map<String, Value> = set.collect();
    let descents = names.iter().map(|name| descent(name, set.clone())).collect::<Result<Vec<_>>>()?;
    let many = settings.compare.is_some();
    let effective = Settings {
        method: (!many).then(|| names[0].clone()),
        start: start.clone(),
        seed: Some(settings.seed().0),
        ..settings.clone()
    };
    let stops =
        vec![Stop::Steps(settings.steps.unwrap_or(1000)), Stop::Tolerance(settings.tol.unwrap_or(1e-8))];
    if let Some(folder) = folder {
        folder.begin(&effective, &[PICTURE])?;
        for name in names.iter().filter(|_| many) {
            folder.inner(name).clear(&[])?;
        }
    }
    let mut all = Vec::new();
    for descent in &descents {
        let place = folder.map(|f| if many { f.inner(descent.name()) } else { f.clone() });
        if let Some(done) = place.as_ref().and_then(Folder::finished::<Trajectory>) {
            let path = place.as_ref().map(recorded).unwrap_or_default();
            all.push(Trajectory { path: [vec![plane(&start)], path].concat(), ..done });
            continue;
        }
        let (stops, seed) = (stops.clone(), settings.seed());
        let walk = Walk { host, folder: place.as_ref(), stops, seed, settings: &effective };
        let path = walk.run(descent, &f, &start).with_context(|| descent.name())?;
        if path.stop == StopReason::Interrupted {
            return Err(TaskError::Interrupted { folder: folder.map(|f| f.path().into()) });
        }
        if path.stop == StopReason::Time {
            let (name, made) = (descent.name(), path.steps);
            host.note(format!("{name}: the time was up after {made} steps; `resume` goes on"));
        }
        if let Some(place) = &place {
            place.end(&path, Some(path.stop))?;
        }
        all.push(path);
    }
    if let Some(folder) = folder {
        if many {
            folder.write_json(SUMMARY, &json!({ "methods": all }))?;
        }
        report::descents(folder, &f, &all, host)?;
    }
    Ok(all)
}

impl Settings {
    /// Where gradients start: the start that is set, or a random point of the box.
    fn start(&self, f: &TestFunction, dim: usize) -> Result<Vec<f64>> {
        let bad = self.start.iter().find(|x| !x.is_finite());
        Invalid::check(bad.is_none(), "start", format!("{:?}", self.start), "finite numbers, e.g. -1.2,1")?;
        if !self.start.is_empty() {
            return Ok(self.start.clone());
        }
        let mut rng = self.seed().stream("start", 0);
        let bounds = self.bounds(dim, Some(f.half_width())).unwrap_or_default();
        let bad = bounds.iter().find(|(lo, hi)| !((hi - lo).is_finite() && lo < hi));
        Invalid::check(bad.is_none(), "box", format!("{bad:?}"), "finite numbers, the smaller one first")?;
        Ok(bounds.into_iter().map(|(lo, hi)| rng.random_range(lo..hi)).collect())
    }
}
