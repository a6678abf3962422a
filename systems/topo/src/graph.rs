//! Weighted directed graphs as matrices, and orders of their nodes. `w[(u, v)]` is the weight of
//! u → v; 0 is no edge.

use faer::Mat;

/// A topological order of the graph of non-zeros: of the nodes that could come next always the
/// smallest. `None` if there is a cycle.
pub fn topological_order(w: &Mat<f64>) -> Option<Vec<usize>> {
    let d = w.nrows();
    let mut missing: Vec<usize> = (0..d).map(|v| (0..d).filter(|u| w[(*u, v)] != 0.0).count()).collect();
    let mut placed = vec![false; d];
    let mut order = Vec::with_capacity(d);
    while let Some(v) = (0..d).find(|v| !placed[*v] && missing[*v] == 0) {
        placed[v] = true;
        order.push(v);
        for c in (0..d).filter(|c| w[(v, *c)] != 0.0) {
            missing[c] -= 1;
        }
    }
    (order.len() == d).then_some(order)
}

/// The entries of absolute value ≥ `t` (of any, for t = 0).
pub fn thresholded(w: &Mat<f64>, t: f64) -> Mat<f64> {
    Mat::from_fn(w.nrows(), w.ncols(), |u, v| if w[(u, v)].abs() < t { 0.0 } else { w[(u, v)] })
}

/// The graph without its weakest entries, as few as leave no cycle, and the absolute value up to
/// which entries were dropped (0 if none).
pub fn made_acyclic(w: &Mat<f64>) -> (Mat<f64>, f64) {
    let d = w.nrows();
    let mut sizes: Vec<f64> =
        (0..d).flat_map(|v| (0..d).map(move |u| (u, v))).map(|(u, v)| w[(u, v)].abs()).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    // Fewer entries never close a cycle: the smallest sufficient cut is found by bisection.
    let cut = |t: f64| Mat::from_fn(d, d, |u, v| if w[(u, v)].abs() <= t { 0.0 } else { w[(u, v)] });
    let at = sizes.partition_point(|t| topological_order(&cut(*t)).is_none());
    match topological_order(w) {
        Some(_) => (w.clone(), 0.0),
        None => {
            let t = sizes.get(at).copied().unwrap_or(0.0);
            (cut(t), t)
        }
    }
}

/// Edges u → v with their weights, by u, then v.
pub fn edges(w: &Mat<f64>) -> Vec<(usize, usize, f64)> {
    let d = w.nrows();
    let all = (0..d).flat_map(|u| (0..d).map(move |v| (u, v)));
    all.filter(|(u, v)| w[(*u, *v)] != 0.0).map(|(u, v)| (u, v, w[(u, v)])).collect()
}

/// Where each node stands in an order.
pub fn positions(order: &[usize]) -> Vec<usize> {
    let mut at = vec![0; order.len()];
    for (i, v) in order.iter().enumerate() {
        at[*v] = i;
    }
    at
}

/// Whether every number below `d` stands in `order` once.
pub fn is_order(order: &[usize], d: usize) -> bool {
    let mut seen = vec![false; d];
    order.len() == d && order.iter().all(|v| *v < d && !std::mem::replace(&mut seen[*v], true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(d: usize, edges: &[(usize, usize, f64)]) -> Mat<f64> {
        let mut w = Mat::zeros(d, d);
        edges.iter().for_each(|e| w[(e.0, e.1)] = e.2);
        w
    }

    #[test]
    fn cycles_are_cut_at_the_weakest_sufficient_entry() {
        let w = graph(3, &[(0, 1, 2.0), (1, 2, 0.5), (2, 0, 1.0), (0, 2, 0.1)]);
        assert_eq!(topological_order(&w), None);
        let (cut, t) = made_acyclic(&w);
        assert_eq!(t, 0.5);
        assert_eq!(edges(&cut), [(0, 1, 2.0), (2, 0, 1.0)]);
        assert_eq!(topological_order(&cut), Some(vec![2, 0, 1]));
        assert_eq!(made_acyclic(&cut).1, 0.0);
    }
}
