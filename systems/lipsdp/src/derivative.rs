//! A network's derivative at a point as a product of factors: along a direction or back from the outputs in one pass
//! over the weights, without the Jacobian itself.
//!
//! At a kink or a tie it is one of the limits of nearby derivatives, which ascent can follow. Whether it is the
//! derivative in truth depends on the direction: [`Derivative::certain`].

use faer::Mat;
use thalweg_linalg::dense::{Lu, apply};
use thalweg_linalg::vector::dot;

use crate::network::{Block, Network, equilibrium};
use crate::{Activation, LipError};

/// Kinks and ties nearer than this, relative to the layer's largest number, are in doubt: rounding may have taken the
/// wrong side.
const KINK: f64 = 1e-12;

/// The derivative of a network at a point.
#[derive(Debug)]
pub struct Derivative<'a> {
    net: &'a Network,
    value: Vec<f64>,
    links: Vec<Link>,
}

/// What a block keeps of the point.
#[derive(Debug)]
enum Link {
    Affine,
    Slopes(Local),
    Implicit(Box<Implicit>),
}

/// An equilibrium: y = (I − D Wz)⁻¹ D U v.
#[derive(Debug)]
struct Implicit {
    slopes: Local,
    solver: Lu,
    transposed: Lu,
}

impl Network {
    /// The derivative at a point.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn derivative(&self, x: &[f64]) -> Result<Derivative<'_>, LipError> {
        self.reads(x)?;
        let mut h = x.to_vec();
        let mut links = Vec::with_capacity(self.blocks().len());
        for block in self.blocks() {
            let (next, link) = match block {
                Block::Affine(a) => (a.at(&h), Link::Affine),
                Block::Activation(act) => {
                    let (next, slopes) = act.linearize(&h)?;
                    (next, Link::Slopes(slopes))
                }
                Block::Residual { inner, activation, outer } => {
                    let (branch, slopes) = activation.linearize(&inner.at(&h))?;
                    let branch = outer.as_ref().map_or(branch.clone(), |outer| outer.at(&branch));
                    (h.iter().zip(&branch).map(|(h, b)| h + b).collect(), Link::Slopes(slopes))
                }
                Block::Equilibrium { input, state, activation } => {
                    let (z, at) = equilibrium(&input.at(&h), state, activation)?;
                    let slopes = activation.linearize(&at)?.1;
                    let n = z.len();
                    let mut left = Mat::identity(n, n);
                    for j in 0..n {
                        let column = slopes.along(state.col_as_slice(j));
                        (0..n).for_each(|i| left[(i, j)] -= column[i]);
                    }
                    let transposed = Lu::new(left.transpose().to_owned());
                    let solver = Lu::new(&left);
                    (z, Link::Implicit(Box::new(Implicit { slopes, solver, transposed })))
                }
            };
            h = next;
            links.push(link);
        }
        Ok(Derivative { net: self, value: h, links })
    }
}

