//! Objectives whose loss was scaled, as in training with short floating-point numbers.

use thalweg_core::{LayerStats, Layered, Layout, MethodError, Objective, Problem, Real, forward_problem};

/// An objective that computes `scale · f`, so that small derivatives do not underflow in short numbers
/// (Micikevicius et al., arXiv:1710.03740), seen as f by every method: values, gradients, Hessian-vector products
/// and layer statistics are divided by the scale. Where the scaled numbers overflow, methods skip the step.
///
/// ```
/// use thalweg_core::{Objective, Run, Stop};
/// use thalweg_optim::functions::{Function, Rosenbrock};
/// use thalweg_optim::{Lbfgs, Unscaled};
///
/// // A problem of yours that multiplies its loss by 1024 would be given with 1024.
/// let mut problem = Unscaled::new(Function::new(Rosenbrock, vec![-1.2, 1.0]), 1.0);
/// let outcome = Run::new(&Lbfgs::default(), &mut problem).stop(Stop::Tolerance(1e-8)).run()?;
/// assert!((outcome.solution[0] - 1.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Unscaled<P> {
    /// The objective with the scaled loss.
    pub problem: P,
    /// What its loss is multiplied by, positive.
    pub scale: f64,
}

impl<P> Unscaled<P> {
    /// `problem` computes `scale` times the loss.
    pub fn new(problem: P, scale: f64) -> Self {
        Self { problem, scale }
    }
}

impl<P: Problem> Problem for Unscaled<P> {
    forward_problem!(problem);
}

impl<P: Objective> Unscaled<P> {
    fn down(&self, x: &mut [P::Scalar]) {
        x.iter_mut().for_each(|x| *x = P::Scalar::from_f64(x.to_f64() / self.scale));
    }
}

impl<P: Objective> Objective for Unscaled<P> {
    type Scalar = P::Scalar;

    fn layout(&self) -> &Layout {
        self.problem.layout()
    }

    fn mask(&self) -> Option<&[bool]> {
        self.problem.mask()
    }

    fn start(&mut self) -> Result<Vec<P::Scalar>, MethodError> {
        self.problem.start()
    }

    fn value(&mut self, theta: &[P::Scalar]) -> Result<f64, MethodError> {
        Ok(self.problem.value(theta)? / self.scale)
    }

    fn value_grad(&mut self, theta: &[P::Scalar], grad: &mut [P::Scalar]) -> Result<f64, MethodError> {
        let value = self.problem.value_grad(theta, grad)?;
        self.down(grad);
        Ok(value / self.scale)
    }

    fn value_grad_hvp(
        &mut self,
        theta: &[P::Scalar],
        grad: &mut [P::Scalar],
        probes: &[Vec<P::Scalar>],
        products: &mut [Vec<P::Scalar>],
    ) -> Result<f64, MethodError> {
        let value = self.problem.value_grad_hvp(theta, grad, probes, products)?;
        self.down(grad);
        products.iter_mut().for_each(|product| self.down(product));
        Ok(value / self.scale)
    }
}

impl<P: Layered> Layered for Unscaled<P> {
    fn value_grad_layers(
        &mut self,
        theta: &[P::Scalar],
        grad: &mut [P::Scalar],
        moments: bool,
        stats: &mut Vec<LayerStats>,
    ) -> Result<f64, MethodError> {
        let value = self.problem.value_grad_layers(theta, grad, moments, stats)?;
        self.down(grad);
        for layer in stats {
            layer.output_grad.iter_mut().for_each(|x| *x /= self.scale);
            let moments = layer.moments.iter_mut().flat_map(|m| &mut m.output);
            moments.for_each(|x| *x /= self.scale * self.scale);
        }
        Ok(value / self.scale)
    }
}
