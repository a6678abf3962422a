//! Many independent runs, and what they say together.

use rand::RngExt;
use rayon::prelude::*;
use thalweg_core::{Outcome, Seed, StopReason};

use crate::Answer;
use crate::search::Ended;

/// Runs with their statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Runs {
    /// One per run.
    pub outcomes: Vec<Outcome<Answer>>,
    /// Runs that reached the target.
    pub successes: usize,
    /// Expected running time: evaluations of all runs per success. None without success.
    pub ert: Option<f64>,
}

impl Runs {
    /// Makes `runs` runs in parallel; `run` gets the number of the run, from 0, and its seed, which is
    /// `seed` plus that number.
    ///
    /// # Errors
    /// The first that a run fails with.
    pub fn make<E: Send>(
        runs: u64,
        seed: Seed,
        run: impl Fn(u64, Seed) -> Result<Outcome<Answer>, E> + Sync,
    ) -> Result<Self, E> {
        let one = |k: u64| run(k, Seed(seed.0.wrapping_add(k)));
        let outcomes: Vec<_> = (0..runs).into_par_iter().map(one).collect::<Result<_, _>>()?;
        Ok(Self::of(outcomes))
    }

    /// Of runs: those that stopped at the target, or found −∞, are successes.
    pub fn of(outcomes: Vec<Outcome<Answer>>) -> Self {
        let successes = outcomes.iter().filter(|o| succeeded(o)).count();
        let evaluations: u64 = outcomes.iter().map(|o| o.solution.evaluations).sum();
        let ert = (successes > 0).then(|| evaluations as f64 / successes as f64);
        Self { outcomes, successes, ert }
    }

    /// The run with the best value at a feasible point, if there is any.
    pub fn best(&self) -> Option<&Outcome<Answer>> {
        let rank = |o: &Outcome<Answer>| (!o.solution.best_feasible, o.solution.best_f);
        self.outcomes.iter().min_by(|a, b| rank(a).0.cmp(&rank(b).0).then(rank(a).1.total_cmp(&rank(b).1)))
    }

    /// 95 % bootstrap interval of the expected running time; its end is infinite where resamples have
    /// no success. None without success.
    pub fn ert_interval(&self, seed: Seed) -> Option<(f64, f64)> {
        const RESAMPLES: usize = 2000;
        self.ert?;
        let mut rng = seed.stream("bootstrap", 0);
        let n = self.outcomes.len();
        let mut erts: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let (mut evaluations, mut hits) = (0.0, 0.0);
                for _ in 0..n {
                    let o = &self.outcomes[rng.random_range(0..n)];
                    evaluations += o.solution.evaluations as f64;
                    hits += f64::from(succeeded(o));
                }
                evaluations / hits
            })
            .collect();
        erts.sort_by(f64::total_cmp);
        Some((erts[RESAMPLES / 40], erts[RESAMPLES - 1 - RESAMPLES / 40]))
    }
}

/// 95 % interval of a rate of `hits` among `n` (Wilson's score interval).
pub fn rate_interval(hits: usize, n: usize) -> (f64, f64) {
    const Z: f64 = 1.959964;
    let (n, p) = (n.max(1) as f64, hits as f64 / n.max(1) as f64);
    let centre = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

fn succeeded(outcome: &Outcome<Answer>) -> bool {
    outcome.stopped_because == StopReason::Target || outcome.solution.ended == Some(Ended::Unbounded)
}
