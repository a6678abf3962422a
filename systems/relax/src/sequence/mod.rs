//! Sequences of systems: heat in a square, shifted Laplacians, lists of the user's own.

mod heat;
mod list;
mod shift;

pub use heat::Heat;
pub use list::Systems;
pub use shift::{Shift, Shifted};

use thalweg_core::Problem;

use crate::solver::Solved;
use crate::{Matrix, RelaxError, Solver};

/// A sequence of linear systems. [`Problem::begin_step`] sets up the system of a step; it is solved
/// from the sequence's own start, by one solver that counts and perhaps by others for comparison.
pub trait Sequence: Problem + Sync {
    /// Systems.
    fn steps(&self) -> u64;

    /// Smallest and largest context that may come.
    fn interval(&self) -> (f64, f64);

    /// What is known of the system before it is solved: a shift, a diffusion, a step length.
    fn context(&self) -> f64;

    /// The matrix of the system.
    fn matrix(&self) -> &dyn Matrix;

    /// The system's optimal ω for SOR, where theory gives it.
    fn optimal_omega(&self) -> Option<f64> {
        None
    }

    /// Solves the system; the solution is the sequence's.
    fn solve(&mut self, solver: &Solver) -> Result<Solved, RelaxError>;

    /// The solution of the last system, in the natural order.
    fn solution(&self) -> Vec<f64>;

    /// Solves the system from the same start and forgets the solution.
    fn try_out(&self, solver: &Solver) -> Result<Solved, RelaxError>;
}
