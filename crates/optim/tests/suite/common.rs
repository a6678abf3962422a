//! A problem with the blocks of a small network and a gradient that depends on the step.
use thalweg_core::{Kind, Layout, MethodError, Objective, Problem, Real};

pub struct Blocks<T> {
    pub layout: Layout,
    pub noise: f64,
    t: u64,
    unit: std::marker::PhantomData<T>,
}

impl<T: Real> Blocks<T> {
    pub fn new(noise: f64) -> Self {
        let mut layout = Layout::default();
        layout.push("fc.weight", &[6, 4], Kind::Linear);
        layout.push("fc.bias", &[6], Kind::Bias);
        layout.push("conv.weight", &[4, 2, 3, 3], Kind::Conv);
        layout.push("fixed.weight", &[3, 3], Kind::Linear);
        layout.push("table", &[20_000, 2], Kind::Embedding);
        layout.push("head.weight", &[2, 5], Kind::Linear);
        layout.set_frozen("fixed.weight", true);
        Self { layout, noise, t: 0, unit: std::marker::PhantomData }
    }
}

impl<T> Problem for Blocks<T> {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        self.t = t;
        Ok(())
    }
}

impl<T: Real> Objective for Blocks<T> {
    type Scalar = T;
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn start(&mut self) -> Result<Vec<T>, MethodError> {
        Ok((0..self.layout.len()).map(|i| T::from_f64((i as f64 * 0.7).sin() + 0.1)).collect())
    }
    /// ½ Σ h_i x_i² with h_i in [1, 3], and noise in the gradient.
    fn value_grad(&mut self, theta: &[T], grad: &mut [T]) -> Result<f64, MethodError> {
        let mut value = 0.0;
        for (i, (x, g)) in theta.iter().zip(grad).enumerate() {
            let (x, h) = (x.to_f64(), 2.0 + (i as f64).cos());
            value += 0.5 * h * x * x;
            *g = T::from_f64(h * x + self.noise * (i as f64 * 1.3 + self.t as f64).sin());
        }
        for block in self.layout.blocks().iter().filter(|b| b.frozen) {
            assert!(!block.is_empty());
        }
        Ok(value)
    }
}
