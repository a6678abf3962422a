use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Objective, Progress, Real, Seed};
use thalweg_linalg::quasi_newton::Pairs;
use thalweg_linalg::vector::{dot, each2, max_abs};

use crate::descent::{FirstOrderState, free_gradient};

/// Limited-memory BFGS (Liu and Nocedal 1989) with a line search for the strong Wolfe conditions
/// (Nocedal and Wright 2006, algorithms 3.5, 3.6 and 7.4). For objectives that do not change from
/// step to step; one step is one line search.
///
/// It converges when ‖g‖∞ ≤ `tolerance`, or when the line search finds no better point in the
/// precision of the numbers; the metric `stalled` = 1 tells the second case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lbfgs {
    /// Pairs of steps and gradient differences kept, ≥ 1. Default 10.
    pub history: usize,
    /// Bound on ‖g‖∞ at the solution, ≥ 0. Default 1e-8.
    pub tolerance: f64,
    /// Sufficient decrease, 0 < c1 < c2. Default 1e-4.
    pub c1: f64,
    /// Curvature, c1 < c2 < 1. Default 0.9.
    pub c2: f64,
    /// Evaluations per line search, ≥ 1. Default 25.
    pub max_evaluations: u32,
}

impl Default for Lbfgs {
    fn default() -> Self {
        Self { history: 10, tolerance: 1e-8, c1: 1e-4, c2: 0.9, max_evaluations: 25 }
    }
}

/// State of [`Lbfgs`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct LbfgsState<T> {
    at: Point<T>,
    pairs: Pairs<T>,
    /// Evaluations spent since the last report.
    unreported: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
struct Point<T> {
    theta: Vec<T>,
    grad: Vec<T>,
    value: f64,
}

impl<T> Iterate<T> for LbfgsState<T> {
    fn theta(&self) -> &[T] {
        &self.at.theta
    }
}

impl<P: Objective + ?Sized> Method<P> for Lbfgs {
    type State = LbfgsState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "lbfgs"
    }

    fn validate(&self) -> Result<(), Invalid> {
        let Self { history, tolerance, c1, c2, max_evaluations } = self;
        Invalid::count("history", *history)?;
        Invalid::at_least_zero("tolerance", *tolerance)?;
        Invalid::check(*c1 > 0.0 && c1 < c2, "c1", c1, "a number with 0 < c1 < c2")?;
        Invalid::check(*c2 < 1.0, "c2", c2, "a number with c1 < c2 < 1")?;
        Invalid::count("max_evaluations", *max_evaluations)
    }

    fn init(&self, problem: &mut P, _seed: Seed) -> Result<Self::State, MethodError> {
        let theta = FirstOrderState::new(problem)?.theta;
        let grad = vec![Real::ZERO; theta.len()];
        // The start is evaluated by the first step, when the problem knows its batch.
        let at = Point { theta, grad, value: f64::NAN };
        Ok(LbfgsState { at, pairs: Pairs::default(), unreported: 0 })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        if state.at.value.is_nan() {
            state.at.evaluate(problem)?;
            state.unreported += 1;
            state.at.require_finite(problem)?;
        }
        let mut stalled = false;
        if max_abs(&state.at.grad) > self.tolerance {
            stalled = !self.advance(problem, state)?;
        }
        let grad_max = max_abs(&state.at.grad);
        let grad_norm = dot(&state.at.grad, &state.at.grad).sqrt();
        let mut metrics = vec![(Progress::GRAD_MAX.into(), grad_max), ("grad_norm".into(), grad_norm)];
        if stalled {
            metrics.push(("stalled".into(), 1.0));
        }
        Ok(Progress {
            value: state.at.value,
            evaluations: std::mem::take(&mut state.unreported),
            metrics,
            converged: stalled || grad_max <= self.tolerance,
            ..Progress::default()
        })
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.at.theta)
    }
}

impl<T: Real> Point<T> {
    fn evaluate<P: Objective<Scalar = T> + ?Sized>(&mut self, problem: &mut P) -> Result<(), MethodError> {
        self.value = free_gradient(problem, &self.theta, &mut self.grad)?;
        Ok(())
    }

    /// A start without finite derivatives leaves nothing to search from.
    fn require_finite<P: Objective<Scalar = T> + ?Sized>(&self, problem: &P) -> Result<(), MethodError> {
        let error = |what: &str, place: &str| {
            Err(MethodError::NonFinite { what: what.into(), place: place.into(), times: 1 })
        };
        match self.grad.iter().position(|g| !g.is_finite()) {
            Some(i) => error("the gradient", problem.layout().name_of(i)),
            None if !self.value.is_finite() => error("the objective value", "its sum"),
            None => Ok(()),
        }
    }
}

