use thalweg_core::Real;

use super::shape::channels;
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Place, lanes};
use crate::kernel::Scalar;
use crate::loops::{fit, put_all, row_sum, rows};
use crate::num::Num;
use crate::op;
use crate::planes::{Lane, Planes, PlanesMut};

impl Operation for op::Softmax {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        Ok(ins[0].to_vec())
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Softmax { c: channels(at.x) })
    }
}

/// Softmax over the last axis of `c` numbers.
struct Softmax {
    c: usize,
}

/// `y = softmax(x)` of one row, in place of nothing: `x` and `y` differ.
#[inline(always)]
pub(super) fn softmax_row<T: Scalar, N: Num<T>>(x: Lane<'_, T>, v: &mut [T], t: &mut [T], scale: T) {
    let (v, t) = fit::<T, N>(v, t);
    let (n, max) = (v.len(), row_max(x.v));
    let x = x.slice(0..n);
    for i in 0..n {
        (N::load(x, i) - N::constant(max)).scale(scale).exp().store(v, t, i);
    }
    let inverse = N::one() / row_sum::<T, N>(n, |i| N::load(Lane { v, t }, i));
    for i in 0..n {
        let y = N::load(Lane { v, t }, i) * inverse;
        y.store(v, t, i);
    }
}

/// Largest number of a row, by eight interleaved maxima.
#[inline(always)]
fn row_max<T: Scalar>(x: &[T]) -> T {
    let mut max = [x[0]; 8];
    let (eights, rest) = x.as_chunks::<8>();
    for eight in eights {
        for i in 0..8 {
            max[i] = if eight[i] > max[i] { eight[i] } else { max[i] };
        }
    }
    max.iter().chain(rest).fold(x[0], |m, &x| Real::max(m, x))
}

/// `dx = y (dy − Σ y dy) · scale` of one row.
#[inline(always)]
pub(super) fn softmax_row_backward<T: Scalar, N: Num<T>>(
    y: Lane<'_, T>,
    dy: Lane<'_, T>,
    v: &mut [T],
    t: &mut [T],
    scale: T,
    acc: bool,
    p: usize,
) {
    let (v, t) = fit::<T, N>(v, t);
    let n = v.len();
    let (y, dy) = (y.slice(0..n), dy.slice(0..n));
    let inner = row_sum::<T, N>(n, |i| N::load(y, i) * N::load(dy, i));
    put_all::<T, N, 2, 0>(
        [y, dy],
        [],
        (v, t),
        acc,
        p,
        #[inline(always)]
        |[y, dy], []| (y * (dy - inner)).scale(scale),
    );
}

impl<T: Scalar> Layer<T> for Softmax {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        fn run<T: Scalar, N: Num<T>>(c: usize, x: Planes<'_, T>, y: &mut PlanesMut<'_, T>, p: usize) {
            let x = x.lane::<N>(p);
            rows::<T, N>(
                y.lane::<N>(p),
                c,
                #[inline(always)]
                |first, v, t| softmax_row::<T, N>(x.slice(first..first + c), v, t, T::ONE),
            );
        }
        lanes!(cx, T, p => run(self.c, x[0], y, p));
    }

    fn backward(&self, cx: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, _: &mut Cache<T>) {
        fn run<T: Scalar, N: Num<T>>(
            c: usize,
            y: Planes<'_, T>,
            dy: Planes<'_, T>,
            dx: &mut PlanesMut<'_, T>,
            p: usize,
        ) {
            let (y, dy, acc) = (y.lane::<N>(p), dy.lane::<N>(p), dx.acc);
            rows::<T, N>(
                dx.lane::<N>(p),
                c,
                #[inline(always)]
                |first, v, t| {
                    let row = first..first + c;
                    softmax_row_backward::<T, N>(y.slice(row.clone()), dy.slice(row), v, t, T::ONE, acc, p);
                },
            );
        }
        if let Some(dx) = &mut io.dx[0] {
            lanes!(cx, T, p => run(self.c, io.y, io.dy, dx, p));
        }
    }
}
