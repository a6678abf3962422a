//! Attacks on a network within |δ_j| ≤ ε_j, and what can be proved against all.

use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::Seed;

use crate::network::largest;
use crate::samples::{add, dot};
use crate::{ConvexError, Loss, Network, Samples};

/// A box around every sample, and the loss that the attacker of a single output ascends. With several outputs,
/// one per class, it ascends the margin max_{o≠c} f_o − f_c over the class c.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// ε_j ≥ 0 by feature, in the units of the samples; 0 for the constant and for masked features.
    pub eps: Vec<f64>,
    /// The loss; with margin losses the attack also seeks a wrong sign.
    pub loss: Loss,
}

/// Where the attacker stands: the larger `harm`, the better for it.
struct View {
    harm: f64,
    wrong: bool,
    /// Σ ℓ over the outputs.
    loss: f64,
}

impl Attack {
    /// Which way f should move: against the label, or away from the target for the squared loss.
    fn sense(&self, f: f64, y: f64) -> f64 {
        match self.loss {
            Loss::Squared if f >= y => 1.0,
            Loss::Squared => -1.0,
            Loss::Hinge | Loss::Bce => -y,
        }
    }

    fn view(&self, network: &Network, x: &[f64], y: &[f64]) -> View {
        let f = network.outputs_at(x);
        let loss = self.loss.value(&f, y);
        match network.outputs {
            1 => View { harm: loss, wrong: (f[0] >= 0.0) != (y[0] > 0.0), loss },
            outputs => {
                let own = largest(outputs, |o| y[o]);
                View { harm: f[rival(&f, own)] - f[own], wrong: largest(outputs, |o| f[o]) != own, loss }
            }
        }
    }

    /// The direction in which the harm grows fastest, up to its length.
    fn uphill(&self, network: &Network, x: &[f64], y: &[f64]) -> Vec<f64> {
        let f = network.outputs_at(x);
        if network.outputs == 1 {
            let sense = self.sense(f[0], y[0]);
            return gradient(network, x, 0).into_iter().map(|g| sense * g).collect();
        }
        let own = largest(network.outputs, |o| y[o]);
        let mut up = gradient(network, x, rival(&f, own));
        add(&mut up, -1.0, &gradient(network, x, own));
        up
    }

    /// One step to the corner of the box that the gradient's signs point at (fast gradient sign
    /// method). Where a network of one output is affine in the box, this is the worst case.
    fn fgsm(&self, network: &Network, x: &[f64], y: &[f64]) -> Vec<f64> {
        let up = self.uphill(network, x, y);
        x.iter().zip(&up).zip(&self.eps).map(|((x, g), eps)| x + eps * sign(*g)).collect()
    }

    /// `steps` ascent steps of ε/10 with projection on the box, from the sample and from a random
    /// point of the box; the point of largest harm of all seen.
    pub(crate) fn pgd(
        &self,
        network: &Network,
        x: &[f64],
        y: &[f64],
        steps: u32,
        rng: &mut impl rand::Rng,
    ) -> Vec<f64> {
        let harm = |x: &[f64]| self.view(network, x, y).harm;
        let random: Vec<f64> = self.eps.iter().map(|e| e * rng.random_range(-1.0..=1.0)).collect();
        let mut best = (harm(x), x.to_vec());
        for start in [vec![0.0; x.len()], random] {
            let mut moved: Vec<f64> = x.iter().zip(&start).map(|(x, s)| x + s).collect();
            for _ in 0..steps {
                let up = self.uphill(network, &moved, y);
                for j in 0..x.len() {
                    let step = moved[j] + 0.1 * self.eps[j] * sign(up[j]);
                    moved[j] = step.clamp(x[j] - self.eps[j], x[j] + self.eps[j]);
                }
                let now = harm(&moved);
                if now > best.0 {
                    best = (now, moved.clone());
                }
            }
        }
        best.1
    }

    /// FGSM on every sample; `y` `[n, outputs]` column-major.
    ///
    /// # Errors
    /// Sizes that do not belong together.
    pub fn fgsm_all(&self, network: &Network, samples: &Samples, y: &[f64]) -> Result<Attacked, ConvexError> {
        self.score(network, samples, y, |_, x, y| self.fgsm(network, x, y))
    }

    /// PGD of so many steps on every sample; FGSM's point is kept where it is worse, so that the accuracy
    /// is never above FGSM's.
    ///
    /// # Errors
    /// Sizes that do not belong together.
    pub fn pgd_all(
        &self,
        network: &Network,
        samples: &Samples,
        y: &[f64],
        steps: u32,
        seed: Seed,
    ) -> Result<Attacked, ConvexError> {
        self.score(network, samples, y, |k, x, y| {
            let pgd = self.pgd(network, x, y, steps, &mut seed.stream("attack", k as u64));
            let fgsm = self.fgsm(network, x, y);
            let order = |x: &[f64]| {
                let view = self.view(network, x, y);
                (view.wrong, view.harm)
            };
            if order(&fgsm) > order(&pgd) { fgsm } else { pgd }
        })
    }

