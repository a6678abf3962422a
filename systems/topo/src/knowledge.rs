//! What is known beforehand, and the rules that it makes.

use serde::{Deserialize, Serialize};

use crate::{Sample, TopoError};

/// What is known of the graph before the data speak. Nodes are column numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knowledge {
    /// Edges from → to that the graph must not have.
    pub forbidden: Vec<(usize, usize)>,
    /// Edges from → to that it must have; no penalty and no threshold removes them.
    pub required: Vec<(usize, usize)>,
    /// Tier of each variable (empty: no tiers). Edges never go from a higher tier to a lower one.
    pub tiers: Vec<usize>,
}

/// [`Knowledge`] as the search wants it.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    d: usize,
    forbidden: Vec<bool>,
    required: Vec<bool>,
    /// `before[u * d + v]`: u must precede v in every order.
    before: Vec<bool>,
    /// Whether any single edge is forbidden, beyond what the order enforces.
    pub bans: bool,
    /// Whether any order is illegal.
    pub orders: bool,
}

impl Knowledge {
    /// Checks it against the data.
    ///
    /// # Errors
    /// Nodes or tiers that do not fit the data, a required edge that is forbidden or goes against the
    /// tiers, required edges in a cycle.
    pub(crate) fn rules(&self, sample: &Sample) -> Result<Rules, TopoError> {
        self.named(sample.d(), |v| sample.names()[v].clone())
    }

    /// As [`Knowledge::rules`], for nodes without names.
    pub(crate) fn rules_of(&self, d: usize) -> Result<Rules, TopoError> {
        self.named(d, |v| format!("X{v}"))
    }

    fn named(&self, d: usize, name: impl Fn(usize) -> String) -> Result<Rules, TopoError> {
        let size = |what: &str, found| TopoError::Size { what: what.into(), found, needed: d };
        if !self.tiers.is_empty() && self.tiers.len() != d {
            return Err(size("the list of tiers", self.tiers.len()));
        }
        let all = self.forbidden.iter().chain(&self.required);
        if let Some(e) = all.flat_map(|(u, v)| [*u, *v]).find(|v| *v >= d) {
            return Err(size("the knowledge names a node that", e + 1));
        }
        let mut rules = Rules::free(d);
        for (u, v) in &self.forbidden {
            rules.forbidden[u * d + v] = true;
            rules.bans = true;
        }
        for &(u, v) in &self.required {
            let conflict =
                |by: &str| Err(TopoError::Contradiction { from: name(u), to: name(v), by: by.into() });
            if u == v {
                return Err(TopoError::Cyclic(format!("the required edge {0} → {0}", name(u))));
            }
            if rules.forbidden[u * d + v] {
                return conflict("the list of forbidden edges");
            }
            if !self.tiers.is_empty() && self.tiers[u] > self.tiers[v] {
                return conflict("the tiers");
            }
            rules.required[u * d + v] = true;
            rules.before[u * d + v] = true;
        }
        if !self.tiers.is_empty() {
            for u in 0..d {
                for v in 0..d {
                    rules.before[u * d + v] |= self.tiers[u] < self.tiers[v];
                }
            }
        }
        rules.orders = rules.before.iter().any(|b| *b);
        if rules.repaired(&(0..d).collect::<Vec<_>>()).len() < d {
            return Err(TopoError::Cyclic("the required edges together with the tiers".into()));
        }
        Ok(rules)
    }
}

impl Rules {
    /// No rule at all.
    pub fn free(d: usize) -> Self {
        let none = vec![false; d * d];
        let (forbidden, required, before) = (none.clone(), none.clone(), none);
        Self { d, forbidden, required, before, bans: false, orders: false }
    }

    pub fn nodes(&self) -> usize {
        self.d
    }

    pub fn forbids(&self, u: usize, v: usize) -> bool {
        self.forbidden[u * self.d + v]
    }

    pub fn requires(&self, u: usize, v: usize) -> bool {
        self.required[u * self.d + v]
    }

    /// Whether a graph may have u → v, as far as this pair alone goes.
    pub fn allows_edge(&self, u: usize, v: usize) -> bool {
        !self.forbids(u, v) && self.may_follow(v, u)
    }

    /// The required edges from → to.
    pub fn required_edges(&self) -> Vec<(usize, usize)> {
        let pairs = (0..self.d).flat_map(|u| (0..self.d).map(move |v| (u, v)));
        pairs.filter(|(u, v)| self.requires(*u, *v)).collect()
    }

    /// The first edge of a graph that may not be in it, or required one that is not.
    pub fn broken_by(&self, w: &faer::Mat<f64>) -> Option<(usize, usize)> {
        let mut pairs = (0..self.d).flat_map(|u| (0..self.d).map(move |v| (u, v)));
        pairs.find(|&(u, v)| match w[(u, v)] {
            0.0 => self.requires(u, v),
            _ => !self.allows_edge(u, v),
        })
    }

    /// Whether u may stand after v.
    pub fn may_follow(&self, u: usize, v: usize) -> bool {
        !self.before[u * self.d + v]
    }

    /// The legal order nearest to this one: always the earliest node whose turn may come. Shorter if
    /// the rules contradict each other.
    pub fn repaired(&self, order: &[usize]) -> Vec<usize> {
        let mut left = order.to_vec();
        let mut legal = Vec::with_capacity(order.len());
        while let Some(i) =
            (0..left.len()).find(|i| left.iter().all(|u| *u == left[*i] || self.may_follow(*u, left[*i])))
        {
            legal.push(left.remove(i));
        }
        legal
    }

    /// Whether, of these nodes, number v may come right after those of the bit set t, before the rest.
    pub fn allows_next(&self, nodes: &[usize], v: usize, t: usize) -> bool {
        let may_wait = |u: usize| t >> u & 1 == 1 || u == v || self.may_follow(nodes[u], nodes[v]);
        !self.orders || (0..nodes.len()).all(may_wait)
    }

    /// Whether the order stays legal when two positions change places.
    pub fn allows_exchange(&self, order: &[usize], a: usize, b: usize) -> bool {
        let (u, v) = (order[a], order[b]);
        !self.orders
            || self.may_follow(u, v)
                && order[a + 1..b].iter().all(|m| self.may_follow(u, *m) && self.may_follow(*m, v))
    }

    /// Whether the order stays legal when the node at `from` moves to `to`.
    pub fn allows_insert(&self, order: &[usize], from: usize, to: usize) -> bool {
        let v = order[from];
        !self.orders
            || if from < to {
                order[from + 1..=to].iter().all(|m| self.may_follow(v, *m))
            } else {
                order[to..from].iter().all(|m| self.may_follow(*m, v))
            }
    }
}
