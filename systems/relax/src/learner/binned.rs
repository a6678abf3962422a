use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Interval, Tsallis};

/// Tsallis-INF-CB: contexts fall into bins of equal width, and each bin has a bandit with its own
/// clock and scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binned {
    interval: Interval,
    bins: Vec<Tsallis>,
}

impl Binned {
    /// `bins` bandits of `arms` arms each.
    pub fn new(arms: usize, bins: usize, interval: Interval) -> Self {
        Self { interval, bins: vec![Tsallis::new(arms, false); bins] }
    }

    /// The bin with the nearest centre.
    fn bin(&self, context: f64) -> usize {
        let share = (self.interval.unit(context) + 1.0) / 2.0;
        ((share * self.bins.len() as f64) as usize).min(self.bins.len() - 1)
    }

    /// Draws an arm for a context; gives it with its probability.
    pub fn choose(&self, context: f64, rng: &mut ChaCha8Rng) -> (usize, f64) {
        self.bins[self.bin(context)].choose(rng)
    }

    /// Learns the cost of an arm that was drawn for this context with this probability.
    pub fn learn(&mut self, context: f64, arm: usize, probability: f64, cost: f64) {
        let bin = self.bin(context);
        self.bins[bin].learn(arm, probability, cost);
    }
}
