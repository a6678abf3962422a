use faer::Mat;
use serde::{Deserialize, Serialize};

use super::{Adam, LOOK, squared, squares};
use crate::TopoError;
use crate::graph::thresholded;
use crate::walks::m_matrix;

/// DAGMA (Bello, Aragam and Ravikumar 2022): the central path of least squares + λ‖W‖₁ with the barrier
/// −log det(sI − W∘W).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dagma {
    /// Penalty of sizes λ. Default 0.03.
    pub lambda: f64,
    /// Weights below it become 0. Default 0.3.
    pub threshold: f64,
    /// Learning rate. Default 3e-4.
    pub lr: f64,
    /// Steps of each stage but the last at most. Default 30,000.
    pub warm_steps: usize,
    /// Steps of the last stage at most. Default 60,000.
    #[serde(alias = "steps")]
    pub max_steps: usize,
    /// Relative change of the objective over 1000 steps that ends a stage. Default 1e-6.
    #[serde(alias = "tolerance")]
    pub tol: f64,
}

impl Default for Dagma {
    fn default() -> Self {
        Self { lambda: 0.03, threshold: 0.3, lr: 3e-4, warm_steps: 30_000, max_steps: 60_000, tol: 1e-6 }
    }
}

impl Dagma {
    /// Weights of the graph; may still hold a cycle if the threshold leaves one.
    ///
    /// # Errors
    /// The weights diverge.
    pub fn fit(&self, s: &Mat<f64>) -> Result<Mat<f64>, TopoError> {
        self.fit_while(s, &|| true)
    }

    /// As [`Dagma::fit`], until `go_on` says no; the weights are then those so far.
    ///
    /// # Errors
    /// The weights diverge.
    pub fn fit_while(&self, s: &Mat<f64>, go_on: &dyn Fn() -> bool) -> Result<Mat<f64>, TopoError> {
        let mut w = Mat::zeros(s.nrows(), s.nrows());
        let stages = [1.0, 0.9, 0.8, 0.7, 0.6];
        let mut mu = 1.0;
        for (k, scale) in stages.into_iter().enumerate() {
            let steps = if k + 1 == stages.len() { self.max_steps } else { self.warm_steps };
            let (mut scale, mut lr) = (scale, self.lr);
            // Outside the domain of this s: a larger s and shorter steps.
            w = loop {
                if let Some(w) = self.stage(s, &w, (mu, scale, lr), steps, go_on) {
                    break w;
                }
                (scale, lr) = (scale + 0.1, 0.5 * lr);
                if lr < 1e-10 {
                    let cause = "no step stays in the domain of the log-determinant".into();
                    return Err(TopoError::Diverged { method: "DAGMA", cause });
                }
            };
            mu *= 0.1;
        }
        Ok(thresholded(&w, self.threshold))
    }

    /// Minimises μ(Q + λ‖W‖₁) + h_s; `None` if the start is outside the domain.
    fn stage(
        &self,
        s: &Mat<f64>,
        start: &Mat<f64>,
        (mu, scale, mut lr): (f64, f64, f64),
        steps: usize,
        go_on: &dyn Fn() -> bool,
    ) -> Option<Mat<f64>> {
        let d = s.nrows();
        let mut w = start.clone();
        let mut adam = Adam::new(d, (0.99, 0.999));
        let mut last = Mat::<f64>::zeros(d, d);
        let mut before = f64::NAN; // compares false
        for t in (1..=steps).take_while(|_| go_on()) {
            let Some((h, inverse)) = m_matrix(&squared(&w), scale) else {
                // Back by the last step, and on with shorter ones.
                if t == 1 || scale <= 0.9 || lr < 1e-16 {
                    return None;
                }
                w = Mat::from_fn(d, d, |i, j| w[(i, j)] + lr * last[(i, j)]);
                lr *= 0.5;
                if lr <= 1e-16 {
                    return Some(w);
                }
                w = Mat::from_fn(d, d, |i, j| w[(i, j)] - lr * last[(i, j)]);
                continue;
            };
            let (q, gq) = squares(s, &w);
            let g = Mat::from_fn(d, d, |i, j| {
                let kink = if w[(i, j)] == 0.0 { 0.0 } else { self.lambda * w[(i, j)].signum() };
                mu * (gq[(i, j)] + kink) + 2.0 * w[(i, j)] * inverse[(j, i)]
            });
            last = adam.step(&g);
            if t % LOOK == 0 {
                let sizes: f64 = (0..d).map(|j| w.col(j).iter().map(|x| x.abs()).sum::<f64>()).sum();
                let now = mu * (q + self.lambda * sizes) + h;
                if (before - now).abs() <= self.tol * before.abs() {
                    break;
                }
                before = now;
            }
            w = Mat::from_fn(d, d, |i, j| w[(i, j)] - lr * last[(i, j)]);
        }
        Some(w)
    }
}
