//! Which weights go: the cheapest of all, or the cheapest of every group of an N:M pattern.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;

/// N of every M consecutive weights of a row stay, e.g. `2:4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// Weights that stay, N ≥ 1.
    pub keep: usize,
    /// Length M > N of a group.
    pub of: usize,
}

impl Pattern {
    /// The sparsity 1 − N/M of rows whose length M divides.
    pub fn sparsity(self) -> f64 {
        1.0 - self.keep as f64 / self.of as f64
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.keep, self.of)
    }
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let numbers = text.split_once(':').and_then(|(n, m)| Some((n.parse().ok()?, m.parse().ok()?)));
        let pattern = numbers.map(|(keep, of)| Self { keep, of }).filter(|p| 0 < p.keep && p.keep < p.of);
        let legal = "N:M with 0 < N < M, e.g. 2:4";
        pattern.ok_or_else(|| Invalid { field: "pattern".into(), value: text.into(), legal: legal.into() })
    }
}

impl TryFrom<String> for Pattern {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

/// The `n` cheapest, ties by index.
pub(crate) fn cheapest(prices: &[f64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..prices.len()).collect();
    let by_price = |a: &usize, b: &usize| prices[*a].total_cmp(&prices[*b]).then(a.cmp(b));
    if n < order.len() {
        order.select_nth_unstable_by(n, by_price);
        order.truncate(n);
    }
    order
}

/// The first `n` of several sequences, always taking the cheaper head, ties by index.
pub(crate) fn merged(sequences: &[Vec<(f64, usize)>], n: usize) -> Vec<usize> {
    // Prices are not negative, so their bits have their order.
    let head = |s: usize, k: usize| sequences[s].get(k).map(|(p, i)| Reverse((p.to_bits(), *i, s, k)));
    let mut heads: BinaryHeap<_> = (0..sequences.len()).filter_map(|s| head(s, 0)).collect();
    let mut taken = Vec::with_capacity(n);
    while taken.len() < n {
        let Some(Reverse((_, i, s, k))) = heads.pop() else { break };
        taken.push(i);
        heads.extend(head(s, k + 1));
    }
    taken
}

/// For a group of consecutive weights, `(price, index)` of those alive: drops the cheapest so that
/// `keep` stay.
fn thin(mut group: Vec<(f64, usize)>, keep: usize) -> impl Iterator<Item = usize> {
    group.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let n = group.len().saturating_sub(keep);
    group.into_iter().take(n).map(|(_, i)| i)
}

/// The cheapest of each group so that `keep` of `of` weights stay. `places` are the flat indices
/// of the weights alive, in order, `prices` their prices; `rows` the rows of the layers. What is
/// left of a row whose length `of` does not divide stays as it is.
pub(crate) fn patterned(
    places: &[usize],
    prices: &[f64],
    rows: impl Iterator<Item = Range<usize>>,
    keep: usize,
    of: usize,
) -> Vec<usize> {
    let mut taken = Vec::new();
    for row in rows {
        for start in row.clone().step_by(of).take(row.len() / of) {
            let from = places.partition_point(|p| *p < start);
            let to = places.partition_point(|p| *p < start + of);
            taken.extend(thin((from..to).map(|i| (prices[i], i)).collect(), keep));
        }
    }
    taken
}
