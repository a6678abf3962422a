//! `thalweg linsolve sequence`.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thalweg::core::{Bar, Checkpointer, Every, Recorder, Run, Seed, Stop, StopReason, interrupt};
use thalweg::plot::Table;
use thalweg::relax::{
    Comparison, Cost, Heat, Method, Policy, Sequence as Systems, Shift, Shifted, Steer, arms, compare,
    omega_grid,
};

use super::pictures::{Step, report};
use super::{files, parse_omegas};
use crate::config::{self, Common};
use crate::failure::Interrupted;
use crate::output;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg linsolve sequence --problem shift-high --policy chebcb --seed 1
  thalweg linsolve sequence --problem heat --nx 50 --policy joint --out heat/ --json
  thalweg linsolve sequence --problem heat --policy fixed:1.5 --no-compare
  thalweg linsolve sequence --files DIR --context contexts.csv --policy tsallis-inf-cb:4

Policies: tsallis-inf, tsallis-inf-rv, tsallis-inf-cb[:BINS], chebcb[:FEATURES], joint, young, fixed:OMEGA,
best-fixed, oracle. The folder of --files holds matrices (*.mtx, *.mtx.gz) and right-hand sides (b*.mtx or
rhs*.mtx), both in the order of the numbers in their names.")]
pub struct Sequence {
    #[command(flatten)]
    settings: Settings,
    /// TOML file with settings named as the flags; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the log of all steps, pictures, report and checkpoint
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with an interrupted run of that folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out"])]
    resume: Option<PathBuf>,
    /// Do not solve every system with every ω to know the best in hindsight
    #[arg(long)]
    no_compare: bool,
    #[command(flatten)]
    common: Common,
}

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// shift-high, shift-low or heat
    #[arg(long, conflicts_with = "files")]
    problem: Option<String>,
    /// Folder of MatrixMarket files
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// CSV with a number per system: the column `context`, or the last one [default: the number of the system]
    #[arg(long, value_name = "FILE", requires = "files")]
    context: Option<PathBuf>,
    /// Cells per side of the heat problem [default: 100], points per side of the shift problem [default: 10]
    #[arg(long, value_name = "N")]
    nx: Option<usize>,
    /// Systems [default: 5000]
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// How ω is chosen [default: joint]
    #[arg(long)]
    policy: Option<String>,
    /// Solvers to choose from [default: sor, for heat ssor-cg]
    #[arg(long, value_delimiter = ',', value_name = "M,M,…")]
    method: Option<Vec<Method>>,
    /// Values of ω to choose from, FROM:TO:COUNT or a list [default: 1:1.95:20]
    #[arg(long)]
    omegas: Option<String>,
    /// What pilots learn from: iterations, flops or time [default: iterations]
    #[arg(long, value_parser = parse_cost)]
    cost: Option<Cost>,
    /// Relative tolerance [default: 1e-8]
    #[arg(long, allow_negative_numbers = true)]
    tol: Option<f64>,
    /// Iterations at most per system [default: 10000]
    #[arg(long, value_name = "N")]
    max_iters: Option<usize>,
    /// Seed of systems and pilot [default: 0]
    #[arg(long)]
    seed: Option<u64>,
}

fn parse_cost(name: &str) -> Result<Cost, String> {
    let named = serde_json::from_value(name.into());
    named.map_err(|_| format!("{name:?} is no cost; use iterations, flops or time"))
}

impl Settings {
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
            None => bail!("no systems to solve; name a --problem or the folder of --files"),
        }
    }

    fn steer(&self) -> Result<Steer> {
        let usual = if self.problem.as_deref() == Some("heat") { Method::SsorCg } else { Method::Sor };
        let methods = self.method.clone().unwrap_or_else(|| vec![usual]);
        let omegas = match &self.omegas {
            None => omega_grid(1.0, 1.95, 20),
            Some(text) => parse_omegas(text).map_err(anyhow::Error::msg)?,
        };
        let plain = Steer::default();
        Ok(Steer {
            policy: self.policy.as_deref().unwrap_or("joint").parse()?,
            arms: arms(&methods, &omegas),
            tol: self.tol.unwrap_or(plain.tol),
            cap: self.max_iters.unwrap_or(plain.cap),
            cost: self.cost.unwrap_or_default(),
        })
    }
}

const CHECKPOINT: &str = "checkpoint.bin";

