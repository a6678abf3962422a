use std::any::Any;

use thalweg_core::Layout;

use crate::NetError;
use crate::graph::Graph;
use crate::kernel::Scalar;
use crate::layer::{AnyLayer, Layer, Place};
use crate::loss::Loss;
use crate::op::Op;

/// A network ready to compute in `f32` or `f64`: the graph with its layers built. It holds no
/// numbers; parameters, running statistics and workspace ([`Pass`](crate::Pass)) are the caller's.
///
/// ```
/// use thalweg_net::{Batch, Mode, Net, Pass, Targets, named};
/// let net = Net::<f64>::new(named("mlp:2-3-2:tanh", &[2], 2)?)?;
/// let theta: Vec<f64> = (0..net.layout().len()).map(|i| (i as f64).sin()).collect();
/// let batch = Batch { x: &[0.5, -1.0], targets: Targets::Classes(&[1]), weights: None };
/// let (mut pass, mut grad) = (Pass::default(), vec![0.0; theta.len()]);
/// let loss = pass.loss_grad(&net, &theta, &[], &batch, Mode::Eval, &mut grad)?;
/// assert!(loss > 0.0);
/// # Ok::<(), thalweg_net::NetError>(())
/// ```
pub struct Net<T> {
    pub(crate) graph: Graph,
    pub(crate) shapes: Vec<Vec<usize>>,
    pub(crate) layout: Layout,
    pub(crate) buffers: Layout,
    pub(crate) layers: Vec<Box<dyn Layer<T>>>,
    /// Trainable blocks of each node, as indices into the layout.
    pub(crate) blocks: Vec<Vec<usize>>,
    /// Options of the loss.
    pub loss: Loss,
}

impl<T: Scalar> Net<T> {
    /// Builds every layer; the graph is checked.
    ///
    /// # Errors
    /// A graph that is not well formed.
    pub fn new(graph: Graph) -> Result<Self, NetError> {
        let (shapes, layout, buffers) = (graph.shapes()?, graph.layout()?, graph.buffers()?);
        let mut index = 0..;
        let (mut layers, mut blocks) = (Vec::new(), Vec::new());
        for (i, node) in graph.nodes.iter().enumerate() {
            let (op, x, y) = (node.op.described(), &shapes[node.inputs[0]], &shapes[i + 1]);
            blocks.push(index.by_ref().take(op.parameters(x).len()).collect());
            layers.push(op.build(&Place {
                node: i,
                name: &node.name,
                x,
                y,
                layout: &layout,
                buffers: &buffers,
            }));
        }
        let layers = of_precision(layers);
        Ok(Self { graph, shapes, layout, buffers, layers, blocks, loss: Loss::default() })
    }

    /// The layers and how they are wired.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The trainable blocks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Freezes or thaws a block; `false` if there is none of that name. Frozen blocks cost no
    /// parameter gradient: theirs is zero.
    pub fn set_frozen(&mut self, block: &str, frozen: bool) -> bool {
        self.layout.set_frozen(block, frozen)
    }

    /// The running statistics.
    pub fn buffers(&self) -> &Layout {
        &self.buffers
    }

    /// Shape of one input example.
    pub fn input_shape(&self) -> &[usize] {
        &self.shapes[0]
    }

    /// Shape of one output example; the last axis holds the classes.
    pub fn output_shape(&self) -> &[usize] {
        &self.shapes[self.shapes.len() - 1]
    }

    /// Width of the output's last axis.
    pub fn classes(&self) -> usize {
        *self.output_shape().last().unwrap_or(&0)
    }

    /// The last linear layer: `(first index of W, first index of b or none, inputs, outputs)` in
    /// the flat buffer.
    pub fn head(&self) -> Option<(usize, Option<usize>, usize, usize)> {
        let node = self.graph.nodes.iter().rev().find(|n| matches!(n.op, Op::Linear { .. }))?;
        let w = self.layout.get(&format!("{}.weight", node.name))?;
        let b = self.layout.get(&format!("{}.bias", node.name)).map(|b| b.offset);
        Some((w.offset, b, w.shape[1], w.shape[0]))
    }

    /// Numbers of an example at node `i`; 0 is the input.
    pub(crate) fn size(&self, i: usize) -> usize {
        self.shapes[i].iter().product()
    }

    /// Whether a node has a block that is not frozen.
    pub(crate) fn trains(&self, node: usize) -> bool {
        self.blocks[node].iter().any(|&b| !self.layout.blocks()[b].frozen)
    }
}

/// The layers for numbers of type `T`. They come from functions that are not generic, so that their code
/// is compiled once, in this crate, and not again in each crate that uses it.
fn of_precision<T: Scalar>(layers: Vec<Box<dyn AnyLayer>>) -> Vec<Box<dyn Layer<T>>> {
    let mut all: Vec<Box<dyn Layer<T>>> = Vec::new();
    let any: &mut dyn Any = &mut all;
    if let Some(all) = any.downcast_mut::<Vec<Box<dyn Layer<f32>>>>() {
        all.extend(layers.into_iter().map(|layer| layer as Box<dyn Layer<f32>>));
    } else if let Some(all) = any.downcast_mut::<Vec<Box<dyn Layer<f64>>>>() {
        all.extend(layers.into_iter().map(|layer| layer as Box<dyn Layer<f64>>));
    } else {
        unreachable!("`Scalar` is sealed: f32 and f64");
    }
    all
}
