use thalweg_core::{Invalid, MethodError};
use thalweg_linalg::vector::dot_in_turn;

use super::Smooth;

/// Logistic regression: mean over the rows of log(1 + exp(−y xᵀw)) plus ½ λ ‖w‖².
#[derive(Clone, Debug)]
pub struct Logistic {
    x: Vec<f64>,
    y: Vec<f64>,
    lambda: f64,
    width: usize,
}

impl Logistic {
    /// `x` is row-major `[rows, width]`, `y` holds −1 or 1 per row, `lambda` ≥ 0.
    ///
    /// # Errors
    /// Features or labels of other lengths, no row, `lambda` below 0, or a label that is neither −1 nor 1.
    pub fn new(x: Vec<f64>, y: Vec<f64>, width: usize, lambda: f64) -> Result<Self, MethodError> {
        MethodError::check_length("the matrix of features", x.len(), y.len() * width)?;
        if x.is_empty() {
            return Err(MethodError::Empty);
        }
        Invalid::at_least_zero("lambda", lambda)?;
        let bad = y.iter().find(|y| y.abs() != 1.0);
        Invalid::check(bad.is_none(), "label", bad.unwrap_or(&0.0), "-1 or 1")?;
        Ok(Self { x, y, lambda, width })
    }

    /// Row, label, and its margin y xᵀw.
    fn rows<'a>(&'a self, w: &'a [f64]) -> impl Iterator<Item = (&'a [f64], f64, f64)> {
        let rows = self.x.chunks_exact(self.width).zip(&self.y);
        rows.map(move |(x, &y)| (x, y, y * dot_in_turn(x, w)))
    }
}

impl Smooth for Logistic {
    fn value_grad(&self, w: &[f64], grad: &mut [f64]) -> f64 {
        let n = self.y.len() as f64;
        let mut value = 0.5 * self.lambda * dot_in_turn(w, w);
        grad.iter_mut().zip(w).for_each(|(g, w)| *g = self.lambda * w);
        for (x, y, margin) in self.rows(w) {
            // log(1 + e^−m) without overflow for very wrong rows.
            value += ((-margin.abs()).exp().ln_1p() + (-margin).max(0.0)) / n;
            let pull = -y * sigmoid(-margin) / n;
            grad.iter_mut().zip(x).for_each(|(g, x)| *g += pull * x);
        }
        value
    }

    fn hvp(&self, w: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        let n = self.y.len() as f64;
        product.iter_mut().zip(z).for_each(|(p, z)| *p = self.lambda * z);
        for (x, _, margin) in self.rows(w) {
            let weight = sigmoid(margin) * sigmoid(-margin) * dot_in_turn(x, z) / n;
            product.iter_mut().zip(x).for_each(|(p, x)| *p += weight * x);
        }
        true
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
