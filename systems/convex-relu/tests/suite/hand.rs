//! X = (1, −1), solved with paper and pencil.

use thalweg_convex_relu::attack::Attack;
use thalweg_convex_relu::certificate::feasible_dual;
use thalweg_convex_relu::robust::{RobustProgram, robust_patterns};
use thalweg_convex_relu::solver::Algorithm;
use thalweg_convex_relu::{
    ConvexError, ConvexRelu, Geometry, Loss, Network, PatternChoice, Patterns, Program, Samples, Solver,
};
use thalweg_core::Seed;
use thalweg_testing::normals;

fn samples() -> Samples {
    Samples::new(vec![1.0, -1.0], 1).unwrap()
}

fn settings(loss: Loss, beta: f64, algorithm: Algorithm) -> ConvexRelu {
    let solver = Solver { algorithm: Some(algorithm), tol: 1e-6, ..Solver::default() };
    ConvexRelu { loss, beta, patterns: PatternChoice::All, solver, ..ConvexRelu::default() }
}

#[test]
fn every_algorithm_finds_the_optimum() {
    for algorithm in [Algorithm::Exact, Algorithm::Admm, Algorithm::AdmmPaper, Algorithm::Rbcd] {
        let fit = settings(Loss::Squared, 0.5, algorithm).fit(&samples(), &[2.0, -1.0]).unwrap();
        assert_eq!(fit.program.patterns().len(), 2);
        assert!((fit.certificate.objective - 1.25).abs() < 1e-5, "{algorithm:?}");
        assert!((fit.certificate.dual_bound - 1.25).abs() < 1e-5, "{algorithm:?}");
        assert!((fit.nonconvex_objective - 1.25).abs() < 1e-5, "{algorithm:?}");
        for (theta, expected) in fit.certificate.theta.iter().zip([-0.5, 0.5]) {
            assert!((theta - expected).abs() < 1e-3, "{algorithm:?}");
        }
        for neuron in &fit.network.neurons {
            let expected = if neuron.scale > 0.0 { (1.5f64).sqrt() } else { -(0.5f64).sqrt() };
            assert!((neuron.scale - expected).abs() < 1e-3 && (neuron.weights[0] - expected).abs() < 1e-3);
        }
        assert_eq!(fit.network.neurons.len(), 2);
    }
}

#[test]
fn the_dual_point_is_feasible_by_hand() {
    let geometry = Geometry::new(samples(), Patterns::all(&samples()).unwrap(), false).unwrap();
    let program = Program::new(geometry, vec![2.0, -1.0], Loss::Squared, 0.5).unwrap();
    let (theta, value) = feasible_dual(&program, &[-0.5, 0.5], &mut Vec::new()).unwrap();
    assert!((theta[0] + 0.5).abs() < 1e-9 && (theta[1] - 0.5).abs() < 1e-9);
    assert!((value - 1.25).abs() < 1e-9);
    assert!((program.beta_max() - 2.0).abs() < 1e-9);
}

#[test]
fn robust_values_by_hand() {
    let y = [1.0, -1.0];
    for (loss, value, output) in
        [(Loss::Hinge, 0.25, 1.25), (Loss::Squared, 0.24, 1.0), (Loss::Bce, 0.4675833, 1.692531)]
    {
        let settings = ConvexRelu { eps: Some(vec![0.2]), ..settings(loss, 0.1, Algorithm::Exact) };
        let fit = settings.fit(&samples(), &y).unwrap();
        assert!((fit.certificate.objective - value).abs() < 1e-6, "{loss:?} {}", fit.certificate.objective);
        assert!((fit.nonconvex_objective - value).abs() < 1e-6 && fit.certificate.gap < 1e-5);
        assert!((fit.network.predict(&[1.0]).unwrap()[0] - output).abs() < 1e-3);
    }
}

#[test]
fn patterns_are_admissible_up_to_eps_one() {
    let program = |eps: f64| {
        let geometry = Geometry::new(samples(), Patterns::all(&samples()).unwrap(), false).unwrap();
        let program = Program::new(geometry, vec![1.0, -1.0], Loss::Hinge, 0.1).unwrap();
        RobustProgram::new(&program, vec![eps])
    };
    assert_eq!(program(0.999).unwrap().program().patterns().len(), 2);
    match program(1.5) {
        Err(ConvexError::NotAdmissible { largest }) => assert!((largest - 1.0).abs() < 1e-2, "{largest}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn in_boxes_too_wide_for_others_the_pattern_of_a_linear_model_is_left() {
    let samples = Samples::new(vec![1.0, 1.0, -1.0, 1.0, 0.5, 1.0], 2).unwrap(); // the last column is constant
    let patterns = robust_patterns(&samples, &[2.0, 0.0], 20, Seed(1)).unwrap();
    assert_eq!(patterns.len(), 1);
    assert!((0..3).all(|k| patterns.on(0, k)));
}

#[test]
fn eps_zero_is_the_plain_program_and_values_rise_with_eps() {
    let x: Vec<f64> = normals(&mut Seed(5).stream("x", 0), 8 * 2);
    let samples = Samples::new(x, 2).unwrap();
    let y: Vec<f64> = samples.rows().map(|x| if x[0] + 0.3 * x[1] > 0.0 { 1.0 } else { -1.0 }).collect();
    for loss in Loss::ALL {
        let geometry = Geometry::new(samples.clone(), Patterns::all(&samples).unwrap(), false).unwrap();
        let program = Program::new(geometry, y.clone(), loss, 0.1).unwrap();
        let plain = thalweg_convex_relu::exact::exact(&program).unwrap().certificate;
        let robust = |eps: f64| {
            let robust = RobustProgram::new(&program, vec![eps, eps]).unwrap();
            let certified = robust.solve().unwrap();
            (certified, robust)
        };
        let (zero, _) = robust(0.0);
        assert!((zero.certificate.objective / plain.objective - 1.0).abs() < 1e-5, "{loss:?}");

        let mut last = zero.certificate.objective;
        for eps in [0.005, 0.01, 0.02] {
            let (certified, robust) = robust(eps);
            assert!(certified.certificate.objective >= last * (1.0 - 1e-5), "{loss:?} {eps}");
            last = certified.certificate.objective;

            // No corner of any box is worse than the closed form, and one is as bad.
            let network = Network::recover(&certified.solution, 2, 1);
            let attack = Attack { eps: vec![eps, eps], loss };
            let corners = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]];
            let worst = |(x, y): (&[f64], &f64)| {
                let moved =
                    |s: &[f64; 2]| network.predict(&[x[0] + eps * s[0], x[1] + eps * s[1]]).unwrap()[0];
                let at = |s: &[f64; 2]| loss.one(moved(s), *y);
                corners.iter().map(at).fold(f64::MIN, f64::max)
            };
            let brute: f64 = samples.rows().zip(&y).map(worst).sum();
            let closed = attack.worst_case(&network, &samples, &y).unwrap();
            assert!((brute - closed).abs() <= 1e-8 * closed.max(1.0), "{loss:?}: {brute} {closed}");
            assert!(((closed + network.decay(0.1)) / certified.certificate.objective - 1.0).abs() < 1e-6);

            // Every neuron keeps its sign in every box.
            for neuron in &network.neurons {
                let reach = eps * neuron.weights.iter().map(|w| w.abs()).sum::<f64>();
                let size: f64 = neuron.weights.iter().map(|w| w * w).sum::<f64>().sqrt();
                for h in samples.times(&neuron.weights) {
                    assert!(h.abs() >= reach - 1e-9 * size);
                }
            }
            assert!(robust.program().patterns().len() <= program.patterns().len());
        }
    }
}
