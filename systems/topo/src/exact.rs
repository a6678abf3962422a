//! The best order of all, where there are few enough variables.

use faer::Mat;
use rayon::prelude::*;

use crate::knowledge::Rules;
use crate::learn::{Given, Score, Topo};
use crate::least_squares::Penalty;
use crate::score::{Memo, NodeScore, Set};
use crate::search::Round;
use crate::subsets::{best_order, conditional_variances};
use crate::{Bic, TopoError};

/// Most variables of a Gaussian score, and of others, whose every node score is a fit of its own.
const GAUSSIAN: usize = 20;
const OTHERS: usize = 14;

/// Order, weights and the number of node scores computed, from the covariance of `n` samples.
pub(crate) fn optimum(
    topo: &Topo,
    (s, n): (&Mat<f64>, usize),
    score: &dyn NodeScore,
    rules: &Rules,
    given: &Given,
) -> Result<(Vec<usize>, Mat<f64>, u64), TopoError> {
    let d = s.nrows();
    let gaussian = match topo.score {
        Score::L2(Penalty::None) | Score::Ev | Score::Bic(_) => true,
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
    let allowed: Vec<usize> =
        (0..d).map(|v| (0..d).filter(|u| *u != v && !rules.forbids(*u, v)).map(|u| 1 << u).sum()).collect();
    let early: Vec<usize> = (0..d)
        .map(|v| (0..d).filter(|u| *u != v && !rules.may_follow(*u, v)).map(|u| 1 << u).sum())
        .collect();
    let legal = |v: usize, t: usize| early[v] & !t == 0;
    let entries = (d as u64) << (d - 1);

    if let Score::Bic(lambda) = topo.score {
        let bic = Bic::new(s.clone(), n, lambda);
        let (order, weights) = exact_parents(s, &bic, rules, &allowed, legal);
        return Ok((order, weights, entries));
    }
    if gaussian {
        let ridge = if let Score::L2(Penalty::L2(l)) = topo.score { l } else { 0.0 };
        let table =
            conditional_variances(&Mat::from_fn(d, d, |i, j| s[(i, j)] + if i == j { ridge } else { 0.0 }));
        let last = |v: usize, t: usize| {
            if legal(v, t) { 0.5 * (table[(t & allowed[v]) * d + v] - ridge) } else { f64::INFINITY }
        };
        let (order, _) = best_order(d, last);
        let weights = Memo::new(score, rules).weights(&order);
        return Ok((order, weights, entries));
    }
    let memo = Memo::new(score, rules);
    let set = |t: usize| Set::of(d, &(0..d).filter(|u| t >> u & 1 == 1).collect::<Vec<_>>());
    // In slices, so that the watcher may stop it.
    let mut table = vec![f64::INFINITY; d << d];
    for (k, slice) in table.chunks_mut(d << (d / 2)).enumerate() {
        let told = Round { start: 0, round: k, score: f64::NAN, moves: 0 };
        if (given.watch)(&told).is_break() {
            return Err(TopoError::Stopped);
        }
        slice.par_chunks_mut(d).enumerate().for_each(|(i, row)| {
            let t = (k << (d / 2)) + i;
            for v in (0..d).filter(|v| t >> v & 1 == 0 && legal(*v, t)) {
                row[v] = memo.node(v, &set(t));
            }
        });
    }
    let (order, _) = best_order(d, |v, t| table[t * d + v]);
    let weights = memo.weights(&order);
    Ok((order, weights, memo.evaluations()))
}

/// The best order where each node has the best of all sets of parents before it, not the greedy one.
fn exact_parents(
    s: &Mat<f64>,
    bic: &Bic,
    rules: &Rules,
    allowed: &[usize],
    legal: impl Fn(usize, usize) -> bool,
) -> (Vec<usize>, Mat<f64>) {
    let d = s.nrows();
    let required: Vec<usize> =
        (0..d).map(|v| (0..d).filter(|u| rules.requires(*u, v)).map(|u| 1 << u).sum()).collect();
    // First the score with exactly the parents t, then, in place, with any subset of t.
    let mut table = conditional_variances(s);
    for t in 0..1usize << d {
        for v in (0..d).filter(|v| t >> v & 1 == 0) {
            // Sets that are short of a required parent, or hold one that is not allowed, are none.
            table[t * d + v] = match t & !allowed[v] == 0 && required[v] & !t == 0 {
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
    let last = |v: usize, t: usize| if legal(v, t) { table[t * d + v] } else { f64::INFINITY };
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
