use faer::MatRef;
use serde::{Deserialize, Serialize};

use crate::ConvexError;

/// The data matrix X, n samples of d features, row-major and finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    x: Vec<f64>,
    d: usize,
}

impl Samples {
    /// From `x`, row-major, `d` features a row.
    ///
    /// # Errors
    /// Fewer than 2 samples, no feature, incomplete rows, numbers that are not finite.
    pub fn new(x: Vec<f64>, d: usize) -> Result<Self, ConvexError> {
        let samples = x.len().checked_div(d).unwrap_or(0);
        if samples < 2 {
            return Err(ConvexError::Small { samples, features: d });
        }
        ConvexError::check("numbers in whole rows of features", x.len(), samples * d)?;
        if let Some(at) = x.iter().position(|v| !v.is_finite()) {
            return Err(ConvexError::NotFinite {
                what: "features",
                row: at / d,
                column: at % d,
                value: x[at],
            });
        }
        Ok(Self { x, d })
    }

    /// Number of samples.
    pub fn n(&self) -> usize {
        self.x.len() / self.d
    }

    /// Number of features.
    pub fn d(&self) -> usize {
        self.d
    }

    /// Features of sample `k`.
    pub fn row(&self, k: usize) -> &[f64] {
        &self.x[k * self.d..][..self.d]
    }

    /// All samples in turn.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.x.chunks_exact(self.d)
    }

    /// All numbers, row-major.
    pub fn values(&self) -> &[f64] {
        &self.x
    }

    /// Xᵀ, `[d, n]`.
    pub fn t(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.x, self.d, self.n())
    }

    /// X, `[n, d]`.
    pub fn mat(&self) -> MatRef<'_, f64> {
        self.t().transpose()
    }

    /// X a.
    pub fn times(&self, a: &[f64]) -> Vec<f64> {
        self.rows().map(|x| dot(x, a)).collect()
    }

    /// The samples `index`, in that order.
    pub fn select(&self, index: &[usize]) -> Result<Self, ConvexError> {
        Self::new(index.iter().flat_map(|&k| self.row(k)).copied().collect(), self.d)
    }
}

/// aᵀb in four partial sums.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a4, a1) = a.as_chunks::<4>();
    let (b4, b1) = b.as_chunks::<4>();
    let mut sum = [0.0; 4];
    for (a, b) in a4.iter().zip(b4) {
        for l in 0..4 {
            sum[l] += a[l] * b[l];
        }
    }
    let rest: f64 = a1.iter().zip(b1).map(|(a, b)| a * b).sum();
    (sum[0] + sum[1]) + (sum[2] + sum[3]) + rest
}

/// ‖a‖₂.
pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// y ← y + s x.
pub(crate) fn add(y: &mut [f64], s: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += s * x);
}
