//! What must hold for every solver and certificate, on small random data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use thalweg_convex_relu::admm::Admm;
use thalweg_convex_relu::baselines::{AdmmPaper, BlockProgram, DenseProgram, Rbcd, Training};
use thalweg_convex_relu::certificate::feasible_dual;
use thalweg_convex_relu::exact::exact;
use thalweg_convex_relu::grow::grow;
use thalweg_convex_relu::path::{cross_validate, path};
use thalweg_convex_relu::patterns::{count, sampling_bound};
use thalweg_convex_relu::reduce::{merge, reduce};
use thalweg_convex_relu::scp::{Scp, unit_vectors};
use thalweg_convex_relu::solver::Algorithm;
use thalweg_convex_relu::{
    ConvexError, ConvexRelu, Geometry, Loss, Network, Patterns, Program, Samples, Solver,
};
use thalweg_core::{Objective, Run, Seed, Stop, StopReason};
use thalweg_optim::Adam;
use thalweg_testing::{close, normals, on_threads, same_bits};

fn random(n: usize, d: usize, seed: u64) -> Samples {
    Samples::new(normals(&mut Seed(seed).stream("x", 0), n * d), d).unwrap()
}

fn labels(samples: &Samples, loss: Loss, seed: u64) -> Vec<f64> {
    let noise: Vec<f64> = normals(&mut Seed(seed).stream("y", 0), samples.n());
    let value = |(x, e): (&[f64], &f64)| x[0].abs() - 0.6 + 0.3 * e;
    let mut y: Vec<f64> = samples.rows().zip(&noise).map(value).collect();
    if loss != Loss::Squared {
        y.iter_mut().for_each(|y| *y = if *y >= 0.0 { 1.0 } else { -1.0 });
        (y[0], y[1]) = (1.0, -1.0);
    }
    y
}

fn program(n: usize, d: usize, loss: Loss, beta: f64, seed: u64) -> Program {
    let samples = random(n, d, seed);
    let y = labels(&samples, loss, seed);
    let patterns = Patterns::sample(&samples, 12, Seed(seed)).unwrap();
    Program::new(Geometry::new(samples, patterns, false).unwrap(), y, loss, beta).unwrap()
}

fn value(program: &Program) -> f64 {
    exact(program).unwrap().certificate.objective
}

fn with(program: &Program, samples: Samples, patterns: Patterns, y: Vec<f64>, beta: f64) -> Program {
    Program::new(Geometry::new(samples, patterns, false).unwrap(), y, program.loss(), beta).unwrap()
}

/// The same patterns, samples in another order.
fn reordered(patterns: &Patterns, order: &[usize]) -> Patterns {
    let column = |i: usize| -> Vec<u8> { order.iter().map(|&k| u8::from(patterns.on(i, k))).collect() };
    let columns: Vec<Vec<u8>> = (0..patterns.len()).rev().map(column).collect();
    Patterns::from_columns(order.len(), columns.iter().map(Vec::as_slice)).unwrap()
}

#[test]
fn all_patterns_are_counted_and_contain_every_sampled_one() {
    for (n, d, seed) in [(6, 2, 1), (10, 2, 2), (8, 3, 3), (10, 3, 4), (7, 4, 5)] {
        let samples = random(n, d, seed);
        let all = Patterns::all(&samples).unwrap();
        assert!(all.complete());
        let of = |p: &Patterns, i: usize| -> Vec<bool> { (0..n).map(|k| p.on(i, k)).collect() };
        let set: std::collections::HashSet<_> = (0..all.len()).map(|i| of(&all, i)).collect();
        let sampled = Patterns::sample(&samples, 20_000, Seed(9)).unwrap();
        assert!((0..sampled.len()).all(|i| set.contains(&of(&sampled, i))));
        // The all-off pattern, which is dropped, is there if the all-on one is.
        let dropped = usize::from(set.contains(&vec![true; n]));
        assert_eq!((all.len() + dropped) as f64, count(n, d), "n {n}, d {d}");
    }
    assert_eq!((count(10, 2), count(12, 2), count(9, 3)), (20.0, 24.0, 74.0));
}

