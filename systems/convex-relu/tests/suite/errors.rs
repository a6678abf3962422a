//! Bad input: one clear sentence each, and never a panic.

use thalweg_convex_relu::attack::Attack;
use thalweg_convex_relu::certificate::feasible_dual;
use thalweg_convex_relu::grow::separate;
use thalweg_convex_relu::reduce::reduce;
use thalweg_convex_relu::scaling::{Scaling, plain_layers};
use thalweg_convex_relu::scp::{Scp, unit_vectors};
use thalweg_convex_relu::solver::Algorithm;
use thalweg_convex_relu::{
    ConvexError, ConvexRelu, Geometry, Loss, PatternChoice, Patterns, Program, Samples, Solver,
};
use thalweg_core::Seed;
use thalweg_testing::normals;

fn samples() -> Samples {
    Samples::new(vec![1.0, 0.2, -1.0, 0.4, 0.3, -0.7], 2).unwrap()
}

const Y: [f64; 3] = [1.0, -1.0, 1.0];

fn says(result: Result<impl Sized, ConvexError>, words: &[&str]) {
    let Err(e) = result else { panic!("no error; expected {words:?}") };
    let text = e.to_string();
    assert!(words.iter().all(|w| text.contains(w)), "{text:?} lacks one of {words:?}");
}

#[test]
fn data() {
    says(Samples::new(vec![1.0, f64::NAN, 2.0, 3.0], 2), &["row 0", "column 1", "NaN"]);
    says(Samples::new(vec![1.0, 2.0, f64::INFINITY, 3.0], 2), &["row 1", "column 0"]);
    says(Samples::new(vec![1.0], 1), &["too few"]);
    says(Samples::new(Vec::new(), 0), &["too few"]);
    says(Samples::new(vec![1.0; 5], 2), &["5", "4"]);
}

#[test]
fn targets() {
    let fit = |loss, y: &[f64]| ConvexRelu { loss, ..ConvexRelu::default() }.fit(&samples(), y);
    says(fit(Loss::Hinge, &[1.0, 0.0, 1.0]), &["hinge", "0, 1", "-1 and +1"]);
    says(fit(Loss::Bce, &[1.0, 2.0, 3.0]), &["bce", "1, 2, 3"]);
    says(fit(Loss::Bce, &[1.0; 3]), &["label 1", "both classes"]);
    says(fit(Loss::Squared, &[1.0, f64::NAN, 0.0]), &["targets", "row 1"]);
    says(fit(Loss::Squared, &[1.0, 2.0]), &["targets", "2", "3"]);
}

#[test]
fn settings() {
    let plain = ConvexRelu::default;
    for beta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        says(ConvexRelu { beta, ..plain() }.fit(&samples(), &Y), &["beta", "> 0"]);
    }
    says(ConvexRelu { linear_part: true, ..plain() }.fit(&samples(), &Y), &["hinge", "linear part"]);
    says(ConvexRelu { eps: Some(vec![-0.1, 0.0]), ..plain() }.fit(&samples(), &Y), &["eps", "≥ 0"]);
    says(ConvexRelu { eps: Some(vec![0.1]), ..plain() }.fit(&samples(), &Y), &["eps", "1", "2"]);
    says(ConvexRelu { eps: Some(vec![9.0, 9.0]), ..plain() }.fit(&samples(), &Y), &["largest admissible"]);
    let tol = Solver { tol: -1.0, algorithm: Some(Algorithm::Admm), ..Solver::default() };
    says(ConvexRelu { solver: tol, ..plain() }.fit(&samples(), &Y), &["tol", "≥ 0"]);
    for (solver, words) in [
        (Solver { tol: f64::NAN, ..Solver::default() }, ["tol = NaN", "a number ≥ 0"]),
        (Solver { max_steps: 0, ..Solver::default() }, ["max_steps = 0", "at least 1"]),
        (Solver { rho: Some(0.0), ..Solver::default() }, ["rho = 0", "a number > 0"]),
    ] {
        says(ConvexRelu { solver, ..plain() }.fit(&samples(), &Y), &words);
    }
    let patterns = PatternChoice::Sample(0);
    says(ConvexRelu { patterns, ..plain() }.fit(&samples(), &Y), &["patterns = 0", "at least 1"]);
    let paper = Solver { algorithm: Some(Algorithm::AdmmPaper), ..Solver::default() };
    says(ConvexRelu { solver: paper, ..plain() }.fit(&samples(), &Y), &["admm-paper", "loss"]);
    let rbcd = Solver { algorithm: Some(Algorithm::Rbcd), ..Solver::default() };
    says(ConvexRelu { solver: rbcd, ..plain() }.fit(&samples(), &Y), &["rbcd", "hinge"]);
}

