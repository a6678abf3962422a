//! Equivalence classes of graphs.

use faer::Mat;

use crate::graph::{positions, topological_order};
use crate::knowledge::{Knowledge, Rules};

/// The class of graphs that no data with Gaussian noise can tell apart (those of them that obey what is
/// known, see [`Cpdag::under`]): edges that all its members share, and edges that they direct either way.
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

    /// The members of the class that obey `knowledge` (a maximally oriented graph, Meek 1995): an edge that
    /// may stand one way only is directed, and so is what follows from it. The class must have such a
    /// member.
    ///
    /// # Errors
    /// Knowledge that does not fit the nodes or contradicts itself.
    pub fn under(&self, knowledge: &Knowledge) -> Result<Self, crate::TopoError> {
        Ok(self.obeying(&knowledge.rules_of(self.nodes)?))
    }

    pub(crate) fn obeying(&self, rules: &Rules) -> Self {
        let mut part = Partial::of(self);
        for &(a, b) in &self.undirected {
            for (u, v) in [(a, b), (b, a)] {
                if rules.requires(u, v) || !rules.allows_edge(v, u) {
                    part.direct(u, v);
                }
            }
        }
        part.close();
        part.class()
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

/// A graph of arrows and lines under way to its class.
struct Partial {
    d: usize,
    arrow: Vec<bool>,
    /// Both ways.
    line: Vec<bool>,
}

impl Partial {
    fn of(class: &Cpdag) -> Self {
        let d = class.nodes;
        let (mut arrow, mut line) = (vec![false; d * d], vec![false; d * d]);
        class.directed.iter().for_each(|(u, v)| arrow[u * d + v] = true);
        class.undirected.iter().for_each(|(a, b)| (line[a * d + b], line[b * d + a]) = (true, true));
        Self { d, arrow, line }
    }

    fn arrow(&self, u: usize, v: usize) -> bool {
        self.arrow[u * self.d + v]
    }

    fn line(&self, u: usize, v: usize) -> bool {
        self.line[u * self.d + v]
    }

    fn linked(&self, u: usize, v: usize) -> bool {
        self.arrow(u, v) || self.arrow(v, u) || self.line(u, v)
    }

    /// Makes a line an arrow.
    fn direct(&mut self, u: usize, v: usize) {
        let (d, line) = (self.d, self.line(u, v));
        if line {
            (self.line[u * d + v], self.line[v * d + u]) = (false, false);
            self.arrow[u * d + v] = true;
        }
    }

    /// Directs what must be directed one way, until nothing more follows.
    fn close(&mut self) {
        let pairs: Vec<(usize, usize)> = (0..self.d).flat_map(|a| (0..self.d).map(move |b| (a, b))).collect();
        while let Some(&(a, b)) = pairs.iter().find(|&&(a, b)| self.line(a, b) && self.forced(a, b)) {
            self.direct(a, b);
        }
    }

    /// Whether a line a − b must be a → b, by one of Meek's four rules: the other way would make a collider
    /// that the class has not, or a cycle.
    fn forced(&self, a: usize, b: usize) -> bool {
        let all = 0..self.d;
        let into_b = || all.clone().filter(|c| self.arrow(*c, b));
        // c → a − b without c ~ b.
        all.clone().any(|c| self.arrow(c, a) && !self.linked(c, b))
            // a → c → b.
            || into_b().any(|c| self.arrow(a, c))
            // a − c → b and a − e → b without c ~ e.
            || into_b().filter(|c| self.line(a, *c)).any(|c| {
                into_b().any(|e| e != c && self.line(a, e) && !self.linked(c, e))
            })
            // a − e → c → b and a ~ c without e ~ b.
            || into_b().filter(|c| self.linked(a, *c)).any(|c| {
                all.clone().any(|e| e != b && self.line(a, e) && self.arrow(e, c) && !self.linked(e, b))
            })
    }

    fn class(&self) -> Cpdag {
        let pairs = || (0..self.d).flat_map(|u| (0..self.d).map(move |v| (u, v)));
        Cpdag {
            nodes: self.d,
            directed: pairs().filter(|e| self.arrow(e.0, e.1)).collect(),
            undirected: pairs().filter(|e| e.0 < e.1 && self.line(e.0, e.1)).collect(),
        }
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

    /// All acyclic graphs of `d` nodes.
    fn graphs(d: usize) -> Vec<Mat<f64>> {
        let pairs: Vec<(usize, usize)> = (0..d).flat_map(|a| (a + 1..d).map(move |b| (a, b))).collect();
        let of = |mut code: usize| {
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
        };
        (0..3usize.pow(pairs.len() as u32)).map(of).filter(|w| topological_order(w).is_some()).collect()
    }

    /// Skeleton and colliders, which are the same for two graphs of one class and no others.
    fn signature(w: &Mat<f64>) -> (Vec<bool>, Vec<bool>) {
        let d = w.nrows();
        let linked = |a: usize, b: usize| w[(a, b)] != 0.0 || w[(b, a)] != 0.0;
        let pairs: Vec<(usize, usize)> = (0..d).flat_map(|a| (a + 1..d).map(move |b| (a, b))).collect();
        let collider =
            |c: usize, p: &(usize, usize)| w[(p.0, c)] != 0.0 && w[(p.1, c)] != 0.0 && !linked(p.0, p.1);
        let colliders = (0..d).flat_map(|c| pairs.iter().map(move |p| (c, p))).map(|(c, p)| collider(c, p));
        (pairs.iter().map(|p| linked(p.0, p.1)).collect(), colliders.collect())
    }

    /// By definition: an edge is directed if every graph of `class` has it.
    fn check(found: &Cpdag, w: &Mat<f64>, class: &[&Mat<f64>]) {
        for (u, v, _) in crate::graph::edges(w) {
            let compelled = class.iter().all(|g| g[(u, v)] != 0.0);
            assert_eq!(found.directed.contains(&(u, v)), compelled, "{u} → {v} of {w:?}");
            assert_eq!(found.undirected.contains(&(u.min(v), u.max(v))), !compelled, "{u} → {v} of {w:?}");
        }
    }

    #[test]
    fn small_classes_are_those_of_enumeration() {
        let graphs = graphs(4);
        let signatures: Vec<_> = graphs.iter().map(signature).collect();
        for (w, mine) in graphs.iter().zip(&signatures).step_by(5) {
            let class: Vec<&Mat<f64>> =
                graphs.iter().zip(&signatures).filter(|g| g.1 == mine).map(|g| g.0).collect();
            check(&Cpdag::of(w).unwrap(), w, &class);
        }
    }

    #[test]
    fn what_is_known_directs_exactly_the_edges_that_all_obedient_members_share() {
        use rand::RngExt;
        for (d, step) in [(4, 3), (5, 97)] {
            let graphs = graphs(d);
            let mut classes = std::collections::HashMap::<_, Vec<&Mat<f64>>>::new();
            graphs.iter().for_each(|w| classes.entry(signature(w)).or_default().push(w));
            let mut random = thalweg_core::Seed(1).stream("knowledge", d as u64);
            for w in graphs.iter().step_by(step) {
                // Knowledge that this graph obeys: some of its edges, some non-edges, tiers along its order.
                let order = topological_order(w).unwrap();
                let mut knowledge = Knowledge::default();
                for (u, v) in (0..d).flat_map(|u| (0..d).map(move |v| (u, v))).filter(|e| e.0 != e.1) {
                    match random.random_range(0..6) {
                        0 if w[(u, v)] != 0.0 => knowledge.required.push((u, v)),
                        1 if w[(u, v)] == 0.0 => knowledge.forbidden.push((u, v)),
                        _ => {}
                    }
                }
                if random.random_range(0..3) == 0 {
                    let cut = random.random_range(1..d);
                    let at = positions(&order);
                    knowledge.tiers = (0..d).map(|v| usize::from(at[v] >= cut)).collect();
                }
                let rules = knowledge.rules_of(d).unwrap();
                let class: Vec<&Mat<f64>> =
                    classes[&signature(w)].iter().copied().filter(|g| rules.broken_by(g).is_none()).collect();
                assert!(class.contains(&w));
                check(&Cpdag::of(w).unwrap().under(&knowledge).unwrap(), w, &class);
            }
        }
    }
}
