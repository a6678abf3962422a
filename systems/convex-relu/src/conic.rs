//! A small front to the interior-point solver: rows `constant + Σ coefficient·x` in cones.

use std::ops::Range;
use std::time::Duration;

use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};

use crate::ConvexError;

pub(crate) use clarabel::solver::SupportedConeT as Kind;

/// min ½ xᵀPx + qᵀx with diagonal P over rows in cones.
#[derive(Default)]
pub(crate) struct Conic {
    linear: Vec<f64>,
    quadratic: Vec<f64>,
    entries: Vec<(usize, usize, f64)>,
    constants: Vec<f64>,
    cones: Vec<SupportedConeT<f64>>,
}

/// Where the solver ended.
pub(crate) struct Point {
    pub x: Vec<f64>,
    /// Multipliers of the rows.
    pub z: Vec<f64>,
}

impl Conic {
    /// `count` new variables with that cost each; their range.
    pub fn variables(&mut self, count: usize, linear: f64, quadratic: f64) -> Range<usize> {
        let first = self.linear.len();
        self.linear.resize(first + count, linear);
        self.quadratic.resize(first + count, quadratic);
        first..first + count
    }

    /// Replaces the cost of variable `j`.
    pub fn cost(&mut self, j: usize, linear: f64, quadratic: f64) {
        (self.linear[j], self.quadratic[j]) = (linear, quadratic);
    }

    /// A new row; it belongs to the next cone given.
    pub fn row(&mut self, constant: f64, terms: impl IntoIterator<Item = (usize, f64)>) -> usize {
        let row = self.constants.len();
        // The solver writes A x + s = b with the slack s in the cone.
        self.entries.extend(terms.into_iter().filter(|t| t.1 != 0.0).map(|(j, a)| (j, row, -a)));
        self.constants.push(constant);
        row
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.constants.len()
    }

    /// The rows since the last cone lie in this one.
    pub fn cone(&mut self, cone: SupportedConeT<f64>) {
        self.cones.push(cone);
    }

    /// Solves to the solver's full accuracy, or as near as it comes in that time: what the result is worth,
    /// only a certificate tells.
    pub fn solve(self, time: Option<Duration>) -> Result<Point, ConvexError> {
        let (columns, rows) = (self.linear.len(), self.constants.len());
        let a = columns_of(rows, columns, self.entries);
        let diagonal = self.quadratic.iter().enumerate().filter(|(_, q)| **q != 0.0);
        let p = columns_of(columns, columns, diagonal.map(|(j, q)| (j, j, *q)).collect());
        let settings = DefaultSettings {
            verbose: false,
            tol_gap_abs: 1e-9,
            tol_gap_rel: 1e-9,
            tol_feas: 1e-9,
            max_threads: 1,
            time_limit: time.map_or(f64::INFINITY, |time| time.as_secs_f64().max(1e-3)),
            ..DefaultSettings::default()
        };
        let failed = |status: String| ConvexError::Solver { status };
        let mut solver = DefaultSolver::new(&p, &self.linear, &a, &self.constants, &self.cones, settings)
            .map_err(|e| failed(e.to_string()))?;
        solver.solve();
        let solution = solver.solution;
        let usable = matches!(
            solution.status,
            SolverStatus::Solved
                | SolverStatus::AlmostSolved
                | SolverStatus::InsufficientProgress
                | SolverStatus::MaxTime
        );
        if !usable || solution.x.iter().any(|x| !x.is_finite()) {
            return Err(failed(solution.status.to_string()));
        }
        Ok(Point { x: solution.x, z: solution.z })
    }
}

/// Compressed columns of entries (column, row, value).
fn columns_of(rows: usize, columns: usize, mut entries: Vec<(usize, usize, f64)>) -> CscMatrix<f64> {
    entries.sort_unstable_by_key(|e| (e.0, e.1));
    let mut starts = vec![0; columns + 1];
    entries.iter().for_each(|e| starts[e.0 + 1] += 1);
    (0..columns).for_each(|j| starts[j + 1] += starts[j]);
    let (rowval, nzval) = entries.into_iter().map(|e| (e.1, e.2)).unzip();
    CscMatrix::new(rows, columns, starts, rowval, nzval)
}
