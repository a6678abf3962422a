//! Continuous methods whose graphs can be improved: NOTEARS, DAGMA and GOLEM, linear, from the
//! covariance matrix `s`. All return weights `[(from, to)]` with the small ones set to 0.

use faer::Mat;
use serde::{Deserialize, Serialize};
use thalweg_linalg::dense::product;

use crate::TopoError;
use crate::graph::thresholded;
use crate::owlqn::{Limits, minimise};
use crate::walks::{exponential, log_det_inverse, m_matrix, trace};

/// NOTEARS (Zheng, Aragam, Ravikumar and Xing 2018): augmented Lagrangian for least squares + λ‖W‖₁
/// subject to tr exp(W∘W) = d.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notears {
    /// λ. Default 0.1.
    pub lambda: f64,
    /// Weights below it become 0. Default 0.3.
    pub threshold: f64,
    /// Violation at which it ends. Default 1e-8.
    pub tolerance: f64,
    /// Rounds of multipliers at most. Default 100.
    pub rounds: usize,
}

impl Default for Notears {
    fn default() -> Self {
        Self { lambda: 0.1, threshold: 0.3, tolerance: 1e-8, rounds: 100 }
    }
}

/// ½ tr((I − W)ᵀ S (I − W)) and S (W − I).
fn squares(s: &Mat<f64>, w: &Mat<f64>) -> (f64, Mat<f64>) {
    let d = s.nrows();
    let residual = Mat::from_fn(d, d, |i, j| f64::from(i == j) - w[(i, j)]);
    let g = product(s, &residual);
    let value = 0.5 * (0..d).map(|j| (0..d).map(|i| residual[(i, j)] * g[(i, j)]).sum::<f64>()).sum::<f64>();
    (value, Mat::from_fn(d, d, |i, j| -g[(i, j)]))
}

fn squared(w: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(w.nrows(), w.ncols(), |i, j| w[(i, j)] * w[(i, j)])
}

/// tr exp(W∘W) − d and its gradient.
fn cycles(w: &Mat<f64>) -> (f64, Mat<f64>) {
    let d = w.nrows();
    let e = exponential(&squared(w));
    (trace(&e) - d as f64, Mat::from_fn(d, d, |i, j| 2.0 * w[(i, j)] * e[(j, i)]))
}

impl Notears {
    /// Weights of the graph; may still hold a cycle if the threshold leaves one.
    pub fn fit(&self, s: &Mat<f64>) -> Result<Mat<f64>, TopoError> {
        let d = s.nrows();
        // The diagonal stays 0.
        let at: Vec<(usize, usize)> =
            (0..d).flat_map(|j| (0..d).map(move |i| (i, j))).filter(|(i, j)| i != j).collect();
        let matrix = |x: &[f64]| {
            let mut w = Mat::zeros(d, d);
            at.iter().zip(x).for_each(|(at, x)| w[*at] = *x);
            w
        };
        let lambda = vec![self.lambda; at.len()];
        let limits = Limits { steps: 2000, decrease: 1e-9, gradient: 1e-5 };
        let mut x = vec![0.0; at.len()];
        let (mut rho, mut alpha, mut h) = (1.0, 0.0, f64::INFINITY);
        for _ in 0..self.rounds {
            let mut next;
            let mut violation;
            loop {
                next = x.clone();
                minimise(&mut next, &lambda, limits, |x, g| {
                    let w = matrix(x);
                    let (q, gq) = squares(s, &w);
                    let (h, gh) = cycles(&w);
                    for (g, at) in g.iter_mut().zip(&at) {
                        *g = gq[*at] + (rho * h + alpha) * gh[*at];
                    }
                    q + 0.5 * rho * h * h + alpha * h
                });
                violation = cycles(&matrix(&next)).0;
                if violation <= 0.25 * h || rho >= 1e16 {
                    break;
                }
                rho *= 10.0;
            }
            if !violation.is_finite() {
                return Err(TopoError::Diverged {
                    method: "NOTEARS",
                    cause: "the weights grew without bound".into(),
                });
            }
            (x, h) = (next, violation);
            alpha += rho * h;
            if h <= self.tolerance || rho >= 1e16 {
                break;
            }
        }
        Ok(thresholded(&matrix(&x), self.threshold))
    }
}

/// Adam (Kingma and Ba 2015) on a matrix.
struct Adam {
    m: Mat<f64>,
    v: Mat<f64>,
    betas: (f64, f64),
    t: i32,
}

