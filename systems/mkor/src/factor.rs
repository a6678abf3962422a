//! A Kronecker factor: the approximate inverse of a second moment, dense or of low rank.

use faer::Accum;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{MethodError, Real};
use thalweg_linalg::vector::{CHUNK, dot};

use crate::product::{Matrix, identity, product};
use crate::store::Store;
use crate::{Form, Rule, Storage, spectra};

/// The inverse J⁻¹ of one Kronecker factor: symmetric, `[d, d]`, at first I.
///
/// ```
/// use thalweg_mkor::{KroneckerFactor, Form, Rule, Storage};
/// use thalweg_mkor::factor::Recursion;
/// let mut factor = KroneckerFactor::<f64>::identity(2, Rule::Released, Form::Auto, Storage::Full);
/// factor.update(&[1.0, 2.0], &Recursion { decay: 0.95, ..Recursion::default() });
/// let expected = [5.0 / 6.0, -1.0 / 3.0, -1.0 / 3.0, 1.0 / 3.0];
/// assert!(factor.matrix().iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-15));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct KroneckerFactor<T> {
    dim: usize,
    inverse: Inverse<T>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
enum Inverse<T> {
    /// J⁻¹ row-major, and its largest absolute entry.
    Dense { j: Store<T>, max: f64 },
    /// J⁻¹ = I − Σ ωᵢqᵢqᵢᵀ with at most `rank` pairs, the oldest first; the rows of `q` are the qᵢ.
    LowRank { rank: usize, q: Store<T>, omega: Vec<f64> },
}

/// The numbers of an update; see [`crate::Mkor`] for their meaning and defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recursion {
    /// Which formula.
    pub rule: Rule,
    /// γ in (0, 1).
    pub decay: f64,
    /// ε and ζ of the stabiliser; `None`: off.
    pub stabiliser: Option<(f64, f64)>,
}

impl Default for Recursion {
    fn default() -> Self {
        Self { rule: Rule::Released, decay: 0.95, stabiliser: Some((2.0, 0.9)) }
    }
}

impl<T: Real> KroneckerFactor<T> {
    /// The identity of `dim` rows.
    pub fn identity(dim: usize, rule: Rule, form: Form, storage: Storage) -> Self {
        let inverse = match form.rank(dim, rule) {
            Some(rank) => {
                let q = Store::new(Vec::new(), storage);
                Inverse::LowRank { rank, q, omega: Vec::new() }
            }
            None => Inverse::Dense { j: Store::new(identity(dim), storage), max: 1.0 },
        };
        Self { dim, inverse }
    }

    /// Rows d.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Takes in `v`, `[d]`, at a cost of O(d²) dense, O(r·d) in low-rank form. Whether the
    /// stabiliser had to act; in low-rank form it never has to.
    ///
    /// With J⁻¹ ← ζJ⁻¹ + (1−ζ)I first if an entry exceeds ε:
    ///
    /// ```text
    /// released          w = γJ⁻¹v + (1−γ)v   J⁻¹ ← γJ⁻¹ + (1−γ)I − wwᵀ/(1 + vᵀw)
    /// sherman-morrison  w = J⁻¹v             J⁻¹ ← (J⁻¹ − (1−γ)wwᵀ/(γ + (1−γ)vᵀw))/γ
    /// printed           w = J⁻¹v             J⁻¹ ← γJ⁻¹ + (1−γ)wwᵀ/(γ²(1 + γ(1−γ)vᵀw))
    /// ```
    pub fn update(&mut self, v: &[f64], recursion: &Recursion) -> bool {
        debug_assert_eq!(v.len(), self.dim);
        match &mut self.inverse {
            Inverse::Dense { j, max } => {
                let shrink = recursion.stabiliser.filter(|(threshold, _)| *max > *threshold);
                let keep = shrink.map_or(1.0, |(_, keep)| keep);
                *max = j.edit(|j| update_dense(j, v, recursion.rule, recursion.decay, keep));
                shrink.is_some()
            }
            Inverse::LowRank { rank, q, omega } => {
                q.edit(|q| update_low_rank(q, omega, *rank, v, recursion.decay));
                false
            }
        }
    }

    /// G ← G J⁻¹ for the row-major `[rows, d]` matrix G.
    pub fn apply_right(&self, g: &mut Vec<T>, rows: usize) {
        let d = self.dim;
        match &self.inverse {
            Inverse::Dense { j, .. } => {
                let mut out = vec![T::ZERO; rows * d];
                product(&mut out, Accum::Replace, &Matrix::new(g, rows, d), &Matrix::new(&j.read(), d, d));
                *g = out;
            }
            Inverse::LowRank { q, omega, .. } => {
                let (q, k) = (q.read(), omega.len());
                let mut s = vec![T::ZERO; rows * k];
                product(&mut s, Accum::Replace, &Matrix::new(g, rows, d), &Matrix::new(&q, k, d).t());
                weigh(&mut s, omega);
                product(g, Accum::Add, &Matrix::new(&s, rows, k), &Matrix::new(&q, k, d));
            }
        }
    }

