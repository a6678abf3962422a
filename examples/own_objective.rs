//! An objective of one's own: values and gradients for first-order methods, Hessian-vector products for AdaHessian.

use thalweg::adahessian::AdaHessian;
use thalweg::core::{Layout, MethodError, Objective, Problem, Run, Seed, Stop};
use thalweg::optim::Adam;

/// A chain of springs that is pulled at its ends: Σ ½ k (xᵢ₊₁ − xᵢ − 1)² + ¼ xᵢ⁴ / n.
struct Chain {
    layout: Layout,
}

impl Chain {
    fn new(n: usize) -> Self {
        Self { layout: Layout::flat(n) }
    }
}

impl Problem for Chain {}

impl Objective for Chain {
    type Scalar = f64;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn start(&mut self) -> Result<Vec<f64>, MethodError> {
        Ok(vec![0.0; self.layout.len()])
    }

    fn value_grad(&mut self, x: &[f64], grad: &mut [f64]) -> Result<f64, MethodError> {
        self.value_grad_hvp(x, grad, &[], &mut [])
    }

    fn value_grad_hvp(
        &mut self,
        x: &[f64],
        grad: &mut [f64],
        probes: &[Vec<f64>],
        products: &mut [Vec<f64>],
    ) -> Result<f64, MethodError> {
        let n = x.len() as f64;
        let mut value = 0.0;
        for (i, x) in x.iter().enumerate() {
            value += 0.25 * x.powi(4) / n;
            grad[i] = x.powi(3) / n;
            for (z, hz) in probes.iter().zip(products.iter_mut()) {
                hz[i] = 3.0 * x * x / n * z[i];
            }
        }
        for i in 1..x.len() {
            let stretch = x[i] - x[i - 1] - 1.0;
            value += 0.5 * stretch * stretch;
            grad[i] += stretch;
            grad[i - 1] -= stretch;
            for (z, hz) in probes.iter().zip(products.iter_mut()) {
                hz[i] += z[i] - z[i - 1];
                hz[i - 1] -= z[i] - z[i - 1];
            }
        }
        Ok(value)
    }
}

fn main() -> Result<(), thalweg::core::RunError> {
    // Nothing is averaged over blocks here, and a single probe may see no curvature in a chain: several.
    let adahessian = AdaHessian { lr: 1.0, probes: 8, ..AdaHessian::default() };
    let adam = Adam { lr: 0.1, ..Adam::default() };
    let stop = Stop::Tolerance(1e-4);
    let mut problem = Chain::new(20);
    let ours = Run::new(&adahessian, &mut problem).seed(Seed(1)).stop(stop).stop(Stop::Steps(5000)).run()?;
    let theirs = Run::new(&adam, &mut Chain::new(20)).stop(stop).stop(Stop::Steps(5000)).run()?;
    println!("AdaHessian {:.6} after {} steps: {}", ours.progress.value, ours.steps, ours.why());
    println!("Adam       {:.6} after {} steps: {}", theirs.progress.value, theirs.steps, theirs.why());
    Ok(())
}
