//! Iterations over a range of ω, beside the surrogate bounds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thalweg_plot::{Figure, Report, Table};
use thalweg_relax::bounds::Surrogates;
use thalweg_relax::solver::Reason;
use thalweg_relax::{Csr, Matrix, Scheme, theory};

use super::system::{self, parse_omegas};
use crate::{Folder, Host, Result, TaskError};

/// The ω for which Axelsson's bound holds.
const AXELSSON: std::ops::RangeInclusive<f64> = 2.0 * std::f64::consts::SQRT_2 - 2.0..=1.9;

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ScanSettings {
    /// MatrixMarket file, perhaps packed
    #[arg(long, value_name = "FILE")]
    pub matrix: Option<PathBuf>,
    /// MatrixMarket file with one column [default: ones]
    #[arg(long, value_name = "FILE")]
    pub rhs: Option<PathBuf>,
    /// sor, sor-backward, ssor, ssor-cg or ssor-cg-plain [default: sor]
    #[arg(long)]
    pub method: Option<Scheme>,
    /// FROM:TO:COUNT, or a list [default: 1:1.95:20]
    #[arg(long)]
    pub omegas: Option<String>,
    /// Relative tolerance: of the first residual (sor, ssor) or of the right-hand side (cg) [default: 1e-8]
    #[arg(long, allow_negative_numbers = true)]
    pub tol: Option<f64>,
    /// Iterations at most [default: 10000]
    #[arg(long)]
    pub max_iters: Option<usize>,
}

/// What was counted.
#[derive(Clone, Debug, Serialize)]
pub struct Scan {
    /// Solver.
    pub method: Scheme,
    /// Rows of the matrix.
    pub rows: usize,
    /// Values of ω, without those that the time did not allow.
    pub omegas: Vec<f64>,
    /// Iterations for each; none where it did not converge.
    pub iterations: Vec<Option<usize>>,
    /// The ω with the fewest.
    pub best: Best,
    /// Young's ω, of consistently ordered matrices.
    pub young_omega: Option<f64>,
    /// Whether all ω that were asked for were tried.
    pub complete: bool,
    /// Bounds by name, for each ω; none where a bound does not hold.
    pub bounds: BTreeMap<&'static str, Vec<f64>>,
}

/// An ω and its iterations.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Best {
    /// Relaxation factor ω.
    pub omega: f64,
    /// Iterations; none where no ω converged.
    pub iterations: Option<usize>,
}

impl Scan {
    /// As a table for people.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["ω", "iterations"].into_iter().chain(self.named().map(|b| b.0)));
        for (i, omega) in self.omegas.iter().enumerate() {
            let count = self.iterations[i].map_or_else(|| "not converged".into(), |k| k.to_string());
            let cells = [format!("{omega:.3}"), count];
            let shown = |bound: f64| if bound.is_finite() { format!("{bound:.1}") } else { "–".into() };
            table.row(cells.into_iter().chain(self.named().map(|b| shown(b.1[i]))));
        }
        table.highlight(1, true);
        table
    }

    /// In words.
    pub fn verdict(&self) -> String {
        let best = match self.best.iterations {
            Some(k) => format!("best ω = {:.3}: {k} iterations", self.best.omega),
            None => "no ω converged".into(),
        };
        best + &self.young_omega.map_or_else(String::new, |omega| format!("; Young's ω = {omega:.4}"))
    }

    /// The bounds in the order of the literature.
    fn named(&self) -> impl Iterator<Item = (&'static str, &Vec<f64>)> {
        ["near-asymptotic", "energy", "axelsson"]
            .into_iter()
            .filter_map(|name| Some((name, self.bounds.get(name)?)))
    }
}

