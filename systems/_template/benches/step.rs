//! What a step costs, against the least that it could: one evaluation of the gradient.

use criterion::{Criterion, criterion_group, criterion_main};
use thalweg_core::{Method, Objective, Seed};
use thalweg_optim::functions::{Function, Rosenbrock};
use thalweg_template::Template;

fn steps(c: &mut Criterion) {
    let mut problem = Function::new(Rosenbrock, vec![0.5; 1000]);
    let (theta, mut grad) = (vec![0.5; 1000], vec![0.0; 1000]);
    c.bench_function("gradient", |b| b.iter(|| problem.value_grad(&theta, &mut grad).expect("finite")));
    let method = Template::default();
    let mut state = method.init(&mut problem, Seed(1)).expect("valid settings");
    c.bench_function("step", |b| b.iter(|| method.step(&mut problem, &mut state).expect("finite")));
}

criterion_group!(benches, steps);
criterion_main!(benches);
