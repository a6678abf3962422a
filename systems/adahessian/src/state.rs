use serde::{Deserialize, Serialize};
use thalweg_core::{Iterate, Real, Seed};
use thalweg_optim::Guard;

/// The moments and counters of the method: all that an update changes beside the iterate.
/// [`crate::AdaHessian::moments`] makes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Moments<T> {
    /// Exponential average of the gradient, one number per unknown.
    pub m: Vec<T>,
    /// Exponential average of the squared, averaged diagonal, one number per averaging chunk,
    /// block after block.
    pub v: Vec<T>,
    /// Updates made; the clock of the gradient's bias correction.
    pub t: u64,
    /// Refreshes of the curvature; the clock of its bias correction.
    pub s: u64,
    /// Non-finite steps.
    pub guard: Guard,
}

impl<T> Moments<T> {
    /// Steps tried, also skipped ones; the clock of schedule and probes.
    pub fn steps(&self) -> u64 {
        self.t + self.guard.skipped
    }
}

/// The state of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct State<T> {
    /// The iterate, `[layout.len()]`.
    pub theta: Vec<T>,
    /// Moments and counters.
    pub moments: Moments<T>,
    /// Where the probes come from.
    pub seed: Seed,
    #[serde(skip)]
    pub(crate) scratch: Scratch<T>,
}

/// Buffers that outlive a step only to spare their allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch<T> {
    pub grad: Vec<T>,
    pub probes: Vec<Vec<T>>,
    pub products: Vec<Vec<T>>,
}

impl<T: Real> Scratch<T> {
    /// Makes room for `n` unknowns and `probes` probes.
    pub fn fit(&mut self, n: usize, probes: usize) {
        self.grad.resize(n, T::ZERO);
        for buffers in [&mut self.probes, &mut self.products] {
            buffers.resize_with(probes.max(buffers.len()), Vec::new);
            buffers.iter_mut().for_each(|b| b.resize(n, T::ZERO));
        }
    }
}

impl<T> Iterate<T> for State<T> {
    fn theta(&self) -> &[T] {
        &self.theta
    }
}
