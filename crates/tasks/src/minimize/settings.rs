use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_cbo::Algorithm;
use thalweg_cbo::space::Boundary;
use thalweg_core::{Every, Invalid, Seed, named};

use super::Descent;
use super::objective::Side;
use crate::Result;
use crate::error::bail;
use crate::settings::Time;

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// A test function: sphere, ellipsoid, rosenbrock, rastrigin, rastrigin25, ackley, griewank, salomon,
    /// alpine, schwefel220, quartic, grandcanyon3, grandcanyon3noisy
    #[arg(long, conflicts_with_all = ["command", "process"])]
    pub function: Option<String>,
    /// A program, called per point: {x} stands for the numbers, separated by blanks; it prints one value
    #[arg(long, value_name = "\"PROG {x}\"", conflicts_with = "process")]
    pub command: Option<String>,
    /// A program that stays: a point per line in, its numbers separated by blanks; its value per line out, and
    /// nothing else on standard output
    #[arg(long, value_name = "PROG")]
    pub process: Option<String>,
    /// A call that takes longer is a failure [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub eval_time: Option<Time>,
    /// The program's values are random: asked again, the best point may have another one
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub noisy: Option<bool>,
    /// The program prints so many further values, separated by blanks; feasible where all are ≤ 1e-6
    #[arg(long, value_name = "N")]
    pub constraints: Option<usize>,
    /// First weight of the violation of constraints; it grows while the search is infeasible [default: 1]
    #[arg(long, value_name = "W", requires = "constraints", allow_negative_numbers = true)]
    pub penalty: Option<f64>,
    /// Number of unknowns [default: as many as the start or the box has, or a test function in the plane]
    #[arg(long, value_name = "N")]
    pub dim: Option<usize>,
    /// Sides of the box, one for all or one per coordinate [default: the function's usual one]
    #[arg(long = "box", value_delimiter = ',', allow_hyphen_values = true, value_name = "LO:HI,…")]
    #[serde(rename = "box", skip_serializing_if = "Vec::is_empty")]
    pub sides: Vec<Side>,
    /// CSV of minimizers, a row per run; columns function, half_width and seed may come first
    #[arg(long, value_name = "FILE", requires = "function")]
    pub shift: Option<PathBuf>,
    /// CSV of orthogonal matrices row by row, a matrix per run; column seed may come first
    #[arg(long, value_name = "FILE", requires = "function")]
    pub rotate: Option<PathBuf>,
    /// At the boundary of the box: reflect, clip, resample or open [default: reflect]
    #[arg(long, alias = "walls", value_name = "HOW", value_parser = named::text::<Boundary>)]
    #[serde(alias = "walls")]
    pub boundary: Option<Boundary>,
    /// Surface that holds the points: sphere, plane:OFFSET (of the sum of the coordinates) or stiefel:ROWSxCOLS
    #[arg(long, value_name = "WHAT")]
    pub surface: Option<String>,
    /// Start, e.g. -1.2,1; with a spread, the centre of the first cloud [default with gradients: halfway
    /// from the middle of the box to a corner]
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true, value_name = "X,X,…")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start: Vec<f64>,
    /// By values alone: auto, cbo, ch, adaptive; with gradients: adahessian, sgd, adam, adamw, lamb, lbfgs [default:
    /// auto; adahessian from a start without spread]
    #[arg(long, conflicts_with = "compare")]
    pub method: Option<String>,
    /// Several methods with gradients, side by side
    #[arg(long, value_delimiter = ',', value_name = "M,M,…")]
    pub compare: Option<Vec<String>>,
    /// Steps at most [default: 1000 with gradients]
    #[arg(long)]
    pub steps: Option<u64>,
    /// Stop at ‖g‖∞ ≤ this [default: 1e-8]
    #[arg(long)]
    pub tol: Option<f64>,
    /// Learning rate [default: adahessian 1, adam and adamw 0.2, lamb 0.02, sgd 0.0005, on the
    /// ellipsoid 5e-7; with `--compare` the best of these times powers of 2, searched for each method]
    #[arg(long, allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Evaluations per run [default: 100000]
    #[arg(long, alias = "max-evals", value_name = "N")]
    #[serde(alias = "max-evals")]
    pub max_evaluations: Option<u64>,
    /// Success: a value of at most this, at a feasible point
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub target: Option<f64>,
    /// Independent runs [default: 1]
    #[arg(long, value_name = "N")]
    pub runs: Option<u64>,
    /// Standard deviation of the first cloud around the start (or 0); else it is uniform in the box
    #[arg(long, value_name = "S")]
    pub std: Option<f64>,
    /// Particles [default: from the number of unknowns]
    #[arg(long, value_name = "N")]
    pub particles: Option<u64>,
    /// Stop when the consensus stays within this for 20 steps
    #[arg(long, value_name = "D")]
    pub xtol: Option<f64>,
    /// Stop when all particles are within this of the consensus
    #[arg(long, value_name = "D")]
    pub dtol: Option<f64>,
    /// Without a target, stop when the best value has not improved for this many times the evaluations that it
    /// took, and the cloud has contracted [default: 2]
    #[arg(long, value_name = "TIMES", allow_negative_numbers = true)]
    pub patience: Option<f64>,
    /// Steps of a run between checkpoints [default: one every 10 s]
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_every: Option<u64>,
    /// Fields of the method, e.g. `sigma_schedule=linear:500`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Seed of everything random; run k has the seed of k more [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's largest
    pub seed: Option<u64>,
}

