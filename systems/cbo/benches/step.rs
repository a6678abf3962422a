//! What a step of 200 particles in 20 dimensions costs beside the function: by noise, and the consensus alone.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use thalweg_cbo::consensus::{alpha_for_ess, consensus};
use thalweg_cbo::method::cbo::Noise;
use thalweg_cbo::{Cbo, Hopping, Space, Swarm};
use thalweg_core::{Seed, normal};

const N: usize = 200;
const DIM: usize = 20;

fn sphere(points: &[f64], values: &mut [f64]) {
    for (x, f) in points.chunks_exact(DIM).zip(values) {
        *f = x.iter().map(|x| x * x).sum();
    }
}

/// Where the cloud agrees to be after ten steps, in the first coordinate.
fn ten(swarm: &mut dyn Swarm, values: &mut [f64]) -> f64 {
    for _ in 0..10 {
        sphere(swarm.ask(), values);
        swarm.tell(values);
    }
    swarm.consensus()[0]
}

fn bench(c: &mut Criterion) {
    let space = Space::cube(DIM, -5.0, 5.0);
    let mut values = vec![0.0; N];
    for (name, noise) in [
        ("coordinate-wise", Noise::Anisotropic),
        ("isotropic", Noise::Isotropic),
        ("eigenframe", Noise::Eigenframe),
    ] {
        let cbo = Cbo { particles: N, noise_ratio: 0.1, noise, ..Cbo::default() };
        let start = cbo.swarm(&space, Seed(1));
        c.bench_function(&format!("ten steps with {name} noise"), |b| {
            b.iter(|| black_box(ten(&mut start.clone(), &mut values)));
        });
    }
    let hopping = Hopping { particles: N, ..Hopping::default() };
    c.bench_function("ten hops", |b| {
        b.iter(|| black_box(ten(&mut hopping.swarm(&space, Seed(1)), &mut values)));
    });

    let mut points = vec![0.0; N * DIM];
    normal(&mut Seed(2).stream("bench", 0), &mut points);
    sphere(&points, &mut values);
    c.bench_function("consensus at α = 10", |b| {
        b.iter(|| black_box(consensus(&points, DIM, &values, 10.0)));
    });
    c.bench_function("α of an effective sample size of 20", |b| {
        b.iter(|| black_box(alpha_for_ess(&values, 20.0)));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
