use std::ops::Range;

use super::shape::each_plane;
use super::{Cache, Cx, Grads, Io, Layer};
use crate::kernel::Scalar;
use crate::num::Dual;
use crate::planes::{Planes, PlanesMut};

/// Looks up rows of a `[vocab, width]` table; tokens arrive as whole numbers, checked by the pass.
pub(super) struct Embedding {
    pub vocab: usize,
    pub width: usize,
    pub weight: Range<usize>,
}

impl<T: Scalar> Layer<T> for Embedding {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        let w = self.width;
        let look_up = |table: &[T], y: &mut [T]| {
            for (row, token) in y.chunks_exact_mut(w).zip(x[0].value()) {
                let i = (token.to_f64() as usize).min(self.vocab - 1);
                row.copy_from_slice(&table[i * w..(i + 1) * w]);
            }
        };
        look_up(&cx.params.value[self.weight.clone()], y.value());
        if y.has_tangents() {
            for p in 0..cx.r {
                match cx.params.tangents.get(p) {
                    Some(z) => look_up(&z[self.weight.clone()], y.tangent(p)),
                    None => y.tangent(p).fill(T::ZERO),
                }
            }
        }
    }

    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, grads: Option<&mut Grads<'_, T>>, _: &mut Cache<T>) {
        let Some(grads) = grads else { return };
        let w = self.width;
        let scatter = |dy: &[T], table: &mut [T]| {
            table.fill(T::ZERO);
            for (row, token) in dy.chunks_exact(w).zip(io.x[0].value()) {
                let i = (token.to_f64() as usize).min(self.vocab - 1);
                table[i * w..(i + 1) * w].iter_mut().zip(row).for_each(|(t, d)| *t += *d);
            }
        };
        scatter(io.dy.value(), &mut grads.value[self.weight.clone()]);
        for (p, h) in grads.tangents.iter_mut().enumerate() {
            scatter(io.dy.lane::<Dual<T>>(p).t, &mut h[self.weight.clone()]);
        }
    }
}

/// Adds a trained `[length, width]` table to each example.
pub(super) struct Positional {
    pub weight: Range<usize>,
}

impl<T: Scalar> Layer<T> for Positional {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        each_plane(x[0], y, |x, y, _| y.copy_from_slice(x));
        let add = |table: &[T], y: &mut [T]| {
            for example in y.chunks_exact_mut(table.len()) {
                example.iter_mut().zip(table).for_each(|(y, t)| *y += *t);
            }
        };
        add(&cx.params.value[self.weight.clone()], y.value());
        if y.has_tangents() {
            for (p, z) in cx.params.tangents.iter().enumerate() {
                add(&z[self.weight.clone()], y.tangent(p));
            }
        }
    }

    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, grads: Option<&mut Grads<'_, T>>, _: &mut Cache<T>) {
        if let Some(dx) = &mut io.dx[0] {
            each_plane(io.dy, dx, |dy, dx, add| {
                if add {
                    dx.iter_mut().zip(dy).for_each(|(x, y)| *x += *y);
                } else {
                    dx.copy_from_slice(dy);
                }
            });
        }
        let Some(grads) = grads else { return };
        let n = self.weight.len();
        let sum = |dy: &[T], table: &mut [T]| {
            table.fill(T::ZERO);
            for example in dy.chunks_exact(n) {
                table.iter_mut().zip(example).for_each(|(t, d)| *t += *d);
            }
        };
        sum(io.dy.value(), &mut grads.value[self.weight.clone()]);
        for (p, h) in grads.tangents.iter_mut().enumerate() {
            sum(io.dy.lane::<Dual<T>>(p).t, &mut h[self.weight.clone()]);
        }
    }
}
