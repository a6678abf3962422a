use std::f64::consts::TAU;

use super::Smooth;

/// Σ x_i² + A (1 − cos 2πx_i): a bowl full of local minima; the global one is 0, value 0.
#[derive(Clone, Copy, Debug)]
pub struct Rastrigin {
    /// Height A of the waves. Default 10; papers on consensus-based optimisation take 2.5.
    pub amplitude: f64,
}

impl Default for Rastrigin {
    fn default() -> Self {
        Self { amplitude: 10.0 }
    }
}

impl Smooth for Rastrigin {
    fn value(&self, x: &[f64]) -> f64 {
        x.iter().map(|x| x * x + self.amplitude * (1.0 - (TAU * x).cos())).sum()
    }

    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let a = self.amplitude;
        for (g, x) in grad.iter_mut().zip(x) {
            *g = 2.0 * x + a * TAU * (TAU * x).sin();
        }
        x.iter().map(|x| a + x * x - a * (TAU * x).cos()).sum()
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        for ((p, x), z) in product.iter_mut().zip(x).zip(z) {
            *p = (2.0 + self.amplitude * TAU * TAU * (TAU * x).cos()) * z;
        }
        true
    }
}
