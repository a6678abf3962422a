//! Solver parameters that learn across a sequence of linear systems.
//!
//! A simulation solves thousands of related systems A_t x = b_t. The best relaxation factor ω of SOR, or
//! of the SSOR preconditioner of conjugate gradients, differs from system to system and is dear to
//! compute; a [`Pilot`] chooses it and learns from nothing but the iterations that each solve took.
//! Tsallis-INF competes with the best fixed ω, ChebCB with the best ω for every instance, the joint
//! model (the default) lets neighbouring ω and contexts teach each other, Young's pilot knows the
//! theory of consistently ordered matrices. The same pilots choose from any finite list of settings
//! with any cost.
//!
//! M. Khodak, E. Chow, M.-F. Balcan, A. Talwalkar, *Learning to Relax: Setting Solver Parameters Across a
//! Sequence of Linear System Instances*, ICLR 2024, arXiv:2310.02246.
//!
//! ```
//! use thalweg_core::Seed;
//! use thalweg_relax::{Interval, Method, Pilot, Policy, Solver, Stencil, omega_grid};
//!
//! let laplacian = Stencil::laplacian(10, 10)?;
//! let mut pilot = Pilot::new(&Policy::default(), &omega_grid(1.0, 1.95, 20), Interval::new(0.0, 1.0), Seed(1))?;
//! let (mut first, mut last) = (0, 0);
//! for t in 0..200 {
//!     let shift = (t as f64 * 0.618).fract(); // what is known of the system beforehand
//!     let choice = pilot.choose(shift);
//!     let solver = Solver { method: Method::Sor, omega: choice.omega, ..Solver::default() };
//!     let (_x, solved) = solver.solve(&laplacian.shifted(shift)?, &[1.0; 100])?;
//!     pilot.feedback(&choice, solved.cost());
//!     *if t < 100 { &mut first } else { &mut last } += solved.iterations;
//! }
//! assert!(last < first);
//! # Ok::<(), thalweg_relax::RelaxError>(())
//! ```
//!
//! [`Steer`] does the same for a whole [`Sequence`] under `thalweg_core::Run`, with checkpoints and logs.
//!
//! **Where to read:** `matrix` what solvers need, `stencil` and `csr` the kernels, `solver` SOR and
//! conjugate gradients, `pilot` the learners, `oracle` the yardsticks, `bounds` the analysis.
#![forbid(unsafe_code)]

mod bounds;
mod csr;
mod error;
mod kernel;
mod matrix;
mod oracle;
mod pilot;
mod sequence;
mod solver;
mod steer;
mod stencil;
pub mod theory;

pub use bounds::Surrogates;
pub use csr::Csr;
pub use error::RelaxError;
pub use matrix::{Diagonal, Matrix, Order};
pub use oracle::{Best, Comparison, compare, costs, golden_section, instance_optimal};
pub use pilot::{
    Axis, Binned, ChebCb, Choice, Interval, Joint, JointModel, Pilot, Policy, Tsallis, Young,
    inverse_gap_weighting, least_squares, log_grid, omega_grid, tsallis_probabilities,
};
pub use sequence::{Heat, Sequence, Shift, Shifted, Systems};
pub use solver::{Method, Reason, Solved, Solver, Workspace};
pub use steer::{Arm, Cost, Steer, Steering, Taken, arms};
pub use stencil::Stencil;
