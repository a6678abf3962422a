use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Progress, Seed};
use thalweg_linalg::vector::max_abs;

use super::implicit::solve;
use crate::descent::{self, Memory, Point};
use crate::method::sampled::add;
use crate::penalty::lower;
use crate::{Batch, BilevelError, Grad, Oracle, Solution};

/// A precise lower solve, the exact implicit gradient by conjugate gradients, and projected L-BFGS on x: what wins
/// where the lower level is small, smooth and strongly convex, and second derivatives are at hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImplicitLbfgs {
    /// Bound on the projected gradient at the solution, relative to the one at the start. Default 1e-5.
    pub tolerance: f64,
    /// Norm of the lower level's projected gradient, and relative residual of the linear system. Default 1e-8.
    pub inner: f64,
}

impl Default for ImplicitLbfgs {
    fn default() -> Self {
        Self { tolerance: 1e-5, inner: 1e-8 }
    }
}

/// State of [`ImplicitLbfgs`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImplicitState {
    at: Solution,
    v: Vec<f64>,
    point: Point,
    memory: Memory,
    first: f64,
}

impl Iterate<f64> for ImplicitState {
    fn theta(&self) -> &[f64] {
        &self.at.x
    }
}

impl ImplicitLbfgs {
    /// ψ and its gradient at `at.x`; y and v move to their solutions.
    fn evaluate(
        &self,
        oracle: &mut Oracle<'_>,
        at: &mut Solution,
        v: &mut [f64],
        gradient: &mut [f64],
    ) -> Result<f64, BilevelError> {
        lower(oracle, &at.x, &mut at.y, self.inner)?;
        at.z.copy_from_slice(&at.y);
        let mut r = vec![0.0; at.y.len()];
        let value = oracle.upper(&at.x, &at.y, Batch::Full, Grad::both(gradient, &mut r))?;
        let here = (&at.x[..], &at.y[..]);
        solve(oracle, here, &mut r, v, 10 * at.y.len() as u64, self.inner)?;
        add(gradient, -1.0, &oracle.hessian(here, v, Batch::Full)?.0);
        Ok(value)
    }
}

impl<'p> Method<Oracle<'p>> for ImplicitLbfgs {
    type State = ImplicitState;
    type Solution = Solution;

    fn name(&self) -> &'static str {
        "implicit"
    }

    fn validate(&self) -> Result<(), Invalid> {
        Invalid::at_least_zero("tolerance", self.tolerance)?;
        Invalid::positive("inner", self.inner)
    }

    fn init(&self, oracle: &mut Oracle<'p>, _seed: Seed) -> Result<Self::State, MethodError> {
        let at = oracle.start();
        let point = Point { value: f64::NAN, grad: vec![0.0; at.x.len()], v: at.x.clone() };
        Ok(ImplicitState { v: vec![0.0; at.y.len()], at, point, memory: Memory::default(), first: 0.0 })
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls().total();
        let set = oracle.problem().x_set();
        let ImplicitState { at, v, point, memory, first } = state;
        let mut psi = |x: &[f64], grad: &mut [f64]| {
            at.x.copy_from_slice(x);
            self.evaluate(oracle, at, v, grad)
        };
        if point.value.is_nan() {
            *point = Point::at(point.v.clone(), &mut psi)?;
            *first = point.stationarity(set, 1.0);
        }
        let target = self.tolerance * *first;
        let moved =
            point.stationarity(set, 1.0) > target && descent::step(&mut psi, set, None, memory, point)?;
        if !moved {
            psi(&point.v.clone(), &mut point.grad)?; // the last trial was elsewhere
        }
        let now = point.stationarity(set, 1.0);
        Ok(Progress {
            value: point.value,
            evaluations: oracle.calls().total() - before,
            metrics: vec![
                (Progress::GRAD_MAX.to_owned(), max_abs(&point.grad)),
                ("stationarity".into(), now),
            ],
            converged: now <= target || !moved,
            ..Progress::default()
        })
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.at)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.at)
    }
}
