//! All exchanges and insertions of an order, from one Cholesky factor, in O(d³) together.
//!
//! With P S Pᵀ = UᵀU for the order's permutation P, U_kk² is the variance of the k-th node given its
//! predecessors, and the least-squares score of the order is half their sum. A move changes variances
//! only between its two ends. Three facts give them all:
//!
//! - with m at position k and v behind it, the sums s_k = Σ_{j ≥ k} U_jv² down to v's own position are
//!   the variances of v given the first k nodes, and var(m | first k, v) = U_kk² s_{k+1} / s_k: a
//!   node's move **backwards** needs one pass over its column;
//! - without the node u at position a, the factor of the rest is a rank-one update of what follows, Ũ;
//!   passing m multiplies u's variance by U_kk² / Ũ_kk²: a move **forwards** needs Ũ's diagonal;
//! - an **exchange** of u and v moves v backwards in Ũ and u forwards.

use std::ops::Range;

use faer::Mat;
use rayon::prelude::*;

/// Upper factor of a permuted covariance matrix, by rows.
#[derive(Clone, Debug)]
pub struct Factor {
    d: usize,
    u: Vec<f64>,
}

/// A change of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// The nodes at two positions change places (first < second).
    Exchange(usize, usize),
    /// The node at the first position moves to the second, those between close up.
    Insert(usize, usize),
}

impl Move {
    /// The positions that it touches, in rising order, both included.
    pub fn window(self) -> (usize, usize) {
        match self {
            Self::Exchange(a, b) | Self::Insert(a, b) => (a.min(b), a.max(b)),
        }
    }

    /// Makes it.
    pub fn apply<T>(self, order: &mut [T]) {
        match self {
            Self::Exchange(a, b) => order.swap(a, b),
            Self::Insert(a, b) if a < b => order[a..=b].rotate_left(1),
            Self::Insert(a, b) => order[b..=a].rotate_right(1),
        }
    }
}

/// A pivot below this share of its variance is taken for 0.
const SINGULAR: f64 = 1e-10;

impl Factor {
    /// Factor of `s` in this order.
    ///
    /// # Errors
    /// The position of the first node that its predecessors determine.
    pub fn new(s: &Mat<f64>, order: &[usize]) -> Result<Self, usize> {
        let d = order.len();
        let mut u = vec![0.0; d * d];
        for (i, &v) in order.iter().enumerate() {
            for (j, &w) in order.iter().enumerate().skip(i) {
                u[i * d + j] = s[(v, w)];
            }
        }
        for k in 0..d {
            let (above, row) = u.split_at_mut(k * d);
            let row = &mut row[k..d];
            let before = row[0];
            for above in above.chunks_exact(d) {
                let f = above[k];
                if f != 0.0 {
                    row.iter_mut().zip(&above[k..]).for_each(|(x, y)| *x -= f * y);
                }
            }
            if row[0] <= SINGULAR * before {
                return Err(k);
            }
            let pivot = row[0].sqrt();
            row.iter_mut().for_each(|x| *x /= pivot);
        }
        Ok(Self { d, u })
    }

    fn row(&self, k: usize) -> &[f64] {
        &self.u[k * self.d..(k + 1) * self.d]
    }

    /// Variance of the node at each position given its predecessors.
    pub fn variances(&self) -> Vec<f64> {
        (0..self.d).map(|k| self.row(k)[k].powi(2)).collect()
    }

    /// Least-squares score of the order: half the sum of the variances.
    pub fn score(&self) -> f64 {
        0.5 * self.variances().iter().sum::<f64>()
    }

    /// Covariance of the nodes at these positions given all before them.
    pub fn window(&self, range: Range<usize>) -> Mat<f64> {
        let at = |i: usize, j: usize| -> f64 {
            (range.start..=range.start + i.min(j))
                .map(|k| self.row(k)[range.start + i] * self.row(k)[range.start + j])
                .sum()
        };
        Mat::from_fn(range.len(), range.len(), at)
    }

    /// Regression of each node on all its predecessors: `w[(u, v)]`, in the nodes' own numbering.
    pub fn weights(&self, order: &[usize]) -> Mat<f64> {
        let d = self.d;
        let mut w = Mat::zeros(d, d);
        // Column k of U above the diagonal is Uᵀ-side of the normal equations: U_pp w = u_pk.
        for k in 0..d {
            let mut x: Vec<f64> = (0..k).map(|i| self.row(i)[k]).collect();
            for i in (0..k).rev() {
                let row = self.row(i);
                let behind: f64 = (i + 1..k).map(|j| row[j] * x[j]).sum();
                x[i] = (x[i] - behind) / row[i];
                w[(order[i], order[k])] = x[i];
            }
        }
        w
    }

