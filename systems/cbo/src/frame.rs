//! The frame in which a cloud's coordinates are independent.

use faer::MatRef;
use serde::{Deserialize, Serialize};
use thalweg_linalg::dense::Eigen;
use thalweg_linalg::vector::dot_in_turn as dot;

/// Eigenvectors (`[k, j]`, the k-th one in row k) and eigenvalues of a symmetric matrix.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frame {
    /// Orthonormal, one per row.
    pub vectors: Vec<f64>,
    /// In the same order.
    pub values: Vec<f64>,
}

impl Frame {
    /// The coordinate axes.
    pub fn axes(dim: usize) -> Self {
        let mut vectors = vec![0.0; dim * dim];
        vectors.iter_mut().step_by(dim + 1).for_each(|v| *v = 1.0);
        Self { vectors, values: vec![1.0; dim] }
    }

    /// Of `matrix`, `[dim, dim]`; `None` if it is not finite.
    pub fn of(matrix: &[f64], dim: usize) -> Option<Self> {
        if !matrix.iter().all(|m| m.is_finite()) {
            return None;
        }
        let Eigen { values, vectors } = Eigen::new(MatRef::from_row_major_slice(matrix, dim, dim)).ok()?;
        let vectors = (0..dim * dim).map(|i| vectors[(i % dim, i / dim)]).collect();
        Some(Self { vectors, values })
    }

    /// Coordinates of `x` in this frame.
    pub fn coordinates(&self, x: &[f64], out: &mut [f64]) {
        out.iter_mut().zip(self.vectors.chunks_exact(x.len())).for_each(|(o, v)| *o = dot(v, x));
    }

    /// The vector with these coordinates.
    pub fn vector(&self, coordinates: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for (c, v) in coordinates.iter().zip(self.vectors.chunks_exact(out.len())) {
            out.iter_mut().zip(v).for_each(|(o, v)| *o += c * v);
        }
    }
}
