//! A lower bound: the steepest directional derivative found.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Seed, normal};

use crate::derivative::Derivative;
use crate::{LipError, Network, Norm};

/// How the lower bound is searched for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Random normal points, and at most as many of those given, evenly spread. Default 200.
    pub points: usize,
    /// Steps of ascent from each of the five best. Default 50.
    #[serde(alias = "steps")]
    pub max_steps: usize,
    /// Seed of the points. Default 1.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { points: 200, max_steps: 50, seed: 1 }
    }
}

/// Rounds of the power iteration at each point, and at the ten best.
const GLANCE: usize = 1;
const LOOK: usize = 5;
/// Rounds at a point of the ascent, which starts at the direction of the last one.
const STEP: usize = 1;
/// Rounds where the ascent ends.
const LAST: usize = 100;

/// A slope, where it is and along what direction.
type Found = (f64, Vec<f64>, Vec<f64>);

/// A number that the Lipschitz constant is at least, up to rounding: the largest derivative along a direction that a
/// power iteration finds at `points`, at random points, and on an ascent along those directions. Each round takes two
/// passes over the weights. Derivatives that are in doubt for a kink or a tie nearby do not count; 0 where all are.
///
/// # Errors
/// Points of another length, an activation that is known by its slopes only.
pub fn lower_bound(
    net: &Network,
    norm: Norm,
    points: &[Vec<f64>],
    sampling: &Sampling,
) -> Result<f64, LipError> {
    points.iter().try_for_each(|x| net.reads(x))?;
    if let Err(e @ LipError::NoValues(_)) = net.forward(&vec![0.0; net.inputs()]) {
        return Err(e);
    }
    let gaussian = |stream: &str, i: usize, n: usize| {
        let mut x = vec![0.0; n];
        normal(&mut Seed(sampling.seed).stream(stream, i as u64), &mut x);
        x
    };
    let random = (0..sampling.points).map(|i| {
        let scale = [0.1, 0.5, 1.0, 3.0][i % 4];
        gaussian("lipschitz", i, net.inputs()).into_iter().map(|x| scale * x).collect()
    });
    let count = points.len().min(sampling.points);
    let given = (0..count).map(|i| points[i * points.len() / count].clone());
    let all: Vec<Vec<f64>> = given.chain(random).collect();
    // A point where an equilibrium is not found has no derivative to count.
    let look = |(i, x): (usize, Vec<f64>)| {
        let at = net.derivative(&x).ok()?;
        let v = at.back(&gaussian("outputs", i, net.outputs()));
        let (value, v) = steepest(&at, norm, v, GLANCE)?;
        Some((value, x, v))
    };
    let found: Vec<Found> = all.into_par_iter().enumerate().filter_map(look).collect();
    let closer = best(found, 10).into_par_iter().map(|f| again(net, norm, f, LOOK)).collect();
    let climbed = best(closer, 5).into_par_iter().map(|f| climb(net, norm, f, sampling.max_steps)).collect();
    let top = best(climbed, 1).into_iter().map(|f| again(net, norm, f, LAST).0);
    Ok(top.fold(0.0, f64::max) * (1.0 - 1e-12))
}

fn best(mut found: Vec<Found>, count: usize) -> Vec<Found> {
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.truncate(count);
    found
}

/// The same point, looked at longer.
fn again(net: &Network, norm: Norm, (value, x, v): Found, rounds: usize) -> Found {
    let found = net.derivative(&x).ok().and_then(|at| steepest(&at, norm, v.clone(), rounds));
    match found {
        Some((better, w)) if better > value => (better, x, w),
        _ => (value, x, v),
    }
}

/// Ascent: a step along the steepest direction or against it, kept if the derivative grows.
fn climb(net: &Network, norm: Norm, (mut value, mut x, mut v): Found, max_steps: usize) -> Found {
    let mut length = 1.0;
    for step in 0..max_steps {
        let sign = if step % 2 == 0 { length } else { -length };
        let y: Vec<f64> = x.iter().zip(&v).map(|(x, v)| x + sign * v).collect();
        match again(net, norm, (value, y, v.clone()), STEP) {
            (better, y, w) if better > value => (value, x, v) = (better, y, w),
            _ if step % 2 == 1 => length = if length < 1e-4 { 2.0 } else { 0.7 * length },
            _ => {}
        }
    }
    (value, x, v)
}

/// A direction of unit length that J stretches most, as far as `rounds` of an iteration from `v` find it, and by how
/// much; `None` if no derivative on the way is beyond doubt.
fn steepest(at: &Derivative<'_>, norm: Norm, v: Vec<f64>, rounds: usize) -> Option<(f64, Vec<f64>)> {
    let mut v = unit(v, norm);
    let mut best: Option<(f64, Vec<f64>)> = None;
    let mut last = 0.0;
    for round in 0..=rounds {
        let certain = at.certain(&v);
        let known = certain.is_some();
        let y = certain.unwrap_or_else(|| at.along(&v));
        let value = if norm == Norm::Linf { y.iter().map(|y| y.abs()).sum() } else { length(&y) };
        if !f64::is_finite(value) {
            break;
        }
        let next = (round < rounds && value > last * (1.0 + 1e-10))
            .then(|| at.back(&if norm == Norm::Linf { y.into_iter().map(f64::signum).collect() } else { y }));
        last = value;
        if known && best.as_ref().is_none_or(|b| value > b.0) {
            best = Some((value, v));
        }
        match next {
            Some(next) => v = unit(next, norm),
            None => break,
        }
    }
    best
}

/// Scaled to length 1 in the input's norm.
fn unit(v: Vec<f64>, norm: Norm) -> Vec<f64> {
    match norm {
        Norm::L2 => {
            // Squares of extreme numbers leave the range.
            let top = v.iter().fold(f64::MIN_POSITIVE, |a, v| a.max(v.abs()));
            let v: Vec<f64> = v.into_iter().map(|v| v / top).collect();
            let length = length(&v).max(f64::MIN_POSITIVE);
            v.into_iter().map(|v| v / length).collect()
        }
        _ => v.into_iter().map(|v| if v < 0.0 { -1.0 } else { 1.0 }).collect(),
    }
}

fn length(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}
