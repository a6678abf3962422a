//! Node scores that are computed once.

use std::collections::HashMap;
use std::sync::{OnceLock, RwLock, RwLockReadGuard};
use std::time::Instant;

use faer::Mat;
use serde::{Deserialize, Serialize};

use super::NodeScore;
use crate::TopoError;
use crate::knowledge::Rules;

/// A set of nodes as bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Set(Box<[u64]>);

impl Set {
    pub fn empty(d: usize) -> Self {
        Self(vec![0; d.div_ceil(64)].into())
    }

    pub fn of(d: usize, nodes: &[usize]) -> Self {
        let mut set = Self::empty(d);
        nodes.iter().for_each(|v| set.insert(*v));
        set
    }

    pub fn insert(&mut self, v: usize) {
        self.0[v / 64] |= 1 << (v % 64);
    }

    pub fn with(&self, v: usize) -> Self {
        let mut set = self.clone();
        set.insert(v);
        set
    }

    /// Ascending.
    fn members(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let v = (word != 0).then(|| i * 64 + word.trailing_zeros() as usize);
                word &= word.wrapping_sub(1);
                v
            })
        })
    }
}

/// Of one node, by predecessors.
type Scores = HashMap<Set, f64>;

/// A score under rules that computes each node's score on each set of predecessors once.
pub(crate) struct Memo<'a> {
    score: &'a dyn NodeScore,
    rules: &'a Rules,
    known: Vec<RwLock<Scores>>,
    /// Node, possible parents and score, where one was no number.
    no_number: OnceLock<(usize, Vec<usize>, f64)>,
    /// When a step under way is to be given up.
    end: Option<Instant>,
}

impl<'a> Memo<'a> {
    pub fn new(score: &'a dyn NodeScore, rules: &'a Rules) -> Self {
        let known = (0..score.nodes()).map(|_| RwLock::default()).collect();
        Self { score, rules, known, no_number: OnceLock::new(), end: None }
    }

    /// With a time at which steps are given up.
    pub fn until(self, end: Option<Instant>) -> Self {
        Self { end, ..self }
    }

    /// Whether that time has come.
    pub fn late(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    pub fn inner(&self) -> &dyn NodeScore {
        self.score
    }

    pub fn rules(&self) -> &Rules {
        self.rules
    }

    /// Whether all scores were numbers so far.
    ///
    /// # Errors
    /// One that was NaN or −∞, which no search can go on from.
    pub fn sound(&self) -> Result<(), TopoError> {
        match self.no_number.get().cloned() {
            Some((node, parents, value)) => Err(TopoError::NoNumber { node, parents, value }),
            None => Ok(()),
        }
    }

    /// Different node scores computed so far.
    pub fn evaluations(&self) -> u64 {
        self.known.iter().map(|known| read(known).len() as u64).sum()
    }

    /// All node scores.
    pub fn save(&self) -> Vec<Scores> {
        self.known.iter().map(|known| read(known).clone()).collect()
    }

    /// Takes back what [`Memo::save`] gave.
    pub fn restore(&mut self, saved: Vec<Scores>) {
        self.known = saved.into_iter().map(RwLock::new).collect();
    }

    fn split(&self, node: usize, before: &Set) -> (Vec<usize>, Vec<usize>) {
        let allowed: Vec<usize> = before.members().filter(|u| !self.rules.forbids(*u, node)).collect();
        let required = allowed.iter().copied().filter(|u| self.rules.requires(*u, node)).collect();
        (allowed, required)
    }

    /// Score of a node behind these predecessors.
    pub fn node(&self, node: usize, before: &Set) -> f64 {
        let known = &self.known[node];
        if let Some(score) = read(known).get(before) {
            return *score;
        }
        let (allowed, required) = self.split(node, before);
        let score = self.score.score(node, &allowed, &required);
        if score.is_nan() || score == f64::NEG_INFINITY {
            self.no_number.get_or_init(|| (node, allowed, score));
        }
        known.write().unwrap_or_else(|e| e.into_inner()).insert(before.clone(), score);
        score
    }

    /// Scores of the nodes along an order.
    pub fn along(&self, order: &[usize]) -> Vec<f64> {
        let mut before = Set::empty(order.len());
        let mut scores = Vec::with_capacity(order.len());
        for &v in order {
            scores.push(self.node(v, &before));
            before.insert(v);
        }
        scores
    }

    /// Scores of the nodes at positions `a..=b` of an order.
    pub fn within(&self, order: &[usize], a: usize, b: usize) -> f64 {
        let mut before = Set::of(order.len(), &order[..a]);
        let mut sum = 0.0;
        for &v in &order[a..=b] {
            sum += self.node(v, &before);
            before.insert(v);
        }
        sum
    }

    /// Whether every fit along an order has a weight for each possible parent.
    ///
    /// # Errors
    /// One that has not.
    pub fn complete(&self, order: &[usize]) -> Result<(), TopoError> {
        let mut before = Set::empty(order.len());
        for &node in order {
            let (allowed, required) = self.split(node, &before);
            let (found, needed) = (self.score.fit(node, &allowed, &required).weights.len(), allowed.len());
            if found != needed {
                return Err(TopoError::Weights { node, found, needed });
            }
            before.insert(node);
        }
        Ok(())
    }

    /// Weights of the best graph of an order; those that a fit is short of are 0 (see [`Memo::complete`]).
    pub fn weights(&self, order: &[usize]) -> Mat<f64> {
        let d = order.len();
        let mut w = Mat::zeros(d, d);
        let mut before = Set::empty(d);
        for &v in order {
            let (allowed, required) = self.split(v, &before);
            let fit = self.score.fit(v, &allowed, &required);
            allowed.iter().zip(fit.weights).for_each(|(u, x)| w[(*u, v)] = x);
            before.insert(v);
        }
        w
    }
}

/// A poisoned lock holds whole entries all the same.
fn read(known: &RwLock<Scores>) -> RwLockReadGuard<'_, Scores> {
    known.read().unwrap_or_else(|e| e.into_inner())
}
