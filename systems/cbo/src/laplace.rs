//! The quantitative Laplace principle: what a Gaussian cloud sees of a function, and why a hop is a
//! proximal step.

use thalweg_core::{Seed, normal};

use crate::consensus::{Consensus, consensus};

/// Consensus and soft minimum of the cloud N(`mean`, `std`²) on (a/2)(x − x*)² with `a` ≥ 0, in one
/// dimension; both hold per dimension (the soft minima add).
///
/// Consensus (m/s² + αa x*) / (1/s² + αa), soft minimum
/// log(1 + αas²)/(2α) + (a/2)(m − x*)²/(1 + αas²).
pub fn quadratic(a: f64, minimizer: f64, mean: f64, std: f64, alpha: f64) -> (f64, f64) {
    let (precision, stretch) = (1.0 / (std * std), 1.0 + alpha * a * std * std);
    let point = (mean * precision + alpha * a * minimizer) / (precision + alpha * a);
    let offset = 0.5 * a * (mean - minimizer).powi(2) / stretch;
    (point, stretch.ln() / (2.0 * alpha) + offset)
}

/// Consensus and soft minimum of `f` under a cloud of `n` points from N(`mean`, `std`² I).
/// `None` if `f` is finite nowhere.
pub fn gaussian(
    f: &dyn Fn(&[f64]) -> f64,
    mean: &[f64],
    std: f64,
    alpha: f64,
    n: usize,
    seed: Seed,
) -> Option<Consensus> {
    let mut points = vec![0.0; n * mean.len()];
    normal(&mut seed.stream("cloud", 0), &mut points);
    for x in points.chunks_exact_mut(mean.len()) {
        x.iter_mut().zip(mean).for_each(|(x, m)| *x = m + std * *x);
    }
    let values: Vec<f64> = points.chunks_exact(mean.len()).map(f).collect();
    consensus(&points, mean.len(), &values, alpha)
}
