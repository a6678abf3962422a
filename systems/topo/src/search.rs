//! Searches over orders. Each starts from an order and ends where none of its moves helps.

use std::ops::ControlFlow;

use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::TopoError;
use crate::factor::{Factor, Move};
use crate::graph::positions;
use crate::knowledge::Rules;
use crate::score::{Memo, Set};
use crate::subsets::{best_order, conditional_variances};
use crate::walks::Walks;

/// What a search tells after each round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Number of the start, from 0.
    pub start: usize,
    /// Rounds made from this start.
    pub round: usize,
    /// The score now.
    pub score: f64,
    /// Moves that this round made.
    pub moves: usize,
}

/// Asked after each round of each start, from several threads; `Break` ends the search with
/// [`TopoError::Stopped`].
pub type Watch<'a> = &'a (dyn Fn(&Round) -> ControlFlow<()> + Sync);

/// Where a search ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub order: Vec<usize>,
    /// Sum over the nodes, before [`crate::NodeScore::total`].
    pub sum: f64,
    /// The sums after each round, the start's first; falling.
    pub trace: Vec<f64>,
}

/// A search under way: the order, its score, and who is told of it.
struct Walk<'a> {
    start: usize,
    order: Vec<usize>,
    trace: Vec<f64>,
    total: &'a dyn Fn(f64) -> f64,
    watch: Watch<'a>,
}

impl<'a> Walk<'a> {
    fn new(start: usize, order: &[usize], total: &'a dyn Fn(f64) -> f64, watch: Watch<'a>) -> Self {
        Self { start, order: order.to_vec(), trace: Vec::new(), total, watch }
    }

    fn now(&self) -> f64 {
        self.trace.last().copied().unwrap_or(f64::INFINITY)
    }

    /// A round ended at `sum` after so many moves.
    fn round(&mut self, sum: f64, moves: usize) -> Result<(), TopoError> {
        self.trace.push(sum);
        self.tell(sum, moves)
    }

