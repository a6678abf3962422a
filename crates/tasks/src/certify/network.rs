//! The network of a saved model, as certificates read it.

use thalweg_core::{Block as LayoutBlock, Layout};
use thalweg_lipsdp::{Activation, Affine, Block, LipError, Mat, Network, Slope};
use thalweg_net::{Act, Graph, Mode, Model, Net, Node, Op, Pass, Preprocess};

use crate::error::bail;
use crate::{Result, TaskError};

/// Largest matrix that a convolution is written out as.
const MOST_ENTRIES: usize = 100_000_000;

/// The network of a model behind its own preprocessing.
///
/// # Errors
/// As [`with_preprocessing`].
pub fn network(model: &Model) -> Result<Network> {
    with_preprocessing(model, &model.preprocess)
}

/// The network of a model behind another preprocessing: chains, with residual additions; layers without
/// activation written out as matrices.
///
/// # Errors
/// A layer that is no part of a chain, without bounded slope, or too large as a matrix.
pub fn with_preprocessing(model: &Model, preprocess: &Preprocess) -> Result<Network> {
    let graph = &model.graph;
    let shapes = graph.shapes()?;
    let size = |i: usize| shapes[i].iter().product::<usize>();
    let mut blocks = vec![standardize(&shapes[0], preprocess)];
    // Blocks before each value that a later layer may add.
    let mut before = vec![1];
    let mut current = 0;
    for (i, node) in graph.nodes.iter().enumerate() {
        let on_chain = node.inputs == [current];
        match &node.op {
            Op::Add {} => {
                let other = node.inputs.iter().find(|j| **j != current).copied().unwrap_or(current);
                let known = node.inputs.contains(&current) && node.inputs.len() == 2;
                let branch =
                    blocks.split_off(if known { before[other].min(blocks.len()) } else { blocks.len() });
                blocks.push(residual(branch, node)?);
            }
            _ if !on_chain => return Err(beside(node)),
            op => match activation(op, node, &shapes[i])? {
                Some(act) => blocks.push(Block::Activation(act)),
                None if matches!(op, Op::Dropout { .. }) => {}
                None => push(&mut blocks, written_out(model, node, &shapes[i], size(i + 1))?, &before),
            },
        }
        before.push(blocks.len());
        current = i + 1;
    }
    Ok(Network::new(size(0), blocks)?)
}

/// Appends an affine map, multiplied into one before it unless that is still needed by itself.
fn push(blocks: &mut Vec<Block>, next: Affine, before: &[usize]) {
    let shared =
        before.last() == Some(&blocks.len()) && before.len() > 1 && before[before.len() - 2] != blocks.len();
    match blocks.last_mut() {
        Some(Block::Affine(last)) if !shared || before.len() == 1 => {
            let bias = Mat::from_fn(last.bias.len(), 1, |i, _| last.bias[i]);
            let bias = &next.weight * bias;
            *last = Affine {
                bias: (0..next.bias.len()).map(|i| bias[(i, 0)] + next.bias[i]).collect(),
                weight: &next.weight * &last.weight,
            };
        }
        _ => blocks.push(Block::Affine(next)),
    }
}

fn beside(node: &Node) -> TaskError {
    let name = &node.name;
    TaskError::Input(format!(
        "layer {name} reads several earlier layers; certify follows chains with blocks h + G φ(W h)"
    ))
}

fn residual(branch: Vec<Block>, node: &Node) -> Result<Block> {
    let mut branch = branch.into_iter();
    match (branch.next(), branch.next(), branch.next(), branch.next()) {
        (Some(Block::Affine(inner)), Some(Block::Activation(activation)), outer, None) => {
            let outer = match outer {
                None => None,
                Some(Block::Affine(outer)) => Some(outer),
                Some(_) => return Err(beside(node)),
            };
            Ok(Block::Residual { inner, activation, outer })
        }
        _ => Err(beside(node)),
    }
}

/// x ↦ (x − mean)/std for inputs that are scaled already.
fn standardize(shape: &[usize], p: &Preprocess) -> Block {
    let n: usize = shape.iter().product();
    let channels = shape.last().copied().unwrap_or(1);
    let at = |values: &[f32], i: usize| f64::from(values[if values.len() == 1 { 0 } else { i % channels }]);
    let weight = Mat::from_fn(n, n, |i, j| if i == j { 1.0 / at(&p.std, i) } else { 0.0 });
    Block::Affine(Affine { bias: (0..n).map(|i| -at(&p.mean, i) / at(&p.std, i)).collect(), weight })
}

