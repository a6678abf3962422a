//! Test functions with gradient and exact Hessian-vector product, and any closure of yours, as
//! objectives in double precision.
//!
//! ```
//! use thalweg_core::{Run, Stop};
//! use thalweg_optim::{Lbfgs, functions::{Function, Rosenbrock}};
//! let mut problem = Function::new(Rosenbrock, vec![-1.2, 1.0]);
//! let outcome = Run::new(&Lbfgs::default(), &mut problem).stop(Stop::Steps(100)).run()?;
//! assert!(outcome.solution.iter().all(|x| (x - 1.0).abs() < 1e-8));
//! # Ok::<(), thalweg_core::RunError>(())
//! ```

use std::f64::consts::TAU;

use thalweg_core::{Invalid, Layout, MethodError, Objective, Problem};
use thalweg_linalg::vector::dot_in_turn;

/// A smooth function of a vector. Closures `|x, grad| value` are one, without Hessian.
pub trait Smooth {
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

/// The function of that name (`rosenbrock`, `rastrigin`) as a problem, if there is one.
pub fn named(name: &str, start: Vec<f64>) -> Option<Box<dyn Objective<Scalar = f64>>> {
    match name {
        "rosenbrock" => Some(Box::new(Function::new(Rosenbrock, start))),
        "rastrigin" => Some(Box::new(Function::new(Rastrigin, start))),
        _ => None,
    }
}

/// Σ 100 (x_{i+1} − x_i²)² + (1 − x_i)²: a curved valley with its floor at (1, …, 1), value 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rosenbrock;

impl Smooth for Rosenbrock {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        grad.fill(0.0);
        let mut value = 0.0;
        for i in 0..x.len().saturating_sub(1) {
            let (miss, rest) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
            value += 100.0 * miss * miss + rest * rest;
            grad[i] += -400.0 * x[i] * miss - 2.0 * rest;
            grad[i + 1] += 200.0 * miss;
        }
        value
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        product.fill(0.0);
        for i in 0..x.len().saturating_sub(1) {
            let diagonal = 1200.0 * x[i] * x[i] - 400.0 * x[i + 1] + 2.0;
            product[i] += diagonal * z[i] - 400.0 * x[i] * z[i + 1];
            product[i + 1] += -400.0 * x[i] * z[i] + 200.0 * z[i + 1];
        }
        true
    }
}

/// Σ 10 + x_i² − 10 cos 2πx_i: a bowl full of local minima; the global one is 0, value 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rastrigin;

impl Smooth for Rastrigin {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        for (g, x) in grad.iter_mut().zip(x) {
            *g = 2.0 * x + 10.0 * TAU * (TAU * x).sin();
        }
        x.iter().map(|x| 10.0 + x * x - 10.0 * (TAU * x).cos()).sum()
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        for i in 0..x.len() {
            product[i] = (2.0 + 10.0 * TAU * TAU * (TAU * x[i]).cos()) * z[i];
        }
        true
    }
}

/// ½ xᵀAx − bᵀx with a symmetric matrix A, row-major `[n, n]`.
#[derive(Clone, Debug)]
pub struct Quadratic {
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Quadratic {
    /// `a` is symmetric, row-major `[n, n]` where n is the length of `b`.
    pub fn new(a: Vec<f64>, b: Vec<f64>) -> Result<Self, MethodError> {
        MethodError::check_length("the matrix", a.len(), b.len() * b.len())?;
        Ok(Self { a, b })
    }

    /// ½ Σ h_i x_i².
    pub fn diagonal(h: &[f64]) -> Self {
        let n = h.len();
        let mut a = vec![0.0; n * n];
        (0..n).for_each(|i| a[i * n + i] = h[i]);
        Self { a, b: vec![0.0; n] }
    }
}

impl Smooth for Quadratic {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        self.hvp(x, x, grad);
        let mut value = 0.0;
        for i in 0..x.len() {
            value += x[i] * (0.5 * grad[i] - self.b[i]);
            grad[i] -= self.b[i];
        }
        value
    }

    fn hvp(&self, _x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        for (p, row) in product.iter_mut().zip(self.a.chunks_exact(z.len().max(1))) {
            *p = dot_in_turn(row, z);
        }
        true
    }
}

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
