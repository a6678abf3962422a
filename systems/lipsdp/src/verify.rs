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
use thalweg_linalg::dense::{cholesky, lambda_max, product, solve, symmetric};

use crate::ball::{Ball, gamma, sound_lambda_max};
use crate::certificate::Multipliers;
use crate::constraint::{Form, Step};
use crate::network::{Block, Network};
use crate::{LipError, Norm};

/// A proved bound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proof {
    /// Rounded up.
    pub bound: f64,
    /// Smallest eigenvalue that was certified of any scaled matrix N.
    pub margin: f64,
    /// By how much each layer's multipliers were enlarged.
    pub theta: f64,
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
    let mut width = net.inputs();
    let mut steps = Vec::new();
    for block in net.blocks() {
        steps.push(Step::new(block, width, form)?);
        width = block.outputs(width);
    }
    let attempt = |(theta, eta): (f64, f64)| {
        let multipliers = enlarged(near, theta);
        let (bound, margin) = chain(net, norm, &steps, &multipliers, eta)?;
        Some(Proof { bound, margin, theta })
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

fn chain(net: &Network, norm: Norm, steps: &[Option<Step>], m: &Multipliers, eta: f64) -> Option<(f64, f64)> {
    let mut value = match norm {
        Norm::Linf if m.output.iter().any(|s| *s <= 0.0) => return None,
        Norm::Linf => Ball::rounded(
            Mat::from_fn(m.output.len(), m.output.len(), |i, j| f64::from(i == j) / m.output[i]),
            1,
        ),
        _ => Ball::identity(net.outputs()),
    };
    let mut margin = f64::INFINITY;
    let mut layers = m.layers.iter().rev();
    for (i, (block, step)) in net.blocks().iter().zip(steps).enumerate().rev() {
        let Some(step) = step else {
            let Block::Affine(a) = block else { return None };
            let w = a.ball();
            if i == 0 && norm == Norm::L2 && w.nrows() < w.ncols() {
                return Some((root(through(&value, &w)?), margin));
            }
            value = w.congruence(&value);
            continue;
        };
        let (next, passed) = back(step, &value, layers.next()?, eta)?;
        (value, margin) = (next, margin.min(passed));
    }
    let bound = match norm {
        Norm::L2 => root(sound_lambda_max(&value)),
        Norm::Linf | Norm::LinfL2 => {
            let (factor, passed) = cover(&m.input, &value)?;
            margin = margin.min(passed);
            let terms = m.input.len() + m.output.len();
            let sum = m.input.iter().map(|t| t * factor).chain(m.output.iter().copied()).sum::<f64>();
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

/// A factor s, near the least, with s·diag(τ) − P ≻ 0, and the certified eigenvalue.
fn cover(tau: &[f64], value: &Ball) -> Option<(f64, f64)> {
    let n = tau.len();
    let scaled = Mat::from_fn(n, n, |i, j| value.mid[(i, j)] / (tau[i].sqrt() * tau[j].sqrt()));
    let least = lambda_max(symmetric(&scaled));
    [1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7].into_iter().find_map(|slack| {
        let factor = least * (1.0 + slack);
        let tau = Ball::identity(n).scale_rows(|i| tau[i]).scale_rows(|_| factor);
        tau.sub(value).positive_definite().map(|margin| (factor, margin))
    })
}

/// One block backwards: the S of its input and the certified eigenvalue.
fn back(step: &Step, value: &Ball, p: &[f64], eta: f64) -> Option<(Ball, f64)> {
    let mut n = step.rest.weighted_gram(|k| p[step.rest_owner[k]]);
    n = n.sub(&step.gain.weighted_gram(|k| p[step.gain_owner[k]]));
    n = n.sub(&step.next.congruence(value));
    let width = n.nrows() - step.inner;
    // First S alone, then once more with what its own radii and those of N will take away.
    let exact = schur(&n.mid, width, |_| 0.0)?;
    let diagonal = |i: usize| match i < width {
        true => exact[(i, i)].max(f64::MIN_POSITIVE),
        false => n.mid[(i, i)],
    };
    let slack = |i: usize| {
        (0..n.nrows()).map(|j| 1.1 * n.rad[(i, j)] * (diagonal(i) / diagonal(j)).sqrt()).sum::<f64>()
    };
    let mut s = schur(&n.mid, width, slack)?;
    // Relative to each diagonal entry: multipliers may differ by many orders of magnitude.
    let size = (0..width).map(|i| s[(i, i)]).fold(f64::MIN_POSITIVE, f64::max);
    (0..width).for_each(|i| s[(i, i)] += eta * s[(i, i)].max(1e-8 * size) + slack(i));
    let all = n.nrows();
    let placed = Mat::from_fn(all, all, |i, j| if i < width && j < width { s[(i, j)] } else { 0.0 });
    let margin = n.add(&Ball::exact(placed)).positive_definite()?;
    Some((Ball::exact(s), margin))
}

/// The S that makes `N + [S 0; 0 −slack]` singular: −N_hh + N_hr (N_rr − slack)⁻¹ N_rh.
fn schur(n: &Mat<f64>, width: usize, slack: impl Fn(usize) -> f64) -> Option<Mat<f64>> {
    let inner = n.nrows() - width;
    let mut s = Mat::from_fn(width, width, |i, j| -n[(i, j)]);
    if inner > 0 {
        let cross = Mat::from_fn(inner, width, |i, j| n[(width + i, j)]);
        let mut k = symmetric(&Mat::from_fn(inner, inner, |i, j| n[(width + i, width + j)]));
        (0..inner).for_each(|i| k[(i, i)] -= slack(width + i));
        s += product(cross.transpose(), solve(&k, &cross)?);
    }
    Some(symmetric(&s))
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
