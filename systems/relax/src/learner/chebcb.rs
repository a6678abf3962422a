use std::f64::consts::PI;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::boxed::least_squares;
use super::tsallis::draw;
use super::{Interval, chebyshev};

/// ChebCB (section 3 of the paper): each arm's cost is a Chebyshev series in the context, fitted by
/// least squares with bounded coefficients; arms are drawn by inverse gap weighting.
///
/// Costs and predictions are kept in the user's units, with running Gram matrices: an update costs
/// the same at every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChebCb {
    interval: Interval,
    features: usize,
    arms: Vec<Arm>,
    t: u64,
    smallest: f64,
    largest: f64,
    /// Σ (prediction − cost)², of the predictions made before the costs were known.
    errors: f64,
    /// Residual of the last fit that met a bound.
    bounded: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Arm {
    gram: Vec<f64>,
    right: Vec<f64>,
    squares: f64,
    theta: Vec<f64>,
}

impl ChebCb {
    /// `features` Chebyshev polynomials per arm.
    pub fn new(arms: usize, features: usize, interval: Interval) -> Self {
        let m = features;
        let arm = Arm { gram: vec![0.0; m * m], right: vec![0.0; m], squares: 0.0, theta: vec![0.0; m] };
        let (smallest, largest) = (f64::INFINITY, 0.0);
        Self { interval, features, arms: vec![arm; arms], t: 0, smallest, largest, errors: 0.0, bounded: 0.0 }
    }

    /// (b − a) · Lipschitz constant of the cost, as seen so far.
    fn slope(&self) -> f64 {
        self.largest - self.smallest
    }

    /// The paper's unit of cost.
    fn scale(&self) -> f64 {
        self.largest * (2.0 + 4.0 * self.slope() / self.largest * (1.0 + (self.features as f64).ln()))
    }

    /// Predicted cost of each arm.
    pub fn predict(&self, context: f64) -> Vec<f64> {
        let f = chebyshev(self.interval.unit(context), self.features);
        let dot = |theta: &[f64]| theta.iter().zip(&f).map(|(a, b)| a * b).sum::<f64>();
        self.arms.iter().map(|a| 1.0 + dot(&a.theta)).collect()
    }

    /// How sharply to prefer the arms with small predictions, in units of one over the cost.
    fn sharpness(&self) -> f64 {
        if self.t == 0 {
            return 0.0;
        }
        let (t, d, m) = (self.t as f64, self.arms.len() as f64, self.features as f64);
        let s = self.scale();
        let misfit = (PI + 2.0 / PI * (2.0 * m + 1.0).ln()) * self.slope() / (2.0 * s * (m + 1.0));
        let excess = (self.errors - self.bounded) / (s * s) + 2.0 * misfit * misfit * t;
        2.0 * t * (d * t / excess.max(1e-12)).sqrt() / s
    }

    /// Draws an arm; gives it, its probability and its predicted cost.
    pub fn choose(&self, context: f64, rng: &mut ChaCha8Rng) -> (usize, f64, f64) {
        let predicted = self.predict(context);
        let (arm, p) = draw(&inverse_gap_weighting(&predicted, self.sharpness()), rng);
        (arm, p, predicted[arm])
    }

    /// Learns the cost of an arm.
    pub fn learn(&mut self, context: f64, arm: usize, predicted: f64, cost: f64) {
        let f = chebyshev(self.interval.unit(context), self.features);
        let (loss, m) = (cost - 1.0, self.features);
        self.t += 1;
        self.errors += (predicted - cost).powi(2);
        let a = &mut self.arms[arm];
        for i in 0..m {
            for j in 0..m {
                a.gram[i * m + j] += f[i] * f[j];
            }
            a.right[i] += loss * f[i];
        }
        a.squares += loss * loss;
        let range = (self.smallest, self.largest);
        self.smallest = self.smallest.min(cost);
        self.largest = self.largest.max(cost);
        if range == (self.smallest, self.largest) {
            self.fit(arm);
        } else {
            (0..self.arms.len()).for_each(|i| self.fit(i)); // the bounds have moved
        }
    }

    fn fit(&mut self, arm: usize) {
        let m = self.features;
        let bound = |j| if j == 0 { self.largest } else { 2.0 * self.slope() / j as f64 };
        let bounds: Vec<f64> = (0..m).map(bound).collect();
        let a = &mut self.arms[arm];
        if a.squares > 0.0 && least_squares(&a.gram, &a.right, &bounds, &mut a.theta) {
            let quadratic =
                |i: usize| a.theta[i] * (0..m).map(|j| a.gram[i * m + j] * a.theta[j]).sum::<f64>();
            let linear: f64 = a.theta.iter().zip(&a.right).map(|(t, h)| t * h).sum();
            self.bounded = (0..m).map(quadratic).sum::<f64>() - 2.0 * linear + a.squares;
        }
    }
}

/// pᵢ = 1/(d + η(ŷᵢ − min ŷ)) for all but the best arm, which takes the rest (Foster and Rakhlin, 2020).
pub fn inverse_gap_weighting(predicted: &[f64], eta: f64) -> Vec<f64> {
    let d = predicted.len() as f64;
    let best = (0..predicted.len()).min_by(|&a, &b| predicted[a].total_cmp(&predicted[b])).unwrap_or(0);
    let mut p: Vec<f64> = predicted.iter().map(|y| 1.0 / (d + eta * (y - predicted[best]))).collect();
    p[best] = 0.0;
    p[best] = 1.0 - p.iter().sum::<f64>();
    p
}
