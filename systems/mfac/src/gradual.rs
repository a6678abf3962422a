use std::ops::Range;

use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;

/// When to prune and how fast to fine-tune in between; masks are held by [`thalweg_optim::Masked`].
///
/// ```
/// use thalweg_mfac::Gradual;
/// let plan = Gradual { targets: vec![0.5, 0.75], lr: vec![0.01, 0.001], epochs: 6, ..Gradual::default() };
/// assert_eq!((plan.epochs_after(0), plan.epochs_after(1)), (0..2, 2..6));
/// assert_eq!([0, 1, 2, 3].map(|epoch| plan.lr(epoch)), [0.01, 0.001, 0.01, 0.01]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gradual {
    /// Sparsity after each pruning step, not falling.
    pub targets: Vec<f64>,
    /// Epochs from one pruning step to the next, at least 1. Default 2.
    pub every: usize,
    /// Epochs in all, enough for every pruning step. Default 10.
    pub epochs: usize,
    /// Rates of the epochs between two pruning steps, from the first again after each step; the
    /// first also holds after the last step. Default 0.005, 0.0005.
    pub lr: Vec<f64>,
    /// Epochs after the last pruning step from which on the rate is divided by 10 (once more).
    /// Default none.
    pub drops: Vec<usize>,
    /// Momentum of the fine-tuning in [0, 1). Default 0.9.
    pub momentum: f64,
    /// Examples per fine-tuning step. Default 128.
    pub batch: usize,
}

impl Default for Gradual {
    fn default() -> Self {
        let (targets, drops) = Default::default();
        Self { targets, every: 2, epochs: 10, lr: vec![0.005, 0.0005], drops, momentum: 0.9, batch: 128 }
    }
}

impl Gradual {
    /// Names the first field that is out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        let legal = !self.targets.is_empty()
            && self.targets.iter().all(|s| (0.0..=1.0).contains(s))
            && self.targets.is_sorted();
        let shown = format!("{:?}", self.targets);
        Invalid::check(legal, "targets", shown, "sparsities in [0, 1], none below the one before")?;
        Invalid::count("every", self.every)?;
        let last = self.last();
        Invalid::check(self.epochs > last, "epochs", self.epochs, &format!("more than {last}"))?;
        let legal = !self.lr.is_empty() && self.lr.iter().all(|lr| *lr >= 0.0 && lr.is_finite());
        Invalid::check(legal, "lr", format!("{:?}", self.lr), "finite numbers ≥ 0, at least one")?;
        Invalid::in_half_open("momentum", self.momentum, 0.0, 1.0)?;
        Invalid::count("batch", self.batch)
    }

    /// The epochs of fine-tuning between pruning step `stage` and the next, or the end.
    pub fn epochs_after(&self, stage: usize) -> Range<usize> {
        let first = stage * self.every;
        first..if stage + 1 < self.targets.len() { first + self.every } else { self.epochs }
    }

    /// The learning rate of this epoch.
    pub fn lr(&self, epoch: usize) -> f64 {
        if epoch < self.last() {
            return self.lr[epoch % self.every % self.lr.len()];
        }
        let drops = self.drops.iter().filter(|drop| **drop <= epoch).count();
        self.lr[0] * 0.1f64.powi(drops as i32)
    }

    /// The epoch before which the last pruning step is due.
    fn last(&self) -> usize {
        self.targets.len().saturating_sub(1) * self.every
    }
}
