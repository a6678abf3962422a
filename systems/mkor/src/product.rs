//! Matrix products in either precision, with the same bits on any number of threads.

use std::any::Any;

use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef};
use rayon::prelude::*;
use thalweg_core::Real;
use thalweg_linalg::dense::multiply;

/// Rows per task: fixed, so that threads do not change the bits.
pub(crate) const PANEL: usize = 64;

/// The identity of `d` rows.
pub(crate) fn identity<T: Real>(d: usize) -> Vec<T> {
    let mut one = vec![T::ZERO; d * d];
    one.iter_mut().step_by(d + 1).for_each(|x| *x = T::ONE);
    one
}

/// A row-major matrix or the transpose of one.
#[derive(Debug)]
pub(crate) struct Matrix<'a, T> {
    data: &'a Vec<T>, // a vector, because its type can be asked for
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a, T: Real> Matrix<'a, T> {
    /// `data` is row-major `[rows, columns]`.
    pub fn new(data: &'a Vec<T>, rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, transposed: false }
    }

    /// The transpose.
    pub fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    fn at(&self, i: usize, j: usize) -> T {
        let (i, j) = if self.transposed { (j, i) } else { (i, j) };
        self.data[i * self.columns + j]
    }

    fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }

    fn view<F: 'static>(&self) -> Option<MatRef<'a, F>> {
        let data = (self.data as &dyn Any).downcast_ref::<Vec<F>>()?;
        let view = MatRef::from_row_major_slice(data, self.rows, self.columns);
        Some(if self.transposed { view.transpose() } else { view })
    }
}

/// C ← AB, or C ← C + AB; C is row-major.
pub(crate) fn product<T: Real>(c: &mut Vec<T>, accum: Accum, a: &Matrix<'_, T>, b: &Matrix<'_, T>) {
    let fast = fast::<T, f32>(c, accum, a, b).or_else(|| fast::<T, f64>(c, accum, a, b));
    if fast.is_none() {
        plain(c, accum, a, b); // a number type of somebody else's
    }
}

#[allow(clippy::ptr_arg)] // only a vector's type can be asked for
fn fast<T: Real, F: ComplexField + 'static>(
    c: &mut Vec<T>,
    accum: Accum,
    a: &Matrix<'_, T>,
    b: &Matrix<'_, T>,
) -> Option<()> {
    let c = (c as &mut dyn Any).downcast_mut::<Vec<F>>()?;
    let (a, b) = (a.view::<F>()?, b.view::<F>()?);
    let columns = b.ncols();
    if !c.is_empty() {
        c.par_chunks_mut(PANEL * columns).enumerate().for_each(|(panel, c)| {
            let rows = c.len() / columns;
            let c = MatMut::from_row_major_slice_mut(c, rows, columns);
            multiply(c, accum, a.subrows(panel * PANEL, rows), b);
        });
    }
    Some(())
}

fn plain<T: Real>(c: &mut [T], accum: Accum, a: &Matrix<'_, T>, b: &Matrix<'_, T>) {
    let (inner, columns) = b.shape();
    for (at, c) in c.iter_mut().enumerate() {
        let sum = (0..inner).map(|k| a.at(at / columns, k) * b.at(k, at % columns)).sum();
        *c = if accum == Accum::Add { *c + sum } else { sum };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_precisions_agree_with_plain_sums() {
        fn check<T: Real>(tolerance: f64) {
            let (m, k, n) = (2 * PANEL + 7, 9, 33);
            let wave = |len: usize| (0..len).map(|i| T::from_f64((0.7 * i as f64).sin())).collect::<Vec<T>>();
            let (a, b) = (wave(m * k), wave(k * n));
            for transposed in [false, true] {
                let a = if transposed { Matrix::new(&a, k, m).t() } else { Matrix::new(&a, m, k) };
                let b = if transposed { Matrix::new(&b, n, k).t() } else { Matrix::new(&b, k, n) };
                for accum in [Accum::Replace, Accum::Add] {
                    let (mut c, mut expected) = (wave(m * n), wave(m * n));
                    product(&mut c, accum, &a, &b);
                    plain(&mut expected, accum, &a, &b);
                    let pairs = c.iter().zip(&expected);
                    assert!(pairs.into_iter().all(|(x, y)| (*x - *y).to_f64().abs() < tolerance));
                }
            }
        }
        check::<f32>(1e-5);
        check::<f64>(1e-13);
    }
}
