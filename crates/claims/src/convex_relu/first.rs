//! The first iterations.

use std::ops::ControlFlow;

use anyhow::Result;
use serde_json::json;
use thalweg::convex_relu::admm::{Admm, AdmmState};
use thalweg::convex_relu::certificate::Solution;
use thalweg::convex_relu::{Loss, Network};
use thalweg::core::{Run, Stop};
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;

use super::{PLAIN, accuracy, finding, load, network, program};

/// The claim that the first few iterations already predict well.
pub fn first() -> Result<Finding> {
    let mut table = Table::new(["set", "loss", "1", "2", "5", "10", "20", "converged"]);
    let mut figure =
        Figure::new("Test accuracy after few iterations").x_label("iteration").y_label("accuracy").log_x();
    let (mut rows, mut marks) = (Vec::new(), Vec::new());
    for (name, beta) in &PLAIN[..2] {
        for loss in Loss::ALL {
            let data = load(name, loss)?;
            let mut program = program(&data, loss, *beta)?;
            let (d, mut seen) = (program.samples().d(), Vec::new());
            let copy = |state: &AdmmState| {
                let (v, w) = state.copies();
                let solution =
                    Solution { v: v.to_vec(), w: w.to_vec(), linear_part: None, outputs: Vec::new() };
                accuracy(&Network::recover(&solution, d, 1), &data)
            };
            let outcome = Run::new(&Admm::default(), &mut program)
                .stop(Stop::Steps(20_000))
                .each(1, |tick, _| {
                    if [1, 2, 5, 10, 20].contains(&tick.step) {
                        seen.push((tick.step as f64, copy(tick.state)?));
                    }
                    Ok(ControlFlow::Continue(()))
                })
                .run()?;
            let last = accuracy(&network(&program, &outcome.solution.solution), &data)?;
            let mut cells = vec![(*name).to_string(), loss.name().into()];
            cells.extend(seen.iter().map(|s| format!("{:.4}", s.1)));
            cells.push(format!("{last:.4}"));
            table.row(cells);
            figure = figure.line(&format!("{name} {}", loss.name()), &seen);
            rows.push(json!({ "set": name, "loss": loss, "accuracy": seen, "converged": last }));
            let tenth = seen.iter().find(|s| s.0 == 10.0).map_or(0.0, |s| s.1);
            marks.push((
                format!(
                    "{name} {}: within 0.03 of the end after 10 iterations ({tenth:.3}, {last:.3})",
                    loss.name()
                ),
                tenth >= last - 0.03,
            ));
        }
    }
    let mut finding = finding(
        "first",
        "The first iterations",
        "Test accuracy of the penalised copies after so many iterations of the structured ADMM.",
        table,
        marks,
        rows,
    );
    finding.figures.push((figure, "Accuracy is not convergence: the gap is still large.".into()));
    Ok(finding)
}
