//! `thalweg linsolve`: one linear system, a scan over ω, or a sequence whose solver learns.

mod files;
mod pictures;
mod scan;
mod sequence;
mod solve;
pub mod tour;

use anyhow::Result;
use clap::{Args, Subcommand};

#[derive(Args)]
pub struct Linsolve {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Solve one system
    Solve(solve::Solve),
    /// Count iterations over a range of ω, beside the surrogate bounds
    Scan(scan::Scan),
    /// Solve a sequence of systems; the relaxation factor of each is chosen by a pilot
    Sequence(Box<sequence::Sequence>),
}

impl Linsolve {
    pub fn run(self) -> Result<()> {
        match self.task {
            Task::Solve(solve) => solve.run(),
            Task::Scan(scan) => scan.run(),
            Task::Sequence(sequence) => sequence.run(),
        }
    }
}

/// `FROM:TO:COUNT`, e.g. 1:1.95:20, or a list, e.g. 1,1.2,1.5.
pub fn parse_omegas(text: &str) -> Result<Vec<f64>, String> {
    let wrong = || {
        format!("{text:?} names no values of ω; use FROM:TO:COUNT, e.g. 1:1.95:20, or a list such as 1,1.5")
    };
    let omegas = if let [from, to, count] = text.split(':').collect::<Vec<_>>()[..] {
        let number = |t: &str| t.parse::<f64>().map_err(|_| wrong());
        let count: usize = count.parse().map_err(|_| wrong())?;
        if !(1..=10_000).contains(&count) {
            return Err(format!("{count} values of ω are not allowed; use 1 to 10000"));
        }
        thalweg::relax::omega_grid(number(from)?, number(to)?, count)
    } else {
        text.split(',').map(|t| t.parse::<f64>().map_err(|_| wrong())).collect::<Result<_, _>>()?
    };
    match omegas.iter().find(|o| !(**o > 0.0 && **o < 2.0)) {
        Some(omega) => Err(format!("omega = {omega} is not allowed; use numbers in (0, 2)")),
        None => Ok(omegas),
    }
}
