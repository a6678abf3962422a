//! The matrix inequality of a whole network: minimise costᵀp subject to M(p) ⪰ 0 and p ≥ 0, with
//!
//! ```text
//! M(p) = C + diag(p of each coordinate) + Σ_k ± p_owner(k) d_k d_kᵀ
//! ```
//!
//! over the coordinates (σ-border, x₀, r₁, r₂, …): the inputs' difference and each layer's
//! remainder (see `constraint`). The d_k are the rows of every layer's gain, with sign −; C = −YᵀY or the border −Y.

use faer::Mat;
use thalweg_linalg::dense::{product, symmetric_product};

use crate::certificate::Multipliers;
use crate::constraint::{Form, Step};
use crate::network::{Block, Network};
use crate::size::counts;
use crate::{LipError, Norm};

/// A matrix inequality, split into independent parts.
#[derive(Clone, Debug)]
pub(crate) struct Lmi {
    pub parts: Vec<Part>,
    pub cost: Vec<f64>,
}

/// One diagonal block of M(p).
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Constant C.
    pub constant: Mat<f64>,
    /// Multiplier of each coordinate, and its factor (1, or 0 for none).
    pub diagonal: Vec<(usize, f64)>,
    /// Terms d_k as columns.
    pub terms: Mat<f64>,
    /// Sign of each.
    pub sign: Vec<f64>,
    /// Multiplier of each.
    pub owner: Vec<usize>,
}

impl Part {
    /// Side of the matrix.
    pub fn side(&self) -> usize {
        self.diagonal.len()
    }

    /// Σ p_j A_j.
    pub fn combine(&self, p: &[f64]) -> Mat<f64> {
        let weighted = Mat::from_fn(self.side(), self.owner.len(), |i, k| {
            self.sign[k] * p[self.owner[k]] * self.terms[(i, k)]
        });
        let mut m = symmetric_product(weighted.as_ref(), self.terms.transpose());
        for (i, (j, factor)) in self.diagonal.iter().enumerate() {
            m[(i, i)] += factor * p[*j];
        }
        m
    }

    /// C + Σ p_j A_j.
    pub fn at(&self, p: &[f64]) -> Mat<f64> {
        self.combine(p) + &self.constant
    }
}

/// Where multipliers stand in the flat vector: input (ρ or τ), output (σ), then each layer's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub input: usize,
    pub output: usize,
    pub layers: Vec<usize>,
}

impl Layout {
    pub fn new(net: &Network, norm: Norm, form: Form) -> Self {
        let (n0, m) = (net.inputs(), net.outputs());
        let (input, output) = match norm {
            Norm::L2 => (1, 0),
            Norm::LinfL2 => (n0, 0),
            Norm::Linf => (n0, m),
        };
        let mut width = n0;
        let count = |b: &Block| {
            let at = width;
            width = b.outputs(at);
            counts(b, at, form).map(|c| c.2)
        };
        Self { input, output, layers: net.blocks().iter().filter_map(count).collect() }
    }

    pub fn len(&self) -> usize {
        self.input + self.output + self.layers.iter().sum::<usize>()
    }

    pub fn split(&self, p: &[f64]) -> Multipliers {
        let (input, rest) = p.split_at(self.input);
        let (output, mut rest) = rest.split_at(self.output);
        let take = |n: &usize| {
            let (head, tail) = rest.split_at(*n);
            rest = tail;
            head.to_vec()
        };
        Multipliers {
            input: input.to_vec(),
            output: output.to_vec(),
            layers: self.layers.iter().map(take).collect(),
        }
    }
}

