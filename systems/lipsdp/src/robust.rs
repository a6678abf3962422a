//! From Lipschitz bounds to certificates of single classifications.

use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_linalg::dense::solve;

use crate::ball::{gamma, plus, sound_norm, times};
use crate::baselines::{constant, product, proved_norm};
use crate::certificate::{Multipliers, fingerprint};
use crate::constraint::Form;
use crate::essence::{essence, is_constant};
use crate::lmi::Lmi;
use crate::network::{Affine, Block};
use crate::{Activation, Bound, Certificate, LipError, LipSdp, Network, Norm, reduce, verify};

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
/// As [`LipSdp::certify`]; a certificate of another network.
pub fn pair_bound(
    settings: &LipSdp,
    net: &Network,
    whole: &Certificate,
    pairs: Pairs,
    (k, j): (usize, usize),
) -> Result<f64, LipError> {
    let this = fingerprint(net);
    if whole.network != this {
        return Err(LipError::OtherNetwork { of: whole.network.clone(), this });
    }
    let root2 = times(2f64.sqrt().next_up(), whole.bound);
    let pair = net.pair(k, j)?;
    let direct = || settings.certify(&pair).map(|c| c.bound);
    let found = match (&whole.multipliers, pairs) {
        _ if is_constant(&pair) => 0.0,
        _ if settings.norm != Norm::L2 => return direct(),
        (Some(multipliers), Pairs::Cheap) if whole.method.parse::<Bound>()?.form() == Form::Tight => {
            // The multipliers are those of the network's essence.
            let core = essence(net, Form::Tight, true)?.pair(k, j)?;
            cheap(&core, multipliers)?.unwrap_or(root2)
        }
        (_, Pairs::Cheap) if whole.multipliers.is_some() => root2,
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
    /// Per sample: the class of the largest output.
    pub predictions: Vec<usize>,
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
/// taken off.
///
/// # Errors
/// Sizes that do not fit; a network whose values are not known.
pub fn certify_samples(
    net: &Network,
    pairs: &Mat<f64>,
    samples: &[Vec<f64>],
    labels: &[usize],
) -> Result<Robustness, LipError> {
    let m = net.outputs();
    labelled(net, samples, labels)?;
    if (pairs.nrows(), pairs.ncols()) != (m, m) {
        let found = format!("{} × {}", pairs.nrows(), pairs.ncols());
        return Err(LipError::shape("the bounds of pairs", found, format!("{m} × {m}")));
    }
    let rounding = Rounding::of(net);
    let one = |(x, &label): (&Vec<f64>, &usize)| {
        let (f, error) = rounding.forward(net, x)?;
        let slack = 2.0 * error;
        let radius = |j: usize| ((f[label] - f[j] - slack) / pairs[(label, j)]).next_down().max(0.0);
        let correct = (0..f.len()).all(|j| j == label || f[label] > f[j]);
        let least = (0..f.len()).filter(|j| *j != label).map(radius).fold(f64::INFINITY, f64::min);
        let answer = (0..f.len()).max_by(|a, b| f[*a].total_cmp(&f[*b])).unwrap_or(label);
        Ok((correct, if correct { least } else { 0.0 }, if correct { label } else { answer }))
    };
    let all: Vec<(bool, f64, usize)> =
        samples.par_iter().zip(labels).map(one).collect::<Result<_, LipError>>()?;
    let accuracy = all.iter().filter(|s| s.0).count() as f64 / all.len().max(1) as f64;
    let (radii, predictions) = all.into_iter().map(|s| (s.1, s.2)).unzip();
    Ok(Robustness { accuracy, radii, predictions })
}

/// Refuses samples without a label of their own, or with one that the network has no output for.
fn labelled(net: &Network, samples: &[Vec<f64>], labels: &[usize]) -> Result<(), LipError> {
    if samples.len() != labels.len() {
        return Err(LipError::shape("the labels", labels.len(), format!("{}, one a sample", samples.len())));
    }
    samples.iter().try_for_each(|x| net.reads(x))?;
    match labels.iter().find(|label| **label >= net.outputs()) {
        Some(label) => {
            Err(LipError::shape("the labels", label, format!("one of {} outputs, from 0", net.outputs())))
        }
        None => Ok(()),
    }
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

    /// Outputs, and a bound of the error of each: what is computed at x differs from real arithmetic by
    /// at most this. Infinite for an equilibrium that the norms do not show to be one.
    fn forward(&self, net: &Network, x: &[f64]) -> Result<(Vec<f64>, f64), LipError> {
        let mut h = x.to_vec();
        let mut error = 0.0;
        for (block, norm) in net.blocks().iter().zip(&self.norms) {
            let next = block.value(&h)?;
            error = plus(times(error, *norm), own_error(block, &h, &next)?);
            h = next;
        }
        Ok((h, error))
    }
}

fn two(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Error of W h + b.
fn affine_error(a: &Affine, h: &[f64]) -> f64 {
    let own = 1.01 * gamma(h.len() + 3) * (a.weight.norm_l2() * two(h) + two(&a.bias));
    // What is meant may differ from what is stored.
    a.radii.as_ref().map_or(own, |r| own + 1.01 * (r.weight.norm_l2() * two(h) + two(&r.bias)))
}

/// Rounding of φ(z): elementary functions are good to a few units in the last place of what they read or give.
fn activation_error(act: &Activation, z: &[f64], x: &[f64]) -> f64 {
    16.0 * gamma(act.group() + 4) * (constant(act, Norm::L2).max(1.0) * two(z) + two(x) + 1.0)
}

/// Rounding of one block at the h that it reads, where it gives `next`.
fn own_error(block: &Block, h: &[f64], next: &[f64]) -> Result<f64, LipError> {
    Ok(match block {
        Block::Affine(a) => affine_error(a, h),
        Block::Activation(act) => activation_error(act, h, next),
        Block::Residual { inner, activation, outer } => {
            let z = inner.at(h);
            let x = activation.value(&z)?;
            let hidden = plus(
                times(constant(activation, Norm::L2), affine_error(inner, h)),
                activation_error(activation, &z, &x),
            );
            let branch = match outer {
                None => hidden,
                Some(outer) => plus(times(hidden, outer.weight.norm_l2() * 1.01), affine_error(outer, &x)),
            };
            plus(branch, gamma(3) * (two(h) + two(next)))
        }
        // The iteration stops where a step moves no neuron by more than 1e-13 of the state's size: that and the rounding of
        // one evaluation, at the state found and with the bias, over 1 − ‖φ‖‖Wz‖.
        Block::Equilibrium { input, state, activation } => {
            let slope = constant(activation, Norm::L2);
            let left = 1.0 - times(slope, proved_norm(state));
            if left <= 0.0 {
                return Ok(f64::INFINITY);
            }
            let largest = next.iter().fold(0.0, |a: f64, z| a.max(z.abs()));
            let moved = 2e-13 * (next.len() as f64).sqrt() * (1.0 + largest);
            let drive = affine_error(input, h);
            let feedback = affine_error(&Affine::linear(state.clone()), next);
            let read = input.weight.norm_l2() * two(h) + two(&input.bias) + state.norm_l2() * two(next);
            let evaluation = times(slope, plus(drive, plus(feedback, gamma(4) * read)));
            1.01 * plus(moved, plus(evaluation, activation_error(activation, &[1.01 * read], next))) / left
        }
    })
}

/// Share of samples that [`attack`] does not change: an upper bound of what can be certified.
///
/// # Errors
/// As [`attack`].
pub fn attacked_accuracy(
    net: &Network,
    norm: Norm,
    samples: &[Vec<f64>],
    labels: &[usize],
    eps: f64,
    steps: usize,
) -> Result<f64, LipError> {
    let survived = attack(net, norm, samples, labels, eps, steps)?;
    Ok(survived.iter().filter(|s| **s).count() as f64 / survived.len().max(1) as f64)
}

/// Which samples keep their label under projected gradient ascent on the margin within `eps` (ℓ2 or ℓ∞). At a kink
/// it follows the derivative of one side.
///
/// # Errors
/// Sizes that do not fit; a network whose values are not known.
pub fn attack(
    net: &Network,
    norm: Norm,
    samples: &[Vec<f64>],
    labels: &[usize],
    eps: f64,
    steps: usize,
) -> Result<Vec<bool>, LipError> {
    labelled(net, samples, labels)?;
    let survives = |(x, &label): (&Vec<f64>, &usize)| -> Result<bool, LipError> {
        let rate = 2.5 * eps / steps.max(1) as f64;
        let mut change = vec![0.0; x.len()];
        for step in 0..=steps {
            let at: Vec<f64> = x.iter().zip(&change).map(|(x, d)| x + d).collect();
            let derivative = net.derivative(&at)?;
            let f = derivative.value();
            let others = (0..f.len()).filter(|j| *j != label);
            let Some(rival) = others.max_by(|a, b| f[*a].total_cmp(&f[*b])) else { return Ok(true) };
            if f[rival] >= f[label] {
                return Ok(false);
            }
            if step == steps {
                break;
            }
            let mut margin = vec![0.0; f.len()];
            (margin[rival], margin[label]) = (1.0, -1.0);
            let g = derivative.back(&margin);
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
        Ok(true)
    };
    samples.par_iter().zip(labels).map(survives).collect()
}
