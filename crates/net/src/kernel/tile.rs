//! The two register-blocked loops that all products and convolutions come down to.

use thalweg_core::Real;

use super::simd::Simd;

/// `y[ys[i]..][..cols] (+)= Σ_slot Σ_{d < depth} x[xs[i] + slot + d] · w[..][..]` for `i < rows`.
///
/// A row of `x` is broadcast number by number against a panel `w` of `slots·depth` rows with
/// `nv` vectors each. One slot makes a matrix product; a convolution has a slot for each kernel
/// row (or tap), since all output pixels see a tap at the same distance.
pub struct Tile<'a, T> {
    pub x: *const T,
    /// Where the rows start in `x` and `y`; at least as many as the largest tile has.
    pub xs: &'a [usize; MAX_ROWS],
    pub slots: &'a [usize],
    pub depth: usize,
    pub w: *const T,
    pub y: *mut T,
    pub ys: &'a [usize; MAX_ROWS],
    pub rows: usize,
    pub nv: usize,
    /// Columns to write, at most `nv` vectors.
    pub cols: usize,
    pub add: bool,
    /// Null, or `cols` numbers to add to each row.
    pub bias: *const T,
    pub alpha: T,
}

/// Rows of the largest tile.
pub(super) const MAX_ROWS: usize = 24;

/// Repeats a block with `$i` a constant below `$n`: unrolled by hand, since the sums stay in
/// registers only if no loop is left over their array, which the optimiser does not promise.
macro_rules! unroll {
    ($n:expr, $i:ident => $body:block) => {
        unroll!(@ $n, $i, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23)
    };
    (@ $n:expr, $i:ident, $body:block, $($k:literal)*) => {
        $(if $k < $n {
            const $i: usize = $k;
            $body
        })*
    };
}

/// # Safety
/// `S` is available; `xs[i] + slot + 0..depth` lies in `x` for *all* `i < MR` (repeat a valid row
/// behind `rows`); `w` has `slots.len()·depth·NV·N` numbers; `ys[i] + 0..cols` lies in `y` for `i < rows`.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(t: &Tile<'_, S::T>) {
    // SAFETY: all offsets are those that the caller vouches for; without depth no slot is visited.
    unsafe {
        let mut acc = [[S::splat(S::T::ZERO); NV]; MR];
        let mut x = [t.x; MR];
        unroll!(MR, I => { x[I] = t.x.add(t.xs[I]); });
        let (mut w, depth) = (t.w, t.depth);
        // The inner loops run at least once and say so: a loop that may be skipped costs copies of
        // all sums, for which there are no registers.
        for &slot in if depth > 0 { t.slots } else { &[] } {
            std::hint::assert_unchecked(depth > 0);
            let (mut d, depth) = (slot, slot + depth);
            // Steps 0, 1, … `$n − 1` of the inner index: their weights, then row by row.
            macro_rules! steps {
                ($n:literal: $($k:literal)*) => {{
                    let b = [$([S::load(w.add($k * NV * S::N)), S::load(w.add(($k * NV + NV - 1) * S::N))]),*];
                    unroll!(MR, I => {
                        let x = x[I].add(d);
                        $(
                            let a = S::splat(*x.add($k));
                            acc[I][0] = S::fma(a, b[$k][0], acc[I][0]);
                            if NV == 2 {
                                acc[I][NV - 1] = S::fma(a, b[$k][1], acc[I][NV - 1]);
                            }
                        )*
                    });
                    w = w.add($n * NV * S::N);
                }};
            }
            // Several steps at once where there are too many rows for their addresses to stay in
            // registers; but no more than leave all sums in registers, of which AVX-512 has 32. What
            // remains is no loop, for which the addresses would be computed anew.
            if NV == 1 && MR > 12 {
                while d + 4 <= depth {
                    steps!(4: 0 1 2 3);
                    d += 4;
                }
                if d + 2 <= depth {
                    steps!(2: 0 1);
                    d += 2;
                }
                if d < depth {
                    steps!(1: 0);
                }
            } else if NV == 2 && MR > 6 {
                while d + 2 <= depth {
                    steps!(2: 0 1);
                    d += 2;
                }
                if d < depth {
                    steps!(1: 0);
                }
            } else {
                loop {
                    steps!(1: 0);
                    d += 1;
                    if d == depth {
                        break;
                    }
                }
            }
        }
        let alpha = S::splat(t.alpha);
        let first = t.cols.min(S::N);
        unroll!(MR, I => {
            if I < t.rows {
                let y = t.y.add(t.ys[I]);
                finish::<S>(t, acc[I][0], alpha, y, 0, first);
                if NV == 2 && t.cols > S::N {
                    finish::<S>(t, acc[I][NV - 1], alpha, y, S::N, t.cols - S::N);
                }
            }
        });
    }
}

