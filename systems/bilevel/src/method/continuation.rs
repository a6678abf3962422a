use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Progress, Seed};
use thalweg_linalg::vector::max_abs;

use crate::descent::{self, Memory, Point};
use crate::penalty::penalty;
use crate::penalty::{Penalty, check_sigma, relaxed};
use crate::set::norm2;
use crate::{Batch, BilevelError, Oracle, Solution};

/// How ∇ψ is taken from lower-level solutions at finite σ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// ∇ψ_σ: error O(σ); two lower-level solves.
    Forward,
    /// 2∇ψ_{σ/2} − ∇ψ_σ at the last σ: error O(σ²); three solves.
    #[default]
    Richardson,
    /// (∇l(x,σ) − ∇l(x,−σ))/2σ: error O(σ²), two solves. Only where the lower level is strongly convex: with
    /// several lower solutions −σf is unbounded along them.
    Central,
}

/// The deterministic penalty method for smooth problems: precise lower-level solves, projected L-BFGS on ψ_σ,
/// and σ lowered as the upper level converges (our composition of arXiv:2309.01753's penalty gradient with
/// quasi-Newton steps; [`crate::DoubleLoop`] is the paper's algorithm).
///
/// One step is one line search at one σ. It converges when the projected gradient at the last σ is below
/// `tolerance`, relative to the first one, or no better point is found in the precision of the numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Continuation {
    /// First σ. Default 1.
    pub sigma: f64,
    /// Last σ, ≥ 1e-8. Default 1e-3.
    pub sigma_min: f64,
    /// Factor from one σ to the next, in (0, 1). Default 0.1.
    pub shrink: f64,
    /// How ∇ψ is taken at finite σ. Default Richardson.
    pub difference: Difference,
    /// Bound on the projected gradient at the solution, relative to the one at the start. Default 1e-5.
    pub tolerance: f64,
    /// Residual of the lower level per σ and projected gradient. Default 0.1.
    pub accuracy: f64,
}

impl Default for Continuation {
    fn default() -> Self {
        Self {
            sigma: 1.0,
            sigma_min: 1e-3,
            shrink: 0.1,
            difference: Difference::default(),
            tolerance: 1e-5,
            accuracy: 0.1,
        }
    }
}

/// State of [`Continuation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContinuationState {
    at: Solution,
    /// x with ψ and its gradient; without value before the first step.
    point: Point,
    memory: Memory,
    sigma: f64,
    /// Where this σ began.
    anchor: Solution,
    /// Projected gradients: at the start, and now.
    first: f64,
    now: f64,
    swaps: u64,
}

/// Going this many times as far as anything was, a large σ has no minimum: it must be a smaller one.
const AWAY: f64 = 1e3;

impl ContinuationState {
    /// Leaves this σ, from where it began if x has run away, else from here.
    fn next(&mut self, sigma: f64, away: bool) {
        if away {
            self.at = self.anchor.clone();
            self.point.v.clone_from(&self.at.x);
            self.memory = Memory::default();
        }
        self.anchor = self.at.clone();
        self.sigma = sigma;
        self.point.value = f64::NAN;
    }

    /// Whether x has gone far from where this σ began.
    fn ran_away(&self) -> bool {
        let square: f64 = self.at.x.iter().zip(&self.anchor.x).map(|(a, b)| (a - b).powi(2)).sum();
        square.sqrt() > AWAY * (1.0 + norm2(&self.anchor.x).sqrt())
    }
}

impl Iterate<f64> for ContinuationState {
    fn theta(&self) -> &[f64] {
        &self.at.x
    }
}

impl Continuation {
    fn last(&self, sigma: f64) -> bool {
        sigma <= self.sigma_min * (1.0 + 1e-12)
    }

    /// ψ and ∇ψ at `at.x` as `difference` has them; y and z move to their solutions there.
    fn evaluate(
        &self,
        oracle: &mut Oracle<'_>,
        at: &mut Solution,
        sigma: f64,
        tolerance: f64,
    ) -> Result<Penalty, BilevelError> {
        match self.difference {
            Difference::Central => central(oracle, at, sigma, tolerance),
            Difference::Richardson if self.last(sigma) => {
                let coarse = penalty(oracle, at, sigma, tolerance)?;
                let mut fine = penalty(oracle, at, 0.5 * sigma, 0.5 * tolerance)?;
                fine.value = 2.0 * fine.value - coarse.value;
                fine.gradient.iter_mut().zip(&coarse.gradient).for_each(|(f, c)| *f = 2.0 * *f - c);
                fine.swapped |= coarse.swapped;
                Ok(fine)
            }
            _ => penalty(oracle, at, sigma, tolerance),
        }
    }
}

