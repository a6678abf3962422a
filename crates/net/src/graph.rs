use thalweg_core::Layout;

use crate::NetError;
use crate::layer::{Operation, Part};
use crate::op::Op;

/// A layer in its place: a name, an operation and the nodes it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Prefix of its parameters: `NAME.weight`, `NAME.bias`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Indices into `0..` where 0 is the network's input and `i + 1` is node `i`.
    pub inputs: Vec<usize>,
}

/// A directed acyclic graph of layers in topological order; the last one gives the output.
///
/// ```
/// use thalweg_net::{Act, Graph, Op};
/// let mut g = Graph::new(&[4]);
/// g.push("fc1", Op::Linear { out: 3, bias: true });
/// g.push("act", Op::Act { act: Act::Tanh });
/// g.push("fc2", Op::Linear { out: 2, bias: true });
/// let shapes = g.shapes().unwrap();
/// assert_eq!(shapes.last().unwrap(), &vec![2]);
/// assert_eq!(g.layout().unwrap().len(), 4 * 3 + 3 + 3 * 2 + 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Shape of one example, channels last; `[length]` for tokens.
    pub input: Vec<usize>,
    /// The layers.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// A graph without layers.
    pub fn new(input: &[usize]) -> Self {
        Self { input: input.to_vec(), nodes: Vec::new() }
    }

    /// Appends a layer that reads the one before; returns its index for [`Graph::push_on`].
    pub fn push(&mut self, name: impl Into<String>, op: Op) -> usize {
        self.push_on(name, op, &[self.nodes.len()])
    }

    /// Appends a layer that reads `inputs` (0 is the network's input).
    pub fn push_on(&mut self, name: impl Into<String>, op: Op, inputs: &[usize]) -> usize {
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec() });
        self.nodes.len()
    }

    /// Shapes per example: the input's, then each node's. Every layer is checked.
    ///
    /// # Errors
    /// No layer, an input or a wiring that is not well formed, or a layer that does not fit its inputs.
    pub fn shapes(&self) -> Result<Vec<Vec<usize>>, NetError> {
        if self.nodes.is_empty() {
            return Err(NetError::graph("graph", "it has no layer; add at least one"));
        }
        if self.input.is_empty() || self.input.contains(&0) || self.input.len() > 3 || !moderate(&self.input)
        {
            let found = &self.input;
            return Err(NetError::graph(
                "input",
                format!("shape {found:?} is not [d], [length, channels] or [h, w, channels]"),
            ));
        }
        let mut shapes = vec![self.input.clone()];
        for node in &self.nodes {
            let mut ins = Vec::new();
            for (k, &i) in node.inputs.iter().enumerate() {
                if node.inputs[..k].contains(&i) {
                    return Err(NetError::graph(
                        &node.name,
                        "it reads the same layer twice; use a `scale` layer instead",
                    ));
                }
                let shape = shapes.get(i).ok_or_else(|| {
                    NetError::graph(&node.name, "it reads a layer that does not come before it; order the layers so that inputs come first")
                })?;
                ins.push(shape.as_slice());
            }
            let shape =
                checked_shape(&*node.op.described(), &ins).map_err(|why| NetError::graph(&node.name, why))?;
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// The trainable blocks.
    ///
    /// # Errors
    /// As for [`Graph::shapes`]; two layers of one name.
    pub fn layout(&self) -> Result<Layout, NetError> {
        self.collect(|op, x| op.parameters(x))
    }

    /// The non-trainable blocks: running means and variances.
    ///
    /// # Errors
    /// As for [`Graph::layout`].
    pub fn buffers(&self) -> Result<Layout, NetError> {
        self.collect(|op, x| op.buffers(x))
    }

    fn collect(&self, parts: impl Fn(&dyn Operation, &[usize]) -> Vec<Part>) -> Result<Layout, NetError> {
        let shapes = self.shapes()?;
        let mut layout = Layout::default();
        for node in &self.nodes {
            let before = layout.blocks().len();
            for Part { name, shape, kind } in parts(&*node.op.described(), &shapes[node.inputs[0]]) {
                layout.push(format!("{}.{name}", node.name), &shape, kind);
            }
            for block in &layout.blocks()[before..] {
                if layout.blocks()[..before].iter().any(|b| b.name == block.name) {
                    return Err(NetError::graph(
                        &node.name,
                        "another layer has the same name; give each layer its own",
                    ));
                }
            }
        }
        Ok(layout)
    }

    /// Multiply-accumulates of each node for one example.
    ///
    /// # Errors
    /// As for [`Graph::shapes`].
    pub fn macs(&self) -> Result<Vec<u64>, NetError> {
        let shapes = self.shapes()?;
        let nodes = self.nodes.iter().zip(&shapes[1..]);
        Ok(nodes.map(|(node, y)| node.op.described().macs(&shapes[node.inputs[0]], y)).collect())
    }

    /// Bytes that a training step on `batch` examples with `tangents` directions keeps in a
    /// [`crate::Pass`]: outputs of all layers, what layers remember for the way back, and the
    /// cotangents alive at the same time, for numbers of `width` bytes. The scratch of the largest
    /// convolution (up to a few dozen copies of its weights) comes on top.
    ///
    /// # Errors
    /// As for [`Graph::layout`].
    pub fn activation_bytes(&self, batch: usize, tangents: usize, width: usize) -> Result<usize, NetError> {
        let shapes = self.shapes()?;
        let cells = |i: usize| shapes[i].iter().product::<usize>() * batch;
        // Outputs that depend on parameters have tangents and want a cotangent.
        let mut trained = vec![false];
        for node in &self.nodes {
            let own = node.op.described().parameters(&shapes[node.inputs[0]]);
            trained.push(!own.is_empty() || node.inputs.iter().any(|&j| trained[j]));
        }
        let planes = |i: usize| if trained[i] { 1 + tangents } else { 1 };
        let mut all: usize = (0..shapes.len()).map(|i| cells(i) * planes(i)).sum();
        if tangents > 0 {
            all += (0..shapes.len()).map(cells).max().unwrap_or(0).max(self.layout()?.len());
        }
        let (mut bytes, mut scratch) = (0, 0);
        for (i, node) in self.nodes.iter().enumerate() {
            let kept = node.op.described().memory(&shapes[i + 1], planes(i + 1));
            all += batch * kept.saved;
            bytes += batch * kept.index * size_of::<u32>();
            scratch = scratch.max(batch * kept.scratch);
        }
        all += scratch;
        // The backward pass, taking and returning buffers as `Pass` does.
        let mut free: Vec<usize> = Vec::new();
        let mut take = |size: usize, free: &mut Vec<usize>| {
            let fitting = (0..free.len()).filter(|&k| free[k] >= size).min_by_key(|&k| free[k]);
            let new = || {
                all += size;
                size
            };
            fitting.map_or_else(new, |k| free.swap_remove(k))
        };
        let last = self.nodes.len();
        let mut held = vec![None; last + 1];
        held[last] = Some(take(cells(last) * (1 + tangents), &mut free));
        for i in (0..last).rev() {
            let Some(size) = held[i + 1].take() else { continue };
            for &j in &self.nodes[i].inputs {
                if trained[j] && trained[i + 1] && held[j].is_none() {
                    held[j] = Some(take(cells(j) * (1 + tangents), &mut free));
                }
            }
            free.push(size);
        }
        Ok(all * width + bytes)
    }
}

/// Output shape of a layer for its inputs' shapes, or what is wrong; numbers from outside that are absurd
/// are refused before they overflow.
fn checked_shape(op: &dyn Operation, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
    const LARGEST: usize = 1 << 24;
    if let Some(n) = op.numbers().into_iter().find(|&n| n > LARGEST) {
        return Err(format!("{n} is absurdly large; use numbers up to {LARGEST}"));
    }
    if ins.is_empty() || (!op.reads_many() && ins.len() != 1) {
        let many = if op.reads_many() { "one or more" } else { "one" };
        return Err(format!("it reads {} layers; this operation takes {many}", ins.len()));
    }
    let shape = op.shape(ins)?;
    if !moderate(&shape) || !op.parameters(ins[0]).iter().all(|p| moderate(&p.shape)) {
        return Err(format!("its output {shape:?} or its weights are larger than any memory"));
    }
    Ok(shape)
}

/// Whether a buffer of that shape has a size that can be counted on (below 2⁴⁰).
fn moderate(shape: &[usize]) -> bool {
    shape.iter().map(|&n| n as f64).product::<f64>() < 2f64.powi(40)
}
