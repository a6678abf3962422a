use serde::{Deserialize, Serialize};
use thalweg_core::{Layout, Real};

/// Which weights are alive, one flag per element of the flat parameter buffer; the others are
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
    /// The weights of the blocks that `chosen` takes; nothing else is alive.
    pub fn of_blocks(layout: &Layout, chosen: impl Fn(&thalweg_core::Block) -> bool) -> Self {
        let blocks = layout.blocks().iter();
        Self(blocks.flat_map(|b| std::iter::repeat_n(chosen(b), b.len())).collect())
    }

    /// Writes 0 over the dead weights (or their gradients).
    pub fn apply<T: Real>(&self, values: &mut [T]) {
        values.iter_mut().zip(&self.0).filter(|(_, alive)| !**alive).for_each(|(v, _)| *v = T::ZERO);
    }

    /// Positions of the alive weights, ascending: the columns of [`crate::FlatGrads`].
    pub fn indices(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|&i| self.0[i]).collect()
    }
}
