//! Layers that only move or add numbers.

use rayon::prelude::*;

use super::{Cache, Cx, Grads, Io, Layer};
use crate::kernel::{Scalar, vectorize};
use crate::planes::{CHUNK, Planes, PlanesMut};

/// Applies a linear map plane by plane: `f(x_plane, y_plane, add)`.
pub(super) fn each_plane<T: Scalar>(
    x: Planes<'_, T>,
    y: &mut PlanesMut<'_, T>,
    f: impl Fn(&[T], &mut [T], bool),
) {
    let planes = y.count();
    for q in 0..planes {
        let acc = y.acc;
        let out = &mut y.data[q * y.len..(q + 1) * y.len];
        if q == 0 || x.has_tangents() {
            f(&x.data[q * x.len..(q + 1) * x.len], out, acc);
        } else if !acc {
            out.fill(T::ZERO);
        }
    }
}

/// `y = x` or `y += x`.
fn copy<T: Scalar>(x: &[T], y: &mut [T], add: bool) {
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        vectorize(
            #[inline(always)]
            || {
                if add {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += *x);
                } else {
                    y.copy_from_slice(x);
                }
            },
        );
    });
}

/// `y = a + b`.
fn add<T: Scalar>(a: &[T], b: &[T], y: &mut [T]) {
    y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK)).for_each(|((y, a), b)| {
        vectorize(
            #[inline(always)]
            || y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = *a + *b),
        );
    });
}

/// Sum of all inputs.
pub(super) struct Add;

impl<T: Scalar> Layer<T> for Add {
    fn forward(&self, _: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        for q in 0..y.count() {
            let out = &mut y.data[q * y.len..(q + 1) * y.len];
            let mut terms =
                x.iter().filter(|x| q == 0 || x.has_tangents()).map(|x| &x.data[q * x.len..(q + 1) * x.len]);
            match (terms.next(), terms.next()) {
                (Some(a), Some(b)) => add(a, b, out),
                (Some(a), None) => copy(a, out, false),
                _ => out.fill(T::ZERO),
            }
            terms.for_each(|x| copy(x, out, true));
        }
    }
    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, _: &mut Cache<T>) {
        for dx in io.dx.iter_mut().flatten() {
            each_plane(io.dy, dx, copy);
        }
    }
}

/// `[positions, c]` to `[c · positions]`: PyTorch's order, channel outermost.
pub(super) struct Flatten {
    pub positions: usize,
    pub c: usize,
}

fn transpose<T: Scalar>(rows: usize, cols: usize, x: &[T], y: &mut [T], add: bool) {
    y.par_chunks_mut(rows * cols).zip(x.par_chunks(rows * cols)).for_each(|(y, x)| {
        for j in 0..cols {
            for i in 0..rows {
                let out = &mut y[j * rows + i];
                *out = if add { *out + x[i * cols + j] } else { x[i * cols + j] };
            }
        }
    });
}

impl<T: Scalar> Layer<T> for Flatten {
    fn forward(&self, _: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        each_plane(x[0], y, |x, y, add| transpose(self.positions, self.c, x, y, add));
    }
    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, _: &mut Cache<T>) {
        if let Some(dx) = &mut io.dx[0] {
            each_plane(io.dy, dx, |dy, dx, add| transpose(self.c, self.positions, dy, dx, add));
        }
    }
}

/// Keeps every `step`-th row and column; zero channels evenly before and after.
pub(super) struct PadShortcut {
    pub x: [usize; 3],
    pub y: [usize; 3],
    pub step: usize,
    pub out: usize,
}

impl PadShortcut {
    /// Offsets of matching channel vectors in an input and an output image.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let [_, w, c] = self.x;
        let [oh, ow, oc] = self.y;
        let before = (self.out - c) / 2;
        (0..oh).flat_map(move |i| {
            (0..ow).map(move |j| ((i * self.step * w + j * self.step) * c, (i * ow + j) * oc + before))
        })
    }
}

impl<T: Scalar> Layer<T> for PadShortcut {
    fn forward(&self, _: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        let (nx, ny, c) = (self.x.iter().product(), self.y.iter().product(), self.x[2]);
        each_plane(x[0], y, |x, y, _| {
            y.par_chunks_mut(ny).zip(x.par_chunks(nx)).for_each(|(y, x)| {
                y.fill(T::ZERO);
                for (i, o) in self.pairs() {
                    y[o..o + c].copy_from_slice(&x[i..i + c]);
                }
            });
        });
    }
    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, _: &mut Cache<T>) {
        let (nx, ny, c): (usize, usize, _) = (self.x.iter().product(), self.y.iter().product(), self.x[2]);
        let Some(dx) = &mut io.dx[0] else { return };
        each_plane(io.dy, dx, |dy, dx, add| {
            dx.par_chunks_mut(nx).zip(dy.par_chunks(ny)).for_each(|(dx, dy)| {
                if !add {
                    dx.fill(T::ZERO);
                }
                for (i, o) in self.pairs() {
                    dx[i..i + c].iter_mut().zip(&dy[o..o + c]).for_each(|(d, y)| *d += *y);
                }
            });
        });
    }
}
