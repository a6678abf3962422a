use super::Smooth;

/// Σ 100 (x_{i+1} − x_i²)² + (1 − x_i)²: a curved valley with its floor at (1, …, 1), value 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rosenbrock;

impl Smooth for Rosenbrock {
    fn value(&self, x: &[f64]) -> f64 {
        x.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum()
    }

    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        grad.fill(0.0);
        let mut value = 0.0;
        for i in 0..x.len().saturating_sub(1) {
            let (miss, rest) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
            value += 100.0 * miss * miss + rest * rest;
            grad[i] += -400.0 * x[i] * miss - 2.0 * rest;
            grad[i + 1] += 200.0 * miss;
        }
        value
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        product.fill(0.0);
        for i in 0..x.len().saturating_sub(1) {
            let diagonal = 1200.0 * x[i] * x[i] - 400.0 * x[i + 1] + 2.0;
            product[i] += diagonal * z[i] - 400.0 * x[i] * z[i + 1];
            product[i + 1] += -400.0 * x[i] * z[i] + 200.0 * z[i + 1];
        }
        true
    }
}
