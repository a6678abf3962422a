//! The published search: exchanges of pairs that the optimality conditions point at.

use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;

use super::{Walk, disjoint};
use crate::factor::Move;
use crate::score::Memo;
use crate::walks::Walks;

/// Which of the pairs that an order forbids are worth an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Candidates {
    /// Those with the fewest walks between them, as the published code does, ties by gradient (the
    /// largest first), then by number; exactly as many as asked for. `walks-then-gradient`, the default.
    #[default]
    WalksThenGradient,
    /// Those with the fewest walks, ties by number. `walks`.
    Walks,
    /// Those with at most τ walks and a gradient above ξ: the set of the paper's theory. `kkt:τ,ξ`.
    Kkt {
        /// Largest count of walks τ.
        tau: f64,
        /// Bound of the gradient ξ.
        xi: f64,
    },
}

impl FromStr for Candidates {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let kkt = || {
            let (tau, xi) = text.strip_prefix("kkt:")?.split_once(',')?;
            Some(Self::Kkt { tau: tau.parse().ok()?, xi: xi.parse().ok()? })
        };
        match text {
            "walks-then-gradient" => Ok(Self::WalksThenGradient),
            "walks" => Ok(Self::Walks),
            _ => kkt().ok_or_else(|| Invalid {
                field: "candidates".into(),
                value: text.into(),
                legal: "walks-then-gradient, walks, or kkt:TAU,XI, e.g. kkt:0,0".into(),
            }),
        }
    }
}

impl TryFrom<String> for Candidates {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Candidates> for String {
    fn from(rule: Candidates) -> Self {
        match rule {
            Candidates::WalksThenGradient => "walks-then-gradient".into(),
            Candidates::Walks => "walks".into(),
            Candidates::Kkt { tau, xi } => format!("kkt:{tau},{xi}"),
        }
    }
}

/// Settings of the published search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub candidates: Candidates,
    pub walks: Walks,
    pub small: usize,
    pub large: usize,
    pub budget: usize,
}

impl Published {
    /// Tries a small set of pairs; if those do not help, a large one, which may help at most `budget` times.
    pub fn round(&self, memo: &Memo, walk: &mut Walk) {
        let scores = memo.along(&walk.order);
        let pairs = ranked(memo, self, &walk.order);
        let small = self.small.min(pairs.len());
        let large = self.large.clamp(small, pairs.len());
        let mut moves = improving(memo, &walk.order, &scores, &pairs[..small]);
        let rescue = moves.is_empty() && walk.rescues < self.budget;
        if rescue {
            moves = improving(memo, &walk.order, &scores, &pairs[small..large]);
        }
        if memo.late() {
            return; // the round is for the next time
        }
        walk.rescues += usize::from(rescue && !moves.is_empty());
        if moves.is_empty() {
            walk.ended = true;
            return;
        }
        disjoint(moves).iter().for_each(|m| m.apply(&mut walk.order));
        walk.trace.push(memo.along(&walk.order).iter().sum());
    }
}

/// Pairs of positions a < b whose edge b → a the order forbids, the most promising first.
fn ranked(memo: &Memo, settings: &Published, order: &[usize]) -> Vec<(usize, usize)> {
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
        if memo.late() {
            return (0.0, Move::Exchange(a, b)); // nobody looks at it
        }
        let mut moved = order.to_vec();
        moved.swap(a, b);
        let gain = memo.within(&moved, a, b) - scores[a..=b].iter().sum::<f64>();
        (gain, Move::Exchange(a, b))
    };
    pairs.par_iter().map(gain).filter(|m| m.0 < -tol).collect()
}
