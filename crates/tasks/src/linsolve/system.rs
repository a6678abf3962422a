//! One system and how exactly it is solved, as several jobs ask for it.

use std::path::Path;
use std::time::Instant;

use thalweg_relax::learner::omega_grid;
use thalweg_relax::solver::{Reason, Solved};
use thalweg_relax::{Csr, Matrix, Scheme, Solver};

use super::files;
use crate::{Context, Host, Result, TaskError};

/// Matrix and right-hand side.
pub(super) fn read(matrix: Option<&Path>, rhs: Option<&Path>) -> Result<(Csr, Vec<f64>)> {
    let a = files::matrix(matrix.context("no matrix; set `matrix` to a MatrixMarket file")?)?;
    let b = files::right_hand_side(rhs, a.rows())?;
    Ok((a, b))
}

/// The solver, with the usual tolerance and limit.
pub(super) fn solver(method: Scheme, omega: f64, tol: Option<f64>, max_iterations: Option<usize>) -> Solver {
    Solver { method, omega, tol: tol.unwrap_or(1e-8), max_iterations: max_iterations.unwrap_or(10_000) }
}

/// Solves from 0 while the host looks on: until its time, counted from `clock`, is up.
pub(super) fn watched(
    solver: &Solver,
    a: &Csr,
    b: &[f64],
    host: &Host,
    clock: Instant,
) -> Result<(Vec<f64>, Solved)> {
    let mut meter = host.meter(solver.method.name(), None);
    meter.iter_mut().for_each(|m| m.begin(0));
    let mut go_on = |made: usize, residual: f64| {
        meter.iter_mut().for_each(|m| m.show(made as u64, residual));
        !host.interrupt.requested() && host.time.is_none_or(|limit| clock.elapsed() < limit)
    };
    let (x, solved) = solver.solve_while(a, b, &vec![0.0; a.rows()], &mut go_on)?;
    let last = solved.residuals.last().copied().unwrap_or(0.0);
    meter.iter_mut().for_each(|m| m.finish(solved.iterations as u64, last));
    match solved.reason {
        Reason::Stopped if host.interrupt.requested() => Err(TaskError::Interrupted { folder: None }),
        _ => Ok((x, solved)),
    }
}

/// `FROM:TO:COUNT`, e.g. 1:1.95:20, or a list, e.g. 1,1.2,1.5.
pub(super) fn parse_omegas(text: &str) -> Result<Vec<f64>, String> {
    let wrong = || {
        format!("{text:?} names no values of ω; use FROM:TO:COUNT, e.g. 1:1.95:20, or a list such as 1,1.5")
    };
    let omegas = if let [from, to, count] = text.split(':').collect::<Vec<_>>()[..] {
        let number = |t: &str| t.parse::<f64>().map_err(|_| wrong());
        let count: usize = count.parse().map_err(|_| wrong())?;
        if !(1..=10_000).contains(&count) {
            return Err(format!("{count} values of ω are not allowed; use 1 to 10000"));
        }
        omega_grid(number(from)?, number(to)?, count)
    } else {
        text.split(',').map(|t| t.parse::<f64>().map_err(|_| wrong())).collect::<Result<_, _>>()?
    };
    match omegas.iter().find(|o| !(**o > 0.0 && **o < 2.0)) {
        Some(omega) => Err(format!("omega = {omega} is not allowed; use numbers in (0, 2)")),
        None => Ok(omegas),
    }
}
