//! `thalweg linsolve`: one linear system, a scan over ω, or a sequence whose solver learns.

use anyhow::Result;
use clap::{Args, Subcommand};
use thalweg::linsolve::{ScanSettings, SequenceSettings, SolveSettings, scan, sequence, solve};

use crate::args::RunFlags;
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
pub struct Linsolve {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Solve one system
    #[command(after_help = "Examples:
  thalweg linsolve solve --matrix A.mtx --rhs b.mtx --method ssor-cg --omega 1.6
  thalweg linsolve solve --matrix A.mtx --method sor --omega 1.8 --tol 1e-10 --out x/ --json

The run folder holds the solution as x.mtx. A system has converged when b - A x, computed from x, is small enough;
otherwise the exit status is 1, or 3 where the time was up.")]
    Solve {
        #[command(flatten)]
        settings: SolveSettings,
        #[command(flatten)]
        run: Box<RunFlags>,
    },
    /// Count iterations over a range of ω, beside the surrogate bounds
    #[command(after_help = "Examples:
  thalweg linsolve scan --matrix A.mtx --method sor --omegas 1:1.95:20 --out s/
  thalweg linsolve scan --matrix A.mtx --rhs b.mtx --method ssor-cg --json

Bounds are computed for symmetric matrices of up to 600 rows: near-asymptotic and energy norm for sor,
Axelsson's for ssor-cg between ω = 0.83 and 1.9. Where no ω converges, the exit status is 3.")]
    Scan {
        #[command(flatten)]
        settings: ScanSettings,
        #[command(flatten)]
        run: Box<RunFlags>,
    },
    /// Solve a sequence of systems; the relaxation factor of each is chosen by a policy
    #[command(after_help = "Examples:
  thalweg linsolve sequence --problem shift-high --policy chebcb --seed 1
  thalweg linsolve sequence --problem heat --nx 50 --policy joint --out heat/ --json
  thalweg linsolve sequence --problem heat --policy fixed:1.5 --no-compare
  thalweg linsolve sequence --files DIR --context contexts.csv --policy tsallis-inf-cb:4

Policies: tsallis-inf, tsallis-inf-rv, tsallis-inf-cb[:BINS], chebcb[:FEATURES], joint, young, fixed:OMEGA,
best-fixed, oracle. Fields of joint: --set joint.memory=0.99 (the share of the past that a step keeps), joint.bonus,
joint.ridge. The folder of --files holds matrices (*.mtx, perhaps packed) and right-hand sides (those with one column),
both in the order of the numbers in their names; the run folder then holds the solutions.

A system that is not solved to the tolerance counts as --max-iters iterations in all totals, and the exit status is 3.")]
    Sequence {
        #[command(flatten)]
        settings: SequenceSettings,
        #[command(flatten)]
        run: Box<RunFlags>,
    },
}

impl Linsolve {
    pub fn run(self) -> Result<Status> {
        match self.task {
            Task::Solve { settings, run } => {
                let opened = run.open(&settings, None)?;
                let solution = solve(&opened.settings, opened.folder.as_ref(), &opened.host)?;
                if opened.json {
                    print_json(&solution.summary)?;
                } else {
                    print(&solution.table().text())?;
                }
                Ok(if solution.check()? { Status::Done } else { Status::Unproved })
            }
            Task::Scan { settings, run } => {
                let opened = run.open(&settings, None)?;
                let scan = scan(&opened.settings, opened.folder.as_ref(), &opened.host)?;
                if opened.json {
                    print_json(&scan)?;
                } else {
                    print(&format!("{}{}\n", scan.table().text(), scan.verdict()))?;
                }
                Ok(if scan.complete && scan.best.iterations.is_some() {
                    Status::Done
                } else {
                    Status::Unproved
                })
            }
            Task::Sequence { settings, run } => {
                let opened = run.open(&settings, None)?;
                let summary = sequence(&opened.settings, opened.folder.as_ref(), &opened.host)?;
                if opened.json {
                    print_json(&summary)?;
                } else {
                    let (table, steps) = (summary.table().text(), summary.steps);
                    print(&format!("{table}{steps} systems in {:.2} s\n", summary.seconds))?;
                }
                Ok(if summary.unsolved == 0 { Status::Done } else { Status::Unproved })
            }
        }
    }
}
