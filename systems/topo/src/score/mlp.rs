use faer::Mat;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed, normal};
use thalweg_linalg::dense::product;

use super::{NodeFit, NodeScore};
use crate::Sample;
use crate::owlqn::{Limits, minimize};

/// A network with one hidden layer for each node: f(x) = aᵀ σ(A x + b) + c over its predecessors. The
/// weight of an edge is the norm of the parent's column of A.
///
/// Minimises (1/2n) Σ (x − f)² + `l1` Σ |A| + (`l2`/2) Σ (A² + a²). Each fit starts from small random
/// weights that depend on node and parent alone, so that scores of overlapping sets are comparable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mlp {
    /// Hidden units, ≥ 1. Default 40.
    pub hidden: usize,
    /// Penalty of the sizes of first-layer weights, ≥ 0. Default 0.01.
    pub l1: f64,
    /// Penalty of the squares of weights, ≥ 0. Default 0.01.
    pub l2: f64,
    /// Sigmoid units, or linear ones, which make it a linear regression. Default: sigmoid.
    pub linear: bool,
    /// L-BFGS steps of a fit at most, ≥ 1. Default 200.
    #[serde(alias = "steps")]
    pub max_steps: usize,
    /// Seed of the first weights. Default 0.
    pub seed: u64,
}

impl Default for Mlp {
    fn default() -> Self {
        Self { hidden: 40, l1: 0.01, l2: 0.01, linear: false, max_steps: 200, seed: 0 }
    }
}

impl Mlp {
    /// Names the bad field, its value and its legal range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::count("hidden", self.hidden)?;
        Invalid::at_least_zero("l1", self.l1)?;
        Invalid::at_least_zero("l2", self.l2)?;
        Invalid::count("max_steps", self.max_steps)
    }

    /// The score of this model on data.
    pub fn on(self, sample: &Sample) -> MlpScore {
        MlpScore { x: sample.centred(), mlp: self }
    }
}

/// [`Mlp`] on data.
#[derive(Clone, Debug)]
pub struct MlpScore {
    x: Mat<f64>,
    mlp: Mlp,
}

/// Relative decrease of a step below which a fit ends.
const SETTLED: f64 = 1e-6;

impl MlpScore {
    /// First weights: A by parents, then b, a, c.
    fn start(&self, node: usize, parents: &[usize]) -> Vec<f64> {
        let (m, d) = (self.mlp.hidden, self.x.ncols());
        let seed = Seed(self.mlp.seed);
        let mut theta = vec![0.0; parents.len() * m + 2 * m + 1];
        for (k, p) in parents.iter().enumerate() {
            normal(&mut seed.stream("mlp-input", (node * d + p) as u64), &mut theta[k * m..(k + 1) * m]);
        }
        let tail = parents.len() * m;
        normal(&mut seed.stream("mlp-node", node as u64), &mut theta[tail..tail + 2 * m]);
        theta.iter_mut().for_each(|t| *t *= 0.1);
        theta
    }

    /// Value without the ℓ1 part, and gradient.
    fn value_grad(&self, x: &Mat<f64>, y: &[f64], theta: &[f64], g: &mut [f64]) -> f64 {
        let (n, m, p) = (y.len(), self.mlp.hidden, x.ncols());
        let a1 = Mat::from_fn(p, m, |i, k| theta[i * m + k]);
        let (b, a2) = (&theta[p * m..][..m], &theta[(p + 1) * m..][..m]);
        let mut h = product(x, &a1);
        for k in 0..m {
            for z in h.col_mut(k).iter_mut() {
                *z += b[k];
                if !self.mlp.linear {
                    *z = 1.0 / (1.0 + (-*z).exp());
                }
            }
        }
        let mut residual: Vec<f64> = y.iter().map(|y| theta[(p + 2) * m] - y).collect();
        for k in 0..m {
            residual.iter_mut().zip(h.col(k).iter()).for_each(|(r, h)| *r += a2[k] * h);
        }
        let mut value = residual.iter().map(|r| r * r).sum::<f64>() / (2 * n) as f64;
        residual.iter_mut().for_each(|r| *r /= n as f64);
        g[(p + 2) * m] = residual.iter().sum();
        for k in 0..m {
            let mut to_a = 0.0;
            let mut to_b = 0.0;
            for (h, r) in h.col_mut(k).iter_mut().zip(&residual) {
                to_a += *h * r;
                let slope = if self.mlp.linear { 1.0 } else { *h * (1.0 - *h) };
                *h = r * a2[k] * slope;
                to_b += *h;
            }
            g[(p + 1) * m + k] = to_a;
            g[p * m + k] = to_b;
        }
        let to_a1 = product(x.transpose(), &h);
        for i in 0..p {
            for k in 0..m {
                g[i * m + k] = to_a1[(i, k)];
            }
        }
        // Biases go free.
        for at in (0..p * m).chain((p + 1) * m..(p + 2) * m) {
            value += 0.5 * self.mlp.l2 * theta[at] * theta[at];
            g[at] += self.mlp.l2 * theta[at];
        }
        value
    }
}

