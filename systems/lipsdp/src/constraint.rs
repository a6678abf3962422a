//! Quadratic constraints between differences of an activation's inputs z and outputs x.
//!
//! All have one form. The output is a known linear part plus a remainder r,
//!
//! ```text
//! x = M z + Q r,     Σ_g λ_g ( Σ_{k in g} (D z)_k² − Σ_{k in g} r_k² ) ≥ 0  for every λ ≥ 0
//! ```
//!
//! - slopes in [α, β]: x = h z + r with h = (α+β)/2 and |r_k| ≤ d |z_k|, d = (β−α)/2. One λ per
//!   neuron, or one per layer. (λ = 2t of Fazlyab et al.)
//! - GroupSort and Householder, tight: an orthogonal matrix [B Q] per group splits z into what the
//!   activation preserves, Bᵀx = Bᵀz, and the rest, which does not grow: |Qᵀx| ≤ |Qᵀz|. Hence
//!   M = BBᵀ, D = Qᵀ, one λ per group. GroupSort preserves the sum, Householder all but v.
//! - the same in the form of Pauli et al. with S = P = 0, T = λ QQᵀ + δ BBᵀ: M = 0, two λ per group.
//! - maximum over a window: x² ≤ Σ z² over the window, one λ each; windows may overlap.

use faer::Mat;

use crate::ball::Ball;
use crate::network::Block;
use crate::{Activation, LipError};

/// How many multipliers a layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One per neuron or group; preserved directions eliminated.
    Tight,
    /// One per layer of elementwise activations.
    Layer,
    /// The published form: two per group.
    Paper,
}

/// `x = mean·z + spread·r` with `Σ λ (gain z)² ≥ Σ λ r²`; rows k of `gain` and entries k of r
/// belong to the multipliers `gain_owner[k]` and `rest_owner[k]`, numbered below `count`.
#[derive(Clone, Debug)]
pub(crate) struct Sector {
    pub mean: Ball,
    pub spread: Ball,
    pub gain: Ball,
    pub gain_owner: Vec<usize>,
    pub rest_owner: Vec<usize>,
    pub count: usize,
}

impl Sector {
    /// The constraint of an activation on `width` neurons.
    pub fn new(activation: &Activation, width: usize, form: Form) -> Self {
        match activation {
            Activation::Slope(slope) => Self::slopes(slope.interval(), width, form),
            Activation::GroupSort { size, .. } => {
                let sum = vec![Split::preserving_the_sum(*size); width / size];
                Self::groups(&sum, form)
            }
            Activation::Householder { normals } => {
                let normal = |g| (0..normals.ncols()).map(|k| normals[(g, k)]).collect::<Vec<_>>();
                let splits: Vec<Split> =
                    (0..normals.nrows()).map(|g| Split::preserving_all_but(&normal(g))).collect();
                Self::groups(&splits, form)
            }
            Activation::MaxPool { windows } => Self::windows(windows, width),
        }
    }

    fn slopes((alpha, beta): (f64, f64), n: usize, form: Form) -> Self {
        let h = 0.5 * (alpha + beta);
        // [h − d, h + d] must contain [α, β] whatever was rounded.
        let half = (beta - h).max(h - alpha);
        let d = if alpha == beta { 0.0 } else { half.next_up() };
        let times = |x: f64, rows| Ball::exact(Mat::from_fn(rows, n, |i, j| if i == j { x } else { 0.0 }));
        let k = if d == 0.0 { 0 } else { n };
        let owner: Vec<usize> = (0..k).map(|i| if form == Form::Layer { 0 } else { i }).collect();
        let count = if form == Form::Layer { k.min(1) } else { k };
        let spread = times(1.0, k).transpose();
        Self {
            mean: times(h, n),
            spread,
            gain: times(d, k),
            gain_owner: owner.clone(),
            rest_owner: owner,
            count,
        }
    }

    fn groups(splits: &[Split], form: Form) -> Self {
        let (mut keep, mut rest) = (Vec::new(), Vec::new());
        let (mut keep_owner, mut owner) = (Vec::new(), Vec::new());
        let mut at = 0;
        for (g, split) in splits.iter().enumerate() {
            let n = split.basis.nrows();
            for c in 0..n {
                let (list, of) = match split.keeps(c) {
                    true => (&mut keep, &mut keep_owner),
                    false => (&mut rest, &mut owner),
                };
                list.push((at, g, c));
                of.push(g);
            }
            at += n;
        }
        // Column (start, group, c): column c of the group's basis, at the group's rows.
        let gather = |columns: &[(usize, usize, usize)]| {
            let pick = |m: &dyn Fn(&Split) -> &Mat<f64>| {
                Mat::from_fn(at, columns.len(), |i, j| {
                    let (start, g, c) = columns[j];
                    let m = m(&splits[g]);
                    i.checked_sub(start).filter(|k| *k < m.nrows()).map_or(0.0, |k| m[(k, c)])
                })
            };
            Ball { mid: pick(&|s| &s.basis.mid), rad: pick(&|s| &s.basis.rad) }
        };
        let (b, q) = (gather(&keep), gather(&rest));
        if form == Form::Paper {
            let all = q.beside(&b);
            owner.extend(keep_owner.iter().map(|g| g + splits.len()));
            let (mean, gain) = (Ball::zeros(at, at), all.transpose());
            return Self {
                mean,
                gain,
                spread: all,
                gain_owner: owner.clone(),
                rest_owner: owner,
                count: 2 * splits.len(),
            };
        }
        let (mean, gain) = (b.mul(&b.transpose()), q.transpose());
        Self { mean, gain, spread: q, gain_owner: owner.clone(), rest_owner: owner, count: splits.len() }
    }

