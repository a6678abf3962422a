//! `thalweg linsolve`: one linear system, a scan over ω, or a sequence whose solver learns.

mod files;
mod natural;
mod pictures;
mod scan;
mod sequence;
mod solve;
pub mod tour;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use thalweg::relax::{Csr, Matrix, Method, Solver};

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

/// One system and how exactly it is solved.
#[derive(Args)]
struct System {
    /// MatrixMarket file, perhaps packed with gzip
    #[arg(long, value_name = "FILE")]
    matrix: PathBuf,
    /// MatrixMarket file with one column [default: ones]
    #[arg(long, value_name = "FILE")]
    rhs: Option<PathBuf>,
    /// Relative tolerance: of the first residual (sor, ssor) or of the right-hand side (cg)
    #[arg(long, default_value_t = 1e-8, allow_negative_numbers = true)]
    tol: f64,
    /// Iterations at most
    #[arg(long, default_value_t = 10_000)]
    max_iters: usize,
}

impl System {
    /// Matrix and right-hand side.
    fn read(&self) -> Result<(Csr, Vec<f64>)> {
        let a = files::matrix(&self.matrix)?;
        let b = files::right_hand_side(self.rhs.as_deref(), a.rows())?;
        Ok((a, b))
    }

    fn solver(&self, method: Method, omega: f64) -> Solver {
        Solver { method, omega, tol: self.tol, cap: self.max_iters }
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
