//! What a step costs beside its derivatives: 10⁶ unknowns whose gradient and product are free,
//! against Adam's step and against copying as many bytes.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rayon::prelude::*;
use thalweg_adahessian::{AdaHessian, Average};
use thalweg_core::{Kind, Layout, Method, MethodError, Objective, Problem, Seed};
use thalweg_optim::Adam;

const N: usize = 1_000_000;

/// Writes its derivatives once and then leaves the buffers as they are.
struct Free(Layout);

impl Problem for Free {}

fn fill_once(x: &mut [f32]) {
    if x[0] == 0.0 {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = (1.0 + i as f32).sin());
    }
}

impl Objective for Free {
    type Scalar = f32;
    fn layout(&self) -> &Layout {
        &self.0
    }
    fn start(&mut self) -> Result<Vec<f32>, MethodError> {
        Ok(vec![1.0; N])
    }
    fn value_grad(&mut self, _: &[f32], grad: &mut [f32]) -> Result<f64, MethodError> {
        fill_once(grad);
        Ok(1.0)
    }
    fn value_grad_hvp(
        &mut self,
        theta: &[f32],
        grad: &mut [f32],
        _: &[Vec<f32>],
        products: &mut [Vec<f32>],
    ) -> Result<f64, MethodError> {
        products.iter_mut().for_each(|p| fill_once(p));
        self.value_grad(theta, grad)
    }
}

fn bench<M: Method<Free>>(c: &mut Criterion, name: &str, shape: &[usize], kind: Kind, method: &M) {
    let mut layout = Layout::default();
    layout.push("w", shape, kind);
    let mut problem = Free(layout);
    let mut state = method.init(&mut problem, Seed(1)).expect("valid settings");
    c.bench_function(name, |b| b.iter(|| method.step(&mut problem, &mut state).expect("finite")));
}

fn steps(c: &mut Criterion) {
    // θ, m, v, g in and θ, m, v out: as many bytes as copying 3.5 arrays.
    let (from, mut to) = (vec![1f32; N * 7 / 2], vec![0f32; N * 7 / 2]);
    c.bench_function("copy of Adam's bytes", |b| {
        b.iter(|| {
            let pieces = to.par_chunks_mut(1 << 14).zip(black_box(&from).par_chunks(1 << 14));
            pieces.for_each(|(to, from)| to.copy_from_slice(from));
        })
    });
    let rows = [1000, 1000];
    bench(c, "adam", &rows, Kind::Linear, &Adam { lr: 1e-6, ..Adam::default() });
    let method = AdaHessian { lr: 1e-6, ..AdaHessian::default() };
    bench(c, "adahessian, rows", &rows, Kind::Linear, &method);
    bench(c, "adahessian, kernels", &[1000, 100, 10], Kind::Conv, &method);
    bench(
        c,
        "adahessian, none",
        &rows,
        Kind::Linear,
        &AdaHessian { average: Average::None, ..method.clone() },
    );
    bench(c, "adahessian, stale", &rows, Kind::Linear, &AdaHessian { hessian_every: 1 << 40, ..method });
}

criterion_group!(benches, steps);
criterion_main!(benches);
