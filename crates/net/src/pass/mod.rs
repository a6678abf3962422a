//! One caller's passes through a network: forward here, then backward, and what is asked of the two.

mod backward;
mod derivatives;
mod running;

use thalweg_core::LayerStats;

use crate::kernel::Scalar;
use crate::layer::{Cache, Cx, Mode, Params};
use crate::planes::{Planes, PlanesMut};
use crate::stats::Gather;
use crate::{Net, NetError};

/// One caller's workspace: activations, cotangents, caches and scratch, reused from step to step.
#[derive(Default)]
pub struct Pass<T> {
    /// Outputs by node, the input first; value plane and, where they exist, tangent planes.
    outs: Vec<Vec<T>>,
    /// Which outputs depend on the directions.
    dual: Vec<bool>,
    cotangents: Vec<Option<Vec<T>>>,
    pool: Vec<Vec<T>>,
    caches: Vec<Cache<T>>,
    /// Lent to one layer after the other.
    scratch: Vec<T>,
    zeros: Vec<T>,
    losses: Vec<(f64, f64)>,
    batch: usize,
    r: usize,
    /// What the next backward passes gather for [`Pass::stats`].
    pub gather: Gather,
    stats: Vec<LayerStats>,
    /// Whether cotangents stay available after a backward pass.
    pub keep_cotangents: bool,
}

/// Directions of a pass: parameter tangents and input tangents, equally many where both are given.
#[derive(Clone, Copy, Debug)]
pub struct Directions<'a, T> {
    /// One flat buffer of parameter length per direction, or none.
    pub theta: &'a [&'a [T]],
    /// One buffer of the input's length per direction, or none.
    pub x: &'a [&'a [T]],
}

impl<T> Default for Directions<'_, T> {
    fn default() -> Self {
        Self { theta: &[], x: &[] }
    }
}

impl<T: Scalar> Pass<T> {
    /// Runs the network forward and returns the output: `[batch, output shape]`.
    ///
    /// # Errors
    /// An empty batch, a buffer of the wrong length, a token outside its table.
    pub fn forward(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        x: &[T],
        mode: Mode,
    ) -> Result<&[T], NetError> {
        self.run(net, theta, buffers, x, Directions::default(), mode)?;
        Ok(self.output())
    }

    /// Output of the last forward pass.
    pub fn output(&self) -> &[T] {
        self.node_output(self.outs.len() - 1)
    }

    /// Output of node `i` of the last forward pass; 0 is the input, `i` the `i`-th layer from 1.
    pub fn node_output(&self, i: usize) -> &[T] {
        self.planes(i).value()
    }

