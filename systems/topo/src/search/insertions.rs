//! The fast search for any score: each node in turn goes to its best position; where no node moves,
//! windows of the order are put into their best order.

use rayon::prelude::*;

use super::Walk;
use crate::factor::Move;
use crate::graph::positions;
use crate::score::{Memo, Set};
use crate::subsets::best_order;

/// One node's turn; after the last node of a round, its end. A turn for which the time is up is left for the
/// next time.
pub(super) fn turn(memo: &Memo, window: usize, walk: &mut Walk) {
    if walk.waiting.is_empty() {
        // In the order as it is now: which node comes next does not depend on the columns' order.
        walk.waiting = walk.order.iter().rev().copied().collect();
    }
    let mut last = None;
    if let Some(v) = walk.waiting.pop() {
        let at = positions(&walk.order)[v];
        let to = best_position(memo, &walk.order, at);
        if memo.late() {
            walk.waiting.push(v);
            return;
        }
        if let Some(to) = to {
            Move::Insert(at, to).apply(&mut walk.order);
            walk.moves += 1;
        }
        last = Some(v);
    }
    if !walk.waiting.is_empty() {
        return;
    }
    let (mut moves, d) = (std::mem::take(&mut walk.moves), walk.order.len());
    if moves == 0 {
        let before = walk.order.clone();
        moves = reorder(memo, &mut walk.order, window.min(d));
        if memo.late() {
            walk.order = before;
            walk.waiting.extend(last);
            return;
        }
    }
    let now = memo.along(&walk.order).iter().sum::<f64>();
    match moves > 0 && now < walk.sum() {
        true => walk.trace.push(now),
        false => walk.ended = true,
    }
}

/// The position at which the node at `at` makes the sum smallest, if that is better than where it is.
fn best_position(memo: &Memo, order: &[usize], at: usize) -> Option<usize> {
    let d = order.len();
    let v = order[at];
    let rest: Vec<usize> = order.iter().copied().filter(|u| *u != v).collect();
    let mut before = vec![Set::empty(d)];
    for &u in &rest {
        let next = before[before.len() - 1].with(u);
        before.push(next);
    }
    // Of each position: v there; the node there without v before it; and with.
    let scores: Vec<[f64; 3]> = (0..d)
        .into_par_iter()
        .map(|k| {
            if memo.late() {
                return [f64::INFINITY; 3]; // nobody looks at it
            }
            let own = memo.node(v, &before[k]);
            let Some(&u) = rest.get(k) else { return [own, 0.0, 0.0] };
            [own, memo.node(u, &before[k]), memo.node(u, &before[k].with(v))]
        })
        .collect();
    // Moving v one place back exchanges "with" for "without"; sums relative to the first place.
    let mut relative = 0.0;
    let sums: Vec<f64> = scores
        .iter()
        .map(|[own, without, with]| {
            let sum = own + relative;
            relative += without - with;
            sum
        })
        .collect();
    let size = scores.iter().map(|s| s[0].abs() + s[2].abs()).sum::<f64>();
    let tol = memo.inner().tolerance(size);
    let legal = |k: &usize| memo.rules().allows_insert(order, at, *k);
    let best = (0..d).filter(legal).min_by(|a, b| sums[*a].total_cmp(&sums[*b]))?;
    (sums[best] < sums[at] - tol).then_some(best)
}

/// Puts windows into their best order, one after the other; returns how many changed.
fn reorder(memo: &Memo, order: &mut [usize], size: usize) -> usize {
    if size < 3 {
        return 0;
    }
    let d = order.len();
    let mut changed = 0;
    for a in 0..=d - size {
        if memo.late() {
            break;
        }
        let nodes = order[a..a + size].to_vec();
        let before = Set::of(d, &order[..a]);
        let behind = |v: usize, t: usize| {
            if !memo.rules().allows_next(&nodes, v, t) {
                return f64::INFINITY;
            }
            let mut set = before.clone();
            (0..size).filter(|u| t >> u & 1 == 1).for_each(|u| set.insert(nodes[u]));
            memo.node(nodes[v], &set)
        };
        let table: Vec<f64> = (0..size << size)
            .into_par_iter()
            .map(|i| {
                let (t, v) = (i / size, i % size);
                if t >> v & 1 == 1 { f64::INFINITY } else { behind(v, t) }
            })
            .collect();
        let (within, score) = best_order(size, |v, t| table[t * size + v]);
        let old = memo.within(order, a, a + size - 1);
        if score < old - memo.inner().tolerance(old) {
            order[a..a + size].iter_mut().zip(within).for_each(|(o, i)| *o = nodes[i]);
            changed += 1;
        }
    }
    changed
}
