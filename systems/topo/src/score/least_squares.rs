use faer::Mat;
use serde::{Deserialize, Serialize};
use thalweg_linalg::dense::{product, solve_semidefinite};

use super::{NodeFit, NodeScore};

/// What a score adds to keep weights small or few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Penalty {
    /// Nothing.
    #[default]
    None,
    /// λ Σ |w|.
    L1(f64),
    /// (λ/2) Σ w².
    L2(f64),
    /// λ Σ p(|w|) with p(t) = t − t²/2γ up to t = γ, then γ/2: as [`Penalty::L1`] near 0, constant for
    /// large weights.
    Mcp(f64, f64),
}

impl Penalty {
    /// Of one weight.
    pub fn of(self, w: f64) -> f64 {
        let t = w.abs();
        match self {
            Self::None => 0.0,
            Self::L1(l) => l * t,
            Self::L2(l) => 0.5 * l * t * t,
            Self::Mcp(l, g) if t <= g => l * (t - t * t / (2.0 * g)),
            Self::Mcp(l, g) => l * g / 2.0,
        }
    }

    /// Derivative at weights ≠ 0.
    pub fn slope(self, w: f64) -> f64 {
        match self {
            Self::None => 0.0,
            Self::L1(l) => l * w.signum(),
            Self::L2(l) => l * w,
            Self::Mcp(l, g) => l * (1.0 - w.abs() / g).max(0.0) * w.signum(),
        }
    }

    /// Derivative at 0 from above.
    pub fn kink(self) -> f64 {
        match self {
            Self::None | Self::L2(_) => 0.0,
            Self::L1(l) | Self::Mcp(l, _) => l,
        }
    }

    /// The minimiser of ½ h (w − z)² + penalty(w) over w, for h > 0.
    fn prox(self, h: f64, z: f64) -> f64 {
        match self {
            Self::None => z,
            Self::L1(l) => z.signum() * (z.abs() - l / h).max(0.0),
            Self::L2(l) => h * z / (h + l),
            Self::Mcp(l, g) if h * g > l => match z.abs() {
                t if t >= g => z,
                t => z.signum() * (h * t - l).max(0.0) / (h - l / g),
            },
            // Concave in between: either 0 or beyond the penalty's reach.
            Self::Mcp(l, g) if z.abs() >= g && 0.5 * h * z * z > 0.5 * l * g => z,
            Self::Mcp(..) => 0.0,
        }
    }
}

/// What a residual variance σ² contributes to a Gaussian score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// ½ σ²: least squares, (1/2n)‖X − XW‖² in all.
    Squares,
    /// ½ log σ²: the likelihood with a variance for each node.
    LogVariance,
    /// Least squares under the monotone transform (d/2) log(2 · sum / d): the likelihood with one
    /// variance for all nodes.
    EqualVariance,
}

/// Linear regression of each node on its predecessors, from the covariance matrix.
#[derive(Clone, Debug)]
pub struct Linear {
    s: Mat<f64>,
    loss: Loss,
    penalty: Penalty,
}

/// Coordinate descent ends when no weight moves the fit by more than this share of its size.
const SETTLED: f64 = 1e-9;

/// Sweeps of coordinate descent: to the end, and under one tangent of the logarithm, which the next
/// replaces anyway.
const SWEEPS: (usize, usize) = (10_000, 10);

impl Linear {
    /// On a covariance matrix.
    pub fn new(s: Mat<f64>, loss: Loss, penalty: Penalty) -> Self {
        Self { s, loss, penalty }
    }

    /// Residual variance of `node` with `weights` of `parents`.
    fn residual(&self, node: usize, parents: &[usize], weights: &[f64]) -> f64 {
        let s = &self.s;
        let mut v = s[(node, node)];
        for (a, &i) in parents.iter().enumerate() {
            if weights[a] != 0.0 {
                let fitted: f64 = parents.iter().zip(weights).map(|(j, w)| s[(i, *j)] * w).sum();
                v += weights[a] * (fitted - 2.0 * s[(i, node)]);
            }
        }
        v.max(f64::MIN_POSITIVE)
    }

    fn loss(&self, variance: f64) -> f64 {
        match self.loss {
            Loss::LogVariance => 0.5 * variance.ln(),
            _ => 0.5 * variance,
        }
    }

    /// Weights by solving the normal equations with `ridge` on the diagonal of those not required.
    fn solve(&self, node: usize, parents: &[usize], required: &[usize], ridge: f64) -> Vec<f64> {
        let m = parents.len();
        let add = |i: usize| if required.contains(&i) { 0.0 } else { ridge };
        let gram = Mat::from_fn(m, m, |a, b| {
            self.s[(parents[a], parents[b])] + if a == b { add(parents[a]) } else { 0.0 }
        });
        let right: Vec<f64> = parents.iter().map(|p| self.s[(*p, node)]).collect();
        solve_semidefinite(&gram, &right)
    }

