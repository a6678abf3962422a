//! The layers: each one's forward and backward pass, written once for plain and dual numbers.

mod act;
mod attention;
mod conv;
mod dropout;
mod embed;
mod linear;
mod norm;
mod pool;
mod shape;
mod sort;

use std::ops::Range;

use thalweg_core::{Layout, Seed};

use crate::graph::{Graph, Op};
use crate::kernel::Scalar;
use crate::num::Num;
use crate::planes::{Lane, Planes, PlanesMut};

/// How a pass treats batch normalisation and dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Batch statistics; dropout masks drawn from `(seed, step, layer)`, hence the same for every
    /// pass of one step.
    Train {
        /// Seed of the masks.
        seed: Seed,
        /// Step of the run.
        step: u64,
    },
    /// Running statistics, no dropout.
    Eval,
}

impl Mode {
    /// Training mode for nets without dropout or at step 0.
    pub fn train() -> Self {
        Self::Train { seed: Seed(0), step: 0 }
    }
}

/// All parameters and, where the pass differentiates, one direction per tangent.
#[derive(Clone, Copy)]
pub(crate) struct Params<'a, T> {
    pub value: &'a [T],
    /// Empty where the parameters are constant.
    pub tangents: &'a [&'a [T]],
}

impl<'a, T: Scalar> Params<'a, T> {
    pub fn lane<N: Num<T>>(&self, block: &Range<usize>, p: usize, zeros: &'a [T]) -> Lane<'a, T> {
        let t = match (N::DUAL, self.tangents.get(p)) {
            (false, _) => &[],
            (true, Some(z)) => &z[block.clone()],
            (true, None) => &zeros[..block.len()],
        };
        Lane { v: &self.value[block.clone()], t }
    }
}

/// Where parameter gradients (value) and Hessian-vector products (tangents) go. Each layer
/// overwrites its own blocks.
pub(crate) struct Grads<'a, T> {
    pub value: &'a mut [T],
    pub tangents: Vec<&'a mut [T]>,
}

impl<T: Scalar> Grads<'_, T> {
    /// Stores per-element sums of a block.
    pub fn put(&mut self, block: &Range<usize>, p: usize, sums: impl Iterator<Item = (f64, f64)>) {
        for (i, (v, t)) in block.clone().zip(sums) {
            self.value[i] = T::from_f64(v);
            if let Some(h) = self.tangents.get_mut(p) {
                h[i] = T::from_f64(t);
            }
        }
    }
}

/// What a layer may look at during a pass.
pub(crate) struct Cx<'a, T> {
    pub batch: usize,
    /// Number of tangent directions.
    pub r: usize,
    pub mode: Mode,
    pub params: Params<'a, T>,
    /// Running statistics.
    pub buffers: &'a [T],
    pub zeros: &'a [T],
}

/// What a layer keeps from forward to backward, and its scratch; reused from step to step.
#[derive(Default)]
pub(crate) struct Cache<T> {
    pub saved: Vec<T>,
    pub index: Vec<u32>,
    pub scratch: Vec<T>,
    /// Batch mean and variance per channel, for the running statistics.
    pub stats: Vec<(f64, f64)>,
}

/// Inputs, output and output cotangent of a layer, and where its input cotangents go (`None`
/// where nobody needs them). All cotangents have all tangent planes.
pub(crate) struct Io<'a, 'b, T> {
    pub x: &'a [Planes<'b, T>],
    pub y: Planes<'b, T>,
    pub dy: Planes<'b, T>,
    pub dx: &'a mut [Option<PlanesMut<'b, T>>],
}

/// One operation with its geometry and the places of its parameters.
pub(crate) trait Layer<T: Scalar>: Send + Sync {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, cache: &mut Cache<T>);
    fn backward(
        &self,
        cx: &Cx<'_, T>,
        io: Io<'_, '_, T>,
        grads: Option<&mut Grads<'_, T>>,
        cache: &mut Cache<T>,
    );
}

