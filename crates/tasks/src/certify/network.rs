//! The network of a saved model, as certificates read it.

use thalweg_core::Layout;
use thalweg_lipsdp::operator::{Convolution, Entry, Number, Operator, Rows};
use thalweg_lipsdp::wired::{Neurons, Term, Wired};
use thalweg_lipsdp::{Activation, Network, Slope};
use thalweg_net::{Act, Model, Node, Op, Preprocess};

use crate::error::bail;
use crate::{Context, Result};

/// Entries of all matrices of a network that is written out, at most.
const MOST_ENTRIES: f64 = 3e7;
/// Terms of a sum, at most.
const MOST_TERMS: usize = 256;

/// The network of a model behind its own preprocessing, written out as matrices.
///
/// # Errors
/// As [`wired`]; a network too large to be written out.
pub fn network(model: &Model) -> Result<Network> {
    written_out(&wired(model, &model.preprocess)?)
}

/// A network as matrices.
///
/// # Errors
/// It is too large for that.
pub fn written_out(wired: &Wired) -> Result<Network> {
    small_enough(wired)?;
    Ok(wired.written_out()?)
}

/// Refuses networks that are too large to be written out.
pub(super) fn small_enough(wired: &Wired) -> Result<()> {
    let area = wired.area();
    if area > MOST_ENTRIES {
        bail!(
            "as matrices the layers have {area:.1e} entries, more than {MOST_ENTRIES:.0e}; use `bound` product, which takes \
             convolutions as they are, without `data`"
        );
    }
    Ok(())
}

/// The network of a model behind a preprocessing, for inputs that are scaled already. Every affine layer keeps its
/// structure, and what is rounded on the way (1/std, folded batch normalization, means) carries its error.
///
/// # Errors
/// A layer that has no Lipschitz constant or no constraint.
pub fn wired(model: &Model, preprocess: &Preprocess) -> Result<Wired> {
    let graph = &model.graph;
    let shapes = graph.shapes()?;
    preprocess.check(graph.input.last().copied().unwrap_or(1))?;
    let (layout, buffers) = (graph.layout()?, graph.buffers()?);
    let weights = Weights { model, layout, buffers };
    let mut neurons = Vec::new();
    // Every value of the graph as a sum of affine maps of the input and of neurons' outputs.
    let standardize = Operator::Rows(standardize(&shapes[0], preprocess));
    let mut values = vec![vec![Term { from: 0, maps: vec![standardize] }]];
    for node in &graph.nodes {
        let [first, ..] = node.inputs[..] else { bail!("layer {} reads nothing", node.name) };
        let (terms, shape) = (values[first].clone(), &shapes[first]);
        let value = match (&node.op, activation(&node.op, shape)) {
            (Op::Add {}, _) => node.inputs.iter().flat_map(|j| values[*j].clone()).collect(),
            (_, Some(activation)) => {
                neurons.push(Neurons { terms, activation });
                vec![Term { from: neurons.len(), maps: Vec::new() }]
            }
            _ => weights.affine(node, shape, terms)?,
        };
        if value.len() > MOST_TERMS {
            bail!("layer {} adds up more than {MOST_TERMS} branches; certify smaller sums", node.name);
        }
        values.push(value);
    }
    let output = values.pop().unwrap_or_default();
    Ok(Wired::new(shapes[0].iter().product(), neurons, output)?)
}

/// x ↦ (x − mean)/std for inputs that are scaled already.
fn standardize(shape: &[usize], p: &Preprocess) -> Rows {
    let channels = shape.last().copied().unwrap_or(1);
    let at = |values: &[f32], i: usize| f64::from(values[if values.len() == 1 { 0 } else { i % channels }]);
    let n: usize = shape.iter().product();
    let by: Vec<Number> = (0..n).map(|i| reciprocal(at(&p.std, i))).collect();
    let shift = (0..n).map(|i| by[i] * Number::exact(-at(&p.mean, i))).collect();
    Rows::diagonal(&by, shift)
}

/// 1/x, exact for powers of two.
fn reciprocal(x: f64) -> Number {
    let value = 1.0 / x;
    if x.mul_add(value, -1.0) == 0.0 { Number::exact(value) } else { Number::rounded(value, 1) }
}

