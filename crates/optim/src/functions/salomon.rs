use std::f64::consts::TAU;

use thalweg_linalg::vector::dot_in_turn as dot;

use super::Smooth;

/// 1 − cos 2πr + r/10 with r = |x|: rings, with a kink at their centre 0.
#[derive(Clone, Copy)]
pub(super) struct Salomon;

impl Smooth for Salomon {
    fn value(&self, x: &[f64]) -> f64 {
        let r = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        1.0 - (TAU * r).cos() + 0.1 * r
    }

    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let r = dot(x, x).sqrt();
        let slope = if r > 0.0 { (TAU * (TAU * r).sin() + 0.1) / r } else { 0.0 };
        grad.iter_mut().zip(x).for_each(|(g, x)| *g = slope * x);
        self.value(x)
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        let r = dot(x, x).sqrt();
        if r == 0.0 {
            product.fill(0.0);
            return true;
        }
        let (across, along) = ((TAU * (TAU * r).sin() + 0.1) / r, TAU * TAU * (TAU * r).cos());
        let share = (along - across) * dot(x, z) / (r * r);
        product.iter_mut().zip(x).zip(z).for_each(|((p, x), z)| *p = across * z + share * x);
        true
    }
}
