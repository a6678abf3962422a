//! How sure an edge is: how often graphs learned from resamples of the data have it (Friedman, Goldszmidt and
//! Wyner 1999).

use faer::Mat;
use rand::RngExt;
use rayon::prelude::*;
use thalweg_core::{Seed, StopReason};

use crate::{FitOptions, Learned, Sample, Score, Topo, TopoError};

/// Shares of the resamples in which a pair of nodes is linked, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Support {
    /// The smaller node.
    pub a: usize,
    /// The larger one.
    pub b: usize,
    /// Linked, either way.
    pub linked: f64,
    /// a → b.
    pub forward: f64,
    /// b → a. What is left of `linked` could be either.
    pub backward: f64,
}

/// Edges of graphs that were learned from resamples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bootstrap {
    /// Resamples that gave a graph.
    pub resamples: usize,
    /// Resamples that gave none: a column was constant in them, or a copy of others.
    pub failed: usize,
    /// Pairs that were linked at least once, by a, then b.
    pub support: Vec<Support>,
}

impl Bootstrap {
    /// Shares in which u and v are linked, u → v, and v → u.
    pub fn of(&self, u: usize, v: usize) -> (f64, f64, f64) {
        let found = self.support.iter().find(|s| (s.a, s.b) == (u.min(v), u.max(v)));
        let Some(s) = found else { return (0.0, 0.0, 0.0) };
        if u < v { (s.linked, s.forward, s.backward) } else { (s.linked, s.backward, s.forward) }
    }
}

/// Resamples between two looks at whether to go on.
const AT_ONCE: usize = 8;

impl Topo {
    /// Learns a graph from each of `resamples` draws of as many rows with replacement, as [`Topo::fit`] does from
    /// the data, and counts edges. A direction counts where the equivalence class of the graph has it, under BIC
    /// and the likelihood with a variance for each node, which cannot tell other directions; under other scores,
    /// where the graph has it. `go_on` is asked with the number of resamples done; if it says no, those count.
    ///
    /// # Errors
    /// As [`Topo::fit`]; no resample gave a graph.
    pub fn bootstrap(
        &self,
        sample: &Sample,
        options: &FitOptions,
        resamples: usize,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<Bootstrap, TopoError> {
        let d = sample.d();
        let mut counts = Mat::<f64>::zeros(d, d); // linked below the diagonal
        let mut directed = Mat::<f64>::zeros(d, d);
        let (mut done, mut failed, mut why) = (0, 0, None);
        let numbers: Vec<usize> = (0..resamples).collect();
        for batch in numbers.chunks(AT_ONCE) {
            if !go_on(batch[0]) {
                break;
            }
            let learn = |k: &usize| self.fit(&resampled(sample, options.seed, *k)?, options);
            let learned: Vec<Result<Learned, TopoError>> = batch.par_iter().map(learn).collect();
            for learned in learned {
                match learned {
                    // One that the time cut short is no graph of its resample.
                    Ok(learned) if learned.stopped_because != StopReason::Converged => {}
                    Ok(learned) => {
                        done += 1;
                        self.count(&learned, &mut counts, &mut directed);
                    }
                    Err(e @ (TopoError::Constant(_) | TopoError::Collinear { .. })) => {
                        failed += 1;
                        why = Some(e);
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        if let (0, Some(e)) = (done, why) {
            return Err(e);
        }
        let share = |count: f64| count / f64::max(done as f64, 1.0);
        let pairs = (0..d).flat_map(|a| (a + 1..d).map(move |b| (a, b)));
        let support = pairs.filter(|(a, b)| counts[(*b, *a)] > 0.0).map(|(a, b)| Support {
            a,
            b,
            linked: share(counts[(b, a)]),
            forward: share(directed[(a, b)]),
            backward: share(directed[(b, a)]),
        });
        Ok(Bootstrap { resamples: done, failed, support: support.collect() })
    }

    fn count(&self, learned: &Learned, linked: &mut Mat<f64>, directed: &mut Mat<f64>) {
        let class = &learned.cpdag;
        for &(u, v) in class.directed.iter().chain(&class.undirected) {
            linked[(u.max(v), u.min(v))] += 1.0;
        }
        let by_class = matches!(self.score, Score::Bic(_) | Score::Mcp(..));
        let graph = || crate::graph::edges(&learned.graph).into_iter().map(|e| (e.0, e.1)).collect();
        let sure: Vec<(usize, usize)> = if by_class { class.directed.clone() } else { graph() };
        sure.into_iter().for_each(|e| directed[e] += 1.0);
    }
}

/// As many rows, drawn with replacement: draw number `k` of a seed.
fn resampled(sample: &Sample, seed: Seed, k: usize) -> Result<Sample, TopoError> {
    let (n, d) = (sample.n(), sample.d());
    let mut random = seed.stream("topo-bootstrap", k as u64);
    let rows: Vec<usize> = (0..n).map(|_| random.random_range(0..n)).collect();
    Sample::new(sample.names().to_vec(), Mat::from_fn(n, d, |i, j| sample.x()[(rows[i], j)]))
}
