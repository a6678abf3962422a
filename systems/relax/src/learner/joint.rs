use faer::Mat;
use serde::{Deserialize, Serialize};
use thalweg_linalg::dense::{Cholesky, apply};

use super::{Interval, chebyshev};

/// Settings of the joint model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JointModel {
    /// Chebyshev polynomials in the context.
    pub context_features: usize,
    /// Chebyshev polynomials in ω.
    pub omega_features: usize,
    /// Weight of the ridge on the constant; it doubles with each degree of a product of polynomials.
    pub ridge: f64,
    /// How much of the uncertainty is taken off a prediction before arms are compared.
    pub bonus: f64,
    /// Share of the past that each step keeps, in (0, 1]; 1 forgets nothing. What is forgotten gives way to the
    /// ridge, so that the model never knows less than at the beginning. With n products of polynomials a step that
    /// forgets takes n³ operations instead of n².
    pub memory: f64,
    /// How the places of the arms are measured.
    pub axis: Axis,
}

/// How the joint model measures the places of arms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// They are ω < 2 and go by −log(2 − ω): costs are flat below the optimum and explode towards 2.
    #[default]
    Omega,
    /// As they are.
    Linear,
}

impl Default for JointModel {
    /// Chosen from the middle of a flat valley of `examples/joint.rs`.
    fn default() -> Self {
        let (features, axis) = (8, Axis::default());
        Self {
            context_features: features,
            omega_features: features,
            ridge: 0.01,
            bonus: 0.1,
            memory: 1.0,
            axis,
        }
    }
}

impl JointModel {
    /// Ridge weight of the i-th product of polynomials.
    fn ridge_of(&self, i: usize) -> f64 {
        self.ridge * 2f64.powi((i / self.omega_features + i % self.omega_features) as i32)
    }
}

/// One model of log cost for all arms and contexts, Σ θᵢⱼ Tᵢ(context) Tⱼ(arm), by ridge regression; the
/// arm with the smallest optimistic prediction is played (LinUCB). Neighbouring ω teach each other,
/// and nothing is random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joint {
    settings: JointModel,
    interval: Interval,
    /// Tⱼ of each arm.
    arms: Vec<Vec<f64>>,
    /// (ridge · diag(2^degree) + Σ φφᵀ)⁻¹, row by row.
    inverse: Vec<f64>,
    theta: Vec<f64>,
    /// Of a model that forgets.
    past: Option<Past>,
}

/// Normal equations that fade: Σ memory^age φφᵀ, row by row, and Σ memory^age φ log cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Past {
    gram: Vec<f64>,
    right: Vec<f64>,
}

impl Joint {
    /// A model of arms at these places on the line.
    pub fn new(places: &[f64], interval: Interval, settings: JointModel) -> Self {
        let axis = |p: &f64| if settings.axis == Axis::Omega { -(2.0 - p).ln() } else { *p };
        let places: Vec<f64> = places.iter().map(axis).collect();
        let (low, high) =
            places.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(*p), h.max(*p)));
        let span = Interval::new(low, if low < high { high } else { low + 1.0 });
        let arms = places.iter().map(|p| chebyshev(span.unit(*p), settings.omega_features)).collect();
        let n = settings.context_features * settings.omega_features;
        let mut inverse = vec![0.0; n * n];
        (0..n).for_each(|i| inverse[i * n + i] = 1.0 / settings.ridge_of(i));
        let past = (settings.memory < 1.0).then(|| Past { gram: vec![0.0; n * n], right: vec![0.0; n] });
        Self { settings, interval, arms, inverse, theta: vec![0.0; n], past }
    }

    /// The arm with the smallest optimistic prediction, and its predicted cost.
    pub fn choose(&self, context: f64) -> (usize, f64) {
        let (mc, mo) = (self.settings.context_features, self.settings.omega_features);
        let n = mc * mo;
        let f = chebyshev(self.interval.unit(context), mc);
        // In this context the model is a series in ω alone, with these coefficients and this matrix.
        let mut series = vec![0.0; mo];
        let mut matrix = vec![0.0; mo * mo];
        for i in 0..mc {
            for j in 0..mo {
                series[j] += f[i] * self.theta[i * mo + j];
            }
            for k in 0..mc {
                let weight = f[i] * f[k];
                for j in 0..mo {
                    let row = &self.inverse[(i * mo + j) * n + k * mo..][..mo];
                    let target = &mut matrix[j * mo..][..mo];
                    target.iter_mut().zip(row).for_each(|(t, r)| *t += weight * r);
                }
            }
        }
        let mut best = (0, f64::INFINITY, 0.0);
        for (a, g) in self.arms.iter().enumerate() {
            let mean: f64 = series.iter().zip(g).map(|(s, g)| s * g).sum();
            let row = |j: usize| g[j] * matrix[j * mo..][..mo].iter().zip(g).map(|(m, g)| m * g).sum::<f64>();
            let variance: f64 = (0..mo).map(row).sum();
            let optimistic = mean - self.settings.bonus * variance.max(0.0).sqrt();
            if optimistic < best.1 {
                best = (a, optimistic, mean);
            }
        }
        (best.0, best.2.exp())
    }

    /// Learns the cost, at least 1, of an arm.
    pub fn learn(&mut self, context: f64, arm: usize, cost: f64) {
        let f = chebyshev(self.interval.unit(context), self.settings.context_features);
        let phi: Vec<f64> = f.iter().flat_map(|f| self.arms[arm].iter().map(move |g| f * g)).collect();
        let n = phi.len();
        if let Some(past) = &mut self.past {
            past.learn(&self.settings, &phi, cost.ln(), &mut self.inverse, &mut self.theta);
            return;
        }
        let dot = |row: &[f64], v: &[f64]| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
        let gain: Vec<f64> = self.inverse.chunks_exact(n).map(|row| dot(row, &phi)).collect();
        let shrink = 1.0 / (1.0 + dot(&gain, &phi));
        let error = (cost.ln() - dot(&self.theta, &phi)) * shrink;
        self.theta.iter_mut().zip(&gain).for_each(|(t, g)| *t += error * g);
        for (row, &g) in self.inverse.chunks_exact_mut(n).zip(&gain) {
            row.iter_mut().zip(&gain).for_each(|(v, h)| *v -= shrink * g * h);
        }
    }
}

impl Past {
    /// Fades, adds one observation, and solves anew. The ridge does not fade: without it, directions that are not
    /// played would lose all they know, and their uncertainty would grow beyond the numbers.
    fn learn(&mut self, settings: &JointModel, phi: &[f64], y: f64, inverse: &mut [f64], theta: &mut [f64]) {
        let n = phi.len();
        for (i, row) in self.gram.chunks_exact_mut(n).enumerate() {
            row.iter_mut().zip(phi).for_each(|(g, p)| *g = settings.memory * *g + phi[i] * p);
            self.right[i] = settings.memory * self.right[i] + phi[i] * y;
        }
        let ridge = |i: usize, j: usize| if i == j { settings.ridge_of(i) } else { 0.0 };
        let normal = Mat::from_fn(n, n, |i, j| self.gram[i * n + j] + ridge(i, j));
        // Positive definite by the ridge; if rounding says otherwise, the last solution serves on.
        let Ok(factor) = Cholesky::new(&normal) else { return };
        let new = factor.inverse();
        inverse.iter_mut().enumerate().for_each(|(k, v)| *v = new[(k / n, k % n)]);
        theta.copy_from_slice(&apply(&new, &self.right));
    }
}
