use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use faer::Mat;

use crate::knowledge::Rules;

/// The best model of one node that uses no other parents than those allowed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFit {
    /// Its part of the score; smaller is better.
    pub score: f64,
    /// Weight of each allowed parent, in the order given; 0 for those it does without.
    pub weights: Vec<f64>,
}

/// A score of graphs that is a sum over nodes. A score of your own is one function.
///
/// `fit` must depend on nothing but its arguments: every search remembers what it returned.
pub trait NodeScore: Sync {
    /// Number of nodes.
    fn nodes(&self) -> usize;

    /// The best model of `node` with parents among `allowed` (ascending, without `node`). Those in
    /// `required`, a subset, must be parents: no penalty may remove them.
    fn fit(&self, node: usize, allowed: &[usize], required: &[usize]) -> NodeFit;

    /// Its score alone, where that is cheaper.
    fn score(&self, node: usize, allowed: &[usize], required: &[usize]) -> f64 {
        self.fit(node, allowed, required).score
    }

    /// The score of a graph from the sum over its nodes: a rising function. Default: the sum.
    fn total(&self, sum: f64) -> f64 {
        sum
    }

    /// The smallest decrease of the sum that counts as an improvement.
    fn tolerance(&self, sum: f64) -> f64 {
        (1e-12 * sum.abs()).max(1e-14)
    }

    /// Gradient of the smooth part of the score at weights `w`, if there is one.
    fn gradient(&self, _w: &Mat<f64>) -> Option<Mat<f64>> {
        None
    }

    /// Slope of the penalty at weight 0 from above: below it a gradient at a zero weight is
    /// stationary.
    fn kink(&self) -> f64 {
        0.0
    }

    /// The sum at given weights, if it is defined for any; `w` is acyclic.
    fn at(&self, _w: &Mat<f64>) -> Option<f64> {
        None
    }
}

/// A [`NodeScore`] from a function `(node, allowed, required) → fit`.
///
/// ```
/// use thalweg_topo::{Custom, Knowledge, NodeFit, Topo};
/// use thalweg_core::Seed;
/// // Nodes like to come after larger ones.
/// let score = Custom::new(4, |node, allowed: &[usize], _: &[usize]| NodeFit {
///     score: allowed.iter().filter(|p| **p < node).count() as f64,
///     weights: vec![1.0; allowed.len()],
/// });
/// let order = Topo::default().search(&score, Some(&[0, 1, 2, 3]), Seed(1))?.order;
/// assert_eq!(order, [3, 2, 1, 0]);
/// # Ok::<(), thalweg_topo::TopoError>(())
/// ```
pub struct Custom<F> {
    nodes: usize,
    fit: F,
}

impl<F: Fn(usize, &[usize], &[usize]) -> NodeFit + Sync> Custom<F> {
    /// A score over so many nodes.
    pub fn new(nodes: usize, fit: F) -> Self {
        Self { nodes, fit }
    }
}

impl<F: Fn(usize, &[usize], &[usize]) -> NodeFit + Sync> NodeScore for Custom<F> {
    fn nodes(&self) -> usize {
        self.nodes
    }

    fn fit(&self, node: usize, allowed: &[usize], required: &[usize]) -> NodeFit {
        (self.fit)(node, allowed, required)
    }
}

/// A set of nodes as bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// A score under rules that computes each node's score on each set of predecessors once.
pub(crate) struct Memo<'a> {
    score: &'a dyn NodeScore,
    rules: &'a Rules,
    known: Vec<RwLock<HashMap<Set, f64>>>,
    evaluations: AtomicU64,
}

impl<'a> Memo<'a> {
    pub fn new(score: &'a dyn NodeScore, rules: &'a Rules) -> Self {
        let known = (0..score.nodes()).map(|_| RwLock::default()).collect();
        Self { score, rules, known, evaluations: AtomicU64::new(0) }
    }

    pub fn inner(&self) -> &dyn NodeScore {
        self.score
    }

    pub fn rules(&self) -> &Rules {
        self.rules
    }

    /// Fits made so far.
    pub fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }

    fn split(&self, node: usize, before: &Set) -> (Vec<usize>, Vec<usize>) {
        let allowed: Vec<usize> = before.members().filter(|u| !self.rules.forbids(*u, node)).collect();
        let required = allowed.iter().copied().filter(|u| self.rules.requires(*u, node)).collect();
        (allowed, required)
    }

    /// Score of a node behind these predecessors.
    pub fn node(&self, node: usize, before: &Set) -> f64 {
        // A poisoned lock holds whole entries all the same.
        let known = &self.known[node];
        if let Some(score) = known.read().unwrap_or_else(|e| e.into_inner()).get(before) {
            return *score;
        }
        let (allowed, required) = self.split(node, before);
        let score = self.score.score(node, &allowed, &required);
        self.evaluations.fetch_add(1, Ordering::Relaxed);
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

    /// Weights of the best graph of an order.
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
