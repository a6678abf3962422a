//! Searches over orders, from one start or several at once. Each is a walk to an order in which none of
//! its moves helps; what a walk knows is its order and the scores on its way, so that it can stop and go on.

mod gaussian;
mod insertions;
mod published;

use std::time::Duration;

use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Problem, Progress, Seed};

pub(crate) use gaussian::Gaussian;
pub use published::Candidates;
pub(crate) use published::Published;

use crate::TopoError;
use crate::factor::Move;
use crate::method::{Mode, Topo};
use crate::score::Memo;

/// Orders under a score and rules: what is searched, and where from.
pub(crate) struct Orders<'a> {
    pub memo: Memo<'a>,
    /// The shortcut by Cholesky factors, where method and score allow it.
    pub gaussian: Option<Gaussian>,
    /// Legal orders.
    pub starts: Vec<Vec<usize>>,
    counted: u64,
}

impl<'a> Orders<'a> {
    pub fn new(memo: Memo<'a>, gaussian: Option<Gaussian>, starts: Vec<Vec<usize>>) -> Self {
        Self { memo, gaussian, starts, counted: 0 }
    }

    /// A walk's sum over the nodes, without what a ridge adds.
    fn plain(&self, sum: f64) -> f64 {
        sum - self.gaussian.as_ref().map_or(0.0, Gaussian::shift)
    }

    /// Node scores computed since the last call.
    fn evaluated(&mut self) -> u64 {
        let all = self.memo.evaluations();
        all - std::mem::replace(&mut self.counted, all)
    }
}

/// Node scores are the cost of a search: a resumed one keeps them.
impl Problem for Orders<'_> {
    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(&(self.memo.save(), self.counted)).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MethodError> {
        let saved = postcard::from_bytes(saved).map_err(|e| MethodError::Problem(Box::new(e)))?;
        let (scores, counted): (Vec<_>, u64) = saved;
        self.memo.restore(scores);
        self.counted = counted;
        Ok(())
    }
}

/// A search under way from one start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Walk {
    pub order: Vec<usize>,
    /// Sums over the nodes after each round, the start's first; falling.
    pub trace: Vec<f64>,
    /// No move helps any more.
    pub ended: bool,
    /// Moves of the round under way.
    moves: usize,
    /// Nodes whose turn comes in the round under way, the next one last.
    waiting: Vec<usize>,
    /// Rounds that the large set of the published search has saved.
    rescues: usize,
}

impl Walk {
    fn new(order: Vec<usize>, sum: f64) -> Self {
        Self { order, trace: vec![sum], ended: false, moves: 0, waiting: Vec::new(), rescues: 0 }
    }

    /// The sum after the last round.
    pub fn sum(&self) -> f64 {
        self.trace.last().copied().unwrap_or(f64::INFINITY)
    }
}

/// What the best of all walks found.
#[derive(Clone, Debug)]
pub struct SearchResult {
    /// The order.
    pub order: Vec<usize>,
    /// Its score.
    pub score: f64,
    /// Its best weights: `[(from, to)]`.
    pub weights: Mat<f64>,
    /// Scores after each round, the start's first; falling.
    pub trace: Vec<f64>,
    /// Where each walk ended.
    pub ends: Vec<f64>,
}

/// One step is a round of every walk that goes on; where nodes take turns, one turn.
impl Method<Orders<'_>> for Topo {
    type State = Vec<Walk>;
    type Solution = SearchResult;

    fn name(&self) -> &'static str {
        "topo"
    }

    fn validate(&self) -> Result<(), Invalid> {
        Topo::validate(self)
    }

    fn init(&self, orders: &mut Orders, _seed: Seed) -> Result<Vec<Walk>, MethodError> {
        let sum = |order: &[usize]| match &orders.gaussian {
            Some(gaussian) => gaussian.sum(order),
            None => Ok(orders.memo.along(order).iter().sum()),
        };
        // The first start counts, however late it is.
        let walk = |(k, order): (usize, &Vec<usize>)| {
            if k > 0 && orders.memo.late() {
                return Ok(Walk::new(order.clone(), f64::INFINITY));
            }
            Ok(Walk::new(order.clone(), sum(order)?))
        };
        let walks = orders.starts.par_iter().enumerate().map(walk).collect::<Result<_, TopoError>>();
        let walks = walks.and_then(|walks| orders.memo.sound().map(|()| walks));
        walks.map_err(|e| MethodError::Problem(Box::new(e)))
    }

    fn step(&self, orders: &mut Orders, walks: &mut Vec<Walk>) -> Result<Progress, MethodError> {
        let before: usize = walks.iter().map(|w| w.trace.len()).sum();
        walks.par_iter_mut().filter(|walk| !walk.ended).for_each(|walk| self.advance(orders, walk));
        if orders.memo.late() {
            std::thread::sleep(Duration::from_millis(10)); // nothing moves any more until the driver looks at its clock
        }
        orders.memo.sound().map_err(|e| MethodError::Problem(Box::new(e)))?;
        let least = walks.iter().map(Walk::sum).min_by(f64::total_cmp).unwrap_or(f64::NAN);
        let going = walks.iter().filter(|w| !w.ended).count();
        let rounds = walks.iter().map(|w| w.trace.len()).sum::<usize>() - before;
        Ok(Progress {
            value: orders.memo.inner().total(orders.plain(least)),
            evaluations: orders.evaluated(),
            metrics: vec![("walks".into(), going as f64), ("rounds".into(), rounds as f64)],
            converged: going == 0,
            ..Progress::default()
        })
    }

    fn finish(&self, orders: &mut Orders, walks: Vec<Walk>) -> Result<SearchResult, MethodError> {
        // A walk that was stopped within a round is where its last move led.
        let sum = |walk: &Walk| match walk.moves {
            0 => orders.plain(walk.sum()),
            _ => orders.memo.along(&walk.order).iter().sum(),
        };
        let sums: Vec<f64> = walks.iter().map(sum).collect();
        let best = (0..walks.len()).min_by(|a, b| sums[*a].total_cmp(&sums[*b]));
        let best = best.ok_or(MethodError::Empty)?; // no start, no walk
        let total = |sum: f64| orders.memo.inner().total(sum);
        let Walk { order, trace, .. } = &walks[best];
        Ok(SearchResult {
            order: order.clone(),
            score: total(sums[best]),
            weights: orders.memo.weights(order),
            trace: trace.iter().map(|sum| total(orders.plain(*sum))).collect(),
            ends: sums.into_iter().map(total).collect(),
        })
    }
}

impl Topo {
    fn advance(&self, orders: &Orders, walk: &mut Walk) {
        let memo = &orders.memo;
        match (&orders.gaussian, self.mode) {
            (Some(gaussian), _) => gaussian.round(memo.rules(), walk),
            (None, Mode::Fast) => insertions::turn(memo, self.reordered(), walk),
            (None, Mode::Paper) => self.published(walk.order.len()).round(memo, walk),
        }
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
