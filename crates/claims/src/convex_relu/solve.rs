//! Certified solves: the default against the interior-point method on the whole program.

use anyhow::Result;
use serde_json::json;
use thalweg::convex_relu::exact::exact;
use thalweg::convex_relu::solver::Algorithm;
use thalweg::convex_relu::{Loss, Solver};
use thalweg::core::Seed;
use thalweg::plot::Table;
use thalweg::tasks::Finding;

use super::{PLAIN, finding, load, program, timed};

/// Certified solves: the default against the interior-point method on the whole program.
pub fn solve() -> Result<Finding> {
    let mut table = Table::new([
        "set",
        "loss",
        "ADMM s",
        "iterations",
        "gap",
        "finished gap",
        "interior point s",
        "gap",
        "ratio",
    ]);
    let (mut marks, mut rows) = (Vec::new(), Vec::new());
    for (name, beta) in PLAIN {
        for loss in Loss::ALL {
            let program = program(&load(name, loss)?, loss, beta)?;
            let solver = |tol| Solver { algorithm: Some(Algorithm::Admm), tol, ..Solver::default() };
            let (ours, seconds) = timed(|| solver(1e-4).solve(&program, Seed(0)))?;
            let tight = solver(1e-6).solve(&program, Seed(0))?.certified.certificate.gap;
            let (direct, theirs) = timed(|| exact(&program))?;
            let (gap, ratio) = (ours.certified.certificate.gap, theirs / seconds);
            table.row([
                name.into(),
                loss.name().into(),
                format!("{seconds:.3}"),
                ours.iterations.to_string(),
                format!("{gap:.1e}"),
                format!("{tight:.1e}"),
                format!("{theirs:.3}"),
                format!("{:.1e}", direct.certificate.gap),
                format!("{ratio:.1}×"),
            ]);
            let wanted = if name == "sampled_dg38" { 10.0 } else { 1.0 };
            marks.push((
                format!("{name} {}: ≥ {wanted}× the interior point ({ratio:.1}×), gap ≤ 1e-4", loss.name()),
                ratio >= wanted && gap <= 1e-4,
            ));
            marks.push((
                format!("{name} {}: finished to a gap ≤ 1e-6 ({tight:.1e})", loss.name()),
                tight <= 1e-6,
            ));
            rows.push(json!({ "set": name, "loss": loss, "admm_seconds": seconds, "iterations": ours.iterations, "gap": gap, "finished_gap": tight, "exact_seconds": theirs, "exact_gap": direct.certificate.gap }));
        }
    }
    Ok(finding(
        "solve",
        "Certified solves",
        "Time to a certified gap of 1e-4 of the default method, and of Clarabel on the whole program at its full accuracy, in one run.",
        table,
        marks,
        rows,
    ))
}