/// Settings that every method obeys, by their names in a file.
const COMMON: &[&str] = &[
    "function",
    "command", // refused in words of its own where gradients are needed
    "process",
    "dim",
    "shift",
    "rotate",
    "start",
    "method",
    "compare",
    "steps",
    "checkpoint-every",
    "set",
    "seed",
];

/// Settings that searches by values alone obey besides.
const SEARCHES: &[&str] = &[
    "eval-time",
    "noisy",
    "constraints",
    "penalty",
    "box",
    "boundary",
    "surface",
    "max-evaluations",
    "target",
    "runs",
    "std",
    "particles",
    "xtol",
    "dtol",
    "patience",
];

/// Settings that methods with gradients obey besides.
const DESCENTS: &[&str] = &["tol", "lr"];

impl Settings {
    /// Where randomness comes from.
    pub(super) fn seed(&self) -> Seed {
        Seed(self.seed.unwrap_or(0))
    }

    /// Rhythm of checkpoints.
    pub(super) fn every(&self) -> Every {
        self.checkpoint_every.map_or(Every::Time(std::time::Duration::from_secs(10)), Every::Steps)
    }

    /// The methods that are asked for: one, or those that are compared.
    pub fn methods(&self) -> Vec<String> {
        let program = self.command.is_some() || self.process.is_some();
        let by_values = program || self.dim.is_some() || !self.sides.is_empty() || self.std.is_some();
        let usual = if by_values || self.start.is_empty() { "auto" } else { "adahessian" };
        let one = || vec![self.method.clone().unwrap_or_else(|| usual.into())];
        self.compare.clone().unwrap_or_else(one)
    }

    /// Whether the methods search by values alone; what else is set must have a meaning for them.
    pub(super) fn searches(&self) -> Result<bool> {
        let names = self.methods();
        let searches = |name: &String| Algorithm::NAMES.contains(&name.as_str());
        if names.iter().any(searches) && self.compare.is_some() {
            bail!(
                "`compare` is for methods with gradients: {}; search with one `method` at a time",
                Descent::NAMES.join(", ")
            );
        }
        let by_values = names.iter().any(searches);
        for name in names.iter().filter(|_| !by_values) {
            super::descent::check_name(name)?;
        }
        let (obeyed, others) =
            if by_values { (SEARCHES, Descent::NAMES) } else { (DESCENTS, Algorithm::NAMES) };
        let strange =
            |field: &&String| !COMMON.contains(&field.as_str()) && !obeyed.contains(&field.as_str());
        if let Some(field) = self.given()?.iter().find(strange) {
            bail!(
                "`{field}` has no meaning for {}; set `method` to one of {}",
                names.join(", "),
                others.join(", ")
            );
        }
        if by_values {
            self.idle()?;
        }
        Ok(by_values)
    }

    /// Names of what is set.
    fn given(&self) -> Result<Vec<String>> {
        let all = serde_json::to_value(self)?;
        let set = |(name, value): (&String, &serde_json::Value)| (!value.is_null()).then(|| name.clone());
        Ok(all.as_object().into_iter().flatten().filter_map(set).collect())
    }

    /// Refuses what would change nothing in a search.
    fn idle(&self) -> Result<()> {
        let function = self.function.is_some();
        let open = self.sides.is_empty() && (!function || self.std.is_some());
        let (test, program) =
            ("for test functions; set `command` or `process`", "for programs; set `function`");
        for (field, idle, why) in [
            ("eval_time", function && self.eval_time.is_some(), test),
            ("noisy", function && self.noisy.is_some(), test),
            ("constraints", function && self.constraints.is_some(), test),
            ("shift", !function && self.shift.is_some(), program),
            ("rotate", !function && self.rotate.is_some(), program),
            ("penalty", self.constraints.is_none() && self.penalty.is_some(), "alone; set `constraints`"),
            (
                "boundary",
                open && self.boundary.is_some_and(|b| b != Boundary::Open),
                "without a box; set `box`",
            ),
            (
                "patience",
                self.target.is_some() && self.patience.is_some(),
                "beside a target, until which a search goes on; leave out `target`",
            ),
        ] {
            if idle {
                bail!("`{field}` has no meaning {why}");
            }
        }
        for (name, value) in [("xtol", self.xtol), ("dtol", self.dtol), ("patience", self.patience)] {
            Invalid::positive(name, value.unwrap_or(1.0))?;
        }
        Ok(())
    }

    /// The settings of a resumed run that must be those of the run: all that decide the result.
    pub(super) fn shared(&self) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(Self { checkpoint_every: None, ..self.clone() })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_obeyed_by_some_method() {
        let full = Settings {
            sides: vec!["0:1".parse().unwrap()],
            start: vec![1.0],
            set: vec![String::new()],
            ..Settings::default()
        };
        let all = serde_json::to_value(full).unwrap();
        let mut names: Vec<&str> = all.as_object().unwrap().keys().map(String::as_str).collect();
        let mut obeyed = [COMMON, SEARCHES, DESCENTS].concat();
        names.sort_unstable();
        obeyed.sort_unstable();
        assert_eq!(names, obeyed);
    }
}
