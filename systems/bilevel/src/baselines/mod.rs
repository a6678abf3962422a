//! Other people's methods on the same problems, counters and driver, so that a figure with all of them is fair.

mod bome;
mod f2sa;
pub(crate) mod implicit;
mod lbfgs;
mod pbgd;
mod search;

pub use bome::Bome;
pub use f2sa::F2sa;
pub use implicit::{Implicit, Linear, Memories, SampledImplicit};
pub use lbfgs::{ImplicitLbfgs, ImplicitState};
pub use pbgd::{Pbgd, Value};
pub use search::{Points, Search, SearchState};
