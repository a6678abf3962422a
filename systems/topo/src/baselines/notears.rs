use faer::Mat;
use serde::{Deserialize, Serialize};

use super::{cycles, squares};
use crate::TopoError;
use crate::graph::thresholded;
use crate::lbfgsb::{Limits, minimize};

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

/// Factor of the squared violation at which the published program gives up.
const RHO_MAX: f64 = 1e16;

/// Those of SciPy's L-BFGS-B, which the published program uses.
const LIMITS: Limits = Limits { steps: 15_000, evaluations: 15_000, decrease: 2.22e-9, gradient: 1e-5 };

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
        self.fit_while(s, &|| true)
    }

    /// As [`Notears::fit`], until `go_on` says no; the weights are then those so far.
    ///
    /// # Errors
    /// The weights diverge.
    pub fn fit_while(&self, s: &Mat<f64>, go_on: &dyn Fn() -> bool) -> Result<Mat<f64>, TopoError> {
        let d = s.nrows();
        // W = W⁺ − W⁻ with both parts at least 0, so that the penalty is smooth; the diagonal stays 0.
        let at: Vec<(usize, usize)> =
            (0..d).flat_map(|i| (0..d).map(move |j| (i, j))).filter(|(i, j)| i != j).collect();
        let half = at.len();
        let matrix = |x: &[f64]| {
            let mut w = Mat::zeros(d, d);
            at.iter().enumerate().for_each(|(k, at)| w[*at] = x[k] - x[half + k]);
            w
        };
        let mut x = vec![0.0; 2 * half];
        let (mut rho, mut alpha, mut h) = (1.0, 0.0, f64::INFINITY);
        for _ in 0..self.max_rounds {
            let mut next = x.clone();
            let mut violation = h;
            while rho < RHO_MAX && go_on() {
                next = x.clone();
                minimize(&mut next, LIMITS, go_on, |x, g| {
                    let w = matrix(x);
                    let (q, gq) = squares(s, &w);
                    let (h, gh) = cycles(&w);
                    for (k, at) in at.iter().enumerate() {
                        let smooth = gq[*at] + (rho * h + alpha) * gh[*at];
                        (g[k], g[half + k]) = (smooth + self.lambda, self.lambda - smooth);
                    }
                    q + 0.5 * rho * h * h + alpha * h + self.lambda * x.iter().sum::<f64>()
                });
                violation = cycles(&matrix(&next)).0;
                if violation <= 0.25 * h {
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
            if h <= self.tol || rho >= RHO_MAX || !go_on() {
                break;
            }
        }
        Ok(thresholded(&matrix(&x), self.threshold))
    }
}
