use thalweg_core::{Invalid, MethodError, RunError};
use thiserror::Error;

/// Why a convex program could not be stated or solved.
#[derive(Debug, Error)]
pub enum ConvexError {
    /// A setting is outside its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A step failed.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A number of the data is NaN or infinite.
    #[error("{what}: row {row}, column {column} is {value}; remove the sample or fill the gap first")]
    NotFinite {
        /// Features or targets.
        what: &'static str,
        /// Sample, from 0.
        row: usize,
        /// Feature, from 0.
        column: usize,
        /// The value found.
        value: f64,
    },
    /// Too few samples, or samples without features.
    #[error("{samples} samples of {features} features are too few; give at least 2 samples of 1 feature")]
    Small {
        /// Samples found.
        samples: usize,
        /// Features found.
        features: usize,
    },
    /// Sizes that belong together differ.
    #[error("{what}: {found} found where {expected} are needed; pass arrays of one data set")]
    Shape {
        /// What was counted.
        what: &'static str,
        /// Size found.
        found: usize,
        /// Size needed.
        expected: usize,
    },
    /// Labels that the loss does not know.
    #[error("{loss} loss needs the labels -1 and +1 but found {found}; map the two classes to them")]
    Labels {
        /// Name of the loss.
        loss: &'static str,
        /// The distinct values found, the first few.
        found: String,
    },
    /// All labels agree.
    #[error("all samples have the label {label}; give samples of both classes")]
    SingleClass {
        /// The only label.
        label: f64,
    },
    /// No activation pattern is left.
    #[error(
        "no activation pattern is left after dropping duplicates and the pattern without active samples; draw more patterns"
    )]
    NoPattern,
    /// No pattern has a neuron that keeps its sign in all boxes.
    #[error(
        "no activation pattern admits a neuron at this eps; the largest admissible eps is about {largest:.3e}"
    )]
    NotAdmissible {
        /// Largest multiple of the given eps that admits one, times the largest entry of eps.
        largest: f64,
    },
    /// Enumerating all patterns would take too long.
    #[error(
        "all patterns of {samples} points of rank {rank} would be up to {patterns:.3e}; sample patterns instead, e.g. 50"
    )]
    TooMany {
        /// Samples.
        samples: usize,
        /// Rank of the data.
        rank: usize,
        /// Value of 2 Σ C(n − 1, k).
        patterns: f64,
    },
    /// The method would need more memory than it is allowed to.
    #[error("{method} needs about {needed:.1} GB, more than {limit:.1} GB; use {instead}")]
    Memory {
        /// Name of the method.
        method: &'static str,
        /// Gigabytes.
        needed: f64,
        /// Gigabytes.
        limit: f64,
        /// A method or a setting that needs less.
        instead: String,
    },
    /// A method that does not know this program.
    #[error("{method} does not solve {what}; use {instead}")]
    Unsupported {
        /// Name of the method.
        method: &'static str,
        /// The program.
        what: &'static str,
        /// What does.
        instead: &'static str,
    },
    /// A factorisation broke down.
    #[error("the {what} is not positive definite in double precision; scale the features to about 1")]
    Factor {
        /// The matrix.
        what: &'static str,
    },
    /// The interior-point solver gave no solution.
    #[error("the interior-point solver stopped with {status}; scale the features, raise beta or use admm")]
    Solver {
        /// Its status.
        status: String,
    },
}

impl ConvexError {
    /// `Ok` if the sizes agree.
    pub(crate) fn check(what: &'static str, found: usize, expected: usize) -> Result<(), Self> {
        if found == expected { Ok(()) } else { Err(Self::Shape { what, found, expected }) }
    }
}

impl From<ConvexError> for MethodError {
    fn from(e: ConvexError) -> Self {
        Self::Problem(Box::new(e))
    }
}
