//! Minimization with gradients, and the paths that it takes.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thalweg_cbo::Algorithm;
use thalweg_core::{Invalid, Iterate, Method, Objective as _, Outcome, Run, Seed, Stop, StopReason, named};
use thalweg_optim::functions::{Function, TestFunction};
use thalweg_optim::{Adam, AdamW, Lamb, Lbfgs, Sgd};

use super::{PICTURE, Settings, report};
use crate::error::bail;
use crate::folder::{SUMMARY, read_metrics};
use crate::settings::fields;
use crate::train::report::points;
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
    /// Learning rate, of a method that has one; of several methods side by side, each one's best (see `tried`).
    #[serde(default)]
    pub lr: Option<f64>,
    /// The rates that were tried to find it, each with the value at its end; none where the rate was given.
    #[serde(default)]
    pub tried: Vec<(f64, Option<f64>)>,
    /// Evaluations spent, of this path alone.
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

/// A rate at which the method goes well on the test function.
fn rate(method: &str, function: &str) -> f64 {
    match (method, function) {
        ("adam" | "adamw", _) => 0.2,
        ("lamb", _) => 0.02,
        ("sgd", "ellipsoid") => 5e-7, // its curvature is 2e6
        ("sgd", _) => 5e-4,
        _ => 1.0, // Newton's, since nothing is random but the probe
    }
}

/// Whether the method has a learning rate.
fn has_rate(name: &str) -> bool {
    name != "lbfgs" // it searches along its direction
}

/// The method of that name, at a rate that suits the function but for `fields`.
pub(super) fn descent(name: &str, function: &str, fields: Map<String, Value>) -> Result<Descent> {
    let mut all = Map::new();
    if has_rate(name) {
        all.insert("lr".into(), rate(name, function).into());
    }
    all.extend(fields);
    Ok(Descent::named(name, all)?)
}

/// Powers of two times the usual rate that are tried at first; where the best is the outermost, more.
const GRID: [i32; 5] = [-2, -1, 0, 1, 2];

/// The outermost power that is tried.
const OUTERMOST: i32 = 12;

/// A method, at the best of the rates that were tried.
pub(super) struct Tuned {
    /// At that rate.
    pub descent: Descent,
    /// That rate.
    pub lr: f64,
    /// All rates, ascending, each with the value at its end; none where it is not finite.
    pub tried: Vec<(f64, Option<f64>)>,
}

/// How a path is made: where it goes on, who looks on, what ends it.
pub(super) struct Walk<'a> {
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
    pub fn run(&self, descent: &Descent, f: &TestFunction, start: &[f64]) -> Result<Trajectory> {
        let mut problem = Function::new(f.clone(), start.to_vec());
        each_descent!(descent, method => self.walk(method, &mut problem, start))
    }

    /// The path of a method by name; with `tuned`, unless its rate is given, at the best rate.
    pub fn one(
        &self,
        name: &str,
        fields: &Map<String, Value>,
        tuned: bool,
        f: &TestFunction,
        start: &[f64],
    ) -> Result<Trajectory> {
        if tuned && has_rate(name) && !fields.contains_key("lr") {
            let tuned = self.tune(name, fields, f, start)?;
            let path = self.run(&tuned.descent, f, start)?;
            return Ok(Trajectory { lr: Some(tuned.lr), tried: tuned.tried, ..path });
        }
        let given =
            fields.get("lr").and_then(Value::as_f64).or_else(|| has_rate(name).then(|| rate(name, f.name())));
        let path = self.run(&descent(name, f.name(), fields.clone())?, f, start)?;
        Ok(Trajectory { lr: given, ..path })
    }

    /// The rate with which the method ends lowest, each with the same budget of steps: the usual one times powers of
    /// two, a quarter to four times, and on as long as the outermost is the best. Nothing of it is recorded.
    pub fn tune(
        &self,
        name: &str,
        fields: &Map<String, Value>,
        f: &TestFunction,
        start: &[f64],
    ) -> Result<Tuned> {
        let quiet = Host { time: None, ..self.host.quiet() }; // a limit of time must not choose the rate
        let walk = Walk { host: &quiet, folder: None, stops: self.stops.clone(), ..*self };
        let usual = rate(name, f.name());
        let mut tried: Vec<(i32, Descent, f64)> = Vec::new();
        let mut powers = GRID.to_vec();
        while let Some(power) = powers.pop() {
            let mut all = fields.clone();
            all.insert("lr".into(), (usual * 2f64.powi(power)).into());
            let descent = descent(name, f.name(), all)?;
            // A rate that makes it fly off is a bad rate, not an error.
            let end = walk.run(&descent, f, start).map_or(f64::INFINITY, |path| path.best_f);
            if self.host.interrupt.requested() {
                return Err(TaskError::Interrupted { folder: None });
            }
            tried.push((power, descent, if end.is_nan() { f64::INFINITY } else { end }));
            if powers.is_empty() {
                tried.sort_by_key(|t| t.0);
                let best = lowest_of(&tried);
                powers.extend((best == 0).then(|| tried[0].0 - 1));
                powers.extend((best + 1 == tried.len()).then(|| tried[best].0 + 1));
                powers.retain(|power| power.abs() <= OUTERMOST);
            }
        }
        let best = lowest_of(&tried);
        let lr = |power: i32| usual * 2f64.powi(power);
        let all = tried.iter().map(|t| (lr(t.0), Some(t.2).filter(|f| f.is_finite()))).collect();
        let (power, descent, _) = tried.swap_remove(best);
        Ok(Tuned { descent, lr: lr(power), tried: all })
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
            lr: None,
            tried: Vec::new(),
            evals: evaluations,
            steps,
            stop: stopped_because,
            seconds: elapsed.as_secs_f64(),
            path,
        })
    }
}