/// Calls a generic method with plain numbers, or once per tangent with dual numbers.
macro_rules! lanes {
    ($cx:expr, $t:ty, $p:ident => $obj:ident . $f:ident ( $($arg:expr),* $(,)? )) => {
        if $cx.r == 0 {
            let $p = 0;
            $obj.$f::<$t, $t>($($arg),*);
        } else {
            for $p in 0..$cx.r {
                $obj.$f::<$t, crate::num::Dual<$t>>($($arg),*);
            }
        }
    };
    ($cx:expr, $t:ty, $p:ident => $f:ident ( $($arg:expr),* $(,)? )) => {
        if $cx.r == 0 {
            let $p = 0;
            $f::<$t, $t>($($arg),*);
        } else {
            for $p in 0..$cx.r {
                $f::<$t, crate::num::Dual<$t>>($($arg),*);
            }
        }
    };
}
pub(crate) use lanes;

/// Builds the layer of node `i`.
pub(crate) fn build<T: Scalar>(
    graph: &Graph,
    i: usize,
    shapes: &[Vec<usize>],
    layout: &Layout,
    buffers: &Layout,
) -> Box<dyn Layer<T>> {
    let node = &graph.nodes[i];
    let (x, y) = (&shapes[node.inputs[0]], &shapes[i + 1]);
    let c = x[x.len() - 1];
    let block = |part: &str| layout.get(&format!("{}.{part}", node.name)).map_or(0..0, |b| b.range());
    let buffer = |part: &str| buffers.get(&format!("{}.{part}", node.name)).map_or(0..0, |b| b.range());
    let (weight, bias) = (block("weight"), block("bias"));
    match &node.op {
        Op::Linear { out, .. } => Box::new(linear::Linear { input: c, out: *out, weight, bias }),
        Op::Conv1d { .. } | Op::Conv2d { .. } => Box::new(conv::Convolution::new(&node.op, x, weight, bias)),
        Op::BatchNorm { eps, .. } => Box::new(norm::BatchNorm {
            c,
            eps: *eps,
            scale: weight,
            shift: bias,
            mean: buffer("running_mean"),
            var: buffer("running_var"),
        }),
        Op::LayerNorm { eps } => Box::new(norm::LayerNorm { c, eps: *eps, scale: weight, shift: bias }),
        Op::Scale {} => Box::new(norm::Scale { c, scale: weight }),
        Op::Act { act } => act::build(*act),
        Op::Softmax {} => Box::new(act::Softmax { c }),
        Op::GroupSort { size } => Box::new(sort::GroupSort { size: if *size == 0 { c } else { *size } }),
        Op::Householder {} => Box::new(sort::Householder { c, angle: weight }),
        Op::MaxPool { k, stride, pad } => Box::new(pool::Pool {
            x: to3(x),
            y: to3(y),
            k: *k,
            stride: stride.unwrap_or(*k),
            pad: *pad,
            max: true,
        }),
        Op::AvgPool { k, stride, pad } => Box::new(pool::Pool {
            x: to3(x),
            y: to3(y),
            k: *k,
            stride: stride.unwrap_or(*k),
            pad: *pad,
            max: false,
        }),
        Op::GlobalAvgPool {} => Box::new(pool::GlobalAvg { positions: x[..x.len() - 1].iter().product(), c }),
        Op::Flatten {} => Box::new(shape::Flatten { positions: x[..x.len() - 1].iter().product(), c }),
        Op::Embedding { vocab, width } => Box::new(embed::Embedding { vocab: *vocab, width: *width, weight }),
        Op::PositionalEmbedding {} => Box::new(embed::Positional { weight }),
        Op::Attention { heads, causal } => {
            Box::new(attention::Attention { length: x[0], width: c / 3, heads: *heads, causal: *causal })
        }
        Op::Dropout { p } => Box::new(dropout::Dropout { p: *p, layer: i }),
        Op::Add {} => Box::new(shape::Add),
        Op::PadShortcut { step, out } => {
            Box::new(shape::PadShortcut { x: to3(x), y: to3(y), step: *step, out: *out })
        }
    }
}

fn to3(s: &[usize]) -> [usize; 3] {
    [s[0], s[1], s[2]]
}
