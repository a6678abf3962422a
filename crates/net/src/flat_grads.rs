use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::kernel::Scalar;
use crate::{Batch, Mode, Net, NetError, Pass};

/// Gradients of many micro-batches as rows of a matrix (for Fisher matrices and pruning scores):
/// a workspace to be reused from call to call.
#[derive(Default)]
pub struct FlatGrads<T> {
    /// A pass and a full gradient for each micro-batch under way.
    idle: Mutex<Vec<(Pass<T>, Vec<T>)>>,
}

impl<T: Scalar> FlatGrads<T> {
    /// Writes the mean gradient of `batches[i]` into `rows[i]` and returns the mean losses.
    ///
    /// A row holds the entries of the flat gradient that `keep` lists, in its order, or all of
    /// them. Gradients of frozen blocks are 0 and cost nothing: freeze what `keep` leaves out.
    /// Micro-batches run in parallel, one [`Pass`] each; in training mode each has its own batch
    /// statistics, and all have the dropout masks of the step. Rows do not depend on the number of
    /// threads.
    ///
    /// # Errors
    /// A row or a batch of the wrong length, an index outside the parameters, an empty batch.
    pub fn run(
        &self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        batches: &[Batch<'_, T>],
        mode: Mode,
        keep: Option<&[usize]>,
        rows: &mut [&mut [T]],
    ) -> Result<Vec<f64>, NetError> {
        let n = net.layout().len();
        NetError::check("the list of rows", rows.len(), batches.len())?;
        for row in rows.iter() {
            NetError::check("a row", row.len(), keep.map_or(n, <[usize]>::len))?;
        }
        if let Some(&found) = keep.unwrap_or_default().iter().find(|&&i| i >= n) {
            return Err(NetError::Index { found, len: n });
        }
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |(batch, row): (&Batch<'_, T>, &mut &mut [T])| {
            let taken = idle().pop();
            let (mut pass, mut grad) = taken.unwrap_or_default();
            let loss = match keep {
                None => pass.loss_grad(net, theta, buffers, batch, mode, row),
                Some(keep) => {
                    grad.resize(n, T::ZERO);
                    let loss = pass.loss_grad(net, theta, buffers, batch, mode, &mut grad);
                    row.iter_mut().zip(keep).for_each(|(r, &i)| *r = grad[i]);
                    loss
                }
            };
            idle().push((pass, grad));
            loss
        };
        batches.par_iter().zip(rows).map(one).collect()
    }
}
