//! The methods: the paper's double and single loop, and a deterministic one with continuation in σ.

mod continuation;
mod double;
pub(crate) mod sampled;
mod single;

pub use continuation::{Continuation, ContinuationState, Difference};
pub use double::DoubleLoop;
pub use sampled::{Curvature, Sampled};
pub use single::{Estimators, SingleLoop};
