//! Minimising a smooth function over a convex set: L-BFGS with projections for bounds (Bertsekas 1982,
//! Kim, Sra and Dhillon 2010), spectral projected gradients for other sets (Birgin, Martínez and Raydan 2000).

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

    /// `‖v − Π(v − t∇)‖/t`: zero exactly at stationary points.
    pub fn stationarity(&self, set: &Set, t: f64) -> f64 {
        stationarity(&self.v, &self.grad, set, t)
    }
}

/// `‖v − Π(v − t·grad)‖/t`.
pub(crate) fn stationarity(v: &[f64], grad: &[f64], set: &Set, t: f64) -> f64 {
    let mut moved: Vec<f64> = v.iter().zip(grad).map(|(v, g)| v - t * g).collect();
    set.project(&mut moved);
    moved.iter().zip(v).map(|(m, v)| ((m - v) / t).powi(2)).sum::<f64>().sqrt()
}

/// What the steps remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pairs: Pairs<f64>,
    /// How far to go while nothing is known of the curvature.
    reach: f64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { pairs: Pairs::default(), reach: 1.0 }
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
        let direction = match &bounds {
            Some((lo, hi)) => memory.quasi_newton(at, lo, hi, scale),
            None => memory.spectral(at, set),
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
            true if scale.is_none() => memory.reach * (1.0 / norm2(&direction).sqrt()).min(1.0),
            true => memory.reach,
            false => 1.0,
        };
        let mut good: Option<(Point, Vec<f64>)> = None;
        for _ in 0..40 {
            let v = along(t);
            let s: Vec<f64> = v.iter().zip(&at.v).map(|(a, b)| a - b).collect();
            let slope = dot(&at.grad, &s);
            // The projection stops what goes beyond the bounds.
            if slope >= 0.0 || good.as_ref().is_some_and(|(point, _)| point.v == v) {
                break;
            }
            let mut grad = vec![0.0; v.len()];
            let value = match f(&v, &mut grad) {
                Ok(value) => value,
                Err(BilevelError::NonFinite { .. }) if good.is_some() => break,
                Err(BilevelError::NonFinite { .. }) if t > 1e-10 => {
                    t *= 0.1;
                    continue;
                }
                Err(e) => return Err(e),
            };
            let ahead = dot(&grad, &s);
            // Where the values' digits run out, the slope tells (Hager and Zhang 2005).
            let flat = value <= at.value + ROUNDING * at.value.abs() && ahead.abs() <= 0.9 * slope.abs();
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
            memory.learn(s, y);
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
    fn learn(&mut self, s: Vec<f64>, y: Vec<f64>) {
        let sy = dot(&s, &y);
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

    /// From `at` to the projection of a Barzilai–Borwein step.
    fn spectral(&self, at: &Point, set: &Set) -> Vec<f64> {
        let length = self.pairs.newest().map_or(self.reach, |Pair { s, y, sy }| match self.pairs.len() % 2 {
            0 => norm2(s) / sy,
            _ => sy / norm2(y),
        });
        let mut to: Vec<f64> = at.v.iter().zip(&at.grad).map(|(v, g)| v - length * g).collect();
        set.project(&mut to);
        to.iter().zip(&at.v).map(|(t, v)| t - v).collect()
    }
}

/// How a minimisation went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Solved {
    pub value: f64,
    /// `‖v − Π(v − ∇)‖`.
    pub residual: f64,
    pub iterations: u64,
}

/// Minimises until the residual is at most `tolerance` or the digits run out.
///
/// # Errors
/// Iterates that run away, and more than `limit` steps.
pub(crate) fn minimize(
    f: Fun<'_>,
    set: &Set,
    scale: Option<&[f64]>,
    v: &mut [f64],
    tolerance: f64,
    limit: u64,
) -> Result<Solved, BilevelError> {
    let mut at = Point::at(v.to_vec(), f)?;
    let mut memory = Memory::default();
    let begin = norm2(&at.v).sqrt();
    for iterations in 0.. {
        let residual = at.stationarity(set, 1.0);
        if residual <= tolerance || (iterations < limit && !step(f, set, scale, &mut memory, &mut at)?) {
            v.copy_from_slice(&at.v);
            return Ok(Solved { value: at.value, residual, iterations });
        }
        let norm = norm2(&at.v).sqrt();
        if norm > 1e8 * (1.0 + begin) {
            return Err(BilevelError::Unbounded { norm, residual });
        }
        if iterations == limit {
            return Err(BilevelError::Inner { residual, iterations, tolerance });
        }
    }
    unreachable!("the limit is reached before the numbers end")
}
