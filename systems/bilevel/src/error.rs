use thalweg_core::{Invalid, MethodError, RunError};
use thalweg_linalg::sparse::SparseError;
use thiserror::Error;

/// Why a bilevel problem could not be solved. Each says what is wrong and what to do.
#[derive(Debug, Error)]
pub enum BilevelError {
    /// No unknowns.
    #[error("x has {n} unknowns and y has {m}; both levels need at least one")]
    Empty {
        /// Of x.
        n: usize,
        /// Of y.
        m: usize,
    },
    /// A start that is no point.
    #[error("the start of {level} has {found} numbers, {needed} finite ones are needed")]
    Start {
        /// X or Y.
        level: &'static str,
        /// Numbers found.
        found: usize,
        /// Numbers needed.
        needed: usize,
    },
    /// A constraint set that cannot be used.
    #[error("the set {level} {cause}")]
    Set {
        /// X or Y.
        level: &'static str,
        /// What is wrong, and the remedy.
        cause: String,
    },
    /// An oracle that gave NaN or infinity.
    #[error(
        "the {part} of {what} is not finite at |x| = {x:.3e}, |y| = {y:.3e}; check the function there, or take smaller \
         steps"
    )]
    NonFinite {
        /// f or g.
        what: &'static str,
        /// Value or gradient.
        part: &'static str,
        /// Norm of x.
        x: f64,
        /// Norm of y.
        y: f64,
    },
    /// The lower level has no minimiser.
    #[error(
        "the lower level runs away: |y| has grown to {norm:.1e} while its gradient is still {residual:.1e}; it may have \
         no minimiser (separable data without a regulariser?): add a regulariser or bounds"
    )]
    Unbounded {
        /// Norm of y.
        norm: f64,
        /// Norm of the projected gradient.
        residual: f64,
    },
    /// Not enough iterations for the lower level.
    #[error(
        "the lower level is at residual {residual:.1e} after {iterations} iterations, {tolerance:.1e} is needed; it may be too flat or too stiff: add a \
         regulariser, or put its unknowns on one scale"
    )]
    Inner {
        /// Norm of the projected gradient.
        residual: f64,
        /// Iterations made.
        iterations: u64,
        /// What was asked for.
        tolerance: f64,
    },
    /// No point of the lower level is better, though its gradient says so.
    #[error(
        "no progress: the lower level is stuck at residual {residual:.1e} after {iterations} iterations: no point along its \
         gradient is better; ∇_y g may not be the derivative of g, or g may have a kink"
    )]
    Stuck {
        /// Norm of the projected gradient.
        residual: f64,
        /// Iterations made.
        iterations: u64,
    },
    /// Lower solutions whose errors are not small beside σ.
    #[error(
        "the lower level's residual {residual:.1e} is all that the digits allow, and not small beside σ = {sigma:.1e}: the \
         penalty's gradient would be rounding; use a larger σ, or divide g by its size"
    )]
    Imprecise {
        /// Norm of the projected gradient.
        residual: f64,
        /// The penalty's σ.
        sigma: f64,
    },
    /// Implicit differentiation where the lower level has many solutions.
    #[error(
        "the lower level has no single solution here: ∇²_yy g is singular or indefinite (residual {residual:.1e} of its \
         linear system), and implicit differentiation chooses none; use a penalty method such as pbo"
    )]
    NotUnique {
        /// Relative residual of the linear system.
        residual: f64,
    },
    /// Implicit differentiation where a constraint holds y.
    #[error(
        "a constraint of Y holds the lower solution (its gradient is {gradient:.1e} there), and implicit differentiation \
         knows of none; use a penalty method such as pbo"
    )]
    Held {
        /// Norm of ∇_y g.
        gradient: f64,
    },
    /// ∇_y f has a part that no constraint and no curvature of g can carry.
    #[error(
        "the gradient of f is not in the range of the lower level's KKT matrix (residual {residual:.1e}): y is not the \
         best of the lower level's solutions, or they jump; solve for the optimistic solution first"
    )]
    NotOptimistic {
        /// Relative residual of the linear system.
        residual: f64,
    },
    /// A constraint whose multiplier is zero.
    #[error(
        "{count} active constraint(s) of the lower level have no force (multiplier {multiplier:.1e}): ψ has a kink here and no gradient; move x"
    )]
    NotStrict {
        /// How many.
        count: usize,
        /// Smallest absolute multiplier.
        multiplier: f64,
    },
    /// A set of which only a projection is known.
    #[error(
        "the explicit gradient needs the constraints of Y, not only a projection; use the penalty's gradient"
    )]
    NoConstraints,
    /// A problem's own data.
    #[error("{0}")]
    Data(String),
    /// Numbers that are no sparse matrix.
    #[error(transparent)]
    Sparse(#[from] SparseError),
    /// A hyper-parameter outside its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A run that failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl BilevelError {
    /// Whether there may be none at another point.
    pub(crate) fn is_of_the_point(&self) -> bool {
        use BilevelError::{Held, Imprecise, Inner, NonFinite, NotUnique, Stuck, Unbounded};
        matches!(
            self,
            NonFinite { .. }
                | Unbounded { .. }
                | Inner { .. }
                | Stuck { .. }
                | Imprecise { .. }
                | NotUnique { .. }
                | Held { .. }
        )
    }
}

impl From<BilevelError> for MethodError {
    fn from(e: BilevelError) -> Self {
        match e {
            BilevelError::Invalid(invalid) => Self::Invalid(invalid),
            other => Self::Problem(Box::new(other)),
        }
    }
}
