//! The best order of all, where there are few enough variables.

use faer::Mat;
use rayon::prelude::*;
use thalweg_core::Interrupt;

use crate::TopoError;
use crate::knowledge::Rules;
use crate::method::Score;
use crate::prepared::Prepared;
use crate::score::{Bic, Memo, Penalty, Set};
use crate::subsets::{best_order, conditional_variances};

/// Most variables of a Gaussian score, and of others, whose every node score is a fit of its own.
const GAUSSIAN: usize = 20;
const OTHERS: usize = 14;

/// Order, weights and the number of node scores computed.
pub(crate) fn optimum(
    score: Score,
    prepared: &Prepared,
    interrupt: Option<&Interrupt>,
) -> Result<(Vec<usize>, Mat<f64>, u64), TopoError> {
    let Prepared { s, rules, .. } = prepared;
    let d = s.nrows();
    let gaussian = match score {
        Score::L2(Penalty::None) | Score::EqualVariance | Score::Bic(_) => true,
        Score::L2(Penalty::L2(_)) => !rules.orders,
        _ => false,
    };
    let (limit, why) = if gaussian {
        (GAUSSIAN, "for Gaussian scores")
    } else {
        (OTHERS, "for scores that need a fit per subset")
    };
    if d > limit {
        return Err(TopoError::TooMany { found: d, limit, why });
    }
    let sets = Sets::of(rules);
    let memo = Memo::new(&*prepared.score, rules);
    match score {
        Score::Bic(lambda) => {
            let bic = Bic::new(s.clone(), prepared.sample.n(), lambda);
            let (order, weights) = exact_parents(s, &bic, rules, &sets);
            Ok((order, weights, sets.entries()))
        }
        _ if gaussian => {
            let ridge = if let Score::L2(Penalty::L2(l)) = score { l } else { 0.0 };
            let order = by_variances(s, ridge, &sets);
            let weights = memo.weights(&order);
            Ok((order, weights, sets.entries()))
        }
        _ => {
            let order = by_fits(&memo, &sets, interrupt)?;
            let weights = memo.weights(&order);
            Ok((order, weights, memo.evaluations()))
        }
    }
}

/// Rules as sets of bits, by node.
struct Sets {
    d: usize,
    /// Its possible parents.
    allowed: Vec<usize>,
    /// What must stand before it.
    early: Vec<usize>,
}

impl Sets {
    fn of(rules: &Rules) -> Self {
        let d = rules.nodes();
        let others = |v: usize, is: &dyn Fn(usize) -> bool| -> usize {
            (0..d).filter(|u| *u != v && is(*u)).map(|u| 1 << u).sum()
        };
        let allowed = (0..d).map(|v| others(v, &|u| !rules.forbids(u, v))).collect();
        let early = (0..d).map(|v| others(v, &|u| !rules.may_follow(u, v))).collect();
        Self { d, allowed, early }
    }

    /// Whether v may stand behind the set t.
    fn legal(&self, v: usize, t: usize) -> bool {
        self.early[v] & !t == 0
    }

    /// Pairs of a node and a set of others.
    fn entries(&self) -> u64 {
        (self.d as u64) << (self.d - 1)
    }
}

/// Conditional variances come from one table.
fn by_variances(s: &Mat<f64>, ridge: f64, sets: &Sets) -> Vec<usize> {
    let d = sets.d;
    let table =
        conditional_variances(&Mat::from_fn(d, d, |i, j| s[(i, j)] + if i == j { ridge } else { 0.0 }));
    let last = |v: usize, t: usize| {
        if sets.legal(v, t) { 0.5 * (table[(t & sets.allowed[v]) * d + v] - ridge) } else { f64::INFINITY }
    };
    best_order(d, last).0
}

/// Every node score is a fit of its own.
fn by_fits(memo: &Memo, sets: &Sets, interrupt: Option<&Interrupt>) -> Result<Vec<usize>, TopoError> {
    let d = sets.d;
    let set = |t: usize| Set::of(d, &(0..d).filter(|u| t >> u & 1 == 1).collect::<Vec<_>>());
    // In slices, so that it can be interrupted.
    let mut table = vec![f64::INFINITY; d << d];
    for (k, slice) in table.chunks_mut(d << (d / 2)).enumerate() {
        if interrupt.is_some_and(Interrupt::requested) {
            return Err(TopoError::Interrupted);
        }
        slice.par_chunks_mut(d).enumerate().for_each(|(i, row)| {
            let t = (k << (d / 2)) + i;
            for v in (0..d).filter(|v| t >> v & 1 == 0 && sets.legal(*v, t)) {
                row[v] = memo.node(v, &set(t));
            }
        });
    }
    Ok(best_order(d, |v, t| table[t * d + v]).0)
}

/// The best order where each node has the best of all sets of parents before it, not the greedy one.
fn exact_parents(s: &Mat<f64>, bic: &Bic, rules: &Rules, sets: &Sets) -> (Vec<usize>, Mat<f64>) {
    let d = s.nrows();
    let required: Vec<usize> =
        (0..d).map(|v| (0..d).filter(|u| rules.requires(*u, v)).map(|u| 1 << u).sum()).collect();
    // First the score with exactly the parents t, then, in place, with any subset of t.
    let mut table = conditional_variances(s);
    for t in 0..1usize << d {
        for v in (0..d).filter(|v| t >> v & 1 == 0) {
            // Sets that are short of a required parent, or hold one that is not allowed, are none.
            table[t * d + v] = match t & !sets.allowed[v] == 0 && required[v] & !t == 0 {
                true => bic.value(v, table[t * d + v], t.count_ones() as usize),
                false => f64::INFINITY,
            };
        }
    }
    let exactly = table.clone();
    for t in 1..1usize << d {
        for v in (0..d).filter(|v| t >> v & 1 == 0) {
            for u in (0..d).filter(|u| t >> u & 1 == 1) {
                table[t * d + v] = table[t * d + v].min(table[(t & !(1 << u)) * d + v]);
            }
        }
    }
    let last = |v: usize, t: usize| if sets.legal(v, t) { table[t * d + v] } else { f64::INFINITY };
    let (order, _) = best_order(d, last);
    let mut w = Mat::zeros(d, d);
    let mut before = 0usize;
    for &v in &order {
        // Down to the set itself: drop members while the best stays the best.
        let mut t = before;
        while exactly[t * d + v] > table[before * d + v] {
            let drop =
                (0..d).find(|u| t >> u & 1 == 1 && table[(t & !(1 << u)) * d + v] <= table[before * d + v]);
            match drop {
                Some(u) => t &= !(1 << u),
                None => break,
            }
        }
        let parents: Vec<usize> = (0..d).filter(|u| t >> u & 1 == 1).collect();
        let weights = bic.regression(v, &parents);
        parents.iter().zip(weights).for_each(|(u, x)| w[(*u, v)] = x);
        before |= 1 << v;
    }
    (order, w)
}
