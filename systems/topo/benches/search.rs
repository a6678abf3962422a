//! The fast search and its moves.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use thalweg_core::Seed;
use thalweg_topo::factor::Factor;
use thalweg_topo::simulate::{Mechanism, Noise, Simulation};
use thalweg_topo::start::random_order;
use thalweg_topo::{FitOptions, Init, Sample, Score, Topo};

fn sample(dim: usize) -> Sample {
    let family = "er:4".parse().expect("a family");
    let simulation =
        Simulation { family, dim, samples: 1000, noise: Noise::GaussEv, mechanism: Mechanism::Linear };
    simulation.run(Seed(1)).expect("sizes fit").1
}

fn search(c: &mut Criterion) {
    let mut group = c.benchmark_group("search");
    group.sample_size(10);
    for dim in [20, 50, 100] {
        let data = sample(dim);
        let s = data.covariance();
        let order = random_order(dim, Seed(1), 0);
        let factor = Factor::new(&s, &order).expect("more samples than variables");
        group.bench_with_input(BenchmarkId::new("all moves", dim), &factor, |b, f| {
            b.iter(|| black_box(f.improvements(0.0)));
        });
        let topo = Topo { init: Init::Random, ..Topo::default() };
        group.bench_with_input(BenchmarkId::new("l2 from a random order", dim), &data, |b, data| {
            b.iter(|| topo.fit(black_box(data), &FitOptions::seed(1)));
        });
        if dim == 20 {
            let topo = Topo { score: Score::Bic(2.0), restarts: Some(0), ..Topo::default() };
            group.bench_with_input(BenchmarkId::new("bic", dim), &data, |b, data| {
                b.iter(|| topo.fit(black_box(data), &FitOptions::seed(1)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, search);
criterion_main!(benches);
