use std::path::Path;

use crate::{Act, Graph, Init, NetError, Op};

const NAMES: &str = "use `mlp:64-128-10[:act]`, `lenet`, `cnn:depth,width`, \
     `resnet8|20|32|44|56|110[:option-a|:projection]`, `char-transformer:layers,width,heads,context` \
     or a TOML file";

/// A named architecture for examples of shape `input` (channels last; for tokens `[context]`, or `[]`
/// where the architecture decides on it) and `classes` outputs. Parameters carry PyTorch's names.
///
/// | name | network |
/// |---|---|
/// | `mlp:64-128-10[:act]` | linear layers `fc1`, `fc2`, … with an activation between them (`relu`; any of [`Act`], or `maxmin`); images are flattened |
/// | `lenet` | 5×5×8 convolution (padding 2), 5×5×16 convolution, each with ReLU and 2×2 max-pooling; linear layers of 64 and `classes` |
/// | `cnn:depth,width` | `depth` blocks of 3×3 convolution, batch norm, ReLU, 2×2 max-pooling; global mean; `fc` |
/// | `resnet8`, `resnet20`, … | 6n + 2 layers for small images (He et al. 2016); shortcuts without parameters (`option-a`, the default) or 1×1 convolutions with batch norm (`projection`) |
/// | `char-transformer:layers,width,heads,context` | token and learnt position embedding, pre-norm blocks of causal attention and a 4× GELU network, final layer norm, untied head |
///
/// ```
/// let lenet = thalweg_net::named("lenet", &[28, 28, 1], 10)?;
/// assert_eq!(lenet.layout()?.get("fc1.weight").unwrap().shape, [64, 400]);
/// # Ok::<(), thalweg_net::NetError>(())
/// ```
///
/// # Errors
/// A name that is not known or not well formed, or that does not fit `input` and `classes`.
pub fn named(arch: &str, input: &[usize], classes: usize) -> Result<Graph, NetError> {
    let bad = |why: String| NetError::Arch { name: arch.into(), why };
    let (family, rest) = arch.split_once(':').unwrap_or((arch, ""));
    let graph = match family {
        "mlp" => mlp(rest, input, classes),
        "lenet" if rest.is_empty() => Ok(lenet(input, classes)),
        "cnn" => numbers(rest, ["depth", "width"]).map(|[depth, width]| cnn(depth, width, input, classes)),
        "char-transformer" => transformer(rest, input, classes),
        _ => match family.strip_prefix("resnet").map(str::parse) {
            Some(Ok(depth)) => resnet(depth, rest, input, classes),
            _ => Err(format!("unknown; {NAMES}")),
        },
    };
    let graph = graph.map_err(bad)?;
    graph.shapes()?;
    Ok(graph)
}

/// An architecture by name, or from a description in a `.toml` or `.json` file, which must fit
/// the data's `input` and `classes`.
///
/// # Errors
/// As for [`named`] and [`Graph::read`]; a description that does not fit the data.
pub fn arch_or_file(arch: &str, input: &[usize], classes: usize) -> Result<Graph, NetError> {
    let path = Path::new(arch);
    if !path.extension().is_some_and(|e| e == "toml" || e == "json") {
        return named(arch, input, classes);
    }
    let graph = Graph::read(path)?;
    let shapes = graph.shapes()?;
    let outputs = shapes.last().and_then(|s| s.last()).copied().unwrap_or(0);
    let fits = input.is_empty() || graph.input == input;
    if !fits || outputs != classes {
        let why = format!(
            "its input {:?} and {outputs} outputs do not fit the data: write `input = {input:?}` and {classes} outputs",
            graph.input
        );
        return Err(NetError::Arch { name: arch.into(), why });
    }
    Ok(graph)
}

