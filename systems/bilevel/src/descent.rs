//! Minimising a smooth function over a convex set: L-BFGS with projections for bounds (Bertsekas 1982,
//! Kim, Sra and Dhillon 2010), spectral projected gradients for other sets (Birgin, Martínez and Raydan 2000).

use std::cell::Cell;

use serde::{Deserialize, Serialize};
use thalweg_linalg::quasi_newton::{Pair, Pairs};

use crate::set::{dot, norm2};
use crate::{BilevelError, Set};

/// Pairs of steps and gradient differences kept.
const HISTORY: usize = 20;
/// Sufficient decrease.
const ARMIJO: f64 = 1e-4;
/// Values within this much of each other, relatively, are the same to rounding.
const ROUNDING: f64 = 1e-14;
/// A residual below this share of the gradients' own size (curvature times |v|) may be rounding.
const DIGITS: f64 = 1e-11;
/// Steps without a smaller value or half of the residual after which the digits have run out.
pub(crate) const PATIENCE: u64 = 20;
/// Trials of one line search at which the function may fail.
const FAILURES: usize = 3;

/// A function to minimise: value, and the gradient into the second argument.
pub(crate) type Fun<'a> = &'a mut dyn FnMut(&[f64], &mut [f64]) -> Result<f64, BilevelError>;

/// A point with what is known there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub v: Vec<f64>,
    pub value: f64,
    pub grad: Vec<f64>,
}

impl Point {
    pub fn at(v: Vec<f64>, f: Fun<'_>) -> Result<Self, BilevelError> {
        let mut grad = vec![0.0; v.len()];
        let value = f(&v, &mut grad)?;
        Ok(Self { v, value, grad })
    }

    /// As [`stationarity`].
    pub fn stationarity(&self, set: &Set, t: f64) -> f64 {
        stationarity(&self.v, &self.grad, set, t)
    }
}

/// `‖v − Π(v − t·grad)‖/t`: zero exactly at stationary points. The smaller t, the larger it is.
pub(crate) fn stationarity(v: &[f64], grad: &[f64], set: &Set, t: f64) -> f64 {
    match set {
        Set::Free => norm2(grad).sqrt(),
        // Without rounding where nothing is cut off.
        Set::Box { lo, hi } => {
            let part = |i: usize| grad[i].min((v[i] - lo[i]) / t).max((v[i] - hi[i]) / t).powi(2);
            (0..v.len()).map(part).sum::<f64>().sqrt()
        }
        _ => {
            let mut moved: Vec<f64> = v.iter().zip(grad).map(|(v, g)| v - t * g).collect();
            set.project(&mut moved);
            moved.iter().zip(v).map(|(m, v)| ((m - v) / t).powi(2)).sum::<f64>().sqrt()
        }
    }
}

/// The t of [`stationarity`] where nothing is known of the curvature: a step of length 1, or of |v|, at most.
pub(crate) fn reach(v: &[f64], grad: &[f64]) -> f64 {
    (norm2(v).sqrt().max(1.0) / norm2(grad).sqrt()).min(1.0)
}

/// What the steps remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pairs: Pairs<f64>,
    /// How far to go while nothing is known of the curvature.
    reach: f64,
    /// The largest curvature met of late; 0 before the first step.
    curvature: f64,
    /// Error of the values, where the caller knows it to be more than their rounding.
    pub noise: f64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { pairs: Pairs::default(), reach: 1.0, curvature: 0.0, noise: 0.0 }
    }
}

