//! The choice of β.

use std::time::{Duration, Instant};

use thalweg_convex_relu::path::{Fold, betas, cross_validate};
use thalweg_convex_relu::{Geometry, Loss, Program};

use super::words::Beta;
use super::{Data, Settings, patterns};
use crate::Result;
use crate::error::bail;

/// A chosen β.
#[derive(Clone, Debug, PartialEq)]
pub struct ChosenBeta {
    /// Weight decay β.
    pub beta: f64,
    /// The values of the regularisation path, if one is asked for.
    pub path: Vec<f64>,
    /// Scores of cross-validation, if that chose.
    pub folds: Vec<Fold>,
    /// Whether the least or the largest value that was tried is the best: a better one may lie beyond.
    pub at_edge: bool,
}

/// Candidates of `auto`.
const CANDIDATES: usize = 12;
/// Smaller candidates that are added where the least is the best, and how often.
const MORE: usize = 6;
const TIMES: usize = 2;

/// β as the settings say: a number, the best in cross-validation of fits with the same settings and boxes `eps`, or
/// the least of a path. Cross-validation takes half of the `time` at most.
///
/// # Errors
/// Data or settings that do not fit; several outputs, unless β is a number.
pub fn choose_beta(
    settings: &Settings,
    data: &Data,
    loss: Loss,
    eps: Option<&[f64]>,
    time: Option<Duration>,
) -> Result<ChosenBeta> {
    let asked = settings.beta.unwrap_or(if settings.cv.is_some() { Beta::Auto } else { Beta::Value(0.1) });
    let (count, validated) = match asked {
        Beta::Value(beta) => {
            return Ok(ChosenBeta { beta, path: Vec::new(), folds: Vec::new(), at_edge: false });
        }
        Beta::Auto => (CANDIDATES, true),
        Beta::Path(count) => (count, settings.cv.is_some()),
    };
    if data.outputs() > 1 {
        bail!("beta = {asked} needs one output; give a number for several classes or targets");
    }
    let until = time.map(|time| Instant::now() + time / 2);
    let model = settings.model(loss, 1.0, eps.map(<[f64]>::to_vec));
    let listed = patterns(settings, data)?;
    let chosen = listed.clone().map_or_else(|| model.choose(&data.train), Ok)?;
    let geometry = Geometry::new(data.train.clone(), chosen, model.linear_part)?;
    let program = Program::new(geometry, data.y.clone(), loss, 1.0)?;
    if program.beta_max() <= 0.0 {
        bail!(
            "no neuron lowers the loss at any beta, as where all targets are alike; set `beta` to a number"
        );
    }
    let mut path = betas(&program, count, 1e-3);
    if !validated {
        return Ok(ChosenBeta { beta: path[count - 1], path, folds: Vec::new(), at_edge: false });
    }
    let folds = settings.cv.unwrap_or(5);
    let score =
        |betas: &[f64]| cross_validate(&model, listed.as_ref(), &data.train, &data.y, betas, folds, until);
    let mut scores = score(&path)?;
    let best = |scores: &[Fold]| {
        (0..scores.len()).min_by(|&a, &b| scores[a].loss.total_cmp(&scores[b].loss)).unwrap_or(0)
    };
    let ratio = path[1] / path[0];
    for _ in 0..TIMES {
        let late = until.is_some_and(|until| Instant::now() >= until);
        if asked != Beta::Auto || late || best(&scores) + 1 < path.len() {
            break;
        }
        let last = path[path.len() - 1];
        let more: Vec<f64> = (1..=MORE).map(|i| last * ratio.powi(i as i32)).collect();
        scores.extend(score(&more)?);
        path.extend(more);
    }
    let Some(fold) = scores.get(best(&scores)) else {
        bail!(
            "the time was up before one value of `beta` was validated; allow more time, or set `beta` to a number"
        )
    };
    let at_edge = best(&scores) + 1 == scores.len();
    let beta = fold.beta;
    let path = if asked == Beta::Auto { Vec::new() } else { path };
    Ok(ChosenBeta { beta, path, folds: scores, at_edge })
}