    fn windows(windows: &[Vec<usize>], width: usize) -> Self {
        let entries: Vec<(usize, usize)> =
            windows.iter().enumerate().flat_map(|(w, inputs)| inputs.iter().map(move |i| (w, *i))).collect();
        let gain = Mat::from_fn(entries.len(), width, |k, j| f64::from(entries[k].1 == j));
        let n = windows.len();
        Self {
            mean: Ball::zeros(n, width),
            spread: Ball::identity(n),
            gain: Ball::exact(gain),
            gain_owner: entries.iter().map(|e| e.0).collect(),
            rest_owner: (0..n).collect(),
            count: n,
        }
    }
}

/// A group's orthogonal basis: the first column is special, either the only preserved direction
/// or the only one that is not.
#[derive(Clone)]
struct Split {
    basis: Ball,
    keeps_first: bool,
}

impl Split {
    fn preserving_the_sum(n: usize) -> Self {
        Self { basis: reflector(&vec![1.0; n]), keeps_first: true }
    }

    fn preserving_all_but(v: &[f64]) -> Self {
        Self { basis: reflector(v), keeps_first: false }
    }

    fn keeps(&self, column: usize) -> bool {
        (column == 0) == self.keeps_first
    }
}

/// The reflection that maps e₁ to ±v/|v|, hence with that as its first column: I − wwᵀ/(|v| |w₁|)
/// with w = v ± |v| e₁. Every entry takes fewer than 2n + 16 roundings of sums without
/// cancellation, but for the diagonal's last subtraction.
fn reflector(v: &[f64]) -> Ball {
    let n = v.len();
    // An exact power of two keeps squares in range.
    let scale = (-v.iter().fold(0.0, |a: f64, v| a.max(v.abs())).log2().round()).exp2();
    let v: Vec<f64> = v.iter().map(|v| v * scale).collect();
    let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let sign = if v[0] < 0.0 { -1.0 } else { 1.0 };
    let mut w = v;
    w[0] += sign * norm;
    let entry = |i: usize, j: usize| f64::from(i == j) - w[i] * w[j] / (norm * w[0].abs());
    let mid = Mat::from_fn(n, n, entry);
    let product = Mat::from_fn(n, n, |i, j| (w[i] * w[j] / (norm * w[0].abs())).abs() + f64::from(i == j));
    let rad = Ball::rounded(product, 2 * n + 16).rad;
    Ball { mid, rad }
}

/// One block in the coordinates (h, r) of its input and its remainder: the output is
/// `next·(h, r)`, and `Σ λ ((gain (h, r))² − (rest (h, r))²) ≥ 0`.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub next: Ball,
    pub gain: Ball,
    pub rest: Ball,
    pub gain_owner: Vec<usize>,
    pub rest_owner: Vec<usize>,
    /// Multipliers.
    pub count: usize,
    /// Length of r.
    pub inner: usize,
}

impl Step {
    /// The step of a block with an activation on an input of `width`, from the stored weights;
    /// `None` for an affine map. An error if an implicit layer has no provable solution.
    pub fn new(block: &Block, width: usize, form: Form) -> Result<Option<Self>, LipError> {
        let stacked = |h: Ball, r: Ball| h.beside(&r);
        let (sector, gain, next) = match block {
            Block::Affine(_) => return Ok(None),
            Block::Activation(act) => {
                let s = Sector::new(act, width, form);
                let gain = s.gain.clone();
                let next = stacked(s.mean.clone(), s.spread.clone());
                (s, gain, next)
            }
            Block::Residual { inner, activation, outer } => {
                let w = inner.ball();
                let s = Sector::new(activation, w.nrows(), form);
                let (mut mean, mut spread) = (s.mean.mul(&w), s.spread.clone());
                if let Some(outer) = outer {
                    let g = outer.ball();
                    (mean, spread) = (g.mul(&mean), g.mul(&spread));
                }
                let gain = s.gain.mul(&w);
                (s, gain, stacked(Ball::identity(width).add(&mean), spread))
            }
            Block::Equilibrium { input, state, activation } => {
                return Self::implicit(input.ball(), state, activation, form).map(Some);
            }
        };
        let inner = sector.rest_owner.len();
        let rows = gain.nrows();
        Ok(Some(Self {
            next,
            gain: stacked(gain, Ball::zeros(rows, inner)),
            rest: stacked(Ball::zeros(inner, width), Ball::identity(inner)),
            gain_owner: sector.gain_owner,
            rest_owner: sector.rest_owner,
            count: sector.count,
            inner,
        }))
    }

    /// z = (I − Wz M)⁻¹ (U h + Wz Q r), x = M z + Q r, with a proved enclosure of the inverse.
    fn implicit(u: Ball, wz: &Mat<f64>, activation: &Activation, form: Form) -> Result<Self, LipError> {
        let (n, width) = (wz.nrows(), u.ncols());
        let s = Sector::new(activation, n, form);
        let inner = s.rest_owner.len();
        let wz = Ball::exact(wz.clone());
        let inverse = Ball::identity(n).sub(&wz.mul(&s.mean)).inverse().ok_or(LipError::NotWellPosed)?;
        let z = inverse.mul(&u.beside(&wz.mul(&s.spread)));
        let r = Ball::zeros(inner, width).beside(&Ball::identity(inner));
        Ok(Self {
            next: s.mean.mul(&z).add(&s.spread.mul(&r)),
            gain: s.gain.mul(&z),
            rest: r,
            gain_owner: s.gain_owner,
            rest_owner: s.rest_owner,
            count: s.count,
            inner,
        })
    }
}