    /// Weights by coordinate descent with the loss multiplied by `scale`, in place.
    fn descend(
        &self,
        node: usize,
        parents: &[usize],
        free: &[bool],
        (scale, sweeps): (f64, usize),
        w: &mut [f64],
    ) {
        let s = &self.s;
        // The gradient's part that the weights change, kept up to date.
        let mut slack: Vec<f64> = parents
            .iter()
            .map(|i| s[(*i, node)] - parents.iter().zip(&*w).map(|(j, w)| s[(*i, *j)] * w).sum::<f64>())
            .collect();
        for _ in 0..sweeps {
            let mut moved = 0f64;
            for a in 0..parents.len() {
                let h = s[(parents[a], parents[a])];
                let penalty = if free[a] { Penalty::None } else { self.penalty };
                let new = penalty.prox(scale * h, w[a] + slack[a] / h);
                let step = new - w[a];
                if step != 0.0 {
                    w[a] = new;
                    for (x, j) in slack.iter_mut().zip(parents) {
                        *x -= step * s[(*j, parents[a])];
                    }
                    moved = moved.max(step * step * h);
                }
            }
            if moved <= SETTLED * SETTLED * s[(node, node)] {
                break;
            }
        }
    }

    fn value(&self, node: usize, parents: &[usize], free: &[bool], w: &[f64]) -> f64 {
        let penalties: f64 = w.iter().zip(free).filter(|f| !f.1).map(|(w, _)| self.penalty.of(*w)).sum();
        self.loss(self.residual(node, parents, w)) + penalties
    }

    /// A local minimum from the weights `w`; the log-likelihood by its tangent, a weighted least-squares
    /// problem that lies above it, until a tangent lowers it by no more than `tol`.
    fn settle(
        &self,
        node: usize,
        parents: &[usize],
        free: &[bool],
        tol: f64,
        mut w: Vec<f64>,
    ) -> (f64, Vec<f64>) {
        if self.loss != Loss::LogVariance {
            self.descend(node, parents, free, (1.0, SWEEPS.0), &mut w);
            return (self.value(node, parents, free, &w), w);
        }
        let mut value = self.value(node, parents, free, &w);
        for _ in 0..1000 {
            let scale = 1.0 / self.residual(node, parents, &w);
            self.descend(node, parents, free, (scale, SWEEPS.1), &mut w);
            let next = self.value(node, parents, free, &w);
            if next > value - tol {
                break;
            }
            value = next;
        }
        (self.value(node, parents, free, &w), w)
    }

    /// Score and weights; where the logarithm makes that iterative, to `tol`.
    fn best(&self, node: usize, allowed: &[usize], required: &[usize], tol: f64) -> (f64, Vec<f64>) {
        let free: Vec<bool> = allowed.iter().map(|p| required.contains(p)).collect();
        let settle = |w| self.settle(node, allowed, &free, tol, w);
        let zero = vec![0.0; allowed.len()];
        match (self.loss, self.penalty) {
            (Loss::LogVariance, Penalty::L2(l)) => settle(self.solve(node, allowed, required, l)),
            (_, Penalty::None | Penalty::L2(_)) => {
                let ridge = if let Penalty::L2(l) = self.penalty { l } else { 0.0 };
                let w = self.solve(node, allowed, required, ridge);
                (self.value(node, allowed, &free, &w), w)
            }
            (Loss::Squares | Loss::EqualVariance, Penalty::L1(_)) => settle(zero),
            // Not convex: the better of the minima from no parents and from all.
            _ => {
                let slight = 1e-6 * self.s[(node, node)];
                let (empty, full) = (settle(zero), settle(self.solve(node, allowed, required, slight)));
                if full.0 < empty.0 { full } else { empty }
            }
        }
    }
}

impl NodeScore for Linear {
    fn nodes(&self) -> usize {
        self.s.nrows()
    }

    fn fit(&self, node: usize, allowed: &[usize], required: &[usize]) -> NodeFit {
        let (score, weights) = self.best(node, allowed, required, 1e-15);
        NodeFit { score, weights }
    }

    fn score(&self, node: usize, allowed: &[usize], required: &[usize]) -> f64 {
        self.best(node, allowed, required, 1e-10).0
    }

    fn total(&self, sum: f64) -> f64 {
        let d = self.nodes() as f64;
        match self.loss {
            Loss::EqualVariance => 0.5 * d * (2.0 * sum / d).ln(),
            _ => sum,
        }
    }

    fn tolerance(&self, sum: f64) -> f64 {
        match self.penalty {
            Penalty::None | Penalty::L2(_) => (1e-12 * sum.abs()).max(1e-14),
            _ => (1e-8 * sum.abs()).max(1e-10),
        }
    }

