use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Tsallis-INF with α = ½ (Zimmert and Seldin, AISTATS 2019), as section 2 of the paper uses it: a
/// bandit that competes with the best single arm and needs to know neither horizon nor scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tsallis {
    /// Lower the variance of the estimates by a baseline of ½, and learn twice as fast.
    reduced: bool,
    /// Round, from 1.
    t: u64,
    /// Importance-weighted sums of cost − 1, `[arms]`.
    losses: Vec<f64>,
    /// Sum of all costs − 1.
    total: f64,
}

impl Tsallis {
    /// A bandit that knows nothing of its arms.
    pub fn new(arms: usize, reduced: bool) -> Self {
        Self { reduced, t: 1, losses: vec![0.0; arms], total: 0.0 }
    }

    /// What costs are measured in: their mean so far.
    fn scale(&self) -> f64 {
        if self.t == 1 { 1.0 } else { (self.total / (self.t - 1) as f64).max(f64::MIN_POSITIVE.sqrt()) }
    }

    /// Importance-weighted sum of cost − 1 of each arm.
    pub fn estimates(&self) -> &[f64] {
        &self.losses
    }

    /// Probability of each arm.
    pub fn probabilities(&self) -> Vec<f64> {
        let scale = self.scale();
        let q: Vec<f64> = self.losses.iter().map(|l| l / scale).collect();
        let rate = if self.reduced { 4.0 } else { 2.0 } / (self.t as f64).sqrt();
        tsallis_probabilities(&q, rate).1
    }

    /// Draws an arm; gives it with its probability.
    pub fn choose(&self, rng: &mut ChaCha8Rng) -> (usize, f64) {
        draw(&self.probabilities(), rng)
    }

    /// Learns the cost, at least 1, of an arm that was drawn with this probability.
    pub fn learn(&mut self, arm: usize, probability: f64, cost: f64) {
        let loss = cost - 1.0;
        if self.reduced {
            // The baseline counts for every arm that is drawn often enough to bear it.
            let (t, half) = (self.t as f64, 0.5 * self.scale());
            let p = self.probabilities();
            let baseline = |i: usize| if t * p[i] >= 16.0 { half } else { 0.0 };
            let played = (loss - baseline(arm)) / probability;
            for i in 0..p.len() {
                self.losses[i] += baseline(i) + if i == arm { played } else { 0.0 };
            }
        } else {
            self.losses[arm] += loss / probability;
        }
        self.total += loss;
        self.t += 1;
    }
}

/// The x < min q with Σ 4/(η(qᵢ − x))² = 1, and the terms of that sum: probabilities.
///
/// Newton's method from min q − 2/η, where the sum is at least 1: the sum is convex and increasing, so
/// that the iterates fall to the root and never cross the pole.
pub fn tsallis_probabilities(q: &[f64], eta: f64) -> (f64, Vec<f64>) {
    let mut x = q.iter().copied().fold(f64::INFINITY, f64::min) - 2.0 / eta;
    let mut p = vec![0.0; q.len()];
    for _ in 0..100 {
        let (mut excess, mut slope) = (-1.0, 0.0);
        for (p, q) in p.iter_mut().zip(q) {
            let root = 2.0 / (eta * (q - x));
            *p = root * root;
            excess += *p;
            slope += eta * *p * root;
        }
        if excess <= 1e-14 {
            break;
        }
        x -= excess / slope;
    }
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
    (x, p)
}

/// Draws an index by its probability; gives both.
pub(super) fn draw(p: &[f64], rng: &mut ChaCha8Rng) -> (usize, f64) {
    let mut left: f64 = rng.random();
    for (i, &p) in p.iter().enumerate() {
        left -= p;
        if left < 0.0 {
            return (i, p);
        }
    }
    // Rounding left a little over: the likeliest arm takes it.
    let likeliest = (0..p.len()).max_by(|&a, &b| p[a].total_cmp(&p[b])).unwrap_or(0);
    (likeliest, p[likeliest])
}
