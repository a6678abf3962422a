use serde::{Deserialize, Serialize};
use thalweg_core::{Kind, Layout};

use crate::NetError;

/// A layer of the vocabulary. Widths of inputs are inferred; a layer states only its own.
///
/// Shapes are per example and channels last: `[d]`, `[length, channels]`, `[h, w, channels]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Op {
    /// `y = W x + b` on the last axis; `W` is `[out, in]`.
    Linear {
        /// Output width.
        out: usize,
        /// Whether there is a bias.
        #[serde(default = "yes")]
        bias: bool,
    },
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
    },
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
    },
    /// Batch normalisation of the last axis (Ioffe and Szegedy 2015).
    BatchNorm {
        /// Added to the variance.
        #[serde(default = "eps5")]
        eps: f64,
        /// Weight of the newest batch in the running statistics.
        #[serde(default = "tenth")]
        momentum: f64,
    },
    /// Layer normalisation of the last axis (Ba et al. 2016).
    LayerNorm {
        /// Added to the variance.
        #[serde(default = "eps5")]
        eps: f64,
    },
    /// Elementwise activation.
    Act {
        /// Which one.
        act: Act,
    },
    /// Softmax over the last axis.
    Softmax {},
    /// Sorts groups of `size` neighbouring channels, ascending; `size = 2` is MaxMin
    /// (Anil et al. 2019), `size = 0` sorts all channels.
    GroupSort {
        /// Channels per group.
        size: usize,
    },
    /// Householder activation on pairs of channels `(i, i + c/2)` with one trained angle a pair
    /// (Singla et al. 2022).
    Householder {},
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
    },
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
    },
    /// Mean over all positions: `[.., channels]` to `[channels]`.
    GlobalAvgPool {},
    /// To one axis, in PyTorch's order (channel, row, column).
    Flatten {},
    /// Looks up a row of a `[vocab, width]` table for each token.
    Embedding {
        /// Number of tokens.
        vocab: usize,
        /// Length of a row.
        width: usize,
    },
    /// Adds a trained vector to each position of `[length, width]`.
    PositionalEmbedding {},
    /// Multi-head scaled dot-product attention on `[length, 3·width]` (query, key, value side by
    /// side, each split into heads) to `[length, width]`; the projections are `linear` layers.
    Attention {
        /// Number of heads; divides the width.
        heads: usize,
        /// Each position sees itself and its past only.
        #[serde(default)]
        causal: bool,
    },
    /// Zeroes each value with probability `p` in training and scales the rest by `1/(1−p)`.
    Dropout {
        /// Probability of a zero.
        p: f64,
    },
    /// Sum of all inputs.
    Add {},
    /// Multiplies each channel by a trained number.
    Scale {},
    /// Keeps every `step`-th row and column and pads the channels with zeros evenly before and
    /// after: the parameter-free "option A" shortcut of ResNets (He et al. 2016).
    PadShortcut {
        /// Step in rows and columns.
        step: usize,
        /// Output channels.
        out: usize,
    },
}

