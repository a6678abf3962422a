//! Matrices with rigorous error bounds: each entry is a midpoint and a radius, and every operation
//! encloses the exact result of its exact operands.

use faer::Mat;
use thalweg_linalg::dense::{Lu, lambda_max, product};
use thalweg_linalg::vector::dot;

/// Unit roundoff 2⁻⁵³.
pub(crate) const U: f64 = f64::EPSILON / 2.0;

/// Bound k·u/(1−k·u) of the relative error of k roundings, itself rounded up.
pub(crate) fn gamma(k: usize) -> f64 {
    let ku = k as f64 * U;
    ku / (1.0 - ku) * (1.0 + 4.0 * U)
}

/// Rounded-up product.
pub(crate) fn times(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { (a * b).next_up() }
}

/// Rounded-up sum.
pub(crate) fn plus(a: f64, b: f64) -> f64 {
    (a + b).next_up()
}

/// `|entry − mid| ≤ rad` for every entry.
#[derive(Clone, Debug)]
pub(crate) struct Ball {
    pub mid: Mat<f64>,
    pub rad: Mat<f64>,
}

impl Ball {
    /// Numbers that are meant exactly as stored.
    pub fn exact(mid: Mat<f64>) -> Self {
        Self { rad: Mat::zeros(mid.nrows(), mid.ncols()), mid }
    }

    /// Numbers that were computed with at most `k` roundings each.
    pub fn rounded(mid: Mat<f64>, k: usize) -> Self {
        let rad = Mat::from_fn(mid.nrows(), mid.ncols(), |i, j| 1.01 * gamma(k) * mid[(i, j)].abs());
        Self { mid, rad }
    }