/// Counts the iterations for every ω. Bounds are computed for symmetric matrices of up to 600 rows:
/// near-asymptotic and energy norm for SOR, Axelsson's for SSOR-CG.
///
/// # Errors
/// Files that cannot be read, a value out of range, an interruption.
pub fn scan(settings: &ScanSettings, folder: Option<&Folder>, host: &Host) -> Result<Scan> {
    let method = settings.method.unwrap_or(Scheme::Sor);
    let mut omegas = parse_omegas(settings.omegas.as_deref().unwrap_or("1:1.95:20"))?;
    let (a, b) = system::read(settings.matrix.as_deref(), settings.rhs.as_deref())?;
    if let Some(folder) = folder {
        folder.begin(settings, &[])?;
    }
    let (clock, asked) = (Instant::now(), omegas.len());
    let mut solved = Vec::new();
    for &omega in &omegas {
        let solver = system::solver(method, omega, settings.tol, settings.max_iters);
        let one = system::watched(&solver, &a, &b, host, clock)?.1;
        if one.reason == Reason::Stopped {
            break;
        }
        solved.push(one);
    }
    omegas.truncate(solved.len());
    if omegas.is_empty() {
        return Err(TaskError::Failed("the time was up before the first ω was tried; allow more".into()));
    }
    let complete = omegas.len() == asked;
    if !complete {
        host.note(format!("the time was up after {} of {asked} values of ω", omegas.len()));
    }
    let costs: Vec<f64> = solved.iter().map(|s| s.cost()).collect();
    let best = (0..costs.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b])).unwrap_or(0);
    let iterations: Vec<Option<usize>> =
        solved.iter().map(|s| s.converged().then_some(s.iterations)).collect();
    let (mut bounds, mut young_omega) = (BTreeMap::new(), None);
    if a.rows() <= Surrogates::MOST && a.check_symmetric().is_ok() {
        match surrogates(&a, method, &omegas, &iterations, settings.tol.unwrap_or(1e-8)) {
            Ok((beta, all)) => {
                let young = beta < 1.0 && a.consistently_ordered();
                (young_omega, bounds) = (young.then(|| theory::optimal_omega(beta)), all);
            }
            Err(e) => host.note(format!("no bounds: {e}")),
        }
    }
    let best = Best { omega: omegas[best], iterations: iterations[best] };
    let scan = Scan { method, rows: a.rows(), omegas, iterations, best, young_omega, complete, bounds };
    note_excess(&scan, host);
    if let Some(folder) = folder {
        write(folder, &scan, &costs)?;
    }
    Ok(scan)
}

/// β and the bounds that apply to the method.
fn surrogates(
    a: &Csr,
    method: Scheme,
    omegas: &[f64],
    counts: &[Option<usize>],
    tol: f64,
) -> Result<(f64, BTreeMap<&'static str, Vec<f64>>)> {
    let s = Surrogates::new(a)?;
    let each = |f: &dyn Fn(f64) -> f64| omegas.iter().map(|o| f(*o)).collect::<Vec<_>>();
    let bounds = match method {
        Scheme::Sor => {
            let transient = omegas.iter().zip(counts).filter_map(|(o, k)| Some(s.transient(*o, (*k)?)));
            let tau = transient.collect::<Result<Vec<_>, _>>()?.into_iter().fold(0.0, f64::max);
            let near = omegas.iter().map(|o| s.near_asymptotic(*o, tau, tol));
            let near = near.collect::<Result<Vec<_>, _>>()?;
            BTreeMap::from([("near-asymptotic", near), ("energy", each(&|o| s.energy(o, tol)))])
        }
        Scheme::SsorCg | Scheme::SsorCgPlain => {
            let axelsson = |o: f64| if AXELSSON.contains(&o) { s.axelsson(o, tol) } else { f64::NAN };
            BTreeMap::from([("axelsson", each(&axelsson))])
        }
        _ => BTreeMap::new(),
    };
    Ok((s.beta, bounds))
}

/// Bounds hold in exact arithmetic: says where rounding took more.
fn note_excess(scan: &Scan, host: &Host) {
    let counts = || scan.iterations.iter().zip(&scan.omegas);
    for (name, bound) in scan.named().filter(|b| b.0 != "near-asymptotic") {
        let above = counts().zip(bound).find(|((k, _), bound)| k.is_some_and(|k| k as f64 > *bound + 1.0));
        if let Some(((Some(k), omega), bound)) = above {
            host.note(format!(
                "{k} iterations at ω = {omega:.3} are more than the {name} bound {bound:.1}, which holds without rounding"
            ));
        }
    }
}

fn write(folder: &Folder, scan: &Scan, costs: &[f64]) -> Result<()> {
    let over = |values: &[f64]| scan.omegas.iter().copied().zip(values.iter().copied()).collect::<Vec<_>>();
    let figure = Figure::new("Iterations by ω").x_label("ω").y_label("iterations").log_y();
    let figure = figure.line("count", &over(costs));
    let figure = scan.named().fold(figure, |f, (name, values)| f.line(name, &over(values)));
    let best = scan.best.iterations.map(|k| (scan.best.omega, k as f64));
    let figure = figure.scatter("best ω", &best.into_iter().collect::<Vec<_>>());
    figure.save(&folder.file("scan.svg"))?;
    let records = scan.omegas.iter().zip(costs).enumerate();
    folder.write_metrics(
        records.map(|(i, (omega, cost))| json!({ "step": i, "value": cost, "omega": omega })),
    )?;
    let mut report = Report::new("A scan over ω");
    report.lead(&format!("{} rows, {}; {}.", scan.rows, scan.method, scan.verdict()));
    let caption = match scan.bounds.is_empty() {
        true => "Iterations for every ω; the limit where it did not converge.",
        false => "Iterations for every ω, the limit where it did not converge, and upper bounds.",
    };
    report.section("Counts").figure(&figure, caption).table(&scan.table());
    folder.report(report)?;
    folder.end(scan, None)
}
