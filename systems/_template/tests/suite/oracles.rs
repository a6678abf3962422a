//! Closed forms, brute force, finite differences, a general solver: what the result must be.

use thalweg_core::{Run, Stop};
use thalweg_optim::functions::{Function, Rosenbrock};
use thalweg_template::Template;
use thalweg_template::baselines::Fixed;

#[test]
fn the_minimum_of_a_quadratic_is_found() {
    let quadratic = |x: &[f64], grad: &mut [f64]| {
        grad.copy_from_slice(&[x[0] - 1.0, 4.0 * (x[1] + 2.0)]);
        0.5 * (x[0] - 1.0).powi(2) + 2.0 * (x[1] + 2.0).powi(2)
    };
    let mut problem = Function::new(quadratic, vec![0.0, 0.0]);
    let ours = Run::new(&Template::default(), &mut problem).stop(Stop::Tolerance(1e-9)).run().unwrap();
    assert!((ours.solution[0] - 1.0).abs() < 1e-8 && (ours.solution[1] + 2.0).abs() < 1e-8);
    let theirs = Run::new(&Fixed::default(), &mut problem).stop(Stop::Steps(300)).run().unwrap();
    assert!((theirs.solution[0] - ours.solution[0]).abs() < 1e-8);
}

#[test]
fn the_value_never_rises() {
    let mut problem = Function::new(Rosenbrock, vec![-1.2, 1.0]);
    let values: Vec<f64> = (1..20)
        .map(|steps| {
            let run = Run::new(&Template::default(), &mut problem).stop(Stop::Steps(steps)).run();
            run.unwrap().progress.value
        })
        .collect();
    assert!(values.windows(2).all(|w| w[1] <= w[0]), "{values:?}");
}
