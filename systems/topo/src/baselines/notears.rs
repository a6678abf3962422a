use faer::Mat;
use serde::{Deserialize, Serialize};

use super::{cycles, squares};
use crate::TopoError;
use crate::graph::thresholded;
use crate::owlqn::{Limits, minimize};

/// NOTEARS (Zheng, Aragam, Ravikumar and Xing 2018): augmented Lagrangian for least squares + λ‖W‖₁
/// subject to tr exp(W∘W) = d.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notears {
    /// Penalty of sizes λ. Default 0.1.
    pub lambda: f64,
    /// Weights below it become 0. Default 0.3.
    pub threshold: f64,
    /// Violation at which it ends. Default 1e-8.
    #[serde(alias = "tolerance")]
    pub tol: f64,
    /// Rounds of multipliers at most. Default 100.
    #[serde(alias = "rounds")]
    pub max_rounds: usize,
}

impl Default for Notears {
    fn default() -> Self {
        Self { lambda: 0.1, threshold: 0.3, tol: 1e-8, max_rounds: 100 }
    }
}

impl Notears {
    /// Weights of the graph; may still hold a cycle if the threshold leaves one.
    ///
    /// # Errors
    /// The weights diverge.
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
        for _ in 0..self.max_rounds {
            let mut next;
            let mut violation;
            loop {
                next = x.clone();
                minimize(&mut next, &lambda, limits, |x, g| {
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
            if h <= self.tol || rho >= 1e16 {
                break;
            }
        }
        Ok(thresholded(&matrix(&x), self.threshold))
    }
}
