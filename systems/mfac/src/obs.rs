//! Optimal Brain Surgeon in the quadratic model ½ δᵀFδ around the weights w: which weights are
//! cheap to remove, and how the others make up for them.

use faer::{Mat, RowRef};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, MethodError};
use thalweg_linalg::dense::{shift, solve_factored};

use crate::fisher::{Block, direct, factored};
use crate::{MfacError, StaticFisher};

/// How the weights that stay make up for those that go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compensation {
    /// Not at all.
    None,
    /// The sum of the answers to each removal alone, as published.
    Single,
    /// The exact answer to all removals together, block by block.
    #[default]
    Joint,
    /// As `joint`, and the weights are chosen one at a time: each removal changes the price of the
    /// next. Needs B² doubles and B³ operations per block.
    Greedy,
}

/// What removing each weight alone costs: w²/(2 diag F⁻¹).
pub fn saliencies(fisher: &StaticFisher, w: &[f64]) -> Result<Vec<f64>, MfacError> {
    MethodError::check_length("the weights", w.len(), fisher.gradients().width())?;
    Ok(w.iter().zip(fisher.diag()).map(|(w, inverse)| price(*w, inverse)).collect())
}

/// What removing one weight costs; infinite where rounding has eaten the inverse.
fn price(w: f64, inverse: f64) -> f64 {
    w * w / (2.0 * inverse.max(f64::MIN_POSITIVE))
}

/// The change δ of the weights that removes those with `removed[i]`: δᵢ = −wᵢ exactly, and the
/// rest compensates.
pub fn compensate(
    fisher: &StaticFisher,
    w: &[f64],
    removed: &[bool],
    how: Compensation,
) -> Result<Vec<f64>, MfacError> {
    let d = fisher.gradients().width();
    MethodError::check_length("the weights", w.len(), d)?;
    MethodError::check_length("the removals", removed.len(), d)?;
    let gone: Vec<f64> = w.iter().zip(removed).map(|(w, gone)| if *gone { *w } else { 0.0 }).collect();
    let mut delta = match how {
        Compensation::None => vec![0.0; d],
        Compensation::Single => {
            let multipliers = gone.iter().zip(fisher.diag()).map(|(w, inverse)| -w / inverse);
            fisher.ihvp(&multipliers.collect::<Vec<f64>>())?
        }
        Compensation::Joint | Compensation::Greedy => {
            let block = |b: &Block| ridge(fisher, b, &gone[b.cols.clone()], &removed[b.cols.clone()]);
            each(fisher, block)?.concat()
        }
    };
    for i in (0..d).filter(|i| removed[*i]) {
        delta[i] = -w[i];
    }
    Ok(delta)
}

/// What the change δ costs in the model: ½ δᵀFδ, a sum of squares.
pub fn predicted_increase(fisher: &StaticFisher, delta: &[f64]) -> Result<f64, MfacError> {
    let (m, damping) = (fisher.gradients().count() as f64, fisher.damping());
    MethodError::check_length("the change", delta.len(), fisher.gradients().width())?;
    let squares = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
    let block = |b: &Block| {
        let delta = &delta[b.cols.clone()];
        Ok(damping * squares(delta) + squares(&fisher.gradients().dots(b.cols.clone(), delta)) / m)
    };
    Ok(0.5 * each(fisher, block)?.iter().sum::<f64>())
}

/// What the change δ adds to the loss by that model: ½ δᵀFδ with the Fisher matrix F of single examples, whose
/// gradients scatter √B times as much as means over micro-batches of B. With the change cₖ = gₖᵀδ of each
/// micro-batch, δᵀFδ ≈ B · var(c) + mean(c)², block by block.
pub fn loss_increase(fisher: &StaticFisher, delta: &[f64], micro_batch: usize) -> Result<f64, MfacError> {
    MethodError::check_length("the change", delta.len(), fisher.gradients().width())?;
    let (m, size) = (fisher.gradients().count() as f64, micro_batch as f64);
    let block = |b: &Block| {
        let c = fisher.gradients().dots(b.cols.clone(), &delta[b.cols.clone()]);
        let mean = c.iter().sum::<f64>() / m;
        if m < 2.0 {
            return Ok(size * mean * mean);
        }
        let variance = c.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (m - 1.0);
        Ok(size * variance + mean * mean)
    };
    Ok(0.5 * each(fisher, block)?.iter().sum::<f64>())
}

