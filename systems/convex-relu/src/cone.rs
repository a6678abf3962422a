//! Non-negative least squares over the rows of one cone: projection and dual distance in one.

use serde::{Deserialize, Serialize};

use crate::Samples;
use crate::samples::{add, dot, norm};

/// Which multipliers were positive at the last solve: the next one starts from them.
pub type Support = Vec<u32>;

/// Relative size of a violation that counts as none.
const TINY: f64 = 1e-12;

/// The cone K = { v : e_k x_kᵀv ≥ 0 for all k } of one activation pattern.
#[derive(Clone, Copy)]
pub(crate) struct Cone<'a> {
    pub samples: &'a Samples,
    /// ‖x_k‖ of each sample.
    pub norms: &'a [f64],
    /// 1 where the pattern is on, 0 where it is off.
    pub pattern: &'a [f64],
}

/// Orthogonal basis of the passive rows: g_passive = Q R, `q` and `r` by columns.
#[derive(Default)]
struct Basis {
    passive: Vec<usize>,
    q: Vec<Vec<f64>>,
    r: Vec<Vec<f64>>,
}

impl Cone<'_> {
    /// e_k: 1 where the pattern is on, −1 where it is off.
    pub fn sign(&self, k: usize) -> f64 {
        2.0 * self.pattern[k] - 1.0
    }

    /// The point of K nearest to `v`.
    pub fn project(&self, v: &[f64], support: &mut Support) -> Vec<f64> {
        let mut v: Vec<f64> = v.iter().map(|v| -v).collect();
        self.residual(&mut v, support);
        v.iter_mut().for_each(|v| *v = -*v);
        v
    }

    /// Replaces `c` by c − Gᵀμ with the μ ≥ 0 that makes it shortest (active set of Lawson and
    /// Hanson over an orthogonal basis). It then lies in −K, and its norm is the dual distance.
    pub fn residual(&self, c: &mut [f64], support: &mut Support) {
        let length = norm(c);
        if length == 0.0 {
            return support.clear();
        }
        let mut basis = Basis::default();
        let mut mu = self.warm(&mut basis, c, support);
        let mut banned = vec![false; self.norms.len()];
        let mut rest = basis.residual(c);
        for _ in 0..3 * (self.norms.len() + c.len()) {
            let Some(j) = self.most_violated(&rest, &basis.passive, &banned, length) else { break };
            if !self.append(&mut basis, j) {
                banned[j] = true;
                continue;
            }
            mu.push(0.0);
            let mut z = basis.solve(c);
            if z.last().is_none_or(|z| *z <= 0.0) {
                basis.remove(basis.passive.len() - 1);
                mu.pop();
                banned[j] = true;
                continue;
            }
            while let Some((blocker, step)) = blocking(&mu, &z) {
                mu.iter_mut().zip(&z).for_each(|(m, z)| *m += step * (z - *m));
                mu[blocker] = 0.0;
                for i in (0..mu.len()).rev().filter(|&i| mu[i] <= 0.0).collect::<Vec<_>>() {
                    basis.remove(i);
                    mu.remove(i);
                }
                z = basis.solve(c);
            }
            mu = z;
            rest = basis.residual(c);
            banned.fill(false);
        }
        *support = basis.passive.iter().map(|&k| k as u32).collect();
        c.copy_from_slice(&rest);
    }

    /// Starts from the rows of an earlier solve, less those whose multipliers are negative now.
    fn warm(&self, basis: &mut Basis, c: &[f64], support: &Support) -> Vec<f64> {
        for &k in support {
            self.append(basis, k as usize);
        }
        loop {
            let mu = basis.solve(c);
            let negative: Vec<usize> = (0..mu.len()).rev().filter(|&i| mu[i] <= 0.0).collect();
            if negative.is_empty() {
                return mu;
            }
            negative.into_iter().for_each(|i| basis.remove(i));
        }
    }

    /// The row that `rest` violates most.
    fn most_violated(&self, rest: &[f64], passive: &[usize], banned: &[bool], length: f64) -> Option<usize> {
        let mut worst = (TINY * length, None);
        for (k, x) in self.samples.rows().enumerate() {
            let size = self.norms[k];
            let w = self.sign(k) * dot(x, rest);
            if size > 0.0 && w > worst.0 * size && !banned[k] && !passive.contains(&k) {
                worst = (w / size, Some(k));
            }
        }
        worst.1
    }

    /// Adds a row to the basis unless it depends on those there.
    fn append(&self, basis: &mut Basis, k: usize) -> bool {
        let s = self.sign(k);
        let mut q: Vec<f64> = self.samples.row(k).iter().map(|x| s * x).collect();
        let mut r = vec![0.0; basis.q.len()];
        for _ in 0..2 {
            for (r, b) in r.iter_mut().zip(&basis.q) {
                let p = dot(&q, b);
                *r += p;
                add(&mut q, -p, b);
            }
        }
        let length = norm(&q);
        if length <= 1e-10 * self.norms[k] {
            return false;
        }
        q.iter_mut().for_each(|q| *q /= length);
        r.push(length);
        basis.q.push(q);
        basis.r.push(r);
        basis.passive.push(k);
        true
    }
}

