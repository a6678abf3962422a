use crate::{Layout, MethodError, Real, StopReason};

/// What every problem shares: it may depend on the step (the mini-batch, the dropout masks) and
/// may own state beside the iterate (running statistics). Both default to nothing.
///
/// Everything random in a problem is a function of `(seed, step)`, so that a resumed run sees the
/// same mini-batches; only what cannot be recomputed goes into [`Problem::save`].
pub trait Problem {
    /// Called once before each step: choose the mini-batch of step `t` (from 0).
    fn begin_step(&mut self, _t: u64) -> Result<(), MethodError> {
        Ok(())
    }

    /// Called once after each step: update running statistics.
    fn end_step(&mut self) -> Result<(), MethodError> {
        Ok(())
    }

    /// Called before the first and after each step with this process's reason to stop; returns
    /// everybody's, where several processes share the problem and their clocks differ.
    fn agree(&mut self, stop: Option<StopReason>) -> Result<Option<StopReason>, MethodError> {
        Ok(stop)
    }

    /// The problem's own state, for checkpoints.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes back what [`Problem::save`] gave.
    fn restore(&mut self, _saved: &[u8]) -> Result<(), MethodError> {
        Ok(())
    }
}

/// [`Problem`] of a wrapper whose field of that name is a problem: all of it is that one's.
#[macro_export]
macro_rules! forward_problem {
    ($field:ident) => {
        fn begin_step(&mut self, t: u64) -> Result<(), $crate::MethodError> {
            self.$field.begin_step(t)
        }
        fn end_step(&mut self) -> Result<(), $crate::MethodError> {
            self.$field.end_step()
        }
        fn agree(
            &mut self,
            stop: Option<$crate::StopReason>,
        ) -> Result<Option<$crate::StopReason>, $crate::MethodError> {
            self.$field.agree(stop)
        }
        fn save(&self) -> Vec<u8> {
            self.$field.save()
        }
        fn restore(&mut self, saved: &[u8]) -> Result<(), $crate::MethodError> {
            self.$field.restore(saved)
        }
    };
}

/// A differentiable objective over one flat buffer of `layout().len()` unknowns.
///
/// The three derivatives of one step (value, gradient, products) belong to the same mini-batch,
/// the same dropout masks and the same batch statistics; the fused call makes anything else
/// impossible.
pub trait Objective: Problem {
    /// The number type: `f32` for networks, `f64` for solvers.
    type Scalar: Real;

    /// The blocks of the unknowns.
    fn layout(&self) -> &Layout;

    /// Which unknowns are free to differ from 0, `[layout().len()]`; the others (pruned weights)
    /// have no gradient and every method keeps them at exactly 0. `None`: all are.
    fn mask(&self) -> Option<&[bool]> {
        None
    }

    /// The first iterate.
    fn start(&mut self) -> Result<Vec<Self::Scalar>, MethodError>;

    /// Value at `theta`; `grad` (same length) is overwritten by the gradient.
    fn value_grad(&mut self, theta: &[Self::Scalar], grad: &mut [Self::Scalar]) -> Result<f64, MethodError>;

    /// As [`Objective::value_grad`], and `products[i]` is overwritten by `H · probes[i]`.
    fn value_grad_hvp(
        &mut self,
        _theta: &[Self::Scalar],
        _grad: &mut [Self::Scalar],
        _probes: &[Vec<Self::Scalar>],
        _products: &mut [Vec<Self::Scalar>],
    ) -> Result<f64, MethodError> {
        Err(MethodError::NoCurvature)
    }

    /// Value alone, for line searches.
    fn value(&mut self, theta: &[Self::Scalar]) -> Result<f64, MethodError> {
        self.value_grad(theta, &mut vec![Self::Scalar::ZERO; theta.len()])
    }
}
