//! AdaHessian: adaptive training with the diagonal of the Hessian.
//!
//! It is Adam with the squared gradient in the denominator replaced by the square of the
//! spatially averaged diagonal of the Hessian, estimated at each step from one Hessian-vector
//! product with a random ±1 vector. For networks that want less tuning of the learning rate than
//! SGD or Adam need, and for any objective with `value_grad_hvp`.
//!
//! Z. Yao, A. Gholami, S. Shen, M. Mustafa, K. Keutzer, M. W. Mahoney, *ADAHESSIAN: An Adaptive
//! Second Order Optimizer for Machine Learning*, AAAI 2021, arXiv:2006.00719.
//!
//! ```
//! use thalweg_adahessian::AdaHessian;
//! use thalweg_core::{Run, Seed, Stop};
//! use thalweg_optim::functions::{Function, Rosenbrock};
//!
//! let mut problem = Function::new(Rosenbrock, vec![-1.2, 1.0]);
//! let method = AdaHessian { lr: 0.15, ..AdaHessian::default() };
//! let outcome = Run::new(&method, &mut problem).seed(Seed(1)).stop(Stop::Tolerance(1e-8)).run()?;
//! assert!(outcome.solution.iter().all(|x| (x - 1.0).abs() < 1e-6));
//! # Ok::<(), thalweg_core::RunError>(())
//! ```
//!
//! **Which rate?** Adam's does not carry over. Start at 0.15 and let it decay; 0.01 to 0.05
//! without averaging or with [`Average::Signed`]. **Gradient accumulation:** add up the products
//! `Hz` of all micro-batches with the same z, then multiply by z. **Loss scaling:** unscale `Hz`
//! before it is squared. **Data parallel:** the same z everywhere, average `Hz`.
#![forbid(unsafe_code)]

mod average;
mod diagnostics;
mod group;
mod kernel;
mod method;
mod probe;
mod state;

pub use average::{Average, BlockRule, BlockRules, average};
pub use diagnostics::{estimated_diagonal, exact_diagonal};
pub use group::Group;
pub use method::{AdaHessian, Update};
pub use probe::Probe;
pub use state::{Moments, State};
