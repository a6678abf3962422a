//! The library of test functions by name, and black boxes.

use thalweg_core::{MethodError, StopReason};
use thalweg_optim::blackbox::{BlackBox, Constrained, Evaluator, Penalty, lowest};
use thalweg_optim::functions::{Smooth, TestFunction, by_name, names};

fn close(a: f64, b: f64, tol: f64) {
    assert!((a - b).abs() <= tol, "{a} is not {b} to {tol}");
}

/// Two unknowns suffice to tell axes apart; three where the function allows it.
fn every() -> Vec<TestFunction> {
    let dim = |name: &str| if name.starts_with("grandcanyon") { 2 } else { 3 };
    names().into_iter().map(|name| by_name(name, dim(name)).unwrap()).collect()
}

#[test]
fn minima_of_the_functions() {
    for name in names() {
        let f = by_name(name, 2).unwrap();
        assert_eq!(f.value(f.minimizer()), 0.0, "{name}");
        let shifted = f.shifted(vec![0.3, -0.2]).unwrap().rotated(vec![0.6, -0.8, 0.8, 0.6]).unwrap();
        assert!(shifted.value(&[0.3, -0.2]).abs() < 1e-15, "{name}");
    }
    let canyon = by_name("grandcanyon3noisy", 2).unwrap();
    close(canyon.value(&[8.0, 8.0]), 39.0125366354, 1e-9);
    close(canyon.value(&[1.0, 1.0]), 23.3868304899, 1e-9);
    close(canyon.value(&[4.0, 2.0]), 10.6875, 1e-12);
    assert!(by_name("rosenbrock", 1).is_err() && by_name("grandcanyon3", 3).is_err());
    assert!(by_name("sphere", 2).unwrap().shifted(vec![1.0]).is_err());
}

#[test]
fn every_function_has_true_derivatives() {
    const H: f64 = 1e-5;
    for f in every() {
        let d = f.minimizer().len();
        let turned = match d {
            2 => vec![0.6, -0.8, 0.8, 0.6],
            _ => vec![0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, 1.0],
        };
        let moved = f.clone().shifted(vec![0.3; d]).unwrap().rotated(turned).unwrap();
        for (f, x) in [(&f, [0.7, -1.3, 0.4]), (&f, [-1.1, 0.2, 0.9]), (&moved, [1.2, 0.5, -0.6])] {
            let (x, name) = (&x[..d], f.name());
            let gradient = |x: &[f64]| {
                let mut g = vec![f64::NAN; d];
                let value = f.value_grad(x, &mut g);
                close(value, f.value(x), 1e-12 * (1.0 + value.abs()));
                g
            };
            for j in 0..d {
                let step = |h: f64| {
                    let mut y = x.to_vec();
                    y[j] += h;
                    y
                };
                let slope = (f.value(&step(H)) - f.value(&step(-H))) / (2.0 * H);
                let g = gradient(x);
                assert!((slope - g[j]).abs() <= 1e-5 * (1.0 + g[j].abs()), "{name}: {slope} {}", g[j]);
                let (mut column, mut unit) = (vec![f64::NAN; d], vec![0.0; d]);
                unit[j] = 1.0;
                assert!(f.hvp(x, &unit, &mut column));
                let (plus, minus) = (gradient(&step(H)), gradient(&step(-H)));
                for i in 0..d {
                    let curve = (plus[i] - minus[i]) / (2.0 * H);
                    let error = (curve - column[i]).abs();
                    assert!(error <= 1e-4 * (1.0 + column[i].abs()), "{name}: {curve} {}", column[i]);
                }
            }
        }
        // At the minimizer, where some have a kink, nothing pulls.
        let mut g = vec![f64::NAN; d];
        f.value_grad(f.minimizer(), &mut g);
        assert!(g.iter().all(|g| *g == 0.0), "{}: {g:?}", f.name());
    }
}

/// Leaves out what is asked for after the `n`-th batch.
struct Hurried(std::sync::atomic::AtomicUsize);

impl BlackBox for Hurried {
    fn values(&self, points: &[f64], _: usize, values: &mut [f64]) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        values.copy_from_slice(points);
    }

    fn stopped(&self) -> Option<StopReason> {
        (self.0.load(std::sync::atomic::Ordering::Relaxed) == 0).then_some(StopReason::Time)
    }
}

#[test]
fn evaluations_are_counted_and_what_was_cut_short_is_void() {
    use thalweg_core::Problem;

    let f = Hurried(2.into());
    let mut evaluator = Evaluator::new(&f, 1);
    let mut seen = Vec::new();
    evaluator.evaluate(&[3.0, f64::NAN, f64::INFINITY], &mut seen).unwrap();
    assert_eq!((evaluator.evaluations(), evaluator.failures(), evaluator.incumbent().f), (3, 2, 3.0));
    let saved = evaluator.save();
    let said = evaluator.evaluate(&[1.0, 2.0], &mut seen).unwrap_err();
    assert!(matches!(said, MethodError::Stopped(StopReason::Time)), "{said}");
    assert_eq!((evaluator.evaluations(), evaluator.failures()), (5, 2));
    evaluator.restore(&saved).unwrap();
    assert_eq!((evaluator.evaluations(), evaluator.incumbent().x[0]), (3, 3.0));
    assert!(evaluator.restore(&[1]).is_err());
    assert_eq!(lowest(&[f64::NAN, 2.0, f64::NEG_INFINITY]), Some(2));
}

#[test]
fn feasible_points_rank_before_better_ones() {
    let f = Constrained::new(|x: &[f64]| x[0], Penalty { weight: 3.0, ..Penalty::default() })
        .at_most_zero(|x| 1.0 - x[0]);
    let mut evaluator = Evaluator::new(&f, 1);
    let mut seen = Vec::new();
    evaluator.evaluate(&[0.0, 2.0, 0.5], &mut seen).unwrap();
    assert_eq!(seen, [3.0, 2.0, 2.0]);
    assert!(evaluator.incumbent().feasible() && evaluator.incumbent().f == 2.0);
    // Its leader, the first of two, is feasible: the weight stays.
    assert!(!evaluator.follow_violation(&seen));
    evaluator.evaluate(&[0.0], &mut seen).unwrap();
    assert!(evaluator.follow_violation(&seen));
    evaluator.evaluate(&[0.0], &mut seen).unwrap();
    close(seen[0], 3.3, 1e-12);
}
