use std::cell::{Cell, RefCell};

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Progress, Seed};
use thalweg_linalg::vector::max_abs;

use crate::descent::{self, Goal, Memory, PATIENCE, Point, contradiction, reach};
use crate::penalty::{Accuracy, Penalty, check_sigma, evaluate, relaxed, settled};
use crate::set::norm2;
use crate::{Batch, BilevelError, Grad, Oracle, Solution};

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
/// `tolerance`, relative to the one at the start, and the values of ψ_σ around the solution agree with its gradient.
/// Where no better point is found before that, it ends with no progress, and says so. With Richardson's difference σ
/// goes on below `sigma_min` until the price of the lower level falls in proportion to it: a lower level of small
/// curvature needs a smaller σ.
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
    /// Projected gradients: the largest at the beginning of a σ, and now.
    first: f64,
    now: f64,
    /// The t that they are measured with.
    reach: f64,
    /// Steps since ψ_σ has fallen by more than rounding.
    still: u64,
    swaps: u64,
}

/// A price that falls to this share with half of σ is linear in σ, so that Richardson's difference removes its error: what
/// is left is the square of twice what is beyond ½.
const LINEAR: f64 = 0.505;
/// How far the gradients of σ and half of it may be from each other, relative to the one at the start.
const BIAS: f64 = 3e-4;
/// How little x moves from one σ to the next where it stays, relative to its size or 1.
const STAYS: f64 = 1e-5;
/// The least σ.
const LEAST: f64 = 1e-16;
const TOO_LARGE: &str = "of no progress: the penalty does not fall with σ, however small; the lower level's curvature is nothing \
     beside f's: multiply g by a large number";
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
        self.memory.noise = 0.0;
        self.still = 0;
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
    ) -> Result<Evaluated, BilevelError> {
        let accuracy = match tolerance > 0.0 {
            true => Accuracy::Absolute(tolerance),
            // Before anything is known of the scale.
            false => Accuracy::Relative(1e-8),
        };
        let of_one = |here: Penalty| Evaluated { here, settled: true };
        match self.difference {
            Difference::Central => central(oracle, at, sigma, accuracy).map(of_one),
            Difference::Richardson if self.last(sigma) => {
                let coarse = evaluate(oracle, at, sigma, accuracy)?;
                let half = match accuracy {
                    Accuracy::Absolute(tolerance) => Accuracy::Absolute(0.5 * tolerance),
                    relative => relative,
                };
                let mut fine = evaluate(oracle, at, 0.5 * sigma, half)?;
                // A price that is nothing beside what the values are made of is no bias either.
                let small = fine.price <= 1e-10 * fine.upper.abs();
                let settled = small || settled(&coarse, &fine, LINEAR);
                fine.value = 2.0 * fine.value - coarse.value;
                fine.gradient.iter_mut().zip(&coarse.gradient).for_each(|(f, c)| *f = 2.0 * *f - c);
                fine.swapped |= coarse.swapped;
                fine.noise = 2.0 * fine.noise + coarse.noise;
                fine.error = 2.0 * fine.error + coarse.error;
                Ok(Evaluated { here: fine, settled })
            }
            _ => evaluate(oracle, at, sigma, accuracy).map(of_one),
        }
    }

    /// One line search at this σ.
    fn line_search(
        &self,
        oracle: &mut Oracle<'_>,
        state: &mut ContinuationState,
    ) -> Result<Searched, BilevelError> {
        let set = oracle.problem().x_set();
        let last_sigma = self.last(state.sigma);
        let tolerance = self.lower_tolerance(state);
        let began = state.point.value.is_nan();
        if began && last_sigma {
            (state.first, state.reach) = self.at_start(oracle, state.sigma)?;
        }
        let ContinuationState { at, point, memory, sigma, first, now, reach: t, still, swaps, .. } =
            &mut *state;
        let told: RefCell<Option<(Vec<f64>, Evaluated)>> = RefCell::new(None);
        let mut psi = |x: &[f64], grad: &mut [f64]| {
            at.x.copy_from_slice(x);
            let here = self.evaluate(oracle, at, *sigma, tolerance)?;
            grad.copy_from_slice(&here.here.gradient);
            let value = here.here.value;
            *swaps += u64::from(here.here.swapped);
            *told.borrow_mut() = Some((x.to_vec(), here));
            Ok(value)
        };
        if began {
            *point = Point::at(point.v.clone(), &mut psi)?;
            if !last_sigma {
                *t = reach(&point.v, &point.grad);
                *first = first.max(point.stationarity(set, *t));
            }
            *now = point.stationarity(set, *t);
        }
        let before = point.value;
        let stepped = match *now > self.tolerance * *first {
            true => descent::step(&mut psi, set, None, memory, point),
            false => Ok(false),
        };
        // A lower level that cannot be solved far away is one more sign that σ is too large.
        let (moved, lost) = match stepped {
            Err(e) if e.is_of_the_point() && !last_sigma => (false, true),
            stepped => (stepped?, false),
        };
        *still = if before - point.value > memory.noise(point) { 0 } else { *still + 1 };
        let moved = moved && *still < PATIENCE;
        let elsewhere = told.borrow().as_ref().is_none_or(|(x, _)| *x != point.v);
        if !lost && elsewhere {
            // The last trial was another one.
            let x = point.v.clone();
            point.value = psi(&x, &mut point.grad)?;
        }
        *now = point.stationarity(set, *t);
        let share = if last_sigma { self.tolerance } else { self.tolerance.max(0.1 * sigma.min(1.0)) };
        let mut metrics = vec![
            (Progress::GRAD_MAX.to_owned(), max_abs(&point.grad)),
            ("stationarity".into(), *now),
            ("sigma".into(), *sigma),
            ("swaps".into(), *swaps as f64),
        ];
        let (mut settled, mut target) = (true, *first * share);
        if let Some((_, Evaluated { here, settled: falls })) = told.into_inner() {
            settled = falls;
            memory.noise = here.noise;
            // A start at which the gradient is rounding cannot be bettered.
            if *sigma >= 0.99 * self.sigma_min && *first <= 100.0 * here.error {
                target = target.max(4.0 * here.error);
            }
            metrics.push(("gap".into(), here.gap));
            metrics.push(("upper".into(), here.upper));
            metrics.push(("inner_residual/sigma".into(), here.residuals.0.max(here.residuals.1) / *sigma));
        }
        let met = *now <= target;
        let (done, value) = (met || !moved, point.value);
        Ok(Searched { value, metrics, met, done, lost, settled, target })
    }

    /// The next σ when this one's job is done, or cannot be; or why there is none.
    fn next(
        &self,
        oracle: &mut Oracle<'_>,
        state: &mut ContinuationState,
        searched: &Searched,
    ) -> Result<Next, BilevelError> {
        let &Searched { met, done, lost, settled, target, .. } = searched;
        let (used, last) = (state.sigma, self.last(state.sigma));
        let away = lost || (!last && state.ran_away());
        if away || (done && !last) {
            state.next((used * self.shrink).max(self.sigma_min), away);
        } else if done && !(settled && self.agrees(oracle, state)?) {
            // The lower level's curvature is small beside σ.
            if used * self.shrink < LEAST {
                return Ok(Next::Ended(TOO_LARGE.into()));
            }
            state.next(used * self.shrink, false);
        } else if done && !met {
            return Ok(Next::Ended(descent::no_progress(state.now, target)));
        } else if done {
            return Ok(self.contradicted(oracle, state)?.map_or(Next::Converged, Next::Ended));
        }
        Ok(Next::Step)
    }

    /// The projected gradient at the start of the run, at that σ, with the t that all are measured with.
    fn at_start(&self, oracle: &mut Oracle<'_>, sigma: f64) -> Result<(f64, f64), BilevelError> {
        let mut at = oracle.start();
        let gradient = self.evaluate(oracle, &mut at, sigma, 0.0)?.here.gradient;
        let t = reach(&at.x, &gradient);
        Ok((descent::stationarity(&at.x, &gradient, oracle.problem().x_set(), t), t))
    }

    /// Whether the gradient is that of half of σ too: Richardson's difference is then the limit's. Or whether a smaller σ
    /// has not moved x.
    fn agrees(&self, oracle: &mut Oracle<'_>, state: &ContinuationState) -> Result<bool, BilevelError> {
        if self.difference != Difference::Richardson {
            return Ok(true); // the error is of the σ that was asked for
        }
        let mut at = state.at.clone();
        let half = match self.evaluate(oracle, &mut at, 0.5 * state.sigma, 0.5 * self.lower_tolerance(state))
        {
            Err(e) if e.is_of_the_point() => return Ok(true), // no smaller σ can be had
            half => half?.here,
        };
        let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let own = state.sigma >= 0.99 * self.sigma_min;
        // At a kink of ψ the gradients never agree, but x stays.
        let x = &state.at.x;
        let stays = !own && apart(x, &state.anchor.x) <= STAYS * norm2(x).sqrt().max(1.0);
        let rounding = if own { 4.0 * half.error } else { 0.0 };
        Ok(stays || apart(&half.gradient, &state.point.grad) <= BIAS * state.first + rounding)
    }

    /// Whether values around the solution contradict the gradient, in words.
    fn contradicted(
        &self,
        oracle: &mut Oracle<'_>,
        state: &ContinuationState,
    ) -> Result<Option<String>, BilevelError> {
        let (set, noise) = (oracle.problem().x_set(), Cell::new(0.0));
        let mut at = state.at.clone();
        let tolerance = self.lower_tolerance(state);
        let mut psi = |x: &[f64], grad: &mut [f64]| {
            at.x.copy_from_slice(x);
            let here = self.evaluate(oracle, &mut at, state.sigma, tolerance)?.here;
            grad.copy_from_slice(&here.gradient);
            noise.set(here.noise + here.error * 1e-4 * norm2(x).sqrt().max(1.0));
            Ok(here.value)
        };
        let slope = 10.0 * self.tolerance * state.first + 1e-2 * state.first;
        Ok(contradiction(&mut psi, set, &state.point, slope, &|| noise.get())?.map(|(found, told)| {
            format!(
                "of no progress: beside the solution ψ_σ changes by {found:.3e} where its gradient says {told:.3e}; ∇_x f \
                 and ∇_x g may not be the derivatives of f and g, or ψ have a kink here"
            )
        }))
    }

    /// Residual of the lower level that the upper one needs.
    fn lower_tolerance(&self, state: &ContinuationState) -> f64 {
        self.accuracy * state.sigma * (0.1 * state.now).max(self.tolerance * state.first)
    }
}

