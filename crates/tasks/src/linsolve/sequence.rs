//! A sequence of systems whose solver learns its relaxation factor.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_core::{Drive, Seed, StopReason};
use thalweg_plot::Table;
use thalweg_relax::learner::omega_grid;
use thalweg_relax::method::{Cost, arms};
use thalweg_relax::oracle::{Comparison, compare};
use thalweg_relax::sequence::{Heat, Shift, Shifted};
use thalweg_relax::{Policy, Scheme, Sequence as Systems, TunedSolver};

use super::files;
use super::pictures::{Step, report};
use super::system::parse_omegas;
use crate::error::bail;
use crate::{Context, Folder, Host, Result, TaskError};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SequenceSettings {
    /// shift-high, shift-low or heat
    #[arg(long, conflicts_with = "files")]
    pub problem: Option<String>,
    /// Folder of MatrixMarket files
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    /// CSV with a number per system: the column `context`, or the last one [default: the number of the system]
    #[arg(long, value_name = "FILE", requires = "files")]
    pub context: Option<PathBuf>,
    /// Cells per side of the heat problem [default: 100], points per side of the shift problem [default: 10]
    #[arg(long, value_name = "N")]
    pub nx: Option<usize>,
    /// Systems [default: 5000]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// How ω is chosen [default: joint]
    #[arg(long)]
    pub policy: Option<String>,
    /// Solvers to choose from [default: sor, for heat ssor-cg]
    #[arg(long, value_delimiter = ',', value_name = "M,M,…")]
    pub method: Option<Vec<Scheme>>,
    /// Values of ω to choose from, FROM:TO:COUNT or a list [default: 1:1.95:20]
    #[arg(long)]
    pub omegas: Option<String>,
    /// What policies learn from: iterations, flops or time [default: iterations]
    #[arg(long, value_parser = parse_cost)]
    pub cost: Option<Cost>,
    /// Relative tolerance [default: 1e-8]
    #[arg(long, allow_negative_numbers = true)]
    pub tol: Option<f64>,
    /// Iterations at most per system [default: 10000]
    #[arg(long, value_name = "N")]
    pub max_iters: Option<usize>,
    /// Do not solve every system with every ω to know the best in hindsight
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub no_compare: Option<bool>,
    /// Seed of systems and policy [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
}

fn parse_cost(name: &str) -> Result<Cost, String> {
    let named = serde_json::from_value(name.into());
    named.map_err(|_| format!("{name:?} is no cost; use iterations, flops or time"))
}

impl SequenceSettings {
    fn seed(&self) -> Seed {
        Seed(self.seed.unwrap_or(0))
    }

    fn systems(&self) -> Result<Box<dyn Systems>> {
        if let Some(folder) = &self.files {
            return Ok(Box::new(files::systems(folder, self.context.as_deref())?));
        }
        let steps = self.steps.unwrap_or(5000);
        let shift =
            |shift| Ok(Box::new(Shifted::new(shift, self.nx.unwrap_or(10), steps, self.seed())?) as Box<_>);
        match self.problem.as_deref() {
            Some("shift-high") => shift(Shift::High),
            Some("shift-low") => shift(Shift::Low),
            Some("heat") => Ok(Box::new(Heat::new(self.nx.unwrap_or(100), steps)?)),
            Some(other) => bail!("there is no problem `{other}`; use shift-high, shift-low or heat"),
            None => bail!("no systems to solve; set `problem`, or `files` to a folder"),
        }
    }

    fn tuned(&self) -> Result<TunedSolver> {
        let usual = if self.problem.as_deref() == Some("heat") { Scheme::SsorCg } else { Scheme::Sor };
        let methods = self.method.clone().unwrap_or_else(|| vec![usual]);
        let omegas = match &self.omegas {
            None => omega_grid(1.0, 1.95, 20),
            Some(text) => parse_omegas(text)?,
        };
        let plain = TunedSolver::default();
        Ok(TunedSolver {
            policy: self.policy.as_deref().unwrap_or("joint").parse()?,
            arms: arms(&methods, &omegas),
            tol: self.tol.unwrap_or(plain.tol),
            max_iterations: self.max_iters.unwrap_or(plain.max_iterations),
            cost: self.cost.unwrap_or_default(),
        })
    }
}

