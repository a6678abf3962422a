//! The paper's theorem: the proximal scheme that hopping approximates, and the parts in which a hop differs
//! from a gradient step.

use rayon::prelude::*;
use thalweg_core::{Run, RunError, Seed, Stop, normal};
use thalweg_optim::{Lbfgs, functions::Function};

use crate::laplace;

/// A function to look at; thread-safe.
pub type Map<'a> = &'a (dyn Fn(&[f64]) -> f64 + Sync);

/// Central differences of step 1e-5.
pub fn gradient(f: Map<'_>, x: &[f64]) -> Vec<f64> {
    const H: f64 = 1e-5;
    let mut x = x.to_vec();
    (0..x.len())
        .map(|j| {
            let middle = x[j];
            let mut at = |shift: f64| {
                x[j] = middle + shift;
                f(&x)
            };
            let slope = (at(H) - at(-H)) / (2.0 * H);
            x[j] = middle;
            slope
        })
        .collect()
}

/// The proximal (minimising-movement) step argmin f(y) + |y − x|²/(2τ), by L-BFGS from x, from the
/// gradient step and from points around.
///
/// # Errors
/// A run of L-BFGS that fails.
pub fn proximal(f: Map<'_>, x: &[f64], tau: f64) -> Result<Vec<f64>, RunError> {
    let value = |y: &[f64]| f(y) + y.iter().zip(x).map(|(y, x)| (y - x).powi(2)).sum::<f64>() / (2.0 * tau);
    let explicit: Vec<f64> = x.iter().zip(gradient(f, x)).map(|(x, g)| x - tau * g).collect();
    let mut starts = vec![x.to_vec(), explicit];
    for j in 0..x.len() {
        for side in [-1.0, 1.0] {
            let mut start = x.to_vec();
            start[j] += side * tau.sqrt();
            starts.push(start);
        }
    }
    let lbfgs = Lbfgs::default();
    let mut best = (f64::INFINITY, x.to_vec());
    for start in starts {
        let smooth = |y: &[f64], grad: &mut [f64]| {
            grad.copy_from_slice(&gradient(f, y));
            grad.iter_mut().zip(y).zip(x).for_each(|((g, y), x)| *g += (y - x) / tau);
            value(y)
        };
        let mut problem = Function::new(smooth, start);
        let run = Run::new(&lbfgs, &mut problem).stop(Stop::Steps(60)).stop(Stop::Tolerance(1e-9));
        let end = run.run()?.solution;
        let reached = value(&end);
        if reached < best.0 {
            best = (reached, end);
        }
    }
    Ok(best.1)
}

/// In which parts a hop from x with τ = ασ̃² differs from the gradient step x − τ∇f(x).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perturbation {
    /// Hop minus its limit for infinitely many points.
    pub monte_carlo: f64,
    /// That limit minus the proximal step: α is finite.
    pub laplace: f64,
    /// Proximal minus gradient step: implicit against explicit.
    pub implicit: f64,
    /// Hop minus gradient step.
    pub total: f64,
}

/// The parts at `x`, as Euclidean lengths; none where `f` has no value around.
///
/// # Errors
/// A run of L-BFGS that fails.
pub fn perturbation(
    f: Map<'_>,
    x: &[f64],
    tau: f64,
    alpha: f64,
    particles: usize,
    seed: Seed,
) -> Result<Option<Perturbation>, RunError> {
    let width = (tau / alpha).sqrt();
    let prox = proximal(f, x, tau)?;
    let explicit: Vec<f64> = x.iter().zip(gradient(f, x)).map(|(x, g)| x - tau * g).collect();
    let limit = limit(f, x, &prox, tau, alpha, seed);
    let Some(hop) = laplace::gaussian(f, x, width, alpha, particles, seed) else { return Ok(None) };
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    Ok(Some(Perturbation {
        monte_carlo: distance(&hop.point, &limit),
        laplace: distance(&limit, &prox),
        implicit: distance(&prox, &explicit),
        total: distance(&hop.point, &explicit),
    }))
}

/// The consensus of infinitely many points: the mean of exp(−α[f(y) + |y − x|²/(2τ)]), by importance
/// sampling around the proximal point, in pairs that cancel what is odd.
fn limit(f: Map<'_>, x: &[f64], prox: &[f64], tau: f64, alpha: f64, seed: Seed) -> Vec<f64> {
    const BLOCKS: u64 = 16;
    const PAIRS: usize = 4000;
    let (d, width) = (x.len(), (tau / alpha).sqrt());
    let square = |y: &[f64], z: &[f64]| y.iter().zip(z).map(|(y, z)| (y - z).powi(2)).sum::<f64>();
    let floor = f(prox) + square(prox, x) / (2.0 * tau);
    let block = |b: u64| {
        let mut xi = vec![0.0; PAIRS * d];
        normal(&mut seed.stream("limit", b), &mut xi);
        let (mut sum, mut offset) = (0.0, vec![0.0; d]);
        for xi in xi.chunks_exact(d) {
            for side in [width, -width] {
                let y: Vec<f64> = prox.iter().zip(xi).map(|(p, xi)| p + side * xi).collect();
                let energy = f(&y) + square(&y, x) / (2.0 * tau) - floor - square(&y, prox) / (2.0 * tau);
                let w = (-alpha * energy).exp();
                if w.is_finite() {
                    sum += w;
                    offset.iter_mut().zip(xi).for_each(|(o, xi)| *o += w * side * xi);
                }
            }
        }
        (sum, offset)
    };
    let blocks: Vec<(f64, Vec<f64>)> = (0..BLOCKS).into_par_iter().map(block).collect();
    let total: f64 = blocks.iter().map(|b| b.0).sum();
    (0..d).map(|j| prox[j] + blocks.iter().map(|b| b.1[j]).sum::<f64>() / total).collect()
}
