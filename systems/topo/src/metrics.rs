//! How graphs differ, and what gives their order away.

use faer::Mat;
use serde::{Deserialize, Serialize};

use crate::TopoError;
use crate::cpdag::Cpdag;
use crate::graph::positions;

/// How an estimated graph differs from the true one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Structural Hamming distance: edges missing, edges too many, and edges the wrong way round, each
    /// counted once.
    pub shd: usize,
    /// True edges found, as a share of the true ones; 0 where there is none.
    pub tpr: f64,
    /// Wrong or reversed edges as a share of those found.
    pub fdr: f64,
    /// Wrong or reversed edges as a share of the pairs without a true edge.
    pub fpr: f64,
    /// Edges found.
    pub nnz: usize,
    /// Pairs that the two equivalence classes connect differently.
    pub cpdag_shd: usize,
    /// F1 score of the undirected edges.
    pub skeleton_f1: f64,
    /// Undirected edges missing or too many.
    pub skeleton_shd: usize,
}

/// Compares graphs by their non-zero entries; the truth must be acyclic.
///
/// # Errors
/// Matrices that are not square or of different sizes, a cycle.
pub fn compare(truth: &Mat<f64>, estimate: &Mat<f64>) -> Result<Metrics, TopoError> {
    let d = truth.nrows();
    for (w, what) in [(truth, "the true graph"), (estimate, "the estimated graph")] {
        for found in [w.nrows(), w.ncols()] {
            if found != d {
                return Err(TopoError::Shape {
                    what: what.into(),
                    rows: w.nrows(),
                    columns: w.ncols(),
                    needed: d,
                });
            }
        }
    }
    let class = |w: &Mat<f64>, what: &str| Cpdag::of(w).ok_or_else(|| TopoError::Cyclic(what.into()));
    let (true_class, class) = (class(truth, "the true graph")?, class(estimate, "the estimated graph")?);
    let of = |w: &Mat<f64>, u: usize, v: usize| w[(u, v)] != 0.0;
    let (mut hits, mut reversed, mut extra, mut missing, mut edges, mut nnz) = (0, 0, 0, 0, 0, 0);
    for u in 0..d {
        for v in 0..d {
            let (t, e) = (of(truth, u, v), of(estimate, u, v));
            edges += usize::from(t);
            nnz += usize::from(e);
            match (t, e) {
                (true, true) => hits += 1,
                (false, true) if of(truth, v, u) => reversed += 1,
                (false, true) => extra += 1,
                (true, false) if !of(estimate, v, u) => missing += 1,
                _ => {}
            }
        }
    }
    let share = |a: usize, b: usize| if b == 0 { 0.0 } else { a as f64 / b as f64 };
    let common = hits + reversed;
    Ok(Metrics {
        shd: extra + missing + reversed,
        tpr: share(hits, edges),
        fdr: share(extra + reversed, nnz),
        fpr: share(extra + reversed, (d * (d - 1) / 2).saturating_sub(edges)),
        nnz,
        cpdag_shd: true_class.distance(&class),
        skeleton_f1: if edges + nnz == 0 { 1.0 } else { share(2 * common, edges + nnz) },
        skeleton_shd: extra + missing,
    })
}

/// Edges of the graph that go against an order.
pub fn order_divergence(w: &Mat<f64>, order: &[usize]) -> usize {
    let at = positions(order);
    let d = order.len();
    (0..d).map(|u| (0..d).filter(|v| w[(u, *v)] != 0.0 && at[u] > at[*v]).count()).sum()
}

/// Share of the directed paths of the graph along which `key` rises from the first node to the last
/// (each pair of nodes counts once for each length of path between them; ties count half). `None`
/// without edges.
pub fn sortability(w: &Mat<f64>, key: &[f64]) -> Option<f64> {
    let d = w.nrows();
    let edges: Vec<Vec<usize>> = (0..d).map(|u| (0..d).filter(|v| w[(u, *v)] != 0.0).collect()).collect();
    let (mut all, mut rising) = (0.0, 0.0);
    for u in 0..d {
        let mut reached: Vec<usize> = vec![u];
        for _ in 0..d {
            let mut next: Vec<usize> = reached.iter().flat_map(|m| edges[*m].iter().copied()).collect();
            next.sort_unstable();
            next.dedup();
            for &v in &next {
                all += 1.0;
                let tie = (key[u] - key[v]).abs() <= 1e-9 * key[u].abs().max(key[v].abs());
                rising += if tie { 0.5 } else { f64::from(key[u] < key[v]) };
            }
            if next.is_empty() {
                break;
            }
            reached = next;
        }
    }
    (all > 0.0).then(|| rising / all)
}

/// [`sortability`] by variance (Reisach, Seiler and Weichwald 2021): near 1, units alone give the order
/// away; near ½ they do not.
pub fn varsortability(w: &Mat<f64>, s: &Mat<f64>) -> Option<f64> {
    sortability(w, &(0..s.nrows()).map(|v| s[(v, v)]).collect::<Vec<_>>())
}

/// [`sortability`] by the share of each variable's variance that all others explain (Reisach, Tami,
/// Seiler, Chambaz and Weichwald 2023), which units do not change. `None` also where the covariance is
/// singular.
pub fn r2_sortability(w: &Mat<f64>, s: &Mat<f64>) -> Option<f64> {
    let (_, inverse) = crate::walks::log_det_inverse(s)?;
    let key = |v: usize| 1.0 - 1.0 / (s[(v, v)] * inverse[(v, v)]);
    sortability(w, &(0..s.nrows()).map(key).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(d: usize, edges: &[(usize, usize)]) -> Mat<f64> {
        let mut w = Mat::zeros(d, d);
        edges.iter().for_each(|e| w[(e.0, e.1)] = 1.0);
        w
    }

    #[test]
    fn a_reversed_edge_counts_once() {
        let truth = graph(4, &[(0, 1), (1, 2), (2, 3)]);
        let m = compare(&truth, &graph(4, &[(1, 0), (1, 2), (0, 3)])).unwrap();
        // 0 → 1 reversed, 2 → 3 missing, 0 → 3 too many.
        assert_eq!((m.shd, m.nnz, m.skeleton_shd), (3, 3, 2));
        assert!((m.tpr - 1.0 / 3.0).abs() < 1e-12 && (m.fdr - 2.0 / 3.0).abs() < 1e-12);
        assert!((m.skeleton_f1 - 2.0 / 3.0).abs() < 1e-12 && (m.fpr - 2.0 / 3.0).abs() < 1e-12);
        let same = compare(&truth, &truth).unwrap();
        assert_eq!((same.shd, same.cpdag_shd, same.tpr, same.fdr), (0, 0, 1.0, 0.0));
        let chain_backwards = compare(&truth, &graph(4, &[(1, 0), (2, 1), (3, 2)])).unwrap();
        assert_eq!((chain_backwards.shd, chain_backwards.cpdag_shd), (3, 0));
    }

    #[test]
    fn paths_are_sorted_or_not() {
        let w = graph(3, &[(0, 1), (1, 2)]);
        assert_eq!(sortability(&w, &[1.0, 2.0, 3.0]), Some(1.0));
        assert_eq!(sortability(&w, &[3.0, 2.0, 1.0]), Some(0.0));
        assert_eq!(sortability(&w, &[1.0, 1.0, 1.0]), Some(0.5));
        assert_eq!(sortability(&w, &[1.0, 3.0, 2.0]), Some(2.0 / 3.0));
        assert_eq!(sortability(&graph(3, &[]), &[1.0, 3.0, 2.0]), None);
        assert_eq!(order_divergence(&w, &[2, 0, 1]), 1);
    }
}