/// Index of the lowest end; the smallest rate of several.
fn lowest_of(tried: &[(i32, Descent, f64)]) -> usize {
    let mut best = 0;
    for (k, t) in tried.iter().enumerate() {
        best = if t.2 < tried[best].2 { k } else { best };
    }
    best
}

/// The first two coordinates.
fn plane(x: &[f64]) -> (f64, f64) {
    (x[0], x.get(1).copied().unwrap_or(0.0))
}

/// The recorded steps of a path.
fn recorded(folder: &Folder) -> Vec<(f64, f64)> {
    points(&read_metrics(folder).unwrap_or_default(), "x1", "x2")
}

/// The fields of one method: those for all, and those that name it, e.g. `sgd.momentum=0.9`.
fn fields_of(name: &str, names: &[String], all: &Map<String, Value>) -> Map<String, Value> {
    let mut own: Map<String, Value> =
        all.clone().into_iter().filter(|(field, _)| !names.contains(field)).collect();
    if let Some(Value::Object(more)) = all.get(name) {
        own.extend(more.clone());
    }
    own
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
    let f = settings.one_function(dim)?;
    let start = settings.start(&f, dim)?;
    let names = settings.methods();
    let mut set = fields(&settings.set)?;
    if let Some(lr) = settings.lr
        && set.insert("lr".into(), lr.into()).is_some()
    {
        bail!("`lr` and `set` both give the learning rate; leave out one");
    }
    let own: Vec<_> = names.iter().map(|name| fields_of(name, &names, &set)).collect();
    for (name, fields) in names.iter().zip(&own) {
        descent(name, f.name(), fields.clone())?; // what is wrong is said before anything is made
        check_function(&f, name)?;
    }
    let many = settings.compare.is_some();
    let effective = Settings {
        method: (!many).then(|| names[0].clone()),
        start: start.clone(),
        seed: Some(settings.seed().0),
        ..settings.clone()
    };
    if let Some(folder) = folder {
        folder.begin(&effective, &[PICTURE, PATHS])?;
        for name in names.iter().filter(|_| many) {
            folder.inner(name).clear(&[])?;
        }
    }
    let mut all = Vec::new();
    for (name, fields) in names.iter().zip(&own) {
        let place = folder.map(|f| if many { f.inner(name) } else { f.clone() });
        if let Some(done) = place.as_ref().and_then(Folder::finished::<Trajectory>) {
            let path = place.as_ref().map(recorded).unwrap_or_default();
            all.push(Trajectory { path: [vec![plane(&start)], path].concat(), ..done });
            continue;
        }
        let (stops, seed) = (settings.ends(), settings.seed());
        let walk = Walk { host, folder: place.as_ref(), stops, seed, settings: &effective };
        let path = walk.one(name, fields, many, &f, &start).with_context(|| name)?;
        if path.stop == StopReason::Interrupted {
            return Err(TaskError::Interrupted { folder: folder.map(|f| f.path().into()) });
        }
        if path.stop == StopReason::Time {
            host.note(format!("{name}: the time was up after {} steps; `resume` goes on", path.steps));
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
        folder.write(PATHS, csv(&all).as_bytes())?;
        report::descents(folder, &f, &all, host)?;
    }
    Ok(all)
}

/// The paths as data: the first two coordinates, a row per step.
const PATHS: &str = "trajectories.csv";

fn csv(all: &[Trajectory]) -> String {
    let mut text = "method,step,x1,x2\n".to_owned();
    for t in all {
        for (step, (x1, x2)) in t.path.iter().enumerate() {
            text += &format!("{},{step},{x1},{x2}\n", t.method);
        }
    }
    text
}

impl Settings {
    /// What ends a path.
    fn ends(&self) -> Vec<Stop> {
        vec![Stop::Steps(self.steps.unwrap_or(1000)), Stop::Tolerance(self.tol.unwrap_or(1e-8))]
    }

    /// The test function, of which a path has one.
    fn one_function(&self, dim: usize) -> Result<TestFunction> {
        let mut all = self.functions(dim)?;
        if all.len() > 1 {
            let field = if self.shift.is_some() { "shift" } else { "rotate" };
            bail!("a method with gradients makes one run; keep one row of the file of `{field}`");
        }
        Ok(all.swap_remove(0))
    }

    /// Where gradients start: the start that is set, or halfway from the middle of the box to a corner.
    fn start(&self, f: &TestFunction, dim: usize) -> Result<Vec<f64>> {
        let bad = self.start.iter().any(|x| !x.is_finite());
        Invalid::check(!bad, "start", format!("{:?}", self.start), "finite numbers, e.g. -1.2,1")?;
        if !self.start.is_empty() {
            return Ok(self.start.clone());
        }
        let half = f.half_width();
        Ok((0..dim).map(|j| if j.is_multiple_of(2) { -0.5 * half } else { 0.5 * half }).collect())
    }
}
