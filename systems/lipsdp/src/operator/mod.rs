//! Affine maps by their structure, with proved bounds of their norms: what a model's file holds enters a proof
//! through these, whatever was rounded on the way.

mod convolution;
mod rows;

use crate::Norm;
pub use crate::network::Radii;
pub use convolution::Convolution;
pub use rows::{Entry, Number, Rows};

/// An affine map.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// By its rows.
    Rows(Rows),
    /// A convolution of images.
    Convolution(Convolution),
}

impl Operator {
    /// Numbers that it reads.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.inputs(),
            Self::Convolution(c) => c.input.iter().product(),
        }
    }

    /// Numbers that it gives.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.outputs(),
            Self::Convolution(c) => c.output().iter().product(),
        }
    }

    /// Entries that are not known to be zero, about.
    pub fn entries(&self) -> f64 {
        match self {
            Self::Rows(rows) => rows.entries() as f64,
            Self::Convolution(c) => self.outputs() as f64 * c.taps() as f64,
        }
    }

    /// The same by its rows.
    pub fn rows(&self) -> Rows {
        match self {
            Self::Rows(rows) => rows.clone(),
            Self::Convolution(c) => c.rows(),
        }
    }

    /// A proved bound of its norm, ℓ2 to ℓ2 or else ℓ∞ to ℓ∞.
    pub fn norm(&self, norm: Norm) -> f64 {
        match self {
            Self::Rows(rows) => rows.norm(norm),
            Self::Convolution(c) => c.norm(norm),
        }
    }

    /// The linear part alone.
    pub fn without_bias(&self) -> Self {
        match self {
            Self::Rows(rows) => Self::Rows(rows.without_bias()),
            Self::Convolution(c) => {
                Self::Convolution(Convolution { bias: vec![Number::ZERO; c.out], ..c.clone() })
            }
        }
    }
}
