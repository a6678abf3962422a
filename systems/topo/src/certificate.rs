//! How far a graph is from a local optimum.

use faer::Mat;

use crate::knowledge::{Knowledge, Rules};
use crate::score::NodeScore;
use crate::walks::Walks;

/// The largest violation of the optimality conditions at acyclic weights `w`: over all edges, and over
/// all pairs whose edge could be added without closing a cycle, how far the gradient of the score is
/// from 0 (at a zero weight: beyond the slope of the penalty there). Required edges have no penalty;
/// edges that `knowledge` forbids, by name or by tiers, do not count. 0 certifies a local minimum of the
/// score over the acyclic graphs that obey the knowledge, where the score is convex in the weights.
///
/// `None` for scores without a gradient, and for knowledge that does not fit the number of nodes.
pub fn kkt_violation(
    score: &dyn NodeScore,
    w: &Mat<f64>,
    order: &[usize],
    knowledge: &Knowledge,
) -> Option<f64> {
    violation(score, w, order, &knowledge.rules_of(order.len()).ok()?)
}

pub(crate) fn violation(score: &dyn NodeScore, w: &Mat<f64>, order: &[usize], rules: &Rules) -> Option<f64> {
    let gradient = score.gradient(w)?;
    let d = order.len();
    // A required edge stands even where its best weight is 0.
    let edges =
        Mat::from_fn(d, d, |i, j| if rules.requires(i, j) && w[(i, j)] == 0.0 { 1.0 } else { w[(i, j)] });
    let walks = Walks::Logdet.gradient(&edges, order);
    let mut worst = 0f64;
    for i in 0..d {
        let addable = |j: &usize| *j != i && walks[(i, *j)] == 0.0 && rules.allows_edge(i, *j);
        for j in (0..d).filter(addable) {
            let slope = gradient[(i, j)];
            worst = worst.max(match w[(i, j)] {
                _ if rules.requires(i, j) => slope.abs(),
                0.0 => (slope.abs() - score.kink()).max(0.0),
                weight => (slope + score.slope(weight)).abs(),
            });
        }
    }
    Some(worst)
}
