//! Parts of a solve: an iteration of the structured ADMM, of the published one, a certificate.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use thalweg_convex_relu::admm::Admm;
use thalweg_convex_relu::baselines::{AdmmPaper, DenseProgram};
use thalweg_convex_relu::certificate::feasible_dual;
use thalweg_convex_relu::{Geometry, Loss, Patterns, Program, Samples};
use thalweg_core::{Method, Seed};
use thalweg_testing::normals;

fn program(n: usize, d: usize, draws: u64) -> Program {
    let mut x: Vec<f64> = normals(&mut Seed(1).stream("x", 0), n * d);
    x.iter_mut().for_each(|x| *x /= (d as f64).sqrt());
    let samples = Samples::new(x, d).expect("finite samples");
    let y = samples.rows().map(|x| x[0] + x[1].abs()).collect();
    let patterns = Patterns::sample(&samples, draws, Seed(1)).expect("patterns");
    let geometry = Geometry::new(samples, patterns, false).expect("matching sizes");
    Program::new(geometry, y, Loss::Squared, 0.1).expect("a program")
}

fn iteration(c: &mut Criterion) {
    let mut program = program(200, 65, 30);
    let method = Admm { check_every: u64::MAX, ..Admm::default() };
    let mut state = method.init(&mut program, Seed(1)).expect("a factorisation");
    c.bench_function("structured iteration, n 200, d 65, P 30", |b| {
        b.iter(|| black_box(method.step(&mut program, &mut state).expect("a step")));
    });
}

fn published(c: &mut Criterion) {
    let mut dense = DenseProgram::new(program(200, 65, 10), 0.1).expect("a factorisation");
    let method = AdmmPaper { check_every: u64::MAX, ..AdmmPaper::default() };
    let mut state = method.init(&mut dense, Seed(1)).expect("a state");
    c.bench_function("published iteration, n 200, d 65, P 10", |b| {
        b.iter(|| black_box(method.step(&mut dense, &mut state).expect("a step")));
    });
}

fn certificate(c: &mut Criterion) {
    let program = program(200, 31, 20);
    let theta: Vec<f64> = program.targets().iter().map(|y| -0.1 * y).collect();
    c.bench_function("dual point from scratch, n 200, d 31, P 20", |b| {
        b.iter(|| black_box(feasible_dual(&program, &theta, &mut Vec::new()).expect("a bound")));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = iteration, published, certificate
}
criterion_main!(benches);