/// What a line search came to.
struct Searched {
    value: f64,
    metrics: Vec<(String, f64)>,
    /// The projected gradient is below the target.
    met: bool,
    /// Or no better point was found.
    done: bool,
    /// The lower level could not be solved.
    lost: bool,
    settled: bool,
    target: f64,
}

/// What comes after a line search.
enum Next {
    /// Another one.
    Step,
    /// Nothing: this is the solution.
    Converged,
    /// Nothing, and why.
    Ended(String),
}

/// ψ_σ with what it says of σ.
struct Evaluated {
    here: Penalty,
    /// The price of the lower level falls with σ.
    settled: bool,
}

/// ψ and ∇ψ by central differences of l(x,·): y minimises g + σf, z minimises g − σf.
fn central(
    oracle: &mut Oracle<'_>,
    at: &mut Solution,
    sigma: f64,
    accuracy: Accuracy,
) -> Result<Penalty, BilevelError> {
    check_sigma("sigma", sigma)?;
    let slope = match accuracy {
        Accuracy::Relative(share) => share * sigma * norm2(&oracle.f_y((&at.x, &at.y), Batch::Full)?).sqrt(),
        Accuracy::Absolute(tolerance) => tolerance,
    };
    let goal = Goal::Absolute(slope);
    let of_y = relaxed(oracle, &at.x, &mut at.y, sigma, goal)?;
    let of_z = relaxed(oracle, &at.x, &mut at.z, -sigma, goal)?;
    let (at_y, at_z) = ((&at.x[..], &at.y[..]), (&at.x[..], &at.z[..]));
    let ((fy, fy_x), (gy, gy_x)) = (oracle.f_x(at_y, Batch::Full)?, oracle.g_x(at_y, Batch::Full)?);
    let ((fz, fz_x), (gz, gz_x)) = (oracle.f_x(at_z, Batch::Full)?, oracle.g_x(at_z, Batch::Full)?);
    let by_x = |i: usize| 0.5 * (fy_x[i] + fz_x[i]) + (gy_x[i] - gz_x[i]) / (2.0 * sigma);
    let gradient = (0..at.x.len()).map(by_x).collect();
    let (upper, gap) = (0.5 * (fy + fz), gy - gz);
    let price = gap / (2.0 * sigma);
    let residuals = (of_y.residual, of_z.residual);
    let noise = f64::EPSILON * upper.abs() + 1e-2 * (of_y.noise + of_z.noise) / sigma;
    let error = f64::EPSILON * (norm2(&gy_x).sqrt() + norm2(&gz_x).sqrt()) / sigma;
    Ok(Penalty { value: upper + price, gradient, price, upper, gap, residuals, noise, error, swapped: false })
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
        let (sigma, first, now, reach) = (self.sigma, 0.0, 0.0, 1.0);
        let (still, swaps) = (0, 0);
        Ok(ContinuationState { at, point, memory, sigma, anchor, first, now, reach, still, swaps })
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls().total();
        let used = state.sigma;
        let mut progress = match self.line_search(oracle, state) {
            // σ is below what was asked for: the answer of the last one stands.
            Err(e) if e.is_of_the_point() && used < 0.99 * self.sigma_min => {
                state.at = state.anchor.clone();
                let value = oracle.upper(&state.at.x, &state.at.y, Batch::Full, Grad::NONE)?;
                Progress {
                    value,
                    ended: Some(format!("of no progress: at σ = {used:.1e}, {e}")),
                    ..Progress::default()
                }
            }
            searched => {
                let searched = searched?;
                let next = self.next(oracle, state, &searched)?;
                let (ended, converged) = match next {
                    Next::Step => (None, false),
                    Next::Converged => (None, true),
                    Next::Ended(why) => (Some(why), false),
                };
                let value = state.point.value;
                Progress {
                    value: if value.is_nan() { searched.value } else { value },
                    metrics: searched.metrics,
                    converged,
                    ended,
                    ..Progress::default()
                }
            }
        };
        progress.evaluations = oracle.calls().total() - before;
        Ok(progress)
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.at)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.at)
    }
}
