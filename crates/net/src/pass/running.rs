//! Running statistics.

use thalweg_core::Seed;

use super::{Directions, Pass};
use crate::kernel::Scalar;
use crate::layer::Mode;
use crate::{Net, NetError};

impl<T: Scalar> Pass<T> {
    /// Moves the running statistics towards the batch statistics of the last training-mode pass;
    /// called once per step by whoever drives the training.
    pub fn update_running(&self, net: &Net<T>, buffers: &mut [T]) {
        self.running(net, buffers, |momentum| momentum);
    }

    fn running(&self, net: &Net<T>, buffers: &mut [T], weight: impl Fn(f64) -> f64) {
        for (i, (layer, cache)) in net.layers.iter().zip(&self.caches).enumerate() {
            layer.update_running(self.planes(i + 1).len, cache, &weight, buffers);
        }
    }

    /// Running statistics estimated afresh as the plain mean over `batches` of inputs.
    ///
    /// # Errors
    /// An empty batch, a buffer of the wrong length, a token outside its table.
    pub fn reestimate<'a>(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        batches: impl Iterator<Item = &'a [T]>,
    ) -> Result<Vec<T>, NetError> {
        let mut buffers = vec![T::ZERO; net.buffers.len()];
        for (k, x) in batches.enumerate() {
            // Each batch has dropout masks of its own, as in training.
            let mode = Mode::Train { seed: Seed(0), step: k as u64 };
            self.run(net, theta, &buffers, x, Directions::default(), mode)?;
            self.running(net, &mut buffers, |_| 1.0 / (k + 1) as f64);
        }
        Ok(buffers)
    }
}