    /// Every move with the change of the score that it makes, where that is below −`tol`.
    pub fn improvements(&self, tol: f64) -> Vec<(f64, Move)> {
        let rows = (0..self.d.saturating_sub(1)).into_par_iter().with_min_len(1 + 256 / self.d.max(1));
        let mut found: Vec<(f64, Move)> = rows.flat_map_iter(|a| self.forwards(a, tol)).collect();
        found.extend(self.backwards(tol));
        found
    }

    /// Moves of the node at `a` forwards, and its exchanges with the nodes behind it.
    fn forwards(&self, a: usize, tol: f64) -> Vec<(f64, Move)> {
        let rest = self.d - a - 1;
        let without = self.without(a);
        // Sums over the old and new variances from a to each position behind it.
        let mut found = Vec::new();
        let mut own = self.row(a)[a].powi(2);
        let (mut old, mut new) = (own, 0.0);
        let mut owns = Vec::with_capacity(rest);
        let mut olds = Vec::with_capacity(rest);
        for k in 0..rest {
            let (before, after) = (self.row(a + 1 + k)[a + 1 + k].powi(2), without[k * rest + k].powi(2));
            own *= before / after;
            (old, new) = (old + before, new + after);
            owns.push(own);
            olds.push(old);
            let gain = 0.5 * (new + own - old);
            if gain < -tol && k > 0 {
                found.push((gain, Move::Insert(a, a + 1 + k)));
            }
        }
        // Each v behind a goes to a's place past those between, in the factor without a.
        let mut own_at = vec![0.0; rest];
        let mut between = vec![0.0; rest];
        for k in (0..rest).rev() {
            let row = &without[k * rest..(k + 1) * rest];
            own_at[k] = row[k] * row[k];
            pass(row[k] * row[k], &row[k + 1..], &mut own_at[k + 1..], &mut between[k + 1..]);
        }
        for k in 0..rest {
            let gain = 0.5 * (own_at[k] + between[k] + owns[k] - olds[k]);
            if gain < -tol {
                found.push((gain, Move::Exchange(a, a + 1 + k)));
            }
        }
        found
    }

    /// Moves of nodes backwards by two positions or more (by one they are exchanges).
    fn backwards(&self, tol: f64) -> Vec<(f64, Move)> {
        let d = self.d;
        let mut found = Vec::new();
        let (mut own, mut passed, mut old) = (vec![0.0; d], vec![0.0; d], vec![0.0; d]);
        for k in (0..d).rev() {
            let row = self.row(k);
            let pivot = row[k] * row[k];
            (own[k], old[k]) = (pivot, pivot);
            pass(pivot, &row[k + 1..], &mut own[k + 1..], &mut passed[k + 1..]);
            for v in k + 1..d {
                old[v] += pivot;
                let gain = 0.5 * (own[v] + passed[v] - old[v]);
                if gain < -tol && v > k + 1 {
                    found.push((gain, Move::Insert(v, k)));
                }
            }
        }
        found
    }

    /// Upper factor of what stands behind position `a`, had `a`'s node never been: by rows,
    /// `(d − a − 1)²` numbers.
    fn without(&self, a: usize) -> Vec<f64> {
        let rest = self.d - a - 1;
        let mut u = vec![0.0; rest * rest];
        for k in 0..rest {
            u[k * rest + k..(k + 1) * rest].copy_from_slice(&self.row(a + 1 + k)[a + 1 + k..]);
        }
        let mut x = self.row(a)[a + 1..].to_vec();
        for k in 0..rest {
            let row = &mut u[k * rest + k..(k + 1) * rest];
            let x = &mut x[k..];
            let r = row[0].hypot(x[0]);
            let (c, s) = (row[0] / r, x[0] / r);
            for (y, x) in row.iter_mut().zip(x) {
                (*y, *x) = (c * *y + s * *x, c * *x - s * *y);
            }
        }
        u
    }
}