impl NodeScore for MlpScore {
    fn nodes(&self) -> usize {
        self.x.ncols()
    }

    fn fit(&self, node: usize, allowed: &[usize], required: &[usize]) -> NodeFit {
        let m = self.mlp.hidden;
        let y: Vec<f64> = self.x.col(node).iter().copied().collect();
        if allowed.is_empty() {
            // The mean is 0: nothing to learn.
            let score = y.iter().map(|y| y * y).sum::<f64>() / (2 * y.len()) as f64;
            return NodeFit { score, weights: Vec::new() };
        }
        let x = Mat::from_fn(y.len(), allowed.len(), |i, k| self.x[(i, allowed[k])]);
        let mut theta = self.start(node, allowed);
        let mut lambda = vec![0.0; theta.len()];
        for (k, _) in allowed.iter().enumerate().filter(|p| !required.contains(p.1)) {
            lambda[k * m..(k + 1) * m].fill(self.mlp.l1);
        }
        let limits = Limits { steps: self.mlp.max_steps, decrease: SETTLED, gradient: 1e-8 };
        let score = minimize(&mut theta, &lambda, limits, |t, g| self.value_grad(&x, &y, t, g));
        let norm = |k: usize| theta[k * m..(k + 1) * m].iter().map(|t| t * t).sum::<f64>().sqrt();
        NodeFit { score, weights: (0..allowed.len()).map(norm).collect() }
    }

    /// Well above what two fits of one model differ by.
    fn tolerance(&self, sum: f64) -> f64 {
        1e-4 * sum.abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{Linear, Loss, Penalty};

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let sample = Sample::unnamed(thalweg_testing::gaussian(30, 4, 6)).unwrap();
        let score = Mlp { hidden: 5, l2: 0.1, ..Mlp::default() }.on(&sample);
        let x = Mat::from_fn(30, 3, |i, j| score.x[(i, j)]);
        let y: Vec<f64> = score.x.col(3).iter().copied().collect();
        let theta = score.start(3, &[0, 1, 2]);
        let mut g = vec![0.0; theta.len()];
        score.value_grad(&x, &y, &theta, &mut g);
        let value = |t: &[f64]| score.value_grad(&x, &y, t, &mut vec![0.0; t.len()]);
        thalweg_testing::close(&thalweg_testing::gradient(value, &theta, 1e-5), &g, 1e-8);
    }

    #[test]
    fn linear_units_without_penalty_are_a_regression() {
        let sample = Sample::unnamed(thalweg_testing::gaussian(60, 4, 7)).unwrap();
        let mlp =
            Mlp { hidden: 3, l1: 0.0, l2: 0.0, linear: true, max_steps: 2000, ..Mlp::default() }.on(&sample);
        let linear = Linear::new(sample.covariance(), Loss::Squares, Penalty::None);
        for allowed in [vec![], vec![0], vec![0, 1, 2]] {
            let (a, b) = (mlp.score(3, &allowed, &[]), linear.score(3, &allowed, &[]));
            assert!((a - b).abs() < 1e-5 * b, "{a} {b}");
        }
    }
}
