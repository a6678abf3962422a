use std::any::Any;

use thalweg_core::{LayerStats, Layout};

use crate::NetError;
use crate::graph::{Graph, Op};
use crate::kernel::Scalar;
use crate::layer::{self, Cache, Cx, Grads, Io, Layer, Mode, Params};
use crate::loss::{self, Batch, Loss};
use crate::planes::{Planes, PlanesMut};
use crate::stats::{Gather, layer_stats};

/// A network ready to compute in `f32` or `f64`: the graph with its layers built. It holds no
/// numbers; parameters, running statistics and workspace ([`Pass`]) are the caller's.
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
    graph: Graph,
    shapes: Vec<Vec<usize>>,
    layout: Layout,
    buffers: Layout,
    layers: Vec<Box<dyn Layer<T>>>,
    /// Trainable blocks of each node, as indices into the layout.
    blocks: Vec<Vec<usize>>,
    /// Options of the loss.
    pub loss: Loss,
}

impl<T: Scalar> Net<T> {
    /// Builds every layer; the graph is checked.
    pub fn new(graph: Graph) -> Result<Self, NetError> {
        let (shapes, layout, buffers) = (graph.shapes()?, graph.layout()?, graph.buffers()?);
        let layers = build_all(&graph, &shapes, &layout, &buffers);
        let mut blocks = Vec::new();
        for node in &graph.nodes {
            let own = ["weight", "bias"].map(|part| format!("{}.{part}", node.name));
            let is_own = |i: &usize| own.contains(&layout.blocks()[*i].name);
            blocks.push((0..layout.blocks().len()).filter(is_own).collect());
        }
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

    fn size(&self, i: usize) -> usize {
        self.shapes[i].iter().product()
    }

    fn trains(&self, node: usize) -> bool {
        self.blocks[node].iter().any(|&b| !self.layout.blocks()[b].frozen)
    }
}

type Layers<T> = Vec<Box<dyn Layer<T>>>;

/// Builds every layer by way of functions that are not generic, so that the layers' code is
/// compiled once, in this crate, and not again in each crate that uses it.
fn build_all<T: Scalar>(
    graph: &Graph,
    shapes: &[Vec<usize>],
    layout: &Layout,
    buffers: &Layout,
) -> Layers<T> {
    fn build<T: Scalar>(
        graph: &Graph,
        shapes: &[Vec<usize>],
        layout: &Layout,
        buffers: &Layout,
    ) -> Layers<T> {
        (0..graph.nodes.len()).map(|i| layer::build(graph, i, shapes, layout, buffers)).collect()
    }
    fn single(graph: &Graph, shapes: &[Vec<usize>], layout: &Layout, buffers: &Layout) -> Layers<f32> {
        build(graph, shapes, layout, buffers)
    }
    fn double(graph: &Graph, shapes: &[Vec<usize>], layout: &Layout, buffers: &Layout) -> Layers<f64> {
        build(graph, shapes, layout, buffers)
    }
    let mut layers: Layers<T> = Vec::new();
    let any: &mut dyn Any = &mut layers;
    if let Some(layers) = any.downcast_mut() {
        *layers = single(graph, shapes, layout, buffers);
    } else if let Some(layers) = any.downcast_mut() {
        *layers = double(graph, shapes, layout, buffers);
    } else {
        unreachable!("`Scalar` is sealed: f32 and f64");
    }
    layers
}

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
        check_tokens(net, x)?;
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

