//! What of a network matters to its bounds: without inputs, neurons and outputs that cannot matter, and with neurons
//! of extreme scale brought together. Both are exact: an entry is left out only if it is 0 or met by a constant, and scales are
//! powers of two. Proofs are therefore made for the essence of a network, and hold for the network.

use faer::Mat;

use crate::constraint::Form;
use crate::network::{Affine, Block, Network, Radii};
use crate::{Activation, LipError, Slope};

/// Whether no output depends on any input, by the zeros of the weights.
pub(crate) fn is_constant(net: &Network) -> bool {
    live(net).last().is_some_and(|outputs| outputs.iter().all(|l| !l))
}

/// The essence of a network that is not constant; all its outputs, or those that are not constant.
pub(crate) fn essence(net: &Network, form: Form, all_outputs: bool) -> Result<Network, LipError> {
    let mut slim = slim(net, all_outputs)?;
    // One multiplier for all neurons of a layer depends on their scales.
    if form != Form::Layer {
        balance(&mut slim.1);
    }
    Network::new(slim.0, slim.1)
}

/// Per state, from the inputs to the outputs: which of its numbers depend on the inputs.
fn live(net: &Network) -> Vec<Vec<bool>> {
    let mut states = vec![vec![true; net.inputs()]];
    for block in net.blocks() {
        let h = &states[states.len() - 1];
        states.push(match block {
            Block::Affine(a) => reached(a, h),
            Block::Activation(act) => passed(act, h),
            Block::Residual { inner, activation, outer } => {
                let branch = passed(activation, &reached(inner, h));
                let branch = outer.as_ref().map_or(branch.clone(), |o| reached(o, &branch));
                h.iter().zip(branch).map(|(h, b)| *h || b).collect()
            }
            Block::Equilibrium { input, .. } => {
                let any = reached(input, h).contains(&true);
                vec![any; input.weight.nrows()]
            }
        });
    }
    states
}

/// Per state: which of its numbers depend on the inputs and move an output.
fn matter(net: &Network) -> Vec<Vec<bool>> {
    let live = live(net);
    let mut used = live[live.len() - 1].clone();
    let mut states = vec![used.clone()];
    for (block, live) in net.blocks().iter().zip(&live).rev() {
        used = match block {
            Block::Affine(a) => moves(a, &used),
            Block::Activation(act) => asked(act, &used, live.len()),
            Block::Residual { inner, activation, outer } => {
                let branch = outer.as_ref().map_or(used.clone(), |o| moves(o, &used));
                let branch = moves(inner, &asked(activation, &branch, inner.weight.nrows()));
                used.iter().zip(branch).map(|(u, b)| *u || b).collect()
            }
            Block::Equilibrium { input, .. } => moves(input, &vec![true; input.weight.nrows()]),
        };
        used.iter_mut().zip(live).for_each(|(u, l)| *u &= l);
        states.push(used.clone());
    }
    states.reverse();
    states
}

/// Rows with a weight on one of these columns.
fn reached(a: &Affine, columns: &[bool]) -> Vec<bool> {
    (0..a.weight.nrows()).map(|i| columns.iter().enumerate().any(|(j, l)| *l && !a.is_zero(i, j))).collect()
}

/// Columns with a weight on one of these rows.
fn moves(a: &Affine, rows: &[bool]) -> Vec<bool> {
    (0..a.weight.ncols()).map(|j| rows.iter().enumerate().any(|(i, u)| *u && !a.is_zero(i, j))).collect()
}

/// Outputs of an activation that depend on one of these inputs.
fn passed(act: &Activation, inputs: &[bool]) -> Vec<bool> {
    match act {
        Activation::Slope(Slope::Between(0.0, 0.0)) => vec![false; inputs.len()],
        Activation::MaxPool { windows } => windows.iter().map(|w| w.iter().any(|i| inputs[*i])).collect(),
        _ => groupwise(act.group(), inputs),
    }
}

/// Inputs of an activation that one of these outputs depends on.
fn asked(act: &Activation, outputs: &[bool], width: usize) -> Vec<bool> {
    match act {
        Activation::MaxPool { windows } => {
            let mut inputs = vec![false; width];
            for (window, _) in windows.iter().zip(outputs).filter(|w| *w.1) {
                window.iter().for_each(|i| inputs[*i] = true);
            }
            inputs
        }
        _ => groupwise(act.group(), outputs),
    }
}

