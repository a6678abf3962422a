use thalweg_core::{Invalid, MethodError};
use thiserror::Error;

/// Why inverse-Fisher products or pruning failed.
#[derive(Debug, Error)]
pub enum MfacError {
    /// A setting is outside its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Buffers do not fit, or the problem failed.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The gradients would not fit into memory.
    #[error(
        "{m} gradients of {d} numbers need {needed} bytes and {available} are free; \
         use at most {suggested} gradients, or store them in 16 bits"
    )]
    Memory {
        /// Number of gradients wanted.
        m: usize,
        /// Numbers per gradient.
        d: usize,
        /// Bytes that they need with all that belongs to them.
        needed: u64,
        /// Bytes that are free.
        available: u64,
        /// Number of gradients that would fit.
        suggested: usize,
    },
    /// A gradient has an infinity, is not a number, or is too large for the storage.
    #[error(
        "gradient {row} is not finite at element {at}, or too large to be stored; leave it out or lower the learning \
         rate"
    )]
    NonFinite {
        /// Row of the gradient.
        row: usize,
        /// Element in it.
        at: usize,
    },
    /// Rounding made the damped matrix singular.
    #[error(
        "the Fisher matrix is singular in double precision at damping = {damping}; use at least {least:e}"
    )]
    Singular {
        /// The damping.
        damping: f64,
        /// A damping at which the factorisation succeeds.
        least: f64,
    },
    /// Too many micro-batches had to be left out.
    #[error("{skipped} of {total} micro-batches had non-finite gradients; check the data and the model")]
    Skipped {
        /// Micro-batches left out.
        skipped: usize,
        /// Micro-batches asked for.
        total: usize,
    },
    /// Pruning cannot bring weights back.
    #[error("sparsity {wanted} is below the present {present}; use a number from there to 1")]
    Sparsity {
        /// Sparsity asked for, of the prunable weights.
        wanted: f64,
        /// Sparsity that is there.
        present: f64,
    },
    /// A weight is not finite.
    #[error("weight {at} of {layer} is not finite; prune a model that was trained without divergence")]
    Weight {
        /// Layer.
        layer: String,
        /// Index in the layer.
        at: usize,
    },
}

impl From<MfacError> for MethodError {
    fn from(error: MfacError) -> Self {
        match error {
            MfacError::Invalid(error) => error.into(),
            MfacError::Method(error) => error,
            error => Self::Problem(Box::new(error)),
        }
    }
}
