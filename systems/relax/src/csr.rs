use std::ops::Range;

use thalweg_core::Invalid;
use thalweg_linalg::sparse::Csr as Rows;

use crate::kernel::shift_exponent;
use crate::matrix::{Diagonal, Order};
use crate::{Matrix, RelaxError};

/// A sparse matrix, row by row, with a positive diagonal; nothing is assumed of its symmetry.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    /// The entries beside the diagonal.
    beside: Rows,
    /// Where those right of the diagonal begin, `[rows]`.
    upper: Vec<usize>,
    diag: Vec<f64>,
    /// 1 / diag: a division would lengthen the chain from row to row that a sweep waits for.
    inverse: Vec<f64>,
    /// Row and column of an entry that differs from its mirror image.
    asymmetry: Option<(usize, usize)>,
}

impl Csr {
    /// The matrix of these `(row, column, value)`, counted from 0; repeated places are added.
    pub fn from_triplets(
        rows: usize,
        cols: usize,
        triplets: impl IntoIterator<Item = (usize, usize, f64)>,
    ) -> Result<Self, RelaxError> {
        if rows != cols {
            return Err(RelaxError::NotSquare { rows, cols });
        }
        if rows == 0 {
            return Err(RelaxError::Empty);
        }
        let mut entries: Vec<(usize, usize, f64)> = triplets.into_iter().collect();
        for &(i, j, value) in &entries {
            if i >= rows || j >= rows {
                return Err(RelaxError::Outside { row: i + 1, col: j + 1, size: rows });
            }
            if !value.is_finite() {
                return Err(RelaxError::NotFinite { what: "the matrix", row: i + 1, value });
            }
        }
        entries.sort_by_key(|e| (e.0, e.1)); // stable: sums of repeated places do not depend on chance
        if entries.len() < rows {
            let on_diagonal = entries.iter().filter(|e| e.0 == e.1).map(|e| e.0);
            let mut row = 0;
            on_diagonal.for_each(|i| row += usize::from(i == row));
            return Err(RelaxError::Diagonal { row: row + 1, value: 0.0 });
        }
        let (mut beside, mut upper) = (Rows::empty(cols), Vec::with_capacity(rows));
        let mut diag = vec![0.0; rows];
        let mut entries = entries.into_iter().peekable();
        for i in 0..rows {
            upper.push(beside.entries());
            while let Some((_, j, mut value)) = entries.next_if(|e| e.0 == i) {
                while let Some(again) = entries.next_if(|e| (e.0, e.1) == (i, j)) {
                    value += again.2;
                }
                if j == i {
                    diag[i] = value;
                } else {
                    beside.push(j as u32, value);
                    if j < i {
                        upper[i] = beside.entries();
                    }
                }
            }
            if diag[i] <= 0.0 || !diag[i].is_finite() {
                return Err(RelaxError::Diagonal { row: i + 1, value: diag[i] });
            }
            beside.end_row();
        }
        let inverse = diag.iter().map(|d| 1.0 / d).collect();
        let mut new = Self { beside, upper, diag, inverse, asymmetry: None };
        new.asymmetry = new.find_asymmetry();
        Ok(new)
    }

    /// The square matrix of compressed rows, as SciPy and others keep it: the columns and values of row i stand at
    /// `starts[i]..starts[i + 1]`, in any order; repeated places are added.
    pub fn from_rows(starts: &[usize], columns: &[usize], values: &[f64]) -> Result<Self, RelaxError> {
        let rows = starts.len().saturating_sub(1);
        for (what, found) in [("the list of columns", columns.len()), ("the list of values", values.len())] {
            let expected = starts.last().copied().unwrap_or(0);
            if found != expected {
                return Err(RelaxError::Length { what, found, expected });
            }
        }
        let ordered = starts.first().is_none_or(|first| *first == 0) && starts.is_sorted();
        Invalid::check(
            ordered,
            "starts",
            format!("{starts:.60?}"),
            "numbers that begin with 0 and never fall",
        )?;
        let row = |i: usize| (starts[i]..starts[i + 1]).map(move |k| (i, columns[k], values[k]));
        Self::from_triplets(rows, rows, (0..rows).flat_map(row))
    }

