//! Loops over lanes: elementwise, by rows, and sums in a fixed order, in parallel pieces of fixed size.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernel::{Scalar, vectorize};
use crate::num::Num;
use crate::planes::Lane;

/// Elements per parallel piece of an elementwise loop: large against the cost of a task, small
/// against the caches, and independent of the number of threads.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Runs `f(first, v_piece, t_piece)` in parallel over pieces of `chunk` elements; `t` may be empty.
/// Mark `f` `#[inline(always)]` so that its loops vectorise.
pub(crate) fn par_pair<T: Scalar>(
    v: &mut [T],
    t: &mut [T],
    chunk: usize,
    f: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    halves(0, v, t, chunk, &f);
}

/// A recursion, since it has a single call of `f`: large bodies are compiled once.
fn halves<T: Scalar>(
    first: usize,
    v: &mut [T],
    t: &mut [T],
    chunk: usize,
    f: &(impl Fn(usize, &mut [T], &mut [T]) + Sync),
) {
    if v.len() <= chunk {
        return vectorize(
            #[inline(always)]
            || f(first, v, t),
        );
    }
    let half = v.len().div_ceil(chunk) / 2 * chunk;
    let (v, v_rest) = v.split_at_mut(half);
    let (t, t_rest) = t.split_at_mut(half.min(t.len()));
    rayon::join(|| halves(first, v, t, chunk, f), || halves(first + half, v_rest, t_rest, chunk, f));
}

/// Cuts an output lane to `n` elements, so that the compiler drops the bounds checks of a loop.
#[inline(always)]
pub(crate) fn fit<'a, T: Scalar, N: Num<T>>(v: &'a mut [T], t: &'a mut [T]) -> (&'a mut [T], &'a mut [T]) {
    let n = v.len();
    (v, if N::DUAL { &mut t[..n] } else { t })
}

/// Stores or, with `acc`, adds. Several tangents share one value plane: only the first pass
/// (`p = 0`) may add to it.
#[inline(always)]
pub(crate) fn put<T: Scalar, N: Num<T>>(x: N, v: &mut [T], t: &mut [T], i: usize, acc: bool, p: usize) {
    if !acc {
        x.store(v, t, i);
    } else if p == 0 {
        x.add_to(v, t, i);
    } else {
        N::new(T::ZERO, x.tangent()).add_to(v, t, i);
    }
}

/// Puts `f(x, k)` of each element as [`put`] does. Numbers to add are computed in blocks first, so
/// that the computation is free of branches and vectorises.
#[inline(always)]
pub(crate) fn put_all<T: Scalar, N: Num<T>, const L: usize, const C: usize>(
    x: [Lane<'_, T>; L],
    k: [Lane<'_, T>; C],
    (v, t): (&mut [T], &mut [T]),
    acc: bool,
    p: usize,
    f: impl Fn([N; L], [N; C]) -> N,
) {
    const BLOCK: usize = 256;
    if !acc {
        return store_all(x, k, v, t, f);
    }
    let (mut block_v, mut block_t) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK]);
    for first in (0..v.len()).step_by(BLOCK) {
        let part = first..v.len().min(first + BLOCK);
        let (x, k) = (x.map(|x| x.slice(part.clone())), k.map(|k| k.slice(part.clone())));
        let (bv, bt) = (&mut block_v[..part.len()], &mut block_t[..part.len()]);
        store_all(x, k, bv, bt, &f);
        if p == 0 {
            v[part.clone()].iter_mut().zip(bv).for_each(|(v, b)| *v += *b);
        }
        if N::DUAL {
            t[part].iter_mut().zip(bt).for_each(|(t, b)| *t += *b);
        }
    }
}

