use thalweg_core::{Invalid, MethodError};
use thiserror::Error;

/// Why a search could not be made. Each says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CboError {
    /// Nothing but failures.
    #[error(
        "no finite objective value in {evaluations} evaluations, for instance at {point}{cause}; check the function \
         there, or give it a box in which it has values"
    )]
    NoFinite {
        /// Evaluations made.
        evaluations: u64,
        /// One of the points, in words.
        point: String,
        /// What the function said, if anything.
        cause: String,
    },
    /// The budget does not even pay for the first cloud.
    #[error(
        "max_evaluations = {budget} is less than one cloud of {needed} points and the final consensus; allow more or use fewer particles"
    )]
    Budget {
        /// Evaluations allowed.
        budget: u64,
        /// Evaluations of one step.
        needed: u64,
    },
    /// An empty or reversed side of the box.
    #[error("box of coordinate {coordinate} is {lo} to {hi}; use finite numbers, the smaller one first")]
    Box {
        /// Which, from 0.
        coordinate: usize,
        /// Lower end.
        lo: f64,
        /// Upper end.
        hi: f64,
    },
    /// Nowhere to start.
    #[error("there is neither a box nor a start; give one of them")]
    NoStart,
    /// A cloud without spread never moves.
    #[error(
        "all particles start in one point, where multiplicative noise is zero forever; give the start a spread, or use \
         additive noise (delta > 0)"
    )]
    NoSpread,
    /// Lengths that do not fit.
    #[error("{what} has {found} numbers where {needed} are needed")]
    Length {
        /// What was counted.
        what: String,
        /// Found.
        found: usize,
        /// Needed.
        needed: usize,
    },
    /// A hyper-parameter outside its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl From<CboError> for MethodError {
    fn from(e: CboError) -> Self {
        match e {
            CboError::Invalid(e) => Self::Invalid(e),
            e => Self::Problem(Box::new(e)),
        }
    }
}

impl CboError {
    pub(crate) fn check_length(what: &str, found: usize, needed: usize) -> Result<(), Self> {
        if found == needed { Ok(()) } else { Err(Self::Length { what: what.into(), found, needed }) }
    }
}
