use std::ops::Range;

use thalweg_core::{Kind, Layout, MethodError, Objective, Problem, Real};

/// c · ½ Σ h_i (θ_i² + coupling · θ_i θ_{i+1}) with a gradient that is disturbed in each step.
#[derive(Clone, Debug)]
pub struct Bowl<T> {
    /// The blocks.
    pub layout: Layout,
    /// Curvatures h.
    pub h: Vec<f64>,
    /// Coupling of neighbours.
    pub coupling: f64,
    /// Size of what is added to the gradient, another thing in each step.
    pub noise: f64,
    /// Factor c.
    pub scale: f64,
    /// What is not finite.
    pub bad: Option<Bad>,
    /// Hessian-vector products computed.
    pub products: u64,
    /// Where runs start.
    pub start: Vec<T>,
    /// The current step.
    pub t: u64,
}

/// Steps whose derivatives are poisoned, and the poisoned element; `None` poisons the value.
pub type Bad = (Range<u64>, Option<usize>);

impl<T: Real> Bowl<T> {
    /// Without coupling and noise.
    pub fn new(layout: Layout, h: Vec<f64>, start: &[f64]) -> Self {
        let start = start.iter().map(|&x| T::from_f64(x)).collect();
        Self { layout, h, coupling: 0.0, noise: 0.0, scale: 1.0, bad: None, products: 0, start, t: 0 }
    }

    /// One flat block.
    pub fn flat(h: &[f64], start: &[f64]) -> Self {
        Self::new(Layout::flat(h.len()), h.to_vec(), start)
    }

    /// The blocks of a small network, large enough for several pieces of parallel work.
    pub fn network() -> Self {
        let mut layout = Layout::default();
        layout.push("conv.weight", &[4, 3, 3, 3], Kind::Conv);
        layout.push("fc.weight", &[61, 700], Kind::Linear);
        layout.push("fc.bias", &[61], Kind::Bias);
        layout.push("fixed.weight", &[5, 3], Kind::Linear);
        layout.push("table", &[300, 7], Kind::Embedding);
        layout.set_frozen("fixed.weight", true);
        let n = layout.len();
        let h = (0..n).map(|i| 2.0 + (0.3 * i as f64).cos()).collect();
        let start: Vec<f64> = (0..n).map(|i| (0.7 * i as f64).sin()).collect();
        Self { coupling: 0.4, noise: 0.1, ..Self::new(layout, h, &start) }
    }

    fn apply(&self, x: &[T], y: &mut [T]) {
        for i in 0..x.len() {
            let mut sum = self.h[i] * x[i].to_f64();
            if i > 0 {
                sum += 0.5 * self.coupling * self.h[i - 1] * x[i - 1].to_f64();
            }
            if i + 1 < x.len() {
                sum += 0.5 * self.coupling * self.h[i] * x[i + 1].to_f64();
            }
            y[i] = T::from_f64(self.scale * sum);
        }
    }
}

impl<T: Real> Problem for Bowl<T> {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        self.t = t;
        Ok(())
    }
}

impl<T: Real> Objective for Bowl<T> {
    type Scalar = T;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn start(&mut self) -> Result<Vec<T>, MethodError> {
        Ok(self.start.clone())
    }

    fn value_grad(&mut self, theta: &[T], grad: &mut [T]) -> Result<f64, MethodError> {
        self.apply(theta, grad);
        let value = theta.iter().zip(&*grad).map(|(x, g)| 0.5 * x.to_f64() * g.to_f64()).sum();
        for (i, g) in grad.iter_mut().enumerate() {
            *g += T::from_f64(self.scale * self.noise * (1.3 * i as f64 + self.t as f64).sin());
        }
        match &self.bad {
            Some((steps, Some(i))) if steps.contains(&self.t) => grad[*i] = T::from_f64(f64::NAN),
            Some((steps, None)) if steps.contains(&self.t) => return Ok(f64::INFINITY),
            _ => {}
        }
        Ok(value)
    }

    fn value_grad_hvp(
        &mut self,
        theta: &[T],
        grad: &mut [T],
        probes: &[Vec<T>],
        products: &mut [Vec<T>],
    ) -> Result<f64, MethodError> {
        for (z, product) in probes.iter().zip(products) {
            self.apply(z, product);
            self.products += 1;
        }
        self.value_grad(theta, grad)
    }
}
