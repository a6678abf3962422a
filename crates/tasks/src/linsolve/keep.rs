//! Solutions of a sequence, kept in the run folder.

use thalweg_core::{MethodError, Problem};
use thalweg_data::vector_text;
use thalweg_relax::solver::Solved;
use thalweg_relax::{Matrix, RelaxError, Sequence, Solver};

use crate::{Folder, Result};

const FOLDER: &str = "solutions";

/// Where the solution of a system is kept.
pub(super) fn product(name: &str) -> String {
    format!("{FOLDER}/{name}.mtx")
}

/// A sequence whose solutions are written as they come; of systems that were not solved there is none.
pub(super) struct Keeping {
    systems: Box<dyn Sequence>,
    names: Vec<String>,
    folder: Option<Folder>,
    t: usize,
    solved: bool,
}

impl Keeping {
    /// Writes to the folder, if there is one.
    pub fn new(systems: Box<dyn Sequence>, names: Vec<String>, folder: Option<&Folder>) -> Result<Self> {
        if let Some(folder) = folder {
            folder.inner(FOLDER).make()?;
        }
        Ok(Self { systems, names, folder: folder.cloned(), t: 0, solved: false })
    }
}

impl Problem for Keeping {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        (self.t, self.solved) = (t as usize, false);
        self.systems.begin_step(t)
    }

    fn end_step(&mut self) -> Result<(), MethodError> {
        if let Some(folder) = self.folder.as_ref().filter(|_| self.solved) {
            let text = vector_text(&self.systems.solution());
            let written = folder.write(&product(&self.names[self.t]), text.as_bytes());
            written.map_err(|e| MethodError::Problem(Box::new(e)))?;
        }
        self.systems.end_step()
    }

    fn save(&self) -> Vec<u8> {
        self.systems.save()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MethodError> {
        self.systems.restore(saved)
    }
}

impl Sequence for Keeping {
    fn steps(&self) -> u64 {
        self.systems.steps()
    }

    fn interval(&self) -> (f64, f64) {
        self.systems.interval()
    }

    fn context(&self) -> f64 {
        self.systems.context()
    }

    fn matrix(&self) -> &dyn Matrix {
        self.systems.matrix()
    }

    fn optimal_omega(&self) -> Option<f64> {
        self.systems.optimal_omega()
    }

    fn solve(&mut self, solver: &Solver) -> Result<Solved, RelaxError> {
        let solved = self.systems.solve(solver)?;
        self.solved = solved.converged();
        Ok(solved)
    }

    fn solution(&self) -> Vec<f64> {
        self.systems.solution()
    }

    fn try_out(&self, solver: &Solver) -> Result<Solved, RelaxError> {
        self.systems.try_out(solver)
    }
}
