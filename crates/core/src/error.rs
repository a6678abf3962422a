use thiserror::Error;

/// A hyper-parameter outside its legal range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{field} = {value} is not allowed; use {legal}")]
pub struct Invalid {
    /// Name of the field, as in the configuration file.
    pub field: String,
    /// The value found.
    pub value: String,
    /// The legal range in words, e.g. `a number ≥ 0`.
    pub legal: String,
}

impl Invalid {
    /// `Ok` if `legal_now` holds, else the error that names field, value and legal range.
    pub fn check(legal_now: bool, field: &str, value: impl ToString, legal: &str) -> Result<(), Self> {
        if legal_now {
            return Ok(());
        }
        Err(Self { field: field.into(), value: value.to_string(), legal: legal.into() })
    }
}

/// Why a step could not be made.
#[derive(Debug, Error)]
pub enum MethodError {
    /// A hyper-parameter is outside its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The method needs Hessian-vector products and the problem has none.
    #[error(
        "this problem offers no Hessian-vector product; use a first-order method such as sgd, adam or adamw"
    )]
    NoCurvature,
    /// Two buffers that belong together differ in length.
    #[error("{what} has {found} elements where {expected} are needed; pass buffers of the problem's layout")]
    Length {
        /// What was measured.
        what: String,
        /// Length found.
        found: usize,
        /// Length needed.
        expected: usize,
    },
    /// The problem has no unknowns.
    #[error("the problem has no unknowns; give it at least one trainable block")]
    Empty,
    /// Non-finite derivatives, too many times in a row.
    #[error("{what} was not finite in {place} {times} times in a row; lower the learning rate or warm it up")]
    NonFinite {
        /// Loss, gradient or Hessian-vector product.
        what: String,
        /// Block or layer.
        place: String,
        /// Consecutive failures.
        times: u32,
    },
    /// A failure of the problem itself.
    #[error(transparent)]
    Problem(Box<dyn std::error::Error + Send + Sync>),
}

impl MethodError {
    /// `Ok` if a buffer has the length that it needs, else the error that says what has not.
    pub fn check_length(what: &str, found: usize, expected: usize) -> Result<(), Self> {
        match found == expected {
            true => Ok(()),
            false => Err(Self::Length { what: what.into(), found, expected }),
        }
    }
}