    /// The entries as `(row, column, value)`, row by row, the diagonal first.
    pub fn triplets(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        (0..self.rows()).flat_map(move |i| {
            let (columns, values) = self.beside.row(i);
            let rest = columns.iter().zip(values).map(move |(j, value)| (i, *j as usize, *value));
            std::iter::once((i, i, self.diag[i])).chain(rest)
        })
    }

    /// The matrix with `shift` added to its diagonal.
    pub fn shifted(&self, shift: f64) -> Result<Self, RelaxError> {
        let mut new = self.clone();
        for (row, (d, inverse)) in new.diag.iter_mut().zip(&mut new.inverse).enumerate() {
            *d += shift;
            *inverse = 1.0 / *d;
            if *d <= 0.0 || !d.is_finite() {
                return Err(RelaxError::Diagonal { row: row + 1, value: *d });
            }
        }
        Ok(new)
    }

    /// Whether Young's theory holds: steps along entries right of the diagonal can be counted as +1 and left of it as
    /// −1 without contradiction, as for tridiagonal matrices and grids in their natural order.
    pub fn consistently_ordered(&self) -> bool {
        let mut level: Vec<Option<i64>> = vec![None; self.rows()];
        let mut open = Vec::new();
        for root in 0..self.rows() {
            if level[root].is_none() {
                level[root] = Some(0);
                open.push((root, 0));
            }
            while let Some((i, at)) = open.pop() {
                let (columns, values) = self.beside.row(i);
                for &j in columns.iter().zip(values).filter(|e| *e.1 != 0.0).map(|e| e.0) {
                    let (j, next) = (j as usize, if j as usize > i { at + 1 } else { at - 1 });
                    match level[j] {
                        None => {
                            level[j] = Some(next);
                            open.push((j, next));
                        }
                        Some(known) if known != next => return false,
                        Some(_) => {}
                    }
                }
            }
        }
        true
    }

    fn find_asymmetry(&self) -> Option<(usize, usize)> {
        // Walking the rows in order meets the mirror image of each entry in order too.
        let (col, val) = (self.beside.indices(), self.beside.values());
        let mut next = self.upper.clone();
        for i in 0..self.rows() {
            for k in self.lower(i) {
                let j = col[k] as usize;
                let at = next[j];
                let mirrored = at < self.beside.range(j).end && col[at] as usize == i;
                if !mirrored || (val[at] - val[k]).abs() > 1e-10 * self.diag[i].max(self.diag[j]) {
                    return Some((i, j));
                }
                next[j] += 1;
            }
        }
        let missed = (0..self.rows()).find(|&j| next[j] < self.beside.range(j).end);
        missed.map(|j| (j, col[next[j]] as usize))
    }

    fn lower(&self, i: usize) -> Range<usize> {
        self.beside.range(i).start..self.upper[i]
    }

    fn upper(&self, i: usize) -> Range<usize> {
        self.upper[i]..self.beside.range(i).end
    }

    /// The part of row i that a sweep of that order has yet to reach.
    fn ahead(&self, order: Order, i: usize) -> Range<usize> {
        match order {
            Order::Forward => self.upper(i),
            Order::Backward => self.lower(i),
        }
    }

    fn sum(&self, range: Range<usize>, x: &[f64]) -> f64 {
        self.beside.dot(range, x)
    }

    /// Calls `f` with each row in the order of a sweep.
    fn walk(&self, order: Order, mut f: impl FnMut(usize)) {
        match order {
            Order::Forward => (0..self.rows()).for_each(&mut f),
            Order::Backward => (0..self.rows()).rev().for_each(&mut f),
        }
    }
}

