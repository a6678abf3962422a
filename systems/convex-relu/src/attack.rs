//! Attacks on a network with one output within |δ_j| ≤ ε_j, and what can be proved against all.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use thalweg_core::Seed;

use crate::samples::dot;
use crate::{Loss, Network, Samples};

/// A box around every sample, and the loss that the attacker ascends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// ε_j ≥ 0 by feature, in the units of the samples; 0 for the constant and for masked features.
    pub eps: Vec<f64>,
    /// The loss; with margin losses the attack also seeks a wrong sign.
    pub loss: Loss,
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

    /// One step to the corner of the box that the gradient's signs point at (fast gradient sign
    /// method). Where the network is affine in the box, this is the worst case.
    pub fn fgsm(&self, network: &Network, x: &[f64], y: f64) -> Vec<f64> {
        let sense = self.sense(network.predict(x)[0], y);
        let gradient = gradient(network, x);
        let corner = |((x, g), eps): ((&f64, &f64), &f64)| x + sense * eps * sign(*g);
        x.iter().zip(&gradient).zip(&self.eps).map(corner).collect()
    }

    /// `steps` ascent steps of ε/10 with projection on the box, from the sample and from a random
    /// point of the box; the point of largest loss of all seen.
    pub fn pgd(
        &self,
        network: &Network,
        x: &[f64],
        y: f64,
        steps: u32,
        rng: &mut impl rand::Rng,
    ) -> Vec<f64> {
        let loss = |x: &[f64]| self.loss.one(network.predict(x)[0], y);
        let random: Vec<f64> = self.eps.iter().map(|e| e * rng.random_range(-1.0..=1.0)).collect();
        let mut best = (loss(x), x.to_vec());
        for start in [vec![0.0; x.len()], random] {
            let mut moved: Vec<f64> = x.iter().zip(&start).map(|(x, s)| x + s).collect();
            for _ in 0..steps {
                let sense = self.sense(network.predict(&moved)[0], y);
                let gradient = gradient(network, &moved);
                for j in 0..x.len() {
                    let step = moved[j] + 0.1 * self.eps[j] * sense * sign(gradient[j]);
                    moved[j] = step.clamp(x[j] - self.eps[j], x[j] + self.eps[j]);
                }
                let now = loss(&moved);
                if now > best.0 {
                    best = (now, moved.clone());
                }
            }
        }
        best.1
    }

    /// [`Attack::fgsm`] on every sample.
    pub fn fgsm_all(&self, network: &Network, samples: &Samples, y: &[f64]) -> Attacked {
        let points = samples.rows().zip(y).map(|(x, y)| self.fgsm(network, x, *y));
        self.score(network, points, samples, y)
    }

    /// [`Attack::pgd`] on every sample; FGSM's point is kept where it is worse, so that the accuracy
    /// is never above FGSM's.
    pub fn pgd_all(
        &self,
        network: &Network,
        samples: &Samples,
        y: &[f64],
        steps: u32,
        seed: Seed,
    ) -> Attacked {
        let points = samples.rows().zip(y).enumerate().map(|(k, (x, y))| {
            let pgd = self.pgd(network, x, *y, steps, &mut seed.stream("attack", k as u64));
            let fgsm = self.fgsm(network, x, *y);
            let loss = |x: &[f64]| self.loss.one(network.predict(x)[0], *y);
            let wrong = |x: &[f64]| (network.predict(x)[0] >= 0.0) != (*y > 0.0);
            let order = |x: &[f64]| (wrong(x), loss(x));
            if order(&fgsm) > order(&pgd) { fgsm } else { pgd }
        });
        self.score(network, points, samples, y)
    }

    fn score(
        &self,
        network: &Network,
        points: impl Iterator<Item = Vec<f64>>,
        samples: &Samples,
        y: &[f64],
    ) -> Attacked {
        let (mut loss, mut right) = (0.0, 0);
        for ((moved, x), y) in points.zip(samples.rows()).zip(y) {
            let f = network.predict(&moved)[0];
            loss += self.loss.one(f, *y);
            // An attack that only helps is not made.
            let clean = (network.predict(x)[0] >= 0.0) == (*y > 0.0);
            right += usize::from(clean && (f >= 0.0) == (*y > 0.0));
        }
        Attacked { loss, accuracy: right as f64 / samples.n() as f64 }
    }

    /// Share of the samples whose sign no point of the box can change, by bounding every neuron on
    /// the box: sound for any network, and never above what attacks leave.
    pub fn certified_accuracy(&self, network: &Network, samples: &Samples, y: &[f64]) -> f64 {
        let right = |(x, y): &(&[f64], &f64)| {
            let (low, high) = self.bounds(network, x);
            if **y > 0.0 { low >= 0.0 } else { high < 0.0 }
        };
        samples.rows().zip(y).filter(right).count() as f64 / samples.n() as f64
    }

    /// Bounds of f on the box around x, neuron by neuron.
    pub fn bounds(&self, network: &Network, x: &[f64]) -> (f64, f64) {
        let radius = |u: &[f64]| u.iter().zip(&self.eps).map(|(u, e)| e * u.abs()).sum::<f64>();
        let (mut low, mut high) = (0.0, 0.0);
        if let Some(c) = &network.linear_part {
            (low, high) = (dot(c, x) - radius(c), dot(c, x) + radius(c));
        }
        for neuron in &network.neurons {
            let (h, e) = (dot(&neuron.weights, x), radius(&neuron.weights));
            let ends = [(h - e).max(0.0) * neuron.scale, (h + e).max(0.0) * neuron.scale];
            low += ends[0].min(ends[1]);
            high += ends[0].max(ends[1]);
        }
        (low, high)
    }

    /// Σ of the worst losses in the boxes of a network whose neurons keep their signs there (a
    /// network of the robust program on its training samples): closed form.
    pub fn worst_case(&self, network: &Network, samples: &Samples, y: &[f64]) -> f64 {
        let one = |(x, y): (&[f64], &f64)| {
            let (f, p) = (network.predict(x)[0], gradient(network, x));
            let reach: f64 = p.iter().zip(&self.eps).map(|(p, e)| e * p.abs()).sum();
            self.loss.one(f + self.sense(f, *y) * reach, *y)
        };
        samples.rows().zip(y).map(one).sum()
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

/// ∇f(x) of the only output.
pub fn gradient(network: &Network, x: &[f64]) -> Vec<f64> {
    let mut g = network.linear_part.clone().unwrap_or_else(|| vec![0.0; x.len()]);
    for neuron in network.neurons.iter().filter(|n| dot(&n.weights, x) > 0.0) {
        crate::samples::add(&mut g, neuron.scale, &neuron.weights);
    }
    g
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}
