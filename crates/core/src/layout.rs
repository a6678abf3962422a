use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a block of parameters is. Averaging rules, pruning filters and preconditioners ask for
/// the kind; they never guess from the name or the rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Weight of a linear map, `[out, in]`.
    Linear,
    /// Weight of a convolution in PyTorch's order: `[out, in/groups, k]` or `[out, in/groups, kh, kw]`.
    Conv,
    /// Additive constant, `[out]`.
    Bias,
    /// Multiplier of a normalisation layer or a scale layer, `[channels]`.
    NormScale,
    /// Offset of a normalisation layer, `[channels]`.
    NormShift,
    /// Table of vectors, `[entries, width]`.
    Embedding,
    /// Anything else: a plain vector of unknowns.
    Other,
}

/// A named, contiguous piece of the flat parameter buffer, row-major in `shape`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// PyTorch's name where there is one, e.g. `layer1.0.conv1.weight`.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// What the block is.
    pub kind: Kind,
    /// Index of the first element in the flat buffer.
    pub offset: usize,
    /// Frozen blocks get no gradient, no probe and no update.
    pub frozen: bool,
}

impl Block {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the block has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the block lies in the flat buffer.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// Names, shapes, kinds and offsets of the blocks of ONE flat parameter buffer.
///
/// ```
/// use thalweg_core::{Kind, Layout};
/// let mut layout = Layout::default();
/// layout.push("fc.weight", &[3, 2], Kind::Linear);
/// layout.push("fc.bias", &[3], Kind::Bias);
/// assert_eq!(layout.len(), 9);
/// assert_eq!(layout.get("fc.bias").unwrap().range(), 6..9);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    blocks: Vec<Block>,
}

impl Layout {
    /// One anonymous block of `n` unknowns, for problems without structure.
    pub fn flat(n: usize) -> Self {
        let mut layout = Self::default();
        layout.push("x", &[n], Kind::Other);
        layout
    }

    /// Appends a block behind the last one and returns its index.
    pub fn push(&mut self, name: impl Into<String>, shape: &[usize], kind: Kind) -> usize {
        let offset = self.len();
        self.blocks.push(Block { name: name.into(), shape: shape.to_vec(), kind, offset, frozen: false });
        self.blocks.len() - 1
    }

    /// The blocks in the order of the buffer.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The block of that name.
    pub fn get(&self, name: &str) -> Option<&Block> {
        self.blocks.iter().find(|b| b.name == name)
    }

    /// Freezes or thaws the block of that name; `false` if there is none.
    pub fn set_frozen(&mut self, name: &str, frozen: bool) -> bool {
        let block = self.blocks.iter_mut().find(|b| b.name == name);
        block.map(|b| b.frozen = frozen).is_some()
    }

    /// Length of the flat buffer.
    pub fn len(&self) -> usize {
        self.blocks.last().map_or(0, |b| b.range().end)
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name of the block that holds element `i`.
    pub fn name_of(&self, i: usize) -> &str {
        self.blocks.iter().find(|b| b.range().contains(&i)).map_or("?", |b| &b.name)
    }
}