impl Adam {
    fn new(d: usize, betas: (f64, f64)) -> Self {
        Self { m: Mat::zeros(d, d), v: Mat::zeros(d, d), betas, t: 0 }
    }

    /// The step to subtract, for a learning rate of 1; none on the diagonal.
    fn step(&mut self, g: &Mat<f64>) -> Mat<f64> {
        self.t += 1;
        let (b1, b2) = self.betas;
        let (c1, c2) = (1.0 - b1.powi(self.t), 1.0 - b2.powi(self.t));
        let d = g.nrows();
        let (m, v) = (&mut self.m, &mut self.v);
        Mat::from_fn(d, d, |i, j| {
            let g = g[(i, j)];
            m[(i, j)] = b1 * m[(i, j)] + (1.0 - b1) * g;
            v[(i, j)] = b2 * v[(i, j)] + (1.0 - b2) * g * g;
            if i == j { 0.0 } else { m[(i, j)] / c1 / ((v[(i, j)] / c2).sqrt() + 1e-8) }
        })
    }
}

/// Steps between two looks at convergence.
const LOOK: usize = 1000;

/// DAGMA (Bello, Aragam and Ravikumar 2022): the central path of least squares + λ‖W‖₁ with the barrier
/// −log det(sI − W∘W).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dagma {
    /// λ. Default 0.03.
    pub lambda: f64,
    /// Weights below it become 0. Default 0.3.
    pub threshold: f64,
    /// Learning rate. Default 3e-4.
    pub lr: f64,
    /// Steps of each stage but the last. Default 30,000.
    pub warm_steps: usize,
    /// Steps of the last stage. Default 60,000.
    pub steps: usize,
    /// Relative change of the objective over 1000 steps that ends a stage. Default 1e-6.
    pub tolerance: f64,
}

impl Default for Dagma {
    fn default() -> Self {
        Self { lambda: 0.03, threshold: 0.3, lr: 3e-4, warm_steps: 30_000, steps: 60_000, tolerance: 1e-6 }
    }
}

impl Dagma {
    /// Weights of the graph; may still hold a cycle if the threshold leaves one.
    pub fn fit(&self, s: &Mat<f64>) -> Result<Mat<f64>, TopoError> {
        let mut w = Mat::zeros(s.nrows(), s.nrows());
        let stages = [1.0, 0.9, 0.8, 0.7, 0.6];
        let mut mu = 1.0;
        for (k, scale) in stages.into_iter().enumerate() {
            let steps = if k + 1 == stages.len() { self.steps } else { self.warm_steps };
            let (mut scale, mut lr) = (scale, self.lr);
            // Outside the domain of this s: a larger s and shorter steps.
            w = loop {
                if let Some(w) = self.stage(s, &w, mu, scale, lr, steps) {
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
        mu: f64,
        scale: f64,
        lr: f64,
        steps: usize,
    ) -> Option<Mat<f64>> {
        let d = s.nrows();
        let (mut w, mut lr) = (start.clone(), lr);
        let mut adam = Adam::new(d, (0.99, 0.999));
        let mut last = Mat::<f64>::zeros(d, d);
        let mut before = f64::NAN; // compares false
        for t in 1..=steps {
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
                if (before - now).abs() <= self.tolerance * before.abs() {
                    break;
                }
                before = now;
            }
            w = Mat::from_fn(d, d, |i, j| w[(i, j)] - lr * last[(i, j)]);
        }
        Some(w)
    }
}

/// GOLEM (Ng, Ghassami and Zhang 2020): the Gaussian likelihood with log |det(I − W)|, soft sparsity and
/// soft acyclicity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Golem {
    /// One variance for all nodes (GOLEM-EV) or one each (GOLEM-NV, which starts from the former's
    /// result). Default: one for all.
    pub equal_variances: bool,
    /// Penalty of sizes. Default: 0.02 (EV), 0.002 (NV).
    pub lambda: Option<f64>,
    /// Penalty of cycles. Default 5.
    pub cycles: f64,
    /// Weights below it become 0. Default 0.3.
    pub threshold: f64,
    /// Learning rate. Default 1e-3.
    pub lr: f64,
    /// Steps at most. Default 100,000.
    pub steps: usize,
    /// Relative change of the objective over 1000 steps that ends the search; 0 for never. Default 1e-6.
    pub tolerance: f64,
}

impl Default for Golem {
    fn default() -> Self {
        Self {
            equal_variances: true,
            lambda: None,
            cycles: 5.0,
            threshold: 0.3,
            lr: 1e-3,
            steps: 100_000,
            tolerance: 1e-6,
        }
    }
}

impl Golem {
    /// Weights of the graph; may hold cycles, since acyclicity is only penalised.
    pub fn fit(&self, s: &Mat<f64>) -> Result<Mat<f64>, TopoError> {
        let mut w = self.run(s, Mat::zeros(s.nrows(), s.nrows()), true)?;
        if !self.equal_variances {
            w = self.run(s, w, false)?;
        }
        Ok(thresholded(&w, self.threshold))
    }

