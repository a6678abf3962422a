//! Gradients, one per row, in full or half precision.

use std::ops::Range;

use faer::{Accum, Mat, MatMut};
use half::bf16;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, MethodError, Real};
use thalweg_linalg::dense::multiply_lower;

use crate::kernel::{self, Combine, Dots, Element, LONG_STRIP, STRIP};
use crate::{MfacError, memory};

/// How gradients are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// As they come, in single or double precision.
    #[default]
    Full,
    /// In 16 bits with 8 of precision: half the memory and time of single precision. All that
    /// follows is exact for the rounded gradients.
    Bf16,
}

/// m gradients of d numbers each, the rows of G.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gradients {
    m: usize,
    d: usize,
    data: Data,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Data {
    F64(Vec<f64>),
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

/// `$body` with `$g` bound to the numbers, whatever their type.
macro_rules! numbers {
    ($data:expr, $g:ident => $body:expr) => {
        match $data {
            Data::F64($g) => $body,
            Data::F32($g) => $body,
            Data::Bf16($g) => $body,
        }
    };
}

impl Gradients {
    /// m rows of d zeros, for numbers of type `T`. An error if they would take more than three
    /// quarters of the free memory.
    pub fn zeros<T: Real>(m: usize, d: usize, storage: Storage) -> Result<Self, MfacError> {
        Invalid::count("gradients", m)?;
        Invalid::count("length of a gradient", d)?;
        let size = if storage == Storage::Bf16 { 2 } else { size_of::<T>() };
        memory::check(m, d, |m| bytes(m, d, size))?;
        let data = match storage {
            Storage::Bf16 => Data::Bf16(vec![bf16::ZERO; m * d]),
            Storage::Full if size > 4 => Data::F64(vec![0.0; m * d]),
            Storage::Full => Data::F32(vec![0.0; m * d]),
        };
        Ok(Self { m, d, data })
    }

    /// Copies the rows. An error if there are none, their lengths differ, a number is not finite,
    /// or memory does not suffice.
    pub fn from_rows<T: Real, R: AsRef<[T]>>(rows: &[R], storage: Storage) -> Result<Self, MfacError> {
        let d = rows.first().map_or(0, |row| row.as_ref().len());
        let mut gradients = Self::zeros::<T>(rows.len(), d, storage)?;
        for (k, row) in rows.iter().enumerate() {
            gradients.set(k, row.as_ref())?;
        }
        Ok(gradients)
    }

    /// Takes m rows that lie one after the other, without a copy. An error if a number is not
    /// finite.
    pub fn from_flat(flat: Vec<f32>, m: usize) -> Result<Self, MfacError> {
        Invalid::count("gradients", m)?;
        let d = flat.len() / m;
        Invalid::count("length of a gradient", d)?;
        MethodError::check_length("the block of gradients", flat.len(), m * d)?;
        flat.par_chunks(d).enumerate().try_for_each(|(k, row)| storable(k, row, f32::MOST))?;
        Ok(Self { m, d, data: Data::F32(flat) })
    }

    /// Number m of gradients.
    pub fn count(&self) -> usize {
        self.m
    }

    /// Numbers d of a gradient.
    pub fn width(&self) -> usize {
        self.d
    }

    /// Overwrites row `k` < m. An error if the length differs or a number is not finite.
    pub fn set<T: Real>(&mut self, k: usize, row: &[T]) -> Result<(), MfacError> {
        MethodError::check_length("the gradient", row.len(), self.d)?;
        let at = k * self.d..(k + 1) * self.d;
        numbers!(&mut self.data, g => take(k, row, &mut g[at]))
    }

    /// Row `k` < m as it is stored.
    pub fn row(&self, k: usize) -> Vec<f64> {
        numbers!(&self.data, g => g[k * self.d..][..self.d].iter().map(|g| g.wide()).collect())
    }

    pub(crate) fn clear(&mut self) {
        numbers!(&mut self.data, g => g.fill(Element::narrow(0.0)));
    }

    /// G x over the columns `cols`, where x has their length.
    pub(crate) fn dots<T: Real>(&self, cols: Range<usize>, x: &[T]) -> Vec<f64> {
        let widen = |at: Range<usize>, wide: &mut [f64]| {
            wide.iter_mut().zip(&x[at]).for_each(|(w, x)| *w = x.to_f64());
        };
        self.dots_with(cols, widen)
    }

    /// Row `k` of G Gᵀ.
    pub(crate) fn gram_row(&self, k: usize) -> Vec<f64> {
        let widen = |at: Range<usize>, wide: &mut [f64]| {
            let at = k * self.d + at.start..k * self.d + at.end;
            numbers!(&self.data, g => wide.iter_mut().zip(&g[at]).for_each(|(w, g)| *w = g.wide()));
        };
        self.dots_with(0..self.d, widen)
    }

    /// G x over the columns `cols`; `x` writes a range of x, counted from the first column.
    fn dots_with(&self, cols: Range<usize>, x: impl Fn(Range<usize>, &mut [f64]) + Sync) -> Vec<f64> {
        // As many strips as keep two threads equally busy; never depends on the threads there are.
        let strips =
            if cols.len() <= STRIP { 1 } else { cols.len().div_ceil(LONG_STRIP).next_multiple_of(2) };
        let length = cols.len().div_ceil(strips);
        let strip = |start: usize| {
            let (mut wide, mut sums) = (vec![0.0; length.min(cols.len() - start)], vec![0.0; self.m]);
            x(start..start + wide.len(), &mut wide);
            numbers!(&self.data, g => {
                kernel::run(Dots { g: &g[cols.start + start..], d: self.d, x: &wide, sums: &mut sums });
            });
            sums
        };
        let starts: Vec<usize> = (0..cols.len()).step_by(length).collect();
        let strips: Vec<Vec<f64>> = starts.into_par_iter().map(strip).collect();
        let mut sums = vec![0.0; self.m];
        strips.iter().for_each(|strip| sums.iter_mut().zip(strip).for_each(|(sum, x)| *sum += x));
        sums
    }

    /// `out_i ← finish((Gᵀ c)_i, out_i)` over the columns `cols`, where out has their length.
    pub(crate) fn combine<T: Real>(
        &self,
        cols: Range<usize>,
        c: &[f64],
        out: &mut [T],
        finish: impl Fn(f64, T) -> T + Sync,
    ) {
        let strip = |(i, out): (usize, &mut [T])| {
            let (at, mut sums) = (cols.start + i * STRIP, vec![0.0; out.len()]);
            numbers!(&self.data, g => kernel::run(Combine { g: &g[at..], d: self.d, c, sums: &mut sums }));
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = finish(sum, *out));
        };
        match out.len() <= STRIP {
            true => strip((0, out)),
            false => out.par_chunks_mut(STRIP).enumerate().for_each(strip),
        }
    }

    /// The lower triangle of G Gᵀ over the columns `cols` without those that `skip` names
    /// (relative to the first), `[m, m]`.
    pub(crate) fn gram(&self, cols: Range<usize>, skip: Option<&[bool]>) -> Mat<f64> {
        // At most sixteen partial sums, whatever the number of threads.
        let piece = cols.len().div_ceil(16).next_multiple_of(PANEL);
        let part = |part: usize| {
            let mut sum = Mat::zeros(self.m, self.m);
            let end = (part + piece).min(cols.end);
            for at in (part..end).step_by(PANEL) {
                let mut panel = self.panel(at..(at + PANEL).min(end));
                for i in (0..panel.nrows()).filter(|i| skip.is_some_and(|s| s[at - cols.start + i])) {
                    panel.row_mut(i).fill(0.0);
                }
                syrk(&mut sum, panel.transpose(), 1.0);
            }
            sum
        };
        if cols.len() <= piece {
            return part(cols.start);
        }
        let starts: Vec<usize> = cols.clone().step_by(piece).collect();
        let parts: Vec<Mat<f64>> = starts.into_par_iter().map(part).collect();
        parts.into_iter().fold(Mat::zeros(self.m, self.m), |a, b| a + b)
    }

    /// Gᵀ over some columns in double precision, `[cols, m]`.
    pub(crate) fn panel(&self, cols: Range<usize>) -> Mat<f64> {
        let mut panel = Mat::zeros(cols.len(), self.m);
        for k in 0..self.m {
            let Some(column) = panel.col_mut(k).try_as_col_major_mut() else { continue };
            let at = k * self.d + cols.start..k * self.d + cols.end;
            numbers!(&self.data, g => {
                column.as_slice_mut().iter_mut().zip(&g[at]).for_each(|(p, g)| *p = g.wide());
            });
        }
        panel
    }

    /// Overwrites `out`, `[at, m]`, by Gᵀ over the columns `at`.
    pub(crate) fn gather(&self, at: &[usize], out: MatMut<'_, f64>) {
        for (k, column) in out.col_iter_mut().enumerate() {
            let row = k * self.d..(k + 1) * self.d;
            numbers!(&self.data, g => {
                let g = &g[row];
                column.iter_mut().zip(at).for_each(|(x, at)| *x = g[*at].wide());
            });
        }
    }
}

