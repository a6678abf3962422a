//! One problem inside another: which labels to trust ([`hyperclean`]), a ridge weight for every feature
//! ([`regularization`]), [`toy`] problems, and a [`check`] of the theory's assumptions.

pub mod check;
pub mod hyperclean;
pub mod job;
pub mod regularization;
pub mod tour;
pub mod toy;

use thalweg_bilevel::Sparse;
use thalweg_data::{Dataset, Targets, Values};

use crate::Result;

/// `LO:HI`.
fn parse_range(text: &str) -> Result<(f64, f64), String> {
    let wrong = || format!("{text:?} is no box; use LO:HI, e.g. -10:2");
    let (lo, hi) = text.split_once(':').ok_or_else(wrong)?;
    let (lo, hi): (f64, f64) = (lo.parse().map_err(|_| wrong())?, hi.parse().map_err(|_| wrong())?);
    if lo.is_finite() && hi.is_finite() && lo <= hi { Ok((lo, hi)) } else { Err(wrong()) }
}

/// The brightest pixel of the embedded digits.
const DIGITS_WHITE: f64 = 16.0;

/// The inputs of a data set, bytes divided by `white`.
fn inputs(data: &Dataset, white: f64) -> Result<Sparse> {
    let values: Vec<f64> = match &data.x {
        Values::Bytes(x) => x.iter().map(|&v| f64::from(v) / white).collect(),
        Values::Floats(x) => x.iter().map(|&v| f64::from(v)).collect(),
    };
    Ok(Sparse::dense(&values, data.example_len())?)
}

/// The class of each example; none of real targets.
fn classes(data: &Dataset) -> &[u32] {
    match &data.targets {
        Targets::Classes { labels, .. } => labels,
        Targets::Values { .. } => &[],
    }
}
