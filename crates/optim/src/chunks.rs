//! Element-wise loops and sums in pieces of fixed size, so that the bits do not depend on the
//! number of threads. Pieces are handed to threads; the inner loops are plain and vectorise.

use pulp::Arch;
use rayon::prelude::*;
use thalweg_core::Real;

/// Elements per piece: large enough to pay for a task, small enough to stay in the cache.
pub const CHUNK: usize = 1 << 14;

/// `f(a_i, g_i)` for all i.
pub fn each2<T: Real>(a: &mut [T], g: &[T], f: impl Fn(&mut T, T) + Sync) {
    let run = |(a, g): (&mut [T], &[T])| a.iter_mut().zip(g).for_each(|(a, &g)| f(a, g));
    match a.len() <= CHUNK {
        true => run((a, g)),
        false => a.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).for_each(run),
    }
}

/// `f(a_i, b_i, g_i)` for all i.
pub fn each3<T: Real>(a: &mut [T], b: &mut [T], g: &[T], f: impl Fn(&mut T, &mut T, T) + Sync) {
    let run = |((a, b), g): ((&mut [T], &mut [T]), &[T])| {
        a.iter_mut().zip(b).zip(g).for_each(|((a, b), &g)| f(a, b, g));
    };
    match a.len() <= CHUNK {
        true => run(((a, b), g)),
        false => {
            let pieces = a.par_chunks_mut(CHUNK).zip(b.par_chunks_mut(CHUNK)).zip(g.par_chunks(CHUNK));
            pieces.for_each(run);
        }
    }
}

/// `f(a_i, b_i, c_i, g_i)` for all i.
pub fn each4<T: Real>(
    a: &mut [T],
    b: &mut [T],
    c: &mut [T],
    g: &[T],
    f: impl Fn(&mut T, &mut T, &mut T, T) + Sync,
) {
    type Piece<'a, T> = (((&'a mut [T], &'a mut [T]), &'a mut [T]), &'a [T]);
    let run = |(((a, b), c), g): Piece<'_, T>| {
        a.iter_mut().zip(b).zip(c).zip(g).for_each(|(((a, b), c), &g)| f(a, b, c, g));
    };
    match a.len() <= CHUNK {
        true => run((((a, b), c), g)),
        false => {
            let pieces = a.par_chunks_mut(CHUNK).zip(b.par_chunks_mut(CHUNK));
            pieces.zip(c.par_chunks_mut(CHUNK)).zip(g.par_chunks(CHUNK)).for_each(run);
        }
    }
}

/// Σ f(a_i, b_i) in double precision: each piece from left to right in eight lanes, then the
/// pieces from left to right.
pub fn sum2<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> f64 + Sync) -> f64 {
    let run = |(a, b): (&[T], &[T])| {
        wide(
            #[inline(always)]
            || lanes(a, b, &f),
        )
    };
    if a.len() <= CHUNK {
        return run((a, b));
    }
    let pieces: Vec<f64> = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).map(run).collect();
    pieces.iter().sum()
}

/// Runs a loop compiled for the widest vectors of the machine; it must be `inline(always)`.
fn wide<R>(run: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(run)
}

#[inline(always)]
fn lanes<T: Real>(a: &[T], b: &[T], f: &impl Fn(T, T) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    let (a, rest_a) = a.as_chunks::<8>();
    let (b, rest_b) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += f(a[i], b[i]);
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).map(|(&a, &b)| f(a, b)).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Inner product, accumulated in double precision.
pub fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    sum2(a, b, |a, b| a.to_f64() * b.to_f64())
}

/// Largest absolute value; NaN if one element is.
pub fn max_abs<T: Real>(a: &[T]) -> f64 {
    let run = |a: &[T]| {
        wide(
            #[inline(always)]
            || largest(a),
        )
    };
    if a.len() <= CHUNK {
        return run(a);
    }
    let pieces: Vec<f64> = a.par_chunks(CHUNK).map(run).collect();
    pieces.iter().fold(0.0, |m, &x| if x > m || x.is_nan() { x } else { m })
}

#[inline(always)]
fn largest<T: Real>(a: &[T]) -> f64 {
    let (lanes, rest) = a.as_chunks::<16>();
    let mut max = [T::ZERO; 16];
    let mut finite = true;
    for x in lanes {
        for i in 0..16 {
            max[i] = max[i].max(x[i].abs());
            finite &= x[i].is_finite();
        }
    }
    finite &= rest.iter().all(|x| x.is_finite());
    let max = max.iter().chain(rest).fold(T::ZERO, |m, x| m.max(x.abs())).to_f64();
    // `max` swallows NaN, so look again where something is amiss.
    if finite || !a.iter().any(|x| x.to_f64().is_nan()) { max } else { f64::NAN }
}
