//! Functions with gradient and exact Hessian-vector product, and any closure of yours, as objectives in
//! double precision. [`by_name`] has those with a known minimum, which can be shifted and rotated:
//!
//! | name | minimizer | box | derivatives |
//! |---|---|---|---|
//! | `sphere`, `ellipsoid`, `quartic` | 0 | ±5 | everywhere |
//! | `rosenbrock` (at least 2 unknowns) | (1, …, 1) | ±2.048 | everywhere |
//! | `rastrigin`, `rastrigin25` | 0 | ±5.12 | everywhere |
//! | `griewank` | 0 | ±600 | everywhere |
//! | `ackley` | 0 | ±32.768 | but at the minimizer |
//! | `salomon` | 0 | ±100 | but at the minimizer |
//! | `alpine` | 0 | ±10 | almost everywhere |
//! | `schwefel220` | 0 | ±100 | almost everywhere |
//! | `grandcanyon3`, `grandcanyon3noisy` (2 unknowns) | 0 | ±10 | first ones everywhere, second ones almost |
//!
//! ```
//! use thalweg_core::{Run, Stop};
//! use thalweg_optim::{Lbfgs, functions::{Function, Rosenbrock}};
//! let mut problem = Function::new(Rosenbrock, vec![-1.2, 1.0]);
//! let outcome = Run::new(&Lbfgs::default(), &mut problem).stop(Stop::Steps(100)).run()?;
//! assert!(outcome.solution.iter().all(|x| (x - 1.0).abs() < 1e-8));
//! # Ok::<(), thalweg_core::RunError>(())
//! ```

mod ackley;
mod canyon;
mod griewank;
mod logistic;
mod quadratic;
mod rastrigin;
mod rosenbrock;
mod salomon;
mod separable;
mod test_function;

use thalweg_core::{Layout, MethodError, Objective, Problem};

pub use logistic::Logistic;
pub use quadratic::Quadratic;
pub use rastrigin::Rastrigin;
pub use rosenbrock::Rosenbrock;
pub use test_function::{TestFunction, by_name, names};

/// A function of a vector that is differentiable, at least almost everywhere; where it is not, its gradient is
/// that of one side or 0. Closures `|x, grad| value` are one, without Hessian.
pub trait Smooth {
    /// Value at `x`. Its last bits may differ from those of [`Smooth::value_grad`].
    fn value(&self, x: &[f64]) -> f64 {
        self.value_grad(x, &mut vec![0.0; x.len()])
    }

    /// Value at `x`; overwrites `grad` (same length).
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64;

    /// Overwrites `product` by the Hessian at `x` times `z`; `false` if the function cannot.
    fn hvp(&self, _x: &[f64], _z: &[f64], _product: &mut [f64]) -> bool {
        false
    }
}

impl<F: Fn(&[f64], &mut [f64]) -> f64> Smooth for F {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        self(x, grad)
    }
}

type Standard = dyn Smooth + Send + Sync;

/// A [`Smooth`] function with a start: a problem.
#[derive(Clone, Debug)]
pub struct Function<F> {
    f: F,
    start: Vec<f64>,
    layout: Layout,
}

impl<F: Smooth> Function<F> {
    /// The problem of minimising `f` from `start`.
    pub fn new(f: F, start: Vec<f64>) -> Self {
        let layout = Layout::flat(start.len());
        Self { f, start, layout }
    }
}

impl<F> Problem for Function<F> {}

impl<F: Smooth> Objective for Function<F> {
    type Scalar = f64;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn start(&mut self) -> Result<Vec<f64>, MethodError> {
        Ok(self.start.clone())
    }

    fn value_grad(&mut self, theta: &[f64], grad: &mut [f64]) -> Result<f64, MethodError> {
        Ok(self.f.value_grad(theta, grad))
    }

    fn value_grad_hvp(
        &mut self,
        theta: &[f64],
        grad: &mut [f64],
        probes: &[Vec<f64>],
        products: &mut [Vec<f64>],
    ) -> Result<f64, MethodError> {
        for (z, product) in probes.iter().zip(products) {
            if !self.f.hvp(theta, z, product) {
                return Err(MethodError::NoCurvature);
            }
        }
        Ok(self.f.value_grad(theta, grad))
    }
}
