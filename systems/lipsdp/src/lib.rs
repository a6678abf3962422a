//! In the making.
#![forbid(unsafe_code)]

mod activation;
mod ball;
mod bounds;
mod certify;
mod dense;
mod error;
mod ipm;
mod lmi;
mod net;
mod qc;
mod recursion;
mod reduce;
mod sample;
mod start;
mod verify;

pub use activation::{Activation, Slope};
pub use bounds::{gram_norm, proved_norm};
pub use certify::{Bound, Certificate, LipSdp, Norm};
pub use dense::matrix;
pub use error::LipError;
pub use faer::Mat;
pub use lmi::{Multipliers, Size};
pub use net::{Affine, Block, Network};
pub use sample::{Sampling, lower_bound};
