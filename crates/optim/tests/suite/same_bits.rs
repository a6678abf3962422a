//! A resumed run and a run with more threads end in the same bits.

use tempfile::tempdir;
use thalweg_core::{Checkpointer, Every, Iterate, Method, Real, Run, Seed, Stop};
use thalweg_optim::{Adam, AdamW, Lamb, Lbfgs, Muon, Schedule, Sgd};

use crate::common::Blocks;

const STEPS: u64 = 6;

fn check<T: Real, M>(method: M)
where
    M: Method<Blocks<T>, Solution = Vec<T>> + Sync,
    M::State: Iterate<T>,
{
    // L-BFGS wants an objective that stays the same.
    let noise = if method.name() == "lbfgs" { 0.0 } else { 0.3 };
    let bits = |x: Vec<T>| x.into_iter().map(|x| x.to_f64().to_bits()).collect::<Vec<u64>>();
    let whole = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut problem = Blocks::new(noise);
            let run = Run::new(&method, &mut problem).seed(Seed(2)).stop(Stop::Steps(STEPS));
            bits(run.run().unwrap().solution)
        })
    };
    let reference = whole(1);
    assert_eq!(whole(2), reference, "{} with 2 threads", method.name());
    assert_eq!(whole(3), reference, "{} with 3 threads", method.name());
    let folder = tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    for cut in 0..=STEPS {
        let mut problem = Blocks::new(noise);
        let checkpointer = Checkpointer { path: path.clone(), every: Every::Steps(100) };
        let first = Run::new(&method, &mut problem).seed(Seed(2)).stop(Stop::Steps(cut));
        first.checkpoint(checkpointer).run().unwrap();
        let mut problem = Blocks::new(noise);
        let second = Run::new(&method, &mut problem).seed(Seed(2)).stop(Stop::Steps(STEPS));
        let solution = second.resume(&path).unwrap().run().unwrap().solution;
        assert!(bits(solution) == reference, "{} cut at {cut}", method.name());
    }
}

fn check_both<M>(method: M)
where
    M: Method<Blocks<f32>, Solution = Vec<f32>> + Method<Blocks<f64>, Solution = Vec<f64>>,
    M: Sync + Clone,
    <M as Method<Blocks<f32>>>::State: Iterate<f32>,
    <M as Method<Blocks<f64>>>::State: Iterate<f64>,
{
    check::<f32, M>(method.clone());
    check::<f64, M>(method);
}

#[test]
fn sgd() {
    let schedule = Schedule::parse("warmup:2+cosine:6").unwrap();
    check_both(Sgd { schedule, nesterov: true, weight_decay: 0.1, ..Sgd::default() });
}

#[test]
fn adam() {
    check_both(Adam::default());
    check_both(AdamW::default());
}

#[test]
fn lamb() {
    check_both(Lamb::default());
}

#[test]
fn muon() {
    check_both(Muon::default());
}

#[test]
fn lbfgs() {
    check_both(Lbfgs { tolerance: 0.0, ..Lbfgs::default() });
}