/// One step from `at`; `false` if no better point was found.
///
/// `scale` are curvatures by coordinate, where known.
pub(crate) fn step(
    f: Fun<'_>,
    set: &Set,
    scale: Option<&[f64]>,
    memory: &mut Memory,
    at: &mut Point,
) -> Result<bool, BilevelError> {
    let bounds = set.bounds(at.v.len());
    loop {
        let fresh = memory.pairs.is_empty();
        let (direction, length) = match &bounds {
            Some((lo, hi)) => (memory.quasi_newton(at, lo, hi, scale), None),
            None => {
                let (direction, length) = memory.spectral(at, set);
                (direction, Some(length))
            }
        };
        let along = |t: f64| {
            let mut v: Vec<f64> = at.v.iter().zip(&direction).map(|(v, d)| v + t * d).collect();
            if bounds.is_some() {
                set.project(&mut v); // otherwise both ends of the segment are in the set
            }
            v
        };
        // Without any idea of the scale, the first step is of length `reach` at most.
        let mut t = match fresh && bounds.is_some() {
            true if scale.is_some() => memory.reach,
            true if memory.curvature > 0.0 => 1.0 / memory.curvature,
            true => memory.reach * (1.0 / norm2(&direction).sqrt()).min(1.0),
            false => 1.0,
        };
        let noise = memory.noise(at);
        let mut failures = 0;
        let mut good: Option<(Point, Vec<f64>)> = None;
        for _ in 0..40 {
            let v = along(t);
            let s: Vec<f64> = v.iter().zip(&at.v).map(|(a, b)| a - b).collect();
            // A projection d of a step of that length has ∇·d ≤ −d²/length; the product itself would be the rounding of
            // what presses against the set.
            let slope = length.map_or_else(|| dot(&at.grad, &s), |length| -t * norm2(&direction) / length);
            // The projection stops what goes beyond the bounds.
            if slope >= 0.0 || good.as_ref().is_some_and(|(point, _)| point.v == v) {
                break;
            }
            let mut grad = vec![0.0; v.len()];
            let value = match f(&v, &mut grad) {
                Ok(value) => value,
                // The function may not be had everywhere.
                Err(e) if e.is_of_the_point() && good.is_some() => break,
                Err(e) if e.is_of_the_point() && failures < FAILURES => {
                    failures += usize::from(!matches!(e, BilevelError::NonFinite { .. }));
                    t *= 0.1;
                    continue;
                }
                Err(e) => return Err(e),
            };
            let ahead = match length {
                None => dot(&grad, &s),
                Some(_) => {
                    slope
                        + s.iter().zip(grad.iter().zip(&at.grad)).map(|(s, (a, b))| s * (a - b)).sum::<f64>()
                }
            };
            // Where the values' digits run out, the slope tells (Hager and Zhang 2005).
            let flat = value <= at.value + noise && ahead.abs() <= 0.9 * slope.abs();
            let better = value <= at.value + ARMIJO * slope || flat;
            if better && good.as_ref().is_none_or(|(point, _)| value < point.value) {
                let far = ahead < 0.9 * slope && bounds.is_some();
                good = Some((Point { v, value, grad }, s));
                if !far {
                    break;
                }
                t *= 3.0; // hardly less steep than at the beginning: the minimum is far
                continue;
            }
            if good.is_some() {
                break;
            }
            // The minimum of the parabola through both values and the slope, within reason.
            let parabola = -slope / (2.0 * (value - at.value - slope));
            t *= if parabola.is_finite() { parabola.clamp(0.1, 0.5) } else { 0.1 };
        }
        if let Some((point, s)) = good {
            let y: Vec<f64> = point.grad.iter().zip(&at.grad).map(|(a, b)| a - b).collect();
            memory.learn(s, y, &point.v);
            *at = point;
            return Ok(true);
        }
        if fresh {
            return Ok(false);
        }
        memory.pairs.clear();
    }
}

impl Memory {
    /// How much of a difference of values may be rounding: of the values, or of the terms that they are the sum of.
    pub fn noise(&self, at: &Point) -> f64 {
        (ROUNDING * at.value.abs().max(self.curvature * norm2(&at.v))).max(self.noise)
    }

    fn learn(&mut self, s: Vec<f64>, y: Vec<f64>, v: &[f64]) {
        let sy = dot(&s, &y);
        let length = norm2(&s).sqrt();
        // Differences of neighbours tell of rounding alone.
        if length > 1e-10 * norm2(v).sqrt() {
            self.curvature = (0.7 * self.curvature).max(norm2(&y).sqrt() / length);
        }
        if sy > 1e-12 * (norm2(&s) * norm2(&y)).sqrt() {
            self.pairs.push(Pair { s, y, sy }, HISTORY);
        } else if self.pairs.is_empty() {
            self.reach *= 4.0; // flat or curved downwards
        }
    }

