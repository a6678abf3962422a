use faer::MatRef;
use serde::{Deserialize, Serialize};
pub(crate) use thalweg_linalg::vector::{axpy as add, dot_by_four as dot};

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
    ///
    /// # Errors
    /// Fewer than 2.
    pub fn select(&self, index: &[usize]) -> Result<Self, ConvexError> {
        Self::new(index.iter().flat_map(|&k| self.row(k)).copied().collect(), self.d)
    }
}

/// ‖a‖₂.
pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
