use std::sync::Arc;

use thalweg_core::{Invalid, MethodError, Problem};

use super::Sequence;
use crate::solver::check_vector;
use crate::solver::{Solved, Workspace};
use crate::{Csr, Matrix, RelaxError, Solver};

/// Given systems, one after the other, each solved from 0.
#[derive(Debug)]
pub struct Systems {
    systems: Vec<(Arc<Csr>, Vec<f64>, f64)>,
    t: usize,
    x: Vec<f64>,
    work: Workspace,
}

impl Systems {
    /// Matrices, right-hand sides and contexts; a matrix may serve several systems.
    pub fn new(systems: Vec<(Arc<Csr>, Vec<f64>, f64)>) -> Result<Self, RelaxError> {
        Invalid::count("systems", systems.len())?;
        for (a, b, context) in &systems {
            check_vector("the right-hand side", b, a.rows())?;
            Invalid::check(context.is_finite(), "context", context, "a finite number")?;
        }
        Ok(Self { systems, t: 0, x: Vec::new(), work: Workspace::default() })
    }
}

impl Problem for Systems {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        let last = self.systems.len() as u64 - 1;
        Invalid::check(t <= last, "step", t, &format!("at most {last}, the last system"))?;
        self.t = t as usize;
        Ok(())
    }
}

impl Sequence for Systems {
    fn steps(&self) -> u64 {
        self.systems.len() as u64
    }

    fn interval(&self) -> (f64, f64) {
        let contexts = || self.systems.iter().map(|s| s.2);
        let (low, high) =
            (contexts().fold(f64::INFINITY, f64::min), contexts().fold(f64::NEG_INFINITY, f64::max));
        if low < high { (low, high) } else { (low, low + 1.0) }
    }

    fn context(&self) -> f64 {
        self.systems[self.t].2
    }

    fn matrix(&self) -> &dyn Matrix {
        &*self.systems[self.t].0
    }

    fn solve(&mut self, solver: &Solver) -> Result<Solved, RelaxError> {
        let (a, b, _) = &self.systems[self.t];
        self.x.clear();
        self.x.resize(a.len(), 0.0);
        solver.solve_in(&**a, b, &mut self.x, &mut self.work)
    }

    fn solution(&self) -> Vec<f64> {
        self.x.clone()
    }

    fn try_out(&self, solver: &Solver) -> Result<Solved, RelaxError> {
        let (a, b, _) = &self.systems[self.t];
        solver.solve_in(&**a, b, &mut vec![0.0; a.len()], &mut Workspace::default())
    }
}