#[test]
fn degenerate_points_give_fewer_patterns() {
    let repeated = Samples::new(vec![1.0, 0.5, 1.0, 0.5, -1.0, -0.5, 0.0, 0.0, 0.3, -1.0], 2).unwrap();
    let patterns = Patterns::all(&repeated).unwrap();
    assert!(!patterns.is_empty() && (patterns.len() as f64) < count(5, 2));
    let collinear = Samples::new(vec![1.0, 1.0, 2.0, 2.0, -1.0, -1.0], 2).unwrap();
    assert_eq!(Patterns::all(&collinear).unwrap().len(), 2);
}

#[test]
fn bounds_of_the_sample_size() {
    assert_eq!(sampling_bound(200, 0.1, 0.1).ceil(), 4067.0);
}

#[test]
fn algorithms_agree() {
    for (loss, seed) in [(Loss::Squared, 1), (Loss::Bce, 2), (Loss::Hinge, 3)] {
        let program = program(20, 3, loss, 0.2, seed);
        let optimum = value(&program);
        for algorithm in [Algorithm::Admm, Algorithm::AdmmPaper, Algorithm::Rbcd] {
            let solver = Solver { algorithm: Some(algorithm), tol: 1e-5, ..Solver::default() };
            match solver.solve(&program, Seed(1)) {
                Ok(s) => assert!(
                    (s.certified.certificate.objective / optimum - 1.0).abs() < 1e-4,
                    "{loss:?} {algorithm:?}"
                ),
                Err(e) => assert!(
                    matches!(e, ConvexError::Unsupported { .. })
                        && (algorithm, loss) != (Algorithm::Rbcd, Loss::Bce)
                        && loss != Loss::Squared
                        && algorithm != Algorithm::Admm,
                    "{loss:?} {algorithm:?}: {e}"
                ),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_dual_point_exceeds_the_optimum(seed in 0u64..1000, which in 0usize..3, size in 0.01f64..10.0) {
        let loss = Loss::ALL[which];
        let program = program(14, 3, loss, 0.15, seed);
        let certified = exact(&program).unwrap();
        let optimum = certified.certificate.objective;
        prop_assert!(certified.certificate.dual_bound <= optimum * (1.0 + 1e-9));
        let mut theta: Vec<f64> = normals(&mut Seed(seed).stream("theta", 0), 14);
        theta.iter_mut().for_each(|t| *t *= size);
        let (theta, bound) = feasible_dual(&program, &theta, &mut Vec::new()).unwrap();
        prop_assert!(bound <= optimum * (1.0 + 1e-6), "{bound} {optimum}");
        // The point itself keeps the constraint at sampled neurons of the listed cones.
        for u in unit_vectors(200, 3, Seed(seed)) {
            let h = program.samples().times(&u);
            let mut one = Patterns::none(14);
            one.add(&h);
            let listed = !one.is_empty() && (0..program.patterns().len())
                .any(|i| (0..14).all(|k| program.patterns().on(i, k) == one.on(0, k)));
            if listed {
                let reach: f64 = h.iter().zip(&theta).map(|(h, t)| h.max(0.0) * t).sum();
                prop_assert!(reach.abs() <= 0.15 * (1.0 + 1e-9));
            }
        }
    }

    #[test]
    fn prox_is_the_minimiser(which in 0usize..3, power in -6i32..=6, q in -1e6f64..1e6, small in any::<bool>(), up in any::<bool>()) {
        let loss = Loss::ALL[which];
        let (rho, y) = (10f64.powi(power), if up { 1.0 } else { -1.0 });
        let q = if small { q / 1e6 } else { q };
        let r = loss.prox(q, y, rho);
        let f = |r: f64| loss.one(r, y) + 0.5 * rho * (r - q).powi(2);
        let scale = r.abs().max(1.0);
        for step in [1e-3, 1e-5] {
            let tie = 1e-9 * f(r).abs().max(1e-6);
            prop_assert!(f(r) <= f(r + step * scale) + tie && f(r) <= f(r - step * scale) + tie, "{loss:?} {rho} {q} {r}");
        }
        if loss == Loss::Bce {
            let residual = loss.slope(r, y) + rho * (r - q);
            prop_assert!(residual.abs() <= 1e-9 * (1.0 + rho * q.abs()), "{residual}");
        }
    }

    #[test]
    fn symmetries(seed in 0u64..1000, which in 0usize..3, c in 0.2f64..5.0) {
        let loss = Loss::ALL[which];
        let p = program(12, 2, loss, 0.1, seed);
        let optimum = value(&p);
        let scaled = Samples::new(p.samples().values().iter().map(|x| c * x).collect(), 2).unwrap();
        let same = with(&p, scaled, p.patterns().clone(), p.targets().to_vec(), 0.1 * c);
        prop_assert!((value(&same) / optimum - 1.0).abs() < 1e-5);
        let order: Vec<usize> = (0..12).map(|k| (5 * k + 3) % 12).collect();
        let y: Vec<f64> = order.iter().map(|&k| p.targets()[k]).collect();
        let shuffled = with(&p, p.samples().select(&order).unwrap(), reordered(p.patterns(), &order), y, 0.1);
        prop_assert!((value(&shuffled) / optimum - 1.0).abs() < 1e-5);
        let mirrored = with(&p, p.samples().clone(), p.patterns().clone(), p.targets().iter().map(|y| -y).collect(), 0.1);
        prop_assert!((value(&mirrored) / optimum - 1.0).abs() < 1e-5);
    }

    #[test]
    fn more_patterns_never_cost_and_sampled_neurons_never_gain(seed in 0u64..1000, which in 0usize..3) {
        let loss = Loss::ALL[which];
        let p = program(10, 2, loss, 0.1, seed);
        let all = Patterns::all(p.samples()).unwrap();
        let whole = with(&p, p.samples().clone(), all, p.targets().to_vec(), 0.1);
        let optimum = value(&whole);
        prop_assert!(optimum <= value(&p) * (1.0 + 1e-5));
        let directions = unit_vectors(60, 2, Seed(seed));
        let scp = Scp { loss, beta: 0.1, tol: 1e-5, ..Scp::default() };
        let sampled = scp.solve(p.samples(), p.targets(), &directions).unwrap();
        prop_assert!(sampled.certificate.objective >= optimum * (1.0 - 1e-5));
        if let Ok(patterns) = sampled.patterns(p.samples()) {
            let refined = with(&p, p.samples().clone(), patterns, p.targets().to_vec(), 0.1);
            prop_assert!(value(&refined) <= sampled.certificate.objective * (1.0 + 1e-5));
        }
    }

    #[test]
    fn recovery_and_reduction_keep_the_outputs(seed in 0u64..1000, which in 0usize..3) {
        let loss = Loss::ALL[which];
        let p = program(9, 3, loss, 0.02, seed);
        let certified = exact(&p).unwrap();
        let network = Network::recover(&certified.solution, 3, 1);
        let outputs = network.outputs_on(p.samples()).unwrap();
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-8 * (1.0 + a.abs()));
        prop_assert!(close(&outputs, &certified.solution.outputs));
        let small = reduce(&network, p.samples()).unwrap();
        prop_assert!(close(&outputs, &small.outputs_on(p.samples()).unwrap()));
        prop_assert!(small.neurons.len() <= 9);
        // Off the optimum the mass may fall; it never rises.
        prop_assert!(small.decay(1.0) <= network.decay(1.0) * (1.0 + 1e-7));
        prop_assert!(merge(&network).neurons.len() <= network.neurons.len());
    }
}

#[test]
fn from_beta_max_on_no_neuron_is_left() {
    for (loss, linear_part) in [
        (Loss::Squared, false),
        (Loss::Hinge, false),
        (Loss::Bce, false),
        (Loss::Squared, true),
        (Loss::Bce, true),
    ] {
        let p = program(15, 3, loss, 1.0, 8);
        let geometry = Geometry::new(p.samples().clone(), p.patterns().clone(), linear_part).unwrap();
        let p = Program::new(geometry, p.targets().to_vec(), loss, 1.0).unwrap();
        let most = p.beta_max();
        for algorithm in [Algorithm::Exact, Algorithm::Admm, Algorithm::AdmmPaper, Algorithm::Rbcd] {
            let solver = Solver { algorithm: Some(algorithm), ..Solver::default() };
            if solver.check(&p).is_err() {
                continue;
            }
            for factor in [1.001, 3.0, 100.0] {
                let above = solver.solve(&p.with_beta(factor * most).unwrap(), Seed(1)).unwrap().certified;
                let network = Network::recover(&above.solution, 3, 1);
                assert!(network.neurons.is_empty(), "{loss:?} {algorithm:?} {factor}");
                assert!(above.certificate.gap < 1e-7, "{loss:?} {algorithm:?} {factor}");
            }
        }
        let below = exact(&p.with_beta(0.9 * most).unwrap()).unwrap();
        assert!(Network::recover(&below.solution, 3, 1).decay(1.0) > 1e-4, "{loss:?} {linear_part}");
    }
}

#[test]
fn a_robust_fit_that_needs_no_neuron_has_none() {
    let p = program(12, 2, Loss::Bce, 1.0, 8);
    let beta = 3.0 * p.beta_max();
    let eps = Some(vec![0.001; 2]);
    let settings = ConvexRelu { loss: Loss::Bce, beta, eps, ..ConvexRelu::default() };
    let fit = settings.fit(p.samples(), p.targets()).unwrap();
    assert!(fit.network.neurons.is_empty() && fit.certificate.gap < 1e-6, "{:?}", fit.certificate.gap);
}

#[test]
fn cross_validation_fits_the_model_that_is_asked_for() {
    let samples = random(24, 2, 3);
    let y = labels(&samples, Loss::Bce, 3);
    let betas = [1.0, 0.3];
    let score = |model: &ConvexRelu, listed: Option<&Patterns>| {
        cross_validate(model, listed, &samples, &y, &betas, 3, None).unwrap()
    };
    let plain = ConvexRelu { loss: Loss::Bce, ..ConvexRelu::default() };
    let first = score(&plain, None);
    assert!(first.iter().all(|fold| fold.accuracy.is_some()));
    let linear = ConvexRelu { linear_part: true, ..plain.clone() };
    let robust = ConvexRelu { eps: Some(vec![0.01; 2]), ..plain.clone() };
    let few = Patterns::sample(&samples, 1, Seed(4)).unwrap();
    for (model, listed) in [(&linear, None), (&robust, None), (&plain, Some(&few))] {
        let other = score(model, listed);
        assert!(other.iter().zip(&first).all(|(a, b)| a.loss != b.loss), "{other:?}");
    }
    // Fold by fold as a fit of that fold.
    let numbers: Vec<f64> = samples.rows().map(|x| x[0].abs()).collect();
    let squared = ConvexRelu { loss: Loss::Squared, ..plain };
    let folds = cross_validate(&squared, None, &samples, &numbers, &betas, 3, None).unwrap();
    assert!(folds.iter().all(|fold| fold.accuracy.is_none()), "numbers have no accuracy: {folds:?}");
}

#[test]
fn more_features_than_samples_change_nothing_but_the_time() {
    for loss in Loss::ALL {
        let p = program(10, 14, loss, 0.3, 2);
        let wide = exact(&p).unwrap().certificate;
        for algorithm in [Algorithm::Exact, Algorithm::Admm] {
            let solver = Solver { algorithm: Some(algorithm), tol: 1e-6, ..Solver::default() };
            let solved = solver.solve(&p, Seed(1)).unwrap().certified;
            let value = solved.certificate.objective;
            assert!(
                (value - wide.objective).abs() <= 1e-5 * wide.objective.max(1e-3),
                "{loss:?} {value} {wide:?}"
            );
            let network = Network::recover(&solved.solution, 14, 1);
            let scored = network.objective(p.samples(), p.targets(), loss, 0.3).unwrap();
            assert!(
                (scored - value).abs() <= 1e-7 * value.max(1e-3),
                "{loss:?} {algorithm:?}: {scored} {value}"
            );
            // The bound holds for the wide program too.
            let theta = &solved.certificate.theta;
            let (_, bound) = feasible_dual(&p, theta, &mut Vec::new()).unwrap();
            assert!((bound - solved.certificate.dual_bound).abs() <= 1e-6 * value.max(1e-3), "{loss:?}");
        }
    }
}

#[test]
fn the_interior_point_ends_in_time_with_a_certificate() {
    let p = program(200, 10, Loss::Bce, 0.01, 1).until(Some(Instant::now() + Duration::from_millis(30)));
    let clock = Instant::now();
    let solved =
        Solver { algorithm: Some(Algorithm::Exact), ..Solver::default() }.solve(&p, Seed(1)).unwrap();
    assert!(clock.elapsed() < Duration::from_secs(2), "{:?}", clock.elapsed());
    let c = &solved.certified.certificate;
    assert!(c.dual_bound <= c.objective);
    assert!(solved.stopped_because == Some(StopReason::Time) || c.gap <= 1e-4);
}

#[test]
fn the_path_rises_concavely() {
    let p = program(15, 3, Loss::Squared, 1.0, 8);
    let most = p.beta_max();
    let betas: Vec<f64> = (1..=8).rev().map(|i| most * f64::from(i) / 8.0).collect();
    for algorithm in [Algorithm::Exact, Algorithm::Admm] {
        let solver = Solver { algorithm: Some(algorithm), tol: 1e-5, ..Solver::default() };
        let points = path(&p, &betas, &solver).unwrap();
        let v: Vec<f64> = points.iter().map(|p| p.certified.certificate.objective).collect();
        assert!(v.windows(2).all(|w| w[0] >= w[1] * (1.0 - 1e-5)));
        assert!(v.windows(3).all(|w| w[1] >= 0.5 * (w[0] + w[2]) * (1.0 - 1e-4)));
    }
}

#[test]
fn growth_finds_what_the_list_lacks() {
    let samples = random(10, 2, 21);
    let y = labels(&samples, Loss::Squared, 21);
    let few = Patterns::sample(&samples, 2, Seed(1)).unwrap();
    let start =
        Program::new(Geometry::new(samples.clone(), few, false).unwrap(), y.clone(), Loss::Squared, 0.05)
            .unwrap();
    let first = exact(&start).unwrap();
    let (grown, last) = grow(start, first.clone(), 20, 200, 1e-6, Seed(1)).unwrap();
    let all = Patterns::all(&samples).unwrap();
    let whole = Program::new(Geometry::new(samples, all, false).unwrap(), y, Loss::Squared, 0.05).unwrap();
    let optimum = value(&whole);
    assert!(first.certificate.objective > optimum * 1.01, "the start must lack something");
    assert!((last.certificate.objective / optimum - 1.0).abs() < 1e-4);
    assert!(grown.patterns().len() <= whole.patterns().len());
}

#[test]
fn gradients_of_training_are_derivatives_and_no_run_beats_the_bound() {
    let samples = random(10, 2, 4);
    for loss in [Loss::Squared, Loss::Bce] {
        let y = labels(&samples, loss, 4);
        let mut training = Training::new(&samples, &y, loss, 0.05, 8, Seed(3)).unwrap();
        let theta = training.start().unwrap();
        let mut gradient = vec![0.0; theta.len()];
        training.value_grad(&theta, &mut gradient).unwrap();
        let value = |x: &[f64]| training.value_grad(x, &mut vec![0.0; x.len()]).unwrap();
        close(&thalweg_testing::gradient(value, &theta, 1e-5), &gradient, 1e-6);
        let all = Patterns::all(&samples).unwrap();
        let whole =
            Program::new(Geometry::new(samples.clone(), all, false).unwrap(), y.clone(), loss, 0.05).unwrap();
        let bound = exact(&whole).unwrap().certificate.dual_bound;
        let mut best = f64::INFINITY;
        for seed in 0..5 {
            let mut training = Training::new(&samples, &y, loss, 0.05, 20, Seed(seed)).unwrap();
            let method = Adam { lr: 0.02, ..Adam::default() };
            let problem = &mut training as &mut dyn Objective<Scalar = f64>;
            let theta = Run::new(&method, problem).stop(Stop::Steps(3000)).run().unwrap().solution;
            let value = training.network(&theta).objective(&samples, &y, loss, 0.05).unwrap();
            assert!(value >= bound * (1.0 - 1e-9));
            best = best.min(value);
        }
        assert!(best <= bound * 1.05, "{loss:?}: Adam {best}, bound {bound}");
    }
}

#[test]
fn a_linear_part_is_free_and_certified() {
    for loss in [Loss::Squared, Loss::Bce] {
        let p = program(20, 3, loss, 0.3, 5);
        let (x, patterns, y) = (p.samples().clone(), p.patterns().clone(), p.targets().to_vec());
        let skip = Program::new(Geometry::new(x, patterns, true).unwrap(), y, loss, 0.3).unwrap();
        let direct = exact(&skip).unwrap().certificate;
        assert!(direct.objective < value(&p) && direct.gap < 1e-5, "{loss:?} {}", direct.gap);
        let mut run = skip.clone();
        let admm = Run::new(&Admm::default(), &mut run).stop(Stop::Steps(20_000)).run().unwrap();
        let c = &admm.solution.certificate;
        assert!(c.gap <= 1e-4 && (c.objective / direct.objective - 1.0).abs() < 1e-4, "{loss:?}");
        let network = Network::recover(&admm.solution.solution, 3, 1);
        let same = network.without_linear_part();
        for x in skip.samples().rows() {
            assert!((network.predict(x).unwrap()[0] - same.predict(x).unwrap()[0]).abs() < 1e-9);
        }
    }
}

#[test]
fn several_outputs_share_one_norm() {
    let samples = random(15, 3, 6);
    let y: Vec<f64> =
        (0..3).flat_map(|c| (0..15).map(move |k| if k % 3 == c { 1.0 } else { -1.0 })).collect();
    let patterns = Patterns::sample(&samples, 10, Seed(2)).unwrap();
    let geometry = Arc::new(Geometry::new(samples.clone(), patterns, false).unwrap());
    let shared = Program::new(geometry.clone(), y.clone(), Loss::Hinge, 0.1).unwrap();
    let direct = exact(&shared).unwrap().certificate;
    assert!(direct.gap < 1e-5);
    let mut run = shared.clone();
    let admm =
        Run::new(&Admm { tol: 1e-3, ..Admm::default() }, &mut run).stop(Stop::Steps(20_000)).run().unwrap();
    assert!((admm.solution.certificate.objective / direct.objective - 1.0).abs() < 1e-3);
    let separate: f64 = y
        .chunks(15)
        .map(|y| value(&Program::new(geometry.clone(), y.to_vec(), Loss::Hinge, 0.1).unwrap()))
        .sum();
    assert!(direct.objective <= separate * (1.0 + 1e-6), "one norm costs no more than the sum of three");
    let network = Network::recover(&admm.solution.solution, 3, 3);
    assert!(network.accuracy(&samples, &y).unwrap() > 0.5);
}

#[test]
fn threads_and_resumes_do_not_change_a_bit() {
    let p = program(20, 3, Loss::Squared, 0.2, 1);
    same_bits(&Admm { check_every: 10, tol: 0.0, ..Admm::default() }, || p.clone(), 40, [23]);
    let dense = || DenseProgram::new(p.clone(), 0.2).unwrap();
    same_bits(&AdmmPaper { check_every: 10, tol: 0.0, ..AdmmPaper::default() }, dense, 40, [23]);
    let blocks = || BlockProgram::new(p.clone(), 0.2).unwrap();
    same_bits(&Rbcd { check_every: 10, tol: 0.0, ..Rbcd::default() }, blocks, 40, [23]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let samples = random(40, 5, 2);
    let y = labels(&samples, Loss::Bce, 2);
    let run = |threads: usize| {
        on_threads(threads, || {
            let patterns = Patterns::sample(&samples, 60, Seed(3)).unwrap();
            let geometry = Geometry::new(samples.clone(), patterns, false).unwrap();
            let mut program = Program::new(geometry, y.clone(), Loss::Bce, 0.2).unwrap();
            Run::new(&Admm::default(), &mut program).stop(Stop::Steps(500)).run().unwrap().solution
        })
    };
    assert_eq!(run(1), run(2));
}