    fn run(&self, s: &Mat<f64>, mut w: Mat<f64>, equal: bool) -> Result<Mat<f64>, TopoError> {
        let d = s.nrows();
        let lambda = self.lambda.unwrap_or(if equal { 0.02 } else { 0.002 });
        let mut adam = Adam::new(d, (0.9, 0.999));
        let mut before = f64::NAN; // compares false
        for t in 1..=self.steps {
            let residual = Mat::from_fn(d, d, |i, j| f64::from(i == j) - w[(i, j)]);
            let g = product(s, &residual);
            let variance: Vec<f64> =
                (0..d).map(|j| (0..d).map(|i| residual[(i, j)] * g[(i, j)]).sum::<f64>()).collect();
            let sum: f64 = variance.iter().sum();
            let singular =
                || TopoError::Diverged { method: "GOLEM", cause: "I − W became singular".into() };
            let (log_det, inverse) = log_det_inverse(&residual).ok_or_else(singular)?;
            let (h, gh) = cycles(&w);
            let gradient = Mat::from_fn(d, d, |i, j| {
                let scale = if equal { d as f64 / sum } else { 1.0 / variance[j] };
                let kink = if w[(i, j)] == 0.0 { 0.0 } else { lambda * w[(i, j)].signum() };
                -g[(i, j)] * scale + inverse[(j, i)] + kink + self.cycles * gh[(i, j)]
            });
            let step = adam.step(&gradient);
            w = Mat::from_fn(d, d, |i, j| w[(i, j)] - self.lr * step[(i, j)]);
            if t % LOOK == 0 {
                let likelihood = match equal {
                    true => 0.5 * d as f64 * sum.ln(),
                    false => 0.5 * variance.iter().map(|v| v.ln()).sum::<f64>(),
                };
                let sizes: f64 = (0..d).map(|j| w.col(j).iter().map(|x| x.abs()).sum::<f64>()).sum();
                let now = likelihood - log_det + lambda * sizes + self.cycles * h;
                if !now.is_finite() {
                    return Err(TopoError::Diverged {
                        method: "GOLEM",
                        cause: "the weights grew without bound".into(),
                    });
                }
                if (before - now).abs() <= self.tolerance * before.abs() {
                    break;
                }
                before = now;
            }
        }
        Ok(w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::topological_order;
    use crate::metrics::compare;
    use crate::simulate::{Mechanism, Noise, Simulation};
    use thalweg_core::Seed;

    fn small() -> (Mat<f64>, Mat<f64>) {
        let s = Simulation {
            family: "er:1".parse().unwrap(),
            dim: 8,
            samples: 1000,
            noise: Noise::GaussEv,
            mechanism: Mechanism::Linear,
        };
        let (w, x) = s.run(Seed(4)).unwrap();
        (w, x.covariance())
    }

    #[test]
    fn each_finds_a_small_sparse_graph() {
        let (truth, s) = small();
        let golem = Golem { equal_variances: false, steps: 20_000, ..Golem::default() };
        for (name, w) in [
            ("notears", Notears::default().fit(&s)),
            ("dagma", Dagma::default().fit(&s)),
            ("golem-ev", Golem::default().fit(&s)),
            ("golem-nv", golem.fit(&s)),
        ] {
            let w = w.unwrap();
            assert!(topological_order(&w).is_some(), "{name}");
            let m = compare(&truth, &w).unwrap();
            assert!(m.shd <= 1, "{name}: {m:?}");
        }
    }

    #[test]
    fn the_gradient_of_cycles_is_that_of_finite_differences() {
        let w = thalweg_testing::gaussian(4, 4, 3);
        let (h, g) = cycles(&w);
        for at in [(0, 1), (2, 3), (3, 0)] {
            let mut moved = w.clone();
            moved[at] += 1e-6;
            let slope = (cycles(&moved).0 - h) / 1e-6;
            assert!((slope / g[at] - 1.0).abs() < 1e-4);
        }
    }
}
