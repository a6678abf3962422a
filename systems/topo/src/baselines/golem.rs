use faer::Mat;
use serde::{Deserialize, Serialize};
use thalweg_linalg::dense::product;

use super::{Adam, LOOK, cycles};
use crate::TopoError;
use crate::graph::thresholded;
use crate::walks::log_det_inverse;

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
    #[serde(alias = "steps")]
    pub max_steps: usize,
    /// Relative change of the objective over 1000 steps that ends the search; 0 for never. Default 1e-6.
    #[serde(alias = "tolerance")]
    pub tol: f64,
}

impl Default for Golem {
    fn default() -> Self {
        Self {
            equal_variances: true,
            lambda: None,
            cycles: 5.0,
            threshold: 0.3,
            lr: 1e-3,
            max_steps: 100_000,
            tol: 1e-6,
        }
    }
}

impl Golem {
    /// Weights of the graph; may hold cycles, since acyclicity is only penalised.
    ///
    /// # Errors
    /// The weights diverge.
    pub fn fit(&self, s: &Mat<f64>) -> Result<Mat<f64>, TopoError> {
        self.fit_while(s, &|| true)
    }

    /// As [`Golem::fit`], until `go_on` says no; the weights are then those so far.
    ///
    /// # Errors
    /// The weights diverge.
    pub fn fit_while(&self, s: &Mat<f64>, go_on: &dyn Fn() -> bool) -> Result<Mat<f64>, TopoError> {
        let mut w = self.run(s, Mat::zeros(s.nrows(), s.nrows()), true, go_on)?;
        if !self.equal_variances {
            w = self.run(s, w, false, go_on)?;
        }
        Ok(thresholded(&w, self.threshold))
    }

    fn run(
        &self,
        s: &Mat<f64>,
        mut w: Mat<f64>,
        equal: bool,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Mat<f64>, TopoError> {
        let d = s.nrows();
        let lambda = self.lambda.unwrap_or(if equal { 0.02 } else { 0.002 });
        let mut adam = Adam::new(d, (0.9, 0.999));
        let mut before = f64::NAN; // compares false
        for t in (1..=self.max_steps).take_while(|_| go_on()) {
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
                if (before - now).abs() <= self.tol * before.abs() {
                    break;
                }
                before = now;
            }
        }
        Ok(w)
    }
}
