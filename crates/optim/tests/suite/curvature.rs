//! L-BFGS, the test functions and the guard.

use proptest::prelude::*;
use thalweg_core::{Iterate, Layout, Method, Objective, Run, RunError, Seed, Stop, StopReason};
use thalweg_optim::functions::{Function, Logistic, Quadratic, Rastrigin, Rosenbrock, Smooth, by_name};
use thalweg_optim::{Adam, Guard, Lbfgs};
use thalweg_testing::{Bowl, close, product, slope};

use crate::common::blocks;

fn logistic() -> Logistic {
    let x: Vec<f64> = (0..60).map(|i| (i as f64 * 0.9).sin() + 0.2 * (i % 3) as f64).collect();
    let y = (0..20).map(|i| if (i * 7) % 5 < 2 { 1.0 } else { -1.0 }).collect();
    Logistic::new(x, y, 3, 0.05).unwrap()
}

fn quadratic() -> Quadratic {
    Quadratic::new(vec![2.0, 1.0, 0.0, 1.0, 3.0, -1.0, 0.0, -1.0, 1.5], vec![1.0, 2.0, 3.0]).unwrap()
}

/// Gradient against differences of values, product against differences of gradients, symmetry.
fn derivatives_agree(f: &dyn Smooth, x: &[f64], u: &[f64], v: &[f64]) {
    let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let value = |x: &[f64]| f.value_grad(x, &mut vec![f64::NAN; x.len()]);
    let gradient = |x: &[f64]| {
        let mut grad = vec![f64::NAN; x.len()];
        f.value_grad(x, &mut grad);
        grad
    };
    let hvp = |z: &[f64]| {
        let mut p = vec![f64::NAN; z.len()];
        assert!(f.hvp(x, z, &mut p));
        p
    };
    let (slope, exact) = (slope(value, x, u, 1e-5), inner(&gradient(x), u));
    assert!((slope - exact).abs() <= 1e-5 * (1.0 + exact.abs() + value(x).abs()), "{slope} {exact}");
    let (hu, hv) = (hvp(u), hvp(v));
    close(&product(gradient, x, u, 1e-5), &hu, 1e-4);
    let (a, b) = (inner(v, &hu), inner(u, &hv));
    assert!((a - b).abs() <= 1e-10 * (1.0 + a.abs()), "{a} {b}");
}

proptest! {
    #[test]
    fn test_functions_have_true_derivatives(v in prop::collection::vec(-1.5..1.5f64, 9)) {
        let (x, u, z) = (&v[..3], &v[3..6], &v[6..]);
        derivatives_agree(&Rosenbrock, x, u, z);
        derivatives_agree(&Rastrigin::default(), x, u, z);
        derivatives_agree(&quadratic(), x, u, z);
        derivatives_agree(&logistic(), x, u, z);
    }
}

#[test]
fn rosenbrock_has_its_textbook_derivatives() {
    let mut problem = Function::new(by_name("rosenbrock", 2).unwrap(), vec![-1.2, 1.0]);
    let (mut grad, mut products) = (vec![0.0; 2], vec![vec![0.0; 2]; 2]);
    let probes = [vec![1.0, 1.0], vec![1.0, -1.0]];
    let value = problem.value_grad_hvp(&[-1.2, 1.0], &mut grad, &probes, &mut products).unwrap();
    let close = |a: &[f64], b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!((value - 24.2).abs() < 1e-12 && close(&grad, [-215.6, -88.0]), "{value} {grad:?}");
    assert!(close(&products[0], [1810.0, 680.0]) && close(&products[1], [850.0, 280.0]), "{products:?}");
    let said = by_name("himmelblau", 2).unwrap_err().to_string();
    assert!(said.contains("himmelblau") && said.contains("rastrigin"), "{said}");
}

#[test]
fn lbfgs_solves_rosenbrock() {
    for (n, steps) in [(2, 60), (10, 120), (100, 700)] {
        let start = (0..n).map(|i| if i % 2 == 0 { -1.2 } else { 1.0 }).collect();
        let mut problem = Function::new(Rosenbrock, start);
        let method = Lbfgs::default();
        let run = Run::new(&method, &mut problem).stop(Stop::Steps(steps));
        let out = run.run().unwrap();
        assert_eq!(out.stopped_because, StopReason::Converged, "n = {n}: {:?}", out.progress);
        assert!(out.progress.metric("stalled").is_none(), "n = {n}");
        assert!(out.progress.metric("grad_max").unwrap() <= 1e-8);
        if n == 2 {
            assert!(out.solution.iter().all(|x| (x - 1.0).abs() < 1e-8), "{:?}", out.solution);
        }
        assert!(out.evaluations < 2 * out.steps + 20, "{} evaluations, {} steps", out.evaluations, out.steps);
    }
}

#[test]
fn lbfgs_solves_quadratics_and_logistic_regression() {
    let method = Lbfgs { tolerance: 1e-10, ..Lbfgs::default() };
    let mut problem = Function::new(quadratic(), vec![5.0, -3.0, 8.0]);
    let x = Run::new(&method, &mut problem).stop(Stop::Steps(50)).run().unwrap().solution;
    // A x = b by Cramer’s rule: x = (−5, 21, 36)/11.
    for (x, expected) in x.iter().zip([-5.0 / 11.0, 21.0 / 11.0, 36.0 / 11.0]) {
        assert!((x - expected).abs() < 1e-8, "{x} {expected}");
    }
    let mut problem = Function::new(logistic(), vec![0.0; 3]);
    let out = Run::new(&method, &mut problem).stop(Stop::Steps(50)).run().unwrap();
    assert_eq!(out.stopped_because, StopReason::Converged);
    assert!(out.progress.metric("stalled").is_none() && out.progress.value < 2f64.ln());
}