    /// Tells the watcher, who may stop the search, after a round and within a long one.
    fn tell(&self, sum: f64, moves: usize) -> Result<(), TopoError> {
        let round = self.trace.len() - 1;
        let told = Round { start: self.start, round, score: (self.total)(sum), moves };
        match (self.watch)(&told) {
            ControlFlow::Break(()) => Err(TopoError::Stopped),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn found(self) -> Found {
        Found { sum: self.now(), order: self.order, trace: self.trace }
    }
}

/// The best moves first, each in a window that no better one touches: their gains add up.
fn disjoint(mut moves: Vec<(f64, Move)>) -> Vec<Move> {
    moves.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut taken: Vec<Move> = Vec::new();
    for (_, m) in moves {
        let (a, b) = m.window();
        if taken.iter().all(|t| t.window().1 < a || b < t.window().0) {
            taken.push(m);
        }
    }
    taken
}

/// The fast search for least squares on the covariance `s` (with a ridge on its diagonal, if any):
/// all exchanges and insertions from one factor, the best disjoint ones made at once; where none
/// helps, exact reordering of windows of `window` positions.
pub(crate) fn gaussian(
    s: &Mat<f64>,
    rules: &Rules,
    start: (usize, &[usize]),
    window: usize,
    total: &dyn Fn(f64) -> f64,
    watch: Watch,
) -> Result<Found, TopoError> {
    let factor = |order: &[usize]| Factor::new(s, order);
    let mut walk = Walk::new(start.0, start.1, total, watch);
    let singular = |_| TopoError::Diverged {
        method: "the search",
        cause: "the covariance matrix is singular in working precision".into(),
    };
    let mut f = factor(&walk.order).map_err(singular)?;
    walk.round(f.score(), 0)?;
    loop {
        let tol = (1e-12 * walk.now()).max(1e-14);
        let legal = |m: &(f64, Move)| match m.1 {
            Move::Exchange(a, b) => rules.allows_exchange(&walk.order, a, b),
            Move::Insert(a, b) => rules.allows_insert(&walk.order, a, b),
        };
        let moves = f.improvements(tol).into_iter().filter(legal).collect();
        let moves = disjoint(moves);
        let mut next = walk.order.clone();
        for m in &moves {
            m.apply(&mut next);
        }
        let count =
            if moves.is_empty() { reorder_windows(&f, rules, &mut next, window, tol) } else { moves.len() };
        if count == 0 {
            return Ok(walk.found());
        }
        // A matrix that is singular in this order, or a gain lost to rounding, ends the search.
        match factor(&next) {
            Ok(better) if better.score() < walk.now() - tol => f = better,
            _ => return Ok(walk.found()),
        }
        walk.order = next;
        walk.round(f.score(), count)?;
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

/// The fast search for any score: each node in turn goes to its best position; where no node moves,
/// windows of `window` positions are put into their best order.
pub(crate) fn insertions(
    memo: &Memo,
    start: (usize, &[usize]),
    window: usize,
    watch: Watch,
) -> Result<Found, TopoError> {
    let d = start.1.len();
    let total = |sum| memo.inner().total(sum);
    let mut walk = Walk::new(start.0, start.1, &total, watch);
    let mut sum = memo.along(&walk.order).iter().sum::<f64>();
    walk.round(sum, 0)?;
    loop {
        let mut moves = 0;
        // In the order as it is now: which node comes next does not depend on the columns' order.
        for v in walk.order.clone() {
            let at = positions(&walk.order)[v];
            if let Some(to) = best_position(memo, &walk.order, at) {
                Move::Insert(at, to).apply(&mut walk.order);
                moves += 1;
                walk.tell(sum, 0)?;
            }
        }
        if moves == 0 {
            moves = reorder(memo, &mut walk.order, window.min(d));
        }
        if moves == 0 {
            return Ok(walk.found());
        }
        let now = memo.along(&walk.order).iter().sum::<f64>();
        if now >= sum {
            return Ok(walk.found());
        }
        sum = now;
        walk.round(sum, moves)?;
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

/// Which of the pairs that an order forbids are worth an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidates {
    /// Those with the fewest walks between them, as the published code does, ties by gradient (the
    /// largest first), then by number; exactly as many as asked for. The default.
    #[default]
    WalksThenGradient,
    /// Those with the fewest walks, ties by number.
    Walks,
    /// Those with at most `tau` walks and a gradient above `xi`: the set of the paper's theory.
    Kkt {
        /// Largest count of walks.
        tau: f64,
        /// Smallest gradient.
        xi: f64,
    },
}

/// Settings of the published search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paper {
    pub candidates: Candidates,
    pub walks: Walks,
    pub small: usize,
    pub large: usize,
    pub budget: usize,
}

/// The published search: exchanges of pairs that the optimality conditions point at, a small set of
/// them while that helps, then a large one at most `budget` times.
pub(crate) fn paper(
    memo: &Memo,
    settings: &Paper,
    start: (usize, &[usize]),
    watch: Watch,
) -> Result<Found, TopoError> {
    let total = |sum| memo.inner().total(sum);
    let mut walk = Walk::new(start.0, start.1, &total, watch);
    let mut scores = memo.along(&walk.order);
    walk.round(scores.iter().sum(), 0)?;
    let mut used = 0;
    loop {
        let pairs = ranked(memo, settings, &walk.order);
        let small = settings.small.min(pairs.len());
        let large = settings.large.clamp(small, pairs.len());
        let mut moves = improving(memo, &walk.order, &scores, &pairs[..small]);
        if moves.is_empty() && used < settings.budget {
            moves = improving(memo, &walk.order, &scores, &pairs[small..large]);
            used += usize::from(!moves.is_empty());
        }
        if moves.is_empty() {
            return Ok(walk.found());
        }
        let moves = disjoint(moves);
        moves.iter().for_each(|m| m.apply(&mut walk.order));
        scores = memo.along(&walk.order);
        walk.round(scores.iter().sum(), moves.len())?;
    }
}

/// Pairs of positions a < b whose edge b → a the order forbids, the most promising first.
fn ranked(memo: &Memo, settings: &Paper, order: &[usize]) -> Vec<(usize, usize)> {
    let d = order.len();
    let w = memo.weights(order);
    let walks = settings.walks.gradient(&w, order);
    let gradient = memo.inner().gradient(&w);
    let slope = |i: usize, j: usize| gradient.as_ref().map_or(0.0, |g| g[(i, j)].abs());
    let mut pairs: Vec<(f64, f64, usize, usize, usize, usize)> = Vec::with_capacity(d * (d - 1) / 2);
    for a in 0..d {
        for b in a + 1..d {
            let (i, j) = (order[b], order[a]);
            if memo.rules().allows_exchange(order, a, b) {
                pairs.push((walks[(i, j)], slope(i, j), i, j, a, b));
            }
        }
    }
    match settings.candidates {
        Candidates::Kkt { tau, xi } => pairs.retain(|p| p.0 <= tau && p.1 > xi),
        Candidates::Walks => pairs.iter_mut().for_each(|p| p.1 = 0.0),
        Candidates::WalksThenGradient => {}
    }
    pairs.sort_by(|x, y| {
        x.0.total_cmp(&y.0).then(y.1.total_cmp(&x.1)).then(x.2.cmp(&y.2)).then(x.3.cmp(&y.3))
    });
    pairs.into_iter().map(|p| (p.4, p.5)).collect()
}

/// Those exchanges that lower the sum, with their gains.
fn improving(memo: &Memo, order: &[usize], scores: &[f64], pairs: &[(usize, usize)]) -> Vec<(f64, Move)> {
    let sum: f64 = scores.iter().sum();
    let tol = memo.inner().tolerance(sum);
    let gain = |&(a, b): &(usize, usize)| {
        let mut moved = order.to_vec();
        moved.swap(a, b);
        let gain = memo.within(&moved, a, b) - scores[a..=b].iter().sum::<f64>();
        (gain, Move::Exchange(a, b))
    };
    pairs.par_iter().map(gain).filter(|m| m.0 < -tol).collect()
}
