//! Strictly feasible multipliers from norms alone, and for implicit layers the proof that there
//! are any.

use faer::Mat;
use thalweg_linalg::dense::{cholesky, lambda_max, lambda_min, norm2, product, scale_rows, solve, symmetric};

use crate::ball::Ball;
use crate::certificate::Multipliers;
use crate::constraint::{Form, Step};
use crate::ipm;
use crate::lmi::{Layout, Lmi, Part};
use crate::network::{Block, Network};
use crate::{Activation, LipError, Norm};

/// Margins multiply by this per layer; doubled until M(p) ≻ 0.
const SAFETY: f64 = 1.2;

/// A strictly feasible p.
pub(crate) fn start(
    net: &Network,
    norm: Norm,
    form: Form,
    lmi: &Lmi,
    layout: &Layout,
) -> Result<Vec<f64>, LipError> {
    let mut safety = SAFETY;
    for _ in 0..8 {
        let p = chain(net, norm, form, layout, safety)?;
        let inside = |part: &Part| cholesky(part.at(&p)).is_some();
        if p.iter().all(|p| p.is_finite()) && lmi.parts.iter().all(inside) {
            return Ok(p);
        }
        safety *= 2.0;
    }
    Err(LipError::NoStart)
}

/// Feasible multipliers without a look at the matrix.
pub(crate) fn feasible(net: &Network, norm: Norm, form: Form) -> Result<Multipliers, LipError> {
    let layout = Layout::new(net, norm, form);
    Ok(layout.split(&chain(net, norm, form, &layout, SAFETY)?))
}

/// From the output, |y|² ≤ c |h|² is carried to the input; every multiplier is `safety` above what
/// that needs.
fn chain(net: &Network, norm: Norm, form: Form, layout: &Layout, safety: f64) -> Result<Vec<f64>, LipError> {
    let mut widths = vec![net.inputs()];
    net.blocks().iter().for_each(|b| widths.push(b.outputs(widths[widths.len() - 1])));
    let mut c = 1.0;
    let mut layers: Vec<Vec<f64>> = Vec::new();
    for (block, width) in net.blocks().iter().zip(&widths).rev() {
        match block {
            Block::Affine(a) => c *= norm2(&a.weight).powi(2).max(f64::MIN_POSITIVE),
            Block::Activation(act) => {
                let (p, before) = through(act, *width, form, c, safety);
                layers.push(p);
                c = before;
            }
            Block::Residual { inner, activation, outer } => {
                let w = norm2(&inner.weight);
                let g = outer.as_ref().map_or(1.0, |o| norm2(&o.weight));
                let branch = (w * g).max(1e-3);
                let (p, before) =
                    through(activation, inner.weight.nrows(), form, c * (1.0 + 1.0 / branch) * g * g, safety);
                layers.push(p);
                c = safety * c * (1.0 + branch) + before * w * w;
            }
            Block::Equilibrium { .. } => {
                let (p, before) = implicit(block, *width, form, c, safety)?;
                layers.push(p);
                c = before;
            }
        }
    }
    layers.reverse();
    c *= safety;
    let (n0, m) = (layout.input as f64, layout.output as f64);
    // σ = s, τ = c/s with the least sum; everything behind is per σ.
    let s = if norm == Norm::Linf { (n0 * c / m).sqrt() } else { 1.0 };
    let mut p = vec![c / s; layout.input];
    p.extend(vec![s; layout.output]);
    p.extend(layers.into_iter().flatten().map(|x| x / s));
    Ok(p)
}

/// Multipliers of an activation whose output x counts c |x|², and what its input then counts.
fn through(act: &Activation, width: usize, form: Form, c: f64, safety: f64) -> (Vec<f64>, f64) {
    let count = crate::constraint::Sector::new(act, width, form).count;
    match act {
        Activation::Slope(slope) => {
            let (alpha, beta) = slope.interval();
            let (h, d) = (0.5 * (alpha + beta).abs(), 0.5 * (beta - alpha));
            let lambda = if d > 0.0 { safety * c * (1.0 + h / d) } else { 0.0 };
            (vec![lambda; count], safety * safety * c * (h + d).powi(2))
        }
        Activation::MaxPool { windows } => {
            let shared = |i: &usize| windows.iter().flatten().filter(|j| *j == i).count() as f64;
            let most = windows.iter().flatten().map(shared).fold(1.0, f64::max);
            (vec![safety * c; count], safety * safety * c * most)
        }
        _ => (vec![safety * c; count], safety * safety * c),
    }
}