/// `f` of every block.
pub(crate) fn each<T: Send>(
    fisher: &StaticFisher,
    f: impl Fn(&Block) -> Result<T, MfacError> + Sync + Send,
) -> Result<Vec<T>, MfacError> {
    fisher.blocks().par_iter().map(f).collect()
}

/// The joint answer −F⁻¹E(EᵀF⁻¹E)⁻¹w of the weights A that stay, as what it is: the ridge
/// regression of the removed weights' effect c = G w on the gradients of A,
/// argmin ‖G_A δ − c‖²/m + λ‖δ‖². Nothing is subtracted from 1/λ.
fn ridge(
    fisher: &StaticFisher,
    block: &Block,
    gone: &[f64],
    removed: &[bool],
) -> Result<Vec<f64>, MfacError> {
    let (g, damping, cols) = (fisher.gradients(), fisher.damping(), block.cols.clone());
    let (m, mut delta) = (g.count(), vec![0.0; cols.len()]);
    if gone.iter().all(|w| *w == 0.0) || removed.iter().all(|gone| *gone) {
        return Ok(delta);
    }
    let c = g.dots(cols.clone(), gone);
    if cols.len() >= m {
        // δ = G_Aᵀ (mλI + G_A G_Aᵀ)⁻¹ c
        let mut k = g.gram(cols.clone(), Some(removed));
        shift(&mut k, m as f64 * damping);
        g.combine(cols, &solve_factored(&factored(&k, damping)?, &c), &mut delta, |sum, _| sum);
    } else {
        // δ = (λI + G_Aᵀ G_A/m)⁻¹ G_Aᵀ c/m
        let stay: Vec<usize> = (0..cols.len()).filter(|i| !removed[*i]).collect();
        let at: Vec<usize> = stay.iter().map(|i| cols.start + i).collect();
        let mut a = Mat::zeros(at.len(), g.count());
        g.gather(&at, a.as_mut());
        let mut f = direct(a.as_ref(), m as f64);
        shift(&mut f, damping);
        let dot = |g: RowRef<'_, f64>| g.iter().zip(&c).map(|(g, c)| g * c).sum::<f64>() / m as f64;
        let effect: Vec<f64> = a.row_iter().map(dot).collect();
        let answer = solve_factored(&factored(&f, damping)?, &effect);
        stay.iter().zip(answer).for_each(|(i, x)| delta[*i] = x);
    }
    Ok(delta)
}

/// Longest block whose inverse is formed.
const GREEDY: usize = 4096;

/// The order in which a greedy surgeon removes all weights of the block, each with its price at
/// that time. `w` is the block's part of the weights.
pub(crate) fn greedy(
    fisher: &StaticFisher,
    block: &Block,
    w: &[f64],
) -> Result<Vec<(f64, usize)>, MfacError> {
    let at: Vec<usize> = block.cols.clone().collect();
    Invalid::check(at.len() <= GREEDY, "block", at.len(), "1 to 4096 together with greedy compensation")?;
    let mut inverse = fisher.submatrix(&at)?;
    let (mut w, mut left) = (w.to_vec(), vec![true; at.len()]);
    let mut order = Vec::with_capacity(at.len());
    for _ in 0..at.len() {
        let candidates = (0..at.len()).filter(|i| left[*i]).map(|i| (price(w[i], inverse[(i, i)]), i));
        let Some((price, q)) = candidates.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        order.push((price, at[q]));
        left[q] = false;
        // Eliminate row and column q; this also moves the other weights.
        let column: Vec<f64> = inverse.col(q).iter().copied().collect();
        let step = w[q] / column[q];
        for j in (0..at.len()).filter(|j| left[*j]) {
            w[j] -= step * column[j];
            let scale = column[j] / column[q];
            inverse.col_mut(j).iter_mut().zip(&column).for_each(|(x, c)| *x -= scale * c);
        }
    }
    Ok(order)
}
