//! The product of norms, and norms that are proved.

use faer::Mat;

use crate::ball::{Ball, gamma, plus, sound_norm, times};
use crate::network::{Affine, Block, Network};
use crate::{Activation, LipError, Norm};

/// Norm of a matrix from ℓ2 to ℓ2 or from ℓ∞ to ℓ∞, proved.
fn norm_of(w: &Ball, norm: Norm) -> f64 {
    if norm == Norm::L2 { sound_norm(w) } else { w.row_sum() }
}

/// Lipschitz constant of an activation in ℓ2 or ℓ∞, rounded up.
pub(crate) fn constant(act: &Activation, norm: Norm) -> f64 {
    match act {
        Activation::Slope(slope) => {
            let (alpha, beta) = slope.interval();
            alpha.abs().max(beta.abs())
        }
        Activation::GroupSort { .. } => 1.0,
        Activation::Householder { .. } if norm == Norm::L2 => 1.0,
        Activation::Householder { normals: v } => {
            // ‖I − 2vvᵀ/vᵀv‖_∞ of the widest group.
            let row = |g: usize, i: usize| -> f64 {
                let square: f64 = (0..v.ncols()).map(|k| v[(g, k)].powi(2)).sum();
                let entry = |k: usize| (f64::from(i == k) - 2.0 * v[(g, i)] * v[(g, k)] / square).abs();
                (0..v.ncols()).map(entry).sum()
            };
            let all = (0..v.nrows()).flat_map(|g| (0..v.ncols()).map(move |i| (g, i)));
            all.map(|(g, i)| row(g, i)).fold(1.0, f64::max) * (1.0 + gamma(8 * v.ncols()))
        }
        Activation::MaxPool { .. } if norm != Norm::L2 => 1.0,
        Activation::MaxPool { windows } => {
            let mut shared = vec![0u32; windows.iter().flatten().max().map_or(0, |i| i + 1)];
            windows.iter().flatten().for_each(|i| shared[*i] += 1);
            f64::from(shared.into_iter().max().unwrap_or(1).max(1)).sqrt().next_up()
        }
    }
}

/// Product of the norms of all blocks (adjacent affine maps multiplied first); a residual block
/// counts 1 + ‖G‖‖W‖, an equilibrium ‖U‖/(1 − ‖Wz‖).
pub(crate) fn product(net: &Network, norm: Norm) -> Result<f64, LipError> {
    let mut total = 1.0;
    let mut pending: Option<Ball> = None;
    for block in net.blocks() {
        if let Block::Affine(a) = block {
            let w = a.ball();
            pending = Some(pending.map_or(w.clone(), |p| w.mul(&p)));
            continue;
        }
        total = times(total, pending.take().map_or(1.0, |w| norm_of(&w, norm)));
        let of = |w: &Affine| norm_of(&w.ball(), norm);
        let factor = match block {
            Block::Affine(_) => 1.0,
            Block::Activation(act) => constant(act, norm),
            Block::Residual { inner, activation, outer } => {
                let branch = times(of(inner), constant(activation, norm));
                plus(1.0, times(branch, outer.as_ref().map_or(1.0, of)))
            }
            Block::Equilibrium { input, state, activation } => {
                let slope = constant(activation, norm);
                let left = (1.0 - times(slope, norm_of(&Ball::exact(state.clone()), norm))).next_down();
                if left <= 0.0 {
                    let why = "needs ‖Wz‖ < 1 for an equilibrium network";
                    return Err(LipError::not_applicable("the product of norms", why, "`bound` neuron"));
                }
                (times(slope, of(input)) / left).next_up()
            }
        };
        total = times(total, factor);
    }
    // The last map goes to the output's norm.
    let m = net.outputs();
    let last = pending.unwrap_or_else(|| Ball::identity(m));
    let rows = (0..last.nrows()).map(|i| {
        let row = |x: &Mat<f64>| x.subrows(i, 1).to_owned();
        Ball { mid: row(&last.mid), rad: row(&last.rad) }.row_sum()
    });
    let last = match norm {
        Norm::L2 => sound_norm(&last),
        Norm::Linf => rows.fold(0.0, plus),
        Norm::LinfL2 => rows.map(|r| times(r, r)).fold(0.0, plus).sqrt().next_up(),
    };
    Ok(times(total, last))
}

/// ‖W‖₂ of a symmetric or general matrix, proved: at most the number returned.
pub fn proved_norm(w: &Mat<f64>) -> f64 {
    sound_norm(&Ball::exact(w.clone()))
}

/// ‖W‖₂ ≤ ‖(WᵀW)^{2^k}‖_F^{1/2^{k+1}}, with rescaling (Gram iteration, Delattre et al. 2023): needs no
/// eigenvalues and holds for every k; 5 or 6 suffice.
pub fn gram_norm(w: &Mat<f64>, k: u32) -> f64 {
    let ball = Ball::exact(w.clone());
    let mut gram =
        if w.nrows() <= w.ncols() { ball.mul(&ball.transpose()) } else { ball.transpose().mul(&ball) };
    // ‖W‖² = factor · ‖gram‖^(1/2^k); logarithms of exact powers of two stay exact.
    let mut exponent = 0.0;
    for step in 0..k {
        let size = gram.mid.norm_max();
        if size == 0.0 {
            return 0.0;
        }
        let power = size.log2().round();
        gram = gram.scale_rows(|_| (-power).exp2());
        exponent += power / f64::from(1u32 << step);
        gram = gram.mul(&gram);
    }
    let n = gram.ncols();
    let largest = |i, j| gram.mid[(i, j)].abs() + gram.rad[(i, j)];
    let frobenius = Mat::from_fn(n, n, largest).norm_l2() * (1.0 + gamma(n * n + 8));
    let root = frobenius.powf(1.0 / f64::from(1u32 << k)) * exponent.exp2();
    // powf and exp2 are good to a few units in the last place.
    (root.sqrt() * (1.0 + 64.0 * f64::EPSILON)).next_up()
}
