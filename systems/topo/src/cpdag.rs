//! Equivalence classes of graphs.

use faer::Mat;

use crate::graph::{positions, topological_order};

/// The class of graphs that no data with Gaussian noise can tell apart: edges that all its members
/// share, and edges that they direct either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpdag {
    /// Nodes.
    pub nodes: usize,
    /// Edges from → to, ascending.
    pub directed: Vec<(usize, usize)>,
    /// Edges between a < b, ascending.
    pub undirected: Vec<(usize, usize)>,
}

/// What connects a pair of nodes a < b.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    Forward,
    Backward,
    Undirected,
}

impl Cpdag {
    /// Class of the acyclic graph of non-zeros of `w` (Chickering 1995); `None` if it has a cycle.
    pub fn of(w: &Mat<f64>) -> Option<Self> {
        let d = w.nrows();
        let order = topological_order(w)?;
        let at = positions(&order);
        let mut parents: Vec<Vec<usize>> =
            (0..d).map(|v| (0..d).filter(|u| w[(*u, v)] != 0.0).collect()).collect();
        // Edges by rising head, then falling tail, in the order.
        parents.iter_mut().for_each(|p| p.sort_by_key(|u| std::cmp::Reverse(at[*u])));
        let edge = |u: usize, v: usize| w[(u, v)] != 0.0;
        let mut compelled = vec![None; d * d];
        for &y in &order {
            while let Some(&x) = parents[y].iter().find(|x| compelled[*x * d + y].is_none()) {
                // Of the edges w → x that are compelled: does w → y exist?
                let mut all = false;
                for &w in &parents[x] {
                    if compelled[w * d + x] != Some(true) {
                        continue;
                    }
                    if edge(w, y) {
                        compelled[w * d + y] = Some(true);
                    } else {
                        all = true;
                        break;
                    }
                }
                // A further parent of y that is none of x makes a collider.
                let collider = all || parents[y].iter().any(|z| *z != x && !edge(*z, x));
                for &z in &parents[y] {
                    let label = &mut compelled[z * d + y];
                    if all || label.is_none() {
                        *label = Some(collider);
                    }
                }
            }
        }
        let (mut directed, mut undirected) = (Vec::new(), Vec::new());
        for u in 0..d {
            for v in (0..d).filter(|v| edge(u, *v)) {
                match compelled[u * d + v] {
                    Some(true) => directed.push((u, v)),
                    _ => undirected.push((u.min(v), u.max(v))),
                }
            }
        }
        undirected.sort_unstable();
        Some(Self { nodes: d, directed, undirected })
    }

    fn marks(&self) -> Vec<Mark> {
        let d = self.nodes;
        let mut marks = vec![Mark::None; d * d];
        for &(u, v) in &self.directed {
            marks[u.min(v) * d + u.max(v)] = if u < v { Mark::Forward } else { Mark::Backward };
        }
        for &(a, b) in &self.undirected {
            marks[a * d + b] = Mark::Undirected;
        }
        marks
    }

    /// Pairs of nodes that two classes connect differently.
    pub fn distance(&self, other: &Self) -> usize {
        self.marks().iter().zip(other.marks()).filter(|(a, b)| **a != *b).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(d: usize, edges: &[(usize, usize)]) -> Cpdag {
        let mut w = Mat::zeros(d, d);
        edges.iter().for_each(|e| w[(e.0, e.1)] = 1.0);
        Cpdag::of(&w).unwrap()
    }

    #[test]
    fn colliders_keep_their_arrows_and_chains_do_not() {
        let collider = class(3, &[(0, 1), (2, 1)]);
        assert_eq!((collider.directed.len(), collider.undirected.len()), (2, 0));
        let chain = class(3, &[(0, 1), (1, 2)]);
        assert_eq!(chain.undirected, [(0, 1), (1, 2)]);
        assert_eq!(chain, class(3, &[(2, 1), (1, 0)]));
        assert_eq!(chain.distance(&collider), 2);
        // 0 → 1 ← 2, 1 → 3: the arrow behind a collider is compelled too.
        assert_eq!(class(4, &[(0, 1), (2, 1), (1, 3)]).directed, [(0, 1), (1, 3), (2, 1)]);
        // A complete graph is free.
        assert!(class(4, &[(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]).directed.is_empty());
    }

    /// By definition: an edge is compelled if every acyclic graph with the same skeleton and the same
    /// colliders has it.
    #[test]
    fn small_classes_are_those_of_enumeration() {
        let d = 4;
        let pairs: Vec<(usize, usize)> = (0..d).flat_map(|a| (a + 1..d).map(move |b| (a, b))).collect();
        let graphs: Vec<Mat<f64>> = (0..3usize.pow(6))
            .map(|mut code| {
                let mut w = Mat::zeros(d, d);
                for (a, b) in &pairs {
                    match code % 3 {
                        1 => w[(*a, *b)] = 1.0,
                        2 => w[(*b, *a)] = 1.0,
                        _ => {}
                    }
                    code /= 3;
                }
                w
            })
            .filter(|w| topological_order(w).is_some())
            .collect();
        let signature = |w: &Mat<f64>| {
            let linked = |a: usize, b: usize| w[(a, b)] != 0.0 || w[(b, a)] != 0.0;
            let skeleton: Vec<bool> = pairs.iter().map(|p| linked(p.0, p.1)).collect();
            let mut colliders = Vec::new();
            for c in 0..d {
                for (a, b) in &pairs {
                    colliders.push(w[(*a, c)] != 0.0 && w[(*b, c)] != 0.0 && !linked(*a, *b));
                }
            }
            (skeleton, colliders)
        };
        let signatures: Vec<_> = graphs.iter().map(signature).collect();
        for (w, mine) in graphs.iter().zip(&signatures).step_by(5) {
            let found = Cpdag::of(w).unwrap();
            let class: Vec<&Mat<f64>> =
                graphs.iter().zip(&signatures).filter(|g| g.1 == mine).map(|g| g.0).collect();
            for (u, v) in pairs.iter().flat_map(|p| [(p.0, p.1), (p.1, p.0)]).filter(|e| w[*e] != 0.0) {
                let compelled = class.iter().all(|g| g[(u, v)] != 0.0);
                assert_eq!(found.directed.contains(&(u, v)), compelled, "{u} → {v} of {w:?}");
            }
        }
    }
}
