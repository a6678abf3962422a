//! Bilevel optimisation by penalties, with first-order oracles alone.
#![forbid(unsafe_code)]

mod descent;
mod error;
mod penalty;
mod problem;
mod set;

pub use error::BilevelError;
pub use penalty::{Limit, Penalty, limit, lower, penalty};
pub use problem::{At, Batch, Bilevel, Calls, Draw, Grad, Oracle, Solution};
pub use set::{Active, Set};