/// Multipliers of an implicit layer: a multiple of some that prove it well-posed.
fn implicit(
    block: &Block,
    width: usize,
    form: Form,
    c: f64,
    safety: f64,
) -> Result<(Vec<f64>, f64), LipError> {
    let Some(step) = Step::new(block, width, form)? else { return Ok((Vec::new(), c)) };
    let unit = well_posed(&step, width)?;
    let n = width + step.inner;
    let next = |p: &[f64], c: f64| matrix(&step, p, c, n);
    // Twice the multiple at which M_rr becomes positive.
    let inner = |m: Mat<f64>| Mat::from_fn(step.inner, step.inner, |i, j| m[(width + i, width + j)]);
    let gain = step.next.mid.subcols(width, n - width).to_owned();
    let proof = inner(next(&unit, 0.0));
    let ratio = solve(&proof, product(gain.transpose(), &gain)).ok_or(LipError::NotWellPosed)?;
    let kappa = safety * 2.0 * c * lambda_max(symmetric(&ratio)).max(norm2(&ratio)).max(f64::MIN_POSITIVE);
    let p: Vec<f64> = unit.iter().map(|p| p * kappa).collect();
    let m = next(&p, c);
    let cross = Mat::from_fn(step.inner, width, |i, j| m[(width + i, j)]);
    let schur = solve(inner(m.clone()), &cross).ok_or(LipError::NotWellPosed)?;
    let value = Mat::from_fn(width, width, |i, j| m[(i, j)]) - product(cross.transpose(), schur);
    let before = -lambda_min(symmetric(&value));
    Ok((p, safety * before.max(f64::MIN_POSITIVE)))
}

/// Σ p (rest² − gain²) − c |next|² in the coordinates (h, r).
fn matrix(step: &Step, p: &[f64], c: f64, n: usize) -> Mat<f64> {
    let Step { next, gain, rest, gain_owner, rest_owner, .. } = step;
    let part =
        |rows: &Ball, owner: &[usize]| product(rows.mid.transpose(), scale_rows(&rows.mid, |k| p[owner[k]]));
    let m = part(rest, rest_owner)
        - part(gain, gain_owner)
        - product(next.mid.transpose(), &next.mid) * faer::Scale(c);
    debug_assert_eq!(m.nrows(), n);
    symmetric(&m)
}

/// Multipliers ≥ 1 for which Σ λ (r² − (D z(r))²) ≻ 0 in r alone: then the equilibrium is unique.
/// All ones if they do, else by minimising s in `Σ λ(…) + s I ⪰ ε I`.
fn well_posed(step: &Step, width: usize) -> Result<Vec<f64>, LipError> {
    const EPS: f64 = 1e-3;
    let (k, count) = (step.inner, step.count);
    let ones = vec![1.0; count];
    if k == 0 {
        // An affine layer: that its state exists was proved with the step.
        return Ok(ones);
    }
    let zero_input = |m: &Mat<f64>| Mat::from_fn(k, k, |i, j| m[(width + i, width + j)]);
    let plain = zero_input(&matrix(step, &ones, 0.0, width + k));
    if lambda_min(&plain) > EPS {
        return Ok(ones);
    }
    // p = (λ − 1, s).
    let gains = step.gain.mid.subcols(width, k);
    let rows = gains.nrows();
    let terms = Mat::from_fn(k, rows + k, |i, j| match j.checked_sub(rows) {
        None => gains[(j, i)],
        Some(j) => f64::from(i == j),
    });
    let owner = step.gain_owner.iter().copied().chain(vec![count; k]).collect();
    let sign = (0..rows + k).map(|j| if j < rows { -1.0 } else { 1.0 }).collect();
    let lowest = lambda_min(&plain).min(0.0);
    let constant = plain - Mat::<f64>::identity(k, k) * faer::Scale(EPS);
    let diagonal = step.rest_owner.iter().map(|o| (*o, 1.0)).collect();
    // The λ cost next to nothing, only to keep them finite.
    let mut cost = vec![1e-9; count];
    cost.push(1.0);
    let lmi = Lmi { parts: vec![Part { constant, diagonal, terms, sign, owner }], cost };
    let mut p = vec![1e-3; count];
    p.push(2.0 * (EPS - lowest) + 1.0);
    let enough = |p: &[f64]| p[count] < 0.5 * EPS;
    let done = ipm::minimize(&lmi, p, 1e-9, enough)?;
    match enough(&done.p) {
        true => Ok(done.p[..count].iter().map(|p| 1.0 + p).collect()),
        false => Err(LipError::NotWellPosed),
    }
}
