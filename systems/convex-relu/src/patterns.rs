//! Activation patterns of a data set.

use std::collections::HashSet;

use thalweg_core::{Seed, normal};
use thalweg_linalg::dense::singular_values;

use crate::cells::sides;
use crate::samples::{add, dot, norm};
use crate::{ConvexError, Samples};

/// Largest number of patterns that [`Patterns::all`] enumerates.
const MOST: f64 = 1e5;

/// Distinct activation patterns D_i = diag(1[X a ≥ 0]), bit-packed, without the all-off one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    n: usize,
    columns: Vec<Box<[u64]>>,
    seen: HashSet<Box<[u64]>>,
    drawn: u64,
    complete: bool,
}

impl Patterns {
    /// None yet, for `n` samples.
    pub fn none(n: usize) -> Self {
        Self { n, columns: Vec::new(), seen: HashSet::new(), drawn: 0, complete: false }
    }

    /// Those of `draws` directions a ~ N(0, I).
    ///
    /// # Errors
    /// If none is left.
    pub fn sample(samples: &Samples, draws: u64, seed: Seed) -> Result<Self, ConvexError> {
        let mut patterns = Self::none(samples.n());
        let mut a = vec![0.0; samples.d()];
        for i in 0..draws {
            normal(&mut seed.stream("pattern", i), &mut a);
            patterns.add(&samples.times(&a));
        }
        patterns.drawn = draws;
        patterns.not_empty()
    }

    /// The columns of a 0/1 matrix `[n, P]`, each given as one row of `n` here.
    ///
    /// # Errors
    /// Columns of another length, or none left.
    pub fn from_columns<'a>(
        n: usize,
        columns: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ConvexError> {
        let mut patterns = Self::none(n);
        for column in columns {
            ConvexError::check("rows of the pattern matrix", column.len(), n)?;
            let signs: Vec<f64> = column.iter().map(|&b| if b == 0 { -1.0 } else { 1.0 }).collect();
            patterns.add(&signs);
        }
        patterns.not_empty()
    }

    /// Every full-dimensional pattern of the arrangement of the samples' hyperplanes, each decided exactly, however
    /// thin; columns that are combinations of others within rounding are taken for exact ones.
    ///
    /// # Errors
    /// If their number may exceed 10⁵.
    pub fn all(samples: &Samples) -> Result<Self, ConvexError> {
        let columns = independent(samples);
        let (n, rank) = (samples.n(), columns.len());
        let too_many = |patterns: f64| ConvexError::TooMany { samples: n, rank, patterns };
        let bound = count(n, rank);
        if bound > MOST {
            return Err(too_many(bound));
        }
        let scales: Vec<f64> = columns.iter().map(|&j| power_of_two(samples, j)).collect();
        let restricted = |k: usize| -> Vec<f64> {
            columns.iter().zip(&scales).map(|(&j, scale)| samples.row(k)[j] * scale).collect()
        };
        let there: Vec<usize> = (0..n).filter(|&k| restricted(k).iter().any(|x| *x != 0.0)).collect();
        let mut patterns = Self::none(n);
        if there.is_empty() {
            return patterns.not_empty();
        }
        let rows = there.iter().map(|&k| restricted(k)).collect();
        for sides in sides(rows, MOST as usize).ok_or_else(|| too_many(MOST + 1.0))? {
            let mut heights = vec![0.0; n];
            there.iter().zip(sides).for_each(|(&k, on)| heights[k] = if on { 1.0 } else { -1.0 });
            patterns.add(&heights);
        }
        patterns.complete = true;
        patterns.not_empty()
    }

    /// Adds the pattern of the outputs `h` = X a; whether it is new.
    pub fn add(&mut self, h: &[f64]) -> bool {
        let words: Box<[u64]> = h
            .chunks(64)
            .map(|h| h.iter().enumerate().fold(0, |w, (b, h)| w | u64::from(*h >= 0.0) << b))
            .collect();
        let new = words.iter().any(|w| *w != 0) && self.seen.insert(words.clone());
        if new {
            self.columns.push(words);
        }
        new
    }

    fn not_empty(self) -> Result<Self, ConvexError> {
        if self.is_empty() { Err(ConvexError::NoPattern) } else { Ok(self) }
    }

    /// Number of samples.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number P of patterns.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Directions drawn, duplicates included; 0 unless the list is what independent draws gave.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }

    /// The same patterns as a mere list: neither all of a program's, nor independent draws.
    pub(crate) fn listed(self) -> Self {
        Self { drawn: 0, complete: false, ..self }
    }

