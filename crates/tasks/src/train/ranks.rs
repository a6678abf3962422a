use std::ops::Range;

use thalweg_comm::{Alone, Collective, CommError, share};
use thalweg_core::{LayerStats, MethodError, Real, StopReason};

/// The workers that train together, and how much of the current mini-batch is this one's.
///
/// A mean over all examples is the sum over the ranks of `weight · mean over its share`.
pub(super) struct Ranks<'a> {
    pub collective: Box<dyn Collective + 'a>,
    /// This rank's part of the examples: the weight of statistics.
    pub examples: f64,
    /// This rank's part of what the loss divides by: the weight of the loss and its derivatives.
    pub loss: f64,
}

impl Default for Ranks<'_> {
    fn default() -> Self {
        Self { collective: Box::new(Alone), examples: 1.0, loss: 1.0 }
    }
}

impl Ranks<'_> {
    /// Takes this rank's share of a mini-batch of `n` examples.
    pub fn share(&mut self, n: usize) -> Range<usize> {
        let mine = share(n, self.collective.rank(), self.collective.size());
        self.examples = mine.len() as f64 / n as f64;
        self.loss = self.examples;
        mine
    }

    /// The loss divides by a sum to which this rank's share contributes `mine`.
    pub fn weigh_loss(&mut self, mine: f64) -> Result<(), MethodError> {
        let mut total = [mine];
        self.collective.all_reduce_sum_f64(&mut total).map_err(failed)?;
        self.loss = mine / total[0];
        Ok(())
    }

    /// Replaces `x` by its mean over the ranks.
    pub fn mean(&mut self, weight: f64, x: &mut [f32]) -> Result<(), MethodError> {
        if self.collective.size() == 1 || x.is_empty() {
            return Ok(());
        }
        scale(weight, x);
        self.collective.all_reduce_sum(x).map_err(failed)
    }

    /// [`Ranks::mean`] in double precision.
    pub fn mean_f64(&mut self, weight: f64, x: &mut [f64]) -> Result<(), MethodError> {
        if self.collective.size() == 1 || x.is_empty() {
            return Ok(());
        }
        scale(weight, x);
        self.collective.all_reduce_sum_f64(x).map_err(failed)
    }

    /// What the layers saw of this rank's share becomes what they saw of the whole mini-batch: one
    /// call, in single precision, of two vectors per layer (and the second moments where given).
    pub fn mean_stats(&mut self, stats: &mut [LayerStats]) -> Result<(), MethodError> {
        if self.collective.size() == 1 {
            return Ok(());
        }
        let (inputs, losses) = (self.examples, self.loss);
        let parts = |s: &mut LayerStats, each: &mut dyn FnMut(f64, &mut [f64])| {
            each(inputs, &mut s.input_mean);
            each(losses, &mut s.output_grad);
            if let Some(moments) = &mut s.moments {
                each(inputs, &mut moments.input);
                each(losses * losses, &mut moments.output);
            }
        };
        let mut sent = Vec::new();
        for s in stats.iter_mut() {
            parts(s, &mut |weight, x| sent.extend(x.iter().map(|x| (weight * x) as f32)));
        }
        self.collective.all_reduce_sum(&mut sent).map_err(failed)?;
        let mut back = sent.into_iter().map(f64::from);
        for s in stats {
            parts(s, &mut |_, x| x.iter_mut().zip(&mut back).for_each(|(x, sum)| *x = sum));
            s.rows = (s.rows as f64 / inputs).round() as usize;
        }
        Ok(())
    }

    /// The reason of the first rank that has one.
    pub fn agree(&mut self, mine: Option<StopReason>) -> Result<Option<StopReason>, MethodError> {
        if !self.collective.any(mine.is_some()).map_err(failed)? {
            return Ok(None);
        }
        for root in 0..self.collective.size() {
            let mut code = [0; 2]; // whether there is one, and which
            postcard::to_slice(&mine, &mut code).map_err(|e| MethodError::Problem(Box::new(e)))?;
            self.collective.broadcast(root, &mut code).map_err(failed)?;
            if let Ok(Some(reason)) = postcard::from_bytes(&code) {
                return Ok(Some(reason));
            }
        }
        Ok(mine)
    }
}

/// `x ← weight · x`; of what has no weight, nothing remains.
fn scale<T: Real>(weight: f64, x: &mut [T]) {
    match weight {
        0.0 => x.fill(T::ZERO),
        _ => x.iter_mut().for_each(|x| *x *= T::from_f64(weight)),
    }
}

fn failed(e: CommError) -> MethodError {
    MethodError::Problem(Box::new(e))
}
