//! Sweeps and solves on stencils and sparse matrices, and a decision of each learner.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use thalweg_core::Seed;
use thalweg_relax::learner::omega_grid;
use thalweg_relax::matrix::Order;
use thalweg_relax::solver::Workspace;
use thalweg_relax::{Csr, Interval, Learner, Matrix, Policy, Scheme, Solver, Stencil};

fn matrices(side: usize) -> [(&'static str, Box<dyn Matrix>); 2] {
    let stencil = Stencil::laplacian(side, side).expect("a legal size");
    let csr: Csr = stencil.to_csr().expect("a positive diagonal");
    [("stencil", Box::new(stencil)), ("csr", Box::new(csr))]
}

fn kernels(c: &mut Criterion) {
    for side in [10, 99] {
        for (name, a) in matrices(side) {
            let b = a.pack(&vec![1.0; a.rows()]);
            let (mut x, mut r) = (vec![0.0; a.len()], vec![0.0; a.len()]);
            c.bench_function(&format!("{name} {side}², sweep and residual"), |bench| {
                bench.iter(|| a.sweep(Order::Forward, 1.5, black_box(&b), &mut x, &mut r));
            });
            for method in [Scheme::Cg, Scheme::SsorCgPlain, Scheme::SsorCg] {
                let solver = Solver { method, omega: 1.7, ..Solver::default() };
                let mut work = Workspace::default();
                c.bench_function(&format!("{name} {side}², {method}"), |bench| {
                    bench.iter(|| {
                        x.fill(0.0);
                        solver.solve_in(a.as_ref(), &b, &mut x, &mut work).map(|s| s.iterations)
                    });
                });
            }
        }
    }
}

fn learners(c: &mut Criterion) {
    for name in ["tsallis-inf", "tsallis-inf-cb", "chebcb", "joint"] {
        let policy: Policy = name.parse().expect("a policy");
        let interval = Interval::new(0.0, 1.0);
        let mut learner =
            Learner::new(&policy, &omega_grid(1.0, 1.95, 20), interval, Seed(1)).expect("legal");
        let mut t = 0u64;
        c.bench_function(&format!("{name}, choose and feedback"), |bench| {
            bench.iter(|| {
                t += 1;
                let choice = learner.choose((t as f64 * 0.618).fract()).expect("a context");
                learner
                    .feedback(&choice, 20.0 + 50.0 * (choice.omega - 1.5).powi(2) + (t % 7) as f64)
                    .expect("a cost")
            });
        });
    }
}

criterion_group!(benches, kernels, learners);
criterion_main!(benches);
