use faer::Mat;
use thalweg_linalg::dense::{product, solve_semidefinite};

use super::{NodeFit, NodeScore, Penalty};
use crate::{Sample, TopoError};

/// Logistic regression of each binary node on its predecessors: (1/n) Σ log(1 + exp z) − x z with
/// z = Xw, no intercept, by Newton's method (with coordinate descent inside for an ℓ1 penalty).
#[derive(Clone, Debug)]
pub struct Logistic {
    x: Mat<f64>,
    penalty: Penalty,
}

/// Keeps the Hessian positive definite; part of the score, so that it stays what is minimized.
const RIDGE: f64 = 1e-8;

impl Logistic {
    /// On binary data.
    ///
    /// # Errors
    /// A value other than 0 and 1; the MCP penalty.
    pub fn new(sample: &Sample, penalty: Penalty) -> Result<Self, TopoError> {
        let x = sample.x().clone();
        for i in 0..x.nrows() {
            if let Some(j) = (0..x.ncols()).find(|j| x[(i, *j)] != 0.0 && x[(i, *j)] != 1.0) {
                let (row, column, value) = (i + 1, sample.names()[j].clone(), x[(i, j)]);
                return Err(TopoError::NotBinary { row, column, value });
            }
        }
        if let Penalty::Mcp(..) = penalty {
            return Err(TopoError::Combination {
                what: "the penalty mcp".into(),
                with: "the logistic score".into(),
                remedy: "set `penalty` to none, l1 or l2".into(),
            });
        }
        Ok(Self { x, penalty })
    }

    /// A node whose two classes a plane through its parents separates, at weights `w`: all fitted
    /// probabilities are 0, ½ or 1, its weights grow without bound, and a penalty is called for.
    pub fn separated(&self, w: &Mat<f64>) -> Option<usize> {
        let z = product(&self.x, w);
        let far = |z: &f64| z.abs() > 12.0;
        (0..self.nodes()).find(|v| {
            let mut margins = z.col(*v).iter().filter(|z| **z != 0.0).peekable();
            margins.peek().is_some() && margins.all(far)
        })
    }

    fn margins(&self, parents: &[usize], w: &[f64]) -> Vec<f64> {
        let mut z = vec![0.0; self.x.nrows()];
        for (p, w) in parents.iter().zip(w).filter(|p| *p.1 != 0.0) {
            z.iter_mut().zip(self.x.col(*p).iter()).for_each(|(z, x)| *z += w * x);
        }
        z
    }

    fn value(&self, node: usize, z: &[f64], free: &[bool], w: &[f64]) -> f64 {
        let loss: f64 = z
            .iter()
            .zip(self.x.col(node).iter())
            .map(|(z, x)| z.max(0.0) + (-z.abs()).exp().ln_1p() - x * z)
            .sum();
        let penalties: f64 = w
            .iter()
            .zip(free)
            .map(|(w, free)| 0.5 * RIDGE * w * w + if *free { 0.0 } else { self.penalty.of(*w) })
            .sum();
        loss / z.len() as f64 + penalties
    }

    /// Minimiser of the quadratic model ½ pᵀHp + gᵀp + penalty(w + p), as w + p.
    fn model(&self, h: &Mat<f64>, g: &[f64], free: &[bool], w: &[f64]) -> Vec<f64> {
        let m = w.len();
        let Penalty::L1(lambda) = self.penalty else {
            let step = solve_semidefinite(h, g);
            return w.iter().zip(step).map(|(w, s)| w - s).collect();
        };
        let mut v = w.to_vec();
        for _ in 0..200 {
            let mut moved = 0f64;
            for a in 0..m {
                let slope = g[a] + (0..m).map(|b| h[(a, b)] * (v[b] - w[b])).sum::<f64>();
                let z = v[a] - slope / h[(a, a)];
                let cut = if free[a] { 0.0 } else { lambda / h[(a, a)] };
                let new = z.signum() * (z.abs() - cut).max(0.0);
                moved = moved.max((new - v[a]).abs());
                v[a] = new;
            }
            if moved < 1e-12 {
                break;
            }
        }
        v
    }
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

impl NodeScore for Logistic {
    fn nodes(&self) -> usize {
        self.x.ncols()
    }

