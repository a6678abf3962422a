//! What it solves, in one sentence: minimises a smooth function by gradient descent with backtracking.
//!
//! How it works and for whom, in a few sentences. The rate η is halved until the value falls enough, so that none
//! has to be tuned. For smooth functions of few unknowns.
//!
//! A. Author, B. Author, *Title of the Paper*, CONFERENCE YEAR, arXiv:0000.00000. What differs from it.
//!
//! ```
//! use thalweg_core::{Run, Stop};
//! use thalweg_optim::functions::Function;
//! use thalweg_template::Template;
//!
//! let bowl = |x: &[f64], grad: &mut [f64]| {
//!     grad[0] = 2.0 * (x[0] - 3.0);
//!     (x[0] - 3.0).powi(2)
//! };
//! let mut problem = Function::new(bowl, vec![0.0]);
//! let outcome = Run::new(&Template::default(), &mut problem).stop(Stop::Tolerance(1e-8)).run()?;
//! assert!((outcome.solution[0] - 3.0).abs() < 1e-8);
//! # Ok::<(), thalweg_core::RunError>(())
//! ```
//!
//! **The algorithm.** In each step, with η from its largest value:
//! θ⁺ = θ − η g, accepted where f(θ⁺) ≤ f(θ) − c η ‖g‖², else η ← η/2.
//!
//! **Which settings?** What a user asks first, with numbers.
//!
//! **When not.** Noisy gradients; narrow valleys.
//!
//! **Where to read:** `method` the hyper-parameters and the loop, [`baselines`] other people's methods.
#![forbid(unsafe_code)]

pub mod baselines;
mod error;
mod method;

pub use error::TemplateError;
pub use method::{Template, TemplateState};
