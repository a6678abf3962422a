use faer::Mat;
use thalweg_linalg::dense::solve_semidefinite;

use super::{NodeFit, NodeScore};

/// Gaussian BIC with a choice of parents among the predecessors: ½ log σ²(v | P) + λ |P| log n / 2n,
/// where parents are added while that helps, then removed while that helps.
///
/// Invariant under scaling of the variables, and the same for all graphs of an equivalence class.
#[derive(Clone, Debug)]
pub struct Bic {
    s: Mat<f64>,
    n: usize,
    lambda: f64,
}

/// A residual variance below this share of the variance counts as that share.
const FLOOR: f64 = 1e-10;

impl Bic {
    /// From a covariance matrix of `n` samples; λ = 1 is the classical criterion, 2 a sparser one.
    pub fn new(s: Mat<f64>, n: usize, lambda: f64) -> Self {
        Self { s, n, lambda }
    }

    /// The price of a parent.
    pub fn price(&self) -> f64 {
        self.lambda * (self.n as f64).ln() / (2.0 * self.n as f64)
    }

    /// Score of `node` with exactly these parents.
    pub fn exactly(&self, node: usize, parents: &[usize]) -> f64 {
        self.value(node, self.variance(node, parents), parents.len())
    }

    pub(crate) fn value(&self, node: usize, variance: f64, parents: usize) -> f64 {
        0.5 * variance.max(FLOOR * self.s[(node, node)]).ln() + self.price() * parents as f64
    }

    pub(crate) fn regression(&self, node: usize, parents: &[usize]) -> Vec<f64> {
        let gram = Mat::from_fn(parents.len(), parents.len(), |a, b| self.s[(parents[a], parents[b])]);
        solve_semidefinite(&gram, &parents.iter().map(|p| self.s[(*p, node)]).collect::<Vec<_>>())
    }

    fn variance(&self, node: usize, parents: &[usize]) -> f64 {
        let w = self.regression(node, parents);
        self.s[(node, node)] - parents.iter().zip(w).map(|(p, w)| self.s[(*p, node)] * w).sum::<f64>()
    }

    /// Parents (ascending) and score.
    fn choose(&self, node: usize, allowed: &[usize], required: &[usize]) -> (Vec<usize>, f64) {
        let mut parents = self.grow(node, allowed, required);
        let mut score = self.exactly(node, &parents);
        // Each removal raises the residual variance by w² / (G⁻¹)_ii; the cheapest goes first.
        loop {
            let without = |i: usize| {
                let mut fewer = parents.clone();
                fewer.remove(i);
                (self.exactly(node, &fewer), i)
            };
            let removable = (0..parents.len()).filter(|i| !required.contains(&parents[*i]));
            match removable.map(without).min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((less, i)) if less < score => {
                    parents.remove(i);
                    score = less;
                }
                _ => break,
            }
        }
        parents.sort_unstable();
        (parents, score)
    }

    /// Parents added one after the other, the best first, while the criterion falls. A pivoted
    /// factorisation keeps the variances of all candidates given those chosen.
    fn grow(&self, node: usize, allowed: &[usize], required: &[usize]) -> Vec<usize> {
        let s = &self.s;
        let m = allowed.len();
        // Of each candidate: variance and covariance with the node, given the parents so far.
        let mut variance: Vec<f64> = allowed.iter().map(|p| s[(*p, *p)]).collect();
        let mut with_node: Vec<f64> = allowed.iter().map(|p| s[(*p, node)]).collect();
        let mut own = s[(node, node)];
        let mut rows: Vec<Vec<f64>> = Vec::new();
        let mut chosen = Vec::new();
        let mut waiting: Vec<usize> = (0..m).filter(|i| required.contains(&allowed[*i])).collect();
        let most = m.min(self.n.saturating_sub(2));
        while chosen.len() < most {
            let next = waiting.pop().or_else(|| {
                let gain = |i: &usize| with_node[*i] * with_node[*i] / variance[*i];
                let open = (0..m).filter(|i| {
                    !chosen.contains(&allowed[*i]) && variance[*i] > FLOOR * s[(allowed[*i], allowed[*i])]
                });
                let best = open.max_by(|a, b| gain(a).total_cmp(&gain(b)).then(b.cmp(a)))?;
                let count = chosen.len();
                let better = self.value(node, own - gain(&best), count + 1) < self.value(node, own, count);
                better.then_some(best)
            });
            let Some(next) = next else { break };
            let pivot = variance[next].max(FLOOR * s[(allowed[next], allowed[next])]).sqrt();
            let row: Vec<f64> = (0..m)
                .map(|i| {
                    let known: f64 = rows.iter().map(|r| r[i] * r[next]).sum();
                    (s[(allowed[i], allowed[next])] - known) / pivot
                })
                .collect();
            let along = with_node[next] / pivot;
            for i in 0..m {
                variance[i] -= row[i] * row[i];
                with_node[i] -= row[i] * along;
            }
            own -= along * along;
            rows.push(row);
            chosen.push(allowed[next]);
        }
        chosen
    }
}

