//! Jobs from the library: results, resumed runs, several ranks.

#[cfg(feature = "lipsdp")]
mod certify;
#[cfg(feature = "topo")]
mod dag;
#[cfg(feature = "relax")]
mod linsolve;
#[cfg(feature = "cbo")]
mod minimize;
mod parallel;
mod reading;
mod training;
