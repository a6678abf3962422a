//! Small problems whose answer is known.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_bilevel::diagnose::{self, report};
use thalweg_bilevel::tasks::toys;
use thalweg_bilevel::{Bilevel, Oracle, Solution};
use thalweg_core::{Invalid, StopReason};
use thalweg_plot::{Figure, Report, Table};

use super::job::{Job, Trace, algorithm};
use crate::error::bail;
use crate::folder::write_file;
use crate::{Context, Folder, Host, Result};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Name of the problem
    #[arg(required = true)]
    pub name: Option<String>,
    /// pbo, pbo-double, pbo-single, f2sa, pbgd, g-pbgd, bome, aid, stocbio, soba, saba, amigo, implicit, grid, random
    /// [default: pbo]
    #[arg(long)]
    pub method: Option<String>,
    /// Fields of the method.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// The penalty σ, the last one of pbo
    #[arg(long, allow_negative_numbers = true)]
    pub sigma: Option<f64>,
    /// Where x starts
    #[arg(long, value_name = "X,…", value_delimiter = ',', allow_hyphen_values = true)]
    pub start: Option<Vec<f64>>,
    /// Standard deviation of noise in every gradient [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    pub noise: Option<f64>,
    /// Steps at most [default: 10000]
    #[arg(long)]
    pub steps: Option<u64>,
    /// Seed of the noise [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// CSV with ψ on the way
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Picture of ψ on the way: SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

/// What is said of a solution.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Problem.
    pub toy: String,
    /// Method.
    pub method: String,
    /// Upper unknowns.
    pub x: Vec<f64>,
    /// Lower unknowns.
    pub y: Vec<f64>,
    /// ψ(x).
    pub psi: f64,
    /// The least ψ.
    pub minimum: f64,
    /// ψ_σ(x); none where it could not be measured, as a warning says.
    pub psi_sigma: Option<f64>,
    /// Norm of the projected gradient of ψ_σ, likewise.
    pub stationarity: Option<f64>,
    /// g(x, y) − min g(x, ·), likewise.
    pub lower_gap: Option<f64>,
    /// Gradients of both levels.
    pub gradient_calls: u64,
    /// Steps made.
    pub steps: u64,
    /// Why they ended.
    pub stopped_because: StopReason,
    /// The same in words.
    pub why: String,
    /// What may be wrong.
    pub warnings: Vec<String>,
    /// Time of the run.
    pub seconds: f64,
    /// What the problem is.
    #[serde(skip)]
    pub about: String,
}

impl Summary {
    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["", ""]);
        let numbers = |v: &[f64]| v.iter().map(|v| format!("{v:.6}")).collect::<Vec<_>>().join(", ");
        table.row(["x", &numbers(&self.x)]);
        table.row(["y", &numbers(&self.y)]);
        table.row(["ψ", &format!("{:.9}", self.psi)]);
        table.row(["min ψ", &format!("{:.9}", self.minimum)]);
        table.row(["stationarity", &self.stationarity.map_or("unknown".into(), |s| format!("{s:.2e}"))]);
        table.row(["gradients", &self.gradient_calls.to_string()]);
        table
    }
}

/// The toy of that name.
///
/// # Errors
/// There is none.
pub fn named(name: &str) -> Result<toys::Toy> {
    toys::Toy::named(name).with_context(|| {
        let all: Vec<&str> = toys::Toy::all().iter().map(|t| t.name).collect();
        format!("there is no toy `{name}`; use one of {}", all.join(", "))
    })
}