    /// Runs backward from the cotangent that lies on node `from`. `grads` may be absent.
    fn backward(
        &mut self,
        net: &Net<T>,
        params: Params<'_, T>,
        buffers: &[T],
        mode: Mode,
        from: usize,
        mut grads: Option<Grads<'_, T>>,
        want_input: bool,
    ) {
        let mut needed = vec![want_input];
        for (i, node) in net.graph.nodes.iter().enumerate() {
            let own = grads.is_some() && net.trains(i);
            needed.push(own || node.inputs.iter().any(|&j| needed[j]));
        }
        if let Some(grads) = &mut grads {
            for (i, blocks) in net.blocks.iter().enumerate() {
                for &b in blocks {
                    if i >= from || net.layout.blocks()[b].frozen {
                        let range = net.layout.blocks()[b].range();
                        grads.value[range.clone()].fill(T::ZERO);
                        grads.tangents.iter_mut().for_each(|h| h[range.clone()].fill(T::ZERO));
                    }
                }
            }
        }
        let mut stats = Vec::new();
        for i in (0..from).rev() {
            let Some(dy) = self.cotangents[i + 1].take() else { continue };
            if !needed[i + 1] {
                self.pool.push(dy);
                continue;
            }
            let inputs = &net.graph.nodes[i].inputs;
            let mut targets: Vec<(bool, Option<Vec<T>>)> = Vec::new();
            for &j in inputs {
                let len = self.batch * net.size(j) * (1 + self.r);
                let old = self.cotangents[j].take();
                let acc = old.is_some();
                targets
                    .push((acc, if needed[j] { Some(old.unwrap_or_else(|| self.take(len))) } else { None }));
            }
            let mut cache = std::mem::take(&mut self.caches[i]);
            std::mem::swap(&mut cache.scratch, &mut self.scratch);
            let cx = Cx { batch: self.batch, r: self.r, mode, params, buffers, zeros: &self.zeros };
            let x: Vec<_> = inputs.iter().map(|&j| self.planes(j)).collect();
            let mut dx: Vec<_> = targets
                .iter_mut()
                .map(|(acc, data)| {
                    data.as_mut().map(|data| PlanesMut { len: data.len() / (1 + self.r), data, acc: *acc })
                })
                .collect();
            let dy_planes = Planes { len: dy.len() / (1 + self.r), data: &dy, zeros: &self.zeros };
            if self.gather != Gather::Nothing {
                let (op, x_shape, y_shape) =
                    (&net.graph.nodes[i].op, &net.shapes[inputs[0]], &net.shapes[i + 1]);
                let (x, dy) = (x[0].value(), dy_planes.value());
                let of = |one: LayerStats| {
                    let own = &net.blocks[i];
                    LayerStats { weight: own[0], bias: own.get(1).copied(), ..one }
                };
                stats.extend(layer_stats(op, x_shape, y_shape, x, dy, self.gather).map(of));
            }
            let io = Io { x: &x, y: self.planes(i + 1), dy: dy_planes, dx: &mut dx };
            let own = grads.as_mut().filter(|_| net.trains(i));
            let trained = own.is_some();
            net.layers[i].backward(&cx, io, own, &mut cache);
            if trained && let Some(grads) = &mut grads {
                // A node may own a frozen block beside a trained one.
                for &b in net.blocks[i].iter().filter(|&&b| net.layout.blocks()[b].frozen) {
                    let range = net.layout.blocks()[b].range();
                    grads.value[range.clone()].fill(T::ZERO);
                    grads.tangents.iter_mut().for_each(|h| h[range.clone()].fill(T::ZERO));
                }
            }
            std::mem::swap(&mut cache.scratch, &mut self.scratch);
            self.caches[i] = cache;
            for (&j, (_, data)) in inputs.iter().zip(targets) {
                self.cotangents[j] = data;
            }
            if self.keep_cotangents {
                self.cotangents[i + 1] = Some(dy);
            } else {
                self.pool.push(dy);
            }
        }
        stats.reverse();
        self.stats = stats;
    }

    /// A buffer of `len` numbers from the pool; its content is stale.
    fn take(&mut self, len: usize) -> Vec<T> {
        let fits = |v: &Vec<T>| v.capacity() >= len;
        let best =
            (0..self.pool.len()).filter(|&i| fits(&self.pool[i])).min_by_key(|&i| self.pool[i].capacity());
        let mut v = best.map_or_else(Vec::new, |i| self.pool.swap_remove(i));
        v.resize(len, T::ZERO);
        v
    }

    fn clear_cotangents(&mut self, nodes: usize) {
        self.pool.extend(self.cotangents.drain(..).flatten());
        self.cotangents.resize_with(nodes, || None);
    }

    fn loss_backward(
        &mut self,
        net: &Net<T>,
        params: Params<'_, T>,
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
        grads: Grads<'_, T>,
    ) -> Result<f64, NetError> {
        let last = net.shapes.len() - 1;
        let value = self.loss_cotangent(net, batch, last)?;
        self.backward(net, params, buffers, mode, last, Some(grads), false);
        Ok(value)
    }

