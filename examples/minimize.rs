//! The minimum of a rugged function by values alone, and of a smooth one by its gradients.
//!
//! `minimize` does what `thalweg minimize` does. A closure of yours needs no settings: it is a problem of its own.

use thalweg::cbo::{Auto, SearchProblem, Space};
use thalweg::core::{Run, Seed, Stop};
use thalweg::minimize::{Settings, minimize};
use thalweg::tasks::{Host, TaskError};

fn main() -> Result<(), TaskError> {
    let settings = Settings {
        function: Some("rastrigin".into()),
        dim: Some(10), // or the length of `start`, or of `sides`: the box
        target: Some(1e-3),
        runs: Some(4),
        seed: Some(1),
        ..Settings::default()
    };
    println!("{}", minimize(&settings, None, &Host::default())?.table().text());

    let settings = Settings {
        function: Some("rosenbrock".into()),
        start: vec![-1.2, 1.0],
        compare: Some(vec!["adahessian".into(), "adam".into(), "lbfgs".into()]),
        ..Settings::default()
    };
    println!("{}", minimize(&settings, None, &Host::default())?.table().text());

    // It may fail anywhere: a failure weighs nothing and is counted.
    let f = |x: &[f64]| if x[0] < 0.1 { f64::NAN } else { x[0] + 1.0 / x[0] + (x[1] - 3.0).abs() };
    let mut problem = SearchProblem::new(&Space::cube(2, -5.0, 5.0), &f);
    let auto = Auto::default();
    let run = Run::new(&auto, &mut problem).seed(Seed(1)).stop(Stop::Evaluations(5000));
    let found = run.run()?.solution;
    println!("{:?} at {:?}, {} failures", found.best_f, found.best_x, found.failures);
    Ok(())
}