/// `(v, t) = f(x, k)` of each element; arguments of a function are known not to overlap.
#[inline(always)]
fn store_all<T: Scalar, N: Num<T>, const L: usize, const C: usize>(
    x: [Lane<'_, T>; L],
    k: [Lane<'_, T>; C],
    v: &mut [T],
    t: &mut [T],
    f: impl Fn([N; L], [N; C]) -> N,
) {
    let (v, t) = fit::<T, N>(v, t);
    let n = v.len();
    let (x, k) = (x.map(|x| x.slice(0..n)), k.map(|k| k.slice(0..n)));
    for i in 0..n {
        f(x.map(|x| N::load(x, i)), k.map(|k| N::load(k, i))).store(v, t, i);
    }
}

/// `y = f(x)` element by element.
pub(crate) fn map<T: Scalar, N: Num<T>>(x: Lane<'_, T>, y: (&mut [T], &mut [T]), f: impl Fn(N) -> N + Sync) {
    par_pair(
        y.0,
        y.1,
        CHUNK,
        #[inline(always)]
        |first, v, t| {
            let (v, t) = fit::<T, N>(v, t);
            let x = x.slice(first..first + v.len());
            for i in 0..v.len() {
                f(N::load(x, i)).store(v, t, i);
            }
        },
    );
}

/// Runs `f(first, v, t)` on each row of `c` elements, in parallel over fixed groups of rows. Mark
/// `f` `#[inline(always)]` so that its loops vectorise.
pub(crate) fn rows<T: Scalar, N: Num<T>>(
    out: (&mut [T], &mut [T]),
    c: usize,
    f: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    let group = (CHUNK / 4).div_ceil(c) * c;
    par_pair(
        out.0,
        out.1,
        group,
        #[inline(always)]
        |first, v, t| {
            for row in 0..v.len() / c {
                let part = row * c..(row + 1) * c;
                let t = if N::DUAL { &mut t[part.clone()] } else { &mut [][..] };
                f(first + row * c, &mut v[part], t);
            }
        },
    );
}

/// Sums over the rows of `[rows, c]` numbers, `K` at once: `term(elements, constants)` gives the
/// summands of one element from the `inputs` and from per-channel `constants` tiled to
/// [`tile_width`]. Returns `K` rows of `c` pairs (value, tangent).
pub(crate) fn reduce<T: Scalar, N: Num<T>, const L: usize, const C: usize, const K: usize>(
    inputs: [Lane<'_, T>; L],
    c: usize,
    constants: [Lane<'_, T>; C],
    term: impl Fn([N; L], [N; C]) -> [N; K] + Sync,
) -> [Vec<(f64, f64)>; K] {
    sums::<T, N, K>(
        inputs[0].v.len(),
        c,
        #[inline(always)]
        |part, v, t| {
            let n = part.len();
            let x = inputs.map(|x| x.slice(part.clone()));
            let k = constants.map(|k| k.slice(0..n));
            let (v, t) = (
                v.each_mut().map(|v| &mut v[..n]),
                t.each_mut().map(|t| &mut t[..if N::DUAL { n } else { 0 }]),
            );
            add_terms(x, k, v, t, &term);
        },
    )
}

/// The inner loop of [`reduce`]; arguments of a function are known not to overlap.
#[inline(always)]
fn add_terms<T: Scalar, N: Num<T>, const L: usize, const C: usize, const K: usize>(
    x: [Lane<'_, T>; L],
    k: [Lane<'_, T>; C],
    v: [&mut [T]; K],
    t: [&mut [T]; K],
    term: &impl Fn([N; L], [N; C]) -> [N; K],
) {
    for j in 0..v[0].len() {
        let terms = term(x.map(|x| N::load(x, j)), k.map(|k| N::load(k, j)));
        for i in 0..K {
            terms[i].add_to(v[i], t[i], j);
        }
    }
}

/// Sums over the rows of `len` numbers in rows of `c`: `add(part, v, t)` adds the summands of the
/// elements `part` to `K` accumulators each; a part has at most [`tile_width`] elements and starts
/// with a row. Pieces of fixed size are added in `f64`.
pub(crate) fn sums<T: Scalar, N: Num<T>, const K: usize>(
    len: usize,
    c: usize,
    add: impl Fn(Range<usize>, &mut [Vec<T>; K], &mut [Vec<T>; K]) + Sync,
) -> [Vec<(f64, f64)>; K] {
    let width = tile_width(c);
    let piece = CHUNK.div_ceil(width) * width;
    let partial = |s: usize| {
        let (first, last) = (s * piece, len.min((s + 1) * piece));
        let mut v: [Vec<T>; K] = std::array::from_fn(|_| vec![T::ZERO; width]);
        let mut t: [Vec<T>; K] = std::array::from_fn(|_| vec![T::ZERO; if N::DUAL { width } else { 0 }]);
        vectorize(
            #[inline(always)]
            || {
                for row in (first..last).step_by(width) {
                    add(row..last.min(row + width), &mut v, &mut t);
                }
            },
        );
        (v, t)
    };
    let pieces: Vec<_> = (0..len.div_ceil(piece)).into_par_iter().map(partial).collect();
    std::array::from_fn(|k| {
        let mut sums = vec![(0.0, 0.0); c];
        for (v, t) in &pieces {
            for j in 0..width {
                let sum = &mut sums[j % c];
                sum.0 += v[k][j].to_f64();
                if N::DUAL {
                    sum.1 += t[k][j].to_f64();
                }
            }
        }
        sums
    })
}

/// Sum of a row in a fixed order that vectorises: sixteen interleaved sums, then those.
#[inline(always)]
pub(crate) fn row_sum<T: Scalar, N: Num<T>>(n: usize, term: impl Fn(usize) -> N) -> N {
    const LANES: usize = 16;
    let mut sums = [N::zero(); LANES];
    let whole = n / LANES * LANES;
    for first in (0..whole).step_by(LANES) {
        for i in 0..LANES {
            sums[i] = sums[i] + term(first + i);
        }
    }
    for i in whole..n {
        sums[i - whole] = sums[i - whole] + term(i);
    }
    sums.into_iter().fold(N::zero(), |a, b| a + b)
}

/// The least multiple of `c` that keeps several vector accumulators busy.
pub(crate) fn tile_width(c: usize) -> usize {
    c * 128usize.div_ceil(c)
}

/// Per-channel constants repeated to [`tile_width`].
pub(crate) fn tile<N: Copy>(per_channel: impl ExactSizeIterator<Item = N> + Clone) -> Vec<N> {
    let c = per_channel.len();
    let once: Vec<N> = per_channel.collect();
    once.iter().copied().cycle().take(tile_width(c)).collect()
}
