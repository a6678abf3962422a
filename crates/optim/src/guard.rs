use serde::{Deserialize, Serialize};
use thalweg_core::{Layout, MethodError, Real};
use thalweg_linalg::vector;

/// Skips steps whose loss or derivatives are not finite, and gives up after
/// [`Guard::LIMIT`] in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Steps skipped since the last good one.
    pub in_a_row: u32,
    /// Steps skipped in all.
    pub skipped: u64,
}

impl Guard {
    /// Consecutive bad steps that are an error.
    pub const LIMIT: u32 = 10;

    /// Whether the step may be made: `value` and every `(what, vector)` of the layout's length
    /// must be finite. The error names the block of the first bad element.
    pub fn admit<T: Real>(
        &mut self,
        layout: &Layout,
        value: f64,
        vectors: &[(&str, &[T])],
    ) -> Result<bool, MethodError> {
        let bad = vectors.iter().find(|(_, v)| !vector::max_abs(v).is_finite());
        self.judge(layout, value, bad.copied())
    }

    fn judge<T: Real>(
        &mut self,
        layout: &Layout,
        value: f64,
        bad: Option<(&str, &[T])>,
    ) -> Result<bool, MethodError> {
        if value.is_finite() && bad.is_none() {
            self.in_a_row = 0;
            return Ok(true);
        }
        let (what, place) = match bad {
            Some((what, v)) => {
                let i = v.iter().position(|x| !x.is_finite()).unwrap_or(0);
                (what, layout.name_of(i))
            }
            None => ("the objective value", "its sum"),
        };
        self.skip(what, place).map(|()| false)
    }

    /// Counts a step that is not made because `what` is not finite in `place`; an error after
    /// [`Guard::LIMIT`] in a row.
    pub fn skip(&mut self, what: &str, place: &str) -> Result<(), MethodError> {
        self.in_a_row += 1;
        self.skipped += 1;
        if self.in_a_row < Self::LIMIT {
            return Ok(());
        }
        Err(MethodError::NonFinite { what: what.into(), place: place.into(), times: self.in_a_row })
    }
}
