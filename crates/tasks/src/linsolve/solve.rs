//! `thalweg linsolve solve`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use thalweg::plot::{Figure, Table};
use thalweg::relax::{Matrix, Method, Reason};

use super::{System, files};
use crate::config::Common;
use crate::failure::Failed;
use crate::output;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg linsolve solve --matrix A.mtx --rhs b.mtx --method ssor-cg --omega 1.6
  thalweg linsolve solve --matrix A.mtx --method sor --omega 1.8 --tol 1e-10 --out x/ --json")]
pub struct Solve {
    #[command(flatten)]
    system: System,
    /// sor, sor-backward, ssor, ssor-cg, ssor-cg-plain, jacobi-cg or cg
    #[arg(long, default_value = "ssor-cg")]
    method: Method,
    /// Relaxation factor in (0, 2)
    #[arg(long, default_value_t = 1.5, allow_negative_numbers = true)]
    omega: f64,
    /// Folder for x.mtx, summary.json and residuals.svg
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Solve {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        let solver = self.system.solver(self.method, self.omega);
        solver.validate()?;
        if let Some(out) = &self.out {
            output::make_folder(out)?;
        }
        let (a, b) = self.system.read()?;
        let clock = Instant::now();
        let (x, solved) = solver.solve(&a, &b)?;
        let seconds = clock.elapsed().as_secs_f64();
        let mut r = vec![0.0; a.rows()];
        let residual = a.residual(&b, &x, &mut r).sqrt();
        let scale = b.iter().map(|b| b * b).sum::<f64>().sqrt();
        let relative = if scale > 0.0 { residual / scale } else { residual };
        let summary = json!({
            "method": self.method, "omega": self.method.relaxes().then_some(self.omega), "rows": a.rows(),
            "entries": a.rows() + a.entries(), "iterations": solved.iterations, "reason": solved.reason,
            "relative_residual": relative, "seconds": seconds,
        });
        if let Some(out) = &self.out {
            output::write(&out.join("x.mtx"), files::to_market(&x).as_bytes())?;
            output::write_json(&out.join("summary.json"), &summary)?;
            let points: Vec<_> = solved.residuals.iter().enumerate().map(|(k, r)| (k as f64, *r)).collect();
            let figure = Figure::new("Residual").x_label("iteration").y_label("‖b − A x‖").log_y();
            figure.line(self.method.name(), &points).save(&out.join("residuals.svg"))?;
        }
        if self.common.json {
            output::print_json(&summary)?;
        } else {
            let mut table = Table::new(["method", "rows", "iterations", "‖b − A x‖ / ‖b‖", "seconds"]);
            let (rows, its) = (a.rows().to_string(), solved.iterations.to_string());
            table.row([
                self.method.to_string(),
                rows,
                its,
                format!("{relative:.2e}"),
                format!("{seconds:.4}"),
            ]);
            output::print(&table.text())?;
        }
        match solved.reason {
            Reason::Converged => Ok(()),
            Reason::Cap => Err(Failed(format!(
                "not converged in {} iterations; raise --max-iters, or try another ω or method",
                solved.iterations
            ))
            .into()),
            Reason::Diverged => Err(Failed(format!(
                "diverged: the residual grew ten thousandfold or left the numbers in {} iterations; relaxation converges \
                 for symmetric positive definite matrices",
                solved.iterations
            ))
            .into()),
            Reason::Indefinite => bail!(
                "the matrix is not positive definite: a direction of no positive curvature at iteration {}; conjugate \
                 gradients need a positive definite matrix",
                solved.iterations
            ),
        }
    }
}
