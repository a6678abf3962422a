use serde::Serialize;
use thalweg_core::{Checkpointer, Every, Method, Problem, Real, Run, Seed, Stop};

/// The bits of numbers, single ones widened.
pub fn bits<T: Real>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// Asserts that |aᵢ − bᵢ| ≤ tolerance · (1 + |bᵢ|) everywhere.
#[track_caller]
pub fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "element {i}: {a} is not {b}");
    }
}

/// Runs `work` in a pool of so many threads.
pub fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(work)
}

/// Asserts that a method ends in the same bits on 1, 2 and 3 threads, and when it was stopped after each
/// of `cuts` steps and goes on from its checkpoint.
#[track_caller]
pub fn same_bits<P, M>(
    method: &M,
    problem: impl Fn() -> P + Sync,
    steps: u64,
    cuts: impl IntoIterator<Item = u64>,
) where
    P: Problem,
    M: Method<P, Solution: Serialize> + Sync,
{
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("checkpoint");
    let run = |steps: u64, resume: bool| {
        let mut problem = problem();
        let mut run = Run::new(method, &mut problem).seed(Seed(1)).stop(Stop::Steps(steps));
        run = match resume {
            true => run.resume(&path).expect("a checkpoint"),
            false => run.checkpoint(Checkpointer { path: path.clone(), every: Every::Steps(1 << 40) }),
        };
        let outcome = run.run().expect("a run");
        postcard::to_stdvec(&(outcome.solution, outcome.evaluations)).expect("a solution that can be written")
    };
    let name = method.name();
    let reference = on_threads(1, || run(steps, false));
    for threads in [2, 3] {
        assert!(on_threads(threads, || run(steps, false)) == reference, "{name} on {threads} threads");
    }
    for cut in cuts {
        run(cut, false);
        assert!(run(steps, true) == reference, "{name} cut at {cut}");
    }
}