/// Elementwise activations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// `max(x, 0)`.
    Relu,
    /// `x` or `slope · x` for negative `x`.
    LeakyRelu(f64),
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x Φ(x)` with the exact normal distribution function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// `x · sigmoid(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// Logistic function.
    Sigmoid,
    /// `ln(1 + eˣ)`.
    Softplus,
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
            let shape = node.op.checked_shape(&ins).map_err(|why| NetError::graph(&node.name, why))?;
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// The trainable blocks.
    pub fn layout(&self) -> Result<Layout, NetError> {
        self.collect(|node, input, layout| node.op.parameters(&node.name, input, layout))
    }

    /// The non-trainable blocks: running means and variances.
    pub fn buffers(&self) -> Result<Layout, NetError> {
        self.collect(|node, input, layout| {
            if let Op::BatchNorm { .. } = node.op {
                let c = input[input.len() - 1];
                layout.push(format!("{}.running_mean", node.name), &[c], Kind::Other);
                layout.push(format!("{}.running_var", node.name), &[c], Kind::Other);
            }
        })
    }

    fn collect(&self, mut add: impl FnMut(&Node, &[usize], &mut Layout)) -> Result<Layout, NetError> {
        let shapes = self.shapes()?;
        let mut layout = Layout::default();
        for node in &self.nodes {
            let before = layout.blocks().len();
            add(node, &shapes[node.inputs[0]], &mut layout);
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
    pub fn macs(&self) -> Result<Vec<u64>, NetError> {
        let shapes = self.shapes()?;
        let count = |s: &[usize]| s.iter().product::<usize>() as u64;
        Ok(self
            .nodes
            .iter()
            .zip(&shapes[1..])
            .map(|(node, out)| {
                let input = &shapes[node.inputs[0]];
                let c = input[input.len() - 1] as u64;
                match &node.op {
                    Op::Linear { .. } => count(out) * c,
                    Op::Conv1d { k, groups, .. } => count(out) * c / *groups as u64 * *k as u64,
                    Op::Conv2d { k, groups, .. } => count(out) * c / *groups as u64 * (k[0] * k[1]) as u64,
                    Op::Attention { .. } => 2 * count(out) * out[0] as u64,
                    _ => 0,
                }
            })
            .collect())
    }

    /// Bytes that a training step on `batch` examples with `tangents` directions keeps in a
    /// [`crate::Pass`]: outputs of all layers, what layers remember for the way back, and the
    /// cotangents alive at the same time, for numbers of `width` bytes. The scratch of the largest
    /// convolution (up to a few dozen copies of its weights) comes on top.
    pub fn activation_bytes(&self, batch: usize, tangents: usize, width: usize) -> Result<usize, NetError> {
        let shapes = self.shapes()?;
        let cells = |i: usize| shapes[i].iter().product::<usize>() * batch;
        // Outputs that depend on parameters have tangents and want a cotangent.
        let mut trained = vec![false];
        for node in &self.nodes {
            let mut own = Layout::default();
            node.op.parameters(&node.name, &shapes[node.inputs[0]], &mut own);
            trained.push(!own.is_empty() || node.inputs.iter().any(|&j| trained[j]));
        }
        let planes = |i: usize| if trained[i] { 1 + tangents } else { 1 };
        let mut all: usize = (0..shapes.len()).map(|i| cells(i) * planes(i)).sum();
        if tangents > 0 {
            all += (0..shapes.len()).map(cells).max().unwrap_or(0).max(self.layout()?.len());
        }
        let (mut bytes, mut scratch) = (0, 0);
        for (i, node) in self.nodes.iter().enumerate() {
            match node.op {
                Op::Attention { heads, .. } => {
                    let weights = batch * heads * shapes[i + 1][0].pow(2) * planes(i + 1);
                    all += weights;
                    scratch = scratch.max(2 * weights);
                }
                Op::MaxPool { .. } | Op::GroupSort { .. } => bytes += 4 * cells(i + 1),
                Op::Dropout { .. } => all += cells(i + 1),
                _ => {}
            }
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

fn fail<T>(why: impl Into<String>) -> Result<T, String> {
    Err(why.into())
}

/// Number of window positions along one axis.
fn windows(n: usize, k: usize, stride: usize, pad: usize, dilation: usize) -> Result<usize, String> {
    if k == 0 || stride == 0 || dilation == 0 {
        return fail("kernel, stride and dilation must be at least 1");
    }
    let span = dilation * (k - 1) + 1;
    if n + pad < span {
        return fail(format!(
            "a window of {span} does not fit into {n} + {pad} padded cells; pad more or shrink the kernel"
        ));
    }
    Ok((n + pad - span) / stride + 1)
}

/// Whether a buffer of that shape has a size that can be counted on (below 2⁴⁰).
fn moderate(shape: &[usize]) -> bool {
    shape.iter().map(|&n| n as f64).product::<f64>() < 2f64.powi(40)
}

impl Op {
    /// [`Op::shape`] for numbers from outside: absurd ones are refused before they overflow.
    fn checked_shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        let numbers: &[usize] = match self {
            Op::Linear { out, .. } => &[*out],
            Op::Conv1d { out, k, stride, pad, dilation, .. } => {
                &[*out, *k, *stride, pad[0], pad[1], *dilation]
            }
            Op::Conv2d { out, k, stride, pad, dilation, .. } => &[
                *out,
                k[0],
                k[1],
                stride[0],
                stride[1],
                pad[0],
                pad[1],
                pad[2],
                pad[3],
                dilation[0],
                dilation[1],
            ],
            Op::MaxPool { k, pad, .. } | Op::AvgPool { k, pad, .. } => {
                &[k[0], k[1], pad[0], pad[1], pad[2], pad[3]]
            }
            Op::Embedding { vocab, width } => &[*vocab, *width],
            Op::PadShortcut { step, out } => &[*step, *out],
            _ => &[],
        };
        if let Some(n) = numbers.iter().find(|&&n| n > 1 << 24) {
            return fail(format!("{n} is absurdly large; use numbers up to {}", 1 << 24));
        }
        let shape = self.shape(ins)?;
        let c = ins[0].last().copied().unwrap_or(1);
        let weights: &[usize] = match self {
            Op::Linear { out, .. } => &[*out, c],
            Op::Conv1d { out, k, .. } => &[*out, c, *k],
            Op::Conv2d { out, k, .. } => &[*out, c, k[0], k[1]],
            Op::Embedding { vocab, width } => &[*vocab, *width],
            _ => &[],
        };
        if !moderate(&shape) || !moderate(weights) {
            return fail(format!("its output {shape:?} or its weights are larger than any memory"));
        }
        Ok(shape)
    }

    /// Output shape for the given input shapes, or what is wrong with them.
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        let many = matches!(self, Op::Add {});
        if ins.is_empty() || (!many && ins.len() != 1) {
            return fail(format!(
                "it reads {} layers; this operation takes {}",
                ins.len(),
                if many { "one or more" } else { "one" }
            ));
        }
        let x = ins[0];
        let c = x[x.len() - 1];
        let image = || {
            if x.len() == 3 {
                Ok(())
            } else {
                fail(format!("it needs [h, w, channels] but its input is {x:?}"))
            }
        };
        let sequence = || {
            if x.len() == 2 {
                Ok(())
            } else {
                fail(format!("it needs [length, channels] but its input is {x:?}"))
            }
        };
        let grouped = |groups: usize, out: usize| {
            if out == 0 {
                return fail("it has no output channel");
            }
            if groups == 0 || !c.is_multiple_of(groups) || !out.is_multiple_of(groups) {
                return fail(format!(
                    "groups = {groups} does not divide {c} input and {out} output channels"
                ));
            }
            Ok(())
        };
        let last = |n: usize| {
            let mut y = x.to_vec();
            y[x.len() - 1] = n;
            y
        };
        Ok(match self {
            Op::Linear { out, .. } => {
                if *out == 0 {
                    return fail("out = 0; use at least 1");
                }
                last(*out)
            }
            Op::Conv1d { out, k, stride, pad, dilation, groups, .. } => {
                sequence()?;
                grouped(*groups, *out)?;
                vec![windows(x[0], *k, *stride, pad[0] + pad[1], *dilation)?, *out]
            }
            Op::Conv2d { out, k, stride, pad, dilation, groups, .. } => {
                image()?;
                grouped(*groups, *out)?;
                let h = windows(x[0], k[0], stride[0], pad[0] + pad[1], dilation[0])?;
                vec![h, windows(x[1], k[1], stride[1], pad[2] + pad[3], dilation[1])?, *out]
            }
            Op::MaxPool { k, stride, pad } | Op::AvgPool { k, stride, pad } => {
                image()?;
                let s = stride.unwrap_or(*k);
                if pad[0].max(pad[1]) >= k[0] || pad[2].max(pad[3]) >= k[1] {
                    return fail("its padding is as large as the window; pad less");
                }
                vec![
                    windows(x[0], k[0], s[0], pad[0] + pad[1], 1)?,
                    windows(x[1], k[1], s[1], pad[2] + pad[3], 1)?,
                    c,
                ]
            }
            Op::GlobalAvgPool {} => vec![c],
            Op::Flatten {} => vec![x.iter().product()],
            Op::Embedding { vocab, width } => {
                if x.len() != 1 || *vocab == 0 || *width == 0 {
                    return fail(format!("it needs tokens [length] and a non-empty table; input is {x:?}"));
                }
                vec![x[0], *width]
            }
            Op::PositionalEmbedding {} => {
                sequence()?;
                x.to_vec()
            }
            Op::Attention { heads, .. } => {
                sequence()?;
                if *heads == 0 || !c.is_multiple_of(3) || !(c / 3).is_multiple_of(*heads) {
                    return fail(format!("{c} channels are not query, key and value of {heads} heads"));
                }
                last(c / 3)
            }
            Op::GroupSort { size } => {
                if *size > 0 && !c.is_multiple_of(*size) {
                    return fail(format!("group size {size} does not divide {c} channels"));
                }
                x.to_vec()
            }
            Op::Householder {} => {
                if !c.is_multiple_of(2) {
                    return fail(format!("{c} channels are not pairs; use an even number"));
                }
                x.to_vec()
            }
            Op::Dropout { p } => {
                if !(0.0..1.0).contains(p) {
                    return fail(format!("p = {p}; use a probability in [0, 1)"));
                }
                x.to_vec()
            }
            Op::Add {} => {
                if let Some(other) = ins.iter().find(|s| **s != x) {
                    return fail(format!("it adds shapes {x:?} and {other:?}; make them equal"));
                }
                x.to_vec()
            }
            Op::PadShortcut { step, out } => {
                image()?;
                if *step == 0 || *out < c {
                    return fail(format!(
                        "step = {step}, out = {out}; use step ≥ 1 and at least {c} channels"
                    ));
                }
                vec![x[0].div_ceil(*step), x[1].div_ceil(*step), *out]
            }
            Op::BatchNorm { eps, .. } | Op::LayerNorm { eps } => {
                if eps.is_nan() || *eps < 0.0 {
                    return fail(format!("eps = {eps}; use a number ≥ 0"));
                }
                x.to_vec()
            }
            Op::Act { .. } | Op::Softmax {} | Op::Scale {} => x.to_vec(),
        })
    }

    /// Appends this operation's trainable blocks for an input of that shape.
    fn parameters(&self, name: &str, x: &[usize], layout: &mut Layout) {
        let c = x[x.len() - 1];
        let weight = format!("{name}.weight");
        let bias_name = format!("{name}.bias");
        let bias = |layout: &mut Layout, on: bool, n: usize| {
            if on {
                layout.push(bias_name.clone(), &[n], Kind::Bias);
            }
        };
        match self {
            Op::Linear { out, bias: b } => {
                layout.push(weight, &[*out, c], Kind::Linear);
                bias(layout, *b, *out);
            }
            Op::Conv1d { out, k, groups, bias: b, .. } => {
                layout.push(weight, &[*out, c / groups, *k], Kind::Conv);
                bias(layout, *b, *out);
            }
            Op::Conv2d { out, k, groups, bias: b, .. } => {
                layout.push(weight, &[*out, c / groups, k[0], k[1]], Kind::Conv);
                bias(layout, *b, *out);
            }
            Op::BatchNorm { .. } | Op::LayerNorm { .. } => {
                layout.push(weight, &[c], Kind::NormScale);
                layout.push(bias_name, &[c], Kind::NormShift);
            }
            Op::Scale {} => {
                layout.push(weight, &[c], Kind::NormScale);
            }
            Op::Householder {} => {
                layout.push(weight, &[c / 2], Kind::Other);
            }
            Op::Embedding { vocab, width } => {
                layout.push(weight, &[*vocab, *width], Kind::Embedding);
            }
            Op::PositionalEmbedding {} => {
                layout.push(weight, x, Kind::Embedding);
            }
            _ => {}
        }
    }
}