    /// G ← J⁻¹ G for the row-major `[d, columns]` matrix G.
    pub fn apply_left(&self, g: &mut Vec<T>, columns: usize) {
        let d = self.dim;
        match &self.inverse {
            Inverse::Dense { j, .. } => {
                let mut out = vec![T::ZERO; d * columns];
                let (j, old) = (j.read(), Matrix::new(g, d, columns));
                product(&mut out, Accum::Replace, &Matrix::new(&j, d, d), &old);
                *g = out;
            }
            Inverse::LowRank { q, omega, .. } => {
                let (q, k) = (q.read(), omega.len());
                let mut s = vec![T::ZERO; columns * k];
                let old = Matrix::new(g, d, columns).t();
                product(&mut s, Accum::Replace, &old, &Matrix::new(&q, k, d).t());
                weigh(&mut s, omega);
                product(g, Accum::Add, &Matrix::new(&q, k, d).t(), &Matrix::new(&s, columns, k).t());
            }
        }
    }

    /// J⁻¹ in full, row-major `[d, d]`: for tests and pictures.
    pub fn matrix(&self) -> Vec<f64> {
        let d = self.dim;
        let mut columns = Self::identity(d, Rule::Released, Form::Dense, Storage::Full).dense();
        self.apply_right(&mut columns, d);
        columns.into_iter().map(T::to_f64).collect()
    }

    fn dense(self) -> Vec<T> {
        match self.inverse {
            Inverse::Dense { j, .. } | Inverse::LowRank { q: j, .. } => j.read().into_owned(),
        }
    }

    /// Largest absolute entry of a dense factor, which the stabiliser watches.
    pub fn max_abs(&self) -> Option<f64> {
        match self.inverse {
            Inverse::Dense { max, .. } => Some(max),
            Inverse::LowRank { .. } => None,
        }
    }

    /// All eigenvalues, ascending, `[d]`. Dense: O(d³); low-rank: O(r²d).
    pub fn spectrum(&self) -> Result<Vec<f64>, MethodError> {
        match &self.inverse {
            Inverse::Dense { j, .. } => {
                let j: Vec<f64> = j.read().iter().map(|x| x.to_f64()).collect();
                spectra::eigenvalues(&j, self.dim)
            }
            Inverse::LowRank { q, omega, .. } => {
                // The eigenvalues of Σ ωᵢqᵢqᵢᵀ other than 0 are those of the Gram matrix.
                let (q, k) = (q.read(), omega.len());
                let row = |i: usize| &q[i * self.dim..(i + 1) * self.dim];
                let entry = |at: usize| {
                    let (i, j) = (at / k, at % k);
                    (omega[i] * omega[j]).sqrt() * dot(row(i), row(j))
                };
                let gram: Vec<f64> = (0..k * k).map(entry).collect();
                let mut values: Vec<f64> = spectra::eigenvalues(&gram, k)?.iter().map(|x| 1.0 - x).collect();
                values.sort_by(f64::total_cmp);
                // More pairs than rows: the surplus are zeros of the Gram matrix, hence ones.
                values.resize(self.dim, 1.0);
                Ok(values)
            }
        }
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        match &self.inverse {
            Inverse::Dense { j, .. } => j.bytes(),
            Inverse::LowRank { q, omega, .. } => q.bytes() + size_of_val(&omega[..]),
        }
    }
}

/// One update of a dense J⁻¹ in two sweeps over it. Returns its largest absolute entry.
fn update_dense<T: Real>(j: &mut [T], v: &[f64], rule: Rule, decay: f64, keep: f64) -> f64 {
    let mut w = times(j, v);
    w.iter_mut().zip(v).for_each(|(w, v)| *w = keep * *w + (1.0 - keep) * v);
    // J⁻¹ ← a J⁻¹ + b I + κ w wᵀ
    let (gamma, rest) = (decay, 1.0 - decay);
    let inner = |w: &[f64]| w.iter().zip(v).map(|(w, v)| w * v).sum::<f64>();
    let (a, b, kappa) = match rule {
        Rule::Released => {
            w.iter_mut().zip(v).for_each(|(w, v)| *w = gamma * *w + rest * v);
            (gamma, rest, -1.0 / (1.0 + inner(&w)))
        }
        Rule::ShermanMorrison => (1.0 / gamma, 0.0, -rest / (gamma * (gamma + rest * inner(&w)))),
        Rule::Printed => (gamma, 0.0, rest / (gamma * gamma * (1.0 + gamma * rest * inner(&w)))),
    };
    rank_one(j, a * keep, a * (1.0 - keep) + b, &w, kappa)
}

