//! The fast search for least squares: all exchanges and insertions of an order from one Cholesky factor.

use faer::Mat;
use rayon::prelude::*;

use super::{Walk, disjoint};
use crate::TopoError;
use crate::factor::{Factor, Move};
use crate::knowledge::Rules;
use crate::subsets::{best_order, conditional_variances};

/// A covariance matrix with a ridge on its diagonal, if any.
pub(crate) struct Gaussian {
    s: Mat<f64>,
    ridge: f64,
    /// Positions in a window that is put into its best order when no move helps.
    window: usize,
}

impl Gaussian {
    pub fn new(s: &Mat<f64>, ridge: f64, window: usize) -> Self {
        let d = s.nrows();
        let s = Mat::from_fn(d, d, |i, j| s[(i, j)] + if i == j { ridge } else { 0.0 });
        Self { s, ridge, window }
    }

    /// The factor of S + λI has the variances plus λ each: half of what the ridge adds to a sum of them.
    pub fn shift(&self) -> f64 {
        0.5 * self.ridge * self.s.nrows() as f64
    }

    /// Half the sum of the conditional variances of an order, with the ridge.
    pub fn sum(&self, order: &[usize]) -> Result<f64, TopoError> {
        let singular = |_| TopoError::Diverged {
            method: "the search",
            cause: "the covariance matrix is singular in working precision".into(),
        };
        Ok(Factor::new(&self.s, order).map_err(singular)?.score())
    }

    /// Makes the best disjoint moves at once; where none helps, reorders windows exactly.
    pub fn round(&self, rules: &Rules, walk: &mut Walk) {
        let factor = |order: &[usize]| Factor::new(&self.s, order);
        // A matrix that is singular in the new order, or a gain lost to rounding, ends the search.
        walk.ended = true;
        let Ok(f) = factor(&walk.order) else { return };
        let tol = (1e-12 * walk.sum()).max(1e-14);
        let legal = |m: &(f64, Move)| match m.1 {
            Move::Exchange(a, b) => rules.allows_exchange(&walk.order, a, b),
            Move::Insert(a, b) => rules.allows_insert(&walk.order, a, b),
        };
        let moves = disjoint(f.improvements(tol).into_iter().filter(legal).collect());
        let mut next = walk.order.clone();
        moves.iter().for_each(|m| m.apply(&mut next));
        if moves.is_empty() && reorder_windows(&f, rules, &mut next, self.window, tol) == 0 {
            return;
        }
        if let Some(sum) = factor(&next).ok().map(|f| f.score()).filter(|sum| *sum < walk.sum() - tol) {
            walk.order = next;
            walk.trace.push(sum);
            walk.ended = false;
        }
    }
}

/// Puts disjoint windows into their best order, where that is better; returns how many were.
fn reorder_windows(f: &Factor, rules: &Rules, order: &mut [usize], size: usize, tol: f64) -> usize {
    let d = order.len();
    let size = size.min(d);
    if size < 3 {
        return 0;
    }
    let variances = f.variances();
    let best = |a: usize| {
        let table = conditional_variances(&f.window(a..a + size));
        let nodes = &order[a..a + size];
        let last = |v: usize, t: usize| {
            if rules.allows_next(nodes, v, t) { 0.5 * table[t * size + v] } else { f64::INFINITY }
        };
        let (within, score) = best_order(size, last);
        let gain = score - 0.5 * variances[a..a + size].iter().sum::<f64>();
        (gain, a, within.into_iter().map(|i| nodes[i]).collect::<Vec<_>>())
    };
    let mut all: Vec<_> = (0..=d - size).into_par_iter().map(best).filter(|w| w.0 < -tol).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)));
    let mut taken: Vec<usize> = Vec::new();
    for (_, a, nodes) in all {
        if taken.iter().all(|t| t.abs_diff(a) >= size) {
            order[a..a + size].copy_from_slice(&nodes);
            taken.push(a);
        }
    }
    taken.len()
}