/// The activation of a layer; none if it is something else.
fn activation(op: &Op, shape: &[usize]) -> Option<Activation> {
    match op {
        Op::Act { act } => Some(Activation::Slope(match *act {
            Act::Relu => Slope::Relu,
            Act::LeakyRelu(a) => Slope::LeakyRelu(a),
            Act::Relu6 => Slope::Relu6,
            Act::Gelu => Slope::Gelu,
            Act::GeluTanh => Slope::GeluTanh,
            Act::Silu => Slope::Silu,
            Act::Tanh => Slope::Tanh,
            Act::Sigmoid => Slope::Sigmoid,
            Act::Softplus => Slope::Softplus,
        })),
        Op::GroupSort { size } => {
            let size = if *size == 0 { shape.last().copied().unwrap_or(1) } else { *size };
            Some(Activation::GroupSort { size, descending: false })
        }
        Op::MaxPool { k, stride, pad } => {
            let windows = windows(shape, *k, stride.unwrap_or(*k), *pad);
            Some(Activation::MaxPool { windows })
        }
        _ => None,
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

/// A model's numbers by the names of its layers.
struct Weights<'a> {
    model: &'a Model,
    layout: Layout,
    buffers: Layout,
}

impl Weights<'_> {
    fn of(&self, node: &Node, part: &str) -> Option<Vec<f64>> {
        let name = format!("{}.{part}", node.name);
        let find = |layout: &Layout, values: &[f32]| {
            Some(values[layout.get(&name)?.range()].iter().map(|x| f64::from(*x)).collect())
        };
        find(&self.layout, &self.model.theta).or_else(|| find(&self.buffers, &self.model.buffers))
    }

    fn must(&self, node: &Node, part: &str) -> Result<Vec<f64>> {
        self.of(node, part).with_context(|| format!("layer {} has no {part}", node.name))
    }

    /// A sum of terms behind an affine layer.
    fn affine(&self, node: &Node, shape: &[usize], mut terms: Vec<Term>) -> Result<Vec<Term>> {
        let n: usize = shape.iter().product();
        let channels = shape.last().copied().unwrap_or(1);
        let map = match node.op {
            Op::Dropout { .. } => return Ok(terms),
            Op::Linear { out, .. } => Operator::Rows(self.linear(node, n, channels, out)?),
            Op::Conv1d { .. } | Op::Conv2d { .. } => Operator::Convolution(self.convolution(node, shape)?),
            Op::BatchNorm { eps, .. } => return Ok(normalized(terms, n, self.normalization(node, eps)?)),
            Op::Scale {} => {
                let by: Vec<Number> = self.must(node, "weight")?.into_iter().map(Number::exact).collect();
                let shift = vec![Number::ZERO; by.len()];
                return Ok(normalized(terms, n, (by, shift)));
            }
            Op::AvgPool { k, stride, pad } => {
                let share = reciprocal((k[0] * k[1]) as f64);
                Operator::Rows(means(n, windows(shape, k, stride.unwrap_or(k), pad), share)?)
            }
            Op::GlobalAvgPool {} => {
                let cells = n / channels;
                let of = |c: usize| (0..cells).map(|p| p * channels + c).collect();
                Operator::Rows(means(n, (0..channels).map(of).collect(), reciprocal(cells as f64))?)
            }
            Op::Flatten {} => {
                let cells = n / channels;
                let from: Vec<_> = (0..n).map(|i| Some(i % cells * channels + i / cells)).collect();
                Operator::Rows(Rows::selection(n, &from))
            }
            Op::PadShortcut { step, out } => Operator::Rows(shortcut(shape, step, out)),
            _ => bail!(
                "layer {} ({}) has no constraint that a bound could use; certify takes dense, convolutional and residual \
                 networks with elementwise activations, sorting, pooling and batch normalization",
                node.name,
                name(&node.op)
            ),
        };
        for (i, term) in terms.iter_mut().enumerate() {
            term.maps.push(if i == 0 { map.clone() } else { map.without_bias() });
        }
        Ok(terms)
    }

    /// A matrix on the last axis, the same at every position.
    fn linear(&self, node: &Node, n: usize, width: usize, out: usize) -> Result<Rows> {
        let weight = self.must(node, "weight")?;
        let bias = self.of(node, "bias").unwrap_or_else(|| vec![0.0; out]);
        if n == width {
            return Ok(Rows::dense(width, &weight, bias));
        }
        let row = |i: usize| {
            let (position, o) = (i / out, i % out);
            let entry = |c: usize| Entry {
                column: position * width + c,
                number: Number::exact(weight[o * width + c]),
            };
            (0..width).map(entry).collect()
        };
        let rows = n / width * out;
        let bias = (0..rows).map(|i| Number::exact(bias[i % out])).collect();
        Ok(Rows::new(n, (0..rows).map(row).collect(), bias)?)
    }

    fn convolution(&self, node: &Node, shape: &[usize]) -> Result<Convolution> {
        let exact = |values: Vec<f64>| values.into_iter().map(Number::exact).collect::<Vec<_>>();
        let weight = exact(self.must(node, "weight")?);
        let whole = |input, out, k, stride, pad, dilation, groups, circular| Convolution {
            input,
            out,
            k,
            stride,
            pad,
            dilation,
            groups,
            circular,
            weight,
            bias: self.of(node, "bias").map_or_else(|| vec![Number::ZERO; out], exact),
        };
        Ok(match (&node.op, shape) {
            (&Op::Conv2d { out, k, stride, pad, dilation, groups, circular, .. }, &[h, w, c]) => {
                whole([h, w, c], out, k, stride, pad, dilation, groups, circular)
            }
            (&Op::Conv1d { out, k, stride, pad, dilation, groups, circular, .. }, &[n, c]) => whole(
                [1, n, c],
                out,
                [1, k],
                [1, stride],
                [0, 0, pad[0], pad[1]],
                [1, dilation],
                groups,
                circular,
            ),
            _ => bail!("layer {} reads {shape:?}, which is no image or sequence", node.name),
        })
    }

    /// γ/√(σ² + ε) and β − μ γ/√(σ² + ε) of each channel.
    fn normalization(&self, node: &Node, eps: f64) -> Result<(Vec<Number>, Vec<Number>)> {
        let [gamma, beta, mean, var] = ["weight", "bias", "running_mean", "running_var"];
        let (gamma, beta) = (self.must(node, gamma)?, self.must(node, beta)?);
        let (mean, var) = (self.must(node, mean)?, self.must(node, var)?);
        if let Some(v) = var.iter().find(|v| **v + eps <= 0.0 || v.is_nan()) {
            bail!("layer {}: a running variance is {v}; train the model anew", node.name);
        }
        let by: Vec<Number> =
            gamma.iter().zip(&var).map(|(g, v)| Number::rounded(g / (v + eps).sqrt(), 4)).collect();
        let shift = |(i, b): (usize, &f64)| {
            Number::products(&[(Number::ONE, Number::exact(*b)), (by[i], Number::exact(-mean[i]))])
        };
        let shift = beta.iter().enumerate().map(shift).collect();
        Ok((by, shift))
    }
}

