use thiserror::Error;

/// Why a search could not be made. Each says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CboError {
    /// Nothing but failures.
    #[error(
        "no finite objective value in {evals} evaluations, for instance at {point}{cause}; check the function \
         there, or give it a box in which it has values"
    )]
    NoFinite {
        /// Evaluations made.
        evals: u64,
        /// One of the points, in words.
        point: String,
        /// What the function said, if anything.
        cause: String,
    },
    /// The budget does not even pay for the first cloud.
    #[error(
        "max-evals = {budget} is less than one cloud of {needed} points and the final consensus; allow more or use fewer particles"
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
    #[error("there is neither a box nor a start; give --box LO:HI, or a start with its spread")]
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
    /// No such test function.
    #[error("there is no function `{name}`; use one of {known}")]
    Function {
        /// Name asked for.
        name: String,
        /// Names known.
        known: String,
    },
    /// The objective's program cannot be used.
    #[error("the objective `{program}` cannot be run: {cause}")]
    Program {
        /// Command line.
        program: String,
        /// What the system said, and what to do.
        cause: String,
    },
    /// A swarm that cannot be saved or restored.
    #[error(
        "the saved search cannot be used ({cause}); resume it with the program that wrote it, or start afresh"
    )]
    Saved {
        /// The encoder's answer.
        cause: String,
    },
    /// A hyper-parameter outside its range.
    #[error(transparent)]
    Invalid(#[from] thalweg_core::Invalid),
}

impl CboError {
    pub(crate) fn check_length(what: &str, found: usize, needed: usize) -> Result<(), Self> {
        if found == needed { Ok(()) } else { Err(Self::Length { what: what.into(), found, needed }) }
    }
}
