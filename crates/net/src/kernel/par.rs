//! Parallel loops over pieces of fixed size.

use std::ops::Range;

use rayon::prelude::*;

use super::{Scalar, vectorize};

/// Runs `f` on the pieces `0..chunk`, `chunk..2·chunk`, … of `0..len`, in parallel.
pub fn for_chunks(len: usize, chunk: usize, f: impl Fn(Range<usize>) + Sync) {
    let chunk = chunk.max(1);
    if len <= chunk {
        return f(0..len);
    }
    (0..len.div_ceil(chunk)).into_par_iter().for_each(|i| f(i * chunk..len.min((i + 1) * chunk)));
}

/// Runs `f(first_row, rows)` in parallel on pieces of `rows` rows of `row_len` numbers.
pub fn par_rows<T: Scalar>(out: &mut [T], row_len: usize, rows: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let rows = rows.max(1);
    out.par_chunks_mut(rows * row_len.max(1)).enumerate().for_each(|(i, piece)| f(i * rows, piece));
}

/// Sums of the columns of a `rows × cols` matrix, in double precision.
pub fn column_sums<T: Scalar>(x: &[T], rows: usize, cols: usize) -> Vec<f64> {
    let x = &x[..rows * cols];
    if cols == 0 {
        return Vec::new();
    }
    // Rows per piece: large against the cost of a task, and of the final sum over pieces.
    let piece = cols * (1usize << 14).div_ceil(cols);
    let partial = |x: &[T]| {
        let mut sums = vec![0.0; cols];
        vectorize(
            #[inline(always)]
            || add_columns(x, &mut sums),
        );
        sums
    };
    let partials: Vec<Vec<f64>> = x.par_chunks(piece).map(partial).collect();
    let mut sums = vec![0.0; cols];
    for p in &partials {
        sums.iter_mut().zip(p).for_each(|(s, p)| *s += p);
    }
    sums
}

#[inline(always)]
fn add_columns<T: Scalar>(x: &[T], sums: &mut [f64]) {
    let cols = sums.len();
    // Four rows at once: a quarter of the loads and stores of `sums`.
    let mut fours = x.chunks_exact(4 * cols);
    for four in &mut fours {
        let (ab, cd) = four.split_at(2 * cols);
        let ((a, b), (c, d)) = (ab.split_at(cols), cd.split_at(cols));
        for j in 0..cols {
            sums[j] += (a[j].to_f64() + b[j].to_f64()) + (c[j].to_f64() + d[j].to_f64());
        }
    }
    for row in fours.remainder().chunks_exact(cols) {
        for j in 0..cols {
            sums[j] += row[j].to_f64();
        }
    }
}
