//! Bounds in closed form: product of norms, ECLipsE-fast, splitting.

use faer::Mat;
use thalweg_linalg::dense::{self, lambda_max, solve, symmetric};

use crate::ball::{Ball, gamma, sound_norm};
use crate::net::{Block, Network};
use crate::{Activation, LipError, Multipliers, Norm};

/// Rounded-up product.
pub(crate) fn times(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { (a * b).next_up() }
}

/// Rounded-up sum.
pub(crate) fn plus(a: f64, b: f64) -> f64 {
    (a + b).next_up()
}

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
            let shared = |i: &usize| windows.iter().flatten().filter(|j| *j == i).count() as f64;
            windows.iter().flatten().map(shared).fold(1.0, f64::max).sqrt().next_up()
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
            let w = Ball::exact(a.weight.clone());
            pending = Some(pending.map_or(w.clone(), |p| w.mul(&p)));
            continue;
        }
        total = times(total, pending.take().map_or(1.0, |w| norm_of(&w, norm)));
        let of = |m: &Mat<f64>| norm_of(&Ball::exact(m.clone()), norm);
        let factor = match block {
            Block::Affine(_) => 1.0,
            Block::Activation(act) => constant(act, norm),
            Block::Residual { inner, activation, outer } => {
                let branch = times(of(&inner.weight), constant(activation, norm));
                plus(1.0, times(branch, outer.as_ref().map_or(1.0, |o| of(&o.weight))))
            }
            Block::Equilibrium { input, state, activation } => {
                let slope = constant(activation, norm);
                let left = (1.0 - times(slope, of(state))).next_down();
                if left <= 0.0 {
                    let why = "needs ‖Wz‖ < 1 for an equilibrium network";
                    return Err(LipError::not_applicable("the product of norms", why, "--bound neuron"));
                }
                (times(slope, of(&input.weight)) / left).next_up()
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

/// Multipliers of ECLipsE-fast (arXiv:2404.04375) in closed form, one per layer, and the value:
///
/// ```text
/// M₀ = I;  A = W_l M_{l−1}⁻¹ W_lᵀ,  s = ‖A‖₂,  M_l = (2/s) I − A/s²;  ρ = ‖W_L M_{L−1}⁻¹ W_Lᵀ‖₂
/// ```
///
/// T_l = I/s is the multiplier for an input that counts 1; here the output counts 1.
pub(crate) fn eclipse(net: &Network) -> Result<(Multipliers, f64), LipError> {
    let fits = |b: &Block| match b {
        Block::Affine(_) => true,
        Block::Activation(Activation::Slope(s)) => s.interval() == (0.0, 1.0),
        _ => false,
    };
    if !net.blocks().iter().all(fits) {
        let why = "is a closed form for feed-forward networks with slopes in [0, 1]";
        return Err(LipError::not_applicable("ECLipsE-fast", why, "--bound first-order or split:K"));
    }
    let n0 = net.inputs();
    // A = W M⁻¹ Wᵀ of the affine maps since the last activation.
    let mut a = Mat::identity(n0, n0);
    let mut scales = Vec::new();
    for block in net.blocks() {
        match block {
            Block::Affine(affine) => {
                a = symmetric(&dense::product(&affine.weight, dense::product(&a, affine.weight.transpose())))
            }
            _ => {
                let s = lambda_max(&a).max(f64::MIN_POSITIVE);
                let n = a.nrows();
                let m = Mat::<f64>::identity(n, n) * faer::Scale(2.0 / s) - &a * faer::Scale(1.0 / (s * s));
                a = solve(&m, Mat::<f64>::identity(n, n)).ok_or(LipError::NoStart)?;
                scales.push(s);
            }
        }
    }
    let rho = lambda_max(&a);
    let layers = scales.iter().map(|s| vec![2.0 * rho / s]).collect();
    Ok((Multipliers { input: vec![rho], output: Vec::new(), layers }, rho.sqrt()))
}

/// Consecutive groups of `size` affine maps, with the activations between them; the factor is that
/// of the activations between groups.
pub(crate) fn split(net: &Network, size: usize) -> Result<(Vec<Network>, f64), LipError> {
    if size == 0 || !net.is_feedforward() {
        let why = "needs a feed-forward network and groups of at least one layer";
        return Err(LipError::not_applicable(format!("split:{size}"), why, "--bound nsr or product"));
    }
    let (mut groups, mut current, mut layers) = (Vec::new(), Vec::new(), 0);
    let (mut factor, mut width, mut inputs) = (1.0, net.inputs(), net.inputs());
    for block in net.blocks() {
        let boundary = layers == size;
        match block {
            Block::Activation(act) if boundary => {
                factor = times(factor, constant(act, Norm::L2));
                groups.push(Network::new(inputs, std::mem::take(&mut current))?);
                layers = 0;
                inputs = act.outputs(width);
            }
            _ => current.push(block.clone()),
        }
        layers += usize::from(matches!(block, Block::Affine(_)));
        width = block.outputs(width);
    }
    if !current.is_empty() {
        groups.push(Network::new(inputs, current)?);
    }
    Ok((groups, factor))
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
