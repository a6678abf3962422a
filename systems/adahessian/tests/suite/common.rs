//! What the tests ask of the method.
use thalweg_adahessian::{AdaHessian, Moments};
use thalweg_core::{Layout, Method, Objective, Run, Seed, Stop};

/// The iterate after so many steps.
pub fn run<P: Objective + ?Sized>(method: &AdaHessian, problem: &mut P, steps: u64) -> Vec<P::Scalar> {
    Run::new(method, problem).seed(Seed(1)).stop(Stop::Steps(steps)).run().unwrap().solution
}

/// One update from nothing with a given gradient and signed diagonal.
pub fn update(method: &AdaHessian, layout: &Layout, theta: &mut [f64], g: &[f64], d: &[f64]) -> Moments<f64> {
    let mut moments = method.moments(layout).unwrap();
    method.update(layout, &mut moments, theta, g, Some(d)).unwrap();
    moments
}

/// Asserts that `method` is an error on `problem` and returns its one line.
pub fn refusal<P: Objective + ?Sized>(method: &AdaHessian, problem: &mut P) -> String
where
    AdaHessian: Method<P, Solution = Vec<P::Scalar>>,
{
    let error = Run::new(method, problem).stop(Stop::Steps(50)).run().expect_err("an error").to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}
