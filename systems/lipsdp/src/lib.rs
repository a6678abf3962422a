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
//! let first = Affine::linear(matrix(&[&[1.0, 2.0], &[1.0, -2.0]])?);
//! let last = Affine::linear(matrix(&[&[1.0, 1.0]])?);
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
//! # The algorithm
//!
//! In differences of two runs, z = W h is what an activation reads and x = M z + Q r what it gives: a known linear
//! part and a remainder r, of which a quadratic constraint says that it is no larger than D z. Summed with multipliers
//! λ ≥ 0 over the whole network, the constraints leave
//!
//! ```text
//! minimize ρ   over ρ, λ ≥ 0   subject to   M(ρ, λ) ⪰ 0,
//! ρ |x₀|² − |y|² − Σ λ ((D z)² − r²) = sᵀ M(ρ, λ) s     for all s = (x₀, r₁, r₂, …)
//!
//! |y| ≤ √ρ |x₀|   for every feasible (ρ, λ)
//! ```
//!
//! 1. exact reductions: what cannot matter removed, neurons of extreme scale rescaled by powers of two, adjacent affine
//!    maps multiplied, layers scaled;
//! 2. a strictly feasible start from norms, then a primal–dual interior-point method, whose every iterate is feasible;
//! 3. with the multipliers alone, the proof: from the output backwards, |y|² ≤ hₗᵀ Pₗ hₗ, one small matrix per layer
//!    whose positive definiteness is shown by a factorization with all rounding bounded.
//!
//! For wide layers, [`Bound::FirstOrder`] minimizes the same value over log λ by L-BFGS and no large matrix.
//!
//! # When not to use it
//!
//! For an estimate, sample ([`sample::lower_bound`]). Programs write convolutions out as matrices, which large images do
//! not allow; [`wired`] bounds them by norms. A bound of a network that was trained without regard to it is true and large.
//!
//! **Where to read:** [`LipSdp`] the method; `constraint` the quadratic constraints, `lmi` the matrix inequality, `ipm`
//! its solution, `verify` the proof, `essence` what of a network is proved, `recursion` the first-order bound; [`baselines`] other people's bounds,
//! [`robust`] certified samples, [`sample`] the lower bound, [`derivative`] what it takes of a network;
//! [`operator`] maps by their structure, [`wired`] networks of any wiring.
#![forbid(unsafe_code)]

mod activation;
mod ball;
pub mod baselines;
mod bound;
pub mod certificate;
mod constraint;
pub mod derivative;
mod error;
mod essence;
mod ipm;
mod lmi;
mod method;
mod network;
mod norm;
pub mod operator;
mod recursion;
mod reduce;
pub mod robust;
pub mod sample;
pub mod size;
mod start;
mod verify;
pub mod wired;

pub use activation::{Activation, Slope};
pub use bound::Bound;
pub use certificate::Certificate;
pub use error::LipError;
pub use faer::Mat;
pub use method::LipSdp;
pub use network::{Affine, Block, Network, matrix};
pub use norm::Norm;
