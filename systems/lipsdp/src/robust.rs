//! From Lipschitz bounds to certificates of single classifications.

use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_linalg::dense::solve;

use crate::ball::{gamma, plus, sound_norm, times};
use crate::baselines::{constant, product, proved_norm};
use crate::certificate::Multipliers;
use crate::constraint::Form;
use crate::lmi::Lmi;
use crate::network::{Affine, Block};
use crate::{Certificate, LipError, LipSdp, Network, Norm, reduce, verify};

/// How the bounds L_kj of differences of two outputs are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairs {
    /// From the multipliers of the whole network: one factorisation and one proof a pair. Default
    /// for ℓ2; never above √2·L.
    #[default]
    Cheap,
    /// A program of its own for each pair.
    Program,
}

/// A bound L_kj of the difference of outputs `k` and `j`.
///
/// `whole` is the certificate of the network in ℓ2; ℓ∞ always takes a program of its own.
///
/// # Errors
/// As [`LipSdp::certify`].
pub fn pair_bound(
    settings: &LipSdp,
    net: &Network,
    whole: &Certificate,
    pairs: Pairs,
    (k, j): (usize, usize),
) -> Result<f64, LipError> {
    let root2 = times(2f64.sqrt().next_up(), whole.bound);
    let pair = net.pair(k, j)?;
    let direct = || settings.certify(&pair).map(|c| c.bound);
    let found = match (&whole.multipliers, pairs) {
        _ if settings.norm != Norm::L2 => return direct(),
        (Some(multipliers), Pairs::Cheap) => cheap(&pair, multipliers)?.unwrap_or(root2),
        _ => direct()?,
    };
    Ok(found.min(root2))
}

/// All pairs (k, j) of outputs with j < k.
pub fn all_pairs(outputs: usize) -> Vec<(usize, usize)> {
    (0..outputs).flat_map(|k| (0..k).map(move |j| (k, j))).collect()
}

/// The bounds of all pairs, symmetric, `[classes, classes]`, 0 on the diagonal.
///
/// # Errors
/// As [`pair_bound`].
pub fn pair_bounds(
    settings: &LipSdp,
    net: &Network,
    whole: &Certificate,
    pairs: Pairs,
) -> Result<Mat<f64>, LipError> {
    let m = net.outputs();
    let list = all_pairs(m);
    let bound = |pair: &(usize, usize)| pair_bound(settings, net, whole, pairs, *pair);
    let found: Vec<f64> = list.par_iter().map(bound).collect::<Result<_, _>>()?;
    let mut all = Mat::zeros(m, m);
    for ((k, j), l) in list.into_iter().zip(found) {
        all[(k, j)] = l;
        all[(j, k)] = l;
    }
    Ok(all)
}

/// With M̃(p) the inequality without its output term and y the pair's row, s·p is feasible for the
/// pair exactly from s = yᵀ M̃⁻¹ y on; the rest is the usual proof.
fn cheap(pair: &Network, whole: &Multipliers) -> Result<Option<f64>, LipError> {
    let small = reduce::merge_only(pair)?;
    let (lmi, layout) = Lmi::new(&small, Norm::L2, Form::Tight)?;
    let [part] = &lmi.parts[..] else { return Ok(None) };
    if whole.layers.iter().map(Vec::len).ne(layout.layers.iter().copied()) {
        return Ok(None);
    }
    let n = part.side();
    let c = |i: usize| -part.constant[(i, i)];
    let top = (0..n).max_by(|a, b| c(*a).total_cmp(&c(*b))).unwrap_or(0);
    let y = Mat::from_fn(n, 1, |i, _| -part.constant[(i, top)] / c(top).sqrt());
    let Some(x) = solve(part.combine(&whole.flat()), &y) else { return Ok(None) };
    let s = (0..n).map(|i| x[(i, 0)] * y[(i, 0)]).sum::<f64>() * (1.0 + 1e-9);
    let scaled = |p: &Vec<f64>| p.iter().map(|p| p * s).collect();
    let multipliers = Multipliers {
        input: scaled(&whole.input),
        output: Vec::new(),
        layers: whole.layers.iter().map(scaled).collect(),
    };
    Ok(verify::prove(pair, Norm::L2, Form::Tight, &multipliers).ok().map(|p| p.bound))
}

/// What is certified of a labelled set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Robustness {
    /// Share of samples classified correctly.
    pub accuracy: f64,
    /// Per sample: no change of a smaller norm changes its (correct) class; 0 if it is wrong.
    pub radii: Vec<f64>,
}

impl Robustness {
    /// Share of samples certified against every change of norm at most `eps`.
    pub fn certified(&self, eps: f64) -> f64 {
        // A radius of 0 certifies nothing, not even at 0.
        let safe = self.radii.iter().filter(|r| **r > eps || eps == 0.0 && **r > 0.0).count();
        safe as f64 / self.radii.len().max(1) as f64
    }
}

