//! `thalweg bilevel toy`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use thalweg::bilevel::tasks::toys;
use thalweg::bilevel::{Bilevel, Oracle, report};
use thalweg::plot::{Figure, Table};

use super::Numbers;
use super::job::{Job, algorithm};
use crate::config::Common;
use crate::output;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg bilevel toy cosine --start 2.5
  thalweg bilevel toy simplex --method pbo-double --steps 5000 --trace trace.csv --json

Toys: line, least-squares, active, pl, jump, cosine, simplex.")]
pub struct Toy {
    /// Name of the problem
    name: String,
    /// pbo, pbo-double, pbo-single, f2sa, pbgd, g-pbgd, bome, aid, stocbio, soba, saba, amigo, implicit, grid, random
    #[arg(long, default_value = "pbo")]
    method: String,
    /// A field of the method
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// The penalty σ, the last one of pbo
    #[arg(long, allow_negative_numbers = true)]
    sigma: Option<f64>,
    /// Where x starts
    #[arg(long, value_name = "X,…", allow_hyphen_values = true)]
    start: Option<Numbers>,
    /// Standard deviation of noise in every gradient
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    noise: f64,
    /// Steps at most
    #[arg(long, default_value_t = 10_000)]
    steps: u64,
    /// Seed of the noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// CSV with ψ on the way
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Picture of ψ on the way: SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// The toy of that name.
pub fn named(name: &str) -> Result<toys::Toy> {
    toys::Toy::named(name).with_context(|| {
        let all: Vec<&str> = toys::Toy::all().iter().map(|t| t.name).collect();
        format!("there is no toy `{name}`; use one of {}", all.join(", "))
    })
}

impl Toy {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        let mut toy = named(&self.name)?;
        if let Some(Numbers(x)) = self.start {
            let (n, y) = (toy.dims().0, toy.start().1);
            if x.len() != n {
                bail!("--start has {} numbers, {} has {n} unknowns x", x.len(), self.name);
            }
            toy = toy.from(x, y);
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            bail!("noise = {} is not allowed; use a number ≥ 0", self.noise);
        }
        let toy = toy.noisy(self.noise);
        let usual: Vec<(&str, Value)> = match (self.sigma, self.method.as_str()) {
            (None, _) => Vec::new(),
            (Some(sigma), "pbo") => vec![("sigma", sigma.max(1.0).into()), ("sigma_min", sigma.into())],
            (Some(sigma), "f2sa") => vec![("lambda", (1.0 / sigma).into())],
            (Some(sigma), _) => vec![("sigma", sigma.into())],
        };
        let algorithm = algorithm(&self.method, &self.set, &usual)?;
        let mut oracle = Oracle::new(&toy)?;
        let mut psi = |at: &thalweg::bilevel::Solution| {
            Ok((vec![("psi", toy.psi(&at.x).0)], ControlFlow::Continue(())))
        };
        let mut job = Job::plain(self.steps, self.seed, &self.common);
        let outcome = job.run(&algorithm, &mut oracle, "toy", &mut psi)?;
        let seen = job.seen;
        if let Some(file) = &self.trace {
            let lines = seen.iter().map(|s| {
                let psi = s.number("psi").unwrap_or(f64::NAN);
                format!("{},{},{},{psi}\n", s.step, s.calls, s.seconds)
            });
            output::write(
                file,
                ("step,calls,seconds,psi\n".to_owned() + &lines.collect::<String>()).as_bytes(),
            )?;
        }
        let best = toy.minima[0].1;
        if let Some(file) = &self.plot {
            let points: Vec<(f64, f64)> = seen
                .iter()
                .filter_map(|s| Some((s.calls as f64, s.number("psi")? - best)))
                .filter(|p| p.1 > 0.0)
                .collect();
            let figure = Figure::new(format!("{} on {}", self.method, self.name));
            let figure = figure.x_label("gradients").y_label("ψ − min ψ").log_x().log_y();
            output::write(file, figure.line(&self.method, &points).svg().as_bytes())?;
        }

        let calls = oracle.calls();
        let noiseless = toy.clone().noisy(0.0);
        let told = report(&mut Oracle::new(&noiseless)?, &outcome.solution, algorithm.sigma())?;
        for warning in &told.warnings {
            self.common.note(format!("warning: {warning}"));
        }
        let truth = toy.psi(&outcome.solution.x).0;
        let summary = json!({
            "toy": self.name,
            "method": self.method,
            "x": outcome.solution.x,
            "y": outcome.solution.y,
            "psi": truth,
            "minimum": best,
            "psi_sigma": told.psi_sigma,
            "stationarity": told.stationarity,
            "lower_gap": told.gap,
            "gradient_calls": calls.total(),
            "steps": outcome.steps,
            "stopped_because": outcome.stopped_because,
            "warnings": told.warnings,
            "seconds": outcome.elapsed.as_secs_f64(),
        });
        if self.common.json {
            return output::print_json(&summary);
        }
        let mut table = Table::new(["", ""]);
        let numbers = |v: &[f64]| v.iter().map(|v| format!("{v:.6}")).collect::<Vec<_>>().join(", ");
        table.row(["x", &numbers(&outcome.solution.x)]);
        table.row(["y", &numbers(&outcome.solution.y)]);
        table.row(["ψ", &format!("{truth:.9}")]);
        table.row(["min ψ", &format!("{best:.9}")]);
        table.row(["gradients", &calls.total().to_string()]);
        output::print(&format!("{}: {}\n{}", self.name, toy.about, table.text()))
    }
}