    /// Puts the loss's cotangent on the output node.
    fn loss_cotangent(&mut self, net: &Net<T>, batch: &Batch<'_, T>, last: usize) -> Result<f64, NetError> {
        self.clear_cotangents(net.shapes.len());
        let (c, len) = (net.classes(), self.planes(last).len);
        net.loss.check(len / c, c, batch)?;
        let mut losses = std::mem::take(&mut self.losses);
        losses.clear();
        losses.resize(len / c, (0.0, 0.0));
        let mut dy = self.take(len * (1 + self.r));
        let target = &mut PlanesMut { data: &mut dy, len, acc: false };
        loss::run(&net.loss, c, batch, self.planes(last), target, &mut losses);
        self.losses = losses;
        self.cotangents[last] = Some(dy);
        Ok(pairwise_sum(&self.losses))
    }

    /// Mean loss of a batch without derivatives.
    pub fn loss(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
    ) -> Result<f64, NetError> {
        self.run(net, theta, buffers, batch.x, Directions::default(), mode)?;
        self.loss_cotangent(net, batch, net.shapes.len() - 1)
    }

    /// Mean loss of a batch; `grad` (parameter length) is overwritten by its gradient.
    pub fn loss_grad(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
        grad: &mut [T],
    ) -> Result<f64, NetError> {
        NetError::check("the gradient buffer", grad.len(), net.layout.len())?;
        self.run(net, theta, buffers, batch.x, Directions::default(), mode)?;
        let params = Params { value: theta, tangents: &[] };
        self.loss_backward(net, params, buffers, batch, mode, Grads { value: grad, tangents: Vec::new() })
    }

    /// As [`Pass::loss_grad`], and `products[i]` is overwritten by `H · probes[i]`: one primal
    /// forward and backward pass shared by the gradient and all products, on the same batch, masks
    /// and batch statistics (forward-over-reverse; Pearlmutter 1994).
    pub fn loss_grad_hvp(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
        grad: &mut [T],
        probes: &[&[T]],
        products: &mut [Vec<T>],
    ) -> Result<f64, NetError> {
        NetError::check("the gradient buffer", grad.len(), net.layout.len())?;
        NetError::check("the list of products", products.len(), probes.len())?;
        for h in products.iter() {
            NetError::check("a product buffer", h.len(), net.layout.len())?;
        }
        self.run(net, theta, buffers, batch.x, Directions { theta: probes, x: &[] }, mode)?;
        let params = Params { value: theta, tangents: probes };
        let tangents = products.iter_mut().map(Vec::as_mut_slice).collect();
        self.loss_backward(net, params, buffers, batch, mode, Grads { value: grad, tangents })
    }

