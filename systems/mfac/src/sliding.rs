use serde::{Deserialize, Serialize};
use thalweg_linalg::dense::Cholesky;

/// The lower Cholesky factor C of a matrix whose first row and column go when a new last one
/// comes, in O(n²): what the first column carried is added to the rest by rotations, which cannot
/// fail and lose no digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sliding {
    n: usize,
    /// Column after column.
    c: Vec<f64>,
}

impl Sliding {
    /// The factor of `x`·I.
    pub fn scaled_identity(n: usize, x: f64) -> Self {
        let mut c = vec![0.0; n * n];
        c.iter_mut().step_by(n + 1).for_each(|c| *c = x.sqrt());
        Self { n, c }
    }

    /// The factor of the matrix with these entries; `None` if a pivot is not positive.
    pub fn of(n: usize, entry: impl Fn(usize, usize) -> f64) -> Option<Self> {
        let c = Cholesky::new(faer::Mat::from_fn(n, n, entry)).ok()?;
        let columns = c.lower().col_iter().flat_map(|c| c.iter().copied().collect::<Vec<_>>());
        Some(Self { n, c: columns.collect() })
    }

    /// Deletes the first row and column and appends `row`, `[n]`, the new diagonal element last.
    /// `least` > 0 is a lower bound of the matrix's eigenvalues, hence of the new squared pivot.
    pub fn slide(&mut self, row: &[f64], least: f64) {
        let n = self.n;
        // C₂₂ ← the factor of C₂₂C₂₂ᵀ + c₂₁c₂₁ᵀ, moved up and left by one.
        let mut x = self.c[1..n].to_vec();
        for k in 0..n - 1 {
            let (to, from) = self.c.split_at_mut((k + 1) * n);
            let (to, from, x) = (&mut to[k * n + k..][..n - 1 - k], &from[k + 1..n], &mut x[k..]);
            let r = from[0].hypot(x[0]);
            let (cos, sin) = (from[0] / r, x[0] / r);
            for ((to, from), x) in to.iter_mut().zip(from).zip(x) {
                *to = cos * from + sin * *x;
                *x = cos * *x - sin * from;
            }
        }
        let mut last = row.to_vec();
        self.forward(n - 1, &mut last);
        let rest: f64 = last[..n - 1].iter().map(|x| x * x).sum();
        last[n - 1] = (row[n - 1] - rest).max(least).sqrt();
        self.c[n - 1..].iter_mut().step_by(n).zip(last).for_each(|(c, x)| *c = x);
    }

    /// (CCᵀ)⁻¹ b.
    pub fn solve(&self, mut b: Vec<f64>) -> Vec<f64> {
        self.forward(self.n, &mut b);
        self.backward(&mut b);
        b
    }

    /// The last column of (CCᵀ)⁻¹: C⁻¹ leaves the last unit vector one.
    pub fn last_column(&self) -> Vec<f64> {
        let mut b = vec![0.0; self.n];
        b[self.n - 1] = 1.0 / self.c[self.n * self.n - 1];
        self.backward(&mut b);
        b
    }

    /// `b ← C⁻¹b` with the first `n` rows and columns.
    fn forward(&self, n: usize, b: &mut [f64]) {
        for k in 0..n {
            let column = &self.c[k * self.n + k..][..n - k];
            b[k] /= column[0];
            let x = b[k];
            b[k + 1..n].iter_mut().zip(&column[1..]).for_each(|(b, c)| *b -= x * c);
        }
    }

    /// `b ← C⁻ᵀb`.
    fn backward(&self, b: &mut [f64]) {
        for k in (0..self.n).rev() {
            let column = &self.c[k * self.n + k..(k + 1) * self.n];
            let sum: f64 = column[1..].iter().zip(&b[k + 1..]).map(|(c, b)| c * b).sum();
            b[k] = (b[k] - sum) / column[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_core::{Seed, normal};

    use super::*;

    /// Ten thousand slides of a nearly singular matrix without a fresh start.
    #[test]
    fn the_factor_stays_exact() {
        let (n, floor, mut rng) = (12, 1e-4, Seed(1).stream("slides", 0));
        let mut draw = || {
            let mut g = vec![0.0; 20];
            normal(&mut rng, &mut g);
            g
        };
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut rows = vec![vec![0.0; 20]; n];
        let mut factor = Sliding::scaled_identity(n, floor);
        for t in 0..10_000 {
            // Every third gradient is nearly the one before.
            let mut g = draw();
            if t % 3 == 0 {
                g.iter_mut().zip(&rows[n - 1]).for_each(|(g, old)| *g = old + 1e-4 * *g);
            }
            rows.remove(0);
            rows.push(g);
            let mut row: Vec<f64> = rows.iter().map(|r| product(r, &rows[n - 1])).collect();
            row[n - 1] += floor;
            factor.slide(&row, floor);
        }
        let entry = |i: usize, j: usize| product(&rows[i], &rows[j]) + if i == j { floor } else { 0.0 };
        let fresh = Sliding::of(n, entry).unwrap();
        let lower =
            |s: &Sliding| -> Vec<f64> { (0..n).flat_map(|k| s.c[k * n + k..(k + 1) * n].to_vec()).collect() };
        for (a, b) in lower(&factor).iter().zip(lower(&fresh)) {
            assert!((a - b).abs() < 1e-10, "{a} {b}");
        }
    }
}
