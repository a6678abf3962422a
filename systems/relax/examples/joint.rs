//! How the joint model's ridge weight and bonus were chosen: totals on four sequences, relative to the
//! best ω for every instance, for a grid of both. Run with
//! `cargo run --release -p thalweg-relax --example joint`.

use rayon::prelude::*;
use thalweg_core::{BoxError, Run, Seed, Stop};
use thalweg_relax::learner::JointModel;
use thalweg_relax::sequence::{Shift, Shifted};
use thalweg_relax::{Policy, Sequence, TunedSolver};

fn total(policy: Policy, (shift, side, steps): (Shift, usize, u64), seed: u64) -> Result<f64, BoxError> {
    let mut sequence = Shifted::new(shift, side, steps, Seed(seed))?;
    let (tuned, steps) = (TunedSolver { policy, ..TunedSolver::default() }, sequence.steps());
    Ok(Run::new(&tuned, &mut sequence).seed(Seed(seed)).stop(Stop::Steps(steps)).run()?.evaluations as f64)
}

fn main() -> Result<(), BoxError> {
    let golden = |low, width| Shift::Golden { low, width };
    let sequences = [
        (Shift::High, 10, 2000),
        (Shift::Low, 10, 2000),
        (golden(-0.15, 0.6), 10, 2000),
        (golden(-0.03, 0.3), 20, 500),
    ];
    let best = sequences.map(|s| total(Policy::Oracle, s, 1));
    println!("ridge  bonus    high     low     S10     S20    mean");
    let grid: Vec<(f64, f64)> =
        [0.01, 0.1, 1.0, 10.0].into_iter().flat_map(|r| [0.0, 0.03, 0.1, 0.3, 1.0].map(|b| (r, b))).collect();
    let rows = grid.par_iter().map(|&(ridge, bonus)| {
        let model = JointModel { ridge, bonus, ..JointModel::default() };
        let totals: Result<Vec<f64>, BoxError> =
            sequences.iter().map(|s| total(Policy::Joint(model), *s, 1)).collect();
        totals.map(|t| (ridge, bonus, t))
    });
    for row in rows.collect::<Result<Vec<_>, _>>()? {
        let (ridge, bonus, totals) = row;
        let mut ratios = Vec::new();
        for (total, best) in totals.iter().zip(&best) {
            ratios.push(total / best.as_ref().map_err(ToString::to_string)?);
        }
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let cells: Vec<String> = ratios.iter().map(|r| format!("{r:7.3}")).collect();
        println!("{ridge:5} {bonus:6} {} {mean:7.3}", cells.join(" "));
    }
    Ok(())
}