#[test]
fn patterns() {
    let off = [0u8; 3];
    says(Patterns::from_columns(3, [&off[..]]), &["no activation pattern"]);
    says(Patterns::from_columns(4, [&off[..]]), &["3", "4"]);
    says(Patterns::sample(&samples(), 0, Seed(0)), &["no activation pattern"]);
    let other = Samples::new(vec![1.0, -1.0], 1).unwrap();
    says(Geometry::new(samples(), Patterns::all(&other).unwrap(), false), &["samples of the patterns"]);
    let x = normals(&mut Seed(1).stream("x", 0), 60 * 8);
    let many = Samples::new(x, 8).unwrap();
    let all = ConvexRelu { patterns: PatternChoice::All, ..ConvexRelu::default() };
    says(all.choose(&many), &["60 points", "rank 8"]);
}

#[test]
fn memory() {
    let x = normals(&mut Seed(1).stream("x", 0), 300 * 100);
    let samples = Samples::new(x, 100).unwrap();
    let patterns = Patterns::sample(&samples, 200, Seed(1)).unwrap();
    let y: Vec<f64> = (0..300).map(|k| f64::from(k % 7)).collect();
    let program =
        Program::new(Geometry::new(samples, patterns, false).unwrap(), y, Loss::Squared, 0.1).unwrap();
    let paper = Solver { algorithm: Some(Algorithm::AdmmPaper), ..Solver::default() };
    says(paper.solve(&program, Seed(0)), &["admm-paper", "GB", "admm, or at most"]);
}

#[test]
fn sampled_programs() {
    let solve = |scp: Scp, directions: &[Vec<f64>]| scp.solve(&samples(), &Y, directions);
    says(solve(Scp::default(), &[]), &["neurons"]);
    says(solve(Scp::default(), &unit_vectors(3, 5, Seed(0))), &["entries of a neuron", "5", "2"]);
    says(solve(Scp { beta: 0.0, ..Scp::default() }, &unit_vectors(3, 2, Seed(0))), &["beta"]);
}

#[test]
fn what_has_another_width_is_refused() {
    let network = ConvexRelu::default().fit(&samples(), &Y).unwrap().network;
    assert_eq!(network.inputs(), Some(2));
    for x in [vec![], vec![1.0], vec![1.0; 5]] {
        let found = x.len().to_string();
        says(network.predict(&x), &["features of an input", &found, "2"]);
    }
    let wide = Samples::new(vec![1.0; 15], 5).unwrap();
    says(network.outputs_on(&wide), &["5", "2"]);
    says(network.accuracy(&wide, &Y), &["5", "2"]);
    says(network.objective(&wide, &Y, Loss::Hinge, 0.1), &["5", "2"]);
    says(network.objective(&samples(), &Y[..2], Loss::Hinge, 0.1), &["targets", "2", "3"]);
    let attack = |eps: Vec<f64>| Attack { eps, loss: Loss::Hinge };
    says(attack(vec![0.1; 5]).fgsm_all(&network, &wide, &Y), &["5", "2"]);
    says(attack(vec![0.1]).pgd_all(&network, &samples(), &Y, 3, Seed(0)), &["eps", "1", "2"]);
    says(attack(vec![0.1; 2]).certified_accuracy(&network, &samples(), &Y[..1]), &["targets", "1", "3"]);
    let all = Patterns::all(&samples()).unwrap();
    let program =
        Program::new(Geometry::new(samples(), all, false).unwrap(), Y.to_vec(), Loss::Hinge, 0.1).unwrap();
    says(feasible_dual(&program, &[0.1], &mut Vec::new()), &["theta", "1", "3"]);
    says(separate(&program, &[0.1], 1, 0.1, Seed(0)), &["theta", "1", "3"]);
    says(reduce(&network, &wide), &["5", "2"]);
    says(plain_layers(&network, 3), &["2", "3"]);
    says(Scaling::of(&wide).fold(&network), &["2", "6"]);
}
