//! Hopping whose cloud learns its shape: covariance-matrix adaptation (CMA-ES).
//!
//! N. Hansen, *The CMA Evolution Strategy: A Tutorial*, arXiv:1604.00772. The consensus is weighted by
//! rank instead of exp(−αf), and the cloud is N(c, σ²C) instead of N(c, σ̃²I).

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed, normal};
use thalweg_linalg::vector::dot_in_turn as dot;

use super::Diagnostics;
use crate::frame::Frame;
use crate::search::Ended;
use crate::{CboError, Space, Swarm};

/// Hopping with adapted covariance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adaptive {
    /// Points per cloud; 0: 4 + 3 ln d.
    pub particles: usize,
    /// First standard deviation relative to the sides of the box.
    pub width: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { particles: 0, width: 0.2 }
    }
}

impl Adaptive {
    pub(crate) fn count(&self, dim: usize) -> usize {
        if self.particles > 0 { self.particles } else { 4 + (3.0 * (dim as f64).ln()) as usize }
    }

    /// Names the bad field of the method or the space.
    ///
    /// # Errors
    /// A field outside its range.
    pub fn check(&self, space: &Space) -> Result<(), CboError> {
        self.ranges()?;
        space.validate()
    }

    /// The cloud before its first step, around a point of the start. The settings must be valid.
    pub fn swarm(&self, space: &Space, seed: Seed) -> AdaptiveSwarm {
        let mut rng = seed.stream("adaptive", 0);
        let mut mean = vec![0.0; space.dim];
        space.sample(&mut rng, &mut mean);
        self.around(space, mean, rng)
    }

    /// The cloud around `mean`.
    pub(crate) fn around(&self, space: &Space, mean: Vec<f64>, rng: ChaCha8Rng) -> AdaptiveSwarm {
        AdaptiveSwarm::new(self.count(space.dim), self.width, space.clone(), mean, rng)
    }
}

search!(Adaptive, "adaptive", AdaptiveSwarm);

impl Adaptive {
    /// Names the first field outside its range.
    fn ranges(&self) -> Result<(), Invalid> {
        let legal = self.particles == 0 || self.particles > 3;
        Invalid::check(legal, "particles", self.particles, "at least 4, or 0 for 4 + 3 ln d")?;
        Invalid::positive("width", self.width)
    }
}

/// The cloud of [`Adaptive`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdaptiveSwarm {
    space: Space,
    rng: ChaCha8Rng,
    /// Sides of the box: the unit of each coordinate of `mean`, `path_*` and `covariance`.
    unit: Vec<f64>,
    mean: Vec<f64>,
    sigma: f64,
    covariance: Vec<f64>,
    frame: Frame,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    weights: Vec<f64>,
    n: usize,
    cloud: Vec<f64>,
    step: u64,
    framed: u64,
    /// Best values of the latest generations.
    recent: Vec<f64>,
    over: Option<Ended>,
}

impl AdaptiveSwarm {
    fn new(n: usize, sigma: f64, space: Space, mean: Vec<f64>, rng: ChaCha8Rng) -> Self {
        let dim = space.dim;
        let half = n / 2;
        let raw: Vec<f64> =
            (0..half).map(|i| ((n as f64 + 1.0) / 2.0).ln() - (i as f64 + 1.0).ln()).collect();
        let total: f64 = raw.iter().sum();
        let unit: Vec<f64> = space.widths().iter().map(|&w| if w > 0.0 { w } else { 1.0 }).collect();
        Self {
            rng,
            unit,
            mean,
            sigma,
            covariance: Frame::axes(dim).vectors,
            frame: Frame::axes(dim),
            path_sigma: vec![0.0; dim],
            path_c: vec![0.0; dim],
            weights: raw.iter().map(|w| w / total).collect(),
            n,
            cloud: Vec::new(),
            step: 0,
            framed: 0,
            recent: Vec::new(),
            over: None,
            space,
        }
    }

    /// Whether the cloud is too small, too long, or its values too equal to go on.
    fn check_end(&mut self, best: f64, worst: f64) {
        let d = self.space.dim as f64;
        self.recent.push(best);
        let horizon = 10 + (30.0 * d / self.n as f64).ceil() as usize;
        let latest = &self.recent[self.recent.len().saturating_sub(horizon)..];
        let (low, high) = latest.iter().fold((worst, worst), |(l, h), f| (l.min(*f), h.max(*f)));
        let flat = self.recent.len() >= horizon && high - low <= 1e-12 * low.abs().max(1e-3);
        let long = self.step as f64 > 100.0 + 50.0 * (d + 3.0).powi(2) / (self.n as f64).sqrt();
        let small = self.sigma * self.frame.values.iter().fold(0.0, |m: f64, v| m.max(*v)).sqrt() < 1e-12;
        if flat || long || small || !self.sigma.is_finite() {
            self.over = Some(if small { Ended::Collapsed } else { Ended::Stalled });
        }
    }
}

impl Swarm for AdaptiveSwarm {
    fn upcoming(&self) -> usize {
        self.n
    }

