//! The proof, from the multipliers and the stored weights alone; nothing of the solver enters.
//!
//! From the output backwards, P_l bounds what a difference h_l can still become:
//! |y|² ≤ h_lᵀ P_l h_l. An affine map takes P to WᵀPW. A block with an activation needs
//!
//! ```text
//! N = [S 0; 0 0] + Σ λ (rest² − gain²) − nextᵀ P next ≻ 0     in the coordinates (h, r)
//! ```
//!
//! for some S, which becomes the new P. S is computed in plain floating point as the Schur
//! complement that makes N singular, plus η|S|; that N is positive definite is then proved with
//! error bounds (see `ball`), whatever S is. At the input, ‖P‖₂ or diag(τ) − P ≻ 0 gives the bound.

use faer::Mat;

use crate::ball::{Ball, gamma, sound_lambda_max};
use crate::dense::{cholesky, solve, symmetric};
use crate::net::{Block, Network};
use crate::qc::{Form, Step};
use crate::{LipError, Multipliers, Norm};

/// A proved bound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proof {
    /// Rounded up.
    pub bound: f64,
    /// Smallest eigenvalue that was certified of any scaled matrix N.
    pub margin: f64,
    /// By how much each layer's multipliers were enlarged.
    pub theta: f64,
    /// The multipliers that were used.
    pub multipliers: Multipliers,
}

/// Enlargements θ per layer and η of S. A larger one costs about its size times the depth.
const ATTEMPTS: [(f64, f64); 12] = [
    (0.0, 1e-14),
    (0.0, 1e-13),
    (0.0, 1e-12),
    (1e-11, 1e-12),
    (1e-10, 1e-11),
    (1e-9, 1e-10),
    (1e-8, 1e-10),
    (1e-8, 1e-9),
    (1e-7, 1e-8),
    (1e-6, 1e-8),
    (1e-5, 1e-7),
    (1e-4, 1e-6),
];

/// Proves a bound with multipliers near the given ones.
pub(crate) fn prove(net: &Network, norm: Norm, form: Form, near: &Multipliers) -> Result<Proof, LipError> {
    check(net, norm, form, near)?;
    let attempt = |(theta, eta): (f64, f64)| {
        let multipliers = enlarged(near, theta);
        // An implicit layer adds μ |what vanishes|², the larger the better up to rounding.
        let penalties: &[f64] = if net.is_feedforward() { &[0.0] } else { &[1e3, 1e5, 1e7] };
        penalties.iter().find_map(|mu| {
            let (bound, margin) = chain(net, norm, form, &multipliers, eta, *mu)?;
            Some(Proof { bound, margin, theta, multipliers: multipliers.clone() })
        })
    };
    ATTEMPTS.into_iter().find_map(attempt).ok_or_else(|| {
        LipError::Unverified("the matrices stayed indefinite up to an enlargement of 1e-4".into())
    })
}

/// Multipliers of the right number, finite and not negative.
fn check(net: &Network, norm: Norm, form: Form, m: &Multipliers) -> Result<(), LipError> {
    let layout = crate::lmi::Layout::new(net, norm, form);
    let found: Vec<usize> = m.layers.iter().map(Vec::len).collect();
    if found != layout.layers || m.input.len() != layout.input || m.output.len() != layout.output {
        let found = format!("multipliers {found:?}");
        return Err(LipError::shape("the certificate", found, format!("{:?}", layout.layers)));
    }
    let bad = m.flat().into_iter().find(|p| !(p.is_finite() && *p >= 0.0));
    bad.map_or(Ok(()), |p| Err(LipError::Unverified(format!("a multiplier is {p}, not a number ≥ 0"))))
}

/// The multipliers times (1+θ)^k, k blocks from the output: every N gains about θ.
fn enlarged(m: &Multipliers, theta: f64) -> Multipliers {
    let factor = |k: usize| (1.0 + theta).powi(k as i32);
    let depth = m.layers.len();
    let layer = |(i, p): (usize, &Vec<f64>)| p.iter().map(|p| p * factor(depth - i)).collect();
    Multipliers {
        input: m.input.iter().map(|p| p * factor(depth + 1)).collect(),
        output: m.output.clone(),
        layers: m.layers.iter().enumerate().map(layer).collect(),
    }
}

