//! What a factor costs per update and per step, against inverting and decomposing it, and what
//! preconditioning a whole step costs.

#![allow(clippy::disallowed_methods, reason = "faer in single precision is what is compared with")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use faer::linalg::solvers::DenseSolveCore;
use faer::{Mat, Side};
use thalweg_core::{Kind, LayerStats, Layered, Layout, Method, MethodError, Objective, Problem, Seed};
use thalweg_mkor::factor::Recursion;
use thalweg_mkor::{Backend, Form, KroneckerFactor, Mkor, Rule, Storage};
use thalweg_optim::Sgd;

const DIMS: [usize; 3] = [256, 512, 1024];

fn vector(d: usize, t: usize) -> Vec<f64> {
    (0..d).map(|i| 0.3 + (0.7 * i as f64 + t as f64).sin()).collect()
}

/// A factor that has seen `updates` vectors.
fn factor(d: usize, rule: Rule, form: Form, updates: usize) -> KroneckerFactor<f32> {
    let mut factor = KroneckerFactor::identity(d, rule, form, Storage::Full);
    (0..updates).for_each(|t| {
        factor.update(&vector(d, t), &Recursion { rule, ..Recursion::default() });
    });
    factor
}

fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("update");
    for d in DIMS {
        let rules = [
            ("released, dense", Rule::Released, Form::Dense),
            ("sherman-morrison", Rule::ShermanMorrison, Form::Dense),
            ("released, low-rank:40", Rule::Released, Form::LowRank(40)),
        ];
        for (name, rule, form) in rules {
            let (mut factor, v) = (factor(d, rule, form, 50), vector(d, 1));
            let recursion = Recursion { rule, ..Recursion::default() };
            group.bench_function(BenchmarkId::new(name, d), |b| b.iter(|| factor.update(&v, &recursion)));
        }
        let entry =
            |i: usize, j: usize| if i == j { 2.0 } else { 1.0 / (1.0 + i.abs_diff(j) as f32).powi(2) };
        let matrix = Mat::<f32>::from_fn(d, d, entry);
        group.bench_function(BenchmarkId::new("Cholesky inverse", d), |b| {
            b.iter(|| black_box(&matrix).llt(Side::Lower).map(|llt| llt.inverse()))
        });
        group.bench_function(BenchmarkId::new("eigen-decomposition", d), |b| {
            b.iter(|| black_box(&matrix).self_adjoint_eigen(Side::Lower))
        });
    }
}

fn preconditioning(c: &mut Criterion) {
    let mut group = c.benchmark_group("precondition");
    for d in DIMS {
        for form in [Form::Dense, Form::LowRank(20), Form::LowRank(40)] {
            let factor = factor(d, Rule::Released, form, 50);
            let mut g: Vec<f32> = (0..d * d).map(|i| (i as f32).sin()).collect();
            group.bench_function(BenchmarkId::new(form.to_string(), d), |b| {
                b.iter(|| {
                    factor.apply_left(&mut g, d);
                    factor.apply_right(&mut g, d);
                    g[0] = 1.0; // never a vector of denormal numbers
                })
            });
        }
    }
}

/// The layers 784-256-128-10 with a gradient that costs nothing.
struct Free(Layout);

impl Problem for Free {}

impl Objective for Free {
    type Scalar = f32;
    fn layout(&self) -> &Layout {
        &self.0
    }
    fn start(&mut self) -> Result<Vec<f32>, MethodError> {
        Ok(vec![0.0; self.0.len()])
    }
    fn value_grad(&mut self, _: &[f32], grad: &mut [f32]) -> Result<f64, MethodError> {
        grad.iter_mut().enumerate().for_each(|(i, g)| *g = (1 + i % 17) as f32);
        Ok(1.0)
    }
}

impl Layered for Free {
    fn value_grad_layers(
        &mut self,
        theta: &[f32],
        grad: &mut [f32],
        _: bool,
        stats: &mut Vec<LayerStats>,
    ) -> Result<f64, MethodError> {
        let layer = |i: usize| {
            let shape = &self.0.blocks()[2 * i].shape;
            LayerStats {
                weight: 2 * i,
                bias: Some(2 * i + 1),
                groups: 1,
                positions: 1,
                rows: 128,
                input_mean: vector(shape[1], i),
                output_grad: vector(shape[0], i),
                moments: None,
            }
        };
        *stats = (0..self.0.blocks().len() / 2).map(layer).collect();
        self.value_grad(theta, grad)
    }
}

fn steps(c: &mut Criterion) {
    let mut layout = Layout::default();
    for (i, shape) in [[256, 784], [128, 256], [10, 128]].into_iter().enumerate() {
        layout.push(format!("{i}.weight"), &shape, Kind::Linear);
        layout.push(format!("{i}.bias"), &shape[..1], Kind::Bias);
    }
    let mut problem = Free(layout);
    let sgd = Sgd { lr: 1e-6, ..Sgd::default() };
    let mut state = sgd.init(&mut problem, Seed(1)).expect("valid settings");
    let mut group = c.benchmark_group("step of 784-256-128-10");
    group.bench_function("sgd", |b| b.iter(|| sgd.step(&mut problem, &mut state).expect("finite")));
    for form in [Form::Auto, Form::LowRank(20), Form::Dense] {
        let method = Mkor { backend: Backend::Sgd(sgd.clone()), form, warmup_steps: 50, ..Mkor::default() };
        let mut state = method.init(&mut problem, Seed(1)).expect("valid settings");
        for _ in 0..50 {
            method.step(&mut problem, &mut state).expect("finite"); // fills the low-rank form
        }
        group.bench_function(form.to_string(), |b| {
            b.iter(|| method.step(&mut problem, &mut state).expect("finite"))
        });
    }
}

criterion_group!(benches, updates, preconditioning, steps);
criterion_main!(benches);
