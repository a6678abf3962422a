//! The Hessian's diagonal itself, for pictures and tests.

use thalweg_core::{MethodError, Objective, Real, Seed};

use crate::Probe;

/// Probes that share one pass, to bound memory.
const BATCH: usize = 16;

/// Hutchinson's estimate `mean_p z_p ⊙ Hz_p` at `theta` from `probes` probes, without spatial
/// averaging. Its standard error for ±1 probes is `√(Σ_{j≠i} H_ij² / probes)`.
pub fn estimated_diagonal<P: Objective + ?Sized>(
    problem: &mut P,
    theta: &[P::Scalar],
    probes: usize,
    probe: Probe,
    seed: Seed,
) -> Result<Vec<P::Scalar>, MethodError> {
    let layout = problem.layout().clone();
    diagonal(problem, theta, probes, 1.0 / probes as f64, |p, z| probe.draw(&layout, seed, p as u64, z))
}

/// The exact diagonal at `theta`, by one product with a unit vector per trainable unknown: for
/// small problems. Frozen unknowns get 0.
pub fn exact_diagonal<P: Objective + ?Sized>(
    problem: &mut P,
    theta: &[P::Scalar],
) -> Result<Vec<P::Scalar>, MethodError> {
    let trainable = problem.layout().blocks().iter().filter(|b| !b.frozen);
    let unknowns: Vec<usize> = trainable.flat_map(|b| b.range()).collect();
    diagonal(problem, theta, unknowns.len(), 1.0, |p, z| {
        z.fill(P::Scalar::ZERO);
        z[unknowns[p]] = P::Scalar::ONE;
    })
}

/// `scale · Σ_p z_p ⊙ Hz_p`, summed in double precision.
fn diagonal<P: Objective + ?Sized>(
    problem: &mut P,
    theta: &[P::Scalar],
    probes: usize,
    scale: f64,
    fill: impl Fn(usize, &mut [P::Scalar]),
) -> Result<Vec<P::Scalar>, MethodError> {
    let n = theta.len();
    let zeros = || vec![P::Scalar::ZERO; n];
    let (mut grad, mut sum) = (zeros(), vec![0.0; n]);
    let mut z: Vec<_> = (0..probes.min(BATCH)).map(|_| zeros()).collect();
    let mut products = z.clone();
    for first in (0..probes).step_by(BATCH) {
        let now = BATCH.min(probes - first);
        z[..now].iter_mut().enumerate().for_each(|(p, z)| fill(first + p, z));
        problem.value_grad_hvp(theta, &mut grad, &z[..now], &mut products[..now])?;
        for (z, hz) in z[..now].iter().zip(&products) {
            sum.iter_mut().zip(z.iter().zip(hz)).for_each(|(s, (z, hz))| *s += z.to_f64() * hz.to_f64());
        }
    }
    Ok(sum.into_iter().map(|s| P::Scalar::from_f64(scale * s)).collect())
}
