//! Consensus-based optimisation: minimising a function of which only values are known.
//!
//! Particles exchange values, drift to a weighted mean, the *consensus*, and diffuse with a noise
//! that shrinks as they agree. K. Riedl, T. Klock, C. Geldhauser, M. Fornasier, *Gradient is All You
//! Need? How Consensus-Based Optimization can be Interpreted as a Stochastic Relaxation of Gradient
//! Descent*, arXiv:2306.09778, shows that the consensus follows gradient descent with a stochastic
//! perturbation; the bridge is [`Hopping`], which is a Monte-Carlo proximal step.
//!
//! ```
//! use thalweg_cbo::{Cbo, SearchProblem, Space};
//! use thalweg_core::{Run, Seed, Stop};
//! use thalweg_optim::functions::by_name;
//!
//! let f = by_name("rastrigin", 3)?.shifted(vec![0.5, -1.0, 2.0])?;
//! let mut problem = SearchProblem::new(&Space::cube(3, -5.12, 5.12), &f);
//! let method = Cbo::default();
//! let run = Run::new(&method, &mut problem).seed(Seed(1)).stop(Stop::Target(1e-6));
//! let outcome = run.stop(Stop::Evaluations(100_000)).run()?;
//! let answer = outcome.solution;
//! assert!(answer.best_f <= 1e-6 && (answer.best_x[0] - 0.5).abs() < 1e-3);
//!
//! // Any closure is a function; it may fail anywhere.
//! let f = |x: &[f64]| if x[0] < 0.0 { f64::NAN } else { (x[0] - 1.0).powi(2) };
//! let mut problem = SearchProblem::new(&Space::cube(1, -3.0, 3.0), &f);
//! let answer = Run::new(&method, &mut problem).stop(Stop::Target(1e-6)).run()?.solution;
//! assert!(answer.best_f <= 1e-6 && answer.failures > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **The algorithm.** With values f(Xⁱ) of N particles,
//!
//! ```text
//! c  = Σ wᵢ Xⁱ / Σ wᵢ,  wᵢ = exp(−α f(Xⁱ))           the consensus; α = ∞: the best particle
//! Xⁱ ← Xⁱ − λΔt (Xⁱ − c) + σ√Δt (Xⁱ − c) ⊙ ξ         drift and noise, ξ standard normal
//! ```
//!
//! **Which method?** [`Auto`] needs no settings: it never needs more than about twice the evaluations of the
//! better of its two parts. [`Cbo`] for separable, strongly multimodal functions; [`Adaptive`] (CMA-ES) for
//! smooth or rotated ones; [`Hopping`] to see the proximal step. Their budget is exact: [`Stop::Evaluations`]
//! includes the report of the final consensus. A search without a target ends when nothing improves by
//! [`Stop::Below`] of the metric [`search::FRESH`], e.g. 1/3: after twice the evaluations that the best value took.
//! Whatever is returned has been evaluated and lies in the box and on the surface of its [`Space`].
//!
//! **When not?** Where there is a gradient and one valley, any method of `thalweg_optim` is faster by orders of
//! magnitude.
//!
//! **Where to read:** [`consensus`] the weighted mean, [`method`] the dynamics, [`search`] the loop and its
//! state, [`space`] where particles may be, [`runs`] many runs and their statistics, [`laplace`] and [`theory`]
//! the paper's theory, [`baselines`] what it is compared with. Black boxes, constraints and programs are
//! [`thalweg_optim::blackbox`], test functions [`thalweg_optim::functions`].
//!
//! [`Stop::Below`]: thalweg_core::Stop::Below
//! [`Stop::Evaluations`]: thalweg_core::Stop::Evaluations
#![forbid(unsafe_code)]

pub mod alpha;
pub mod baselines;
pub mod consensus;
mod error;
mod frame;
pub mod laplace;
pub mod method;
pub mod runs;
pub mod search;
pub mod space;
pub mod theory;

pub use error::CboError;
pub use method::adaptive::Adaptive;
pub use method::auto::Auto;
pub use method::cbo::Cbo;
pub use method::hopping::Hopping;
pub use method::{Algorithm, Swarm};
pub use runs::Runs;
pub use search::{Answer, SearchProblem};
pub use space::Space;
