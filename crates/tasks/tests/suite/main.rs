//! Jobs from the library: results, resumed runs, several ranks.

#[cfg(feature = "bilevel")]
mod bilevel;
#[cfg(feature = "lipsdp")]
mod certify;
#[cfg(feature = "topo")]
mod dag;
#[cfg(feature = "convex-relu")]
mod fit;
#[cfg(feature = "relax")]
mod linsolve;
#[cfg(feature = "cbo")]
mod minimize;
mod parallel;
mod reading;
mod training;
