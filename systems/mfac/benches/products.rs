//! The products beside the published recursion and beside what the memory allows.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rayon::prelude::*;
use thalweg_core::Seed;
use thalweg_mfac::baselines::Recursion;
use thalweg_mfac::fisher::FisherOptions;
use thalweg_mfac::gradients::{Gradients, Storage};
use thalweg_mfac::{StaticFisher, WindowFisher};
use thalweg_testing::normals;

const M: usize = 128;
const D: usize = 100_000;

fn random(n: usize) -> Vec<f32> {
    normals(&mut Seed(1).stream("products", 0), n)
}

fn fixed(c: &mut Criterion) {
    let flat = random(M * D);
    let rows: Vec<&[f32]> = flat.chunks(D).collect();
    let options = FisherOptions { damping: 1e-3, block: 0 };
    let gradients = Gradients::from_flat(flat.clone(), M).expect("finite");
    let mut group = c.benchmark_group(format!("m = {M}, d = {D}"));
    group.sample_size(10);
    group.bench_function("precompute, recursion", |b| b.iter(|| Recursion::new(&rows, 1e-3)));
    let new = |g: Gradients| StaticFisher::new(g, options).expect("damped");
    group.bench_function("precompute, products", |b| {
        b.iter_batched(|| gradients.clone(), new, criterion::BatchSize::LargeInput)
    });
    let (recursion, fisher) = (Recursion::new(&rows, 1e-3), new(gradients.clone()));
    group.bench_function("ihvp, recursion", |b| b.iter(|| recursion.ihvp(black_box(rows[3]))));
    group.bench_function("ihvp, products", |b| b.iter(|| fisher.ihvp(black_box(rows[3]))));
    group.bench_function("diag, recursion", |b| b.iter(|| recursion.diag()));
    group.bench_function("diag, products", |b| b.iter(|| fisher.diag()));
    group.bench_function("element", |b| b.iter(|| fisher.element(black_box(17), 70_000)));
}

/// A training step reads its window twice; copying it reads and writes it once.
fn sliding(c: &mut Criterion) {
    let (from, mut to) = (random(M * D), vec![0f32; M * D]);
    let mut group = c.benchmark_group(format!("window of {M}, d = {D}"));
    group.sample_size(20);
    group.bench_function("copy of the window", |b| {
        b.iter(|| {
            let pieces = to.par_chunks_mut(1 << 14).zip(black_box(&from).par_chunks(1 << 14));
            pieces.for_each(|(to, from)| to.copy_from_slice(from));
        })
    });
    for (name, storage) in [("", Storage::Full), (", bf16", Storage::Bf16)] {
        let mut window = WindowFisher::new::<f32>(M, D, 1e-3, storage).expect("memory");
        from.chunks(D).for_each(|g| window.insert(g).expect("finite"));
        let mut u = vec![0f32; D];
        group.bench_function(format!("insert{name}"), |b| b.iter(|| window.insert(black_box(&from[..D]))));
        group.bench_function(format!("precondition newest{name}"), |b| {
            b.iter(|| window.precondition_newest(&mut u))
        });
        group.bench_function(format!("ihvp{name}"), |b| b.iter(|| window.ihvp(black_box(&from[..D]))));
    }
}

criterion_group!(benches, fixed, sliding);
criterion_main!(benches);
