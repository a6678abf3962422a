use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Progress, Seed};

use crate::penalty::lower;
use crate::{Batch, BilevelError, Grad, Oracle, Solution};

/// Which points are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Points {
    /// The diagonal of the box: one value for all unknowns, as people tune by hand.
    #[default]
    Grid,
    /// Uniform in the box.
    Random,
}

/// Grid or random search over a box: x is tried, the lower level solved, the best f kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    /// Which points. Default the grid.
    pub points: Points,
    /// How many. Default 25.
    pub trials: u64,
    /// Residual of the lower level, relative to its gradients' size. Default 1e-6.
    pub inner: f64,
}

impl Default for Search {
    fn default() -> Self {
        Self { points: Points::Grid, trials: 25, inner: 1e-6 }
    }
}

/// State of [`Search`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SearchState {
    best: Solution,
    value: f64,
    y: Vec<f64>,
    k: u64,
    rng: ChaCha8Rng,
}

impl Iterate<f64> for SearchState {
    fn theta(&self) -> &[f64] {
        &self.best.x
    }
}

impl<'p> Method<Oracle<'p>> for Search {
    type State = SearchState;
    type Solution = Solution;

    fn name(&self) -> &'static str {
        match self.points {
            Points::Grid => "grid",
            Points::Random => "random",
        }
    }

    fn validate(&self) -> Result<(), Invalid> {
        Invalid::count("trials", self.trials)?;
        Invalid::positive("inner", self.inner)
    }

    fn init(&self, oracle: &mut Oracle<'p>, seed: Seed) -> Result<Self::State, MethodError> {
        let best = oracle.start();
        let bounds = oracle.problem().x_set().bounds(best.x.len());
        if !bounds.is_some_and(|(lo, hi)| lo.iter().chain(&hi).all(|b| b.is_finite())) {
            return Err(BilevelError::Data("a search needs finite bounds of x; give a box".into()).into());
        }
        let (y, rng) = (best.y.clone(), seed.stream("bilevel search", 0));
        Ok(SearchState { best, value: f64::INFINITY, y, k: 0, rng })
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls().total();
        let SearchState { best, value, y, k, rng } = state;
        let n = best.x.len();
        let (lo, hi) = oracle.problem().x_set().bounds(n).unwrap_or_else(|| (vec![0.0; n], vec![0.0; n]));
        let share = *k as f64 / (self.trials.max(2) - 1) as f64;
        let x: Vec<f64> = (0..n)
            .map(|i| {
                let share = if self.points == Points::Grid { share } else { rng.random() };
                lo[i] + share * (hi[i] - lo[i])
            })
            .collect();
        lower(oracle, &x, y, self.inner)?;
        let here = oracle.upper(&x, y, Batch::Full, Grad::NONE)?;
        if here < *value {
            *value = here;
            *best = Solution { x, y: y.clone(), z: y.clone() };
        }
        *k += 1;
        let evaluations = oracle.calls().total() - before;
        Ok(Progress {
            value: *value,
            evaluations,
            metrics: Vec::new(),
            converged: *k == self.trials,
            ..Progress::default()
        })
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.best)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.best)
    }
}
