//! Consensus-based optimisation: minimising a function of which only values are known.
//!
//! Particles exchange values, drift to a weighted mean, the *consensus*, and diffuse with a noise
//! that shrinks as they agree. K. Riedl, T. Klock, C. Geldhauser, M. Fornasier, *Gradient is All You
//! Need? How Consensus-Based Optimization can be Interpreted as a Stochastic Relaxation of Gradient
//! Descent*, arXiv:2306.09778, shows that the consensus follows gradient descent with a stochastic
//! perturbation; the bridge is [`Hopping`], which is a Monte-Carlo proximal step.
//!
//! ```
//! use thalweg_cbo::{Cbo, Limits, Search, Space, TestFunction};
//! use thalweg_core::Seed;
//!
//! let f = TestFunction::named("rastrigin", 3)?.shifted(vec![0.5, -1.0, 2.0])?;
//! let space = Space::cube(3, -5.12, 5.12);
//! let limits = Limits { target: Some(1e-6), ..Limits::default() };
//! let answer = Cbo::default().minimize(&space, &f, &limits, Seed(1))?;
//! assert!(answer.best_f <= 1e-6 && (answer.best_x[0] - 0.5).abs() < 1e-3);
//!
//! // Any closure is a function; it may fail anywhere.
//! let f = |x: &[f64]| if x[0] < 0.0 { f64::NAN } else { (x[0] - 1.0).powi(2) };
//! let answer = Cbo::default().minimize(&Space::cube(1, -3.0, 3.0), &f, &limits, Seed(1))?;
//! assert!(answer.best_f <= 1e-6 && answer.failures > 0);
//! # Ok::<(), thalweg_cbo::CboError>(())
//! ```
//!
//! **Where to read:** `consensus` the weighted mean, `cbo` the dynamics, `hopping` and `adaptive` its
//! cousins, `auto` the search without settings, `search` the loop, `constraint` penalties,
//! `schedule` settings that follow the iteration, `laplace` and `lab` the paper's
//! theory, `external` objectives that are programs.
#![forbid(unsafe_code)]

mod adaptive;
mod alpha;
mod auto;
mod blackbox;
mod cbo;
mod consensus;
mod constraint;
mod eigen;
mod error;
mod external;
pub mod functions;
mod hopping;
pub mod lab;
pub mod laplace;
mod runs;
mod schedule;
mod search;
mod space;

pub use adaptive::Adaptive;
pub use alpha::Alpha;
pub use auto::Auto;
pub use blackbox::{Batch, BlackBox};
pub use cbo::{Batches, Cbo, CboSwarm, GradientDrift, Memory, Noise};
pub use consensus::{Consensus, alpha_for_ess, consensus, soft_minimum};
pub use constraint::{Constrained, Constraints, Penalty};
pub use error::CboError;
pub use external::{Call, External};
pub use functions::TestFunction;
pub use hopping::Hopping;
pub use runs::{Runs, rate_interval};
pub use schedule::Scheduled;
pub use search::{Answer, Course, Facts, Limits, Record, Saved, Search, Step, StopCause, Swarm, search};
pub use space::{Space, Start, Surface, Walls};
