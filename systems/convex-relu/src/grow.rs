//! Pattern growth: which activation patterns would lower the optimum.

use rand::RngExt;
use rayon::prelude::*;
use thalweg_core::{Seed, normal};

use crate::certificate::Certified;
use crate::cone::Cone;
use crate::samples::{dot, norm};
use crate::{ConvexError, Patterns, Program, exact};

/// Moves from cell to cell at most in one search.
const MOVES: usize = 200;

/// Patterns beyond those of the program with |θᵀ(Xu)₊| > β(1 + `tol`) at some unit u: each can lower
/// the optimum. Searches from `tries` random directions: solve the cone problem of the pattern, flip
/// the sign of a tight sample to step into the neighbour cell, as long as the value rises.
///
/// None found is no proof that there is none; only [`Patterns::all`] is.
///
/// # Errors
/// θ of another length.
pub fn separate(
    program: &Program,
    theta: &[f64],
    tries: u64,
    tol: f64,
    seed: Seed,
) -> Result<Patterns, ConvexError> {
    ConvexError::check("entries of theta of one output", theta.len(), program.samples().n())?;
    let samples = program.samples();
    let search = |i: u64| {
        let mut rng = seed.stream("grow", i);
        let mut u = vec![0.0; samples.d()];
        normal(&mut rng, &mut u);
        let sign = if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let mut on: Vec<f64> = samples.times(&u).iter().map(|h| f64::from(u8::from(*h >= 0.0))).collect();
        let (mut value, mut best) = reach(program, theta, sign, &on);
        for _ in 0..MOVES {
            let heights = samples.times(&best);
            let tight: Vec<usize> = (0..samples.n())
                .filter(|&k| heights[k].abs() <= 1e-9 * norm(&best) * norm(samples.row(k)))
                .collect();
            if tight.is_empty() {
                break;
            }
            let start = rng.random_range(0..tight.len());
            let step = (0..tight.len()).map(|t| tight[(start + t) % tight.len()]).find_map(|k| {
                let mut next = on.clone();
                next[k] = 1.0 - next[k];
                let (raised, point) = reach(program, theta, sign, &next);
                (raised > value * (1.0 + 1e-9)).then_some((raised, point, next))
            });
            match step {
                Some((raised, point, next)) => (value, best, on) = (raised, point, next),
                None => break,
            }
        }
        (value > program.beta() * (1.0 + tol)).then_some(on)
    };
    let found: Vec<Option<Vec<f64>>> = (0..tries).into_par_iter().map(search).collect();
    let mut patterns = program.patterns().clone();
    let mut more = false;
    for on in found.into_iter().flatten() {
        more |= patterns.add(&on.iter().map(|on| on - 0.5).collect::<Vec<_>>());
    }
    Ok(if more { patterns.listed() } else { patterns })
}

/// max σθᵀ(Xu)₊ over ‖u‖ ≤ 1 in the cone of `on`, and −u times that value.
pub(crate) fn reach(program: &Program, theta: &[f64], sign: f64, on: &[f64]) -> (f64, Vec<f64>) {
    let samples = program.samples();
    let mut c = vec![0.0; samples.d()];
    let active = theta.iter().zip(on).zip(samples.rows()).filter(|((_, on), _)| **on != 0.0);
    active.for_each(|((theta, _), x)| crate::samples::add(&mut c, sign * theta, x));
    let norms: Vec<f64> = samples.rows().map(|x| dot(x, x).sqrt()).collect();
    Cone { samples, norms: &norms, pattern: on }.residual(&mut c, &mut Vec::new());
    (norm(&c), c)
}

/// Adds patterns found by [`separate`] and solves again, starting from what is there, for at most
/// `rounds` rounds, until `tries` searches find none or the program's time is up; the program with its new list.
///
/// # Errors
/// As [`exact::finish`].
pub fn grow(
    program: Program,
    start: Certified,
    rounds: u32,
    tries: u64,
    tol: f64,
    seed: Seed,
) -> Result<(Program, Certified), ConvexError> {
    let (mut program, mut now) = (program, start);
    for round in 0..rounds {
        let seed = Seed(seed.0.wrapping_add(u64::from(round)));
        let patterns = separate(&program, &now.certificate.theta, tries, tol, seed)?;
        if patterns.len() == program.patterns().len() || program.late() {
            break;
        }
        let longer = program.with_patterns(patterns)?;
        let length = longer.samples().d() * longer.columns();
        let mut start = now.clone();
        start.solution.v.resize(length, 0.0);
        start.solution.w.resize(length, 0.0);
        // The old bound does not hold for the longer list.
        start.certificate.dual_bound = f64::NEG_INFINITY;
        start.certificate.gap = f64::INFINITY;
        let better = exact::finish(&longer, &start, tol)?;
        if longer.late() && better.certificate.gap > now.certificate.gap {
            break; // the shorter list keeps its proof
        }
        (program, now) = (longer, better);
    }
    Ok((program, now))
}
