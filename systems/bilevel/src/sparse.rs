//! Matrices of which most entries are 0, by rows.

use crate::BilevelError;

/// A matrix `[rows, columns]` in compressed sparse rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
    columns: usize,
}

impl Sparse {
    /// Row i holds `values[indptr[i]..indptr[i + 1]]` in the columns `indices[..]`, which rise within a row.
    ///
    /// # Errors
    /// Lengths that do not fit, columns out of order or of range, numbers that are not finite.
    pub fn new(
        indptr: Vec<usize>,
        indices: Vec<u32>,
        values: Vec<f64>,
        columns: usize,
    ) -> Result<Self, BilevelError> {
        let bad = |what: String| Err(BilevelError::Data(format!("sparse matrix: {what}")));
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
    pub fn dense(values: &[f64], columns: usize) -> Result<Self, BilevelError> {
        if columns == 0 || !values.len().is_multiple_of(columns) || columns > u32::MAX as usize {
            let cause = format!("{} numbers are no rows of {columns} columns", values.len());
            return Err(BilevelError::Data(format!("dense matrix: {cause}; give whole rows")));
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

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Columns and values of row `i`.
    #[inline(always)]
    pub fn row(&self, i: usize) -> (&[u32], &[f64]) {
        let range = self.indptr[i]..self.indptr[i + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    /// The rows `index`, in that order, repeats allowed.
    ///
    /// # Panics
    /// If an index is not below `rows()`.
    pub fn select(&self, index: &[usize]) -> Self {
        let mut some = Self { indptr: vec![0], indices: Vec::new(), values: Vec::new(), ..*self };
        for &i in index {
            let (indices, values) = self.row(i);
            some.indices.extend_from_slice(indices);
            some.values.extend_from_slice(values);
            some.indptr.push(some.indices.len());
        }
        some
    }

    /// `out = row i · w`, w `[columns, out.len()]` row-major.
    #[inline(always)]
    pub(crate) fn times(&self, i: usize, w: &[f64], out: &mut [f64]) {
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
    pub(crate) fn add(&self, i: usize, r: &[f64], w: &mut [f64]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_dense_matrix() {
        let (rows, columns) = (5, 7);
        let entry = |k: usize| if k.is_multiple_of(3) { 0.0 } else { (k as f64).sin() };
        let dense: Vec<f64> = (0..rows * columns).map(entry).collect();
        let sparse = Sparse::dense(&dense, columns).unwrap();
        for width in [1, 2, 3, 5, 10, 16, 31] {
            let w: Vec<f64> = (0..columns * width).map(|k| (k as f64).cos()).collect();
            let mut back = vec![1.0; columns * width];
            let mut expected = back.clone();
            for i in 0..rows {
                let mut out = vec![f64::NAN; width];
                sparse.times(i, &w, &mut out);
                for c in 0..width {
                    let sum: f64 = (0..columns).map(|j| dense[i * columns + j] * w[j * width + c]).sum();
                    assert!((out[c] - sum).abs() < 1e-14);
                    (0..columns).for_each(|j| expected[j * width + c] += dense[i * columns + j] * out[c]);
                }
                sparse.add(i, &out, &mut back);
            }
            assert!(back.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13));
        }
        let some = sparse.select(&[3, 0, 3]);
        assert_eq!((some.rows(), some.row(1), some.row(2)), (3, sparse.row(0), sparse.row(3)));
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let new = |indptr: &[usize], indices: &[u32], values: &[f64]| {
            Sparse::new(indptr.into(), indices.into(), values.into(), 3).unwrap_err().to_string()
        };
        assert!(new(&[], &[], &[]).contains("indptr must rise from 0"));
        assert!(new(&[0, 2], &[0], &[1.0]).contains("the number of values, 1"));
        assert!(new(&[0, 1], &[0, 1], &[1.0]).contains("2 indices for 1 values"));
        assert!(new(&[0, 2], &[1, 1], &[1.0, 1.0]).contains("columns of row 0 must rise"));
        assert!(new(&[0, 0, 1], &[3], &[1.0]).contains("row 1 must rise and be below 3"));
        assert!(new(&[0, 1], &[2], &[f64::NAN]).contains("NaN in row 0"));
        assert!(Sparse::dense(&[1.0; 4], 3).unwrap_err().to_string().contains("whole rows"));
        assert!(Sparse::dense(&[], 0).is_err());
    }
}