/// Every member of a group if one is.
fn groupwise(size: usize, some: &[bool]) -> Vec<bool> {
    some.chunks(size).flat_map(|g| vec![g.contains(&true); g.len()]).collect()
}

fn indices(mask: &[bool]) -> Vec<usize> {
    (0..mask.len()).filter(|i| mask[*i]).collect()
}

/// Inputs and blocks without what cannot matter. Only affine maps have fewer rows and columns: what a pooling layer, a
/// residual block's stream or an equilibrium reads stays.
fn slim(net: &Network, all_outputs: bool) -> Result<(usize, Vec<Block>), LipError> {
    let (matter, all) = (matter(net), net.blocks());
    let affine = |b: usize| matches!(all.get(b), Some(Block::Affine(_)));
    let whole = |b: usize| (0..matter[b].len()).collect::<Vec<_>>();
    let mut kept = if affine(0) { indices(&matter[0]) } else { whole(0) };
    let inputs = kept.len();
    let mut blocks = Vec::new();
    for (b, block) in all.iter().enumerate() {
        let next = match block {
            Block::Affine(a) => {
                let grouped = match all.get(b + 1) {
                    Some(Block::Activation(act)) if affine(b + 2) => {
                        !matches!(act, Activation::MaxPool { .. })
                    }
                    _ => false,
                };
                let rows = match b + 1 == all.len() {
                    true if all_outputs => whole(b + 1),
                    true => indices(&matter[b + 1]),
                    // Whole groups, told by what comes out of them.
                    false if grouped => {
                        let Block::Activation(act) = &all[b + 1] else {
                            unreachable!("an activation follows")
                        };
                        indices(&groupwise(act.group(), &matter[b + 2]))
                    }
                    false if affine(b + 1) => indices(&matter[b + 1]),
                    false => whole(b + 1),
                };
                blocks.push(Block::Affine(part(a, &rows, &kept)));
                kept = rows;
                continue;
            }
            Block::Activation(Activation::Householder { normals: v }) if kept.len() < matter[b].len() => {
                let g = v.ncols();
                let groups: Vec<usize> = kept.iter().step_by(g).map(|i| i / g).collect();
                let normals = Mat::from_fn(groups.len(), g, |i, k| v[(groups[i], k)]);
                Some(Block::Activation(Activation::Householder { normals }))
            }
            Block::Residual { inner, activation, outer } => {
                let (h, out) = (&matter[b], &matter[b + 1]);
                branch(inner, activation, outer.as_ref(), h, out)
            }
            _ => Some(block.clone()),
        };
        blocks.extend(next);
        if !matches!(block, Block::Activation(a) if !matches!(a, Activation::MaxPool { .. })) {
            kept = whole(b + 1);
        }
    }
    if blocks.is_empty() {
        blocks.push(Block::Affine(Affine::linear(Mat::identity(inputs, inputs))));
    }
    Ok((inputs, blocks))
}

/// A residual block with those hidden neurons that matter; none if none does.
fn branch(
    inner: &Affine,
    activation: &Activation,
    outer: Option<&Affine>,
    inputs: &[bool],
    outputs: &[bool],
) -> Option<Block> {
    let block = |inner: Affine, activation: Activation, outer: Option<Affine>| {
        Some(Block::Residual { inner, activation, outer })
    };
    let n = inner.weight.nrows();
    let hidden = passed(activation, &reached(inner, inputs));
    let used = outer.map_or_else(|| outputs.to_vec(), |o| moves(o, outputs));
    let mask: Vec<bool> = hidden.iter().zip(&used).map(|(l, u)| *l && *u).collect();
    let mask = match activation {
        Activation::MaxPool { .. } if mask.contains(&true) => vec![true; n],
        Activation::MaxPool { .. } => mask,
        _ => groupwise(activation.group(), &mask),
    };
    let kept = indices(&mask);
    if kept.is_empty() {
        return None;
    }
    if kept.len() == n || matches!(activation, Activation::MaxPool { .. }) {
        return block(inner.clone(), activation.clone(), outer.cloned());
    }
    let activation = match activation {
        Activation::Householder { normals: v } => {
            let groups: Vec<usize> = kept.iter().step_by(v.ncols()).map(|i| i / v.ncols()).collect();
            let normals = Mat::from_fn(groups.len(), v.ncols(), |i, k| v[(groups[i], k)]);
            Activation::Householder { normals }
        }
        other => other.clone(),
    };
    let all: Vec<usize> = (0..inner.weight.ncols()).collect();
    let outer = outer.cloned().unwrap_or_else(|| Affine::linear(Mat::identity(all.len(), n)));
    block(part(inner, &kept, &all), activation, Some(part(&outer, &all, &kept)))
}

