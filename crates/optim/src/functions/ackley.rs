use std::f64::consts::{E, TAU};

use thalweg_linalg::vector::dot_in_turn as dot;

use super::Smooth;

/// 20 (1 − exp(−r/5)) + e − exp(mean cos 2πx_j) with the root mean square r of x: a funnel under waves, with
/// a kink at its bottom 0.
#[derive(Clone, Copy)]
pub(super) struct Ackley;

impl Ackley {
    /// r, exp(−r/5) and exp(mean cos 2πx).
    fn parts(x: &[f64]) -> [f64; 3] {
        let d = x.len() as f64;
        let r = (x.iter().map(|x| x * x).sum::<f64>() / d).sqrt();
        let cosines = x.iter().map(|x| (TAU * x).cos()).sum::<f64>() / d;
        [r, (-0.2 * r).exp(), cosines.exp()]
    }
}

impl Smooth for Ackley {
    fn value(&self, x: &[f64]) -> f64 {
        let [_, funnel, waves] = Self::parts(x);
        // In this order exactly 0 at 0.
        20.0 * (1.0 - funnel) + (E - waves)
    }

    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let ([r, funnel, waves], d) = (Self::parts(x), x.len() as f64);
        let pull = if r > 0.0 { 4.0 * funnel / (d * r) } else { 0.0 };
        for (g, x) in grad.iter_mut().zip(x) {
            *g = pull * x + waves * TAU * (TAU * x).sin() / d;
        }
        self.value(x)
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        let ([r, funnel, waves], d) = (Self::parts(x), x.len() as f64);
        let (pull, bend) = match r > 0.0 {
            // Along x the slope of the funnel changes with r, across it with the direction alone.
            true => {
                let along = dot(x, z) / (d * r * r);
                (4.0 * funnel / (d * r), -(0.8 * r + 4.0) * funnel / (d * r) * along)
            }
            false => (0.0, 0.0),
        };
        let turned = -TAU / d * x.iter().zip(z).map(|(x, z)| (TAU * x).sin() * z).sum::<f64>();
        for ((p, x), z) in product.iter_mut().zip(x).zip(z) {
            let (sin, cos) = (TAU * x).sin_cos();
            *p = pull * z + bend * x + waves * TAU / d * (turned * sin + TAU * cos * z);
        }
        true
    }
}