    pub fn identity(n: usize) -> Self {
        Self::exact(Mat::identity(n, n))
    }

    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self::exact(Mat::zeros(rows, columns))
    }

    pub fn nrows(&self) -> usize {
        self.mid.nrows()
    }

    pub fn ncols(&self) -> usize {
        self.mid.ncols()
    }

    pub fn transpose(&self) -> Self {
        Self { mid: self.mid.transpose().to_owned(), rad: self.rad.transpose().to_owned() }
    }

    /// Product, whatever the order of summation: γ|A||B| for rounding, the rest for the radii.
    pub fn mul(&self, other: &Self) -> Self {
        let k = self.ncols();
        let mid = product(&self.mid, &other.mid);
        let size = |m: &Mat<f64>| Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i, j)].abs());
        let (a, b) = (size(&self.mid), size(&other.mid));
        let g = gamma(k + 2);
        let spread = Mat::from_fn(b.nrows(), b.ncols(), |i, j| g * b[(i, j)] + other.rad[(i, j)]);
        let mut rad = product(&a, &spread);
        if (0..self.ncols()).any(|j| self.rad.col_as_slice(j).iter().any(|r| *r != 0.0)) {
            rad += product(&self.rad, &b + &other.rad);
        }
        // The radii's own rounding, and underflow.
        let (up, tiny) = (1.0 + 2.0 * gamma(2 * k + 8), (k + 1) as f64 * f64::MIN_POSITIVE);
        let rad = Mat::from_fn(rad.nrows(), rad.ncols(), |i, j| rad[(i, j)] * up + tiny);
        Self { mid, rad }
    }

    pub fn add(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a + b)
    }

    pub fn sub(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a - b)
    }

    fn combine(&self, other: &Self, op: impl Fn(f64, f64) -> f64) -> Self {
        let mid = Mat::from_fn(self.nrows(), self.ncols(), |i, j| op(self.mid[(i, j)], other.mid[(i, j)]));
        let rad = Mat::from_fn(self.nrows(), self.ncols(), |i, j| {
            (self.rad[(i, j)] + other.rad[(i, j)] + U * mid[(i, j)].abs()) * (1.0 + 8.0 * U)
        });
        Self { mid, rad }
    }

    /// Row i times the exact number `by(i)`.
    pub fn scale_rows(&self, by: impl Fn(usize) -> f64) -> Self {
        let mid = Mat::from_fn(self.nrows(), self.ncols(), |i, j| by(i) * self.mid[(i, j)]);
        let rad = Mat::from_fn(self.nrows(), self.ncols(), |i, j| {
            (by(i).abs() * self.rad[(i, j)] + U * mid[(i, j)].abs()) * (1.0 + 8.0 * U) + f64::MIN_POSITIVE
        });
        Self { mid, rad }
    }

    /// `selfᵀ S self`.
    pub fn congruence(&self, s: &Self) -> Self {
        self.transpose().mul(&s.mul(self))
    }

    /// `selfᵀ diag(p) self`.
    pub fn weighted_gram(&self, p: impl Fn(usize) -> f64) -> Self {
        self.transpose().mul(&self.scale_rows(p))
    }

    /// `[self other]`.
    pub fn beside(&self, other: &Self) -> Self {
        let join = |a: &Mat<f64>, b: &Mat<f64>| {
            Mat::from_fn(a.nrows(), a.ncols() + b.ncols(), |i, j| match j.checked_sub(a.ncols()) {
                None => a[(i, j)],
                Some(j) => b[(i, j)],
            })
        };
        Self { mid: join(&self.mid, &other.mid), rad: join(&self.rad, &other.rad) }
    }

    /// An enclosure of the inverse: with V ≈ A⁻¹ and ‖I − VA‖_∞ ≤ e < 1, every column of A⁻¹ − V is
    /// at most e/(1−e) times the largest entry of V's. `None` if A is not proved invertible.
    pub fn inverse(&self) -> Option<Self> {
        let n = self.nrows();
        let mid = Lu::new(&self.mid).inverse();
        let v = Self::exact(mid);
        let e = Self::identity(n).sub(&v.mul(self)).row_sum();
        if e.is_nan() || e >= 0.5 {
            return None;
        }
        let growth = e / (1.0 - e) * (1.0 + 8.0 * U) + f64::MIN_POSITIVE;
        let largest = |j: usize| (0..n).map(|i| v.mid[(i, j)].abs()).fold(0.0, f64::max);
        let rad = Mat::from_fn(n, n, |_, j| (growth * largest(j)).next_up());
        Some(Self { mid: v.mid.clone(), rad })
    }

    /// Upper bound of the spectral norm of a symmetric matrix: its largest absolute row sum.
    pub fn row_sum(&self) -> f64 {
        let n = self.ncols();
        let row = |i| (0..n).map(|j| self.mid[(i, j)].abs() + self.rad[(i, j)]).sum::<f64>();
        // Not `f64::max`, which would lose a NaN.
        let larger = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
        (0..self.nrows()).map(row).fold(0.0, larger) * (1.0 + 2.0 * gamma(2 * n))
    }

    /// Proves that every symmetric matrix in the ball is positive definite (Rump 2006): scaled by
    /// powers of two to a diagonal near 1, Cholesky's factorisation of the midpoint less a diagonal
    /// that covers its rounding and the radii must run to completion. Gives
    /// the largest further shift among powers of 100 that passes too, a certified eigenvalue of
    /// the scaled matrix; `None` is no proof of the contrary.
    pub fn positive_definite(&self) -> Option<f64> {
        let passes = self.cholesky()?;
        let shifts = [1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2];
        Some(shifts.into_iter().take_while(|m| passes(*m)).last().unwrap_or(0.0))
    }

    /// [`Ball::positive_definite`] without the certified eigenvalue.
    pub fn is_positive_definite(&self) -> bool {
        self.cholesky().is_some()
    }

    /// Whether the scaled matrix less a further shift passes, for one that passes without.
    fn cholesky(&self) -> Option<impl Fn(f64) -> bool> {
        let n = self.nrows();
        let scale: Vec<f64> = (0..n)
            .map(|i| {
                let d = self.mid[(i, i)];
                (d > 0.0 && d.is_finite()).then(|| (-0.5 * d.log2()).round().exp2())
            })
            .collect::<Option<_>>()?;
        let lower = |m: &Mat<f64>, i: usize, j: usize| scale[i] * m[(i.max(j), i.min(j))] * scale[j];
        let a: Vec<f64> = (0..n * n).map(|k| lower(&self.mid, k / n, k % n)).collect();
        let trace: f64 = (0..n).map(|i| a[i * n + i]).sum();
        let g = gamma(n + 2);
        let c = 1.01 * g / (1.0 - g) * trace + 16.0 * U;
        // |E| ≤ R implies E ⪯ diag(row sums of R).
        let radius = |i| (0..n).map(|j| lower(&self.rad, i, j)).sum::<f64>() * (1.0 + gamma(2 * n));
        let shift: Vec<f64> = (0..n).map(|i| 1.01 * (c + radius(i))).collect();
        let finite = shift.iter().all(|c| c.is_finite());
        let passes = move |more: f64| completes(a.clone(), n, |i| shift[i] + more);
        (finite && passes(0.0)).then_some(passes)
    }
}

/// Whether Cholesky's factorisation of `A − diag(shift)` (row-major, lower triangle) meets only positive
/// pivots. Written out so that Rump's bound applies to it word for word.
fn completes(mut a: Vec<f64>, n: usize, shift: impl Fn(usize) -> f64) -> bool {
    for i in 0..n {
        let (above, rest) = a.split_at_mut(i * n);
        let row = &mut rest[..n];
        for j in 0..i {
            let other = &above[j * n..j * n + n];
            row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
        }
        let pivot = row[i] - shift(i) - dot(&row[..i], &row[..i]);
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        row[i] = pivot.sqrt();
    }
    true
}

/// A proved upper bound of the largest eigenvalue of every symmetric matrix in the ball.
pub(crate) fn sound_lambda_max(a: &Ball) -> f64 {
    let guess = lambda_max(&a.mid).max(0.0);
    for slack in [1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-6, 1e-4] {
        let s = guess * (1.0 + slack) + f64::MIN_POSITIVE;
        let shifted = Ball::identity(a.nrows()).scale_rows(|_| s).sub(a);
        if shifted.is_positive_definite() {
            return s;
        }
    }
    a.row_sum().next_up()
}

/// A proved upper bound of ‖W‖₂ for a matrix with error bounds.
pub(crate) fn sound_norm(w: &Ball) -> f64 {
    let wide = w.nrows() <= w.ncols();
    let gram = if wide { w.mul(&w.transpose()) } else { w.transpose().mul(w) };
    sound_lambda_max(&gram).sqrt().next_up()
}