impl Derivative<'_> {
    /// The outputs at the point.
    pub fn value(&self) -> &[f64] {
        &self.value
    }

    /// J v for a direction of as many numbers as there are inputs.
    pub fn along(&self, v: &[f64]) -> Vec<f64> {
        self.push(v).0
    }

    /// J v if it is the derivative along v beyond doubt: no kink or tie is near whose side matters to it.
    pub fn certain(&self, v: &[f64]) -> Option<Vec<f64>> {
        let (y, certain) = self.push(v);
        certain.then_some(y)
    }

    fn push(&self, v: &[f64]) -> (Vec<f64>, bool) {
        let mut v = v.to_vec();
        let mut certain = true;
        let mut through = |slopes: &Local, z: &[f64]| {
            certain &= slopes.doubts.iter().all(|doubt| doubt.is_idle(z));
            slopes.along(z)
        };
        for (block, link) in self.net.blocks().iter().zip(&self.links) {
            v = match (block, link) {
                (Block::Affine(a), _) => apply(&a.weight, &v),
                (Block::Activation(_), Link::Slopes(slopes)) => through(slopes, &v),
                (Block::Residual { inner, outer, .. }, Link::Slopes(slopes)) => {
                    let branch = through(slopes, &apply(&inner.weight, &v));
                    let branch = outer.as_ref().map_or(branch.clone(), |outer| apply(&outer.weight, &branch));
                    v.iter().zip(&branch).map(|(v, b)| v + b).collect()
                }
                (Block::Equilibrium { input, state, .. }, Link::Implicit(at)) => {
                    let Implicit { slopes, solver, .. } = &**at;
                    let drive = apply(&input.weight, &v);
                    let y = column(solver.solve(as_column(&slopes.along(&drive))));
                    let mut z = apply(state, &y);
                    z.iter_mut().zip(&drive).for_each(|(z, d)| *z += d);
                    through(slopes, &z);
                    y
                }
                _ => unreachable!("each block made its own link"),
            };
        }
        (v, certain)
    }

    /// Jᵀ u for weights u of the outputs.
    pub fn back(&self, u: &[f64]) -> Vec<f64> {
        let mut u = u.to_vec();
        for (block, link) in self.net.blocks().iter().zip(&self.links).rev() {
            u = match (block, link) {
                (Block::Affine(a), _) => transposed(&a.weight, &u),
                (Block::Activation(_), Link::Slopes(slopes)) => slopes.back(&u),
                (Block::Residual { inner, outer, .. }, Link::Slopes(slopes)) => {
                    let branch =
                        outer.as_ref().map_or_else(|| u.clone(), |outer| transposed(&outer.weight, &u));
                    let branch = transposed(&inner.weight, &slopes.back(&branch));
                    u.iter().zip(&branch).map(|(u, b)| u + b).collect()
                }
                (Block::Equilibrium { input, .. }, Link::Implicit(at)) => {
                    let y = column(at.transposed.solve(as_column(&u)));
                    transposed(&input.weight, &at.slopes.back(&y))
                }
                _ => unreachable!("each block made its own link"),
            };
        }
        u
    }
}

/// Wᵀ u.
fn transposed(w: &Mat<f64>, u: &[f64]) -> Vec<f64> {
    (0..w.ncols()).map(|j| dot(w.col_as_slice(j), u)).collect()
}

fn as_column(v: &[f64]) -> Mat<f64> {
    Mat::from_fn(v.len(), 1, |i, _| v[i])
}

fn column(m: Mat<f64>) -> Vec<f64> {
    m.col_as_slice(0).to_vec()
}

/// The derivative of an activation at a point: a sparse matrix, row by row.
#[derive(Debug)]
pub(crate) struct Local {
    inputs: usize,
    /// Row i is `entries[starts[i]..starts[i + 1]]`, pairs of a column and a factor.
    starts: Vec<usize>,
    entries: Vec<(usize, f64)>,
    doubts: Vec<Doubt>,
}

/// A linear functional of the direction that must vanish for a doubtful derivative to be true along it.
#[derive(Debug)]
struct Doubt(Vec<(usize, f64)>);

impl Doubt {
    /// Whether it vanishes up to rounding.
    fn is_idle(&self, z: &[f64]) -> bool {
        let terms = || self.0.iter().map(|&(i, f)| f * z[i]);
        terms().sum::<f64>().abs() <= 1e-12 * terms().map(f64::abs).sum::<f64>()
    }
}

impl Local {
    fn new(inputs: usize) -> Self {
        Self { inputs, starts: vec![0], entries: Vec::new(), doubts: Vec::new() }
    }

    fn row(&mut self, entries: impl IntoIterator<Item = (usize, f64)>) {
        self.entries.extend(entries);
        self.starts.push(self.entries.len());
    }