#[test]
fn every_step_of_lbfgs_satisfies_the_strong_wolfe_conditions() {
    for (c1, c2) in [(1e-4, 0.9), (1e-3, 0.1)] {
        let mut problem = Function::new(Rosenbrock, vec![-1.2, 1.0, 0.5, -0.7]);
        let method = Lbfgs { c1, c2, tolerance: 1e-5, max_evaluations: 60, ..Lbfgs::default() };
        let mut state = method.init(&mut problem, Seed(0)).unwrap();
        let mut at = |x: &[f64]| {
            let mut g = vec![0.0; 4];
            (problem.value_grad(x, &mut g).unwrap(), g)
        };
        let mut before = state.theta().to_vec();
        let mut evaluate = Function::new(Rosenbrock, before.clone());
        let mut converged = false;
        while !converged {
            converged = method.step(&mut evaluate, &mut state).unwrap().converged;
            let ((f0, g0), (f1, g1)) = (at(&before), at(state.theta()));
            let along = |g: &[f64]| (0..4).map(|i| g[i] * (state.theta()[i] - before[i])).sum::<f64>();
            let (d0, d1) = (along(&g0), along(&g1));
            assert!(d0 < 0.0 && f1 <= f0 + c1 * d0 && d1.abs() <= -c2 * d0, "{f0} {f1} {d0} {d1}");
            before = state.theta().to_vec();
        }
        assert!(at(&before).0 < 1e-8 || at(&before).1.iter().all(|g| g.abs() <= 1e-5));
    }
}

#[test]
fn lbfgs_works_in_single_precision_and_leaves_frozen_blocks() {
    let mut problem = blocks::<f32>(0.0);
    let start = problem.start().unwrap();
    let method = Lbfgs { tolerance: 1e-5, ..Lbfgs::default() };
    let out = Run::new(&method, &mut problem).stop(Stop::Steps(100)).run().unwrap();
    assert_eq!(out.stopped_because, StopReason::Converged);
    for block in problem.layout.blocks() {
        for i in block.range() {
            let x = out.solution[i];
            assert!(if block.frozen { x == start[i] } else { x.abs() < 1e-4 }, "{} {x}", block.name);
        }
    }
}

#[test]
fn lbfgs_stops_where_there_is_no_better_point() {
    // |x| has no small gradient near its minimum: no tolerance can be met.
    let abs = |x: &[f64], g: &mut [f64]| {
        g[0] = if x[0] >= 0.0 { 1.0 } else { -1.0 };
        x[0].abs()
    };
    let mut problem = Function::new(abs, vec![0.7]);
    let out = Run::new(&Lbfgs::default(), &mut problem).stop(Stop::Steps(2000)).run().unwrap();
    assert!(out.solution[0].abs() < 1e-6, "{out:?}");
    // log x is −∞ at 0 and undefined below: the search must stay where numbers are.
    let barrier = |x: &[f64], g: &mut [f64]| {
        g[0] = 1.0 - 1.0 / x[0];
        x[0] - x[0].ln()
    };
    let mut problem = Function::new(barrier, vec![8.0]);
    let out = Run::new(&Lbfgs::default(), &mut problem).stop(Stop::Steps(100)).run().unwrap();
    assert!((out.solution[0] - 1.0).abs() < 1e-7, "{out:?}");
}

#[test]
fn non_finite_steps_are_skipped_and_ten_in_a_row_are_an_error() {
    let calm = || blocks::<f32>(0.0);
    let broken = |steps: std::ops::Range<u64>, in_value: bool| {
        let table = calm().layout.get("table").unwrap().range();
        Bowl { bad: Some((steps, (!in_value).then_some(table.start + 30_000))), ..calm() }
    };
    let adam = Adam { lr: 0.1, ..Adam::default() };
    let out = Run::new(&adam, &mut broken(2..11, false)).stop(Stop::Steps(14)).run().unwrap();
    assert_eq!(out.progress.metric("skipped"), Some(9.0));
    let five = Run::new(&adam, &mut calm()).stop(Stop::Steps(5)).run().unwrap();
    assert_eq!(out.solution, five.solution, "skipped steps leave no trace");
    for (in_value, place) in [(false, "the gradient was not finite in table"), (true, "the objective value")]
    {
        let error = Run::new(&adam, &mut broken(3..99, in_value)).stop(Stop::Steps(50)).run().unwrap_err();
        assert!(matches!(&error, RunError::Method { step: 12, .. }), "{error}");
        assert!(error.to_string().contains(place) && error.to_string().contains("10 times"), "{error}");
    }
    let error = Run::new(&Lbfgs::default(), &mut broken(0..1, false)).stop(Stop::Steps(5)).run().unwrap_err();
    assert!(error.to_string().contains("not finite in table"), "{error}");
    let layout = Layout::flat(2);
    assert!(!Guard::default().admit(&layout, 1.0, &[("g", &[1.0, f64::NEG_INFINITY])]).unwrap());
}

#[test]
fn bad_data_is_refused() {
    assert!(Quadratic::new(vec![1.0; 3], vec![1.0; 2]).is_err());
    assert!(
        Logistic::new(vec![1.0; 4], vec![1.0, 0.5], 2, 0.0).unwrap_err().to_string().contains("label = 0.5")
    );
    assert!(Logistic::new(vec![1.0; 4], vec![1.0], 2, 0.0).is_err());
    assert!(Logistic::new(vec![], vec![], 2, 0.0).is_err());
    assert!(Logistic::new(vec![1.0], vec![1.0], 1, -1.0).unwrap_err().to_string().contains("lambda"));
}