impl Matrix for Csr {
    fn rows(&self) -> usize {
        self.diag.len()
    }

    fn len(&self) -> usize {
        self.diag.len()
    }

    fn entries(&self) -> usize {
        self.beside.entries()
    }

    fn pack(&self, natural: &[f64]) -> Vec<f64> {
        natural.to_vec()
    }

    fn unpack(&self, own: &[f64]) -> Vec<f64> {
        own.to_vec()
    }

    fn diagonal(&self) -> Diagonal<'_> {
        Diagonal::Entries(&self.diag)
    }

    fn dominance(&self) -> f64 {
        let row = |i: usize| self.beside.row(i).1.iter().map(|a| a.abs()).sum::<f64>() / self.diag[i];
        (0..self.rows()).map(row).fold(0.0, f64::max)
    }

    fn check_symmetric(&self) -> Result<(), RelaxError> {
        match self.asymmetry {
            Some((row, col)) => Err(RelaxError::NotSymmetric { row: row + 1, col: col + 1 }),
            None => Ok(()),
        }
    }

    fn scaled(&self, exponent: i32) -> Option<Box<dyn Matrix>> {
        let entries = self.triplets().map(|(i, j, v)| (i, j, shift_exponent(v, exponent)));
        Self::from_triplets(self.rows(), self.rows(), entries).ok().map(|a| Box::new(a) as Box<dyn Matrix>)
    }

    fn residual(&self, b: &[f64], x: &[f64], r: &mut [f64]) -> f64 {
        let mut norm = 0.0;
        for i in 0..self.rows() {
            r[i] = b[i] - self.diag[i] * x[i] - self.sum(self.beside.range(i), x);
            norm += r[i] * r[i];
        }
        norm
    }

    fn apply(&self, x: &[f64], y: &mut [f64]) -> f64 {
        let mut product = 0.0;
        for i in 0..self.rows() {
            y[i] = self.diag[i] * x[i] + self.sum(self.beside.range(i), x);
            product += x[i] * y[i];
        }
        product
    }

    fn sweep(&self, order: Order, omega: f64, b: &[f64], x: &mut [f64], r: &mut [f64]) -> f64 {
        self.walk(order, |i| {
            let lack = b[i] - self.diag[i] * x[i] - self.sum(self.beside.range(i), x);
            r[i] = omega * lack * self.inverse[i]; // the change of x
            x[i] += r[i];
        });
        // A row's residual: its own under- or overshoot, and what the changes after it did.
        let (overshoot, mut norm) = (1.0 / omega - 1.0, 0.0);
        self.walk(order, |i| {
            r[i] = overshoot * self.diag[i] * r[i] - self.sum(self.ahead(order, i), r);
            norm += r[i] * r[i];
        });
        norm
    }

    fn solve_triangle(&self, order: Order, omega: f64, v: &[f64], y: &mut [f64]) {
        self.walk(order, |i| {
            let behind = self.ahead(order.reverse(), i);
            y[i] = omega * (v[i] - self.sum(behind, y)) * self.inverse[i];
        });
    }

    fn split_product(&self, order: Order, omega: f64, p: &[f64], y: &mut [f64], z: &mut [f64]) -> f64 {
        self.solve_triangle(order.reverse(), omega, p, y);
        let g = 2.0 / omega - 1.0;
        let mut product = 0.0;
        self.walk(order, |i| {
            let behind = self.ahead(order.reverse(), i);
            z[i] = omega * ((p[i] - self.sum(behind, z)) * self.inverse[i] - g * y[i]);
            product += p[i] * (y[i] + z[i]);
        });
        product
    }

    fn triangle_product(&self, order: Order, omega: f64, v: &[f64], out: &mut [f64]) -> f64 {
        let mut norm = 0.0;
        for i in 0..self.rows() {
            out[i] = self.diag[i] / omega * v[i] + self.sum(self.ahead(order.reverse(), i), v);
            norm += out[i] * out[i];
        }
        norm
    }
}
