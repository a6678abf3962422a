//! Tables and pictures of searches and paths.

use thalweg_optim::functions::{Smooth, TestFunction};
use thalweg_plot::{Figure, Report, Table};

use super::search::{Histories, Summary};
use super::{CONVERGENCE, PICTURE, Trajectory};
use crate::folder::REPORT;
use crate::{Folder, Host, Result};

/// Writes the pictures and the report of a search.
pub(super) fn search(
    folder: &Folder,
    summary: &Summary,
    dim: usize,
    histories: &Histories,
    target: Option<f64>,
    host: &Host,
) -> Result<()> {
    let figure = convergence(histories, target);
    figure.save(&folder.file(CONVERGENCE))?;
    let mut report = Report::new("Minimization by values alone");
    let section = report.section(format!("{}, {dim} unknowns", summary.method));
    section.table(&summary.table()).figure(&figure, "Best value over evaluations, a line per run.");
    save(folder, report, host)
}

/// How methods are compared.
pub(super) const TUNED: &str = "Each method at its best rate: the usual one times powers of two, searched with the same \
                                number of steps as is shown.";

/// Writes the picture and the report of paths.
pub(super) fn descents(folder: &Folder, f: &TestFunction, all: &[Trajectory], host: &Host) -> Result<()> {
    let mut report = Report::new("Minimization with gradients");
    let section = report.section(format!("{}, {} unknowns", f.name(), f.minimizer().len()));
    section.table(&table(all));
    if all.iter().any(|t| !t.tried.is_empty()) {
        section.text(TUNED);
    }
    if f.minimizer().len() == 2 {
        let figure = picture(f, all);
        figure.save(&folder.file(PICTURE))?;
        host.note(format!("picture: {}", folder.file(PICTURE).display()));
        section.figure(&figure, "The paths over the function's level sets.");
    }
    save(folder, report, host)
}

fn save(folder: &Folder, report: Report, host: &Host) -> Result<()> {
    folder.report(report)?;
    host.note(format!("report: {}", folder.file(REPORT).display()));
    Ok(())
}

/// Best value over evaluations, a line for each of the first runs.
fn convergence(histories: &Histories, target: Option<f64>) -> Figure {
    let last = || histories.iter().filter_map(|h| h.1.last());
    let low = last().fold(f64::INFINITY, |l, r| l.min(r.best_f()));
    let mut figure = Figure::new("Convergence").x_label("evaluations").y_label("best value").log_x();
    if low > 0.0 {
        figure = figure.log_y();
    }
    for (run, history) in histories.iter().take(12) {
        let points: Vec<(f64, f64)> = history.iter().map(|r| (r.evaluations as f64, r.best_f())).collect();
        figure = figure.line(&format!("run {run}"), &points);
    }
    if let (Some(target), Some(end)) = (target, last().map(|r| r.evaluations).max()) {
        let first =
            histories.iter().filter_map(|h| h.1.first()).map(|r| r.evaluations).min().unwrap_or(1) as f64;
        figure = figure.line("target", &[(first, target), (end as f64, target)]);
    }
    figure
}

/// The paths over the level sets of a function of two unknowns.
pub(super) fn picture(f: &TestFunction, all: &[Trajectory]) -> Figure {
    let points = || all.iter().flat_map(|t| &t.path).filter(|p| p.0.abs() < 10.0 && p.1.abs() < 10.0);
    let span = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = points()
            .map(of)
            .chain([0.0, 1.0])
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        let margin = 0.15 * (high - low).max(1.0);
        (low - margin, high + margin)
    };
    let (x, y) = (span(|p| p.0), span(|p| p.1));
    let figure = Figure::new(format!("Trajectories on {}", f.name()));
    let figure = figure.x_label("x₁").y_label("x₂").colour_label("f");
    let figure = if f.name() == "rosenbrock" { figure.log_colour() } else { figure };
    let value = |a, b| f.value_grad(&[a, b], &mut [0.0; 2]).max(1e-2);
    let figure = figure.contours(x, y, 12, value).x_range(x.0, x.1).y_range(y.0, y.1);
    all.iter().fold(figure, |f, t| f.path(&t.method, &t.path))
}

/// Paths, a line each.
pub(super) fn table(all: &[Trajectory]) -> Table {
    let mut table = Table::new(["method", "rate", "f", "x", "steps", "evaluations", "stopped by"]);
    for t in all {
        let (f, steps, evals) = (format!("{:.3e}", t.best_f), t.steps.to_string(), t.evals.to_string());
        let rate = t.lr.map_or_else(|| "line search".into(), |lr| format!("{lr:.3e}"));
        table.row([t.method.clone(), rate, f, numbers(&t.best_x), steps, evals, word(t.stop)]);
    }
    table
}

fn numbers(x: &[f64]) -> String {
    x.iter().map(|x| format!("{x:.6}")).collect::<Vec<_>>().join(", ")
}

fn word(stop: thalweg_core::StopReason) -> String {
    serde_json::to_value(stop).ok().and_then(|v| v.as_str().map(String::from)).unwrap_or_default()
}

/// Seven digits, plain where that is short.
fn plain(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || (1e-4..1e9).contains(&size) {
        let digits = (6.0 - size.max(1e-300).log10().floor()).clamp(0.0, 10.0) as usize;
        let text = format!("{x:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
    } else {
        format!("{x:.6e}")
    }
}

fn plain_all(x: &[f64]) -> String {
    x.iter().map(|x| plain(*x)).collect::<Vec<_>>().join(", ")
}

impl Summary {
    /// As a table for people.
    pub fn table(&self) -> Table {
        let value = |f: Option<f64>, feasible| {
            let f = f.map_or_else(|| "none".into(), plain);
            if feasible { f } else { f + " (infeasible)" }
        };
        let mut table = Table::new(["", "value"]);
        table
            .row(["best value", &value(self.best_f, self.best_feasible)])
            .row(["at the point", &plain_all(&self.best_x)]);
        if let Some(again) = self.best_f_again.filter(|again| Some(*again) != self.best_f) {
            table.row(["asked again", &plain(again)]);
        }
        table
            .row(["where the cloud agrees", &plain_all(&self.consensus_x)])
            .row(["value there", &value(self.consensus_f, self.consensus_feasible)])
            .row(["evaluations", &self.evals.to_string()])
            .row(["failed evaluations", &format!("{} (of these too slow: {})", self.failures, self.timeouts)])
            .row(["stopped by", &self.stop]);
        if let Some(successes) = self.successes {
            table.row(["runs that reached the target", &format!("{successes} of {}", self.runs)]);
        } else if self.runs > 1 {
            table.row(["runs", &self.runs.to_string()]);
        }
        if let Some(ert) = self.ert {
            table.row(["evaluations per success", &format!("{ert:.0}")]);
        }
        if let Some(complaint) = &self.complaint {
            table.row(["first failure", complaint]);
        }
        table.row(["seconds", &format!("{:.3}", self.seconds)]);
        table
    }
}