/// J v, summed in double precision.
fn times<T: Real>(j: &[T], v: &[f64]) -> Vec<f64> {
    let v: Vec<T> = v.iter().map(|&v| T::from_f64(v)).collect();
    let rows = |j: &[T]| j.chunks(v.len()).map(|row| dot(row, &v)).collect::<Vec<f64>>();
    j.par_chunks(task(v.len())).flat_map_iter(rows).collect()
}

/// J ← aJ + bI + κwwᵀ in one sweep, exactly symmetric; returns the largest absolute entry.
fn rank_one<T: Real>(j: &mut [T], a: f64, b: f64, w: &[f64], kappa: f64) -> f64 {
    const LANES: usize = 16;
    let d = w.len();
    // √|κ|w, so that entry (i, j) is rounded like entry (j, i).
    let w: Vec<T> = w.iter().map(|w| T::from_f64(kappa.abs().sqrt() * w)).collect();
    let (a, b, sign) = (T::from_f64(a), T::from_f64(b), T::from_f64(kappa.signum()));
    let larger = |max: T, x: T| if x > max { x } else { max };
    let sweep = |(task_number, j): (usize, &mut [T])| {
        let mut max = [T::ZERO; LANES];
        for (i, row) in (task_number * (task(d) / d)..).zip(j.chunks_mut(d)) {
            let (wi, diagonal) = (sign * w[i], a * row[i] + b + sign * w[i] * w[i]);
            let (lanes, tail) = row.as_chunks_mut::<LANES>();
            let (w_lanes, w_tail) = w.as_chunks::<LANES>();
            for (x, w) in lanes.iter_mut().zip(w_lanes) {
                for l in 0..LANES {
                    x[l] = a * x[l] + wi * w[l];
                    max[l] = larger(max[l], x[l].abs());
                }
            }
            for (x, &w) in tail.iter_mut().zip(w_tail) {
                *x = a * *x + wi * w;
                max[0] = larger(max[0], x.abs());
            }
            row[i] = diagonal;
            max[0] = larger(max[0], diagonal.abs());
        }
        max.into_iter().fold(T::ZERO, larger).to_f64()
    };
    j.par_chunks_mut(task(d)).enumerate().map(sweep).reduce(|| 0.0, f64::max)
}

/// Elements of whole rows of length `d` per task.
fn task(d: usize) -> usize {
    d * (CHUNK / d.max(1)).max(1)
}

/// Least ω‖q‖², the share of the identity that a pair takes away, of a pair that is kept. All that
/// are not change J⁻¹ by less than 1e-4/(1 − γ), a tenth of what forgetting the old ones does; in
/// trained networks they are most of the left factor.
const NEGLIGIBLE: f64 = 1e-4;

/// One update of I − Σ ωᵢqᵢqᵢᵀ: all ω ← γω, and the new pair q = v − Σ ωᵢqᵢ(qᵢᵀv), ω = 1/(1 + vᵀq).
fn update_low_rank<T: Real>(q: &mut Vec<T>, omega: &mut Vec<f64>, rank: usize, v: &[f64], decay: f64) {
    omega.iter_mut().for_each(|omega| *omega *= decay);
    let short: Vec<T> = v.iter().map(|&v| T::from_f64(v)).collect();
    let mut new = v.to_vec();
    for (q, omega) in q.chunks(v.len()).zip(&*omega) {
        let c = omega * dot(q, &short);
        new.iter_mut().zip(q).for_each(|(new, q)| *new -= c * q.to_f64());
    }
    let inner = |a: &[f64]| a.iter().zip(&new).map(|(a, q)| a * q).sum::<f64>();
    let weight = 1.0 / (1.0 + inner(v));
    if weight * inner(&new) < NEGLIGIBLE {
        return;
    }
    if omega.len() >= rank {
        omega.drain(..=omega.len() - rank);
        q.drain(..q.len() - omega.len() * v.len());
    }
    omega.push(weight);
    q.extend(new.into_iter().map(T::from_f64));
}

/// Multiplies column i of the row-major `[_, weights]` matrix by −ωᵢ.
fn weigh<T: Real>(s: &mut [T], omega: &[f64]) {
    let weights: Vec<T> = omega.iter().map(|omega| T::from_f64(-omega)).collect();
    for row in s.chunks_mut(weights.len().max(1)) {
        row.iter_mut().zip(&weights).for_each(|(s, &w)| *s *= w);
    }
}
