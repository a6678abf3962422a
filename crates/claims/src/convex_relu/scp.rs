//! The sampled convex program.

use anyhow::{Context, Result};
use serde_json::json;
use thalweg::convex_relu::Loss;
use thalweg::convex_relu::patterns::sampling_bound;
use thalweg::convex_relu::scp::{LassoSolver, Scp, unit_vectors};
use thalweg::core::Seed;
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;

use super::{accuracy, finding, load, timed};

/// The sampled convex program, and its value as neurons are added.
pub fn scp() -> Result<Finding> {
    let data = load("scp_bc", Loss::Squared)?;
    let directions = data.directions.clone().context("the archive has no array U")?;
    let d = data.train.d();
    let mut table =
        Table::new(["loss", "solver", "N", "value", "gap", "neurons", "sweeps", "seconds", "test accuracy"]);
    let (mut marks, mut rows, mut curve) = (Vec::new(), Vec::new(), Vec::new());
    let mut one = |loss: Loss, solver: LassoSolver, directions: &[Vec<f64>]| -> Result<(f64, f64, f64)> {
        let scp = Scp { loss, beta: 0.1, solver, ..Scp::default() };
        let (sampled, seconds) = timed(|| scp.solve(&data.train, &data.y, directions))?;
        let (c, tested) = (&sampled.certificate, accuracy(&sampled.network, &data)?);
        let solver = if solver == LassoSolver::Fista { "FISTA" } else { "coordinate descent" };
        table.row([
            loss.name().into(),
            solver.into(),
            directions.len().to_string(),
            format!("{:.6}", c.objective),
            format!("{:.1e}", c.gap),
            sampled.network.neurons.len().to_string(),
            sampled.iterations.to_string(),
            format!("{seconds:.3}"),
            format!("{tested:.4}"),
        ]);
        rows.push(json!({ "loss": loss, "solver": solver, "neurons": directions.len(), "value": c.objective, "gap": c.gap, "seconds": seconds, "accuracy": tested }));
        Ok((c.objective, seconds, tested))
    };
    for (loss, optimum) in [(Loss::Squared, 12.584433), (Loss::Bce, 10.403677)] {
        let (value, seconds, tested) = one(loss, LassoSolver::CoordinateDescent, &directions)?;
        one(loss, LassoSolver::Fista, &directions)?;
        marks.push((
            format!("{}: {value:.6}, as the reference {optimum}", loss.name()),
            (value / optimum - 1.0).abs() < 1e-6,
        ));
        marks.push((format!("{}: gap 1e-6 in ≤ 0.05 s ({seconds:.3} s)", loss.name()), seconds <= 0.05));
        if loss == Loss::Squared {
            marks.push((format!("test accuracy 0.9675 ({tested:.4})"), (tested - 0.9675).abs() < 1e-3));
        }
    }
    for count in [100, 1000, 10_000] {
        let value = one(Loss::Squared, LassoSolver::CoordinateDescent, &unit_vectors(count, d, Seed(1)))?.0;
        curve.push((count as f64, value));
    }
    let bound = sampling_bound(data.train.n(), 0.1, 0.1);
    let text = format!(
        "After {bound:.0} draws one more improves the optimum with probability ≤ 0.1, with confidence 0.9."
    );
    let mut finding = finding("scp", "Sampled convex programs", &text, table, marks, rows);
    let figure =
        Figure::new("Value against neurons").x_label("N").y_label("value").log_x().line("squared", &curve);
    finding.figures.push((figure, "The first neurons of the larger sets are those of the smaller.".into()));
    Ok(finding)
}
