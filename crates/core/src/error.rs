use thiserror::Error;

use crate::StopReason;

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

    /// Refuses what is not a finite number > 0.
    pub fn positive(field: &str, x: f64) -> Result<(), Self> {
        Self::check(x > 0.0 && x.is_finite(), field, x, "a number > 0")
    }

    /// Refuses what is not a finite number ≥ 0.
    pub fn at_least_zero(field: &str, x: f64) -> Result<(), Self> {
        Self::check(x >= 0.0 && x.is_finite(), field, x, "a number ≥ 0")
    }

    /// Refuses what is not in (low, high).
    pub fn in_open(field: &str, x: f64, low: f64, high: f64) -> Result<(), Self> {
        Self::check(x > low && x < high, field, x, &format!("a number in ({low}, {high})"))
    }

    /// Refuses what is not in [low, high].
    pub fn in_closed(field: &str, x: f64, low: f64, high: f64) -> Result<(), Self> {
        Self::check(x >= low && x <= high, field, x, &format!("a number in [{low}, {high}]"))
    }

    /// Refuses what is not in [low, high).
    pub fn in_half_open(field: &str, x: f64, low: f64, high: f64) -> Result<(), Self> {
        Self::check(x >= low && x < high, field, x, &format!("a number in [{low}, {high})"))
    }

    /// Refuses what is no share of a whole, in (0, 1].
    pub fn share(field: &str, x: f64) -> Result<(), Self> {
        Self::check(x > 0.0 && x <= 1.0, field, x, "a number in (0, 1]")
    }

    /// Refuses 0 where there must be at least 1.
    pub fn count<N: Default + PartialEq + ToString>(field: &str, n: N) -> Result<(), Self> {
        Self::check(n != N::default(), field, n, "at least 1")
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
    /// The problem was stopped in the middle of the step and the state is as before: its time is over, or an
    /// interruption was asked for. The run ends for this reason; the step does not count.
    #[error("the step was not finished: {0}")]
    Stopped(StopReason),
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

#[cfg(test)]
mod tests {
    use super::Invalid;

    type Check = fn(f64) -> Result<(), Invalid>;

    #[test]
    fn bounds_belong_to_closed_ends_alone_and_nothing_takes_nan() {
        let legal: [(&str, Check, [bool; 3]); 6] = [
            ("a number > 0", |x| Invalid::positive("x", x), [false, true, true]),
            ("a number ≥ 0", |x| Invalid::at_least_zero("x", x), [true, true, true]),
            ("a number in (0, 1)", |x| Invalid::in_open("x", x, 0.0, 1.0), [false, true, false]),
            ("a number in [0, 1]", |x| Invalid::in_closed("x", x, 0.0, 1.0), [true, true, true]),
            ("a number in [0, 1)", |x| Invalid::in_half_open("x", x, 0.0, 1.0), [true, true, false]),
            ("a number in (0, 1]", |x| Invalid::share("x", x), [false, true, true]),
        ];
        for (words, check, at) in legal {
            assert_eq!([0.0, 0.5, 1.0].map(|x| check(x).is_ok()), at, "{words}");
            for bad in [f64::NAN, f64::INFINITY, -0.5] {
                let text = format!("x = {bad} is not allowed; use {words}");
                assert_eq!(check(bad).unwrap_err().to_string(), text);
            }
        }
        assert!(Invalid::count("n", 1u64).is_ok());
        assert_eq!(
            Invalid::count("n", 0usize).unwrap_err().to_string(),
            "n = 0 is not allowed; use at least 1"
        );
    }
}
