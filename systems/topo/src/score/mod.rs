//! Scores of graphs: sums over the nodes, each the best fit of a node on parents that it may have.

mod bic;
mod least_squares;
mod logistic;
mod memo;
mod mlp;

use faer::Mat;

pub use bic::Bic;
pub use least_squares::{Linear, Loss, Penalty};
pub(crate) use logistic::Kept;
pub use logistic::Logistic;
pub(crate) use memo::{Memo, Set};
pub use mlp::{Mlp, MlpScore};

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

    /// Gradient of the score without its penalty at weights `w`, if there is one.
    fn gradient(&self, _w: &Mat<f64>) -> Option<Mat<f64>> {
        None
    }

    /// Derivative of the penalty at a weight ≠ 0. Required edges have no penalty.
    fn slope(&self, _weight: f64) -> f64 {
        0.0
    }

    /// Slope of the penalty at weight 0 from above: below it a gradient at a zero weight is
    /// stationary.
    fn kink(&self) -> f64 {
        0.0
    }

    /// The sum at given weights, if it is defined for any; `w` is acyclic, and the edges `required` have no
    /// penalty.
    fn at(&self, _w: &Mat<f64>, _required: &[(usize, usize)]) -> Option<f64> {
        None
    }
}

/// A [`NodeScore`] from a function `(node, allowed, required) → fit`.
///
/// ```
/// use thalweg_topo::Topo;
/// use thalweg_topo::score::{Custom, NodeFit};
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