    /// Losses of the rows of the last batch, each already divided as in the mean: they sum to it.
    pub fn losses(&self) -> impl Iterator<Item = f64> + '_ {
        self.losses.iter().map(|l| l.0)
    }

    /// What the last backward pass gathered: one entry per linear or convolutional layer that is
    /// not frozen, in the layout's order.
    pub fn stats(&self) -> &[LayerStats] {
        &self.stats
    }

    /// [`Pass::stats`], handed over: second moments are large.
    pub fn take_stats(&mut self) -> Vec<LayerStats> {
        std::mem::take(&mut self.stats)
    }

    /// Cotangent (value plane) of node `i`, if [`Pass::keep_cotangents`] was set.
    pub fn cotangent(&self, i: usize) -> Option<&[T]> {
        let c = self.cotangents.get(i)?.as_deref()?;
        Some(&c[..c.len() / (1 + self.r)])
    }

    fn planes(&self, i: usize) -> Planes<'_, T> {
        let planes = if self.dual[i] { 1 + self.r } else { 1 };
        Planes { data: &self.outs[i], len: self.outs[i].len() / planes, zeros: &self.zeros }
    }

    /// Forward pass with directions; afterwards [`Pass::output`] is the value and
    /// [`Pass::output_tangent`] the Jacobian's product with direction `p`.
    ///
    /// # Errors
    /// An empty batch, a buffer of the wrong length, a token outside its table.
    pub fn run(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        x: &[T],
        along: Directions<'_, T>,
        mode: Mode,
    ) -> Result<(), NetError> {
        let size = net.size(0);
        if x.is_empty() {
            return Err(NetError::EmptyBatch);
        }
        let batch = x.len() / size;
        NetError::check("the input", x.len(), batch.max(1) * size)?;
        NetError::check("the parameter buffer", theta.len(), net.layout.len())?;
        NetError::check("the buffer of running statistics", buffers.len(), net.buffers.len())?;
        for z in along.theta {
            NetError::check("a parameter direction", z.len(), theta.len())?;
        }
        for z in along.x {
            NetError::check("an input direction", z.len(), x.len())?;
        }
        if !along.theta.is_empty() && !along.x.is_empty() {
            NetError::check("the list of input directions", along.x.len(), along.theta.len())?;
        }
        for (layer, node) in net.layers.iter().zip(&net.graph.nodes) {
            layer.check(x).map_err(|why| NetError::graph(&node.name, why))?;
        }
        self.batch = batch;
        self.r = along.theta.len().max(along.x.len());
        self.caches.resize_with(net.layers.len(), Cache::default);
        self.outs.resize_with(net.shapes.len(), Vec::new);
        self.dual.clear();
        self.dual.push(!along.x.is_empty());
        for (node, blocks) in net.graph.nodes.iter().zip(&net.blocks) {
            let own = !along.theta.is_empty() && !blocks.is_empty();
            self.dual.push(own || node.inputs.iter().any(|&j| self.dual[j]));
        }
        if self.r > 0 {
            let largest = (0..net.shapes.len()).map(|i| net.size(i)).max().unwrap_or(0) * batch;
            self.zeros.resize(largest.max(theta.len()), T::ZERO);
        }
        let input = &mut self.outs[0];
        input.clear();
        input.extend_from_slice(x);
        along.x.iter().for_each(|z| input.extend_from_slice(z));

        let params = Params { value: theta, tangents: along.theta };
        for (i, layer) in net.layers.iter().enumerate() {
            let len = batch * net.size(i + 1);
            let mut out = std::mem::take(&mut self.outs[i + 1]);
            out.resize(len * if self.dual[i + 1] { 1 + self.r } else { 1 }, T::ZERO);
            let mut cache = std::mem::take(&mut self.caches[i]);
            std::mem::swap(&mut cache.scratch, &mut self.scratch);
            let r = if self.dual[i + 1] { self.r } else { 0 };
            let cx = Cx { batch, r, mode, params, buffers, zeros: &self.zeros };
            let x: Vec<_> = net.graph.nodes[i].inputs.iter().map(|&j| self.planes(j)).collect();
            layer.forward(&cx, &x, &mut PlanesMut { data: &mut out, len, acc: false }, &mut cache);
            self.outs[i + 1] = out;
            std::mem::swap(&mut cache.scratch, &mut self.scratch);
            self.caches[i] = cache;
        }
        Ok(())
    }

    /// Tangent `p` of the last forward pass's output, if it had directions.
    pub fn output_tangent(&self, p: usize) -> Option<&[T]> {
        self.planes(self.outs.len() - 1).tangent(p)
    }

    /// Whether all outputs of the last forward pass are finite.
    ///
    /// # Errors
    /// [`NetError::NonFinite`] with the first layer whose output is not.
    pub fn check_finite(&self, net: &Net<T>) -> Result<(), NetError> {
        match self.non_finite_layer(net) {
            Some(layer) => Err(NetError::NonFinite { layer: layer.into() }),
            None => Ok(()),
        }
    }

    /// Bytes that this workspace holds: outputs, cotangents, layers' caches and scratch.
    pub fn bytes(&self) -> usize {
        let of = |v: &Vec<T>| v.capacity() * size_of::<T>();
        let outs = self.outs.iter().chain(&self.pool).chain(self.cotangents.iter().flatten());
        let caches = self.caches.iter().map(|c| of(&c.saved) + 4 * c.index.capacity());
        outs.map(of).sum::<usize>() + caches.sum::<usize>() + of(&self.zeros) + of(&self.scratch)
    }

    /// The first layer whose output in the last forward pass is not finite.
    pub fn non_finite_layer<'n>(&self, net: &'n Net<T>) -> Option<&'n str> {
        let bad = |i: &usize| self.outs[*i].iter().any(|x| !x.is_finite());
        let i = (0..self.outs.len()).find(bad)?;
        Some(if i == 0 { "input" } else { &net.graph.nodes[i - 1].name })
    }
}
