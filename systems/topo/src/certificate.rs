//! How far a graph is from a local optimum.

use faer::Mat;

use crate::score::NodeScore;
use crate::walks::Walks;

/// The largest violation of the optimality conditions at acyclic weights `w`: over all edges, and over
/// all pairs whose edge could be added without closing a cycle, how far the gradient of the score is
/// from 0 (at a zero weight: beyond the slope of the penalty there). 0 certifies a local minimum of the
/// score over acyclic graphs, where the score is convex in the weights.
///
/// `None` for scores without a gradient.
pub fn kkt_violation(score: &dyn NodeScore, w: &Mat<f64>, order: &[usize]) -> Option<f64> {
    let gradient = score.gradient(w)?;
    let walks = Walks::Logdet.gradient(w, order);
    let d = order.len();
    let mut worst = 0f64;
    for i in 0..d {
        for j in (0..d).filter(|j| *j != i && walks[(i, *j)] == 0.0) {
            let slope = gradient[(i, j)].abs();
            worst = worst.max(if w[(i, j)] == 0.0 { (slope - score.kink()).max(0.0) } else { slope });
        }
    }
    Some(worst)
}
