//! `thalweg linsolve scan`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use thalweg::plot::{Figure, Report, Table};
use thalweg::relax::{Csr, Matrix, Method, Reason, Surrogates, theory};

use super::{System, parse_omegas};
use crate::config::Common;
use crate::output;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg linsolve scan --matrix A.mtx --method sor --omegas 1:1.95:20 --out s/
  thalweg linsolve scan --matrix A.mtx --rhs b.mtx --method ssor-cg --json

Bounds are computed for symmetric matrices of up to 600 rows: near-asymptotic and energy norm for sor,
Axelsson's for ssor-cg.")]
pub struct Scan {
    #[command(flatten)]
    system: System,
    /// sor, sor-backward, ssor, ssor-cg or ssor-cg-plain
    #[arg(long, default_value = "sor")]
    method: Method,
    /// FROM:TO:COUNT, or a list
    #[arg(long, default_value = "1:1.95:20")]
    omegas: String,
    /// Folder for scan.json, scan.svg and report.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// A bound by name, for every ω.
type Bounds = Vec<(&'static str, Vec<f64>)>;

impl Scan {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        let omegas = parse_omegas(&self.omegas).map_err(anyhow::Error::msg)?;
        if let Some(out) = &self.out {
            output::make_folder(out)?;
        }
        let (a, b) = self.system.read()?;
        let solve = |&omega: &f64| {
            let solver = self.system.solver(self.method, omega);
            Ok(solver.solve(&a, &b)?.1)
        };
        let solved = omegas.iter().map(solve).collect::<Result<Vec<_>>>()?;
        let costs: Vec<f64> = solved.iter().map(|s| s.cost()).collect();
        let best = (0..costs.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b])).unwrap_or(0);
        let mut bounds = Bounds::new();
        let mut young = None;
        if a.rows() <= Surrogates::MOST && a.check_symmetric().is_ok() {
            match self.bounds(&a, &omegas, &costs) {
                Ok((beta, all)) => (young, bounds) = ((beta < 1.0).then(|| theory::optimal_omega(beta)), all),
                Err(e) => self.common.note(format!("no bounds: {e}")),
            }
        }
        let iterations: Vec<Option<usize>> =
            solved.iter().map(|s| (s.reason == Reason::Converged).then_some(s.iterations)).collect();
        let columns: serde_json::Map<String, serde_json::Value> =
            bounds.iter().map(|(name, values)| ((*name).into(), json!(values))).collect();
        let summary = json!({
            "method": self.method, "rows": a.rows(), "omegas": omegas, "iterations": iterations,
            "best": { "omega": omegas[best], "iterations": iterations[best] }, "young_omega": young, "bounds": columns,
        });
        let table = self.table(&omegas, &iterations, &bounds);
        if let Some(out) = &self.out {
            let counts: Vec<_> = omegas.iter().copied().zip(costs).collect();
            let figure = Figure::new("Iterations by ω").x_label("ω").y_label("iterations").log_y();
            let figure = bounds.iter().fold(figure.line("count", &counts), |f, (name, values)| {
                f.line(name, &omegas.iter().copied().zip(values.iter().copied()).collect::<Vec<_>>())
            });
            figure.save(&out.join("scan.svg"))?;
            output::write_json(&out.join("scan.json"), &summary)?;
            let mut report = Report::new("A scan over ω");
            report.lead(&format!("{}, {} rows, {}.", self.system.matrix.display(), a.rows(), self.method));
            report.section("Counts").figure(&figure, "Counts and their bounds.").table(&table);
            report.save(&out.join("report.html"))?;
        }
        if self.common.json { output::print_json(&summary) } else { output::print(&table.text()) }
    }

    /// β and the bounds that apply to the method.
    fn bounds(&self, a: &Csr, omegas: &[f64], costs: &[f64]) -> Result<(f64, Bounds)> {
        let s = Surrogates::new(a)?;
        let each = |f: &dyn Fn(f64) -> f64| omegas.iter().map(|o| f(*o)).collect::<Vec<_>>();
        let bounds = match self.method {
            Method::Sor => {
                let transient = omegas.iter().zip(costs).map(|(o, k)| s.transient(*o, *k as usize));
                let tau = transient.collect::<Result<Vec<_>, _>>()?.into_iter().fold(0.0, f64::max);
                let near = omegas.iter().map(|o| s.near_asymptotic(*o, tau, self.system.tol));
                vec![
                    ("near-asymptotic", near.collect::<Result<Vec<_>, _>>()?),
                    ("energy", each(&|o| s.energy(o, self.system.tol))),
                ]
            }
            Method::SsorCg | Method::SsorCgPlain => {
                vec![("axelsson", each(&|o| s.axelsson(o, self.system.tol)))]
            }
            _ => Bounds::new(),
        };
        Ok((s.beta, bounds))
    }

    fn table(&self, omegas: &[f64], iterations: &[Option<usize>], bounds: &Bounds) -> Table {
        let head = ["ω", "iterations"].into_iter().chain(bounds.iter().map(|b| b.0));
        let mut table = Table::new(head);
        for (i, omega) in omegas.iter().enumerate() {
            let count = iterations[i].map_or_else(|| "not converged".into(), |k| k.to_string());
            let cells = [format!("{omega:.3}"), count];
            table.row(cells.into_iter().chain(bounds.iter().map(|b| format!("{:.1}", b.1[i]))));
        }
        table
    }
}