    fn fit(&self, node: usize, allowed: &[usize], required: &[usize]) -> NodeFit {
        let (n, m) = (self.x.nrows(), allowed.len());
        let free: Vec<bool> = allowed.iter().map(|p| required.contains(p)).collect();
        let mut w = vec![0.0; m];
        let mut z = vec![0.0; n];
        let mut value = self.value(node, &z, &free, &w);
        for _ in 0..50 {
            let (mut g, mut h) = (vec![0.0; m], Mat::<f64>::zeros(m, m));
            let p: Vec<f64> = z.iter().map(|z| sigmoid(*z)).collect();
            let curvature: Vec<f64> = p.iter().map(|p| p * (1.0 - p) / n as f64).collect();
            let residual: Vec<f64> =
                p.iter().zip(self.x.col(node).iter()).map(|(p, x)| (p - x) / n as f64).collect();
            for a in 0..m {
                let x = self.x.col(allowed[a]);
                let ridge = RIDGE
                    + match self.penalty {
                        Penalty::L2(l) if !free[a] => l,
                        _ => 0.0,
                    };
                g[a] = residual.iter().zip(x.iter()).map(|(r, x)| r * x).sum::<f64>() + ridge * w[a];
                let weighted: Vec<f64> = curvature.iter().zip(x.iter()).map(|(c, x)| c * x).collect();
                for b in 0..=a {
                    let other = self.x.col(allowed[b]);
                    h[(a, b)] = weighted.iter().zip(other.iter()).map(|(c, x)| c * x).sum();
                    h[(b, a)] = h[(a, b)];
                }
                h[(a, a)] += ridge;
            }
            let target = self.model(&h, &g, &free, &w);
            let mut step = 1.0;
            let better = loop {
                let next: Vec<f64> = w.iter().zip(&target).map(|(w, t)| w + step * (t - w)).collect();
                let next_z = self.margins(allowed, &next);
                let next_value = self.value(node, &next_z, &free, &next);
                if next_value < value {
                    break Some((next, next_z, next_value));
                }
                step *= 0.5;
                if step < 1e-8 {
                    break None;
                }
            };
            let Some((next, next_z, next_value)) = better else { break };
            let done = value - next_value <= 1e-14 * value.abs();
            (w, z, value) = (next, next_z, next_value);
            if done {
                break;
            }
        }
        NodeFit { score: value, weights: w }
    }

    fn tolerance(&self, sum: f64) -> f64 {
        (1e-9 * sum.abs()).max(1e-12)
    }

    fn gradient(&self, w: &Mat<f64>) -> Option<Mat<f64>> {
        let n = self.x.nrows() as f64;
        let z = product(&self.x, w);
        let residual = Mat::from_fn(z.nrows(), z.ncols(), |i, j| (sigmoid(z[(i, j)]) - self.x[(i, j)]) / n);
        let g = product(self.x.transpose(), &residual);
        Some(Mat::from_fn(g.nrows(), g.ncols(), |i, j| {
            let extra = if w[(i, j)] == 0.0 { 0.0 } else { self.penalty.slope(w[(i, j)]) };
            g[(i, j)] + RIDGE * w[(i, j)] + extra
        }))
    }

    fn kink(&self) -> f64 {
        self.penalty.kink()
    }

    fn at(&self, w: &Mat<f64>) -> Option<f64> {
        let d = self.nodes();
        let all: Vec<usize> = (0..d).collect();
        let node = |v: usize| {
            let weights: Vec<f64> = all.iter().map(|u| w[(*u, v)]).collect();
            self.value(v, &self.margins(&all, &weights), &vec![false; d], &weights)
        };
        Some((0..d).map(node).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Mechanism, Noise, Simulation};
    use thalweg_core::Seed;

    fn binary() -> Sample {
        let s = Simulation {
            family: "er:1".parse().unwrap(),
            dim: 5,
            samples: 300,
            noise: Noise::Logistic,
            mechanism: Mechanism::Linear,
        };
        s.run(Seed(2)).unwrap().1
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences_and_0_at_the_fit() {
        let score = Logistic::new(&binary(), Penalty::L2(0.01)).unwrap();
        let fit = score.fit(4, &[0, 1, 2, 3], &[]);
        let mut w = Mat::zeros(5, 5);
        (0..4).for_each(|u| w[(u, 4)] = fit.weights[u]);
        let g = score.gradient(&w).unwrap();
        assert!((0..4).all(|u| g[(u, 4)].abs() < 1e-7));
        w[(1, 4)] += 0.3;
        w[(0, 2)] = -0.7;
        let g = score.gradient(&w).unwrap();
        for at in [(1, 4), (0, 2), (3, 4)] {
            let moved = |e: f64| {
                let mut w = w.clone();
                w[at] += e;
                score.at(&w).unwrap()
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - g[at]).abs() < 1e-6, "{at:?}: {slope} {}", g[at]);
        }
    }

    #[test]
    fn the_l1_fit_meets_its_optimality_conditions() {
        let lambda = 0.01;
        let score = Logistic::new(&binary(), Penalty::L1(lambda)).unwrap();
        let fit = score.fit(4, &[0, 1, 2, 3], &[]);
        let mut w = Mat::zeros(5, 5);
        (0..4).for_each(|u| w[(u, 4)] = fit.weights[u]);
        let g = score.gradient(&w).unwrap();
        for u in 0..4 {
            let bound = if w[(u, 4)] == 0.0 { lambda } else { 0.0 };
            assert!(g[(u, 4)].abs() <= bound + 1e-6, "{u}: {} {}", w[(u, 4)], g[(u, 4)]);
        }
    }

    #[test]
    fn separation_is_noticed_and_other_values_are_refused() {
        let x = Mat::from_fn(40, 2, |i, _| f64::from(i % 2 == 0));
        let fit = |penalty| {
            let score = Logistic::new(&Sample::unnamed(x.clone()).unwrap(), penalty).unwrap();
            let mut w = Mat::zeros(2, 2);
            w[(0, 1)] = score.fit(1, &[0], &[]).weights[0];
            score.separated(&w)
        };
        // x1 = x0: the margin of the ones grows without bound; the zeros stay at ½ without intercept.
        assert_eq!(fit(Penalty::None), Some(1));
        assert_eq!(fit(Penalty::L2(0.01)), None);
        let bad = Sample::unnamed(Mat::from_fn(4, 2, |i, _| i as f64)).unwrap();
        assert!(matches!(Logistic::new(&bad, Penalty::None), Err(TopoError::NotBinary { row: 3, .. })));
    }
}
