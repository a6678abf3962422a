//! The choice of β.

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
}

/// Candidates of `auto`.
const CANDIDATES: usize = 12;

/// β as the settings say: a number, the best in cross-validation, or the least of a path.
///
/// # Errors
/// Data or settings that do not fit; several outputs, unless β is a number.
pub fn choose_beta(settings: &Settings, data: &Data, loss: Loss) -> Result<ChosenBeta> {
    let asked = settings.beta.unwrap_or(Beta::Value(0.1));
    let (count, validated) = match asked {
        Beta::Value(beta) if settings.cv.is_none() => {
            return Ok(ChosenBeta { beta, path: Vec::new(), folds: Vec::new() });
        }
        Beta::Value(_) | Beta::Auto => (CANDIDATES, true),
        Beta::Path(count) => (count, settings.cv.is_some()),
    };
    if data.outputs() > 1 {
        bail!("beta = {asked} needs one output; give a number for several classes");
    }
    let model = settings.model(loss, 1.0, None);
    let patterns = match patterns(settings, data)? {
        Some(listed) => listed,
        None => model.choose(&data.train)?,
    };
    let geometry = Geometry::new(data.train.clone(), patterns, model.linear_part)?;
    let program = Program::new(geometry, data.y.clone(), loss, 1.0)?;
    let path = betas(&program, count, 1e-3);
    if !validated {
        return Ok(ChosenBeta { beta: path[count - 1], path, folds: Vec::new() });
    }
    let draws = program.patterns().drawn().max(20);
    let (folds, solver) = (settings.cv.unwrap_or(5), settings.solver());
    let folds = cross_validate(&data.train, &data.y, loss, draws, &path, folds, &solver, settings.seed())?;
    let beta = folds.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).map_or(0.1, |s| s.beta);
    Ok(ChosenBeta { beta, path: if asked == Beta::Auto { Vec::new() } else { path }, folds })
}