impl Lmi {
    /// Builds the inequality.
    pub fn new(net: &Network, norm: Norm, form: Form) -> Result<(Self, Layout), LipError> {
        let layout = Layout::new(net, norm, form);
        let (n0, m) = (net.inputs(), net.outputs());
        let border = layout.output;
        let mut width = n0;
        let mut steps = Vec::new();
        for block in net.blocks() {
            steps.push(Step::new(block, width, form)?);
            width = block.outputs(width);
        }
        let side = border + n0 + steps.iter().flatten().map(|s| s.inner).sum::<usize>();

        let mut diagonal: Vec<(usize, f64)> = (0..border).map(|i| (layout.input + i, 1.0)).collect();
        diagonal.extend((0..n0).map(|i| (if layout.input == 1 { 0 } else { i }, 1.0)));
        let mut terms: Vec<Mat<f64>> = Vec::new();
        let mut owner = Vec::new();
        let mut base = layout.input + layout.output;
        // The map from coordinates to the current h.
        let mut h = Mat::from_fn(n0, side, |i, j| f64::from(j == border + i));
        for (block, step) in net.blocks().iter().zip(steps) {
            let Some(step) = step else {
                if let Block::Affine(a) = block {
                    h = product(&a.weight, h);
                }
                continue;
            };
            let (width, at) = (h.nrows(), diagonal.len());
            let on = |rows: &Mat<f64>| {
                let mut map = product(rows.subcols(0, width).to_owned(), &h);
                for i in 0..rows.nrows() {
                    for k in 0..step.inner {
                        map[(i, at + k)] += rows[(i, width + k)];
                    }
                }
                map
            };
            terms.push(on(&step.gain.mid));
            let next = on(&step.next.mid);
            h = next;
            owner.extend(step.gain_owner.iter().map(|o| base + o));
            diagonal.extend(step.rest_owner.iter().map(|o| (base + o, 1.0)));
            base += step.count;
        }
        let mut constant = Mat::zeros(side, side);
        if border == 0 {
            constant -= product(h.transpose(), &h);
        } else {
            for i in 0..m {
                for j in border..side {
                    constant[(i, j)] = -h[(i, j)];
                    constant[(j, i)] = -h[(i, j)];
                }
            }
        }
        let rows: usize = terms.iter().map(Mat::nrows).sum();
        let mut all = Mat::zeros(side, rows);
        let mut at = 0;
        for t in &terms {
            for k in 0..t.nrows() {
                (0..side).for_each(|i| all[(i, at + k)] = t[(k, i)]);
            }
            at += t.nrows();
        }
        let whole = Part { constant, diagonal, terms: all, sign: vec![-1.0; rows], owner };
        let mut cost = vec![0.0; layout.len()];
        let share = if norm == Norm::Linf { 0.5 } else { 1.0 };
        cost[..layout.input + layout.output].fill(share);
        Ok((Self { parts: whole.components(), cost }, layout))
    }
}

impl Part {
    /// The blocks into which the matrix falls apart for every p.
    fn components(self) -> Vec<Self> {
        let n = self.side();
        let mut root: Vec<usize> = (0..n).collect();
        fn find(root: &mut [usize], mut i: usize) -> usize {
            while root[i] != i {
                root[i] = root[root[i]];
                i = root[i];
            }
            i
        }
        let mut join = |column: &[f64], first: Option<usize>| {
            let mut first = first;
            for (i, x) in column.iter().enumerate() {
                if *x != 0.0 {
                    let a = find(&mut root, i);
                    let b = find(&mut root, first.unwrap_or(i));
                    root[a] = b;
                    first = first.or(Some(i));
                }
            }
        };
        (0..self.owner.len()).for_each(|k| join(self.terms.col_as_slice(k), None));
        (0..n).for_each(|j| join(self.constant.col_as_slice(j), Some(j)));
        let label: Vec<usize> = (0..n).map(|i| find(&mut root, i)).collect();
        let mut names: Vec<usize> = label.clone();
        names.sort_unstable();
        names.dedup();
        if names.len() == 1 {
            return vec![self];
        }
        let part = |name: usize| {
            let at: Vec<usize> = (0..n).filter(|i| label[*i] == name).collect();
            let within = |k: &usize| at.iter().any(|i| self.terms[(*i, *k)] != 0.0);
            let list: Vec<usize> = (0..self.owner.len()).filter(within).collect();
            Self {
                constant: Mat::from_fn(at.len(), at.len(), |i, j| self.constant[(at[i], at[j])]),
                diagonal: at.iter().map(|i| self.diagonal[*i]).collect(),
                terms: Mat::from_fn(at.len(), list.len(), |i, k| self.terms[(at[i], list[k])]),
                sign: list.iter().map(|k| self.sign[*k]).collect(),
                owner: list.iter().map(|k| self.owner[*k]).collect(),
            }
        };
        names.into_iter().map(part).collect()
    }
}
