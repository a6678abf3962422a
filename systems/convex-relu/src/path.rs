//! The optimum as β varies, and the choice of β.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed};

use crate::certificate::Certified;
use crate::solver::{Algorithm, Solver};
use crate::{ConvexError, Geometry, Loss, Network, Patterns, Program, Samples};

/// One β of a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathPoint {
    /// Weight of the norms.
    pub beta: f64,
    /// Solution and certificate at this β.
    pub certified: Certified,
    /// Neurons that are not 0.
    pub neurons: usize,
}

/// `count` values from β_max to `least`·β_max, evenly spaced in the logarithm.
pub fn betas(program: &Program, count: usize, least: f64) -> Vec<f64> {
    let most = program.beta_max();
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| most * least.powf(i as f64 / last)).collect()
}

/// Solves for each β, largest first, each from the one before; the factorisations are shared.
///
/// # Errors
/// As [`Solver::solve`].
pub fn path(program: &Program, betas: &[f64], solver: &Solver) -> Result<Vec<PathPoint>, ConvexError> {
    let mut warm = None;
    let mut points = Vec::with_capacity(betas.len());
    for &beta in betas {
        let mut program = program.with_beta(beta)?;
        let certified = match solver.method(&program) {
            Algorithm::Admm => {
                let (certified, state) =
                    solver.admm(&program).run_from(&mut program, warm, solver.max_steps)?;
                warm = Some(state);
                solver.finished(&program, certified)
            }
            _ => solver.solve(&program, Seed(0))?.certified,
        };
        let neurons =
            Network::recover(&certified.solution, program.samples().d(), program.outputs()).neurons.len();
        points.push(PathPoint { beta, certified, neurons });
    }
    Ok(points)
}

/// Mean validation scores of one β.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// Weight of the norms.
    pub beta: f64,
    /// Mean loss per validation sample.
    pub loss: f64,
    /// Share of right signs among the validation samples.
    pub accuracy: f64,
}

/// K-fold cross-validation: for each β the mean score on the parts left out. β counts sums over
/// samples, so on a fold of (K − 1)/K of them it is scaled alike.
///
/// # Errors
/// Fewer samples than folds, a fold of one class, as [`Solver::solve`].
pub fn cross_validate(
    samples: &Samples,
    y: &[f64],
    loss: Loss,
    draws: u64,
    betas: &[f64],
    folds: usize,
    solver: &Solver,
    seed: Seed,
) -> Result<Vec<Fold>, ConvexError> {
    let legal = folds >= 2 && 2 * folds <= samples.n();
    Invalid::check(legal, "cv", folds, "2 folds or more, of 2 samples or more")?;
    let mut order: Vec<usize> = (0..samples.n()).collect();
    use rand::seq::SliceRandom;
    order.shuffle(&mut seed.stream("folds", 0));
    let part = |f: usize| -> Result<Vec<(f64, f64)>, ConvexError> {
        let held: Vec<usize> = order.iter().copied().skip(f).step_by(folds).collect();
        let rest: Vec<usize> = (0..samples.n()).filter(|k| !held.contains(k)).collect();
        let labels = |index: &[usize]| -> Vec<f64> { index.iter().map(|&k| y[k]).collect() };
        let (inner, outer) = (samples.select(&rest)?, samples.select(&held)?);
        let share = rest.len() as f64 / samples.n() as f64;
        let patterns = Patterns::sample(&inner, draws, seed)?;
        let program =
            Program::new(Geometry::new(inner, patterns, false)?, labels(&rest), loss, betas[0] * share)?;
        let scaled: Vec<f64> = betas.iter().map(|b| b * share).collect();
        let wanted = labels(&held);
        let score = |point: PathPoint| {
            let network = Network::recover(&point.certified.solution, outer.d(), 1);
            let value = loss.value(&network.outputs_on(&outer), &wanted);
            Ok((value, network.accuracy(&outer, &wanted)? * held.len() as f64))
        };
        path(&program, &scaled, solver)?.into_iter().map(score).collect()
    };
    let parts = (0..folds).into_par_iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let n = samples.n() as f64;
    let mean = |i: usize, of: fn(&(f64, f64)) -> f64| parts.iter().map(|p| of(&p[i])).sum::<f64>() / n;
    let fold = |(i, &beta): (usize, &f64)| Fold { beta, loss: mean(i, |s| s.0), accuracy: mean(i, |s| s.1) };
    Ok(betas.iter().enumerate().map(fold).collect())
}
