//! The optimum as β varies, and the choice of β.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed};

use crate::attack::Attack;
use crate::certificate::Certified;
use crate::solver::{Algorithm, Solver};
use crate::{ConvexError, ConvexRelu, Geometry, Loss, Network, Patterns, Program, Samples};

/// Steps of the attack that scores robust models.
const ATTACK: u32 = 40;

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

/// Solves for each β, largest first, each from the one before; the factorisations are shared. Ends when the
/// program's time is up, with the values so far, one at least.
///
/// # Errors
/// As [`Solver::solve`].
pub fn path(program: &Program, betas: &[f64], solver: &Solver) -> Result<Vec<PathPoint>, ConvexError> {
    if let Some((narrow, back)) = program.narrow() {
        let points = path(&narrow, betas, solver)?.into_iter();
        return points.map(|point| Ok(PathPoint { certified: back(point.certified)?, ..point })).collect();
    }
    let mut warm = None;
    let mut points = Vec::with_capacity(betas.len());
    for &beta in betas {
        let mut program = program.with_beta(beta)?;
        let certified = match (program.zero()?, solver.method(&program)) {
            (Some(zero), _) => zero,
            (None, Algorithm::Admm) => {
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
        if program.late() {
            break;
        }
    }
    Ok(points)
}

/// Mean validation scores of one β.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// Weight of the norms.
    pub beta: f64,
    /// Mean loss per validation sample; of robust models at attacked samples.
    pub loss: f64,
    /// Share of right signs among the validation samples, of classes.
    pub accuracy: Option<f64>,
}

/// K-fold cross-validation of `model`: for each β the mean score on the parts left out, of fits as the model's
/// own: its loss, solver, linear part, boxes, further searches and patterns, or those that are `listed`, without
/// the samples left out. β counts sums over samples, so on a fold of (K − 1)/K of them it is scaled alike. If the
/// time is up first, the values of β that all folds have tried are there.
///
/// # Errors
/// Fewer samples than folds, a class of one sample, several outputs, as [`ConvexRelu::fit`].
pub fn cross_validate(
    model: &ConvexRelu,
    listed: Option<&Patterns>,
    samples: &Samples,
    y: &[f64],
    betas: &[f64],
    folds: usize,
    until: Option<std::time::Instant>,
) -> Result<Vec<Fold>, ConvexError> {
    ConvexError::check("targets of one output", y.len(), samples.n())?;
    let legal = folds >= 2 && 2 * folds <= samples.n();
    Invalid::check(legal, "cv", folds, "2 folds or more, of 2 samples or more")?;
    let mut order: Vec<usize> = (0..samples.n()).collect();
    use rand::seq::SliceRandom;
    order.shuffle(&mut model.seed.stream("folds", 0));
    let classes = model.loss != Loss::Squared || y.iter().all(|y| y.abs() == 1.0);
    if classes {
        order.sort_by(|a, b| y[*a].total_cmp(&y[*b])); // of each class its share in every fold
    }
    let part = |f: usize| -> Result<Vec<Score>, ConvexError> {
        let held: Vec<usize> = order.iter().copied().skip(f).step_by(folds).collect();
        let rest: Vec<usize> = (0..samples.n()).filter(|k| !held.contains(k)).collect();
        let labels = |index: &[usize]| -> Vec<f64> { index.iter().map(|&k| y[k]).collect() };
        let (inner, outer) = (samples.select(&rest)?, samples.select(&held)?);
        let share = rest.len() as f64 / samples.n() as f64;
        let scaled: Vec<f64> = betas.iter().map(|b| b * share).collect();
        let patterns = listed.map_or_else(|| model.choose(&inner), |listed| listed.select(&rest))?;
        let geometry = Geometry::new(inner, patterns, model.linear_part)?;
        let program = Program::new(geometry, labels(&rest), model.loss, scaled[0])?.until(until);
        let wanted = labels(&held);
        networks(model, &program, &scaled)?
            .iter()
            .map(|network| model.score(network, &outer, &wanted))
            .collect()
    };
    let parts = (0..folds).into_par_iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let tried = parts.iter().map(Vec::len).min().unwrap_or(0);
    let n = samples.n() as f64;
    let fold = |(i, &beta): (usize, &f64)| Fold {
        beta,
        loss: parts.iter().map(|p| p[i].loss).sum::<f64>() / n,
        accuracy: classes.then(|| parts.iter().map(|p| p[i].right).sum::<f64>() / n),
    };
    Ok(betas[..tried].iter().enumerate().map(fold).collect())
}

/// The model's networks along the values of β, until the time is up.
fn networks(model: &ConvexRelu, program: &Program, betas: &[f64]) -> Result<Vec<Network>, ConvexError> {
    if model.eps.is_none() && model.extra_pattern_searches == 0 {
        let recover = |p: PathPoint| Network::recover(&p.certified.solution, program.samples().d(), 1);
        return Ok(path(program, betas, &model.solver)?.into_iter().map(recover).collect());
    }
    let mut networks = Vec::with_capacity(betas.len());
    for &beta in betas {
        networks.push(ConvexRelu { beta, ..model.clone() }.fit_program(program.with_beta(beta)?)?.network);
        if program.late() {
            break;
        }
    }
    Ok(networks)
}

/// Sums over validation samples.
struct Score {
    loss: f64,
    right: f64,
}

impl ConvexRelu {
    fn score(&self, network: &Network, samples: &Samples, y: &[f64]) -> Result<Score, ConvexError> {
        let loss = match &self.eps {
            Some(eps) => {
                let attack = Attack { eps: eps.clone(), loss: self.loss };
                attack.pgd_all(network, samples, y, ATTACK, self.seed)?.loss
            }
            None => self.loss.value(&network.outputs_on(samples)?, y),
        };
        Ok(Score { loss, right: network.accuracy(samples, y)? * samples.n() as f64 })
    }
}
