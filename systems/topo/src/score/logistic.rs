use faer::Mat;
use thalweg_linalg::dense::solve_semidefinite;

use super::{NodeFit, NodeScore, Penalty};
use crate::{Sample, TopoError};

/// Logistic regression of each binary node on its predecessors: (1/n) Σ log(1 + exp z) − x z with
/// z = c + Xw, by Newton's method (with coordinate descent inside for an ℓ1 penalty). The intercept c is
/// free of any penalty; the published loss has none, which makes rare events look caused by whatever is
/// common.
#[derive(Clone, Debug)]
pub struct Logistic {
    /// The data, then a column of ones.
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
        let x = sample.x();
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
        let d = x.ncols();
        let x = Mat::from_fn(x.nrows(), d + 1, |i, j| if j < d { x[(i, j)] } else { 1.0 });
        Ok(Self { x, penalty })
    }

    /// The best intercept of each node at weights `w`.
    pub fn intercepts(&self, w: &Mat<f64>) -> Vec<f64> {
        (0..self.nodes())
            .map(|v| self.intercept(v, &self.margins(&self.others(v), &self.column(v, w))))
            .collect()
    }

    /// A node whose two classes a plane through its parents separates, at least in part, at weights `w` that
    /// fit without penalty: its weights grow without bound, so that one more step of Newton's method, without
    /// the slight ridge that holds them, still moves a fitted margin.
    pub fn separated(&self, w: &Mat<f64>) -> Option<usize> {
        if self.penalty != Penalty::None {
            return None;
        }
        (0..self.nodes()).find(|&v| {
            let parents: Vec<usize> = self.others(v).into_iter().filter(|u| w[(*u, v)] != 0.0).collect();
            let weights: Vec<f64> = parents.iter().map(|u| w[(*u, v)]).collect();
            let c = self.intercept(v, &self.margins(&parents, &weights));
            let (columns, theta) = (self.with_ones(&parents), [&[c], &weights[..]].concat());
            let z = self.margins(&columns, &theta);
            let (g, h) = self.derivatives(v, &columns, &vec![0.0; columns.len()], &z, &theta);
            let step = solve_semidefinite(&h, &g);
            self.margins(&columns, &step).iter().any(|m| m.abs() > 0.3)
        })
    }

    fn others(&self, node: usize) -> Vec<usize> {
        (0..self.nodes()).filter(|u| *u != node).collect()
    }

    /// Weights of the other nodes into `node`.
    fn column(&self, node: usize, w: &Mat<f64>) -> Vec<f64> {
        self.others(node).into_iter().map(|u| w[(u, node)]).collect()
    }

    fn with_ones(&self, parents: &[usize]) -> Vec<usize> {
        std::iter::once(self.nodes()).chain(parents.iter().copied()).collect()
    }

    /// The intercept that fits best with these margins of the other terms: the root of a rising function.
    fn intercept(&self, node: usize, z: &[f64]) -> f64 {
        let n = z.len() as f64;
        let mean = self.x.col(node).iter().sum::<f64>() / n;
        let logit = (mean / (1.0 - mean)).ln();
        let (least, most) =
            z.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |m, z| (m.0.min(*z), m.1.max(*z)));
        // The ridge draws the root towards 0 a little.
        let (mut low, mut high) = ((logit - most).min(0.0), (logit - least).max(0.0));
        let mut c = (logit - z.iter().sum::<f64>() / n).clamp(low, high);
        for _ in 0..200 {
            let (mut slope, mut curvature) = (RIDGE * c - mean, RIDGE);
            for z in z {
                let p = sigmoid(z + c);
                slope += p / n;
                curvature += p * (1.0 - p) / n;
            }
            if slope > 0.0 {
                high = c
            } else {
                low = c
            }
            let newton = c - slope / curvature;
            let next = if low < newton && newton < high { newton } else { 0.5 * (low + high) };
            let moved = (next - c).abs();
            c = next;
            if moved <= 1e-14 * (1.0 + c.abs()) {
                break;
            }
        }
        c
    }

    fn margins(&self, columns: &[usize], w: &[f64]) -> Vec<f64> {
        let mut z = vec![0.0; self.x.nrows()];
        for (p, w) in columns.iter().zip(w).filter(|p| *p.1 != 0.0) {
            z.iter_mut().zip(self.x.col(*p).iter()).for_each(|(z, x)| *z += w * x);
        }
        z
    }

    /// Gradient and Hessian in the weights of these columns at margins `z`, with a ridge on each.
    fn derivatives(
        &self,
        node: usize,
        columns: &[usize],
        ridge: &[f64],
        z: &[f64],
        w: &[f64],
    ) -> (Vec<f64>, Mat<f64>) {
        let (n, m) = (z.len() as f64, columns.len());
        let p: Vec<f64> = z.iter().map(|z| sigmoid(*z)).collect();
        let curvature: Vec<f64> = p.iter().map(|p| p * (1.0 - p) / n).collect();
        let residual: Vec<f64> = p.iter().zip(self.x.col(node).iter()).map(|(p, x)| (p - x) / n).collect();
        let (mut g, mut h) = (vec![0.0; m], Mat::<f64>::zeros(m, m));
        for a in 0..m {
            let x = self.x.col(columns[a]);
            g[a] = residual.iter().zip(x.iter()).map(|(r, x)| r * x).sum::<f64>() + ridge[a] * w[a];
            let weighted: Vec<f64> = curvature.iter().zip(x.iter()).map(|(c, x)| c * x).collect();
            for b in 0..=a {
                let other = self.x.col(columns[b]);
                h[(a, b)] = weighted.iter().zip(other.iter()).map(|(c, x)| c * x).sum();
                h[(b, a)] = h[(a, b)];
            }
            h[(a, a)] += ridge[a];
        }
        (g, h)
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

/// Logistic regressions whose parents BIC chooses among the predecessors, as [`super::Bic`] does: which
/// edges of an order are worth keeping. A threshold would not do: a weight of 0.3 is noise where an event
/// is rare.
pub(crate) struct Kept {
    likelihood: Logistic,
    score: Logistic,
}

impl Kept {
    pub fn of(score: &Logistic) -> Self {
        let likelihood = Logistic { x: score.x.clone(), penalty: Penalty::None };
        Self { likelihood, score: score.clone() }
    }

    fn value(&self, node: usize, parents: &[usize]) -> f64 {
        let n = self.score.x.nrows() as f64;
        self.likelihood.fit(node, parents, &[]).score + n.ln() / (2.0 * n) * parents.len() as f64
    }

    /// Parents, ascending: added one after the other while that helps, then removed while that helps.
    fn choose(&self, node: usize, allowed: &[usize], required: &[usize]) -> Vec<usize> {
        let mut parents = required.to_vec();
        let mut value = self.value(node, &parents);
        let moved = |parents: &[usize], u: usize| match parents.binary_search(&u) {
            Ok(_) => parents.iter().copied().filter(|p| *p != u).collect(),
            Err(at) => [&parents[..at], &[u], &parents[at..]].concat(),
        };
        for growing in [true, false] {
            loop {
                let may = |u: &&usize| parents.contains(u) != growing && !required.contains(u);
                let tried = allowed.iter().filter(may).map(|u| moved(&parents, *u));
                let best = tried.map(|p| (self.value(node, &p), p)).min_by(|a, b| a.0.total_cmp(&b.0));
                match best {
                    Some((less, next)) if less < value => (value, parents) = (less, next),
                    _ => break,
                }
            }
        }
        parents
    }
}

impl NodeScore for Kept {
    fn nodes(&self) -> usize {
        self.score.nodes()
    }

    fn fit(&self, node: usize, allowed: &[usize], required: &[usize]) -> NodeFit {
        let parents = self.choose(node, allowed, required);
        let fit = self.score.fit(node, &parents, required);
        let weight = |p: &usize| parents.binary_search(p).map_or(0.0, |i| fit.weights[i]);
        NodeFit { score: fit.score, weights: allowed.iter().map(weight).collect() }
    }
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

impl NodeScore for Logistic {
    fn nodes(&self) -> usize {
        self.x.ncols() - 1
    }

    fn fit(&self, node: usize, allowed: &[usize], required: &[usize]) -> NodeFit {
        let columns = self.with_ones(allowed);
        let free: Vec<bool> = columns.iter().map(|p| *p == self.nodes() || required.contains(p)).collect();
        let ridge: Vec<f64> = free
            .iter()
            .map(|free| match self.penalty {
                Penalty::L2(l) if !free => RIDGE + l,
                _ => RIDGE,
            })
            .collect();
        let mut w = vec![0.0; columns.len()];
        w[0] = self.intercept(node, &vec![0.0; self.x.nrows()]);
        let mut z = self.margins(&columns, &w);
        let mut value = self.value(node, &z, &free, &w);
        for _ in 0..50 {
            let (g, h) = self.derivatives(node, &columns, &ridge, &z, &w);
            let target = self.model(&h, &g, &free, &w);
            let mut step = 1.0;
            let better = loop {
                let next: Vec<f64> = w.iter().zip(&target).map(|(w, t)| w + step * (t - w)).collect();
                let next_z = self.margins(&columns, &next);
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
        w.remove(0);
        NodeFit { score: value, weights: w }
    }

    fn tolerance(&self, sum: f64) -> f64 {
        (1e-9 * sum.abs()).max(1e-12)
    }

    fn gradient(&self, w: &Mat<f64>) -> Option<Mat<f64>> {
        let (d, n) = (self.nodes(), self.x.nrows() as f64);
        let mut gradient = Mat::zeros(d, d);
        for v in 0..d {
            let (parents, weights) = (self.others(v), self.column(v, w));
            let mut z = self.margins(&parents, &weights);
            // At the best intercept, the derivative by it is 0.
            let c = self.intercept(v, &z);
            z.iter_mut().zip(self.x.col(v).iter()).for_each(|(z, x)| *z = (sigmoid(*z + c) - x) / n);
            for (u, weight) in parents.into_iter().zip(weights) {
                let slope: f64 = self.x.col(u).iter().zip(&z).map(|(x, r)| x * r).sum();
                gradient[(u, v)] = slope + RIDGE * weight;
            }
        }
        Some(gradient)
    }

    fn slope(&self, weight: f64) -> f64 {
        self.penalty.slope(weight)
    }

    fn kink(&self) -> f64 {
        self.penalty.kink()
    }

    fn at(&self, w: &Mat<f64>, required: &[(usize, usize)]) -> Option<f64> {
        let node = |v: usize| {
            let (parents, weights) = (self.others(v), self.column(v, w));
            let c = self.intercept(v, &self.margins(&parents, &weights));
            let (columns, theta) = (self.with_ones(&parents), [&[c], &weights[..]].concat());
            let free: Vec<bool> =
                columns.iter().map(|u| *u == self.nodes() || required.contains(&(*u, v))).collect();
            self.value(v, &self.margins(&columns, &theta), &free, &theta)
        };
        Some((0..self.nodes()).map(node).sum())
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

    /// Gradient with the penalty's part at weights ≠ 0.
    fn slopes(score: &Logistic, w: &Mat<f64>) -> Mat<f64> {
        let g = score.gradient(w).unwrap();
        Mat::from_fn(5, 5, |i, j| g[(i, j)] + if w[(i, j)] == 0.0 { 0.0 } else { score.slope(w[(i, j)]) })
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences_and_0_at_the_fit() {
        let score = Logistic::new(&binary(), Penalty::L2(0.01)).unwrap();
        let fit = score.fit(4, &[0, 1, 2, 3], &[]);
        let mut w = Mat::zeros(5, 5);
        (0..4).for_each(|u| w[(u, 4)] = fit.weights[u]);
        let g = slopes(&score, &w);
        assert!((0..4).all(|u| g[(u, 4)].abs() < 1e-7));
        w[(1, 4)] += 0.3;
        w[(0, 2)] = -0.7;
        let g = slopes(&score, &w);
        for at in [(1, 4), (0, 2), (3, 4)] {
            let moved = |e: f64| {
                let mut w = w.clone();
                w[at] += e;
                score.at(&w, &[]).unwrap()
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
        let g = slopes(&score, &w);
        for u in 0..4 {
            let bound = if w[(u, 4)] == 0.0 { lambda } else { 0.0 };
            assert!(g[(u, 4)].abs() <= bound + 1e-6, "{u}: {} {}", w[(u, 4)], g[(u, 4)]);
        }
    }

    /// With one parent a 2 × 2 table gives the answer: the logarithm of its odds ratio.
    #[test]
    fn a_rare_event_has_the_weights_of_its_table() {
        // (parent, node): how often.
        let counts = [((0.0, 0.0), 950), ((0.0, 1.0), 20), ((1.0, 0.0), 3), ((1.0, 1.0), 27)];
        let rows: Vec<(f64, f64)> = counts.iter().flat_map(|(row, n)| vec![*row; *n]).collect();
        let x = Mat::from_fn(rows.len(), 2, |i, j| if j == 0 { rows[i].0 } else { rows[i].1 });
        let score = Logistic::new(&Sample::unnamed(x).unwrap(), Penalty::None).unwrap();
        let w = score.fit(1, &[0], &[]).weights[0];
        assert!((w - (27.0f64 * 950.0 / (3.0 * 20.0)).ln()).abs() < 1e-4, "{w}");
        let at = Mat::from_fn(2, 2, |i, j| if (i, j) == (0, 1) { w } else { 0.0 });
        assert!((score.intercepts(&at)[1] - (20.0f64 / 950.0).ln()).abs() < 1e-4);
        // Alone, the entropy of its frequency.
        let p = 47.0 / 1000.0f64;
        let entropy = -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
        assert!((score.fit(1, &[], &[]).score - entropy).abs() < 1e-7);
    }

    #[test]
    fn separation_is_noticed_and_other_values_are_refused() {
        // x1 = x0 but for one row in which only x0 is 1: x0 = 0 determines x1, x0 = 1 does not.
        let x = Mat::from_fn(40, 2, |i, j| f64::from(i % 2 == 0 && (i, j) != (6, 1)));
        let fit = |penalty| {
            let score = Logistic::new(&Sample::unnamed(x.clone()).unwrap(), penalty).unwrap();
            let mut w = Mat::zeros(2, 2);
            w[(0, 1)] = score.fit(1, &[0], &[]).weights[0];
            score.separated(&w)
        };
        assert_eq!(fit(Penalty::None), Some(1));
        assert_eq!(fit(Penalty::L2(0.01)), None);
        let score = Logistic::new(&binary(), Penalty::None).unwrap();
        let mut w = Mat::zeros(5, 5);
        score.fit(4, &[0, 1], &[]).weights.iter().enumerate().for_each(|(u, x)| w[(u, 4)] = *x);
        assert_eq!(score.separated(&w), None);
        let bad = Sample::unnamed(Mat::from_fn(4, 2, |i, _| i as f64)).unwrap();
        assert!(matches!(Logistic::new(&bad, Penalty::None), Err(TopoError::NotBinary { row: 3, .. })));
    }
}
