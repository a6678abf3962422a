use thalweg_core::{Invalid, NamedError};
use thiserror::Error;

/// Why a function or a black box cannot be set up.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum OptimError {
    /// No function of that name.
    #[error(transparent)]
    Named(#[from] NamedError),
    /// Lengths that do not fit.
    #[error("{what} has {found} numbers where {needed} are needed")]
    Length {
        /// What was counted.
        what: &'static str,
        /// Found.
        found: usize,
        /// Needed.
        needed: usize,
    },
    /// The objective's program cannot be used.
    #[error("the objective `{program}` cannot be run: {cause}")]
    Program {
        /// Command line.
        program: String,
        /// What the system said, and what to do.
        cause: String,
    },
    /// A setting outside its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl OptimError {
    pub(crate) fn check_length(what: &'static str, found: usize, needed: usize) -> Result<(), Self> {
        if found == needed { Ok(()) } else { Err(Self::Length { what, found, needed }) }
    }
}