/// ψ and ∇ψ by central differences of l(x,·): y minimises g + σf, z minimises g − σf.
fn central(
    oracle: &mut Oracle<'_>,
    at: &mut Solution,
    sigma: f64,
    tolerance: f64,
) -> Result<Penalty, BilevelError> {
    check_sigma("sigma", sigma)?;
    let of_y = relaxed(oracle, &at.x, &mut at.y, sigma, tolerance)?;
    let of_z = relaxed(oracle, &at.x, &mut at.z, -sigma, tolerance)?;
    let (at_y, at_z) = ((&at.x[..], &at.y[..]), (&at.x[..], &at.z[..]));
    let ((fy, fy_x), (gy, gy_x)) = (oracle.f_x(at_y, Batch::Full)?, oracle.g_x(at_y, Batch::Full)?);
    let ((fz, fz_x), (gz, gz_x)) = (oracle.f_x(at_z, Batch::Full)?, oracle.g_x(at_z, Batch::Full)?);
    let by_x = |i: usize| 0.5 * (fy_x[i] + fz_x[i]) + (gy_x[i] - gz_x[i]) / (2.0 * sigma);
    let gradient = (0..at.x.len()).map(by_x).collect();
    let (upper, gap) = (0.5 * (fy + fz), gy - gz);
    let price = gap / (2.0 * sigma);
    let residuals = (of_y.residual, of_z.residual);
    Ok(Penalty { value: upper + price, gradient, price, upper, gap, residuals, swapped: false })
}

impl<'p> Method<Oracle<'p>> for Continuation {
    type State = ContinuationState;
    type Solution = Solution;

    fn name(&self) -> &'static str {
        "pbo"
    }

    fn validate(&self) -> Result<(), Invalid> {
        let Self { sigma, sigma_min, shrink, tolerance, accuracy, .. } = self;
        check_sigma("sigma_min", *sigma_min)?;
        Invalid::check(sigma >= sigma_min && sigma.is_finite(), "sigma", sigma, "a number ≥ sigma_min")?;
        Invalid::in_open("shrink", *shrink, 0.0, 1.0)?;
        Invalid::at_least_zero("tolerance", *tolerance)?;
        Invalid::positive("accuracy", *accuracy)
    }

    fn init(&self, oracle: &mut Oracle<'p>, _seed: Seed) -> Result<Self::State, MethodError> {
        let at = oracle.start();
        let point = Point { value: f64::NAN, grad: vec![0.0; at.x.len()], v: at.x.clone() };
        let (memory, anchor) = (Memory::default(), at.clone());
        Ok(ContinuationState { at, point, memory, sigma: self.sigma, anchor, first: 0.0, now: 0.0, swaps: 0 })
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls().total();
        let set = oracle.problem().x_set();
        let ContinuationState { at, point, memory, sigma, first, now, swaps, .. } = &mut *state;
        let mut last = None;
        let tolerance = self.accuracy * *sigma * (0.1 * *now).max(self.tolerance * *first);
        let mut psi = |x: &[f64], grad: &mut [f64]| {
            at.x.copy_from_slice(x);
            // Before anything is known of the scale, as precisely as the numbers allow.
            let tolerance = if tolerance > 0.0 { tolerance } else { 1e-8 * *sigma };
            let here = self.evaluate(oracle, at, *sigma, tolerance)?;
            grad.copy_from_slice(&here.gradient);
            let value = here.value;
            *swaps += u64::from(here.swapped);
            last = Some(here);
            Ok(value)
        };
        if point.value.is_nan() {
            *point = Point::at(point.v.clone(), &mut psi)?;
            *now = point.stationarity(set, 1.0);
            if *first == 0.0 {
                *first = *now;
            }
        }
        let last_sigma = self.last(*sigma);
        let stepped = match *now > self.tolerance * *first {
            true => descent::step(&mut psi, set, None, memory, point),
            false => Ok(false),
        };
        // A lower level that cannot be solved far away is one more sign that σ is too large.
        let (moved, lost) = match stepped {
            Err(BilevelError::Inner { .. } | BilevelError::Unbounded { .. }) if !last_sigma => (false, true),
            stepped => (stepped?, false),
        };
        if !moved && !lost {
            // The last trial was elsewhere.
            psi(&point.v.clone(), &mut point.grad)?;
        }
        *now = point.stationarity(set, 1.0);

        // The next σ when this one's job is done, or cannot be.
        let used = *sigma;
        let target =
            *first * if last_sigma { self.tolerance } else { self.tolerance.max(0.1 * sigma.min(1.0)) };
        let done = *now <= target || !moved;
        let converged = done && last_sigma;
        let value = point.value;
        let mut metrics = vec![
            (Progress::GRAD_MAX.to_owned(), max_abs(&point.grad)),
            ("stationarity".into(), *now),
            ("sigma".into(), used),
            ("swaps".into(), *swaps as f64),
        ];
        let away = lost || (!last_sigma && state.ran_away());
        if away || (done && !last_sigma) {
            state.next((used * self.shrink).max(self.sigma_min), away);
        }
        if let Some(here) = last {
            metrics.push(("gap".into(), here.gap));
            metrics.push(("upper".into(), here.upper));
            metrics.push(("inner_residual/sigma".into(), here.residuals.0.max(here.residuals.1) / used));
        }
        Ok(Progress {
            value,
            evaluations: oracle.calls().total() - before,
            metrics,
            converged,
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
