//! Exact reductions before the solve. None enters the proof: the solver's multipliers are carried
//! back to the network as stored.

use faer::Mat;
use thalweg_linalg::dense::{norm2, product, thin_r};

use crate::certificate::Multipliers;
use crate::constraint::Form;
use crate::network::{Affine, Block, Network};
use crate::{Activation, LipError, Norm};

/// How the multipliers of the reduced network become those of the original.
#[derive(Clone, Debug)]
pub(crate) struct Reduction {
    /// Factor of ρ or τ: the square of all scalings.
    input: f64,
    /// Per layer: factor (the square of the scalings behind it) and what was removed.
    layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
struct Layer {
    factor: f64,
    /// Multipliers per neuron group, times groups, before the removal; and each group's fate.
    fate: Vec<Fate>,
    shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Kept,
    /// Its input weights are zero: any large multiplier costs nothing.
    NoInput,
    /// Its output weights are zero: any small multiplier will do.
    NoOutput,
}

/// The smaller network, and the way back.
pub(crate) fn reduce(net: &Network, norm: Norm, form: Form) -> Result<(Network, Reduction), LipError> {
    let mut blocks = merged(net.blocks());
    let mut layers = remove_dead(&mut blocks, form);
    let mut behind = 1.0;
    let mut layer = layers.len();
    for block in blocks.iter_mut().rev() {
        match block {
            Block::Affine(a) => {
                let s = norm2(&a.weight);
                if s > 0.0 && s.is_finite() {
                    a.weight = &a.weight * faer::Scale(1.0 / s);
                    behind *= s * s;
                }
            }
            _ => {
                layer -= 1;
                layers[layer].factor = behind;
            }
        }
    }
    let inputs = match norm {
        Norm::L2 => narrow(&mut blocks, net.inputs()),
        _ => net.inputs(),
    };
    Ok((Network::new(inputs, blocks)?, Reduction { input: behind, layers }))
}

impl Reduction {
    /// Multipliers for the network as stored.
    pub fn restore(&self, reduced: &Multipliers) -> Multipliers {
        let scaled = |p: &[f64], f: f64| p.iter().map(|p| p * f).collect::<Vec<_>>();
        let layers = self.layers.iter().zip(&reduced.layers).map(|(layer, p)| {
            let p = scaled(p, layer.factor);
            let kept = layer.fate.iter().filter(|f| **f == Fate::Kept).count();
            if layer.shared || kept == layer.fate.len() || kept == 0 {
                return p;
            }
            let largest = p.iter().fold(0.0, |a: f64, p| a.max(*p));
            let whole = |p: &[f64]| {
                let mut p = p.iter();
                let number = |f: &Fate| match f {
                    Fate::Kept => p.next().copied().unwrap_or(largest),
                    Fate::NoInput => 1e10 * largest,
                    Fate::NoOutput => 1e-12 * largest,
                };
                layer.fate.iter().map(number).collect::<Vec<_>>()
            };
            // The published form has several numbers per group, one list after the other.
            p.chunks(kept).flat_map(whole).collect()
        });
        // σ and τ share the bound: each takes the root of its scaling.
        let input = match reduced.output.is_empty() {
            true => self.input,
            false => self.input.sqrt(),
        };
        let share = if reduced.output.is_empty() { 1.0 } else { 1.0 / self.input.sqrt() };
        Multipliers {
            input: scaled(&reduced.input, input),
            output: scaled(&reduced.output, self.input.sqrt()),
            layers: layers.map(|p| scaled(&p, share)).collect(),
        }
    }
}

/// Whether affine maps that were multiplied cancel: nothing is left to solve for.
pub(crate) fn vanishes(small: &Network) -> bool {
    let zero = |b: &Block| matches!(b, Block::Affine(a) if a.weight.norm_max() == 0.0);
    small.blocks().iter().any(zero)
}

/// Affine maps that follow one another become one. Without radii: these are the proof's, which is of the network as
/// stored, and do not fit weights that are reduced.
fn merged(blocks: &[Block]) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::new();
    for block in blocks {
        match (out.last_mut(), block) {
            (Some(Block::Affine(a)), Block::Affine(b)) => *a = Affine::linear(product(&b.weight, &a.weight)),
            (_, Block::Affine(a)) => out.push(Block::Affine(Affine { radii: None, ..a.clone() })),
            _ => out.push(block.clone()),
        }
    }
    out
}

/// Takes out neurons (whole groups) with no input or no output weight between two affine maps, as long
/// as one stays.
fn remove_dead(blocks: &mut [Block], form: Form) -> Vec<Layer> {
    let mut layers = Vec::new();
    for i in 0..blocks.len() {
        if matches!(blocks[i], Block::Affine(_)) {
            continue;
        }
        let mut fate = Vec::new();
        if let Some([Block::Affine(before), Block::Activation(act), Block::Affine(after)]) =
            blocks.get_mut(i.saturating_sub(1)..(i + 2).min(blocks.len()))
            && !matches!(act, Activation::MaxPool { .. })
        {
            let (a, b, size) = (&before.weight, &after.weight, act.group());
            let group = |g: usize| g * size..(g + 1) * size;
            let no_input = |g| group(g).all(|k| (0..a.ncols()).all(|j| a[(k, j)] == 0.0));
            let no_output = |g| group(g).all(|k| (0..b.nrows()).all(|j| b[(j, k)] == 0.0));
            fate = (0..a.nrows() / size)
                .map(|g| match (no_input(g), no_output(g)) {
                    (true, _) => Fate::NoInput,
                    (_, true) => Fate::NoOutput,
                    _ => Fate::Kept,
                })
                .collect();
            if fate.iter().all(|f| *f != Fate::Kept) {
                fate[0] = Fate::Kept;
            }
            let groups: Vec<usize> = (0..fate.len()).filter(|g| fate[*g] == Fate::Kept).collect();
            let kept: Vec<usize> = groups.iter().flat_map(|g| group(*g)).collect();
            if kept.len() < a.nrows() {
                let (rows, columns) = (a.ncols(), b.nrows());
                let a = Mat::from_fn(kept.len(), rows, |i, j| a[(kept[i], j)]);
                let b = Mat::from_fn(columns, kept.len(), |i, j| b[(i, kept[j])]);
                (*before, *after) = (Affine::linear(a), Affine::linear(b));
                if let Activation::Householder { normals: v } = act {
                    *v = Mat::from_fn(groups.len(), v.ncols(), |g, k| v[(groups[g], k)]);
                }
            }
        }
        layers.push(Layer { factor: 1.0, fate, shared: form == Form::Layer });
    }
    layers
}

/// Only adjacent affine maps multiplied and the first one reduced to its range (ℓ2): multipliers
/// keep their meaning.
pub(crate) fn merge_only(net: &Network) -> Result<Network, LipError> {
    let mut blocks = merged(net.blocks());
    let inputs = narrow(&mut blocks, net.inputs());
    Network::new(inputs, blocks)
}

/// Wᵀ = QR: only the part of the input in the range of the first Wᵀ matters. Gives the new width.
fn narrow(blocks: &mut [Block], inputs: usize) -> usize {
    let Some(Block::Affine(first) | Block::Equilibrium { input: first, .. }) = blocks.first_mut() else {
        return inputs;
    };
    let w = &first.weight;
    if w.nrows() < w.ncols() {
        *first = Affine::linear(thin_r(w.transpose().to_owned()).transpose().to_owned());
    }
    first.weight.ncols()
}