/// Rows and columns of a map; bounds have no use for its bias.
fn part(a: &Affine, rows: &[usize], columns: &[usize]) -> Affine {
    let of = |w: &Mat<f64>| Mat::from_fn(rows.len(), columns.len(), |i, j| w[(rows[i], columns[j])]);
    let bias = vec![0.0; rows.len()];
    let radii = a.radii.as_ref().map(|r| Box::new(Radii { weight: of(&r.weight), bias: bias.clone() }));
    Affine { weight: of(&a.weight), bias, radii }
}

/// Neurons are rescaled if that changes them by at least this power of two: those of ordinary networks stay as they
/// are.
const FAR: i32 = 4;

/// Scales each group of neurons between two affine maps by the power of two that makes its weights in and out about
/// equal. A quadratic constraint of a group holds at every scale, so bounds of the result are bounds of the network.
fn balance(blocks: &mut [Block]) {
    // Each layer's scales depend on its neighbours'.
    for _ in 0..2 * blocks.len() {
        let mut moved = false;
        for b in 0..blocks.len() {
            if let Block::Residual { inner, activation, outer: Some(outer) } = &mut blocks[b] {
                moved |= level(inner, activation, outer);
            }
            if let Some([Block::Affine(before), Block::Activation(act), Block::Affine(after)]) =
                blocks.get_mut(b..b + 3)
            {
                moved |= level(before, act, after);
            }
        }
        if !moved {
            break;
        }
    }
}

/// Whether a group between these maps was rescaled.
fn level(before: &mut Affine, act: &Activation, after: &mut Affine) -> bool {
    if matches!(act, Activation::MaxPool { .. }) {
        return false;
    }
    let (a, b) = (&mut before.weight, &mut after.weight);
    let mut moved = false;
    for start in (0..a.nrows()).step_by(act.group()) {
        let group = start..start + act.group();
        let row = group.clone().flat_map(|i| (0..a.ncols()).map(move |j| (i, j)));
        let row = row.fold(0.0, |top: f64, at| top.max(a[at].abs()));
        let column = group.clone().flat_map(|j| (0..b.nrows()).map(move |i| (i, j)));
        let column = column.fold(0.0, |top: f64, at| top.max(b[at].abs()));
        if row == 0.0 || column == 0.0 {
            continue;
        }
        let power = (0.5 * (column.log2() - row.log2())).round() as i32;
        let (up, down) = (2f64.powi(power), 2f64.powi(-power));
        let exact = |x: f64, by: f64, back: f64| (x * by) * back == x;
        let keeps = group.clone().all(|k| {
            (0..a.ncols()).all(|j| exact(a[(k, j)], up, down))
                && (0..b.nrows()).all(|i| exact(b[(i, k)], down, up))
        });
        if power.abs() < FAR || !keeps {
            continue;
        }
        for k in group {
            (0..a.ncols()).for_each(|j| a[(k, j)] *= up);
            (0..b.nrows()).for_each(|i| b[(i, k)] *= down);
            // Radii may underflow, so they are rounded up.
            let scaled = |r: &mut f64, by: f64| *r = if *r == 0.0 { 0.0 } else { (*r * by).next_up() };
            if let Some(radii) = &mut before.radii {
                (0..a.ncols()).for_each(|j| scaled(&mut radii.weight[(k, j)], up));
            }
            if let Some(radii) = &mut after.radii {
                (0..b.nrows()).for_each(|i| scaled(&mut radii.weight[(i, k)], down));
            }
        }
        moved = true;
    }
    moved
}
