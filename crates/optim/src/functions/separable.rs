//! Sums of a function of each coordinate.

use super::{Smooth, Standard};

/// Σ t(j, d, x_j) with the number of unknowns d; t gives value, slope and curvature.
pub(super) struct Separable<T>(T);

/// Σ x².
pub(super) static SPHERE: &Standard = &Separable(|_, _, x: f64| [x * x, 2.0 * x, 2.0]);

/// Σ 10^(6j/(d − 1)) x_j²: a bowl whose curvatures span six decades.
pub(super) static ELLIPSOID: &Standard = &Separable(|j, d, x: f64| {
    let scale = 10f64.powf(6.0 * j as f64 / (d as f64 - 1.0).max(1.0));
    [scale * x * x, 2.0 * scale * x, 2.0 * scale]
});

/// Σ x²/2 + x⁴/4.
pub(super) static QUARTIC: &Standard =
    &Separable(|_, _, x: f64| [0.5 * x * x + 0.25 * x.powi(4), x + x.powi(3), 1.0 + 3.0 * x * x]);

/// Σ |x sin x + x/10|: kinks where a term is 0.
pub(super) static ALPINE: &Standard = &Separable(|_, _, x: f64| {
    let inner = x * x.sin() + 0.1 * x;
    let side = sign(inner);
    [inner.abs(), side * (x.sin() + x * x.cos() + 0.1), side * (2.0 * x.cos() - x * x.sin())]
});

/// Schwefel 2.20, Σ |x|: a kink where a coordinate is 0.
pub(super) static SCHWEFEL220: &Standard = &Separable(|_, _, x: f64| [x.abs(), sign(x), 0.0]);

/// 0 at 0, which is the subgradient of |x| there that does not move.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

impl<T: Fn(usize, usize, f64) -> [f64; 3]> Separable<T> {
    fn terms(&self, x: &[f64]) -> impl Iterator<Item = [f64; 3]> {
        x.iter().enumerate().map(|(j, &x_j)| (self.0)(j, x.len(), x_j))
    }
}

impl<T: Fn(usize, usize, f64) -> [f64; 3]> Smooth for Separable<T> {
    fn value(&self, x: &[f64]) -> f64 {
        self.terms(x).map(|t| t[0]).sum()
    }

    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        grad.iter_mut().zip(self.terms(x)).for_each(|(g, t)| *g = t[1]);
        self.value(x)
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        product.iter_mut().zip(z).zip(self.terms(x)).for_each(|((p, z), t)| *p = t[2] * z);
        true
    }
}
