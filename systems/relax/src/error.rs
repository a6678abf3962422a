use thalweg_core::{Invalid, MethodError};
use thiserror::Error;

/// Why a system could not be solved or a parameter not learnt. Each says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum RelaxError {
    /// A matrix that is not square.
    #[error("the matrix has {rows} rows and {cols} columns; relaxation needs a square one")]
    NotSquare {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
    },
    /// A matrix without unknowns.
    #[error("the matrix is empty; give it at least one row")]
    Empty,
    /// A diagonal entry that a sweep cannot divide by.
    #[error(
        "row {row} has the diagonal entry {value}; relaxation needs a positive diagonal, reorder or scale the equations"
    )]
    Diagonal {
        /// Which row, from 1.
        row: usize,
        /// What stands there; 0 where nothing does.
        value: f64,
    },
    /// An entry that is not a number.
    #[error("{what} holds {value} in row {row}; every entry must be a finite number")]
    NotFinite {
        /// The matrix, the right-hand side or the start.
        what: &'static str,
        /// Which row, from 1.
        row: usize,
        /// What stands there.
        value: f64,
    },
    /// An index outside the matrix.
    #[error("entry ({row}, {col}) lies outside a matrix of {size} rows")]
    Outside {
        /// Row, from 1.
        row: usize,
        /// Column, from 1.
        col: usize,
        /// Rows of the matrix.
        size: usize,
    },
    /// Conjugate gradients on a matrix that is not symmetric.
    #[error(
        "the matrix is not symmetric: entries ({row}, {col}) and ({col}, {row}) differ; conjugate gradients need a \
         symmetric matrix, use sor"
    )]
    NotSymmetric {
        /// Row, from 1.
        row: usize,
        /// Column, from 1.
        col: usize,
    },
    /// A vector of another length.
    #[error("{what} has {found} entries where {expected} are needed; one per row of the matrix")]
    Length {
        /// What was measured.
        what: &'static str,
        /// Length found.
        found: usize,
        /// Length needed.
        expected: usize,
    },
    /// A quantity that a bound needs could not be computed.
    #[error("{0}")]
    Spectrum(String),
    /// A policy that this sequence cannot serve.
    #[error("the policy {policy} {why}; use {instead}")]
    Policy {
        /// The policy.
        policy: String,
        /// Why not.
        why: String,
        /// What to use.
        instead: String,
    },
    /// A parameter outside its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl From<RelaxError> for MethodError {
    fn from(e: RelaxError) -> Self {
        match e {
            RelaxError::Invalid(invalid) => Self::Invalid(invalid),
            other => Self::Problem(Box::new(other)),
        }
    }
}
