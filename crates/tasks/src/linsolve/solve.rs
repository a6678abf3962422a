//! One system.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thalweg_data::vector_text;
use thalweg_plot::{Figure, Report, Table};
use thalweg_relax::solver::Reason;
use thalweg_relax::{Matrix, Scheme};

use super::system;
use crate::error::bail;
use crate::{Folder, Host, Result, TaskError};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SolveSettings {
    /// MatrixMarket file, perhaps packed
    #[arg(long, value_name = "FILE")]
    pub matrix: Option<PathBuf>,
    /// MatrixMarket file with one column [default: ones]
    #[arg(long, value_name = "FILE")]
    pub rhs: Option<PathBuf>,
    /// sor, sor-backward, ssor, ssor-cg, ssor-cg-plain, jacobi-cg or cg [default: ssor-cg]
    #[arg(long)]
    pub method: Option<Scheme>,
    /// Relaxation factor in (0, 2) [default: 1.5]
    #[arg(long, allow_negative_numbers = true)]
    pub omega: Option<f64>,
    /// Relative tolerance: of the first residual (sor, ssor) or of the right-hand side (cg) [default: 1e-8]
    #[arg(long, allow_negative_numbers = true)]
    pub tol: Option<f64>,
    /// Iterations at most [default: 10000]
    #[arg(long)]
    pub max_iters: Option<usize>,
}

/// What is said of a solution.
#[derive(Clone, Debug, Serialize)]
pub struct SolveSummary {
    /// Solver.
    pub method: Scheme,
    /// Relaxation factor ω, of methods that have one.
    pub omega: Option<f64>,
    /// Rows of the matrix.
    pub rows: usize,
    /// Its entries, the diagonal included.
    pub entries: usize,
    /// Iterations made.
    pub iterations: usize,
    /// Why they ended.
    pub reason: Reason,
    /// ‖b − A x‖ / ‖b‖, computed from x; ‖A x‖ where b = 0.
    pub relative_residual: f64,
    /// Time of the solver.
    pub seconds: f64,
}

/// A solution, converged or not.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The unknowns, `[rows]`.
    pub x: Vec<f64>,
    /// What is said of them.
    pub summary: SolveSummary,
}

impl Solution {
    /// As a table for people.
    pub fn table(&self) -> Table {
        let s = &self.summary;
        let mut table = Table::new(["method", "rows", "iterations", "‖b − A x‖ / ‖b‖", "seconds"]);
        let (residual, seconds) = (format!("{:.2e}", s.relative_residual), format!("{:.4}", s.seconds));
        table.row([s.method.to_string(), s.rows.to_string(), s.iterations.to_string(), residual, seconds]);
        table
    }

    /// Whether the system is solved; not where the time was up before.
    ///
    /// # Errors
    /// It was not, and time was not the reason: why, and the remedy.
    pub fn check(&self) -> Result<bool> {
        let iterations = self.summary.iterations;
        match self.summary.reason {
            Reason::Converged => Ok(true),
            Reason::Stopped => Ok(false),
            Reason::Stalled => Err(TaskError::Failed(format!(
                "not converged: after {iterations} iterations the residual stays at {:.1e} of the right-hand side, by \
                 rounding; the matrix is singular, or too ill-conditioned for this `tol`",
                self.summary.relative_residual
            ))),
            Reason::Cap => Err(TaskError::Failed(format!(
                "not converged in {iterations} iterations; raise `max_iters`, or try another ω or method"
            ))),
            Reason::Diverged => Err(TaskError::Failed(format!(
                "diverged in {iterations} iterations: the numbers overflowed, or the residual grew as it does for no \
                 symmetric positive definite matrix; try a smaller ω, or rescale the equations"
            ))),
            Reason::Indefinite => bail!(
                "the matrix is not positive definite: a direction of negative curvature at iteration {iterations}; \
                 conjugate gradients need a positive definite matrix"
            ),
        }
    }
}

/// The solution's file.
const PRODUCT: &str = "x.mtx";

/// Solves one system. With a folder, the solution is written there, and its residuals.
///
/// # Errors
/// Files that cannot be read, a value out of range, an interruption; not that the solver has not converged: see
/// [`Solution::check`].
pub fn solve(settings: &SolveSettings, folder: Option<&Folder>, host: &Host) -> Result<Solution> {
    let (method, omega) = (settings.method.unwrap_or(Scheme::SsorCg), settings.omega.unwrap_or(1.5));
    let solver = system::solver(method, omega, settings.tol, settings.max_iters);
    solver.validate()?;
    let (a, b) = system::read(settings.matrix.as_deref(), settings.rhs.as_deref())?;
    if let Some(folder) = folder {
        folder.begin(settings, &[PRODUCT])?;
    }
    let clock = Instant::now();
    let (x, solved) = system::watched(&solver, &a, &b, host, clock)?;
    let seconds = clock.elapsed().as_secs_f64();
    if solved.reason == Reason::Stopped {
        host.note(format!(
            "the time was up after {} iterations; the solution is the best so far",
            solved.iterations
        ));
    }
    let summary = SolveSummary {
        method,
        omega: method.relaxes().then_some(omega),
        rows: a.rows(),
        entries: a.rows() + a.entries(),
        iterations: solved.iterations,
        reason: solved.reason,
        relative_residual: solved.relative_residual,
        seconds,
    };
    let solution = Solution { x, summary };
    if let Some(folder) = folder {
        folder.write(PRODUCT, vector_text(&solution.x).as_bytes())?;
        let residuals = solved.residuals.iter().enumerate();
        folder.write_metrics(residuals.clone().map(|(k, r)| json!({ "step": k, "value": r })))?;
        let points: Vec<_> = residuals.map(|(k, r)| (k as f64, *r)).collect();
        let figure = Figure::new("Residual").x_label("iteration").y_label("‖b − A x‖").log_y();
        let figure = figure.line(method.name(), &points);
        figure.save(&folder.file("residuals.svg"))?;
        let mut report = Report::new("A linear system");
        let (reason, omega) = (solution.summary.reason.name(), solution.summary.omega);
        let omega = omega.map_or_else(String::new, |omega| format!(", ω = {omega}"));
        report
            .lead(&format!("{} rows, {}{omega}: {reason}.", solution.summary.rows, solution.summary.method));
        report.section("Solution").table(&solution.table());
        report.section("Residual").figure(&figure, "Norm of the residual after each iteration.");
        folder.report(report)?;
        folder.end(&solution.summary, None)?;
    }
    Ok(solution)
}