    fn rows(&self) -> impl Iterator<Item = &[(usize, f64)]> {
        self.starts.windows(2).map(|w| &self.entries[w[0]..w[1]])
    }

    fn along(&self, z: &[f64]) -> Vec<f64> {
        self.rows().map(|row| row.iter().map(|&(j, f)| f * z[j]).sum()).collect()
    }

    fn back(&self, u: &[f64]) -> Vec<f64> {
        let mut z = vec![0.0; self.inputs];
        for (row, u) in self.rows().zip(u) {
            row.iter().for_each(|&(j, f)| z[j] += f * u);
        }
        z
    }
}

impl Activation {
    /// Values.
    pub(crate) fn value(&self, z: &[f64]) -> Result<Vec<f64>, LipError> {
        match self {
            Self::Slope(slope) => z
                .iter()
                .map(|z| Some(slope.at(*z)?.0))
                .collect::<Option<_>>()
                .ok_or(LipError::NoValues(*slope)),
            _ => Ok(self.linearize(z)?.0),
        }
    }

    /// Values and derivative.
    fn linearize(&self, z: &[f64]) -> Result<(Vec<f64>, Local), LipError> {
        let n = z.len();
        let largest = z.iter().fold(0.0, |a: f64, z| a.max(z.abs()));
        let near = KINK * largest;
        let mut x = Vec::with_capacity(n);
        let mut d = Local::new(n);
        match self {
            Self::Slope(slope) => {
                for (i, &z) in z.iter().enumerate() {
                    let (value, factor) = slope.at(z).ok_or(LipError::NoValues(*slope))?;
                    x.push(value);
                    d.row([(i, factor)]);
                    if slope.kinks().iter().any(|k| (z - k).abs() <= near.max(KINK * k.abs())) {
                        d.doubts.push(Doubt(vec![(i, 1.0)]));
                    }
                }
            }
            Self::GroupSort { size, descending } => {
                for start in (0..n).step_by(*size) {
                    let mut order: Vec<usize> = (start..start + size).collect();
                    order.sort_by(|a, b| z[*a].total_cmp(&z[*b]));
                    let ties = order.windows(2).filter(|w| z[w[1]] - z[w[0]] <= near);
                    d.doubts.extend(ties.map(|w| Doubt(vec![(w[0], 1.0), (w[1], -1.0)])));
                    if *descending {
                        order.reverse();
                    }
                    for &from in &order {
                        x.push(z[from]);
                        d.row([(from, 1.0)]);
                    }
                }
            }
            Self::Householder { normals } => {
                let g = normals.ncols();
                for group in 0..normals.nrows() {
                    let v: Vec<f64> = (0..g).map(|k| normals[(group, k)]).collect();
                    let at = group * g;
                    let (along, square) = (dot(&v, &z[at..at + g]), dot(&v, &v));
                    if along.abs() / square.sqrt() <= near {
                        d.doubts.push(Doubt((0..g).map(|k| (at + k, v[k])).collect()));
                    }
                    let factor = if along > 0.0 { 0.0 } else { 2.0 / square };
                    for k in 0..g {
                        x.push(z[at + k] - factor * v[k] * along);
                        d.row((0..g).map(|i| (at + i, f64::from(i == k) - factor * v[k] * v[i])));
                    }
                }
            }
            Self::MaxPool { windows } => {
                for window in windows {
                    let top = window.iter().copied().max_by(|a, b| z[*a].total_cmp(&z[*b]));
                    x.push(top.map_or(0.0, |i| z[i]));
                    d.row(top.map(|i| (i, 1.0)));
                    let rivals =
                        window.iter().filter(|i| top.is_some_and(|t| **i != t && z[t] - z[**i] <= near));
                    let doubts = rivals.filter_map(|i| Some(Doubt(vec![(top?, 1.0), (*i, -1.0)])));
                    d.doubts.extend(doubts);
                }
            }
        }
        Ok((x, d))
    }
}