/// The first multiplier that the way from μ ≥ 0 to z brings to 0, and the step to there.
fn blocking(mu: &[f64], z: &[f64]) -> Option<(usize, f64)> {
    let falling = (0..mu.len()).filter(|&i| z[i] <= 0.0);
    falling.map(|i| (i, mu[i] / (mu[i] - z[i]).max(f64::MIN_POSITIVE))).min_by(|a, b| a.1.total_cmp(&b.1))
}

impl Basis {
    /// c less its part in the span of the passive rows.
    fn residual(&self, c: &[f64]) -> Vec<f64> {
        let mut rest = c.to_vec();
        for _ in 0..2 {
            for q in &self.q {
                let p = dot(q, &rest);
                add(&mut rest, -p, q);
            }
        }
        rest
    }

    /// Least squares: R μ = Qᵀ c.
    fn solve(&self, c: &[f64]) -> Vec<f64> {
        let mut rest = c.to_vec();
        let mut z: Vec<f64> = Vec::with_capacity(self.q.len());
        for q in &self.q {
            let p = dot(q, &rest);
            add(&mut rest, -p, q);
            z.push(p);
        }
        for j in (0..z.len()).rev() {
            z[j] /= self.r[j][j];
            let zj = z[j];
            add(&mut z[..j], -zj, &self.r[j][..j]);
        }
        z
    }

    /// Takes column `i` out; Givens rotations make R triangular again.
    fn remove(&mut self, i: usize) {
        self.passive.remove(i);
        self.r.remove(i);
        for j in i..self.r.len() {
            let (a, b) = (self.r[j][j], self.r[j][j + 1]);
            let h = a.hypot(b);
            let (c, s) = (a / h, b / h);
            for r in &mut self.r[j..] {
                (r[j], r[j + 1]) = (c * r[j] + s * r[j + 1], c * r[j + 1] - s * r[j]);
            }
            self.r[j].truncate(j + 1);
            let (left, right) = self.q.split_at_mut(j + 1);
            for (a, b) in left[j].iter_mut().zip(&mut right[0]) {
                (*a, *b) = (c * *a + s * *b, c * *b - s * *a);
            }
        }
        self.q.pop();
    }
}

/// Starting points of the projections (`primal`) and distances (`dual`), by group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Supports {
    pub(crate) primal: Vec<Support>,
    pub(crate) dual: Vec<Support>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Inside the cone, v − P(v) orthogonal to P(v), idempotent; a warm start changes nothing.
        #[test]
        fn projection_is_optimal(
            (d, x, v, on) in (1usize..5, 2usize..12).prop_flat_map(|(d, n)| (
                Just(d),
                proptest::collection::vec(-3.0f64..3.0, d * n),
                proptest::collection::vec(-3.0f64..3.0, d),
                proptest::collection::vec(any::<bool>(), n),
            ))
        ) {
            let samples = Samples::new(x, d).unwrap();
            let norms: Vec<f64> = samples.rows().map(norm).collect();
            let pattern: Vec<f64> = on.iter().map(|on| f64::from(u8::from(*on))).collect();
            let cone = Cone { samples: &samples, norms: &norms, pattern: &pattern };
            let mut support = Vec::new();
            let inside = cone.project(&v, &mut support);
            let scale = norm(&v).max(1.0);
            for (k, x) in samples.rows().enumerate() {
                prop_assert!(cone.sign(k) * dot(x, &inside) >= -1e-9 * scale * norms[k].max(1.0));
            }
            let rest: Vec<f64> = v.iter().zip(&inside).map(|(v, p)| v - p).collect();
            prop_assert!(dot(&rest, &inside).abs() <= 1e-8 * scale * scale);
            let again = cone.project(&v, &mut support);
            let twice = cone.project(&inside, &mut Vec::new());
            for j in 0..d {
                prop_assert!((again[j] - inside[j]).abs() <= 1e-9 * scale);
                prop_assert!((twice[j] - inside[j]).abs() <= 1e-8 * scale);
            }
        }
    }
}
