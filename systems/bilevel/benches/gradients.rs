//! What a step costs: full and sampled gradients of logistic regression and of hyper-cleaning, one ψ_σ, projections.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use thalweg_bilevel::penalty::penalty;
use thalweg_bilevel::tasks::classify::Examples;
use thalweg_bilevel::tasks::cleaning::Cleaning;
use thalweg_bilevel::tasks::regularization::Regularization;
use thalweg_bilevel::{Batch, Bilevel, Grad, Oracle, Set, Sparse};
use thalweg_core::Seed;
use thalweg_testing::normals;

fn numbers(n: usize, index: u64) -> Vec<f64> {
    normals(&mut Seed(1).stream("bench", index), n)
}

fn bench(c: &mut Criterion) {
    // The size of ijcnn1.
    let (n, d) = (50_000, 22);
    let rows = Sparse::dense(&numbers(n * d, 0), d).expect("finite numbers");
    let labels: Vec<f64> = numbers(n, 1).iter().map(|v| v.signum()).collect();
    let problem =
        Regularization::new((rows.clone(), &labels), (rows, &labels), -10.0, 2.0).expect("a problem");
    let (x, y) = (vec![-5.0; d], numbers(d, 2));
    let (mut by_x, mut by_y) = (vec![0.0; d], vec![0.0; d]);
    c.bench_function("logistic regression, 50,000 × 22: ∇g", |b| {
        b.iter(|| black_box(problem.lower(&x, &y, Batch::Full, Grad::both(&mut by_x, &mut by_y))));
    });
    let batch: Vec<u64> = (0..64).map(|i| i * 700).collect();
    c.bench_function("the same on 64 terms", |b| {
        b.iter(|| black_box(problem.lower(&x, &y, Batch::Terms(&batch), Grad::both(&mut by_x, &mut by_y))));
    });
    c.bench_function("the same: ψ_σ at σ = 0.1 from 0", |b| {
        b.iter(|| {
            let mut oracle = Oracle::new(&problem).expect("a fair problem");
            let mut at = oracle.start();
            black_box(penalty(&mut oracle, &mut at, 0.1, 1e-6).expect("a convex lower level"))
        });
    });

    let (n, d) = (1000, 784);
    let pixels: Vec<f64> = numbers(n * d, 3).iter().map(|v| v.max(0.0)).collect();
    let part = || {
        let rows = Sparse::dense(&pixels, d).expect("finite numbers");
        Examples::new(rows, (0..n as u32).map(|i| i % 10).collect()).expect("as many labels")
    };
    let problem = Cleaning::new(part(), part(), 10, 1e-3).expect("a problem");
    let (x, y) = (vec![0.0; n], numbers(10 * d, 4));
    let (mut by_x, mut by_y) = (vec![0.0; n], vec![0.0; 10 * d]);
    c.bench_function("hyper-cleaning, 1,000 × 784 × 10: ∇g", |b| {
        b.iter(|| black_box(problem.lower(&x, &y, Batch::Full, Grad::both(&mut by_x, &mut by_y))));
    });

    let v = numbers(10_000, 5);
    for (name, set) in [("simplex", Set::Simplex { sum: 1.0 }), ("ℓ1 ball", Set::L1Ball { radius: 1.0 })] {
        c.bench_function(&format!("projection onto the {name} of 10,000"), |b| {
            b.iter(|| {
                let mut v = v.clone();
                set.project(&mut v);
                black_box(v)
            });
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