fn chain(net: &Network, norm: Norm, form: Form, m: &Multipliers, eta: f64, mu: f64) -> Option<(f64, f64)> {
    let mut widths = vec![net.inputs()];
    net.blocks().iter().for_each(|b| widths.push(b.outputs(widths[widths.len() - 1])));
    let mut value = match norm {
        Norm::Linf if m.output.iter().any(|s| *s <= 0.0) => return None,
        Norm::Linf => Ball::rounded(Mat::from_fn(m.output.len(), m.output.len(), |i, j| f64::from(i == j) / m.output[i]), 1),
        _ => Ball::identity(net.outputs()),
    };
    let mut margin = f64::INFINITY;
    let mut layers = m.layers.iter().rev();
    for (i, block) in net.blocks().iter().enumerate().rev() {
        let width = widths[i];
        let Some(step) = Step::new(block, width, form) else {
            let Block::Affine(a) = block else { return None };
            let w = Ball::exact(a.weight.clone());
            if i == 0 && norm == Norm::L2 && w.nrows() < w.ncols() {
                return Some((root(through(&value, &w)?), margin));
            }
            value = w.congruence(&value);
            continue;
        };
        let (next, passed) = back(&step, &value, layers.next()?, eta, mu)?;
        (value, margin) = (next, margin.min(passed));
    }
    let bound = match norm {
        Norm::L2 => root(sound_lambda_max(&value)),
        Norm::Linf | Norm::LinfL2 => {
            let tau = Ball::identity(m.input.len()).scale_rows(|i| m.input[i] * (1.0 + 4.0 * eta));
            margin = margin.min(tau.sub(&value).positive_definite()?);
            let terms = m.input.len() + m.output.len();
            let sum = m.input.iter().map(|t| t * (1.0 + 4.0 * eta)).chain(m.output.iter().copied()).sum::<f64>();
            let sum = sum * (1.0 + 2.0 * gamma(terms + 8));
            if norm == Norm::Linf { 0.5 * sum } else { root(sum) }
        }
    };
    bound.is_finite().then_some((bound, margin))
}

/// √ rounded up.
fn root(square: f64) -> f64 {
    square.sqrt().next_up().next_up()
}

/// One block backwards: the S of its input and the certified eigenvalue.
fn back(step: &Step, value: &Ball, p: &[f64], eta: f64, mu: f64) -> Option<(Ball, f64)> {
    let mut n = step.rest.weighted_gram(|k| p[step.rest_owner[k]]);
    n = n.sub(&step.gain.weighted_gram(|k| p[step.gain_owner[k]]));
    n = n.sub(&step.next.congruence(value));
    if let Some(zero) = &step.zero {
        let largest = p.iter().fold(1.0, |a: f64, p| a.max(*p));
        n = n.add(&zero.weighted_gram(|_| mu * largest));
    }
    let width = n.nrows() - step.inner;
    let block = |r: usize, c: usize, rows: usize, columns: usize| {
        Mat::from_fn(rows, columns, |i, j| n.mid[(r + i, c + j)])
    };
    let mut s = block(0, 0, width, width) * faer::Scale(-1.0);
    if step.inner > 0 {
        let cross = block(width, 0, step.inner, width);
        s += cross.transpose() * solve(&symmetric(&block(width, width, step.inner, step.inner)), cross.as_ref())?;
    }
    let mut s = symmetric(&s);
    let size = (0..width).map(|i| s[(i, i)]).fold(f64::MIN_POSITIVE, f64::max);
    (0..width).for_each(|i| s[(i, i)] += eta * size);
    let all = n.nrows();
    let placed = Mat::from_fn(all, all, |i, j| if i < width && j < width { s[(i, j)] } else { 0.0 });
    let margin = n.add(&Ball::exact(placed)).positive_definite()?;
    Some((Ball::exact(s), margin))
}

/// λ_max(WᵀPW) for a wide W without forming it: P ⪯ LLᵀ + δI, so it is at most
/// λ_max(Lᵀ WWᵀ L) + δ λ_max(WWᵀ).
fn through(value: &Ball, w: &Ball) -> Option<f64> {
    let n = value.nrows();
    let mut shifted = symmetric(&value.mid);
    let size = (0..n).map(|i| shifted[(i, i)]).fold(f64::MIN_POSITIVE, f64::max);
    let l = [0.0, 1e-15, 1e-14, 1e-13, 1e-12].into_iter().find_map(|shift| {
        (0..n).for_each(|i| shifted[(i, i)] += shift * size);
        cholesky(&shifted)
    })?;
    let l = Ball::exact(Mat::from_fn(n, n, |i, j| if i >= j { l[(i, j)] } else { 0.0 }));
    let delta = value.sub(&l.mul(&l.transpose())).row_sum();
    let gram = w.mul(&w.transpose());
    let main = sound_lambda_max(&l.congruence(&gram));
    Some(((main + (delta * sound_lambda_max(&gram)).next_up()).next_up()).next_up())
}