/// The customary initialisation of an architecture: normal(0, 0.02) for transformers, PyTorch's
/// default for everything else.
pub fn default_init(graph: &Graph) -> Init {
    let attends = graph.nodes.iter().any(|n| matches!(n.op, Op::Attention { .. }));
    if attends { Init::Normal(0.02) } else { Init::PyTorch }
}

/// Reads `2,16` or `depth=2,width=16`; every number is at least 1.
fn numbers<const N: usize>(text: &str, keys: [&str; N]) -> Result<[usize; N], String> {
    let parts: Vec<&str> = text.split(',').collect();
    let read = |(part, key): (&&str, &str)| {
        let part = part.trim();
        let value = part.strip_prefix(key).and_then(|v| v.strip_prefix('=')).unwrap_or(part);
        value.parse().ok().filter(|&n: &usize| n > 0)
    };
    let values: Option<Vec<usize>> = parts.iter().zip(keys).map(read).collect();
    values
        .filter(|_| parts.len() == N)
        .and_then(|v| v.try_into().ok())
        .ok_or_else(|| format!("`{text}` is not {N} positive whole numbers {}", keys.join(",")))
}

fn linear(out: usize) -> Op {
    Op::Linear { out, bias: true }
}

fn relu() -> Op {
    Op::Act { act: Act::Relu }
}

fn norm() -> Op {
    Op::BatchNorm { eps: 1e-5, momentum: 0.1 }
}

fn conv(out: usize, k: usize, stride: usize, pad: usize, bias: bool) -> Op {
    let (k, stride, dilation) = ([k, k], [stride, stride], [1, 1]);
    Op::Conv2d { out, k, stride, pad: [pad; 4], dilation, groups: 1, circular: false, bias }
}

fn halve() -> Op {
    Op::MaxPool { k: [2, 2], stride: None, pad: [0; 4] }
}

fn activation(name: &str) -> Result<Op, String> {
    Ok(match name {
        "maxmin" => Op::GroupSort { size: 2 },
        "leaky-relu" => Op::Act { act: Act::LeakyRelu(0.01) },
        _ => match serde_json::from_value(name.into()) {
            Ok(act) => Op::Act { act },
            Err(e) => return Err(format!("activation: {e}, `maxmin`")),
        },
    })
}

fn mlp(text: &str, input: &[usize], classes: usize) -> Result<Graph, String> {
    let (widths, act) = text.split_once(':').unwrap_or((text, "relu"));
    let act = activation(act)?;
    let widths: Option<Vec<usize>> = widths.split('-').map(|w| w.parse().ok().filter(|&n| n > 0)).collect();
    let Some([first, hidden @ .., last]) = widths.as_deref() else {
        return Err("widths must be positive whole numbers such as `mlp:64-128-10`".into());
    };
    let inputs = input.iter().product();
    if (*first, *last) != (inputs, classes) {
        let middle: String = hidden.iter().map(|h| format!("{h}-")).collect();
        return Err(format!(
            "the data has {inputs} inputs and {classes} classes; write `mlp:{inputs}-{middle}{classes}`"
        ));
    }
    let mut g = Graph::new(input);
    if input.len() > 1 {
        g.push("flatten", Op::Flatten {});
    }
    for (i, &width) in hidden.iter().enumerate() {
        g.push(format!("fc{}", i + 1), linear(width));
        g.push(format!("act{}", i + 1), act.clone());
    }
    g.push(format!("fc{}", hidden.len() + 1), linear(classes));
    Ok(g)
}

fn lenet(input: &[usize], classes: usize) -> Graph {
    let mut g = Graph::new(input);
    for (i, (width, pad)) in [(8, 2), (16, 0)].into_iter().enumerate() {
        g.push(format!("conv{}", i + 1), conv(width, 5, 1, pad, true));
        g.push(format!("relu{}", i + 1), relu());
        g.push(format!("pool{}", i + 1), halve());
    }
    g.push("flatten", Op::Flatten {});
    g.push("fc1", linear(64));
    g.push("relu3", relu());
    g.push("fc2", linear(classes));
    g
}