    fn ask(&mut self) -> &[f64] {
        let dim = self.space.dim;
        self.cloud.resize(self.n * dim, 0.0);
        let mut z = vec![0.0; dim];
        for x in self.cloud.chunks_exact_mut(dim) {
            normal(&mut self.rng, &mut z);
            z.iter_mut().zip(&self.frame.values).for_each(|(z, v)| *z *= v.sqrt());
            self.frame.vector(&z, x);
            for ((x, m), u) in x.iter_mut().zip(&self.mean).zip(&self.unit) {
                *x = m + self.sigma * u * *x;
            }
            self.space.confine(&mut self.rng, x);
        }
        &self.cloud
    }

    fn tell(&mut self, values: &[f64]) {
        let (dim, d) = (self.space.dim, self.space.dim as f64);
        self.step += 1;
        let mut ranked: Vec<usize> = (0..self.n).filter(|&i| values[i] < f64::INFINITY).collect();
        ranked.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        ranked.truncate(self.weights.len());
        let (Some(&first), Some(&last)) = (ranked.first(), ranked.last()) else { return };
        // With failures fewer points are left; the best ones share the weight.
        let total: f64 = self.weights[..ranked.len()].iter().sum();
        let weights: Vec<f64> = self.weights[..ranked.len()].iter().map(|w| w / total).collect();
        let mu_eff = 1.0 / dot(&weights, &weights);

        let c_sigma = (mu_eff + 2.0) / (d + mu_eff + 5.0);
        let damping = 1.0 + 2.0 * (((mu_eff - 1.0) / (d + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma;
        let c_c = (4.0 + mu_eff / d) / (d + 4.0 + 2.0 * mu_eff / d);
        let c_1 = 2.0 / ((d + 1.3).powi(2) + mu_eff);
        let c_mu = (1.0 - c_1).min(2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((d + 2.0).powi(2) + mu_eff));

        // Steps in units of σ and the box.
        let steps: Vec<Vec<f64>> = ranked
            .iter()
            .map(|&i| {
                let x = self.cloud[i * dim..(i + 1) * dim].iter();
                x.zip(&self.mean).zip(&self.unit).map(|((x, m), u)| (x - m) / (self.sigma * u)).collect()
            })
            .collect();
        let mut hop = vec![0.0; dim];
        for (w, y) in weights.iter().zip(&steps) {
            hop.iter_mut().zip(y).for_each(|(h, y)| *h += w * y);
        }
        for ((m, h), u) in self.mean.iter_mut().zip(&hop).zip(&self.unit) {
            *m += self.sigma * u * h;
        }

        // C^{-1/2} · hop through the frame.
        let (mut along, mut white) = (vec![0.0; dim], vec![0.0; dim]);
        self.frame.coordinates(&hop, &mut along);
        along.iter_mut().zip(&self.frame.values).for_each(|(a, v)| *a /= v.sqrt());
        self.frame.vector(&along, &mut white);
        let gain = (c_sigma * (2.0 - c_sigma) * mu_eff).sqrt();
        self.path_sigma.iter_mut().zip(&white).for_each(|(p, w)| *p = (1.0 - c_sigma) * *p + gain * w);
        let length = dot(&self.path_sigma, &self.path_sigma).sqrt();
        let usual = d.sqrt() * (1.0 - 1.0 / (4.0 * d) + 1.0 / (21.0 * d * d));
        let settled = (1.0 - (1.0 - c_sigma).powi(2 * self.step.min(1 << 30) as i32)).sqrt();
        let steady = if length / settled < (1.4 + 2.0 / (d + 1.0)) * usual { 1.0 } else { 0.0 };
        let gain = steady * (c_c * (2.0 - c_c) * mu_eff).sqrt();
        self.path_c.iter_mut().zip(&hop).for_each(|(p, h)| *p = (1.0 - c_c) * *p + gain * h);

        let keep = 1.0 - c_1 - c_mu + (1.0 - steady) * c_1 * c_c * (2.0 - c_c);
        for i in 0..dim {
            for j in 0..=i {
                let rank_mu: f64 = weights.iter().zip(&steps).map(|(w, y)| w * y[i] * y[j]).sum();
                let new = keep * self.covariance[i * dim + j]
                    + c_1 * self.path_c[i] * self.path_c[j]
                    + c_mu * rank_mu;
                self.covariance[i * dim + j] = new;
                self.covariance[j * dim + i] = new;
            }
        }
        self.sigma *= (c_sigma / damping * (length / usual - 1.0)).exp().min(std::f64::consts::E);

        let lazy = (1.0 / ((c_1 + c_mu) * d * 10.0)) as u64;
        if self.step > self.framed + lazy {
            self.framed = self.step;
            match Frame::of(&self.covariance, dim) {
                Some(frame) if frame.values.iter().all(|v| *v > 0.0) => self.frame = frame,
                _ => self.over = Some(Ended::Stalled), // numerically degenerate
            }
        }
        self.check_end(values[first], values[last]);
    }

    fn consensus(&self) -> &[f64] {
        &self.mean
    }

    fn spread(&self) -> f64 {
        let variance = |j: usize| self.covariance[j * self.space.dim + j].sqrt() * self.unit[j];
        self.sigma * (0..self.space.dim).map(variance).fold(0.0, f64::max)
    }

    fn diagnostics(&self) -> Diagnostics {
        Diagnostics { noise: self.sigma, ..Diagnostics::default() }
    }

    fn over(&self) -> Option<Ended> {
        self.over
    }
}