impl NodeScore for Bic {
    fn nodes(&self) -> usize {
        self.s.nrows()
    }

    fn fit(&self, node: usize, allowed: &[usize], required: &[usize]) -> NodeFit {
        let (parents, score) = self.choose(node, allowed, required);
        let w = self.regression(node, &parents);
        let weight = |p: &usize| parents.binary_search(p).map_or(0.0, |i| w[i]);
        NodeFit { score, weights: allowed.iter().map(weight).collect() }
    }

    fn score(&self, node: usize, allowed: &[usize], required: &[usize]) -> f64 {
        self.choose(node, allowed, required).1
    }

    /// Gradient of the likelihood; the price of a parent has none.
    fn gradient(&self, w: &Mat<f64>) -> Option<Mat<f64>> {
        use crate::score::{Linear, Loss, Penalty};
        Linear::new(self.s.clone(), Loss::LogVariance, Penalty::None).gradient(w)
    }

    /// A weight that leaves 0 costs a price at once.
    fn kink(&self) -> f64 {
        f64::INFINITY
    }

    fn at(&self, w: &Mat<f64>, _required: &[(usize, usize)]) -> Option<f64> {
        let d = self.nodes();
        let node = |v: usize| {
            let parents: Vec<usize> = (0..d).filter(|u| w[(*u, v)] != 0.0).collect();
            self.exactly(v, &parents)
        };
        Some((0..d).map(node).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_parents_cannot_be_improved_by_one() {
        let s = thalweg_testing::covariance(8, 11);
        let score = Bic::new(s, 24, 0.3);
        let allowed = [0, 1, 2, 4, 5, 6, 7];
        let (parents, value) = score.choose(3, &allowed, &[]);
        assert!(!parents.is_empty());
        assert!((score.exactly(3, &parents) - value).abs() < 1e-12);
        for i in 0..parents.len() {
            let mut fewer = parents.clone();
            fewer.remove(i);
            assert!(score.exactly(3, &fewer) >= value);
        }
        let (forced, _) = Bic::new(score.s.clone(), 24, 1e6).choose(3, &allowed, &[5, 1]);
        assert_eq!(forced, [1, 5]);
    }

    #[test]
    fn scaling_a_column_changes_no_choice() {
        let s = thalweg_testing::covariance(6, 12);
        let c = [1.0, 100.0, 0.01, 7.0, 1.0, 3.0];
        let scaled = Mat::from_fn(6, 6, |i, j| c[i] * c[j] * s[(i, j)]);
        let (one, other) = (Bic::new(s, 40, 0.5), Bic::new(scaled, 40, 0.5));
        let allowed = [0, 1, 2, 4, 5];
        let ((p, a), (q, b)) = (one.choose(3, &allowed, &[]), other.choose(3, &allowed, &[]));
        assert_eq!(p, q);
        assert!((b - a - 7f64.ln()).abs() < 1e-10);
    }
}