fn cnn(depth: usize, width: usize, input: &[usize], classes: usize) -> Graph {
    let mut g = Graph::new(input);
    for i in 1..=depth {
        g.push(format!("conv{i}"), conv(width, 3, 1, 1, true));
        g.push(format!("bn{i}"), norm());
        g.push(format!("relu{i}"), relu());
        g.push(format!("pool{i}"), halve());
    }
    g.push("pool", Op::GlobalAvgPool {});
    g.push("fc", linear(classes));
    g
}

fn resnet(depth: usize, shortcut: &str, input: &[usize], classes: usize) -> Result<Graph, String> {
    let projection = match shortcut {
        "" | "option-a" => false,
        "projection" => true,
        other => return Err(format!("shortcut `{other}` is unknown; use `option-a` or `projection`")),
    };
    if !(8..=1202).contains(&depth) || depth % 6 != 2 {
        return Err("the depth must be 6n + 2: 8, 14, 20, 32, 44, 56, 110, …".into());
    }
    let mut g = Graph::new(input);
    g.push("conv1", conv(16, 3, 1, 1, false));
    g.push("bn1", norm());
    let mut x = g.push("relu1", relu());
    for (stage, out) in [(1, 16), (2, 32), (3, 64)] {
        for block in 0..(depth - 2) / 6 {
            let name = |part: &str| format!("layer{stage}.{block}.{part}");
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            g.push_on(name("conv1"), conv(out, 3, stride, 1, false), &[x]);
            g.push(name("bn1"), norm());
            g.push(name("relu1"), relu());
            g.push(name("conv2"), conv(out, 3, 1, 1, false));
            let y = g.push(name("bn2"), norm());
            let short = if stride == 1 {
                x
            } else if projection {
                g.push_on(name("downsample.0"), conv(out, 1, stride, 0, false), &[x]);
                g.push(name("downsample.1"), norm())
            } else {
                g.push_on(name("shortcut"), Op::PadShortcut { step: stride, out }, &[x])
            };
            g.push_on(name("add"), Op::Add {}, &[y, short]);
            x = g.push(name("relu2"), relu());
        }
    }
    g.push("pool", Op::GlobalAvgPool {});
    g.push("fc", linear(classes));
    Ok(g)
}

/// Names as in nanoGPT, the usual small implementation.
fn transformer(text: &str, input: &[usize], vocab: usize) -> Result<Graph, String> {
    let [layers, width, heads, context] = numbers(text, ["layers", "width", "heads", "context"])?;
    if !input.is_empty() && input != [context] {
        return Err(format!(
            "the data has examples of shape {input:?}; a context of {context} needs [{context}]"
        ));
    }
    let layer_norm = || Op::LayerNorm { eps: 1e-5 };
    let mut g = Graph::new(&[context]);
    g.push("wte", Op::Embedding { vocab, width });
    let mut x = g.push("wpe", Op::PositionalEmbedding {});
    for i in 0..layers {
        let name = |part: &str| format!("h.{i}.{part}");
        g.push_on(name("ln_1"), layer_norm(), &[x]);
        g.push(name("attn.c_attn"), linear(3 * width));
        g.push(name("attn"), Op::Attention { heads, causal: true });
        let y = g.push(name("attn.c_proj"), linear(width));
        x = g.push_on(name("add_1"), Op::Add {}, &[x, y]);
        g.push(name("ln_2"), layer_norm());
        g.push(name("mlp.c_fc"), linear(4 * width));
        g.push(name("mlp.gelu"), Op::Act { act: Act::Gelu });
        let y = g.push(name("mlp.c_proj"), linear(width));
        x = g.push_on(name("add_2"), Op::Add {}, &[x, y]);
    }
    g.push("ln_f", layer_norm());
    g.push("lm_head", Op::Linear { out: vocab, bias: false });
    Ok(g)
}
