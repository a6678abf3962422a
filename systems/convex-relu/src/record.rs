use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, MethodError, Progress};

use crate::certificate::Certified;
use crate::certificate::certify;
use crate::cone::Supports;
use crate::{ConvexError, Program};

/// What an iterative method keeps of its checks: the best feasible point and the best bound so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Iterations made.
    pub iteration: u64,
    /// The best of both so far.
    pub best: Option<Certified>,
    supports: Supports,
}

impl Record {
    /// Certifies (v, w) with outputs `r` and the dual point `theta`.
    pub fn check(
        &mut self,
        program: &Program,
        [v, w]: [&[f64]; 2],
        r: &[f64],
        theta: &[f64],
    ) -> Result<(), ConvexError> {
        let now = certify(program, v, w, r, theta, &mut self.supports)?;
        self.best = Some(match self.best.take() {
            Some(best) => now.or(best),
            None => now,
        });
        Ok(())
    }

    /// Where the run is; converged if the certified gap is at most `tol`.
    pub fn progress(&self, residuals: &[(&'static str, f64)], tol: f64) -> Progress {
        let mut metrics: Vec<_> = residuals.iter().map(|(name, x)| ((*name).into(), *x)).collect();
        let certificate = self.best.as_ref().map(|b| &b.certificate);
        if let Some(c) = certificate {
            metrics.extend([("dual_bound".into(), c.dual_bound), ("gap".into(), c.gap)]);
        }
        Progress {
            value: certificate.map_or(f64::NAN, |c| c.objective),
            evaluations: 1,
            metrics,
            converged: certificate.is_some_and(|c| c.gap <= tol),
            ..Progress::default()
        }
    }

    /// The result of the run.
    pub fn end(self) -> Result<Certified, MethodError> {
        self.best.ok_or(MethodError::Empty)
    }
}

/// Refuses settings that no iterative method takes.
pub(crate) fn check_stops(tol: f64, check_every: u64) -> Result<(), Invalid> {
    Invalid::at_least_zero("tol", tol)?;
    Invalid::count("check_every", check_every)
}
