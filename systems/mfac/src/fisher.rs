//! The inverse Fisher matrix of a fixed set of gradients.

use std::collections::BTreeMap;
use std::ops::Range;

use faer::reborrow::ReborrowMut;
use faer::{Mat, MatMut, MatRef};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, MethodError, Real};
use thalweg_linalg::dense::{Cholesky, product, shift, solve_factored, solve_lower};

use crate::gradients::Gradients;
use crate::gradients::syrk;
use crate::{MfacError, memory};

/// Settings of [`StaticFisher`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FisherOptions {
    /// Damping λ > 0, in the units of a squared gradient. Default 1e-5.
    #[serde(alias = "damp")]
    pub damping: f64,
    /// Length B of the diagonal blocks; the last may be shorter. Default 0: one block, the whole
    /// matrix.
    pub block: usize,
}

impl Default for FisherOptions {
    fn default() -> Self {
        Self { damping: 1e-5, block: 0 }
    }
}

/// The inverse of F = λI + GᵀG/m for fixed gradients G, or of its diagonal blocks.
///
/// With K = mλI + GGᵀ = CCᵀ in double precision,
///
/// ```text
/// F⁻¹x = (x − Gᵀ K⁻¹ G x)/λ        F⁻¹ = (I − WᵀW)/λ,  W = C⁻¹G
/// ```
///
/// which gives the numbers of the published recursion ([`crate::baselines::Recursion`]: qᵢ are the pivots of
/// K/λ without roots, V = the rows of its unit triangular factor solved with G/λ), but by matrix
/// products. Blocks shorter than m are formed and factored themselves. Cost for any block length:
/// m²d to build, 2md per product, m²d for the diagonal, m² per element or m after
/// [`with_elements`](Self::with_elements); memory: the gradients and an m × m matrix per block.
#[derive(Clone, Debug)]
pub struct StaticFisher {
    gradients: Gradients,
    damping: f64,
    blocks: Vec<Block>,
    /// The halves of all elements, one after the other, if kept.
    halves: Option<Vec<f64>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub cols: Range<usize>,
    factor: Factor,
}

#[derive(Clone, Debug)]
enum Factor {
    /// C of K = mλI + GGᵀ over the block's columns.
    Gram(Mat<f64>),
    /// C of F itself, for blocks shorter than m.
    Direct(Mat<f64>),
}

impl StaticFisher {
    /// Factors the matrix. An error if a setting is out of range, or if `damping` is so small that
    /// rounding makes the matrix singular.
    pub fn new(gradients: Gradients, options: FisherOptions) -> Result<Self, MfacError> {
        let FisherOptions { damping, block } = options;
        Invalid::positive("damping", damping)?;
        let (m, d) = (gradients.count(), gradients.width());
        let size = if block == 0 { d } else { block.min(d) };
        let sides = |m: u64| m.min(size as u64);
        memory::check(m, d, |m| sides(m) * sides(m) * 8 * d.div_ceil(size) as u64)?;
        let starts: Vec<usize> = (0..d).step_by(size).collect();
        let factored = |start| Block::new(&gradients, start..(start + size).min(d), damping);
        let blocks = starts.into_par_iter().map(factored).collect::<Result<_, _>>()?;
        Ok(Self { gradients, damping, blocks, halves: None })
    }

    /// Keeps W too, in double precision (8·d·min(m, B) bytes), so that an element costs m
    /// operations instead of m².
    pub fn with_elements(mut self) -> Result<Self, MfacError> {
        let (m, d) = (self.gradients.count(), self.gradients.width());
        memory::check(m, d, |m| m.saturating_mul(8 * d as u64))?;
        let mut halves = vec![0.0; self.blocks.iter().map(|b| b.cols.len() * b.rank(m)).sum()];
        let (mut rest, mut pieces) = (&mut halves[..], Vec::new());
        for at in self.tiles() {
            let r = self.block_of(at[0]).rank(m);
            let (piece, after) = rest.split_at_mut(at.len() * r);
            pieces.push((at, r, piece));
            rest = after;
        }
        pieces.into_par_iter().for_each(|(at, r, piece)| {
            let half = MatMut::from_row_major_slice_mut(piece, at.len(), r);
            self.solve_half(self.block_of(at[0]), &at, half);
        });
        self.halves = Some(halves);
        Ok(self)
    }