impl Lbfgs {
    /// One line search; `false` if no better point was found even along −g.
    fn advance<T: Real, P: Objective<Scalar = T> + ?Sized>(
        &self,
        problem: &mut P,
        state: &mut LbfgsState<T>,
    ) -> Result<bool, MethodError> {
        loop {
            let LbfgsState { at, pairs, unreported } = &mut *state;
            let mut direction = pairs.direction(&at.grad, dot);
            let mut slope = dot(&direction, &at.grad);
            if slope >= 0.0 || slope.is_nan() {
                pairs.clear();
                direction = pairs.direction(&at.grad, dot);
                slope = dot(&direction, &at.grad);
            }
            let first = if pairs.is_empty() { (1.0 / (-slope).sqrt()).min(1.0) } else { 1.0 };
            let mut trial = at.clone();
            let along = |a: f64| -> Result<(f64, f64), MethodError> {
                let a = T::from_f64(a);
                trial.theta.copy_from_slice(&at.theta);
                each2(&mut trial.theta, &direction, |x, d| *x += a * d);
                trial.evaluate(problem)?;
                *unreported += 1;
                let slope = dot(&direction, &trial.grad);
                let finite = trial.value.is_finite() && slope.is_finite();
                Ok(if finite { (trial.value, slope) } else { (f64::INFINITY, f64::NAN) })
            };
            let noise = 4.0 * epsilon::<T>() * at.value.abs();
            let search = Wolfe { f0: at.value, d0: slope, c1: self.c1, c2: self.c2, noise };
            if search.run(along, first, self.max_evaluations)? && trial.theta != at.theta {
                let difference = |a: &[T], b: &[T]| {
                    let mut d = a.to_vec();
                    each2(&mut d, b, |a, b| *a -= b);
                    d
                };
                let pair = (difference(&trial.theta, &at.theta), difference(&trial.grad, &at.grad));
                pairs.learn(pair, epsilon::<T>(), self.history, dot);
                state.at = trial;
                return Ok(true);
            }
            if pairs.is_empty() {
                return Ok(false);
            }
            pairs.clear(); // perhaps the model was at fault: once more along −g
        }
    }
}

/// Distance from 1 to the next number.
fn epsilon<T: Real>() -> f64 {
    let mut e = 1.0;
    while T::from_f64(1.0 + e / 2.0) > T::ONE {
        e /= 2.0;
    }
    e
}

/// Line search for the strong Wolfe conditions from value `f0` and slope `d0` < 0.
struct Wolfe {
    f0: f64,
    d0: f64,
    c1: f64,
    c2: f64,
    /// Differences of values below this one mean nothing; slopes decide then (Hager and Zhang
    /// 2005, approximate Wolfe conditions).
    noise: f64,
}

#[derive(Clone, Copy)]
struct Sample {
    a: f64,
    f: f64,
    d: f64,
}

impl Wolfe {
    fn decreases(&self, p: Sample) -> bool {
        let close = p.f <= self.f0 + self.noise && p.d <= (2.0 * self.c1 - 1.0) * self.d0;
        p.f <= self.f0 + self.c1 * p.a * self.d0 || close
    }

    fn flat(&self, p: Sample) -> bool {
        p.d.abs() <= -self.c2 * self.d0
    }

    /// Whether an acceptable point was found; it is the last one that `along` has evaluated.
    fn run<E>(
        &self,
        mut along: impl FnMut(f64) -> Result<(f64, f64), E>,
        first: f64,
        evaluations: u32,
    ) -> Result<bool, E> {
        let mut sample = |a| along(a).map(|(f, d)| Sample { a, f, d });
        let mut low = Sample { a: 0.0, f: self.f0, d: self.d0 };
        let mut high: Option<Sample> = None;
        let mut a = first;
        for _ in 0..evaluations {
            let p = sample(a)?;
            let decreases = self.decreases(p);
            if decreases && self.flat(p) {
                return Ok(true);
            }
            if !decreases || p.f > low.f + self.noise {
                high = Some(p);
            } else {
                // A minimum lies between two points whose slopes at `low` points towards `high`.
                let towards = high.map_or(1.0, |h| h.a - low.a);
                if p.d * towards >= 0.0 {
                    high = Some(low);
                }
                low = p;
            }
            a = match high {
                None => 2.0 * low.a,
                Some(high) if (high.a - low.a).abs() <= f64::EPSILON * high.a.max(low.a) => break,
                Some(high) => between(low, high),
            };
        }
        // Out of evaluations: a point that decreases is still progress.
        let progress = low.a > 0.0 && low.f < self.f0;
        if progress {
            sample(low.a)?;
        }
        Ok(progress)
    }
}

/// Minimiser of the cubic through both points, kept away from the ends; the middle if there is
/// none.
fn between(p: Sample, q: Sample) -> f64 {
    let width = q.a - p.a;
    let e = p.d + q.d - 3.0 * (p.f - q.f) / (p.a - q.a);
    let r = width.signum() * (e * e - p.d * q.d).sqrt();
    let cubic = q.a - width * (q.d + r - e) / (q.d - p.d + 2.0 * r);
    let share = (cubic - p.a) / width;
    p.a + width * if share.is_finite() { share.clamp(0.1, 0.9) } else { 0.5 }
}