/// What is said of a sequence.
#[derive(Clone, Debug, Serialize)]
pub struct SequenceSummary {
    /// How ω was chosen.
    pub policy: String,
    /// Iterations of all systems together.
    pub total_iterations: u64,
    /// Those of the best ω that stays the same; none without the comparison.
    pub best_fixed_iterations: Option<u64>,
    /// Those of the best ω of each system; none without the comparison.
    pub oracle_iterations: Option<u64>,
    /// Time in solvers and policy.
    pub seconds: f64,
    /// Systems solved.
    pub steps: u64,
}

impl SequenceSummary {
    /// As a table for people.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["", "iterations", "per system"]);
        let rows = [
            (&*self.policy, Some(self.total_iterations)),
            ("best fixed ω", self.best_fixed_iterations),
            ("best ω for every instance", self.oracle_iterations),
        ];
        for (name, total) in rows.into_iter().filter_map(|(name, total)| Some((name, total?))) {
            let per_system = format!("{:.2}", total as f64 / self.steps as f64);
            table.row([name.to_owned(), total.to_string(), per_system]);
        }
        table
    }
}

/// Solves the systems one after the other, ω chosen by the policy. With a folder, every step is recorded
/// there, and an interrupted run goes on.
///
/// # Errors
/// Files that cannot be read, settings that do not fit, an interruption.
pub fn sequence(
    settings: &SequenceSettings,
    folder: Option<&Folder>,
    host: &Host,
) -> Result<SequenceSummary> {
    let mut systems = settings.systems()?;
    let mut tuned = settings.tuned()?;
    let steps = settings.steps.map_or(systems.steps(), |s| s.min(systems.steps()));
    thalweg_core::Method::<dyn Systems>::validate(&tuned)?;
    if let Some(folder) = folder {
        folder.begin(settings, &[])?;
    }
    let policy = tuned.policy.to_string();
    let wants = tuned.policy == Policy::BestFixed;
    let skip = settings.no_compare == Some(true) && !wants;
    let comparison = if skip { None } else { Some(comparison(settings, &tuned, steps, host)?) };
    if let Some(best) = comparison.as_ref().filter(|_| wants) {
        let arm = tuned.arms[best.best_arm()];
        (tuned.policy, tuned.arms) = (Policy::Fixed(arm.omega), vec![arm]);
    }

    let mut driver = host.driver(policy.clone(), folder);
    driver.steps = Some(steps);
    driver.configuration = serde_json::to_value(SequenceSettings { no_compare: None, ..settings.clone() })?;
    let outcome = driver.drive(&tuned, systems.as_mut(), settings.seed())?;
    let reason = outcome.stopped_because;
    if reason == StopReason::Interrupted && outcome.steps < steps {
        return Err(TaskError::Interrupted { folder: folder.map(|f| f.path().into()) });
    }
    let taken = outcome.solution;
    for (count, what) in [
        (taken.failed, "systems were not solved to the tolerance"),
        (taken.clipped, "costs were clipped at 1000 times the smallest"),
        (taken.outside, "contexts lay outside the interval and count as its nearer end"),
    ] {
        if count > 0 {
            host.note(format!("{count} {what}"));
        }
    }
    if reason == StopReason::Time && outcome.steps < steps {
        host.note(format!("the time was up after {} of {steps} systems; `resume` goes on", outcome.steps));
    }
    let summary = SequenceSummary {
        policy,
        total_iterations: outcome.evaluations,
        best_fixed_iterations: comparison.as_ref().map(Comparison::best_fixed),
        oracle_iterations: comparison.as_ref().map(|c| c.oracle),
        seconds: taken.seconds,
        steps: outcome.steps,
    };
    if let Some(folder) = folder {
        report(folder, &summary.policy, &Step::read(folder)?, &tuned, comparison.as_ref())?;
        folder.end(&summary, Some(reason).filter(|_| outcome.steps < steps))?;
    }
    Ok(summary)
}

/// What every arm and the best ω of each system would have taken.
fn comparison(
    settings: &SequenceSettings,
    tuned: &TunedSolver,
    steps: u64,
    host: &Host,
) -> Result<Comparison> {
    let mut systems = settings.systems()?;
    let mut ended = false;
    let comparison = compare(systems.as_mut(), tuned, |t| {
        ended = host.interrupt.requested();
        !ended && t < steps
    })
    .context("in the comparison with fixed ω")?;
    match ended {
        true => Err(TaskError::Interrupted { folder: None }),
        false => Ok(comparison),
    }
}
