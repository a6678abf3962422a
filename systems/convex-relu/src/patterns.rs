//! Activation patterns of a data set.

use std::collections::HashSet;

use thalweg_core::{Seed, normal};
use thalweg_linalg::dense::singular_values;

use crate::samples::norm;
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
            patterns.drawn += 1;
        }
        patterns.not_empty()
    }

    /// Every full-dimensional pattern of the arrangement of the samples' hyperplanes, found by
    /// inserting one hyperplane after the other.
    ///
    /// # Errors
    /// If their number may exceed 10⁵.
    pub fn all(samples: &Samples) -> Result<Self, ConvexError> {
        let (n, rank) = (samples.n(), rank(samples));
        let bound = count(n, rank);
        if bound > MOST {
            return Err(ConvexError::TooMany { samples: n, rank, patterns: bound });
        }
        // Each cell is known by a point inside.
        let mut cells: Vec<Vec<f64>> = Vec::new();
        for k in (0..n).filter(|&k| norm(samples.row(k)) > 0.0) {
            if cells.is_empty() {
                let x = samples.row(k);
                cells = vec![x.to_vec(), x.iter().map(|x| -x).collect()];
                continue;
            }
            let crossed: Vec<Vec<f64>> = cells.iter().filter_map(|u| across(samples, k, u)).collect();
            cells.extend(crossed);
        }
        let mut patterns = Self::none(n);
        cells.iter().for_each(|u| {
            patterns.add(&samples.times(u));
        });
        patterns.drawn = cells.len() as u64;
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

    /// Directions drawn, duplicates included.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }

    /// The same patterns, of that many draws.
    pub(crate) fn drawn_from(mut self, draws: u64) -> Self {
        self.drawn = draws;
        self
    }

    /// Whether these are all patterns of the data, so that a bound holds for every network.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// Whether pattern `i` has sample `k` on.
    pub fn on(&self, i: usize, k: usize) -> bool {
        self.columns[i][k / 64] >> (k % 64) & 1 == 1
    }

    /// The patterns that `keep` chooses, in the same order.
    ///
    /// # Errors
    /// None of them.
    pub fn filter(&self, keep: impl Fn(usize) -> bool) -> Result<Self, ConvexError> {
        let mut kept = Self::none(self.n);
        for i in (0..self.len()).filter(|&i| keep(i)) {
            kept.columns.push(self.columns[i].clone());
            kept.seen.insert(self.columns[i].clone());
        }
        kept.drawn = self.drawn;
        kept.complete = self.complete && kept.len() == self.len();
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

/// A point of the part of `u`'s cell (of the first `k` hyperplanes) beyond hyperplane `k`, if there
/// is one: by Gordan's theorem the shortest point of conv{g_j} is not 0, and then it is inside.
fn across(samples: &Samples, k: usize, u: &[f64]) -> Option<Vec<f64>> {
    let side = |x: &[f64]| if crate::samples::dot(x, u) >= 0.0 { 1.0 } else { -1.0 };
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(k + 1);
    for j in 0..=k {
        let x = samples.row(j);
        let size = norm(x);
        if size > 0.0 {
            let s = if j == k { -side(x) } else { side(x) } / size;
            rows.push(x.iter().map(|x| s * x).collect());
        }
    }
    let v = min_norm_point(&rows);
    let inside = |g: &Vec<f64>| crate::samples::dot(g, &v) > 1e-12 * norm(&v);
    (norm(&v) > 1e-9 && rows.iter().all(inside)).then_some(v)
}

/// A multiple of the shortest point of conv{g_j}: the residual of min_{μ≥0} ‖(0, 1) − Σ μ_j (g_j, 1)‖.
fn min_norm_point(rows: &[Vec<f64>]) -> Vec<f64> {
    let d = rows[0].len();
    let lifted: Vec<f64> = rows.iter().flat_map(|g| g.iter().copied().chain([1.0])).collect();
    // Two rows at least: Samples' least size; a repeated row changes nothing.
    let lifted = if rows.len() == 1 { [lifted.clone(), lifted].concat() } else { lifted };
    let Ok(samples) = Samples::new(lifted, d + 1) else { return vec![0.0; d] };
    let norms: Vec<f64> = samples.rows().map(norm).collect();
    let on = vec![1.0; samples.n()];
    let cone = crate::cone::Cone { samples: &samples, norms: &norms, pattern: &on };
    let mut c = vec![0.0; d + 1];
    c[d] = 1.0;
    cone.residual(&mut c, &mut Vec::new());
    c.truncate(d);
    c.iter_mut().for_each(|v| *v = -*v);
    c
}
