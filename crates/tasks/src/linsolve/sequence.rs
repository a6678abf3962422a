//! A sequence of systems whose solver learns its relaxation factor.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_core::{Drive, Outcome, Seed, StopReason};
use thalweg_plot::Table;
use thalweg_relax::learner::omega_grid;
use thalweg_relax::method::{Arm, Cost, TunedSolverSummary, arms};
use thalweg_relax::oracle::{Comparison, Total, compare};
use thalweg_relax::sequence::{Heat, Shift, Shifted};
use thalweg_relax::solver::Reason;
use thalweg_relax::{Policy, Scheme, Sequence as Systems, TunedSolver};

use super::files;
use super::keep::{Keeping, product};
use super::pictures::{Step, report};
use super::system::parse_omegas;
use crate::error::bail;
use crate::settings::fields;
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
    /// CSV with a number per system: the column `context`, or the only one [default: the number of the system]
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
    /// What a solve costs, for policies and yardsticks: iterations, flops or time [default: iterations]
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
    /// Write the solutions to the run folder, as solutions/NAME.mtx [default: true with files, else false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub solutions: Option<bool>,
    /// Fields of the joint model, e.g. `joint.memory=0.99`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
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

    /// The systems, and what each is called.
    fn systems(&self) -> Result<(Box<dyn Systems>, Vec<String>)> {
        if let Some(folder) = &self.files {
            if self.nx.is_some() {
                bail!("`nx` has no meaning for `files`; leave it out");
            }
            let given = files::systems(folder, self.context.as_deref())?;
            return Ok((Box::new(given.systems), given.names));
        }
        let steps = self.steps.unwrap_or(5000);
        let shift =
            |shift| Ok(Box::new(Shifted::new(shift, self.nx.unwrap_or(10), steps, self.seed())?) as Box<_>);
        let systems: Result<Box<dyn Systems>> = match self.problem.as_deref() {
            Some("shift-high") => shift(Shift::High),
            Some("shift-low") => shift(Shift::Low),
            Some("heat") => Ok(Box::new(Heat::new(self.nx.unwrap_or(100), steps)?)),
            Some(other) => bail!("there is no problem `{other}`; use shift-high, shift-low or heat"),
            None => bail!("no systems to solve; set `problem`, or `files` to a folder"),
        };
        Ok((systems?, (0..steps).map(|t| t.to_string()).collect()))
    }

    /// The policy, with the fields of the joint model that are set.
    fn policy(&self) -> Result<Policy> {
        let mut policy: Policy = self.policy.as_deref().unwrap_or("joint").parse()?;
        for (group, fields) in fields(&self.set)? {
            let Some(fields) = fields.as_object().filter(|_| group == "joint") else {
                bail!(
                    "`set` {group}: there is no such field; the joint model has joint.memory, joint.bonus and others"
                )
            };
            let Policy::Joint(model) = &mut policy else {
                bail!("`set` joint: the policy {policy} has no such fields; set `policy` to joint")
            };
            let mut all = serde_json::to_value(*model)?;
            for (name, value) in fields {
                all[name] = value.clone();
            }
            *model = serde_json::from_value(all).context("`set` joint")?;
        }
        policy.validate()?;
        Ok(policy)
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
            policy: self.policy()?,
            arms: arms(&methods, &omegas),
            tol: self.tol.unwrap_or(plain.tol),
            max_iterations: self.max_iters.unwrap_or(plain.max_iterations),
            cost: self.cost.unwrap_or_default(),
        })
    }
}

/// What is said of a sequence. A solve that fails counts as the most iterations that are allowed, and costs what they
/// would, in all totals alike.
#[derive(Clone, Debug, Serialize)]
pub struct SequenceSummary {
    /// How ω was chosen.
    pub policy: String,
    /// What solves cost: iterations, flops or time.
    pub cost: Cost,
    /// Cost of all systems together: iterations, thousand flops or microseconds.
    pub total_cost: f64,
    /// That of the best arm that stays the same; none without the comparison.
    pub best_fixed_cost: Option<f64>,
    /// That of the best ω of each system; none without the comparison.
    pub oracle_cost: Option<f64>,
    /// Iterations of all systems together.
    pub total_iterations: u64,
    /// Those of the arm that costs least of those that stay the same; none without the comparison.
    pub best_fixed_iterations: Option<u64>,
    /// Those of the best ω of each system; none without the comparison.
    pub oracle_iterations: Option<u64>,
    /// The arm that costs least of those that stay the same; none without the comparison.
    pub best_fixed: Option<Arm>,
    /// Systems that were not solved to the tolerance.
    pub unsolved: u64,
    /// Those that the best arm that stays the same does not solve; none without the comparison.
    pub best_fixed_unsolved: Option<u64>,
    /// Time in solvers and policy.
    pub seconds: f64,
    /// Systems that were tried.
    pub steps: u64,
}