impl Sequence {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        let folder = self.resume.as_ref().or(self.out.as_ref());
        let place = folder.cloned().unwrap_or_default();
        let (_, settings) =
            config::of_run(&self.settings, self.resume.as_deref(), &place, self.config.as_deref())?;
        let mut systems = settings.systems()?;
        let mut steer = settings.steer()?;
        let steps = settings.steps.map_or(systems.steps(), |s| s.min(systems.steps()));
        thalweg::core::Method::<dyn Systems>::validate(&steer)?;
        interrupt::install().map_err(anyhow::Error::msg)?;
        if let Some(folder) = folder {
            output::make_folder(folder)?;
            output::write(&folder.join("config.toml"), config::to_toml(&settings)?.as_bytes())?;
        }

        let name = steer.policy.to_string();
        let wants = steer.policy == Policy::BestFixed;
        let comparison =
            if self.no_compare && !wants { None } else { Some(self.compare(&settings, &steer, steps)?) };
        if let Some(best) = comparison.as_ref().filter(|_| wants) {
            let arm = steer.arms[best.best_arm()];
            (steer.policy, steer.arms) = (Policy::Fixed(arm.omega), vec![arm]);
        }

        let mut log = Vec::new();
        let bar = (!self.common.quiet).then(|| Bar::new(name.clone(), Some(steps)));
        let mut run = Run::new(&steer, systems.as_mut())
            .seed(settings.seed())
            .configuration(&settings)
            .stop(Stop::Steps(steps))
            .stop(Stop::Interrupt)
            .observe(bar)
            .each(1, |tick, _| {
                log.push(Step::from(&tick.progress));
                Ok(ControlFlow::Continue(()))
            });
        if let Some(folder) = folder {
            let path = folder.join(CHECKPOINT);
            run = run
                .observe(Recorder::new(folder.join("metrics.jsonl"), 1))
                .checkpoint(Checkpointer { path: path.clone(), every: Every::Time(Duration::from_secs(5)) });
            if self.resume.is_some() && path.exists() {
                run = run.resume(path)?;
            }
        }
        let outcome = run.run()?;
        if outcome.stopped_because == StopReason::Interrupted && outcome.steps < steps {
            let resume = folder.map(|f| format!("thalweg linsolve sequence --resume {}", f.display()));
            return Err(Interrupted { resume }.into());
        }

        let taken = outcome.solution;
        for (count, what) in [
            (taken.failed, "systems were not solved to the tolerance"),
            (taken.clipped, "costs were clipped at 1000 times the smallest"),
            (taken.outside, "contexts lay outside the interval and count as its nearer end"),
        ] {
            if count > 0 {
                self.common.note(format!("{count} {what}"));
            }
        }
        let summary = json!({
            "policy": name,
            "total_iterations": outcome.evaluations,
            "best_fixed_iterations": comparison.as_ref().map(Comparison::best_fixed),
            "oracle_iterations": comparison.as_ref().map(|c| c.oracle),
            "seconds": taken.seconds,
            "steps": outcome.steps,
        });
        if let Some(folder) = folder {
            output::write_json(&folder.join("summary.json"), &summary)?;
            let all = Step::read(&folder.join("metrics.jsonl"))?;
            report(folder, &name, &all, &steer, comparison.as_ref())?;
        }
        if self.common.json {
            return output::print_json(&summary);
        }
        let mut table = Table::new(["", "iterations", "per system"]);
        let mut row = |name: &str, total: u64| {
            table.row([name.to_owned(), total.to_string(), format!("{:.2}", total as f64 / steps as f64)]);
        };
        row(&name, outcome.evaluations);
        if let Some(c) = &comparison {
            row("best fixed ω", c.best_fixed());
            row("best ω for every instance", c.oracle);
        }
        output::print(&format!("{}{steps} systems in {:.2} s\n", table.text(), taken.seconds))
    }

    /// What every arm and the best ω of each system would have taken.
    fn compare(&self, settings: &Settings, steer: &Steer, steps: u64) -> Result<Comparison> {
        let mut systems = settings.systems()?;
        let mut ended = false;
        let comparison = compare(systems.as_mut(), steer, |t| {
            ended = interrupt::requested();
            !ended && t < steps
        })
        .context("in the comparison with fixed ω")?;
        if ended {
            return Err(Interrupted { resume: None }.into());
        }
        Ok(comparison)
    }
}
