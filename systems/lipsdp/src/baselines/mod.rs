//! Other people's bounds: the product of norms, ECLipsE-fast, splitting, the maximum over activation patterns.

mod eclipse;
mod norms;
mod patterns;
mod split;

pub(crate) use eclipse::eclipse;
pub(crate) use norms::{constant, product};
pub use norms::{gram_norm, proved_norm};
pub(crate) use patterns::maximum;
pub(crate) use split::split;
