//! The layers: one file each, with all that is known about it. For the graph it is an [`Operation`]: its
//! shape rule, its parameters, its cost. For a pass it is a [`Layer`]: forward and backward, written once
//! for plain and dual numbers.
//!
//! To add one, write its file (from `scale.rs`, say), name it below and enter it in the list in `op.rs`.

mod act;
mod add;
mod attention;
mod batch_norm;
mod conv;
mod dropout;
mod embedding;
mod flatten;
mod global_avg_pool;
mod group_sort;
mod householder;
mod layer_norm;
mod linear;
mod pad_shortcut;
mod pool;
mod positional_embedding;
mod scale;
mod shape;
mod softmax;

use std::ops::Range;

use thalweg_core::{Kind, Layout, Seed};

use crate::kernel::{ConvShape, Scalar};
use crate::num::Num;
use crate::planes::{Lane, Planes, PlanesMut};

pub use act::Act;

/// What the graph asks of an operation, for the shapes of one example. `x` is the shape of the (first)
/// input and has been found good by [`Operation::shape`], `y` that of the output.
pub(crate) trait Operation {
    /// Whether it reads any number of layers; else it reads one.
    fn reads_many(&self) -> bool {
        false
    }
    /// Settings that would overflow where they are absurd.
    fn numbers(&self) -> Vec<usize> {
        Vec::new()
    }
    /// Output shape for the shapes of its inputs, or what is wrong with them.
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String>;
    /// Trainable blocks.
    fn parameters(&self, _x: &[usize]) -> Vec<Part> {
        Vec::new()
    }
    /// Running statistics.
    fn buffers(&self, _x: &[usize]) -> Vec<Part> {
        Vec::new()
    }
    /// Multiply-accumulates.
    fn macs(&self, _x: &[usize], _y: &[usize]) -> u64 {
        0
    }
    /// What a pass with so many planes of values and tangents keeps beside the output.
    fn memory(&self, _y: &[usize], _planes: usize) -> Memory {
        Memory::default()
    }
    /// The layer in its place.
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer>;
}

/// A block of an operation's own; its full name is `NODE.name`.
pub(crate) struct Part {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub kind: Kind,
}

impl Part {
    pub fn new(name: &'static str, shape: &[usize], kind: Kind) -> Self {
        Self { name, shape: shape.to_vec(), kind }
    }
}

/// Numbers of a [`Cache`].
#[derive(Default)]
pub(crate) struct Memory {
    pub saved: usize,
    pub index: usize,
    pub scratch: usize,
}

/// Where a layer stands: its node, shapes, and blocks in the flat buffers.
pub(crate) struct Place<'a> {
    pub node: usize,
    pub name: &'a str,
    pub x: &'a [usize],
    pub y: &'a [usize],
    pub layout: &'a Layout,
    pub buffers: &'a Layout,
}

impl Place<'_> {
    /// A block of the parameters; empty if there is none.
    pub fn parameter(&self, part: &str) -> Range<usize> {
        self.layout.get(&format!("{}.{part}", self.name)).map_or(0..0, |b| b.range())
    }
    /// A block of the running statistics; empty if there is none.
    pub fn buffer(&self, part: &str) -> Range<usize> {
        self.buffers.get(&format!("{}.{part}", self.name)).map_or(0..0, |b| b.range())
    }
}

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
    /// Whether the network's input is fit for it.
    fn check(&self, _input: &[T]) -> Result<(), String> {
        Ok(())
    }
    /// The linear map that it is, for statistics.
    fn linear_map(&self) -> Option<LinearMap<'_>> {
        None
    }
    /// Moves running statistics towards those of the last pass in training mode, whose output had `len`
    /// numbers, by `weight(momentum)`.
    fn update_running(
        &self,
        _len: usize,
        _cache: &Cache<T>,
        _weight: &dyn Fn(f64) -> f64,
        _buffers: &mut [T],
    ) {
    }
}

/// A layer for numbers of either precision.
pub(crate) trait AnyLayer: Layer<f32> + Layer<f64> {}
impl<L: Layer<f32> + Layer<f64>> AnyLayer for L {}

/// What a linear layer multiplies with its weight.
pub(crate) enum LinearMap<'a> {
    /// The rows of its input.
    Rows,
    /// The windows of a convolution.
    Windows(&'a ConvShape),
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
