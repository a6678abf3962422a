//! M-FAC: products with the inverse of the empirical Fisher matrix, for training and pruning.
//!
//! From m gradients of d numbers it multiplies vectors by the inverse of F = λI + (1/m) Σ g gᵀ
//! exactly, in O(dm) time and memory, without forming a d × d matrix. [`StaticFisher`] does it for
//! fixed gradients and also gives the diagonal and single elements; [`ObsPruner`] removes weights
//! with it (Optimal Brain Surgeon). [`WindowFisher`] does it for the last m gradients of a
//! training run; [`MFac`] trains with it.
//!
//! E. Frantar, E. Kurtic, D. Alistarh, *M-FAC: Efficient Matrix-Free Approximations of
//! Second-Order Information*, NeurIPS 2021, arXiv:2107.03356. What differs from the authors'
//! program: the recursions are matrix products and a factor that slides in O(m²), the optimiser's
//! step has no cancellation, and the compensation of pruning is exact within a block.
//!
//! ```
//! use thalweg_core::{Objective, Run, Seed, Stop};
//! use thalweg_mfac::gradients::{Gradients, Storage};
//! use thalweg_mfac::{MFac, StaticFisher};
//! use thalweg_mfac::fisher::FisherOptions;
//! use thalweg_optim::functions::{Function, Rosenbrock};
//!
//! let g = [[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]];
//! let fisher = StaticFisher::new(Gradients::from_rows(&g, Storage::Full)?, FisherOptions { damping: 0.5, block: 0 })?;
//! assert!((fisher.ihvp(&[1.0f64; 3])?[0] - 9.0 / 7.0).abs() < 1e-12);
//!
//! let method = MFac { window: 4, damping: 1.0, ..MFac::default() };
//! let mut problem = Function::new(Rosenbrock, vec![-1.2, 1.0]);
//! let outcome = Run::new(&method, &mut problem).seed(Seed(1)).stop(Stop::Steps(500)).run()?;
//! let value = problem.value(&outcome.solution)?;
//! assert!(value < 5.0, "{value}"); // from 24.2
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **How rate, window and damping interact.** Since gᵀF⁻¹g < m, the step F⁻¹g grows like m/‖g‖:
//! the usable learning rate is proportional to 1/m, which is the default ([`Lr::Auto`]); a rate of
//! 1e-3 belongs to m = 1024 and hardly moves at m = 64. λ is in the units of a squared gradient of
//! the *mean* loss; summing the loss instead changes it by orders of magnitude. Far below ‖g‖²/m
//! it has little effect; where ‖g‖² ≪ λm the step is g/λ, so that λ alone bounds it.
//!
//! **When not.** A window of m gradients takes m times the memory of the model and is read twice
//! per step. Batches that repeat within m steps make the window nearly singular; then only λ
//! guards. For pruning, gradients must be taken at the trained weights and not have vanished.
#![forbid(unsafe_code)]

pub mod baselines;
mod error;
pub mod fisher;
pub mod gradients;
mod gradual;
mod kernel;
mod memory;
pub mod method;
pub mod obs;
pub mod prune;
mod select;
mod sliding;
mod window;

pub use error::MfacError;
pub use fisher::StaticFisher;
pub use gradual::Gradual;
pub use method::{Lr, MFac};
pub use obs::Compensation;
pub use prune::{GradientSource, ObsPruner, Saliency, Scope};
pub use select::Pattern;
pub use window::WindowFisher;