/// Scales a sum, adds bias and old value, stores `n` numbers of it at `y + j`.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn finish<S: Simd>(t: &Tile<'_, S::T>, sum: S::V, alpha: S::V, y: *mut S::T, j: usize, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let y = y.add(j);
        let mut sum = S::mul(sum, alpha);
        if !t.bias.is_null() {
            sum = S::add(sum, load::<S>(t.bias.add(j), n));
        }
        if t.add {
            sum = S::add(sum, load::<S>(y, n));
        }
        store::<S>(y, sum, n);
    }
}

/// A vector, or as much of it as there is.
/// # Safety
/// `min(n, N)` readable numbers at `p`.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(p: *const S::T, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if n >= S::N { S::load(p) } else { S::load_part(p, n) } }
}

/// # Safety
/// `min(n, N)` writable numbers at `p`.
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(p: *mut S::T, v: S::V, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { if n >= S::N { S::store(p, v) } else { S::store_part(p, v, n) } }
}

/// `out[i][..] += Σ_{r < rows} Σ_{c < cols} x[r·x_row + c·x_col + i] · y[(r·cols + c)·ldy ..]`: a sum of
/// outer products over pixels, the gradient of a convolution's weight.
pub struct Outer<T> {
    pub x: *const T,
    pub x_row: usize,
    pub x_col: usize,
    pub y: *const T,
    pub ldy: usize,
    pub rows: usize,
    pub cols: usize,
    pub nv: usize,
    /// Numbers of `y` to read at each pixel, at most `nv` vectors.
    pub width: usize,
    /// Rows of `nv` vectors, `height` of them.
    pub out: *mut T,
    pub height: usize,
}

/// # Safety
/// `S` is available; for every pixel `MR` numbers are readable in `x` and `width` in `y`; `out` has
/// `height ≤ MR` rows of `NV·N` numbers.
#[inline(always)]
pub(super) unsafe fn outer<S: Simd, const MR: usize, const NV: usize>(t: &Outer<S::T>) {
    // SAFETY: the caller's promise.
    unsafe {
        if t.width == NV * S::N { sum_outer::<S, MR, NV, true>(t) } else { sum_outer::<S, MR, NV, false>(t) }
    }
}

/// `FULL`: every pixel of `y` has `NV` whole vectors.
///
/// # Safety
/// As for [`outer`].
#[inline(always)]
unsafe fn sum_outer<S: Simd, const MR: usize, const NV: usize, const FULL: bool>(t: &Outer<S::T>) {
    // SAFETY: all offsets are those that the caller vouches for.
    unsafe {
        let mut acc = [[S::splat(S::T::ZERO); NV]; MR];
        let mut y = t.y;
        let (n0, n1) = (t.width.min(S::N), t.width.saturating_sub(S::N));
        for r in 0..if t.cols > 0 { t.rows } else { 0 } {
            let mut x = t.x.add(r * t.x_row);
            // As in `tile`, the loop runs at least once.
            let mut left = t.cols;
            loop {
                let b0 = if FULL { S::load(y) } else { load::<S>(y, n0) };
                let b1 = match (NV == 2, FULL) {
                    (false, _) => b0,
                    (true, true) => S::load(y.add(S::N)),
                    (true, false) => load::<S>(y.wrapping_add(S::N), n1),
                };
                unroll!(MR, I => {
                    let a = S::splat(*x.add(I));
                    acc[I][0] = S::fma(a, b0, acc[I][0]);
                    if NV == 2 {
                        acc[I][NV - 1] = S::fma(a, b1, acc[I][NV - 1]);
                    }
                });
                x = x.wrapping_add(t.x_col);
                y = y.wrapping_add(t.ldy);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        unroll!(MR, I => {
            if I < t.height {
                for v in 0..NV {
                    let out = t.out.add((I * NV + v) * S::N);
                    S::store(out, S::add(S::load(out), acc[I][v]));
                }
            }
        });
    }
}
