use thalweg_core::{LayerStats, Layered, Layout, MethodError, Objective, Problem, forward_problem};

use crate::descent::zero_masked;

/// A problem some of whose unknowns are held at exactly 0: pruned weights stay pruned whatever
/// the method does.
#[derive(Debug)]
pub struct Masked<'a, P: ?Sized> {
    problem: &'a mut P,
    mask: Vec<bool>,
}

impl<'a, P: Objective + ?Sized> Masked<'a, P> {
    /// `mask[i]` tells whether unknown `i` may differ from 0.
    pub fn new(problem: &'a mut P, mask: Vec<bool>) -> Result<Self, MethodError> {
        MethodError::check_length("the mask", mask.len(), problem.layout().len())?;
        Ok(Self { problem, mask })
    }
}

impl<P: Problem + ?Sized> Problem for Masked<'_, P> {
    forward_problem!(problem);
}

impl<P: Objective + ?Sized> Objective for Masked<'_, P> {
    type Scalar = P::Scalar;

    fn layout(&self) -> &Layout {
        self.problem.layout()
    }

    fn mask(&self) -> Option<&[bool]> {
        Some(&self.mask)
    }

    fn start(&mut self) -> Result<Vec<P::Scalar>, MethodError> {
        let mut theta = self.problem.start()?;
        zero_masked(&mut theta, Some(&self.mask));
        Ok(theta)
    }

    fn value_grad(&mut self, theta: &[P::Scalar], grad: &mut [P::Scalar]) -> Result<f64, MethodError> {
        let value = self.problem.value_grad(theta, grad)?;
        zero_masked(grad, Some(&self.mask));
        Ok(value)
    }

    fn value_grad_hvp(
        &mut self,
        theta: &[P::Scalar],
        grad: &mut [P::Scalar],
        probes: &[Vec<P::Scalar>],
        products: &mut [Vec<P::Scalar>],
    ) -> Result<f64, MethodError> {
        // The Hessian of the living unknowns alone: rows and columns of the others are 0.
        let mut probes = probes.to_vec();
        probes.iter_mut().for_each(|z| zero_masked(z, Some(&self.mask)));
        let value = self.problem.value_grad_hvp(theta, grad, &probes, products)?;
        zero_masked(grad, Some(&self.mask));
        products.iter_mut().for_each(|h| zero_masked(h, Some(&self.mask)));
        Ok(value)
    }

    fn value(&mut self, theta: &[P::Scalar]) -> Result<f64, MethodError> {
        self.problem.value(theta)
    }
}

impl<P: Layered + ?Sized> Layered for Masked<'_, P> {
    fn value_grad_layers(
        &mut self,
        theta: &[P::Scalar],
        grad: &mut [P::Scalar],
        moments: bool,
        stats: &mut Vec<LayerStats>,
    ) -> Result<f64, MethodError> {
        let value = self.problem.value_grad_layers(theta, grad, moments, stats)?;
        zero_masked(grad, Some(&self.mask));
        Ok(value)
    }
}