/// The activation of a layer; `None` if it is affine in evaluation mode.
fn activation(op: &Op, node: &Node, shape: &[usize]) -> Result<Option<Activation>> {
    let slope = |s| Ok(Some(Activation::Slope(s)));
    match op {
        Op::Act { act } => slope(match *act {
            Act::Relu => Slope::Relu,
            Act::LeakyRelu(a) => Slope::LeakyRelu(a),
            Act::Relu6 => Slope::Relu6,
            Act::Gelu => Slope::Gelu,
            Act::GeluTanh => Slope::GeluTanh,
            Act::Silu => Slope::Silu,
            Act::Tanh => Slope::Tanh,
            Act::Sigmoid => Slope::Sigmoid,
            Act::Softplus => Slope::Softplus,
        }),
        Op::GroupSort { size } => {
            let size = if *size == 0 { shape.last().copied().unwrap_or(1) } else { *size };
            Ok(Some(Activation::GroupSort { size, descending: false }))
        }
        Op::MaxPool { k, stride, pad } => {
            Ok(Some(Activation::MaxPool { windows: windows(shape, *k, stride.unwrap_or(*k), *pad) }))
        }
        Op::Linear { .. }
        | Op::Conv1d { .. }
        | Op::Conv2d { .. }
        | Op::BatchNorm { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool {}
        | Op::Flatten {}
        | Op::Scale {}
        | Op::PadShortcut { .. }
        | Op::Dropout { .. } => Ok(None),
        _ => Err(LipError::NoSlopeBound(node.name.clone()).into()),
    }
}

/// Indices, channels last, of every window of a pooling layer.
fn windows(shape: &[usize], k: [usize; 2], stride: [usize; 2], pad: [usize; 4]) -> Vec<Vec<usize>> {
    let &[h, w, c] = shape else { return Vec::new() };
    let count = |n: usize, k: usize, s: usize, pad: usize| (n + pad - k) / s + 1;
    let (rows, columns) =
        (count(h, k[0], stride[0], pad[0] + pad[1]), count(w, k[1], stride[1], pad[2] + pad[3]));
    let window = |o: usize| {
        let (row, column, channel) = (o / (columns * c), o / c % columns, o % c);
        let cell = |t: usize| {
            let y = (row * stride[0] + t / k[1]).checked_sub(pad[0]).filter(|y| *y < h)?;
            let x = (column * stride[1] + t % k[1]).checked_sub(pad[2]).filter(|x| *x < w)?;
            Some((y * w + x) * c + channel)
        };
        (0..k[0] * k[1]).filter_map(cell).collect()
    };
    (0..rows * columns * c).map(window).collect()
}

/// An affine layer as a matrix: its values at the unit vectors without bias, and at 0 with it.
fn written_out(model: &Model, node: &Node, shape: &[usize], outputs: usize) -> Result<Affine> {
    let inputs: usize = shape.iter().product();
    if inputs.saturating_mul(outputs) > MOST_ENTRIES {
        bail!(
            "layer {} as a matrix has {inputs} × {outputs} entries, more than {MOST_ENTRIES}; certify networks of at most \
             some thousand neurons a layer",
            node.name
        );
    }
    let mut graph = Graph::new(shape);
    graph.push(&node.name, node.op.clone());
    let net = Net::<f64>::new(graph)?;
    let (layout, buffers) = (model.graph.layout()?, model.graph.buffers()?);
    let take = |own: &Layout, all: &Layout, values: &[f32]| -> Vec<f64> {
        let block = |b: &LayoutBlock| all.get(&b.name).map_or(0..0, |b| b.range());
        own.blocks().iter().flat_map(|b| values[block(b)].iter().map(|x| f64::from(*x))).collect()
    };
    let theta = take(net.layout(), &layout, &model.theta);
    let running = take(net.buffers(), &buffers, &model.buffers);
    let without = |own: &Layout, values: &[f64], end: &str| {
        let mut values = values.to_vec();
        for b in own.blocks().iter().filter(|b| b.name.ends_with(end)) {
            values[b.range()].fill(0.0);
        }
        values
    };
    let mut pass = Pass::default();
    let bias = pass.forward(&net, &theta, &running, &vec![0.0; inputs], Mode::Eval)?.to_vec();
    let (linear, centred) =
        (without(net.layout(), &theta, ".bias"), without(net.buffers(), &running, ".running_mean"));
    let mut weight = Mat::zeros(outputs, inputs);
    for j in 0..inputs {
        let mut unit = vec![0.0; inputs];
        unit[j] = 1.0;
        let column = pass.forward(&net, &linear, &centred, &unit, Mode::Eval)?;
        (0..outputs).for_each(|i| weight[(i, j)] = column[i]);
    }
    Ok(Affine { weight, bias })
}
