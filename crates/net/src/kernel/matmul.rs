//! Matrix products: one operand is packed into panels of a few vectors, the other is broadcast.

use std::ptr;

use rayon::prelude::*;

use super::Scalar;
use super::simd::{Isa, Op, Simd, vectors};
use super::tile::{MAX_ROWS, Tile};

/// A buffer that several threads write, each its own part.
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(*mut T);
// SAFETY: the users of `Shared` write disjoint parts, as each of them explains.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(buffer: &mut [T]) -> Self {
        Self(buffer.as_mut_ptr())
    }
    pub fn ptr(&self) -> *mut T {
        self.0
    }
}

/// Work below which a parallel loop costs more than it gains, in multiplications.
pub(super) const MIN_WORK: usize = 1 << 18;

/// Runs `f(unit)` for each unit, in parallel if the whole work is worth it; `work` is that of a unit.
pub(super) fn for_units(units: usize, work: usize, f: impl Fn(usize) + Sync + Send) {
    if units.saturating_mul(work) <= MIN_WORK {
        (0..units).for_each(f);
    } else {
        (0..units).into_par_iter().with_min_len(MIN_WORK.div_ceil(work.max(1)).min(units)).for_each(f);
    }
}

/// `C (+)= op(A)·op(B)`, where `C` is `m × n`; `A` is stored `m × k`, or `k × m` with `ta`;
/// `B` is stored `k × n`, or `n × k` with `tb`.
///
/// # Panics
/// If a buffer is too short.
pub fn matmul<T: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    ta: bool,
    b: &[T],
    tb: bool,
    c: &mut [T],
    acc: bool,
) {
    product(Isa::best(), (m, n, k), (a, ta), (b, tb), c, acc, None);
}

/// [`matmul`] that adds `bias` (`n` numbers) to each row of `C`.
///
/// # Panics
/// If a buffer is too short.
pub fn matmul_bias<T: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    ta: bool,
    b: &[T],
    tb: bool,
    bias: &[T],
    c: &mut [T],
    acc: bool,
) {
    product(Isa::best(), (m, n, k), (a, ta), (b, tb), c, acc, Some(bias));
}

/// Rows per unit of parallel work.
const BLOCK_ROWS: usize = 96;
/// Inner length of one sweep: a panel of it stays in the first-level cache.
const BLOCK_K: usize = 256;

pub(super) fn product<T: Scalar>(
    isa: Isa,
    (m, n, k): (usize, usize, usize),
    (a, ta): (&[T], bool),
    (b, tb): (&[T], bool),
    c: &mut [T],
    acc: bool,
    bias: Option<&[T]>,
) {
    let (a, b, c) = (&a[..m * k], &b[..k * n], &mut c[..m * n]);
    let bias = bias.map(|bias| &bias[..n]);
    if m == 0 || n == 0 {
        return;
    }
    let width = T::run(isa, PanelWidth(n));
    let panels = n.div_ceil(width);
    let a_copy = if ta { m * k } else { 0 };
    T::with_buffer(panels * width * k + a_copy, |buffer| {
        let (packed, transposed) = buffer.split_at_mut(panels * width * k);
        let ldb = if tb { k } else { n };
        if k > 0 {
            let packed = Shared::new(packed);
            for_units(panels, 8 * k * width, |p| {
                // SAFETY: panel `p` is this unit's own part; `b` holds what `Pack` reads.
                let out =
                    unsafe { std::slice::from_raw_parts_mut(packed.ptr().add(p * width * k), width * k) };
                T::run(isa, Pack { b, ldb, tb, n, k, first: p * width, width, out });
            });
        }
        if ta {
            const ROWS: usize = 16;
            let out = Shared::new(transposed);
            for_units(m.div_ceil(ROWS), 8 * ROWS * k, |i| {
                let (first, cols) = (i * ROWS, ROWS.min(m - i * ROWS));
                // SAFETY: rows `first..first + cols` of the copy are this unit's own part.
                let (src, dst) = unsafe { (a.as_ptr().add(first), out.ptr().add(first * k)) };
                T::run(isa, Transpose { rows: k, cols, src, ld_src: m, dst, ld_dst: k });
            });
        }
        let a = if ta { &*transposed } else { a };
        let steps = n_blocks(BLOCK_ROWS, m, MAX_ROWS);
        let blocks = m.div_ceil(steps);
        let c = Shared::new(c);
        for_units(blocks * panels, steps * width * k, |unit| {
            let (block, panel) = (unit / panels, unit % panels);
            let (row, j) = (block * steps, panel * width);
            // SAFETY: rows `row..` of `A`, the panel and its bias exist; the block of `C` is this
            // unit's own.
            let block = unsafe {
                Block {
                    m: steps.min(m - row),
                    n: width.min(n - j),
                    k,
                    a: a.as_ptr().add(row * k),
                    lda: k,
                    panel: packed.as_ptr().add(j * k),
                    width,
                    c: c.ptr().add(row * n + j),
                    ldc: n,
                    acc,
                    bias: bias.map_or(ptr::null(), |bias| bias.as_ptr().add(j)),
                    alpha: T::ONE,
                }
            };
            T::run(isa, block);
        });
    });
}

