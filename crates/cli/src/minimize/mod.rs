//! `thalweg minimize`: test functions and black boxes, by gradients or by values alone.

mod descent;
pub mod lab;
pub mod objective;
mod search;
pub mod tour;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::config::{Common, Time};
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

Programs: --command \"./simulate {x}\" --box -5:5 --dim 3, or --process \"python3 f.py\" likewise.

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
    objective: objective::Goal,
    /// Start, e.g. -1.2,1; with --std, the centre of the first cloud
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true, value_name = "X,X,…")]
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
    /// Stop after this time, e.g. 30s
    #[arg(long)]
    time: Option<Time>,
    /// Learning rate [default: adahessian 1, adam 0.2, sgd 0.0005]
    #[arg(long, allow_negative_numbers = true)]
    lr: Option<f64>,
    #[command(flatten)]
    search: search::Budget,
    /// Any field of the method
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Seed of everything random; run k has the seed of k more
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for pictures and summary.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
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

impl Options {
    fn run(mut self) -> Result<()> {
        self.common.start()?;
        if let Some(out) = &self.out {
            output::make_folder(out)?;
        }
        let values_alone = self.objective.values_alone() || self.search.std.is_some();
        let method =
            self.method.get_or_insert_with(|| if values_alone { "auto".into() } else { "adahessian".into() });
        if self.compare.is_some() || DESCENT.contains(&method.as_str()) {
            self.forbid(&self.search.used(), "use --method auto, cbo, ch or adaptive")?;
            return descent::run(&self);
        }
        if !search::METHODS.contains(&method.as_str()) {
            bail!(
                "there is no method `{method}` here; use {}, or with gradients {}",
                search::METHODS.join(", "),
                DESCENT.join(", ")
            );
        }
        let used = [("--tol", self.tol.is_some()), ("--lr", self.lr.is_some())];
        self.forbid(&used, "use --method adahessian, sgd, adam or lbfgs")?;
        search::run(&self)
    }

    fn forbid(&self, options: &[(&str, bool)], remedy: &str) -> Result<()> {
        match options.iter().find(|o| o.1) {
            Some((name, _)) => bail!("{name} has no meaning for this method; {remedy}"),
            None => Ok(()),
        }
    }
}
