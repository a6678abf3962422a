//! The vocabulary: the one list of operations. What an operation means is said in its own file under
//! `layer/`: an [`Operation`] for the graph and a [`Layer`](crate::layer::Layer) that computes.

use serde::{Deserialize, Serialize};

use crate::layer::Operation;

/// Makes of the list the enum, a struct of each operation's settings for its file, and the one match
/// that leads from the former to the latter.
macro_rules! operations {
    ($(
        $(#[$about:meta])*
        $name:ident { $( $(#[$note:meta])* $setting:ident: $type:ty, )* }
    )*) => {
        /// A layer of the vocabulary. Widths of inputs are inferred; a layer states only its own.
        ///
        /// Shapes are per example and channels last: `[d]`, `[length, channels]`, `[h, w, channels]`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
        pub enum Op {
            $( $(#[$about])* $name { $( $(#[$note])* $setting: $type, )* }, )*
        }

        $( pub(crate) struct $name { $( pub $setting: $type, )* } )*

        impl Op {
            /// What its file says of it.
            pub(crate) fn described(&self) -> Box<dyn Operation> {
                match *self {
                    $( Op::$name { $( $setting, )* } => Box::new($name { $( $setting, )* }), )*
                }
            }
        }
    };
}

operations! {
    /// `y = W x + b` on the last axis; `W` is `[out, in]`.
    Linear {
        /// Output width.
        out: usize,
        /// Whether there is a bias.
        #[serde(default = "yes")]
        bias: bool,
    }
    /// Convolution along `[length, channels]`; weight `[out, in/groups, k]`.
    Conv1d {
        /// Output channels.
        out: usize,
        /// Kernel length.
        k: usize,
        /// Step of the window.
        #[serde(default = "one")]
        stride: usize,
        /// Zero (or wrapped) cells before and after.
        #[serde(default)]
        pad: [usize; 2],
        /// Distance of the taps.
        #[serde(default = "one")]
        dilation: usize,
        /// Number of channel groups.
        #[serde(default = "one")]
        groups: usize,
        /// Wrap around instead of padding with zeros.
        #[serde(default)]
        circular: bool,
        /// Whether there is a bias.
        #[serde(default = "yes")]
        bias: bool,
    }
    /// Convolution over `[h, w, channels]`; weight in PyTorch's order `[out, in/groups, kh, kw]`.
    Conv2d {
        /// Output channels.
        out: usize,
        /// Kernel height and width.
        k: [usize; 2],
        /// Steps of the window.
        #[serde(default = "one2")]
        stride: [usize; 2],
        /// Padding: top, bottom, left, right (may differ, as in TensorFlow's SAME).
        #[serde(default)]
        pad: [usize; 4],
        /// Distances of the taps.
        #[serde(default = "one2")]
        dilation: [usize; 2],
        /// Number of channel groups; `groups = channels` is a depthwise convolution.
        #[serde(default = "one")]
        groups: usize,
        /// Wrap around instead of padding with zeros.
        #[serde(default)]
        circular: bool,
        /// Whether there is a bias.
        #[serde(default = "yes")]
        bias: bool,
    }
    /// Batch normalisation of the last axis (Ioffe and Szegedy 2015).
    BatchNorm {
        /// Added to the variance.
        #[serde(default = "eps5")]
        eps: f64,
        /// Weight of the newest batch in the running statistics.
        #[serde(default = "tenth")]
        momentum: f64,
    }
    /// Layer normalisation of the last axis (Ba et al. 2016).
    LayerNorm {
        /// Added to the variance.
        #[serde(default = "eps5")]
        eps: f64,
    }
    /// Elementwise activation.
    Act {
        /// Which one.
        act: crate::Act,
    }
    /// Softmax over the last axis.
    Softmax {}
    /// Sorts groups of `size` neighbouring channels, ascending; `size = 2` is MaxMin
    /// (Anil et al. 2019), `size = 0` sorts all channels.
    GroupSort {
        /// Channels per group.
        size: usize,
    }
    /// Householder activation on pairs of channels `(i, i + c/2)` with one trained angle a pair
    /// (Singla et al. 2022).
    Householder {}
    /// Maximum over windows.
    MaxPool {
        /// Window.
        k: [usize; 2],
        /// Steps of the window; the window itself if absent.
        #[serde(default)]
        stride: Option<[usize; 2]>,
        /// Padding: top, bottom, left, right (never wins).
        #[serde(default)]
        pad: [usize; 4],
    }
    /// Mean over windows; padded cells count as zeros.
    AvgPool {
        /// Window.
        k: [usize; 2],
        /// Steps of the window; the window itself if absent.
        #[serde(default)]
        stride: Option<[usize; 2]>,
        /// Padding: top, bottom, left, right.
        #[serde(default)]
        pad: [usize; 4],
    }
    /// Mean over all positions: `[.., channels]` to `[channels]`.
    GlobalAvgPool {}
    /// To one axis, in PyTorch's order (channel, row, column).
    Flatten {}
    /// Looks up a row of a `[vocab, width]` table for each token.
    Embedding {
        /// Number of tokens.
        vocab: usize,
        /// Length of a row.
        width: usize,
    }
    /// Adds a trained vector to each position of `[length, width]`.
    PositionalEmbedding {}
    /// Multi-head scaled dot-product attention on `[length, 3·width]` (query, key, value side by
    /// side, each split into heads) to `[length, width]`; the projections are `linear` layers.
    Attention {
        /// Number of heads; divides the width.
        heads: usize,
        /// Each position sees itself and its past only.
        #[serde(default)]
        causal: bool,
    }
    /// Zeroes each value with probability `p` in training and scales the rest by `1/(1−p)`.
    Dropout {
        /// Probability of a zero.
        p: f64,
    }
    /// Sum of all inputs.
    Add {}
    /// Multiplies each channel by a trained number.
    Scale {}
    /// Keeps every `step`-th row and column and pads the channels with zeros evenly before and
    /// after: the parameter-free "option A" shortcut of ResNets (He et al. 2016).
    PadShortcut {
        /// Step in rows and columns.
        step: usize,
        /// Output channels.
        out: usize,
    }
}

fn yes() -> bool {
    true
}
fn one() -> usize {
    1
}
fn one2() -> [usize; 2] {
    [1, 1]
}
fn eps5() -> f64 {
    1e-5
}
fn tenth() -> f64 {
    0.1
}
