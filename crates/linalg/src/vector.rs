//! Loops over vectors and sums, whose bits depend neither on the number of threads nor on the machine.
//!
//! Long vectors are cut into pieces of fixed size, which are handed to threads; the inner loops are
//! plain and vectorise. There is one inner product for each order of summation that is in use, since
//! another order gives other bits:
//!
//! | | order | on threads |
//! |---|---|---|
//! | [`dot`] | pieces of [`CHUNK`], each in eight lanes, then the rest | yes |
//! | [`dot_interleaved`] | eight lanes, the rest goes to the first ones | no |
//! | [`dot_by_four`] | four lanes in pairs, then the rest | no |
//! | [`dot_by_sixteen`] | sixteen lanes in the precision of the numbers, then the rest | no |
//! | [`dot_in_turn`] | from left to right | no |
//!
//! [`dot`] is the one to take where nothing speaks for another.

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
pub fn wide<R>(run: impl FnOnce() -> R) -> R {
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

/// aᵀb, accumulated in double precision: pieces of [`CHUNK`], each in eight lanes and then the rest.
pub fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    sum2(a, b, |a, b| a.to_f64() * b.to_f64())
}

/// ‖a‖² as by [`dot`].
pub fn square<T: Real>(a: &[T]) -> f64 {
    dot(a, a)
}

/// aᵀb from left to right.
pub fn dot_in_turn(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// aᵀb in four partial sums, added in pairs, then the rest.
pub fn dot_by_four(a: &[f64], b: &[f64]) -> f64 {
    let (a4, a1) = a.as_chunks::<4>();
    let (b4, b1) = b.as_chunks::<4>();
    let mut sum = [0.0; 4];
    for (a, b) in a4.iter().zip(b4) {
        for l in 0..4 {
            sum[l] += a[l] * b[l];
        }
    }
    let rest: f64 = a1.iter().zip(b1).map(|(a, b)| a * b).sum();
    (sum[0] + sum[1]) + (sum[2] + sum[3]) + rest
}

/// aᵀb in the precision of the numbers: sixteen partial sums, then the rest.
pub fn dot_by_sixteen<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::ZERO; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.into_iter().chain(a_rest.iter().zip(b_rest).map(|(&a, &b)| a * b)).sum()
}

/// Partial sums of [`accumulate`].
pub const LANES: usize = 8;

/// Adds `f(a, b)` of all elements to the partial sums: element i to the sum i mod 8.
#[inline(always)]
pub fn accumulate(sums: &mut [f64; LANES], a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) {
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut a).zip(&mut b) {
        for l in 0..LANES {
            sums[l] += f(a[l], b[l]);
        }
    }
    for (l, (a, b)) in a.remainder().iter().zip(b.remainder()).enumerate() {
        sums[l] += f(*a, *b);
    }
}

/// aᵀb in eight interleaved partial sums: element i belongs to the sum i mod 8.
pub fn dot_interleaved(a: &[f64], b: &[f64]) -> f64 {
    wide(
        #[inline(always)]
        || {
            let mut sums = [0.0; LANES];
            accumulate(&mut sums, a, b, |a, b| a * b);
            sums.iter().sum()
        },
    )
}

/// y ← y + s x.
pub fn axpy(y: &mut [f64], s: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += s * x);
}

/// y ← a x + b y.
pub fn combine(a: f64, x: &[f64], b: f64, y: &mut [f64]) {
    wide(
        #[inline(always)]
        || {
            for (y, x) in y.iter_mut().zip(x) {
                *y = a * x + b * *y;
            }
        },
    );
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
