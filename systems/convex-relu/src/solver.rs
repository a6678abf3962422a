//! One door to the solvers of the convex program.

use serde::{Deserialize, Serialize};
use thalweg_core::{Drive, Invalid, Seed, Stop, StopReason};

use crate::admm::Admm;
use crate::baselines::{AdmmPaper, BlockProgram, DenseProgram, Rbcd};
use crate::certificate::Certified;
use crate::exact::{exact, finish};
use crate::{ConvexError, Program};

/// Entries of the constraint matrix up to which the interior-point method is the default.
const SMALL: usize = 200_000;
/// Entries up to which it finishes what ADMM leaves.
const FINISHED: usize = 4_000_000;
/// Iterations of ADMM after which a finish is tried.
const PATIENCE: u64 = 1500;

/// How (P) is solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// [`Admm`], finished by the interior-point method on the active groups.
    Admm,
    /// [`AdmmPaper`].
    AdmmPaper,
    /// [`Rbcd`].
    Rbcd,
    /// [`exact()`].
    Exact,
}

/// Settings of a solve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Solver {
    /// The algorithm. Default: `exact` for small programs, else `admm`.
    pub algorithm: Option<Algorithm>,
    /// Relative certified gap to stop at. Default 1e-4.
    pub tol: f64,
    /// Steps of the iterative methods at most. Default 20 000.
    #[serde(alias = "max_iterations")]
    pub max_steps: u64,
    /// Penalty of admm-paper and rbcd. Default: β.
    pub rho: Option<f64>,
}

impl Default for Solver {
    fn default() -> Self {
        Self { algorithm: None, tol: 1e-4, max_steps: 20_000, rho: None }
    }
}

/// A solved program.
#[derive(Clone, Debug, PartialEq)]
pub struct Solved {
    /// Solution and certificate.
    pub certified: Certified,
    /// What solved it.
    pub algorithm: Algorithm,
    /// Iterations of the first-order method; 0 for `exact`.
    pub iterations: u64,
    /// What ended it; of `exact` that the time was up, if it was.
    pub stopped_because: Option<StopReason>,
}

impl Solver {
    /// Names the bad field, its value and its legal range.
    ///
    /// # Errors
    /// The first field out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::at_least_zero("tol", self.tol)?;
        Invalid::count("max_steps", self.max_steps)?;
        Invalid::positive("rho", self.rho.unwrap_or(1.0))
    }

    /// Refuses programs that the algorithm does not solve, before any work.
    ///
    /// # Errors
    /// Settings out of range, what the algorithm does not solve.
    pub fn check(&self, program: &Program) -> Result<(), ConvexError> {
        self.validate()?;
        match self.method(program) {
            Algorithm::AdmmPaper => DenseProgram::check(program),
            Algorithm::Rbcd => BlockProgram::check(program),
            Algorithm::Admm | Algorithm::Exact => Ok(()),
        }
    }

    /// The algorithm for this program.
    pub fn method(&self, program: &Program) -> Algorithm {
        let small = entries(program) <= SMALL && program.outputs() == 1;
        self.algorithm.unwrap_or(if small { Algorithm::Exact } else { Algorithm::Admm })
    }

    /// Solves.
    ///
    /// # Errors
    /// Settings out of range, what the algorithm does not solve, too large for memory, no solution of the
    /// interior point.
    pub fn solve(&self, program: &Program, seed: Seed) -> Result<Solved, ConvexError> {
        self.solve_with(program, seed, &mut Stop::Steps(self.max_steps))
    }

    /// Solves, with the steps of iterative methods made by `drive`.
    ///
    /// # Errors
    /// As [`Solver::solve`].
    pub fn solve_with(
        &self,
        program: &Program,
        seed: Seed,
        drive: &mut impl Drive<Certified>,
    ) -> Result<Solved, ConvexError> {
        self.validate()?;
        if let Some((narrow, back)) = program.narrow() {
            let solved = self.solve_with(&narrow, seed, drive)?;
            return Ok(Solved { certified: back(solved.certified)?, ..solved });
        }
        let algorithm = self.method(program);
        if let Some(certified) = program.zero()? {
            return Ok(Solved { certified, algorithm, iterations: 0, stopped_because: None });
        }
        let (tol, rho) = (self.tol, self.rho.unwrap_or(program.beta()));
        let outcome = match algorithm {
            Algorithm::Exact => {
                let certified = exact(program)?;
                let stopped_because =
                    (program.late() && certified.certificate.gap > tol).then_some(StopReason::Time);
                return Ok(Solved { certified, algorithm, iterations: 0, stopped_because });
            }
            Algorithm::Admm => {
                let mut outcome = drive.drive(&self.admm(program), &mut program.clone(), seed)?;
                if outcome.stopped_because == StopReason::Converged {
                    outcome.solution = self.finished(program, outcome.solution);
                }
                outcome
            }
            Algorithm::AdmmPaper => {
                let mut dense = DenseProgram::new(program.clone(), rho)?;
                drive.drive(&AdmmPaper { tol, ..AdmmPaper::default() }, &mut dense, seed)?
            }
            Algorithm::Rbcd => {
                let mut blocks = BlockProgram::new(program.clone(), rho)?;
                drive.drive(&Rbcd { tol, ..Rbcd::default() }, &mut blocks, seed)?
            }
        };
        let (iterations, stopped_because) = (outcome.steps, Some(outcome.stopped_because));
        Ok(Solved { certified: outcome.solution, algorithm, iterations, stopped_because })
    }

    /// ADMM with these settings, which gives way to the finish where that is cheap.
    pub(crate) fn admm(&self, program: &Program) -> Admm {
        let cheap = entries(program) <= FINISHED && program.outputs() == 1;
        Admm { tol: self.tol, patience: cheap.then_some(PATIENCE), ..Admm::default() }
    }

    /// The solution, finished by the interior-point method if its gap is too large; a finish that
    /// fails leaves it as it is.
    pub(crate) fn finished(&self, program: &Program, certified: Certified) -> Certified {
        if certified.certificate.gap <= self.tol {
            return certified;
        }
        finish(program, &certified, self.tol).unwrap_or(certified)
    }
}

/// Entries of G, the largest part of the interior-point method's constraints.
fn entries(program: &Program) -> usize {
    2 * program.samples().d() * program.samples().n() * program.columns()
}
