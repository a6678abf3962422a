//! Solver parameters that learn across a sequence of linear systems.
//!
//! A simulation solves thousands of related systems A_t x = b_t. The best relaxation factor ω of SOR, or
//! of the SSOR preconditioner of conjugate gradients, differs from system to system and is dear to
//! compute; a [`Learner`] chooses it and learns from nothing but the iterations that each solve took.
//! Tsallis-INF competes with the best fixed ω, ChebCB with the best ω for every instance, the joint
//! model (the default) lets neighbouring ω and contexts teach each other, Young's rule knows the
//! theory of consistently ordered matrices. The same learners choose from any finite list of settings
//! with any cost.
//!
//! M. Khodak, E. Chow, M.-F. Balcan, A. Talwalkar, *Learning to Relax: Setting Solver Parameters Across a
//! Sequence of Linear System Instances*, ICLR 2024, arXiv:2310.02246.
//!
//! ```
//! use thalweg_core::Seed;
//! use thalweg_relax::{Interval, Scheme, Learner, Policy, Solver, Stencil};
//! use thalweg_relax::learner::omega_grid;
//!
//! let laplacian = Stencil::laplacian(10, 10)?;
//! let mut learner = Learner::new(&Policy::default(), &omega_grid(1.0, 1.95, 20), Interval::new(0.0, 1.0), Seed(1))?;
//! let (mut first, mut last) = (0, 0);
//! for t in 0..200 {
//!     let shift = (t as f64 * 0.618).fract(); // what is known of the system beforehand
//!     let choice = learner.choose(shift)?;
//!     let solver = Solver { method: Scheme::Sor, omega: choice.omega, ..Solver::default() };
//!     let (_x, solved) = solver.solve(&laplacian.shifted(shift)?, &[1.0; 100])?;
//!     learner.feedback(&choice, solved.cost())?;
//!     *if t < 100 { &mut first } else { &mut last } += solved.iterations;
//! }
//! assert!(last < first);
//! # Ok::<(), thalweg_relax::RelaxError>(())
//! ```
//!
//! [`TunedSolver`] does the same for a whole [`Sequence`] under `thalweg_core::Run`, with checkpoints and logs.
//!
//! **Algorithm.** For t = 1, 2, …: the learner sees the context c_t and plays an arm i_t (an ω); the solver takes
//! k_t iterations; the learner is told k_t. Tsallis-INF draws from p_i ∝ (η_t (L̂_i − x))⁻² with L̂ the
//! importance-weighted sums of costs; ChebCB regresses the cost of each arm on T₀(c) … T_m(c) and plays by inverse
//! gaps; the joint model regresses the logarithm of the cost on the products Tᵢ(c) Tⱼ(ω) by one ridge regression and
//! plays the ω of the smallest optimistic prediction (LinUCB).
//!
//! **When not:** for a single system, or systems whose best ω is known (consistently ordered matrices of known
//! spectral radius: [`theory::optimal_omega`]); where setting up a multigrid or an incomplete factorisation pays.
//!
//! **Where to read:** [`method`] the loop over a sequence, [`learner`] the learners, [`solver`] SOR and conjugate
//! gradients, [`matrix`] what solvers need, [`oracle`] the yardsticks, [`bounds`] the analysis.
#![forbid(unsafe_code)]

pub mod bounds;
mod csr;
mod error;
mod kernel;
pub mod learner;
pub mod matrix;
pub mod method;
pub mod oracle;
pub mod sequence;
pub mod solver;
mod stencil;
pub mod theory;

pub use csr::Csr;
pub use error::RelaxError;
pub use learner::{Decision, Interval, Learner, Policy};
pub use matrix::Matrix;
pub use method::TunedSolver;
pub use sequence::Sequence;
pub use solver::{Scheme, Solver};
pub use stencil::Stencil;
