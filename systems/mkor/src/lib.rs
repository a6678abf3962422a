//! MKOR: Kronecker-factored preconditioning by rank-1 updates, for training networks.
//!
//! Each layer's gradient is multiplied from the left and right by approximate inverses of the
//! second moments of its output gradients and inputs. K-FAC builds and inverts these matrices in
//! O(d³); MKOR lets their inverses take in the batch means one vector at a time, in O(d²) or, in
//! the low-rank form here, O(d), and sends two vectors per layer instead of two matrices. The
//! result is scaled to the norm of the raw gradient and handed to any first-order method.
//! MKOR-H drops the preconditioner when it no longer pays. [`Kfac`] and [`Eva`] are here to
//! compare with.
//!
//! M. Mozaffari, S. Li, Z. Zhang, M. Mehri Dehnavi, *MKOR: Momentum-Enabled
//! Kronecker-KroneckerFactor-Based Optimizer Using Rank-1 Updates*, NeurIPS 2023, arXiv:2306.01685.
//!
//! ```
//! use thalweg_core::{Run, Seed, Stop};
//! use thalweg_mkor::{Backend, Mkor};
//! use thalweg_optim::Sgd;
//! # let mut problem = thalweg_testing::Regression::off_centre();
//!
//! // `problem` is a `thalweg_core::Layered`: a network, or here a linear fit to inputs far from 0.
//! let sgd = Sgd { lr: 0.01, momentum: 0.0, ..Sgd::default() };
//! let mkor = Mkor { backend: Backend::Sgd(sgd.clone()), inv_freq: 1, ..Mkor::default() };
//! let fit = Run::new(&mkor, &mut problem).seed(Seed(1)).stop(Stop::Steps(300)).run()?;
//! let plain = Run::new(&sgd, &mut problem).seed(Seed(1)).stop(Stop::Steps(300)).run()?;
//! assert!(fit.progress.value < 0.5 * plain.progress.value);
//! # Ok::<(), thalweg_core::RunError>(())
//! ```
//!
//! **What to know.** The update formula printed in the paper is not an inverse: it amplifies the
//! direction that it should damp, and networks train badly with it; [`Rule::Printed`] keeps it for
//! the record. The published program runs another one, [`Rule::Released`], under which the
//! spectrum of every factor stays in (0, 1], so that its stabiliser never acts; the true inverse of
//! the exponential average is [`Rule::ShermanMorrison`], which needs the stabiliser. In trained
//! networks the mean output gradient is tiny and the left factor stays close to the identity: what
//! works is the right factor, which removes the mean of the inputs. A layer that feeds batch
//! normalisation has no mean output gradient at all. The O(d²) of the paper is the cost of an
//! update; the dense product L⁻¹𝒢R⁻¹ of every step is cubic, and [`Form::LowRank`] avoids it.
#![forbid(unsafe_code)]

pub mod backend;
pub mod baselines;
pub mod factor;
pub mod knee;
pub mod layer;
pub mod method;
pub mod precondition;
mod product;
pub mod settings;
pub mod spectra;
mod store;

pub use backend::Backend;
pub use baselines::{Eva, Kfac};
pub use factor::KroneckerFactor;
pub use knee::Knee;
pub use method::Mkor;
pub use settings::{Form, Rescale, Rule, Storage};
