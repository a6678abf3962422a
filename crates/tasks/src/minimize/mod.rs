//! `thalweg minimize`: test functions and black boxes, by gradients or by values alone.

mod descent;
pub mod lab;
pub mod objective;
mod saving;
mod search;
pub mod tour;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::config::{self, Common, Time};
use crate::output;

pub use descent::{minimize, picture, rate};

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  thalweg minimize --function rastrigin --dim 10 --method auto --target 1e-3 --runs 10 --seed 1 --json
  thalweg minimize --function rosenbrock --start=-1.2,1 --method adahessian
  thalweg minimize --function rastrigin --start=-2,3.5 --compare adahessian,adam,sgd --out min/ --json

Programs: --command \"./simulate {x}\" --box -5:5 --dim 3, or --process \"python3 f.py\" likewise; with
--constraints 2 they also say g1 and g2, and a point is feasible where both are at most 0.

auto, cbo, ch and adaptive use values alone; adahessian, sgd, adam and lbfgs use gradients, which
rosenbrock and rastrigin have."
)]
pub struct Minimize {
    #[command(subcommand)]
    lab: Option<Lab>,
    #[command(flatten)]
    options: Options,
}

/// The laboratory of consensus-based optimisation.
#[derive(Subcommand)]
enum Lab {
    /// CBO, hopping, gradient descent, Langevin and the proximal scheme from the same start
    Compare(lab::Compare),
    /// Parts of the one-step perturbation of hopping against gradient descent, with their rates
    Theorem(lab::Theorem),
    /// Success rates of CBO over a grid of two of its settings
    Phase(lab::Phase),
}

#[derive(Args, Clone)]
pub struct Options {
    #[command(flatten)]
    settings: Settings,
    /// TOML file with settings named as the flags; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for pictures, summary.json and checkpoints
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue an interrupted search of that folder; ends in the same bits as without interruption
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out"])]
    resume: Option<PathBuf>,
    /// Replace an unfinished search in the output folder
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    common: Common,
}

/// What decides the result.
#[derive(Args, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// A test function: sphere, ellipsoid, rosenbrock, rastrigin, rastrigin25, ackley, griewank, salomon,
    /// alpine, schwefel220, quartic, grandcanyon3, grandcanyon3noisy
    #[arg(long, conflicts_with_all = ["command", "process"])]
    function: Option<String>,
    /// A program, called per point: {x} stands for the numbers, separated by blanks; it prints one value
    #[arg(long, value_name = "\"PROG {x}\"", conflicts_with = "process")]
    command: Option<String>,
    /// A program that stays: one point per line in, one value per line out
    #[arg(long, value_name = "PROG")]
    process: Option<String>,
    /// A call that takes longer is a failure [default: 60s]
    #[arg(long, value_name = "TIME")]
    eval_time: Option<Time>,
    /// The program prints so many further values, separated by blanks; feasible where all are ≤ 0
    #[arg(long, value_name = "N")]
    constraints: Option<usize>,
    /// First weight of the violation of constraints; it grows while the search is infeasible [default: 1]
    #[arg(long, value_name = "W", requires = "constraints", allow_negative_numbers = true)]
    penalty: Option<f64>,
    /// Number of unknowns [default: as many as the start or the box has]
    #[arg(long, value_name = "N")]
    dim: Option<usize>,
    /// Sides of the box, one for all or one per coordinate [default: the function's usual one]
    #[arg(long = "box", value_delimiter = ',', allow_hyphen_values = true, value_name = "LO:HI,…")]
    #[serde(rename = "box", skip_serializing_if = "Vec::is_empty")]
    sides: Vec<objective::Side>,
    /// CSV of minimisers, a row per run; columns function, half_width and seed may come first
    #[arg(long, value_name = "FILE", requires = "function")]
    shift: Option<PathBuf>,
    /// CSV of orthogonal matrices row by row, a matrix per run; column seed may come first
    #[arg(long, value_name = "FILE", requires = "function")]
    rotate: Option<PathBuf>,
    /// At the walls of the box: reflect, clip, resample or open [default: reflect]
    #[arg(long, value_name = "HOW")]
    walls: Option<String>,
    /// Surface that holds the points: sphere, plane:OFFSET (of the sum of the coordinates) or stiefel:ROWSxCOLS
    #[arg(long, value_name = "WHAT")]
    surface: Option<String>,
    /// Start, e.g. -1.2,1; with --std, the centre of the first cloud
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true, value_name = "X,X,…")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    start: Vec<f64>,
    /// auto, cbo, ch or adaptive; with --start: adahessian, sgd, adam or lbfgs [default: auto; adahessian
    /// from a start without spread]
    #[arg(long, conflicts_with = "compare")]
    method: Option<String>,
    /// Several gradient methods, side by side
    #[arg(long, value_delimiter = ',', value_name = "M,M,…")]
    compare: Option<Vec<String>>,
    /// Steps at most [default: 1000 with gradients]
    #[arg(long)]
    steps: Option<u64>,
    /// Stop at ‖g‖∞ ≤ this [default: 1e-8]
    #[arg(long)]
    tol: Option<f64>,
    /// Stop after this time, e.g. 30s; with --out a search can be resumed
    #[arg(long)]
    time: Option<Time>,
    /// Learning rate [default: adahessian 1, adam 0.2, sgd 0.0005]
    #[arg(long, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Evaluations per run [default: 100000]
    #[arg(long, value_name = "N")]
    max_evals: Option<u64>,
    /// Success: a value of at most this, at a feasible point
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    target: Option<f64>,
    /// Independent runs [default: 1]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Standard deviation of the first cloud around --start (or 0); else it is uniform in the box
    #[arg(long, value_name = "S")]
    std: Option<f64>,
    /// Particles [default: from the number of unknowns]
    #[arg(long, value_name = "N")]
    particles: Option<u64>,
    /// Stop when the consensus stays within this for 20 steps
    #[arg(long, value_name = "D")]
    xtol: Option<f64>,
    /// Stop when all particles are within this of the consensus
    #[arg(long, value_name = "D")]
    dtol: Option<f64>,
    /// Steps of a run between checkpoints [default: one every 10 s]
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,
    /// Any field of the method, e.g. sigma_schedule=linear:500
    #[arg(long, value_name = "FIELD=VALUE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    set: Vec<String>,
    /// Seed of everything random; run k has the seed of k more [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's largest
    seed: Option<u64>,
}