    /// The gradients.
    pub fn gradients(&self) -> &Gradients {
        &self.gradients
    }

    /// λ.
    pub fn damping(&self) -> f64 {
        self.damping
    }

    /// F⁻¹x.
    pub fn ihvp<T: Real>(&self, x: &[T]) -> Result<Vec<T>, MfacError> {
        MethodError::check_length("the vector", x.len(), self.gradients.width())?;
        let mut out = x.to_vec();
        let mut pieces = Vec::new();
        let mut rest = &mut out[..];
        for block in &self.blocks {
            let (piece, after) = rest.split_at_mut(block.cols.len());
            pieces.push((block, piece));
            rest = after;
        }
        pieces.into_par_iter().for_each(|(block, x)| block.ihvp(&self.gradients, self.damping, x));
        Ok(out)
    }

    /// F⁻¹x for several vectors.
    pub fn ihvp_many<T: Real, R: AsRef<[T]>>(&self, xs: &[R]) -> Result<Vec<Vec<T>>, MfacError> {
        xs.iter().map(|x| self.ihvp(x.as_ref())).collect()
    }

    /// The diagonal of F⁻¹.
    pub fn diag(&self) -> Vec<f64> {
        let tile = |at: &Vec<usize>| -> Vec<f64> {
            let block = self.block_of(at[0]);
            let half = self.half(block, at);
            let mut squares = vec![0.0; at.len()];
            for column in half.col_iter() {
                squares.iter_mut().zip(column.iter()).for_each(|(sum, h)| *sum += h * h);
            }
            squares.into_iter().map(|x| self.inverse(block, 1.0, x)).collect()
        };
        self.tiles().par_iter().flat_map_iter(tile).collect()
    }

    /// [F⁻¹]ᵢⱼ for i, j < d.
    pub fn element(&self, i: usize, j: usize) -> Result<f64, MfacError> {
        Ok(self.submatrix(&[i, j])?[(0, 1)])
    }