/// Length of equal pieces of `len` that are about `target` and, but for the last, multiples of `unit`.
fn n_blocks(target: usize, len: usize, unit: usize) -> usize {
    len.div_ceil(len.div_ceil(target)).next_multiple_of(unit)
}

/// Columns of a packed panel for `n` output columns.
pub(super) struct PanelWidth(pub usize);
impl<T: Scalar> Op<T> for PanelWidth {
    type Out = usize;
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) -> usize {
        vectors::<S>(self.0) * S::N
    }
}

/// Copies columns `first..first + width` of `op(B)` into a panel, with zeros beyond `n`.
struct Pack<'a, T> {
    b: &'a [T],
    ldb: usize,
    tb: bool,
    n: usize,
    k: usize,
    first: usize,
    width: usize,
    out: &'a mut [T],
}

impl<T: Scalar> Op<T> for Pack<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { b, ldb, tb, n, k, first, width, out } = self;
        let cols = width.min(n - first);
        if cols < width {
            out.fill(T::ZERO);
        }
        if tb {
            assert!(b.len() >= (first + cols - 1) * ldb + k && out.len() >= k * width);
            // SAFETY: just checked: `cols` rows of `k` numbers are read, `k` rows of `cols` written.
            unsafe {
                let src = b.as_ptr().add(first * ldb);
                Transpose { rows: cols, cols: k, src, ld_src: ldb, dst: out.as_mut_ptr(), ld_dst: width }
                    .run::<S>();
            }
        } else {
            for l in 0..k {
                out[l * width..l * width + cols].copy_from_slice(&b[l * ldb + first..l * ldb + first + cols]);
            }
        }
    }
}

/// `dst[c·ld_dst + r] = src[r·ld_src + c]`.
struct Transpose<T> {
    rows: usize,
    cols: usize,
    src: *const T,
    ld_src: usize,
    dst: *mut T,
    ld_dst: usize,
}

impl<T: Scalar> Op<T> for Transpose<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Self { rows, cols, src, ld_src, dst, ld_dst } = self;
        // SAFETY: every access is to row `r < rows` and column `c < cols` of either matrix, which
        // the maker of this operation vouches for.
        unsafe {
            let (whole, fours) = (rows / S::N * S::N, cols / 4 * 4);
            for r in (0..whole).step_by(S::N) {
                for c in (0..fours).step_by(4) {
                    let columns = S::columns(src.add(r * ld_src + c), ld_src);
                    for (i, v) in columns.into_iter().enumerate() {
                        S::store(dst.add((c + i) * ld_dst + r), v);
                    }
                }
            }
            for r in 0..rows {
                for c in if r < whole { fours } else { 0 }..cols {
                    *dst.add(c * ld_dst + r) = *src.add(r * ld_src + c);
                }
            }
        }
    }
}

/// `C (+)= alpha·A·panel (+ bias)` for one panel of at most `width` columns.
struct Block<T> {
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    lda: usize,
    panel: *const T,
    width: usize,
    c: *mut T,
    ldc: usize,
    acc: bool,
    bias: *const T,
    alpha: T,
}