    fn gradient(&self, w: &Mat<f64>) -> Option<Mat<f64>> {
        let d = self.nodes();
        let residual = Mat::from_fn(d, d, |i, j| f64::from(i == j) - w[(i, j)]);
        let g = product(&self.s, &residual);
        let scale = |j: usize| match self.loss {
            Loss::LogVariance => {
                let v: f64 = (0..d).map(|i| residual[(i, j)] * g[(i, j)]).sum();
                1.0 / v.max(f64::MIN_POSITIVE)
            }
            _ => 1.0,
        };
        let scales: Vec<f64> = (0..d).map(scale).collect();
        Some(Mat::from_fn(d, d, |i, j| -g[(i, j)] * scales[j]))
    }

    fn slope(&self, weight: f64) -> f64 {
        self.penalty.slope(weight)
    }

    fn kink(&self) -> f64 {
        self.penalty.kink()
    }

    fn at(&self, w: &Mat<f64>, required: &[(usize, usize)]) -> Option<f64> {
        let d = self.nodes();
        let node = |v: usize| {
            let parents: Vec<usize> = (0..d).filter(|u| w[(*u, v)] != 0.0).collect();
            let weights: Vec<f64> = parents.iter().map(|u| w[(*u, v)]).collect();
            let free: Vec<bool> = parents.iter().map(|u| required.contains(&(*u, v))).collect();
            self.value(v, &parents, &free, &weights)
        };
        Some((0..d).map(node).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lasso_meets_its_optimality_conditions() {
        let s = thalweg_testing::covariance(7, 4);
        let allowed = [0, 1, 2, 4, 5, 6];
        let lambda = 0.1;
        let score = Linear::new(s.clone(), Loss::Squares, Penalty::L1(lambda));
        let fit = score.fit(3, &allowed, &[]);
        for (a, &i) in allowed.iter().enumerate() {
            let slope: f64 =
                s[(i, 3)] - allowed.iter().zip(&fit.weights).map(|(j, w)| s[(i, *j)] * w).sum::<f64>();
            match fit.weights[a] {
                0.0 => assert!(slope.abs() <= lambda + 1e-8),
                w => assert!((slope - lambda * w.signum()).abs() < 1e-8),
            }
        }
        let plain = Linear::new(s.clone(), Loss::Squares, Penalty::None).fit(3, &allowed, &[]);
        let none = Linear::new(s.clone(), Loss::Squares, Penalty::L1(0.0)).fit(3, &allowed, &[]);
        assert!(plain.weights.iter().zip(&none.weights).all(|(a, b)| (a - b).abs() < 1e-7));
        let largest = allowed.iter().map(|i| s[(*i, 3)].abs()).fold(0.0, f64::max);
        let empty = Linear::new(s, Loss::Squares, Penalty::L1(largest)).fit(3, &allowed, &[]);
        assert!(empty.weights.iter().all(|w| *w == 0.0));
    }

    #[test]
    fn the_prox_is_the_minimum_of_a_grid() {
        for penalty in [Penalty::L1(0.3), Penalty::L2(0.3), Penalty::Mcp(0.3, 1.0), Penalty::Mcp(0.8, 0.5)] {
            for (h, z) in [(1.0, 0.1), (1.0, 0.7), (2.0, -1.5), (0.2, 0.9), (0.2, -2.5), (1.1, 0.45)] {
                let f = |w: f64| 0.5 * h * (w - z) * (w - z) + penalty.of(w);
                let w = penalty.prox(h, z);
                let least = (-4000..=4000).map(|i| f(f64::from(i) * 1e-3)).fold(f64::INFINITY, f64::min);
                assert!(f(w) <= least + 1e-9, "{penalty:?} h {h} z {z}: {w}");
            }
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let s = thalweg_testing::covariance(4, 9);
        let mut w = Mat::zeros(4, 4);
        (w[(0, 1)], w[(0, 2)], w[(1, 3)], w[(2, 3)]) = (0.7, -0.4, 0.3, 1.2);
        for (loss, penalty) in [
            (Loss::Squares, Penalty::L2(0.1)),
            (Loss::Squares, Penalty::None),
            (Loss::LogVariance, Penalty::Mcp(0.1, 1.0)),
        ] {
            let score = Linear::new(s.clone(), loss, penalty);
            let g = score.gradient(&w).unwrap();
            for (i, j) in [(0, 1), (2, 3), (1, 3)] {
                let e = 1e-6;
                let moved = |e: f64| {
                    let mut w = w.clone();
                    w[(i, j)] += e;
                    score.at(&w, &[]).unwrap()
                };
                let slope = (moved(e) - moved(-e)) / (2.0 * e);
                let own = g[(i, j)] + score.slope(w[(i, j)]);
                assert!((slope - own).abs() < 1e-6 * (1.0 + slope.abs()), "{slope} {own}");
            }
        }
    }

    #[test]
    fn required_parents_are_not_penalised() {
        let s = thalweg_testing::covariance(4, 9);
        let score = Linear::new(s, Loss::Squares, Penalty::L1(100.0));
        let fit = score.fit(3, &[0, 1, 2], &[1]);
        assert!(fit.weights[1] != 0.0 && fit.weights[0] == 0.0 && fit.weights[2] == 0.0);
    }
}
