//! The tour's stop: the heat simulation with four learners.

use serde_json::json;
use thalweg_core::{Outcome, Run, Seed, Stop};
use thalweg_plot::{Figure, Table};
use thalweg_relax::learner::omega_grid;
use thalweg_relax::method::{TunedSolverSummary, arms};
use thalweg_relax::sequence::Heat;
use thalweg_relax::{Scheme, Sequence, TunedSolver};

use crate::{Finding, Host, Result};

/// Cells per side and steps: seconds for all policies together.
const NX: usize = 50;
const STEPS: u64 = 5000;

/// The paper's grid of ω under a policy.
///
/// # Errors
/// No such policy.
pub fn tuned(policy: &str, method: Scheme) -> Result<TunedSolver> {
    let arms = arms(&[method], &omega_grid(1.0, 1.95, 20));
    Ok(TunedSolver { policy: policy.parse()?, arms, ..TunedSolver::default() })
}

/// A whole sequence.
///
/// # Errors
/// What the run fails with.
pub fn solve(
    tuned: &TunedSolver,
    sequence: &mut dyn Sequence,
    seed: u64,
) -> Result<Outcome<TunedSolverSummary>> {
    let steps = sequence.steps();
    Ok(Run::new(tuned, sequence).seed(Seed(seed)).stop(Stop::Steps(steps)).run()?)
}

/// Heat in a square, conjugate gradients and fixed ω beside four policies.
///
/// # Errors
/// None but defects.
pub fn heat(_host: &Host) -> Result<Finding> {
    let mut table = Table::new(["ω by", "iterations", "of CG", "seconds"]);
    let (mut bars, mut data) = (Vec::new(), Vec::new());
    let (mut cg, mut totals) = (0, Vec::new());
    let rows = [
        ("conjugate gradients", Scheme::Cg, "fixed:1"),
        ("fixed ω = 1", Scheme::SsorCg, "fixed:1"),
        ("fixed ω = 1.6", Scheme::SsorCg, "fixed:1.6"),
        ("Tsallis-INF", Scheme::SsorCg, "tsallis-inf"),
        ("ChebCB", Scheme::SsorCg, "chebcb"),
        ("joint model", Scheme::SsorCg, "joint"),
        ("Young", Scheme::SsorCg, "young"),
    ];
    for (name, method, policy) in rows {
        let run = solve(&tuned(policy, method)?, &mut Heat::new(NX, STEPS)?, 1)?;
        let total = run.evaluations;
        if method == Scheme::Cg {
            cg = total;
        } else {
            let points = format!("{:.2}", total as f64 / STEPS as f64);
            bars.push((name.to_owned(), total as f64 / STEPS as f64, 0.0));
            totals.push(total);
            data.push(json!({ "policy": policy, "iterations": total, "per_step": points }));
        }
        let share = format!("{:.0} %", 100.0 * total as f64 / cg as f64);
        table.row([name.to_owned(), total.to_string(), share, format!("{:.2}", run.solution.seconds)]);
    }
    let learnt = totals[3].min(totals[4]);
    Ok(Finding {
        name: "relax",
        title: "Learned relaxation: a heat simulation that tunes its own solver".into(),
        text: format!(
            "Crank–Nicolson on {NX} × {NX} cells, {STEPS} steps, diffusion between 0 and 10; SSOR-CG to 1e-8, whose ω is \
             chosen anew for every step."
        ),
        table,
        figures: vec![(
            Figure::new("SSOR-CG iterations per step")
                .y_label("iterations per step")
                .bars("iterations", &bars),
            "Lower is better. Nothing but the iteration counts of earlier steps is known to the learners."
                .into(),
        )],
        marks: vec![("a learner beats both fixed ω".into(), learnt < totals[0].min(totals[1]))],
        data: json!(data),
    })
}