/// Certified radii `min_j (f_k − f_j)/L_kj` of samples with labels, with the margins' rounding
/// taken off. `None` if the network's values are not known.
pub fn certify_samples(
    net: &Network,
    pairs: &Mat<f64>,
    samples: &[Vec<f64>],
    labels: &[usize],
) -> Option<Robustness> {
    let rounding = Rounding::of(net);
    let one = |(x, &label): (&Vec<f64>, &usize)| {
        let f = net.forward(x)?;
        let slack = 2.0 * rounding.error(net, x)?;
        let radius = |j: usize| ((f[label] - f[j] - slack) / pairs[(label, j)]).next_down().max(0.0);
        let correct = (0..f.len()).all(|j| j == label || f[label] > f[j]);
        let least = (0..f.len()).filter(|j| *j != label).map(radius).fold(f64::INFINITY, f64::min);
        Some((correct, if correct { least } else { 0.0 }))
    };
    let all: Vec<(bool, f64)> = samples.par_iter().zip(labels).map(one).collect::<Option<_>>()?;
    let accuracy = all.iter().filter(|s| s.0).count() as f64 / all.len().max(1) as f64;
    Some(Robustness { accuracy, radii: all.into_iter().map(|s| s.1).collect() })
}

/// Norms for bounding the rounding of a forward pass.
struct Rounding {
    norms: Vec<f64>,
}

impl Rounding {
    fn of(net: &Network) -> Self {
        let factor = |b: &Block| {
            let single =
                |block: Block, n: usize| Network::new(n, vec![block]).and_then(|n| product(&n, Norm::L2));
            match b {
                Block::Affine(a) => sound_norm(&a.ball()),
                Block::Activation(act) => constant(act, Norm::L2),
                Block::Residual { inner: w, .. } | Block::Equilibrium { input: w, .. } => {
                    single(b.clone(), w.weight.ncols()).unwrap_or(f64::INFINITY)
                }
            }
        };
        Self { norms: net.blocks().iter().map(factor).collect() }
    }

    /// Bound of the error of every output: what is computed at x differs from real arithmetic by
    /// at most this. Infinite for an equilibrium that the norms do not show to be one.
    fn error(&self, net: &Network, x: &[f64]) -> Option<f64> {
        let two = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let size = |a: &Affine, h: &[f64]| {
            let k = h.len() + 3;
            let own = 1.01 * gamma(k) * (a.weight.norm_l2() * two(h) + two(&a.bias));
            a.radii.as_ref().map_or(own, |r| own + 1.01 * (r.weight.norm_l2() * two(h) + two(&r.bias)))
        };
        let mut h = x.to_vec();
        let mut error = 0.0;
        for (block, norm) in net.blocks().iter().zip(&self.norms) {
            let own = match block {
                Block::Affine(a) => size(a, &h),
                // Elementary functions are good to a few units in the last place.
                Block::Activation(act) => 16.0 * gamma(act.group() + 4) * (two(&h) + 1.0),
                Block::Residual { inner, outer, .. } => {
                    let z = plus(size(inner, &h), 16.0 * gamma(inner.weight.nrows()) * (two(&h) + 1.0));
                    let back = outer.as_ref().map_or(1.0, |o| o.weight.norm_l2());
                    z * back * 4.0 + gamma(8 + 2 * h.len()) * two(&h) * (1.0 + back * inner.weight.norm_l2())
                }
                // The iteration stops at 1e-13 of the state's size.
                Block::Equilibrium { state, .. } => {
                    let left = 1.0 - proved_norm(state);
                    if left > 0.0 { 1e-11 * (two(&h) * norm + 1.0) / left } else { f64::INFINITY }
                }
            };
            error = plus(times(error, *norm), own);
            h = Network::new(h.len(), vec![block.clone()]).ok()?.forward(&h)?;
        }
        Some(error)
    }
}

/// Share of samples that projected gradient ascent on the margin does not change within `eps`
/// (ℓ2 or ℓ∞): an upper bound of what can be certified. `None` if values are not known.
pub fn attacked_accuracy(
    net: &Network,
    norm: Norm,
    samples: &[Vec<f64>],
    labels: &[usize],
    eps: f64,
    steps: usize,
) -> Option<f64> {
    let survives = |(x, &label): (&Vec<f64>, &usize)| -> Option<bool> {
        let rate = 2.5 * eps / steps.max(1) as f64;
        let mut change = vec![0.0; x.len()];
        for step in 0..=steps {
            let at: Vec<f64> = x.iter().zip(&change).map(|(x, d)| x + d).collect();
            let f = net.forward(&at)?;
            let others = (0..f.len()).filter(|j| *j != label);
            let rival = others.max_by(|a, b| f[*a].total_cmp(&f[*b]))?;
            if f[rival] >= f[label] {
                return Some(false);
            }
            // At a kink there is no gradient; a nudge leaves it.
            let Some((_, j)) = net.jacobian(&at) else {
                change.iter_mut().zip(0..).for_each(|(d, i)| *d += 1e-7 * f64::from(1 + i % 3));
                continue;
            };
            if step == steps {
                break;
            }
            let g: Vec<f64> = (0..x.len()).map(|c| j[(rival, c)] - j[(label, c)]).collect();
            let two = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
            match norm {
                Norm::L2 => {
                    let length = two(&g).max(f64::MIN_POSITIVE);
                    change.iter_mut().zip(&g).for_each(|(d, g)| *d += rate * g / length);
                    let shrink = (eps / two(&change).max(f64::MIN_POSITIVE)).min(1.0);
                    change.iter_mut().for_each(|d| *d *= shrink);
                }
                _ => change
                    .iter_mut()
                    .zip(&g)
                    .for_each(|(d, g)| *d = (*d + rate * g.signum()).clamp(-eps, eps)),
            }
        }
        Some(true)
    };
    let all: Vec<bool> = samples.par_iter().zip(labels).map(survives).collect::<Option<_>>()?;
    Some(all.iter().filter(|s| **s).count() as f64 / all.len().max(1) as f64)
}