impl<T: Scalar> Op<T> for Block<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let nv = self.width / S::N;
        let step = self.k.div_ceil(self.k.div_ceil(BLOCK_K).max(1)).max(1);
        let (mut l, mut add, mut bias) = (0, self.acc, self.bias);
        loop {
            let depth = step.min(self.k - l);
            let mut row = 0;
            while row < self.m {
                let rows = S::rows(nv, self.m - row);
                let at = |i: usize| row + i.min(rows - 1);
                let xs = std::array::from_fn(|i| at(i) * self.lda);
                let ys = std::array::from_fn(|i| at(i) * self.ldc);
                // SAFETY: the maker of this operation vouches for `A`, the panel, `C` and the bias;
                // rows behind the last repeat it.
                unsafe {
                    S::tile(&Tile {
                        x: self.a.add(l),
                        xs: &xs,
                        slots: &[0],
                        depth,
                        w: self.panel.add(l * self.width),
                        y: self.c,
                        ys: &ys,
                        rows,
                        nv,
                        cols: self.n,
                        add,
                        bias,
                        alpha: self.alpha,
                    });
                }
                row += rows;
            }
            l += step;
            if l >= self.k {
                break;
            }
            (add, bias) = (true, ptr::null());
        }
    }
}

/// Products of many small matrices, `C_i (+)= alpha·op(A_i)·op(B_i)`: matrix `i` starts
/// `i·stride` behind the start of its buffer and has rows `ld` apart (those of the *stored* matrix).
///
/// # Panics
/// If a buffer is too short, or `C` matrices overlap in a way that keeps them from being written
/// at once (`stride_c` less than the extent of a matrix).
pub fn batched_matmul<T: Scalar>(
    batches: usize,
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    lda: usize,
    stride_a: usize,
    ta: bool,
    b: &[T],
    ldb: usize,
    stride_b: usize,
    tb: bool,
    c: &mut [T],
    ldc: usize,
    stride_c: usize,
    acc: bool,
    alpha: T,
) {
    let isa = Isa::best();
    batched(
        isa,
        batches,
        (m, n, k),
        (a, lda, stride_a, ta),
        (b, ldb, stride_b, tb),
        (c, ldc, stride_c),
        acc,
        alpha,
    );
}

pub(super) fn batched<T: Scalar>(
    isa: Isa,
    batches: usize,
    (m, n, k): (usize, usize, usize),
    (a, lda, stride_a, ta): (&[T], usize, usize, bool),
    (b, ldb, stride_b, tb): (&[T], usize, usize, bool),
    (c, ldc, stride_c): (&mut [T], usize, usize),
    acc: bool,
    alpha: T,
) {
    if batches == 0 || m == 0 || n == 0 {
        return;
    }
    // Extent of a stored matrix, and what the last one needs.
    let extent =
        |rows: usize, cols: usize, ld: usize| if rows * cols == 0 { 0 } else { (rows - 1) * ld + cols };
    let last = batches - 1;
    let in_a = if ta { extent(k, m, lda) } else { extent(m, k, lda) };
    let in_b = if tb { extent(n, k, ldb) } else { extent(k, n, ldb) };
    let in_c = extent(m, n, ldc);
    assert!(a.len() >= last * stride_a + in_a, "matrix A of {} numbers is too short", a.len());
    assert!(b.len() >= last * stride_b + in_b, "matrix B of {} numbers is too short", b.len());
    assert!(c.len() >= last * stride_c + in_c, "matrix C of {} numbers is too short", c.len());
    assert!(ldc >= n && (batches == 1 || stride_c >= in_c), "matrices of C overlap");
    let width = T::run(isa, PanelWidth(n));
    let panels = n.div_ceil(width);
    let a_copy = if ta { m * k } else { 0 };
    let c = Shared::new(c);
    for_units(batches, m * n * k, |i| {
        T::with_buffer(panels * width * k + a_copy, |buffer| {
            let (packed, transposed) = buffer.split_at_mut(panels * width * k);
            let (a, b) = (&a[i * stride_a..], &b[i * stride_b..]);
            if k > 0 {
                for (p, out) in packed.chunks_exact_mut(width * k).enumerate() {
                    T::run(isa, Pack { b, ldb, tb, n, k, first: p * width, width, out });
                }
            }
            let (mut from, mut ld) = (a.as_ptr(), lda);
            if ta {
                let dst = transposed.as_mut_ptr();
                T::run(isa, Transpose { rows: k, cols: m, src: from, ld_src: lda, dst, ld_dst: k });
                (from, ld) = (dst, k);
            }
            for p in 0..panels {
                let j = p * width;
                // SAFETY: the extents were checked above; matrices of `C` do not overlap, hence
                // this one is written by this unit alone.
                let (panel, c) = unsafe { (packed.as_ptr().add(j * k), c.ptr().add(i * stride_c + j)) };
                let n = width.min(n - j);
                let bias = ptr::null();
                T::run(isa, Block { m, n, k, a: from, lda: ld, panel, width, c, ldc, acc, bias, alpha });
            }
        });
    });
}