    /// −H∇ on the coordinates that may move, 0 on those that are pressed against a bound.
    fn quasi_newton(&self, at: &Point, lo: &[f64], hi: &[f64], scale: Option<&[f64]>) -> Vec<f64> {
        let pressed =
            |i: usize| (at.v[i] <= lo[i] && at.grad[i] > 0.0) || (at.v[i] >= hi[i] && at.grad[i] < 0.0);
        let free: Vec<f64> = (0..at.v.len()).map(|i| if pressed(i) { 0.0 } else { 1.0 }).collect();
        let bound = free.contains(&0.0);
        let inner = |a: &[f64], b: &[f64]| match bound {
            true => a.iter().zip(b).zip(&free).map(|((a, b), f)| a * b * f).sum(),
            false => dot(a, b),
        };
        let mut d: Vec<f64> = at.grad.iter().zip(&free).map(|(g, f)| -g * f).collect();
        // The products sᵀy on the free coordinates alone.
        let product = |Pair { s, y, sy }: &Pair<f64>| {
            let sy = if bound { inner(s, y) } else { *sy };
            if sy <= 1e-12 * (inner(s, s) * inner(y, y)).sqrt() { None } else { Some(sy) }
        };
        let weigh = |d: &mut [f64], weight: &dyn Fn(usize) -> f64| {
            (0..d.len()).for_each(|i| d[i] *= weight(i) * free[i]);
        };
        self.pairs.apply(&mut d, inner, product, |d, newest| match (scale, newest) {
            (Some(c), None) => weigh(d, &|i| 1.0 / c[i]),
            (Some(c), Some((Pair { y, .. }, sy))) => {
                let shape: f64 = (0..d.len()).map(|i| free[i] * y[i] * y[i] / c[i]).sum();
                weigh(d, &|i| sy / shape / c[i]);
            }
            (None, Some((Pair { y, .. }, sy))) => {
                let yy = inner(y, y);
                weigh(d, &|_| sy / yy);
            }
            (None, None) => {}
        });
        d.iter_mut().zip(&free).for_each(|(d, f)| *d *= f);
        // A direction that does not descend is worth nothing.
        if dot(&d, &at.grad) < 0.0 { d } else { at.grad.iter().zip(&free).map(|(g, f)| -g * f).collect() }
    }

    /// From `at` to the projection of a Barzilai–Borwein step, and the length of that.
    fn spectral(&self, at: &Point, set: &Set) -> (Vec<f64>, f64) {
        let fresh = || match self.curvature > 0.0 {
            true => 1.0 / self.curvature,
            false => {
                self.reach * norm2(&at.v).sqrt().max(1.0) / norm2(&at.grad).sqrt().max(f64::MIN_POSITIVE)
            }
        };
        let length = self.pairs.newest().map_or_else(fresh, |Pair { s, y, sy }| match self.pairs.len() % 2 {
            0 => norm2(s) / sy,
            _ => sy / norm2(y),
        });
        let mut to: Vec<f64> = at.v.iter().zip(&at.grad).map(|(v, g)| v - length * g).collect();
        set.project(&mut to);
        (to.iter().zip(&at.v).map(|(t, v)| t - v).collect(), length)
    }
}

/// How precise a minimum must be: a bound on its residual.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal<'a> {
    /// This number.
    Absolute(f64),
    /// This share of the gradients' own size: the curvature times |v|.
    Relative(f64),
    /// This many times what the function keeps there.
    Times(f64, &'a Cell<f64>),
}

/// How a minimisation went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Solved {
    pub value: f64,
    /// `‖v − Π(v − t∇)‖/t`, 1/t the curvature.
    pub residual: f64,
    /// How much of the value may be rounding.
    pub noise: f64,
}

impl Solved {
    /// `v` becomes the point.
    fn at(at: &Point, residual: f64, memory: &Memory, v: &mut [f64]) -> Self {
        v.copy_from_slice(&at.v);
        Self { value: at.value, residual, noise: memory.noise(at) }
    }
}

/// Minimises to that goal, or until the digits run out: then the residual is above it, which is the caller's to judge.
///
/// # Errors
/// Iterates that run away, more than `limit` steps, and no better point along the gradient though the residual is
/// more than rounding.
pub(crate) fn minimize(
    f: Fun<'_>,
    set: &Set,
    scale: Option<&[f64]>,
    v: &mut [f64],
    goal: Goal<'_>,
    limit: u64,
) -> Result<Solved, BilevelError> {
    set.project(v); // steps begin and end within
    let mut at = Point::at(v.to_vec(), f)?;
    let mut memory = Memory::default();
    let (begin, mut steepest) = (norm2(&at.v).sqrt(), norm2(&at.grad).sqrt());
    let mut best = (at.clone(), f64::INFINITY);
    let mut still = 0;
    for iterations in 0.. {
        // Steps within rounding tell nothing of the curvature, and so nothing of the digits.
        if memory.curvature == 0.0 && iterations >= 3 {
            memory.curvature = probe(f, set, &at)?;
        }
        let t = if memory.curvature > 0.0 { 1.0 / memory.curvature } else { reach(&at.v, &at.grad) };
        let residual = at.stationarity(set, t);
        let norm = norm2(&at.v).sqrt();
        let size = memory.curvature * norm;
        steepest = norm2(&at.grad).sqrt().max(0.7 * steepest);
        let tolerance = match goal {
            Goal::Absolute(tolerance) => tolerance,
            Goal::Relative(share) => share * size,
            Goal::Times(share, of) => share * of.get(),
        };
        if residual <= tolerance {
            return Ok(Solved::at(&at, residual, &memory, v));
        }
        if residual < 0.5 * best.1 {
            still = 0;
        }
        if residual < best.1 {
            best = (at.clone(), residual);
        }
        let rounding = best.1 <= DIGITS * size.max(steepest);
        if rounding && still >= PATIENCE {
            return Ok(Solved::at(&best.0, best.1, &memory, v));
        }
        if norm > 1e8 * (1.0 + begin) {
            return Err(BilevelError::Unbounded { norm, residual });
        }
        if iterations == limit {
            return match rounding {
                true => Ok(Solved::at(&best.0, best.1, &memory, v)),
                false => Err(BilevelError::Inner { residual, iterations, tolerance }),
            };
        }
        let before = at.value;
        if !step(f, set, scale, &mut memory, &mut at)? {
            if memory.curvature == 0.0 {
                memory.curvature = probe(f, set, &at)?;
                if memory.curvature > 0.0 {
                    continue;
                }
            }
            return match rounding {
                true => Ok(Solved::at(&best.0, best.1, &memory, v)),
                false => Err(BilevelError::Stuck { residual: best.1, iterations }),
            };
        }
        still = if before - at.value > memory.noise(&at) { 0 } else { still + 1 };
    }
    unreachable!("the limit is reached before the numbers end")
}

