use super::Smooth;

/// 1 − Π cos(x_j/√j) + |x|²/4000, j from 1: a wide bowl under a product of waves.
#[derive(Clone, Copy)]
pub(super) struct Griewank;

/// Cosines and, for the slopes, sines over √j.
fn waves(x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let root = |j: usize| (j as f64 + 1.0).sqrt();
    x.iter().enumerate().map(|(j, x)| ((x / root(j)).cos(), (x / root(j)).sin() / root(j))).unzip()
}

impl Smooth for Griewank {
    fn value(&self, x: &[f64]) -> f64 {
        let product: f64 = x.iter().enumerate().map(|(j, x)| (x / (j as f64 + 1.0).sqrt()).cos()).product();
        1.0 - product + x.iter().map(|x| x * x).sum::<f64>() / 4000.0
    }

    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let (cos, sin) = waves(x);
        // Products of all cosines but one, from those before it and those behind it.
        let mut before = 1.0;
        for (g, c) in grad.iter_mut().zip(&cos) {
            *g = before;
            before *= c;
        }
        let mut behind = 1.0;
        for j in (0..x.len()).rev() {
            grad[j] = grad[j] * behind * sin[j] + x[j] / 2000.0;
            behind *= cos[j];
        }
        self.value(x)
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        let (cos, sin) = waves(x);
        let all: f64 = cos.iter().product();
        for j in 0..x.len() {
            // The product of the other cosines, and minus its derivative along z.
            let (mut others, mut slope) = (1.0, 0.0);
            for k in (0..x.len()).filter(|k| *k != j) {
                slope = slope * cos[k] + others * sin[k] * z[k];
                others *= cos[k];
            }
            product[j] = (all / (j as f64 + 1.0) + 1.0 / 2000.0) * z[j] - sin[j] * slope;
        }
        true
    }
}
