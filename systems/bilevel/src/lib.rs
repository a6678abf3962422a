//! Bilevel optimisation by penalties: `min_x f(x, y)` where y minimises g(x,·), with gradients alone.
//!
//! The lower level enters through `ψ_σ(x) = min_y { f(x,y) + (g(x,y) − min g(x,·))/σ }`, whose gradient needs two
//! lower-level solutions and no second derivatives. J. Kwon, D. Kwon, S. Wright, R. Nowak, *On Penalty Methods for
//! Nonconvex Bilevel Optimization and First-Order Stochastic Approximation*, ICLR 2024, arXiv:2309.01753, shows when
//! it approaches ψ: the lower level may be nonconvex, constrained and have many solutions (of which the best for f
//! counts; pessimistic problems are not supported).
//!
//! ```
//! use thalweg_bilevel::{Batch, Bilevel, Continuation, Grad, Oracle};
//! use thalweg_bilevel::diagnose::report;
//! use thalweg_core::Run;
//!
//! /// The best ridge weight eˣ for the line through (1, 2) and (2, 3), judged at (3, 3).
//! struct Ridge;
//! impl Bilevel for Ridge {
//!     fn dims(&self) -> (usize, usize) {
//!         (1, 1)
//!     }
//!     fn upper(&self, _: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
//!         grad.x.into_iter().for_each(|g| g[0] = 0.0);
//!         grad.y.into_iter().for_each(|g| g[0] = 3.0 * (3.0 * y[0] - 3.0));
//!         0.5 * (3.0 * y[0] - 3.0).powi(2)
//!     }
//!     fn lower(&self, x: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
//!         let (y, weight) = (y[0], x[0].exp());
//!         grad.x.into_iter().for_each(|g| g[0] = 0.5 * weight * y * y);
//!         grad.y.into_iter().for_each(|g| g[0] = (y - 2.0) + 2.0 * (2.0 * y - 3.0) + weight * y);
//!         0.5 * ((y - 2.0).powi(2) + (2.0 * y - 3.0).powi(2) + weight * y * y)
//!     }
//! }
//!
//! let mut oracle = Oracle::new(&Ridge)?;
//! let outcome = Run::new(&Continuation::default(), &mut oracle).run()?;
//! assert!((outcome.solution.x[0] - 3f64.ln()).abs() < 1e-4); // y = 8/(5 + eˣ) = 1
//! let report = report(&mut oracle, &outcome.solution, 1e-3)?;
//! assert!(report.psi < 1e-8 && report.warnings.is_empty());
//! # Ok::<(), thalweg_bilevel::BilevelError>(())
//! ```
//!
//! # What the theory asks, and how to see whether it holds
//!
//! | assumption | see |
//! |---|---|
//! | f and g smooth | [`diagnose::check`]: gradients against differences |
//! | proximal error bound near the lower solutions | [`diagnose::Check::error_bound`]: μ estimated from above at σ = 0 and 0.01 |
//! | lower solutions that move smoothly with x and σ | [`penalty::Limit::jumps`], [`diagnose::Report::warnings`]: ∇ψ_σ growing as 1/σ |
//! | strict complementarity and independent constraints | [`explicit::hypergradient`] refuses where a multiplier is 0 |
//! | y and z on one branch of solutions | [`diagnose::Report::gap`] ≥ 0; `swaps` in the log count a z found in a worse basin |
//! | lower solves precise beside σ | `inner_residual/sigma` in the log: an error e of y or z is e/σ in the gradient |
//!
//! Where they hold, |ψ_σ − ψ| is O(σ/μ) and ‖∇ψ_σ − ∇ψ‖ is O(σ/μ³), so a point that is ε-stationary for ψ_σ with σ of
//! the order of ε is O(ε)-stationary for the bilevel problem. Where they fail it may mean nothing: the toys `jump` and
//! `active` (at 0) show how.
//!
//! **Where to read:** [`penalty`] ψ_σ and its limit, [`method`] the paper's two algorithms and the deterministic method
//! for smooth problems, [`explicit`] the hyper-gradient with many lower solutions, [`diagnose`] the theory's
//! assumptions as measurements, [`baselines`] other people's methods, [`tasks`] problems.
#![forbid(unsafe_code)]

mod algorithm;
pub mod baselines;
mod descent;
pub mod diagnose;
mod error;
pub mod explicit;
pub mod method;
pub mod penalty;
pub mod problem;
pub mod set;
pub mod tasks;

pub use algorithm::Algorithm;
pub use error::BilevelError;
pub use method::{Continuation, DoubleLoop, SingleLoop};
pub use problem::{Batch, Bilevel, Grad, Oracle, Solution};
pub use set::Set;
pub use thalweg_linalg::sparse::Csr as Sparse;