/// Columns that are widened at a time.
const PANEL: usize = 512;

/// The lower triangle of `sum + scale · a aᵀ`.
pub(crate) fn syrk(sum: &mut Mat<f64>, a: faer::MatRef<'_, f64>, scale: f64) {
    multiply_lower(sum.as_mut(), Accum::Add, a, a.transpose(), scale);
}

fn take<T: Real, E: Element>(k: usize, from: &[T], to: &mut [E]) -> Result<(), MfacError> {
    storable(k, from, E::MOST)?;
    to.iter_mut().zip(from).for_each(|(to, x)| *to = E::narrow(x.to_f64()));
    Ok(())
}

/// Whether all numbers are finite, also once they are stored.
fn storable<T: Real>(row: usize, x: &[T], most: f64) -> Result<(), MfacError> {
    let fits = |x: &T| x.to_f64().abs() <= most;
    // All first: that loop has no exit, and so becomes vector operations.
    if x.iter().fold(true, |all, x| all & fits(x)) {
        return Ok(());
    }
    let at = x.iter().position(|x| !fits(x)).unwrap_or(0);
    Err(MfacError::NonFinite { row, at })
}

/// Bytes of m gradients and of the m × m matrices beside them.
fn bytes(m: u64, d: usize, size: usize) -> u64 {
    m.saturating_mul(d as u64)
        .saturating_mul(size as u64)
        .saturating_add(m.saturating_mul(m).saturating_mul(32))
}
