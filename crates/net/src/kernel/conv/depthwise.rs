use std::ptr;

use thalweg_core::Real;

use super::Filter;
use super::correlate::{Piece, Walk};
use crate::kernel::Scalar;
use crate::kernel::simd::{Op, Simd};
use crate::kernel::tile::{MAX_ROWS, load};

/// As [`Piece`], with one kernel per channel: vectors hold channels.
pub(super) struct Depthwise<'a, T>(pub Piece<'a, T>);

impl<T: Scalar> Op<T> for Depthwise<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let Piece { plan, rows: (r0, r1), terms, x: images, filters, y, plane, acc, slab, .. } = self.0;
        let channels = plan.out_c;
        let slots = &plan.slots[plan.copy as usize];
        let width = if plan.copy { plan.cols.span(plan.cols.count) } else { plan.cols.source };
        let (mut xs, mut ys) = ([0; MAX_ROWS], [0; MAX_ROWS]);
        for same in terms.chunk_by(|a, b| a.left == b.left) {
            let x = images.plane(same[0].left);
            let x = if slots.is_empty() {
                ptr::null()
            } else if plan.copy {
                plan.fill(x, 0, (r0, r1), slab);
                slab.as_ptr()
            } else {
                x[plan.in_place(r0)..].as_ptr()
            };
            for term in same {
                let Filter { weight, bias } = filters[term.right];
                let columns = if slots.is_empty() { 0 } else { weight.len() / slots.len() };
                let bias = bias.filter(|_| term.left == 0).map_or(ptr::null(), <[T]>::as_ptr);
                let acc = acc || term.adds;
                let mut walk = Walk::new(plan, width, r0);
                let mut left = (r1 - r0) * plan.cols.count;
                while left > 0 {
                    let n = left.min(PIXELS);
                    walk.next(n, PIXELS, &mut xs, &mut ys);
                    for j in (0..channels).step_by(S::N) {
                        let w = weight.as_ptr().wrapping_add(j);
                        let bias = if bias.is_null() { bias } else { bias.wrapping_add(j) };
                        // SAFETY: as for `Piece`; partial vectors touch only the channels that remain.
                        unsafe {
                            let (x, y) = (x.wrapping_add(j), y.add(term.result() * plane + j));
                            let part = Pixels { slots, x, xs: &xs, w, columns, y, ys: &ys, n, acc, bias };
                            if channels - j >= S::N {
                                depthwise_pixels::<S, true>(part, S::N);
                            } else {
                                depthwise_pixels::<S, false>(part, channels - j);
                            }
                        }
                    }
                    left -= n;
                }
            }
        }
    }
}

/// Pixels that a depthwise convolution computes at once.
const PIXELS: usize = 8;

/// Some pixels and a vector of channels of a depthwise convolution.
#[derive(Clone, Copy)]
struct Pixels<'a, T> {
    slots: &'a [usize],
    x: *const T,
    xs: &'a [usize; MAX_ROWS],
    /// A row of `columns` for each slot.
    w: *const T,
    columns: usize,
    y: *mut T,
    ys: &'a [usize; MAX_ROWS],
    /// Pixels to write, at most [`PIXELS`].
    n: usize,
    acc: bool,
    /// May be null.
    bias: *const T,
}

/// `y[ys[i]..] (+)= Σ_slot x[xs[i] + slot..]·w[slot] (+ bias)` for `m` channels, a whole vector if `FULL`.
///
/// # Safety
/// `S` is available; all pixels plus slots lie in `x` (also those behind `n`), `n` pixels in `y`;
/// `w` has a row for each slot.
#[inline(always)]
unsafe fn depthwise_pixels<S: Simd, const FULL: bool>(
    Pixels { slots, x, xs, w, columns, y, ys, n, acc, bias }: Pixels<'_, S::T>,
    m: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let get = |p: *const S::T| if FULL { S::load(p) } else { S::load_part(p, m) };
        let mut sum = [S::splat(S::T::ZERO); PIXELS];
        for (t, &slot) in slots.iter().enumerate() {
            let w = S::load(w.add(t * columns));
            for i in 0..PIXELS {
                sum[i] = S::fma(get(x.add(xs[i] + slot)), w, sum[i]);
            }
        }
        for i in 0..PIXELS {
            if i >= n {
                break;
            }
            let y = y.add(ys[i]);
            let mut r = sum[i];
            if !bias.is_null() {
                r = S::add(r, get(bias));
            }
            if acc {
                r = S::add(r, get(y));
            }
            if FULL { S::store(y, r) } else { S::store_part(y, r, m) }
        }
    }
}

/// Adds what some pixels say of the weight: `out[slot·columns..] += Σ_pixels x[pixel + slot]·dy[pixel]`
/// for all `channels`, three slots at once.
///
/// # Safety
/// `S` is available; all pixels plus slots lie in `x`, all pixels in `dy`; `out` has a row of
/// `columns`, a multiple of the vector, for each slot.
#[inline(always)]
pub(super) unsafe fn add_depthwise<S: Simd>(
    slots: &[usize],
    (x, x_row, x_col): (*const S::T, usize, usize),
    (dy, ldy): (*const S::T, usize),
    pixels: (usize, usize),
    channels: usize,
    out: *mut S::T,
    columns: usize,
) {
    for j in (0..channels).step_by(S::N) {
        for (t, slots) in slots.chunks(3).enumerate() {
            // SAFETY: the caller's promise, from channel `j` on.
            unsafe {
                let (x, dy, n) = ((x.add(j), x_row, x_col), (dy.add(j), ldy), channels - j);
                let out = out.add(3 * t * columns + j);
                match *slots {
                    [a, b, c] => depthwise_sums::<S, 3>([a, b, c], x, dy, pixels, n, out, columns),
                    [a, b] => depthwise_sums::<S, 2>([a, b], x, dy, pixels, n, out, columns),
                    [a] => depthwise_sums::<S, 1>([a], x, dy, pixels, n, out, columns),
                    _ => {}
                }
            }
        }
    }
}

/// `out[k·columns..] += Σ_pixels x[pixel + slots[k]]·dy[pixel]` for a vector of `n` channels.
///
/// # Safety
/// `S` is available; all pixels plus slots lie in `x`, all pixels in `dy`; `K` rows in `out`.
#[inline(always)]
unsafe fn depthwise_sums<S: Simd, const K: usize>(
    slots: [usize; K],
    (x, x_row, x_col): (*const S::T, usize, usize),
    (dy, ldy): (*const S::T, usize),
    (rows, cols): (usize, usize),
    n: usize,
    out: *mut S::T,
    columns: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Two sets of sums, for even and odd columns, hide the latency of an addition.
        let mut sums = [[S::splat(S::T::ZERO); 2]; K];
        for r in 0..rows {
            for c in 0..cols {
                let y = load::<S>(dy.add((r * cols + c) * ldy), n);
                let x = x.add(r * x_row + c * x_col);
                if c % 2 == 0 {
                    for k in 0..K {
                        sums[k][0] = S::fma(load::<S>(x.add(slots[k]), n), y, sums[k][0]);
                    }
                } else {
                    for k in 0..K {
                        sums[k][1] = S::fma(load::<S>(x.add(slots[k]), n), y, sums[k][1]);
                    }
                }
            }
        }
        for k in 0..K {
            let out = out.add(k * columns);
            S::store(out, S::add(S::load(out), S::add(sums[k][0], sums[k][1])));
        }
    }
}
