use thalweg_core::{Kind, LayerStats, Layered, Layout, MethodError, Objective, Problem};

/// Least squares of one linear unit with a bias, from 0: ½ the mean square of wᵀx + b − y.
#[derive(Clone, Debug)]
pub struct Regression {
    layout: Layout,
    rows: Vec<(Vec<f64>, f64)>,
}

impl Regression {
    /// On rows of inputs and target.
    pub fn new(rows: Vec<(Vec<f64>, f64)>) -> Self {
        let mut layout = Layout::default();
        layout.push("weight", &[1, rows[0].0.len()], Kind::Linear);
        layout.push("bias", &[1], Kind::Bias);
        Self { layout, rows }
    }

    /// y = x₁ − 2x₂ + 3 on 40 inputs far from 0, where plain gradients are slow.
    pub fn off_centre() -> Self {
        let input = |i: u32| [9.0 + f64::from(i).sin(), 7.0 + (2.0 * f64::from(i)).cos()];
        Self::new((0..40).map(input).map(|[x, y]| (vec![x, y], x - 2.0 * y + 3.0)).collect())
    }
}

impl Problem for Regression {}

impl Objective for Regression {
    type Scalar = f64;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn start(&mut self) -> Result<Vec<f64>, MethodError> {
        Ok(vec![0.0; self.layout.len()])
    }

    fn value_grad(&mut self, theta: &[f64], grad: &mut [f64]) -> Result<f64, MethodError> {
        self.value_grad_layers(theta, grad, false, &mut Vec::new())
    }
}

impl Layered for Regression {
    /// Means, no second moments.
    fn value_grad_layers(
        &mut self,
        theta: &[f64],
        grad: &mut [f64],
        _moments: bool,
        stats: &mut Vec<LayerStats>,
    ) -> Result<f64, MethodError> {
        grad.fill(0.0);
        let (n, d) = (self.rows.len() as f64, theta.len() - 1);
        let (mut value, mut mean) = (0.0, vec![0.0; d]);
        for (x, y) in &self.rows {
            let miss = x.iter().zip(theta).map(|(x, w)| w * x).sum::<f64>() + theta[d] - y;
            value += 0.5 * miss * miss / n;
            grad.iter_mut().zip(x.iter().chain([&1.0])).for_each(|(g, x)| *g += miss * x / n);
            mean.iter_mut().zip(x).for_each(|(m, x)| *m += x / n);
        }
        *stats = vec![LayerStats {
            weight: 0,
            bias: Some(1),
            groups: 1,
            positions: 1,
            rows: self.rows.len(),
            input_mean: mean,
            output_grad: vec![grad[d]],
            moments: None,
        }];
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_core::Objective;

    use super::Regression;
    use crate::{close, gradient};

    #[test]
    fn the_gradient_is_the_derivative() {
        let (mut problem, x, mut g) = (Regression::off_centre(), [0.3, -0.2, 0.9], [0.0; 3]);
        problem.value_grad(&x, &mut g).unwrap();
        close(&gradient(|x| problem.value_grad(x, &mut [0.0; 3]).unwrap(), &x, 1e-5), &g, 1e-8);
    }
}
