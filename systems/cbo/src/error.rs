use thalweg_core::{Invalid, MethodError};
use thiserror::Error;

/// Steps for which a budget must pay where gradients are differences.
pub(crate) const STEPS: u64 = 10;

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
    /// A program that never works.
    #[error("the program fails wherever it is asked, for instance at {point}: {cause}; try it by hand there")]
    Hopeless {
        /// One of the points, in words.
        point: String,
        /// What the first failure was.
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
    /// Differences that eat up the budget.
    #[error(
        "central differences take {differences} of the {needed} evaluations of a step, and max_evaluations = {budget} pays \
         for less than {STEPS} steps; use fewer particles, a function that gives its gradient (gradient.difference = null), \
         or allow more"
    )]
    Differences {
        /// Evaluations of differences in a step, 2d per particle.
        differences: u64,
        /// Evaluations of a step.
        needed: u64,
        /// Evaluations allowed.
        budget: u64,
    },
    /// No point of the box is on the surface.
    #[error(
        "no point of the box is on the {surface}; use a larger box, another surface, or an open boundary"
    )]
    Empty {
        /// Its name.
        surface: &'static str,
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