impl SequenceSummary {
    fn new(policy: String, tuned: &TunedSolver, outcome: &Outcome<TunedSolverSummary>) -> Self {
        Self {
            policy,
            cost: tuned.cost,
            total_cost: outcome.solution.cost,
            best_fixed_cost: None,
            oracle_cost: None,
            total_iterations: outcome.evaluations,
            best_fixed_iterations: None,
            oracle_iterations: None,
            best_fixed: None,
            unsolved: outcome.solution.unsolved,
            best_fixed_unsolved: None,
            seconds: outcome.solution.seconds,
            steps: outcome.steps,
        }
    }

    fn compared(self, arms: &[Arm], comparison: &Comparison) -> Self {
        let Total { cost, iterations, unsolved } = comparison.best_fixed();
        Self {
            best_fixed_cost: Some(cost),
            oracle_cost: Some(comparison.oracle.cost),
            best_fixed_iterations: Some(iterations),
            oracle_iterations: Some(comparison.oracle.iterations),
            best_fixed: arms.get(comparison.best_arm()).copied(),
            best_fixed_unsolved: Some(unsolved),
            ..self
        }
    }

    /// As a table for people.
    pub fn table(&self) -> Table {
        let mut header = vec!["", "iterations", "per system", "unsolved"];
        header.extend(Some(self.cost.unit()).filter(|_| self.cost != Cost::Iterations));
        let mut table = Table::new(header);
        let fixed = self.best_fixed.map_or_else(String::new, |arm| match arm.method.relaxes() {
            true => format!("best fixed: {} ω = {:.3}", arm.method, arm.omega),
            false => format!("best fixed: {}", arm.method),
        });
        let rows = [
            (&*self.policy, Some(self.total_iterations), Some(self.unsolved), Some(self.total_cost)),
            (&*fixed, self.best_fixed_iterations, self.best_fixed_unsolved, self.best_fixed_cost),
            ("best ω for every instance", self.oracle_iterations, None, self.oracle_cost),
        ];
        for (name, iterations, unsolved, cost) in rows {
            let Some(total) = iterations else { continue };
            let per_system = format!("{:.2}", total as f64 / self.steps.max(1) as f64);
            let unsolved = unsolved.map_or_else(String::new, |n| n.to_string());
            let mut cells = vec![name.to_owned(), total.to_string(), per_system, unsolved];
            let cost = cost.filter(|_| self.cost != Cost::Iterations);
            cells.extend(cost.map(|cost| format!("{cost:.0}")));
            table.row(cells);
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
    let clock = Instant::now();
    let (systems, names) = settings.systems()?;
    let mut tuned = settings.tuned()?;
    let steps = settings.steps.map_or(systems.steps(), |s| s.min(systems.steps()));
    thalweg_core::Method::<dyn Systems>::validate(&tuned)?;
    let kept = folder.filter(|_| settings.solutions.unwrap_or(settings.files.is_some()));
    if kept.is_none() && settings.solutions == Some(true) {
        bail!("`solutions` are written to the run folder; set `out`");
    }
    if let Some(folder) = folder {
        let products: Vec<String> = names.iter().map(|name| product(name)).collect();
        folder.begin(settings, &products.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    if tuned.policy.learns() && (steps as usize) < tuned.arms.len() {
        host.note(format!(
            "{steps} systems are few for {} settings to choose from: a policy can hardly learn; give fewer values of \
             `omegas`, or `policy` fixed:OMEGA",
            tuned.arms.len()
        ));
    }
    let policy = tuned.policy.to_string();
    let all = tuned.clone();
    // The best fixed arm is known by the comparison alone; else what was asked for comes first.
    let early = match tuned.policy {
        Policy::BestFixed => comparison(settings, &all, steps, host, clock)?,
        _ => None,
    };
    if tuned.policy == Policy::BestFixed {
        let Some(best) = &early else {
            return Err(TaskError::Failed(
                "the time was up before the best fixed ω was known; allow more".into(),
            ));
        };
        let arm = tuned.arms[best.best_arm()];
        (tuned.policy, tuned.arms) = (Policy::Fixed(arm.omega), vec![arm]);
    }
    let mut systems = Keeping::new(systems, names, kept)?;
    let outcome = drive(settings, &tuned, &mut systems, steps, &policy, folder, &rest(host, clock))?;
    let done = outcome.steps;
    let compared = match early {
        None if settings.no_compare != Some(true) => comparison(settings, &all, done, host, clock)?,
        early => early,
    };
    let mut summary = SequenceSummary::new(policy, &all, &outcome);
    if let Some(comparison) = &compared {
        summary = summary.compared(&all.arms, comparison);
    }
    if let Some(folder) = folder {
        report(folder, &summary, &Step::read(folder)?, &all, compared.as_ref())?;
        folder.end(&summary, Some(outcome.stopped_because).filter(|_| done < steps))?;
    }
    Ok(summary)
}

/// The host with the time that is left.
fn rest(host: &Host, clock: Instant) -> Host {
    Host { time: host.time.map(|limit| limit.saturating_sub(clock.elapsed())), ..host.clone() }
}

/// The run itself.
fn drive(
    settings: &SequenceSettings,
    tuned: &TunedSolver,
    systems: &mut Keeping,
    steps: u64,
    policy: &str,
    folder: Option<&Folder>,
    host: &Host,
) -> Result<Outcome<TunedSolverSummary>> {
    let mut driver = host.driver(policy, folder);
    driver.steps = Some(steps);
    driver.words = vec![
        (TunedSolver::METHOD, Scheme::ALL.map(Scheme::name).into()),
        (TunedSolver::REASON, Reason::ALL.map(Reason::name).into()),
    ];
    let decisive = SequenceSettings { no_compare: None, solutions: None, ..settings.clone() };
    driver.configuration = serde_json::to_value(decisive)?;
    let outcome = driver.drive(tuned, systems as &mut dyn Systems, settings.seed())?;
    if outcome.stopped_because == StopReason::Interrupted && outcome.steps < steps {
        return Err(TaskError::Interrupted { folder: folder.map(|f| f.path().into()) });
    }
    let taken = outcome.solution;
    for (count, what) in [
        (taken.unsolved, "systems were not solved to the tolerance; each counts as the limit of iterations"),
        (taken.clipped, "costs were clipped at 1000 times the smallest"),
        (taken.outside, "contexts lay outside the interval and count as its nearer end"),
    ] {
        if count > 0 {
            host.note(format!("{count} {what}"));
        }
    }
    if outcome.stopped_because == StopReason::Time && outcome.steps < steps {
        host.note(format!("the time was up after {} of {steps} systems; `resume` goes on", outcome.steps));
    }
    Ok(outcome)
}

/// What every arm and the best ω of each system would have taken; none if the time is up before.
fn comparison(
    settings: &SequenceSettings,
    tuned: &TunedSolver,
    steps: u64,
    host: &Host,
    clock: Instant,
) -> Result<Option<Comparison>> {
    let (mut systems, _) = settings.systems()?;
    let mut meter = host.meter("comparison with fixed ω", Some(steps));
    meter.iter_mut().for_each(|m| m.begin(0));
    let late = || host.time.is_some_and(|limit| clock.elapsed() >= limit);
    let mut ended = false;
    let comparison = compare(systems.as_mut(), tuned, |t| {
        meter.iter_mut().for_each(|m| m.show(t, 0.0));
        ended = t < steps && (host.interrupt.requested() || late());
        !ended && t < steps
    })
    .context("in the comparison with fixed ω")?;
    meter.iter_mut().for_each(|m| m.finish(comparison.optimal.len() as u64, 0.0));
    match ended {
        true if host.interrupt.requested() => Err(TaskError::Interrupted { folder: None }),
        true => {
            host.note("the time was up before the comparison with fixed ω was complete; it is left out");
            Ok(None)
        }
        false => Ok(Some(comparison)),
    }
}