    /// [`Pass::loss_grad_hvp`] of a large batch that is given in pieces: the loss of all rows
    /// together, its gradient and its products with the same probes, with the memory of one piece.
    ///
    /// In training mode batch normalisation sees each piece by itself, which then is another
    /// function than the whole batch's; [`Pass::update_running`] takes the last piece.
    pub fn loss_grad_hvp_pieces(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        pieces: &[Batch<'_, T>],
        mode: Mode,
        grad: &mut [T],
        probes: &[&[T]],
        products: &mut [Vec<T>],
    ) -> Result<f64, NetError> {
        let n = net.layout.len();
        NetError::check("the gradient buffer", grad.len(), n)?;
        NetError::check("the list of products", products.len(), probes.len())?;
        let mut part = vec![T::ZERO; n];
        let mut parts = vec![part.clone(); probes.len()];
        let (mut loss, mut total) = (0.0, 0.0);
        grad.fill(T::ZERO);
        for h in products.iter_mut() {
            NetError::check("a product buffer", h.len(), n)?;
            h.fill(T::ZERO);
        }
        for piece in pieces {
            let mean = self.loss_grad_hvp(net, theta, buffers, piece, mode, &mut part, probes, &mut parts)?;
            let weight = net.loss.total(piece, self.losses.len());
            total += weight;
            // Running means: nothing overflows, and the order is that of the pieces.
            let share = weight / total;
            loss += share * (mean - loss);
            let share = T::from_f64(share);
            let blend =
                |all: &mut [T], one: &[T]| all.iter_mut().zip(one).for_each(|(a, b)| *a += share * (*b - *a));
            blend(grad, &part);
            products.iter_mut().zip(&parts).for_each(|(h, part)| blend(h, part));
        }
        if pieces.is_empty() { Err(NetError::EmptyBatch) } else { Ok(loss) }
    }

    /// Vector–Jacobian product: puts `cotangent` on node `at` (its index as in
    /// [`Pass::node_output`]) after a forward pass on `x` and returns the input's cotangent; `grad`
    /// takes the parameters' if given.
    pub fn vjp(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        x: &[T],
        mode: Mode,
        at: usize,
        cotangent: &[T],
        grad: Option<&mut [T]>,
    ) -> Result<Vec<T>, NetError> {
        self.run(net, theta, buffers, x, Directions::default(), mode)?;
        NetError::check("the cotangent", cotangent.len(), self.planes(at).len)?;
        self.clear_cotangents(net.shapes.len());
        let mut dy = self.take(cotangent.len());
        dy.copy_from_slice(cotangent);
        self.cotangents[at] = Some(dy);
        let params = Params { value: theta, tangents: &[] };
        let grads = grad.map(|value| Grads { value, tangents: Vec::new() });
        self.backward(net, params, buffers, mode, at, grads, true);
        Ok(self.cotangents[0].take().unwrap_or_else(|| vec![T::ZERO; x.len()]))
    }

    /// Gradient of the loss with respect to the input.
    pub fn input_grad(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        buffers: &[T],
        batch: &Batch<'_, T>,
        mode: Mode,
    ) -> Result<(f64, Vec<T>), NetError> {
        self.run(net, theta, buffers, batch.x, Directions::default(), mode)?;
        let last = net.shapes.len() - 1;
        let value = self.loss_cotangent(net, batch, last)?;
        self.backward(net, Params { value: theta, tangents: &[] }, buffers, mode, last, None, true);
        Ok((value, self.cotangents[0].take().unwrap_or_else(|| vec![T::ZERO; batch.x.len()])))
    }

    /// Moves the running statistics towards the batch statistics of the last training-mode pass;
    /// called once per step by whoever drives the training.
    pub fn update_running(&self, net: &Net<T>, buffers: &mut [T]) {
        self.running(net, buffers, |momentum| momentum);
    }

    fn running(&self, net: &Net<T>, buffers: &mut [T], weight: impl Fn(f64) -> f64) {
        for (i, node) in net.graph.nodes.iter().enumerate() {
            let Op::BatchNorm { momentum, .. } = node.op else { continue };
            let c = self.caches[i].stats.len();
            let n =
                (self.outs[i + 1].len() / (c.max(1) * if self.dual[i + 1] { 1 + self.r } else { 1 })) as f64;
            let w = weight(momentum);
            for (part, second) in [("running_mean", false), ("running_var", true)] {
                let Some(block) = net.buffers.get(&format!("{}.{part}", node.name)) else { continue };
                for (b, &(mean, var)) in buffers[block.range()].iter_mut().zip(&self.caches[i].stats) {
                    // The running variance is the unbiased one, as in PyTorch.
                    let new = if second { var * n / (n - 1.0).max(1.0) } else { mean };
                    *b = T::from_f64((1.0 - w) * b.to_f64() + w * new);
                }
            }
        }
    }

    /// Running statistics estimated afresh as the plain mean over `batches` of inputs.
    pub fn reestimate<'a>(
        &mut self,
        net: &Net<T>,
        theta: &[T],
        batches: impl Iterator<Item = &'a [T]>,
    ) -> Result<Vec<T>, NetError> {
        let mut buffers = vec![T::ZERO; net.buffers.len()];
        for (k, x) in batches.enumerate() {
            self.run(net, theta, &buffers, x, Directions::default(), Mode::train())?;
            self.running(net, &mut buffers, |_| 1.0 / (k + 1) as f64);
        }
        Ok(buffers)
    }

    /// [`NetError::NonFinite`] with the first layer whose output in the last forward pass is not
    /// finite, if there is one.
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

/// Tokens must be whole numbers below the size of the table that reads them.
fn check_tokens<T: Scalar>(net: &Net<T>, x: &[T]) -> Result<(), NetError> {
    for node in &net.graph.nodes {
        if let Op::Embedding { vocab, .. } = node.op {
            let bad = |t: &T| !(t.to_f64() >= 0.0 && t.to_f64() < vocab as f64 && t.to_f64().fract() == 0.0);
            if let Some(i) = x.iter().position(bad) {
                let why = format!("token {} at position {i} is not a whole number below {vocab}", x[i]);
                return Err(NetError::graph(&node.name, why));
            }
        }
    }
    Ok(())
}

/// Sum of the values in a fixed tree order.
fn pairwise_sum(x: &[(f64, f64)]) -> f64 {
    if x.len() <= 32 {
        return x.iter().map(|x| x.0).sum();
    }
    let (a, b) = x.split_at(x.len() / 2);
    pairwise_sum(a) + pairwise_sum(b)
}
