//! In the making.
#![forbid(unsafe_code)]

mod admm;
mod certificate;
mod cone;
mod conic;
mod error;
mod exact;
mod loss;
mod network;
mod patterns;
mod program;
mod reduce;
mod samples;

pub use admm::{Admm, AdmmState};
pub use certificate::{Certificate, Certified, Solution, feasible_dual};
pub use error::ConvexError;
pub use exact::{exact, finish};
pub use loss::Loss;
pub use network::{Network, Neuron};
pub use patterns::{Patterns, count, improvement_probability, sampling_bound};
pub use program::{Geometry, Program};
pub use reduce::{merge, reduce};
pub use samples::Samples;
