use std::cell::Cell;

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Progress, Seed};
use thalweg_linalg::vector::max_abs;

use super::implicit::{unheld, unique};
use crate::descent::{self, Goal, Memory, PATIENCE, Point, contradiction, no_progress, reach};
use crate::method::sampled::add;
use crate::penalty::relaxed;
use crate::set::norm2;
use crate::{Batch, BilevelError, Grad, Oracle, Solution};

/// A precise lower solve, the exact implicit gradient by conjugate gradients, and projected L-BFGS on x: what wins
/// where the lower level is small, smooth and strongly convex, and second derivatives are at hand.
///
/// It refuses points where the lower level has more than one solution, or a constraint of Y holds it: implicit
/// differentiation is wrong there. It converges when the projected gradient is below `tolerance` and the values of ψ
/// around the solution agree with its gradient; where no better point is found before that, it ends with no progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImplicitLbfgs {
    /// Bound on the projected gradient at the solution, relative to the one at the start. Default 1e-5.
    pub tolerance: f64,
    /// Residuals of the lower level, relative to its gradients' size, and of the linear system. Default 1e-8.
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
    /// The t that projected gradients are measured with.
    reach: f64,
    /// Steps since ψ has fallen by more than rounding.
    still: u64,
}

impl Iterate<f64> for ImplicitState {
    fn theta(&self) -> &[f64] {
        &self.at.x
    }
}

impl ImplicitLbfgs {
    /// ψ and its gradient at `at.x`; y and v move to their solutions, `noise` to the error that y's residual makes.
    fn evaluate(
        &self,
        oracle: &mut Oracle<'_>,
        at: &mut Solution,
        v: &mut [f64],
        gradient: &mut [f64],
        noise: &Cell<f64>,
    ) -> Result<f64, BilevelError> {
        let goal = Goal::Relative(self.inner);
        let left = relaxed(oracle, &at.x, &mut at.y, 0.0, goal)?.residual;
        at.z.copy_from_slice(&at.y);
        let here = (&at.x[..], &at.y[..]);
        unheld(oracle, here, left)?;
        let mut r = vec![0.0; at.y.len()];
        let value = oracle.upper(&at.x, &at.y, Batch::Full, Grad::both(gradient, &mut r))?;
        unique(oracle, here, &r, v, self.inner)?;
        noise.set(left * norm2(v).sqrt());
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
        Ok(ImplicitState {
            v: vec![0.0; at.y.len()],
            at,
            point,
            memory: Memory::default(),
            first: 0.0,
            reach: 1.0,
            still: 0,
        })
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls().total();
        let set = oracle.problem().x_set();
        let ImplicitState { at, v, point, memory, first, reach: t, still } = state;
        let noise = Cell::new(0.0);
        let mut psi = |x: &[f64], grad: &mut [f64]| {
            at.x.copy_from_slice(x);
            self.evaluate(oracle, at, v, grad, &noise)
        };
        if point.value.is_nan() {
            *point = Point::at(point.v.clone(), &mut psi)?;
            *t = reach(&point.v, &point.grad);
            *first = point.stationarity(set, *t);
        }
        let target = self.tolerance * *first;
        let value = point.value;
        let stepped =
            point.stationarity(set, *t) > target && descent::step(&mut psi, set, None, memory, point)?;
        *still = if value - point.value > memory.noise(point) { 0 } else { *still + 1 };
        let moved = stepped && *still < PATIENCE;
        let now = point.stationarity(set, *t);
        let mut ended = None;
        if !moved || now <= target {
            if now > target {
                ended = Some(no_progress(now, target));
            } else if let Some((found, told)) =
                contradiction(&mut psi, set, point, 10.0 * target + 1e-2 * *first, &|| noise.get())?
            {
                ended = Some(format!(
                    "of no progress: beside the solution ψ changes by {found:.3e} where its gradient says {told:.3e}; the \
                     derivatives of f and g may be wrong, or the lower level have several solutions"
                ));
            }
        }
        if at.x != point.v {
            // The last trial was another one.
            at.x.copy_from_slice(&point.v);
            self.evaluate(oracle, at, v, &mut point.grad, &noise)?;
        }
        Ok(Progress {
            value: point.value,
            evaluations: oracle.calls().total() - before,
            metrics: vec![
                (Progress::GRAD_MAX.to_owned(), max_abs(&point.grad)),
                ("stationarity".into(), now),
            ],
            converged: now <= target && ended.is_none(),
            ended,
        })
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.at)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.at)
    }
}
