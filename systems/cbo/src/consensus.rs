//! The consensus point: a mean weighted by exp(−αf), exact in floating point.

use thalweg_optim::blackbox::lowest;

/// Where a cloud agrees to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Consensus {
    /// The weighted mean, `[dim]`.
    pub point: Vec<f64>,
    /// Effective sample size (Σw)² / Σw², from 1 to the number of points.
    pub ess: f64,
    /// The soft minimum −(1/α) log mean exp(−αf).
    pub softmin: f64,
    /// The best of the points; the first one of several.
    pub best: usize,
}

/// The consensus of `points` (`[n, dim]`, row by row) with `values` (`[n]`) at the inverse
/// temperature `alpha`: 0 gives the mean, infinity the best point (ties are averaged).
///
/// NaN and +∞ weigh nothing; `None` if nothing is left. Weights are relative to the best value, so
/// that neither the scale nor the offset of `values` can overflow them, and the sum is relative to
/// the best point, which keeps the last bits of a small cloud far from 0.
pub fn consensus(points: &[f64], dim: usize, values: &[f64], alpha: f64) -> Option<Consensus> {
    let best = lowest(values)?;
    let (low, base) = (values[best], &points[best * dim..(best + 1) * dim]);
    let (mut sum, mut squares, mut offset) = (0.0, 0.0, vec![0.0; dim]);
    for (x, &f) in points.chunks_exact(dim).zip(values) {
        let w = weight(f, low, alpha);
        if w > 0.0 {
            sum += w;
            squares += w * w;
            offset.iter_mut().zip(x).zip(base).for_each(|((o, x), b)| *o += w * (x - b));
        }
    }
    let point = base.iter().zip(&offset).map(|(b, o)| b + o / sum).collect();
    let softmin = softened(values, low, alpha, || sum);
    Some(Consensus { point, ess: sum * sum / squares, softmin, best })
}

/// The soft minimum −(1/α) log mean exp(−αf): the mean at α = 0, the minimum at α = ∞; `None`
/// without a finite value.
pub fn soft_minimum(values: &[f64], alpha: f64) -> Option<f64> {
    let low = values[lowest(values)?];
    Some(softened(values, low, alpha, || values.iter().map(|&f| weight(f, low, alpha)).sum()))
}

/// The soft minimum, given the smallest value and, where it is asked for, the sum of the weights.
fn softened(values: &[f64], low: f64, alpha: f64, weights: impl Fn() -> f64) -> f64 {
    let n = values.len() as f64;
    match alpha {
        0.0 => values.iter().sum::<f64>() / n,
        _ if alpha.is_infinite() || low.is_infinite() => low,
        _ => low - (weights() / n).ln() / alpha,
    }
}

/// The α at which the effective sample size is `ess`: it falls from the number of finite values to
/// that of the ties. Infinity if `ess` is not above the ties.
pub fn alpha_for_ess(values: &[f64], ess: f64) -> f64 {
    let Some(best) = lowest(values) else { return f64::INFINITY };
    let low = values[best];
    let finite = || values.iter().filter(|f| **f < f64::INFINITY);
    let worst = finite().fold(low, |w, f| w.max(*f));
    let ties = finite().filter(|f| **f == low).count();
    if ess <= ties as f64 || !(worst - low).is_normal() {
        return f64::INFINITY;
    }
    let size = |alpha: f64| {
        let (sum, squares) = finite().fold((0.0, 0.0), |(s, q), &f| {
            let w = weight(f, low, alpha);
            (s + w, q + w * w)
        });
        sum * sum / squares
    };
    // Between weights that are all equal and weights of the best alone.
    let gap = finite().filter(|f| **f > low).fold(worst, |g, f| g.min(*f)) - low;
    let (mut small, mut large) = ((1e-9 / (worst - low)).ln(), (750.0 / gap.max(f64::MIN_POSITIVE)).ln());
    for _ in 0..60 {
        let middle = 0.5 * (small + large);
        if size(middle.exp()) > ess { small = middle } else { large = middle }
    }
    (0.5 * (small + large)).exp()
}

fn weight(f: f64, low: f64, alpha: f64) -> f64 {
    if f == low || (alpha == 0.0 && f < f64::INFINITY) {
        1.0
    } else if f.is_nan() || alpha.is_infinite() {
        0.0
    } else {
        (-alpha * (f - low)).exp()
    }
}
