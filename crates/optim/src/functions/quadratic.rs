use thalweg_core::MethodError;
use thalweg_linalg::vector::dot_in_turn;

use super::Smooth;

/// ½ xᵀAx − bᵀx with a symmetric matrix A, row-major `[n, n]`.
#[derive(Clone, Debug)]
pub struct Quadratic {
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Quadratic {
    /// `a` is symmetric, row-major `[n, n]` where n is the length of `b`.
    ///
    /// # Errors
    /// A matrix of another size.
    pub fn new(a: Vec<f64>, b: Vec<f64>) -> Result<Self, MethodError> {
        MethodError::check_length("the matrix", a.len(), b.len() * b.len())?;
        Ok(Self { a, b })
    }

    /// ½ Σ h_i x_i².
    pub fn diagonal(h: &[f64]) -> Self {
        let n = h.len();
        let mut a = vec![0.0; n * n];
        (0..n).for_each(|i| a[i * n + i] = h[i]);
        Self { a, b: vec![0.0; n] }
    }
}

impl Smooth for Quadratic {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        self.hvp(x, x, grad);
        let mut value = 0.0;
        for i in 0..x.len() {
            value += x[i] * (0.5 * grad[i] - self.b[i]);
            grad[i] -= self.b[i];
        }
        value
    }

    fn hvp(&self, _x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        for (p, row) in product.iter_mut().zip(self.a.chunks_exact(z.len().max(1))) {
            *p = dot_in_turn(row, z);
        }
        true
    }
}
