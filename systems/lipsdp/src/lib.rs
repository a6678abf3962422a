//! Lipschitz bounds of networks that are proved, by structured semidefinite programming.
//!
//! Activations become quadratic inequalities between differences of their inputs and outputs; the
//! smallest constant that these prove is a semidefinite program. It is solved here by a primal–dual
//! method that knows the structure, and what it finds is then proved again from the stored weights
//! with all rounding accounted for. Elementwise activations, GroupSort, MaxMin, Householder and
//! pooling; feed-forward, residual and equilibrium networks; ℓ2 and ℓ∞; bounds of pairs of classes
//! and certified radii of samples.
//!
//! P. Pauli, A. Havens, A. Araujo, S. Garg, F. Khorrami, F. Allgöwer, B. Hu, *Novel Quadratic
//! Constraints for Extending LipSDP beyond Slope-Restricted Activations*, ICLR 2024,
//! arXiv:2401.14033; M. Fazlyab, A. Robey, H. Hassani, M. Morari, G. J. Pappas, *Efficient and
//! Accurate Estimation of Lipschitz Constants for Deep Neural Networks*, NeurIPS 2019,
//! arXiv:1906.04893. [`Bound::Nsr`] is tighter than the published form, [`Bound::NsrPaper`]: it
//! eliminates everything that an activation preserves.
//!
//! ```
//! use thalweg_lipsdp::{Activation, Affine, LipSdp, Network, matrix};
//!
//! let relu: Activation = "relu".parse()?;
//! let first = Affine::linear(matrix(&[&[1.0, 2.0], &[1.0, -2.0]]));
//! let last = Affine::linear(matrix(&[&[1.0, 1.0]]));
//! let net = Network::feedforward(vec![first, last], &relu)?;
//!
//! let certificate = LipSdp::default().certify(&net)?;
//! assert!(certificate.verified);
//! assert!((certificate.bound - 4.0 / 3f64.sqrt()).abs() < 1e-7); // the product of norms is 4
//! # Ok::<(), thalweg_lipsdp::LipError>(())
//! ```
//!
//! A bound holds for the stored weights in real arithmetic; inference in `f32` adds its own rounding.
//!
//! **Where to read:** `qc` the constraints, `lmi` the matrix inequality, `ipm` its solution, `verify`
//! the proof, `recursion` the first-order bound, `bounds` the closed forms.
#![forbid(unsafe_code)]

mod activation;
mod ball;
mod bounds;
mod certify;
mod error;
mod ipm;
mod lmi;
mod net;
mod patterns;
mod qc;
mod recursion;
mod reduce;
mod robust;
mod sample;
mod start;
mod verify;

pub use activation::{Activation, Slope};
pub use bounds::{gram_norm, proved_norm};
pub use certify::{Bound, Certificate, LipSdp, Norm};
pub use error::LipError;
pub use faer::Mat;
pub use lmi::{Multipliers, Size};
pub use net::{Affine, Block, Network};
pub use robust::{Pairs, Robustness, attacked_accuracy, certify_samples, pair_bounds};
pub use sample::{Sampling, lower_bound};
pub use thalweg_linalg::dense::from_rows as matrix;
