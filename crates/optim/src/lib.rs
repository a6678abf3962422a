//! First-order methods and the pieces that several systems share.
//!
//! [`Sgd`], [`Adam`], [`AdamW`], [`Lamb`], [`Muon`] and [`Lbfgs`] are plain structs of
//! hyper-parameters that move any [`thalweg_core::Objective`], in single or double precision. The
//! pieces: [`Schedule`], per-block overrides ([`Group`], [`rates`]), the guard against non-finite
//! steps ([`Guard`]), pruning masks ([`Masked`]); test [`functions`]; functions of which only values are
//! known ([`blackbox`]).
//!
//! ```
//! use thalweg_core::{Run, Seed, Stop};
//! use thalweg_optim::{AdamW, functions::Function};
//!
//! let method = AdamW { lr: 0.05, schedule: "cosine:500".parse()?, ..AdamW::default() };
//! let mut problem = Function::new(
//!     |x: &[f64], grad: &mut [f64]| {
//!         grad[0] = 2.0 * (x[0] - 3.0);
//!         (x[0] - 3.0).powi(2)
//!     },
//!     vec![0.0],
//! );
//! let outcome = Run::new(&method, &mut problem).seed(Seed(1)).stop(Stop::Steps(500)).run()?;
//! assert!((outcome.solution[0] - 3.0).abs() < 0.05);
//! # Ok::<(), thalweg_core::RunError>(())
//! ```
#![forbid(unsafe_code)]

mod adam;
pub mod blackbox;
mod descent;
mod error;
pub mod functions;
mod group;
mod guard;
mod lamb;
mod lbfgs;
mod masked;
mod muon;
mod schedule;
mod sgd;
mod unscaled;

pub use adam::{Adam, AdamState, AdamW};
pub use descent::{BlockStep, FirstOrderState, StepSettings, zero_masked};
pub use error::OptimError;
pub use group::{Group, Rates, glob, known, rates};
pub use guard::Guard;
pub use lamb::Lamb;
pub use lbfgs::{Lbfgs, LbfgsState};
pub use masked::Masked;
pub use muon::{Muon, MuonState, orthogonalise};
pub use schedule::{Milestone, Schedule, Shape};
pub use sgd::{Sgd, SgdState};
pub use unscaled::Unscaled;