/// Solves a toy.
///
/// ```
/// use thalweg_tasks::Host;
/// use thalweg_tasks::bilevel::toy::{Settings, solve};
///
/// let settings = Settings { name: Some("active".into()), ..Settings::default() };
/// let found = solve(&settings, None, &Host::default())?;
/// assert!(found.psi - found.minimum < 1e-6);
/// # Ok::<(), thalweg_tasks::TaskError>(())
/// ```
///
/// # Errors
/// No such toy or method, a start of another size, an interruption.
pub fn solve(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Summary> {
    let name = settings.name.as_deref().unwrap_or_default();
    let mut toy = named(name)?;
    if let Some(x) = settings.start.clone() {
        let (n, y) = (toy.dims().0, toy.start().1);
        if x.len() != n {
            bail!("`start` has {} numbers, {name} has {n} unknowns x", x.len());
        }
        toy = toy.from(x, y);
    }
    let noise = settings.noise.unwrap_or(0.0);
    Invalid::at_least_zero("noise", noise)?;
    let toy = toy.noisy(noise);
    let method = settings.method.as_deref().unwrap_or("pbo");
    let usual: Vec<(&str, Value)> = match (settings.sigma, method) {
        (None, _) => Vec::new(),
        (Some(sigma), "pbo") => vec![("sigma", sigma.max(1.0).into()), ("sigma_min", sigma.into())],
        (Some(sigma), "f2sa") => vec![("lambda", (1.0 / sigma).into())],
        (Some(sigma), _) => vec![("sigma", sigma.into())],
    };
    let algorithm = algorithm(method, &settings.set, &usual)?;
    if let Some(folder) = folder {
        folder.begin(settings, &[])?;
    }
    let mut oracle = Oracle::new(&toy)?;
    let mut psi = |at: &Solution| Ok((vec![("psi", toy.psi(&at.x).0)], ControlFlow::Continue(())));
    let job = Job::plain(settings.steps.unwrap_or(10_000), settings.seed.unwrap_or(0), host.clone());
    let mut job = Job { folder, configuration: serde_json::to_value(settings)?, ..job };
    let outcome = job.run(&algorithm, &mut oracle, &mut psi)?;
    let minimum = toy.minima[0].1;
    let picture = curve(&job.seen, method, name, minimum);
    if let Some(file) = &settings.trace {
        write_file(file, csv(&job.seen).as_bytes())?;
    }
    if let Some(file) = &settings.plot {
        write_file(file, picture.svg().as_bytes())?;
    }
    let noiseless = toy.clone().noisy(0.0);
    // A good run is not lost by a report that cannot be made.
    let (told, mut warnings) =
        match report(&mut Oracle::new(&noiseless)?, &outcome.solution, algorithm.sigma()) {
            Ok(told) => (Some((told.psi_sigma, told.stationarity, told.gap)), told.warnings),
            Err(e) => (None, vec![format!("ψ_σ could not be measured at the solution: {e}")]),
        };
    if algorithm.is_implicit()
        && let Err(e) = diagnose::implicit(&mut Oracle::new(&noiseless)?, &outcome.solution)
    {
        warnings.push(format!("{method} is not made for this: {e}"));
    }
    for warning in &warnings {
        host.note(format!("warning: {warning}"));
    }
    let why = outcome.why();
    let summary = Summary {
        toy: name.into(),
        method: method.into(),
        psi: toy.psi(&outcome.solution.x).0,
        x: outcome.solution.x,
        y: outcome.solution.y,
        minimum,
        psi_sigma: told.map(|t| t.0),
        stationarity: told.map(|t| t.1),
        lower_gap: told.map(|t| t.2),
        gradient_calls: oracle.calls().total(),
        steps: outcome.steps,
        stopped_because: outcome.stopped_because,
        why,
        warnings,
        seconds: outcome.elapsed.as_secs_f64(),
        about: toy.about.into(),
    };
    if let Some(folder) = folder {
        let mut report = Report::new("A bilevel toy");
        report.lead(&format!("{name}: {}", summary.about));
        report.section("Solution").table(&summary.table());
        report.section("On the way").figure(&picture, "How far ψ is above its least value.");
        folder.report(report)?;
        folder.end(&summary, Some(outcome.stopped_because))?;
    }
    Ok(summary)
}

fn csv(seen: &[Trace]) -> String {
    let line =
        |s: &Trace| format!("{},{},{},{}\n", s.step, s.calls, s.seconds, s.number("psi").unwrap_or(f64::NAN));
    "step,calls,seconds,psi\n".to_owned() + &seen.iter().map(line).collect::<String>()
}

fn curve(seen: &[Trace], method: &str, name: &str, minimum: f64) -> Figure {
    let point = |s: &Trace| Some((s.calls as f64, s.number("psi")? - minimum));
    let points: Vec<(f64, f64)> = seen.iter().filter_map(point).filter(|p| p.1 > 0.0).collect();
    let figure = Figure::new(format!("{method} on {name}"));
    figure.x_label("gradients").y_label("ψ − min ψ").log_x().log_y().line(method, &points)
}
