//! Matrices of which most entries are 0, by rows.

use std::ops::Range;

/// Why numbers are no sparse matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SparseError(String);

/// A matrix `[rows, columns]` in compressed sparse rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
    columns: usize,
}

impl Csr {
    /// Row i holds `values[indptr[i]..indptr[i + 1]]` in the columns `indices[..]`, which rise within a row.
    ///
    /// # Errors
    /// Lengths that do not fit, columns out of order or of range, numbers that are not finite.
    pub fn new(
        indptr: Vec<usize>,
        indices: Vec<u32>,
        values: Vec<f64>,
        columns: usize,
    ) -> Result<Self, SparseError> {
        let bad = |what: String| Err(SparseError(format!("sparse matrix: {what}")));
        if indptr.first() != Some(&0) || !indptr.is_sorted() || indptr.last() != Some(&values.len()) {
            return bad(format!("indptr must rise from 0 to the number of values, {}", values.len()));
        }
        if indices.len() != values.len() {
            return bad(format!("{} indices for {} values; give one each", indices.len(), values.len()));
        }
        for (i, row) in indptr.windows(2).enumerate() {
            let (row, numbers) = (&indices[row[0]..row[1]], &values[row[0]..row[1]]);
            if !row.is_sorted_by(|a, b| a < b) || row.last().is_some_and(|&j| j as usize >= columns) {
                return bad(format!("the columns of row {i} must rise and be below {columns}"));
            }
            if let Some(v) = numbers.iter().find(|v| !v.is_finite()) {
                return bad(format!("{v} in row {i} is not finite; correct or drop the row"));
            }
        }
        Ok(Self { indptr, indices, values, columns })
    }

    /// Of a dense matrix `[rows, columns]`, row-major.
    ///
    /// # Errors
    /// A number of values that is no multiple of `columns`, numbers that are not finite.
    pub fn dense(values: &[f64], columns: usize) -> Result<Self, SparseError> {
        if columns == 0 || !values.len().is_multiple_of(columns) || columns > u32::MAX as usize {
            let cause = format!("{} numbers are no rows of {columns} columns", values.len());
            return Err(SparseError(format!("dense matrix: {cause}; give whole rows")));
        }
        let mut sparse = (vec![0], Vec::new(), Vec::new());
        for row in values.chunks_exact(columns) {
            for (j, &v) in (0..).zip(row).filter(|(_, v)| **v != 0.0) {
                sparse.1.push(j);
                sparse.2.push(v);
            }
            sparse.0.push(sparse.1.len());
        }
        Self::new(sparse.0, sparse.1, sparse.2, columns)
    }

    /// No rows yet, to be filled by [`push`](Self::push) and [`end_row`](Self::end_row).
    pub fn empty(columns: usize) -> Self {
        Self { indptr: vec![0], indices: Vec::new(), values: Vec::new(), columns }
    }

    /// One more entry of the row that has not ended, right of those before.
    pub fn push(&mut self, column: u32, value: f64) {
        debug_assert!((column as usize) < self.columns);
        self.indices.push(column);
        self.values.push(value);
    }

    /// Ends a row.
    pub fn end_row(&mut self) {
        self.indptr.push(self.indices.len());
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of stored entries.
    pub fn entries(&self) -> usize {
        self.indices.len()
    }

    /// Places of row `i` in [`indices`](Self::indices) and [`values`](Self::values).
    #[inline(always)]
    pub fn range(&self, i: usize) -> Range<usize> {
        self.indptr[i]..self.indptr[i + 1]
    }

    /// Columns of all entries, row by row.
    #[inline(always)]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Values of all entries, row by row.
    #[inline(always)]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Columns and values of row `i`.
    #[inline(always)]
    pub fn row(&self, i: usize) -> (&[u32], &[f64]) {
        let range = self.range(i);
        (&self.indices[range.clone()], &self.values[range])
    }

    /// Σ aᵢⱼ xⱼ over the entries at the places `range`, from left to right.
    #[inline(always)]
    pub fn dot(&self, range: Range<usize>, x: &[f64]) -> f64 {
        let entries = self.indices[range.clone()].iter().zip(&self.values[range]);
        entries.map(|(j, a)| a * x[*j as usize]).sum()
    }

    /// The rows `index`, in that order, repeats allowed.
    ///
    /// # Panics
    /// If an index is not below `rows()`.
    pub fn select(&self, index: &[usize]) -> Self {
        let mut some = Self::empty(self.columns);
        for &i in index {
            let (indices, values) = self.row(i);
            some.indices.extend_from_slice(indices);
            some.values.extend_from_slice(values);
            some.end_row();
        }
        some
    }

    /// `out = row i · w`, w `[columns, out.len()]` row-major.
    #[inline(always)]
    pub fn times(&self, i: usize, w: &[f64], out: &mut [f64]) {
        let (row, mut c) = (self.row(i), 0);
        while c < out.len() {
            c += match out.len() - c {
                16.. => times::<16>(row, w, out, c),
                10.. => times::<10>(row, w, out, c), // ten classes are common
                8.. => times::<8>(row, w, out, c),
                4.. => times::<4>(row, w, out, c),
                2.. => times::<2>(row, w, out, c),
                _ => times::<1>(row, w, out, c),
            };
        }
    }

    /// `w += row iᵀ · r`, w `[columns, r.len()]` row-major.
    #[inline(always)]
    pub fn add(&self, i: usize, r: &[f64], w: &mut [f64]) {
        let (row, mut c) = (self.row(i), 0);
        while c < r.len() {
            c += match r.len() - c {
                16.. => add::<16>(row, r, w, c),
                10.. => add::<10>(row, r, w, c), // ten classes are common
                8.. => add::<8>(row, r, w, c),
                4.. => add::<4>(row, r, w, c),
                2.. => add::<2>(row, r, w, c),
                _ => add::<1>(row, r, w, c),
            };
        }
    }
}

// Blocks of columns of w, so that a row's sums stay in registers. They return their width.

#[inline(always)]
fn times<const B: usize>(row: (&[u32], &[f64]), w: &[f64], out: &mut [f64], c: usize) -> usize {
    let (width, mut sums) = (out.len(), [0.0; B]);
    for (&j, &v) in row.0.iter().zip(row.1) {
        let w = &w[j as usize * width + c..][..B];
        sums = std::array::from_fn(|b| sums[b] + v * w[b]);
    }
    out[c..c + B].copy_from_slice(&sums);
    B
}

#[inline(always)]
fn add<const B: usize>(row: (&[u32], &[f64]), r: &[f64], w: &mut [f64], c: usize) -> usize {
    let width = r.len();
    let r: [f64; B] = std::array::from_fn(|b| r[c + b]);
    for (&j, &v) in row.0.iter().zip(row.1) {
        let w = &mut w[j as usize * width + c..][..B];
        for b in 0..B {
            w[b] += v * r[b];
        }
    }
    B
}
