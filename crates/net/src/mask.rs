use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use thalweg_core::{Layout, Real, replace_file};

use crate::NetError;

/// Which weights are kept, one flag per element of the flat parameter buffer; the others are
/// pruned and stay exactly 0.
///
/// ```
/// use thalweg_net::Mask;
/// let mask = Mask(vec![true, false, true]);
/// let mut theta = [1.0, 2.0, 3.0];
/// mask.apply(&mut theta);
/// assert_eq!(theta, [1.0, 0.0, 3.0]);
/// assert_eq!(mask.indices(), [0, 2]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mask(
    /// The flags.
    pub Vec<bool>,
);

impl Mask {
    /// Keeps the weights of the blocks that `chosen` takes, and nothing else.
    pub fn of_blocks(layout: &Layout, chosen: impl Fn(&thalweg_core::Block) -> bool) -> Self {
        let blocks = layout.blocks().iter();
        Self(blocks.flat_map(|b| std::iter::repeat_n(chosen(b), b.len())).collect())
    }

    /// Writes 0 over the pruned weights (or their gradients).
    pub fn apply<T: Real>(&self, values: &mut [T]) {
        values.iter_mut().zip(&self.0).filter(|(_, kept)| !**kept).for_each(|(v, _)| *v = T::ZERO);
    }

    /// Positions of the kept weights, ascending: the columns of [`crate::FlatGrads`].
    pub fn indices(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|&i| self.0[i]).collect()
    }

    /// Writes the flags as safetensors of truth values, under the blocks' names; the file appears
    /// whole or not at all.
    ///
    /// # Errors
    /// A mask of the wrong length, or a file that cannot be written.
    pub fn save(&self, layout: &Layout, path: impl AsRef<Path>) -> Result<(), NetError> {
        let path = path.as_ref();
        let bad = |why: String| NetError::file(path, format!("the mask cannot be written: {why}"));
        NetError::check("the mask", self.0.len(), layout.len())?;
        let bytes: Vec<u8> = self.0.iter().map(|&kept| kept.into()).collect();
        let views = layout.blocks().iter().map(|b| {
            let view = TensorView::new(Dtype::BOOL, b.shape.clone(), &bytes[b.range()])?;
            Ok((b.name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let file =
            views.and_then(|views| safetensors::serialize(views, None)).map_err(|e| bad(e.to_string()))?;
        replace_file(path, &[&file]).map_err(|e| bad(e.to_string()))
    }

    /// Reads what [`Mask::save`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read or is not a mask of these blocks.
    pub fn load(layout: &Layout, path: impl AsRef<Path>) -> Result<Self, NetError> {
        let path = path.as_ref();
        let bad = |why: String| NetError::file(path, why);
        let bytes = std::fs::read(path).map_err(|e| bad(format!("it cannot be read: {e}")))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| bad(format!("it is no mask: {e}")))?;
        let mut mask = Self(vec![true; layout.len()]);
        for b in layout.blocks() {
            let flags = tensors.tensor(&b.name).map_err(|e| bad(format!("{}: {e}", b.name)))?;
            if flags.dtype() != Dtype::BOOL || flags.shape() != b.shape {
                return Err(bad(format!(
                    "{} is no mask of shape {:?}; use this model's mask",
                    b.name, b.shape
                )));
            }
            mask.0[b.range()].iter_mut().zip(flags.data()).for_each(|(to, from)| *to = *from != 0);
        }
        Ok(mask)
    }
}