/// The nodes v move before a node of variance `pivot` whose factor row is `row`: their own variances
/// grow by what that node explained of them, and what it keeps is added to `passed`.
fn pass(pivot: f64, row: &[f64], own: &mut [f64], passed: &mut [f64]) {
    for ((r, own), passed) in row.iter().zip(own).zip(passed) {
        let grown = *own + r * r;
        *passed += pivot * *own / grown;
        *own = grown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_hand() -> Mat<f64> {
        let rows = [[1.0, 0.5, 0.25], [0.5, 2.0, 1.0], [0.25, 1.0, 3.0]];
        Mat::from_fn(3, 3, |i, j| rows[i][j])
    }

    #[test]
    fn three_variables_by_hand() {
        let orders = [
            ([0, 1, 2], 2.625),
            ([0, 2, 1], 2.713430851),
            ([1, 0, 2], 2.6875),
            ([1, 2, 0], 2.6875),
            ([2, 0, 1], 2.734264184),
            ([2, 1, 0], 2.770833333),
        ];
        for (order, score) in orders {
            let f = Factor::new(&by_hand(), &order).unwrap();
            assert!((f.score() - score).abs() < 1e-9, "{order:?} {}", f.score());
            let half_log: f64 = 0.5 * f.variances().iter().map(|v| v.ln()).sum::<f64>();
            assert!((half_log - 0.737953260).abs() < 1e-9);
        }
        let f = Factor::new(&by_hand(), &[0, 1, 2]).unwrap();
        assert!(f.variances().iter().zip([1.0, 1.75, 2.5]).all(|(a, b)| (a - b).abs() < 1e-12));
        let w = f.weights(&[0, 1, 2]);
        for (at, expected) in [((0, 1), 0.5), ((1, 2), 0.5), ((0, 2), 0.0)] {
            assert!((w[at] - expected).abs() < 1e-12);
        }
        let exchanged = Factor::new(&by_hand(), &[1, 0, 2]).unwrap().variances();
        assert!((exchanged[0] - 2.0).abs() < 1e-12 && (exchanged[1] - 0.875).abs() < 1e-12);
    }

    #[test]
    fn every_move_has_the_score_of_a_fresh_factor() {
        let d = 9;
        let s = thalweg_testing::covariance(d, 3);
        let order: Vec<usize> = (0..d).rev().collect();
        let f = Factor::new(&s, &order).unwrap();
        let all = f.improvements(f64::NEG_INFINITY);
        // Exchanges once each; insertions by one position are exchanges.
        assert_eq!(all.len(), d * (d - 1) / 2 + (d - 1) * (d - 2));
        for (gain, step) in all {
            let mut moved = order.clone();
            step.apply(&mut moved);
            let fresh = Factor::new(&s, &moved).unwrap().score();
            assert!(
                (fresh - f.score() - gain).abs() < 1e-11 * fresh,
                "{step:?}: {gain} {}",
                fresh - f.score()
            );
        }
    }

    #[test]
    fn gains_of_disjoint_windows_add_up() {
        let d = 10;
        let s = thalweg_testing::covariance(d, 5);
        let order: Vec<usize> = (0..d).collect();
        let f = Factor::new(&s, &order).unwrap();
        let gains = f.improvements(f64::NEG_INFINITY);
        let gain = |m: Move| gains.iter().find(|g| g.1 == m).unwrap().0;
        for (one, other) in [
            (Move::Exchange(0, 3), Move::Exchange(4, 9)),
            (Move::Insert(4, 0), Move::Insert(5, 8)),
            (Move::Exchange(1, 2), Move::Insert(9, 3)),
        ] {
            let mut moved = order.clone();
            one.apply(&mut moved);
            other.apply(&mut moved);
            let fresh = Factor::new(&s, &moved).unwrap().score();
            assert!((fresh - f.score() - gain(one) - gain(other)).abs() < 1e-10);
        }
    }

    #[test]
    fn the_window_is_a_conditional_covariance() {
        let s = thalweg_testing::covariance(6, 7);
        let f = Factor::new(&s, &[5, 4, 3, 2, 1, 0]).unwrap();
        let w = f.window(2..5);
        let inner = Factor::new(&w, &[0, 1, 2]).unwrap().variances();
        assert!(inner.iter().zip(&f.variances()[2..]).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn a_determined_node_is_found() {
        let s = thalweg_testing::covariance(4, 1);
        // X4 = X0 + X2.
        let row = |i: usize, j: usize| match (i, j) {
            (4, 4) => s[(0, 0)] + s[(2, 2)] + 2.0 * s[(0, 2)],
            (4, k) | (k, 4) => s[(0, k)] + s[(2, k)],
            _ => s[(i, j)],
        };
        assert_eq!(Factor::new(&Mat::from_fn(5, 5, row), &[0, 1, 2, 3, 4]).unwrap_err(), 4);
    }
}