/// Every channel of `n` numbers scaled and shifted: folded into a convolution before it.
fn normalized(mut terms: Vec<Term>, n: usize, (by, shift): (Vec<Number>, Vec<Number>)) -> Vec<Term> {
    let zeros = vec![Number::ZERO; shift.len()];
    for (i, term) in terms.iter_mut().enumerate() {
        let shift = if i == 0 { &shift } else { &zeros };
        match term.maps.pop() {
            Some(Operator::Convolution(c)) => term.maps.push(Operator::Convolution(c.scaled(&by, shift))),
            other => {
                term.maps.extend(other);
                let spread = |v: &[Number]| (0..n).map(|i| v[i % v.len()]).collect::<Vec<_>>();
                term.maps.push(Operator::Rows(Rows::diagonal(&spread(&by), spread(shift))));
            }
        }
    }
    terms
}

/// Sums over windows, times a number.
fn means(n: usize, windows: Vec<Vec<usize>>, share: Number) -> Result<Rows> {
    let zeros = vec![Number::ZERO; windows.len()];
    let row = |w: Vec<usize>| w.into_iter().map(|column| Entry { column, number: share }).collect();
    Ok(Rows::new(n, windows.into_iter().map(row).collect(), zeros)?)
}

/// Every `step`-th row and column, zero channels evenly before and after.
fn shortcut(shape: &[usize], step: usize, out: usize) -> Rows {
    let &[h, w, c] = shape else { return Rows::selection(0, &[]) };
    let (columns, before) = (w.div_ceil(step), (out - c) / 2);
    let from = |i: usize| {
        let (y, x, o) = (i / (columns * out), i / out % columns, i % out);
        let channel = o.checked_sub(before).filter(|o| *o < c)?;
        Some((y * step * w + x * step) * c + channel)
    };
    let all: Vec<_> = (0..h.div_ceil(step) * columns * out).map(from).collect();
    Rows::selection(h * w * c, &all)
}

/// What an operation is called.
fn name(op: &Op) -> String {
    let described = serde_json::to_value(op).ok();
    described.and_then(|d| Some(d.get("op")?.as_str()?.to_owned())).unwrap_or_default()
}