    /// The rows and columns `at` of F⁻¹; indices < d in any order, also several times.
    pub fn submatrix(&self, at: &[usize]) -> Result<Mat<f64>, MfacError> {
        let d = self.gradients.width();
        if let Some(i) = at.iter().find(|i| **i >= d) {
            Invalid::check(false, "element", i, &format!("an index below {d}"))?;
        }
        let mut places = BTreeMap::<usize, Vec<usize>>::new();
        for (place, i) in at.iter().enumerate() {
            places.entry(self.block_of(*i).cols.start).or_default().push(place);
        }
        let mut out = Mat::zeros(at.len(), at.len());
        for (start, places) in places {
            let block = self.block_of(start);
            let half = self.half(block, &places.iter().map(|place| at[*place]).collect::<Vec<_>>());
            let product = product(&half, half.transpose());
            for (a, i) in places.iter().enumerate() {
                for (b, j) in places.iter().enumerate() {
                    let delta = if at[*i] == at[*j] { 1.0 } else { 0.0 };
                    out[(*i, *j)] = self.inverse(block, delta, product[(a, b)]);
                }
            }
        }
        Ok(out)
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    pub(crate) fn block_of(&self, i: usize) -> &Block {
        &self.blocks[i / self.blocks[0].cols.len()]
    }

    /// An element of F⁻¹ from the inner product of two halves.
    fn inverse(&self, block: &Block, delta: f64, product: f64) -> f64 {
        match block.factor {
            Factor::Gram(_) => (delta - product) / self.damping,
            Factor::Direct(_) => product,
        }
    }

    /// For the elements `at`, all of one block, the rows of Wᵀ = GᵀC⁻ᵀ, or of C⁻ᵀ for a direct
    /// factor: `[at, min(m, B)]`.
    fn half(&self, block: &Block, at: &[usize]) -> Mat<f64> {
        let (m, start) = (self.gradients.count(), block.cols.start);
        if let Some(halves) = &self.halves {
            // All blocks before the last have the same length.
            let (first, r) = (self.blocks[0].rank(m), block.rank(m));
            return Mat::from_fn(at.len(), r, |i, k| halves[start * first + (at[i] - start) * r + k]);
        }
        let mut half = Mat::zeros(at.len(), block.rank(m));
        self.solve_half(block, at, half.as_mut());
        half
    }

    /// Overwrites zeros by [`half`](Self::half) as it is computed.
    fn solve_half(&self, block: &Block, at: &[usize], mut half: MatMut<'_, f64>) {
        let (Factor::Gram(c) | Factor::Direct(c)) = &block.factor;
        match block.factor {
            Factor::Gram(_) => self.gradients.gather(at, half.rb_mut()),
            Factor::Direct(_) => {
                at.iter().enumerate().for_each(|(i, at)| half[(i, at - block.cols.start)] = 1.0);
            }
        }
        solve_lower(c, half.transpose_mut());
    }

    /// All indices in pieces of at most 256, none across a boundary of blocks.
    fn tiles(&self) -> Vec<Vec<usize>> {
        let tiles = |block: &Block| {
            let cols = block.cols.clone();
            cols.clone().step_by(256).map(move |at| (at..(at + 256).min(cols.end)).collect())
        };
        self.blocks.iter().flat_map(tiles).collect()
    }
}

impl Block {
    fn new(gradients: &Gradients, cols: Range<usize>, damping: f64) -> Result<Self, MfacError> {
        let m = gradients.count() as f64;
        let gram = cols.len() >= gradients.count();
        let (mut a, shift_by) = match gram {
            true => (gradients.gram(cols.clone(), None), m * damping),
            false => (direct(gradients.panel(cols.clone()).as_ref(), m), damping),
        };
        shift(&mut a, shift_by);
        let c = factored(&a, damping)?;
        Ok(Self { cols, factor: if gram { Factor::Gram(c) } else { Factor::Direct(c) } })
    }

    /// Columns of its halves with `m` gradients: min(m, B).
    fn rank(&self, m: usize) -> usize {
        self.cols.len().min(m)
    }

    /// `x ← F⁻¹x` for the block's part of a vector.
    fn ihvp<T: Real>(&self, gradients: &Gradients, damping: f64, x: &mut [T]) {
        match &self.factor {
            Factor::Gram(c) => {
                let y = solve_factored(c, &gradients.dots(self.cols.clone(), x));
                let finish = |sum: f64, x: T| T::from_f64((x.to_f64() - sum) / damping);
                gradients.combine(self.cols.clone(), &y, x, finish);
            }
            Factor::Direct(c) => {
                let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
                x.iter_mut().zip(solve_factored(c, &wide)).for_each(|(x, y)| *x = T::from_f64(y));
            }
        }
    }
}

/// The lower triangle of A Aᵀ/m: GᵀG/m over the columns that are A's rows.
pub(crate) fn direct(a: MatRef<'_, f64>, m: f64) -> Mat<f64> {
    let mut f = Mat::zeros(a.nrows(), a.nrows());
    syrk(&mut f, a, 1.0 / m);
    f
}

/// Cholesky, or the error that says how much damping it needs: the rounding of the trace.
pub(crate) fn factored(a: &Mat<f64>, damping: f64) -> Result<Mat<f64>, MfacError> {
    Cholesky::new(a).map(|c| c.lower().to_owned()).map_err(|_| {
        let trace: f64 = (0..a.nrows()).map(|i| a[(i, i)]).sum();
        MfacError::Singular { damping, least: damping.max(4.0 * f64::EPSILON * trace) }
    })
}