/// Why a method ends that has found no better point and is not where it should be.
pub(crate) fn no_progress(now: f64, target: f64) -> String {
    format!(
        "of no progress: no point along the gradient is better, and the stationarity is {now:.2e} where {target:.2e} was \
         asked for; the gradient may be wrong, the objective have a kink here, or the digits have run out"
    )
}

/// The curvature around a point, by the gradients' difference to a neighbour in the set.
fn probe(f: Fun<'_>, set: &Set, at: &Point) -> Result<f64, BilevelError> {
    let length = norm2(&at.v).sqrt();
    let length = 1e-4 * if length > 0.0 { length } else { 1.0 };
    let near = |sign: f64| {
        let mut v: Vec<f64> =
            at.v.iter().enumerate().map(|(i, v)| v + sign * length * (1.7 * i as f64 + 0.4).sin()).collect();
        set.project(&mut v);
        v
    };
    let far = |v: &[f64]| v.iter().zip(&at.v).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let (ahead, behind) = (near(1.0), near(-1.0));
    let v = if far(&ahead) >= far(&behind) { ahead } else { behind };
    let moved = far(&v);
    let point = Point::at(v, f)?;
    let change: f64 = point.grad.iter().zip(&at.grad).map(|(a, b)| (a - b).powi(2)).sum();
    Ok(if moved > 0.0 { change.sqrt() / moved } else { 0.0 })
}

/// Whether the gradients of `f` are those of its values around `at`: the difference of the values at two points of the
/// set near it, and the one that the gradients there say, where these differ by more than `slope` per length, a part of
/// the slopes, and rounding. Right gradients differ in the third order alone.
pub(crate) fn contradiction(
    f: Fun<'_>,
    set: &Set,
    at: &Point,
    slope: f64,
    noise: &dyn Fn() -> f64,
) -> Result<Option<(f64, f64)>, BilevelError> {
    let length = 1e-4 * norm2(&at.v).sqrt().max(1.0);
    for trial in [0.4, 2.9] {
        let mut d: Vec<f64> = (0..at.v.len()).map(|i| (1.7 * i as f64 + trial).sin()).collect();
        let norm = norm2(&d).sqrt();
        d.iter_mut().for_each(|d| *d *= length / norm);
        let mut noises = 0.0;
        let mut near = |sign: f64| {
            let mut v: Vec<f64> = at.v.iter().zip(&d).map(|(v, d)| v + sign * d).collect();
            set.project(&mut v);
            let point = Point::at(v, f)?;
            noises += noise();
            Ok::<_, BilevelError>(point)
        };
        let (a, b) = (near(1.0)?, near(-1.0)?);
        let s: Vec<f64> = a.v.iter().zip(&b.v).map(|(a, b)| a - b).collect();
        let (found, told) = (a.value - b.value, 0.5 * (dot(&a.grad, &s) + dot(&b.grad, &s)));
        let slopes = norm2(&a.grad).sqrt() + norm2(&b.grad).sqrt();
        let rounding = 10.0 * (noises + ROUNDING * (a.value.abs() + b.value.abs()));
        if (found - told).abs() > norm2(&s).sqrt() * (slope + 1e-2 * slopes) + rounding {
            return Ok(Some((found, told)));
        }
    }
    Ok(None)
}