/// Methods that need gradients.
const DESCENT: [&str; 4] = ["adahessian", "sgd", "adam", "lbfgs"];

impl Minimize {
    pub fn run(self) -> Result<()> {
        match self.lab {
            Some(Lab::Compare(compare)) => compare.run(),
            Some(Lab::Theorem(theorem)) => theorem.run(),
            Some(Lab::Phase(phase)) => phase.run(),
            None => self.options.run(),
        }
    }
}

impl Settings {
    fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }

    /// Whether something was said that only searches without gradients understand.
    fn values_alone(&self) -> bool {
        let program = self.command.is_some() || self.process.is_some();
        program || self.dim.is_some() || !self.sides.is_empty() || self.std.is_some()
    }

    /// Options of searches, and whether they were given.
    fn of_searches(&self) -> [(&'static str, bool); 10] {
        [
            ("--max-evals", self.max_evals.is_some()),
            ("--target", self.target.is_some()),
            ("--runs", self.runs.is_some_and(|n| n != 1)),
            ("--std", self.std.is_some()),
            ("--particles", self.particles.is_some()),
            ("--xtol", self.xtol.is_some()),
            ("--dtol", self.dtol.is_some()),
            ("--constraints", self.constraints.is_some()),
            ("--penalty", self.penalty.is_some()),
            ("--checkpoint-every", self.checkpoint_every.is_some()),
        ]
    }

    /// Their method, if they say which or leave it to us.
    fn searching(&self) -> Option<&str> {
        let default = if self.values_alone() { "auto" } else { "adahessian" };
        let method = self.method.as_deref().unwrap_or(default);
        Some(method).filter(|m| self.compare.is_none() && !DESCENT.contains(m))
    }
}

impl Options {
    fn run(mut self) -> Result<()> {
        self.common.start()?;
        let out = self.out.as_deref().unwrap_or(Path::new(""));
        let (_, settings) =
            config::of_run(&self.settings, self.resume.as_deref(), out, self.config.as_deref())?;
        self.settings = settings;
        let given = &self.settings;
        let Some(method) = given.searching().map(String::from) else {
            forbid(&given.of_searches(), "use --method auto, cbo, ch or adaptive")?;
            forbid(&[("--resume", self.resume.is_some())], "start it again with --out")?;
            if let Some(out) = &self.out {
                output::make_folder(out)?;
            }
            return descent::run(&self);
        };
        if !search::METHODS.contains(&method.as_str()) {
            bail!(
                "there is no method `{method}` here; use {}, or with gradients {}",
                search::METHODS.join(", "),
                DESCENT.join(", ")
            );
        }
        let used = [("--tol", given.tol.is_some()), ("--lr", given.lr.is_some())];
        forbid(&used, "use --method adahessian, sgd, adam or lbfgs")?;
        self.settings.method = Some(method);
        search::run(&self)
    }
}

fn forbid(options: &[(&str, bool)], remedy: &str) -> Result<()> {
    match options.iter().find(|o| o.1) {
        Some((name, _)) => bail!("{name} has no meaning for this method; {remedy}"),
        None => Ok(()),
    }
}
