use thalweg_core::Layout;

use crate::kernel::Scalar;
use crate::{Graph, NetError, Op};

/// Folds each batch normalisation with its running statistics into the linear map or convolution
/// that it alone reads: `W' = s W`, `b' = β + s (b − μ)` with `s = γ/√(σ² + ε)` per output channel.
/// Returns the shorter graph, its parameters, and its running statistics, which are empty unless
/// some batch normalisation reads something else and therefore stays.
///
/// In evaluation mode the folded network computes the same function.
///
/// # Errors
/// A graph that is not well formed, or a buffer of the wrong length.
pub fn fold<T: Scalar>(
    graph: &Graph,
    theta: &[T],
    buffers: &[T],
) -> Result<(Graph, Vec<T>, Vec<T>), NetError> {
    let (layout, statistics) = (graph.layout()?, graph.buffers()?);
    NetError::check("the parameter buffer", theta.len(), layout.len())?;
    NetError::check("the buffer of running statistics", buffers.len(), statistics.len())?;
    let values = |layout: &Layout, all: &[T], node: usize, part: &str| -> Vec<T> {
        let block = layout.get(&format!("{}.{part}", graph.nodes[node].name));
        block.map_or(Vec::new(), |b| all[b.range()].to_vec())
    };
    let parameter = |node: usize, part: &str| values(&layout, theta, node, part);
    let statistic = |node: usize, part: &str| values(&statistics, buffers, node, part);

    let norm_of = norms(graph);
    let folded = |node: usize| norm_of.contains(&Some(node));
    let mut short = Graph::new(&graph.input);
    let (mut kept, mut running) = (Vec::new(), Vec::new());
    // Where each old output is found in the new graph.
    let mut place = vec![0];
    for (i, node) in graph.nodes.iter().enumerate() {
        if folded(i) {
            place.push(place[node.inputs[0]]);
            continue;
        }
        let inputs: Vec<usize> = node.inputs.iter().map(|&j| place[j]).collect();
        let mut op = node.op.clone();
        let (mut weight, mut shift) = (parameter(i, "weight"), parameter(i, "bias"));
        if let Some(norm) = norm_of[i]
            && let Op::BatchNorm { eps, .. } = graph.nodes[norm].op
            && let Op::Linear { bias, .. } | Op::Conv1d { bias, .. } | Op::Conv2d { bias, .. } = &mut op
        {
            *bias = true;
            let (gamma, beta) = (parameter(norm, "weight"), parameter(norm, "bias"));
            let (mean, var) = (statistic(norm, "running_mean"), statistic(norm, "running_var"));
            shift.resize(gamma.len(), T::ZERO);
            let row = weight.len() / gamma.len();
            for (c, row) in weight.chunks_exact_mut(row).enumerate() {
                let s = gamma[c].to_f64() / (var[c].to_f64() + eps).sqrt();
                row.iter_mut().for_each(|w| *w = T::from_f64(s * w.to_f64()));
                shift[c] = T::from_f64(beta[c].to_f64() + s * (shift[c].to_f64() - mean[c].to_f64()));
            }
        }
        kept.extend(weight);
        kept.extend(shift);
        running.extend(statistic(i, "running_mean"));
        running.extend(statistic(i, "running_var"));
        place.push(short.push_on(&node.name, op, &inputs));
    }
    Ok((short, kept, running))
}

/// For each node the batch normalisation that can be folded into it.
fn norms(graph: &Graph) -> Vec<Option<usize>> {
    let last = graph.nodes.len() - 1;
    let readers = |i: usize| graph.nodes.iter().filter(|n| n.inputs.contains(&(i + 1))).count();
    let linear = |op: &Op| matches!(op, Op::Linear { .. } | Op::Conv1d { .. } | Op::Conv2d { .. });
    let mut norm_of = vec![None; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        if let (Op::BatchNorm { .. }, [j]) = (&node.op, node.inputs.as_slice())
            && *j > 0
            && linear(&graph.nodes[j - 1].op)
            && readers(j - 1) == 1
            // The output must stay the last node.
            && (i < last || *j == i)
        {
            norm_of[j - 1] = Some(i);
        }
    }
    norm_of
}