    /// The patterns of some of the samples, in that order.
    ///
    /// # Errors
    /// None of them has a sample on.
    pub fn select(&self, index: &[usize]) -> Result<Self, ConvexError> {
        let mut kept = Self::none(index.len());
        for i in 0..self.len() {
            let heights: Vec<f64> = index.iter().map(|&k| if self.on(i, k) { 1.0 } else { -1.0 }).collect();
            kept.add(&heights);
        }
        kept.not_empty()
    }

    /// Whether these are all patterns of the data, so that a bound holds for every network.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// Whether pattern `i` has sample `k` on.
    pub fn on(&self, i: usize, k: usize) -> bool {
        self.columns[i][k / 64] >> (k % 64) & 1 == 1
    }

    /// The patterns that `keep` chooses, in the same order, as a mere list.
    ///
    /// # Errors
    /// None of them.
    pub fn filter(&self, keep: impl Fn(usize) -> bool) -> Result<Self, ConvexError> {
        let mut kept = Self::none(self.n);
        for i in (0..self.len()).filter(|&i| keep(i)) {
            kept.columns.push(self.columns[i].clone());
            kept.seen.insert(self.columns[i].clone());
        }
        kept.not_empty()
    }

    /// D as `[n, P]`, column-major, of zeros and ones.
    pub fn dense(&self) -> Vec<f64> {
        let bits = (0..self.len()).flat_map(|i| (0..self.n).map(move |k| (i, k)));
        bits.map(|(i, k)| f64::from(u8::from(self.on(i, k)))).collect()
    }
}

/// 2 Σ_{k<ρ} C(n − 1, k): the number of patterns of n points of rank ρ in general position.
pub fn count(n: usize, rank: usize) -> f64 {
    let mut term = 1.0;
    let mut sum = 0.0;
    for k in 0..rank.min(n) {
        sum += term;
        term *= (n - 1 - k) as f64 / (k + 1) as f64;
    }
    2.0 * sum
}

/// Draws after which, with confidence 1 − ψ, one more improves the optimum with probability ≤ ξ.
/// A bound of the probability, not of the size of the improvement.
pub fn sampling_bound(n: usize, xi: f64, psi: f64) -> f64 {
    let n = n as f64 + 1.0;
    (n / (psi * xi) - 1.0).min(2.0 / xi * (n - psi.ln()))
}

/// The ξ that so many draws give at confidence 1 − ψ; at most 1.
pub fn improvement_probability(n: usize, draws: u64, psi: f64) -> f64 {
    let (n, draws) = (n as f64 + 1.0, draws as f64);
    (n / (psi * (draws + 1.0))).min(2.0 / draws * (n - psi.ln())).min(1.0)
}

/// Numerical rank of X.
pub(crate) fn rank(samples: &Samples) -> usize {
    let values = singular_values(samples.mat()).unwrap_or_default();
    let most = values.iter().fold(0.0, |a: f64, b| a.max(*b));
    values.iter().filter(|s| **s > 1e-12 * most).count()
}

/// Columns of which the others are combinations, up to rounding: the hyperplanes cut their coordinates as they
/// cut all, since v ↦ (the products with these columns) is onto.
fn independent(samples: &Samples) -> Vec<usize> {
    let (n, d) = (samples.n(), samples.d());
    // Rows and columns of size 1: neither scale changes the arrangement.
    let sizes: Vec<f64> = samples.rows().map(norm).collect();
    let column = |j: usize| -> Vec<f64> {
        (0..n).map(|k| if sizes[k] > 0.0 { samples.row(k)[j] / sizes[k] } else { 0.0 }).collect()
    };
    let mut rest: Vec<Vec<f64>> = (0..d).map(column).collect();
    rest.iter_mut().for_each(|c| scale_to_one(c));
    let rounding = n.max(d) as f64 * f64::EPSILON;
    let mut chosen = Vec::new();
    loop {
        let longest =
            (0..d).map(|j| (norm(&rest[j]), j)).fold((0.0, 0), |a, b| if b.0 > a.0 { b } else { a });
        if longest.0 <= rounding {
            break;
        }
        let mut q = rest[longest.1].clone();
        scale_to_one(&mut q);
        for c in &mut rest {
            for _ in 0..2 {
                let p = dot(&q, c);
                add(c, -p, &q);
            }
        }
        rest[longest.1].fill(0.0);
        chosen.push(longest.1);
    }
    chosen.sort_unstable();
    chosen
}

/// What brings a column to a size of about 1, without rounding and without a change of the arrangement.
fn power_of_two(samples: &Samples, j: usize) -> f64 {
    let largest = samples.rows().fold(0.0, |a: f64, x| a.max(x[j].abs()));
    (-largest.max(f64::MIN_POSITIVE).log2().floor()).clamp(-500.0, 500.0).exp2()
}

fn scale_to_one(c: &mut [f64]) {
    let length = norm(c);
    if length > 0.0 {
        c.iter_mut().for_each(|x| *x /= length);
    }
}