    fn score(
        &self,
        network: &Network,
        samples: &Samples,
        y: &[f64],
        point: impl Fn(usize, &[f64], &[f64]) -> Vec<f64> + Sync,
    ) -> Result<Attacked, ConvexError> {
        self.check(network, samples, y)?;
        let n = samples.n();
        let one = |k: usize| {
            let (x, y) = (samples.row(k), targets_of(y, n, k));
            let attacked = self.view(network, &point(k, x, &y), &y);
            // An attack that only helps is not made.
            (attacked.loss, !self.view(network, x, &y).wrong && !attacked.wrong)
        };
        let all: Vec<(f64, bool)> = (0..n).into_par_iter().map(one).collect();
        let right = all.iter().filter(|(_, right)| *right).count();
        Ok(Attacked { loss: all.iter().map(|(loss, _)| loss).sum(), accuracy: right as f64 / n as f64 })
    }

    /// Share of the samples whose class no point of the box can change, by bounding every neuron on
    /// the box: sound for any network, and never above what attacks leave.
    ///
    /// # Errors
    /// Sizes that do not belong together.
    pub fn certified_accuracy(
        &self,
        network: &Network,
        samples: &Samples,
        y: &[f64],
    ) -> Result<f64, ConvexError> {
        self.check(network, samples, y)?;
        let right = |(k, x): &(usize, &[f64])| {
            let (y, bounds) = (targets_of(y, samples.n(), *k), self.bounds(network, x));
            match bounds[..] {
                [(low, high)] => {
                    if y[0] > 0.0 {
                        low >= 0.0
                    } else {
                        high < 0.0
                    }
                }
                _ => {
                    let own = largest(bounds.len(), |o| y[o]);
                    (0..bounds.len()).all(|o| o == own || bounds[o].1 < bounds[own].0)
                }
            }
        };
        Ok(samples.rows().enumerate().filter(right).count() as f64 / samples.n() as f64)
    }

    /// Bounds of each output on the box around x, neuron by neuron.
    fn bounds(&self, network: &Network, x: &[f64]) -> Vec<(f64, f64)> {
        let radius = |u: &[f64]| u.iter().zip(&self.eps).map(|(u, e)| e * u.abs()).sum::<f64>();
        let mut bounds = vec![(0.0, 0.0); network.outputs];
        if let Some(c) = &network.linear_part {
            let columns = c.chunks(x.len()).map(|c| (dot(c, x) - radius(c), dot(c, x) + radius(c)));
            bounds = columns.collect();
        }
        for neuron in &network.neurons {
            let (h, e) = (dot(&neuron.weights, x), radius(&neuron.weights));
            let ends = [(h - e).max(0.0) * neuron.scale, (h + e).max(0.0) * neuron.scale];
            let (low, high) = &mut bounds[neuron.output];
            *low += ends[0].min(ends[1]);
            *high += ends[0].max(ends[1]);
        }
        bounds
    }

    /// Σ of the worst losses in the boxes of a network of one output whose neurons keep their signs there (a
    /// network of the robust program on its training samples): closed form.
    ///
    /// # Errors
    /// Sizes that do not belong together, several outputs.
    pub fn worst_case(&self, network: &Network, samples: &Samples, y: &[f64]) -> Result<f64, ConvexError> {
        self.check(network, samples, y)?;
        ConvexError::check("outputs of a network with a worst case", network.outputs, 1)?;
        let one = |(x, y): (&[f64], &f64)| {
            let (f, p) = (network.outputs_at(x)[0], gradient(network, x, 0));
            let reach: f64 = p.iter().zip(&self.eps).map(|(p, e)| e * p.abs()).sum();
            self.loss.one(f + self.sense(f, *y) * reach, *y)
        };
        Ok(samples.rows().zip(y).map(one).sum())
    }

    fn check(&self, network: &Network, samples: &Samples, y: &[f64]) -> Result<(), ConvexError> {
        network.check(samples.d())?;
        ConvexError::check("entries of eps", self.eps.len(), samples.d())?;
        ConvexError::check("targets", y.len(), samples.n() * network.outputs)
    }
}

/// What an attack leaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attacked {
    /// Σ ℓ at the attacked points.
    pub loss: f64,
    /// Share of the samples that are right clean and attacked.
    pub accuracy: f64,
}

/// ∇f_o(x).
fn gradient(network: &Network, x: &[f64], output: usize) -> Vec<f64> {
    let linear = network.linear_part.as_ref().map(|c| c[output * x.len()..][..x.len()].to_vec());
    let mut g = linear.unwrap_or_else(|| vec![0.0; x.len()]);
    for neuron in network.neurons.iter().filter(|n| n.output == output && dot(&n.weights, x) > 0.0) {
        add(&mut g, neuron.scale, &neuron.weights);
    }
    g
}

/// The largest output but that of the own class.
fn rival(f: &[f64], own: usize) -> usize {
    largest(f.len(), |o| if o == own { f64::NEG_INFINITY } else { f[o] })
}

/// Targets of sample `k`, of a column-major matrix.
fn targets_of(y: &[f64], n: usize, k: usize) -> Vec<f64> {
    y.iter().copied().skip(k).step_by(n).collect()
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}
