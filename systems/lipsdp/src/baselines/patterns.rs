//! The largest norm ‖W_L D_{L−1} … D_1 W_1‖₂ over all activation patterns D, by depth-first search
//! from the output. Every Jacobian is one of these products (or, for smooth activations, in their
//! convex hull), so this is an upper bound, and the best one blind to which patterns occur.

use faer::Mat;
use thalweg_linalg::dense::{self, norm2};

use super::norms::constant;
use crate::ball::times;
use crate::network::{Affine, Block, Network};
use crate::{Activation, LipError, Norm};

/// Refuse above this many.
const MOST: f64 = (1u32 << 24) as f64;

/// What a group of neurons can do: its `start` and the matrices it may multiply by.
struct Group {
    start: usize,
    choices: Vec<Mat<f64>>,
}

/// Bound and number of patterns looked at. `tail(blocks)` bounds the norm of the first blocks of
/// the network over all patterns, for pruning; it is asked once for each layer of activations but a first block.
pub(crate) fn maximum(
    net: &Network,
    mut tail: impl FnMut(Network) -> Result<f64, LipError>,
) -> Result<(f64, usize), LipError> {
    let mut width = net.inputs();
    let mut layers = Vec::new();
    let mut cushion = 1.0;
    for (i, block) in net.blocks().iter().enumerate() {
        layers.push(match block {
            // The cushion covers radii of a few roundings, not more.
            Block::Affine(Affine { weight, radii: Some(radii), .. })
                if radii.weight.norm_l2() > 1e-14 * weight.norm_l2() =>
            {
                let why = "need weights that are known to the last digit";
                return Err(LipError::not_applicable("activation patterns", why, "`bound` nsr or neuron"));
            }
            Block::Affine(a) => {
                cushion *= a.weight.norm_l2().max(f64::MIN_POSITIVE);
                Layer::Linear(a.weight.clone())
            }
            Block::Activation(act) if !matches!(act, Activation::MaxPool { .. }) => {
                let before = net.blocks()[..i].to_vec();
                let bound = if before.is_empty() { 1.0 } else { tail(Network::new(net.inputs(), before)?)? };
                // A choice may itself enlarge what comes before it.
                let slope = constant(act, Norm::L2);
                cushion *= slope.max(1.0);
                Layer::Groups { groups: groups(act, width), tail: times(slope, bound) }
            }
            _ => {
                let why = "are enumerated for feed-forward networks";
                return Err(LipError::not_applicable("activation patterns", why, "`bound` nsr or neuron"));
            }
        });
        width = block.outputs(width);
    }
    let count = layers.iter().map(Layer::log2).sum::<f64>();
    if count > MOST.log2() {
        let patterns = format!("2^{count:.0}");
        return Err(LipError::TooManyPatterns { patterns, instead: "nsr or neuron".into() });
    }
    let mut search = Search { layers: &layers, best: 0.0, leaves: 0 };
    search.descend(layers.len(), Mat::identity(width, width));
    // The search computes each product with fewer than 4000 roundings per entry.
    let bound = search.best + 1e-12 * cushion;
    Ok((bound.next_up(), search.leaves))
}

enum Layer {
    Linear(Mat<f64>),
    /// `tail` bounds the norm of this layer and all before it.
    Groups {
        groups: Vec<Group>,
        tail: f64,
    },
}

impl Layer {
    fn log2(&self) -> f64 {
        match self {
            Self::Linear(_) => 0.0,
            Self::Groups { groups, .. } => groups.iter().map(|g| (g.choices.len() as f64).log2()).sum(),
        }
    }
}

fn groups(act: &Activation, width: usize) -> Vec<Group> {
    let size = act.group();
    let choices = |g: usize| match act {
        Activation::Slope(slope) => {
            let (alpha, beta) = slope.interval();
            let number = |x: f64| Mat::from_fn(1, 1, |_, _| x);
            if alpha == beta { vec![number(alpha)] } else { vec![number(alpha), number(beta)] }
        }
        Activation::Householder { normals: v } => {
            let square: f64 = (0..size).map(|k| v[(g, k)].powi(2)).sum();
            let flip =
                Mat::from_fn(size, size, |i, j| f64::from(i == j) - 2.0 * v[(g, i)] * v[(g, j)] / square);
            vec![Mat::identity(size, size), flip]
        }
        _ => permutations(size)
            .into_iter()
            .map(|p| Mat::from_fn(size, size, |i, j| f64::from(p[i] == j)))
            .collect(),
    };
    (0..width / size).map(|g| Group { start: g * size, choices: choices(g) }).collect()
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let insert = |shorter: Vec<usize>| {
        (0..n).map(move |at| {
            let mut p = shorter.clone();
            p.insert(at, n - 1);
            p
        })
    };
    permutations(n - 1).into_iter().flat_map(insert).collect()
}

struct Search<'a> {
    layers: &'a [Layer],
    best: f64,
    leaves: usize,
}

impl Search<'_> {
    /// `product` is that of all layers from number `depth` on.
    fn descend(&mut self, depth: usize, product: Mat<f64>) {
        match depth.checked_sub(1).map(|i| &self.layers[i]) {
            None => {
                self.leaves += 1;
                // The Frobenius norm rules most patterns out.
                if product.norm_l2() > self.best {
                    self.best = self.best.max(norm2(&product));
                }
            }
            Some(Layer::Linear(w)) => self.descend(depth - 1, dense::product(product, w)),
            Some(Layer::Groups { groups, tail }) => {
                if product.norm_l2() * tail > self.best && norm2(&product) * tail > self.best {
                    self.choose(depth, groups, product);
                }
            }
        }
    }

    /// Every choice of the remaining groups of a layer.
    fn choose(&mut self, depth: usize, groups: &[Group], product: Mat<f64>) {
        let Some((group, rest)) = groups.split_first() else {
            return self.descend(depth - 1, product);
        };
        let n = group.choices[0].nrows();
        let old = product.subcols(group.start, n).to_owned();
        for choice in &group.choices {
            let mut next = product.clone();
            next.subcols_mut(group.start, n).copy_from(dense::product(&old, choice));
            self.choose(depth, rest, next);
        }
    }
}
