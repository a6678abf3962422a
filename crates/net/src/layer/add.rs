use rayon::prelude::*;

use super::shape::fail;
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Place};
use crate::kernel::{Scalar, vectorize};
use crate::loops::CHUNK;
use crate::op;
use crate::planes::{Planes, PlanesMut, each_plane};

impl Operation for op::Add {
    fn reads_many(&self) -> bool {
        true
    }
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        let x = ins[0];
        if let Some(other) = ins.iter().find(|s| **s != x) {
            return fail(format!("it adds shapes {x:?} and {other:?}; make them equal"));
        }
        Ok(x.to_vec())
    }
    fn build(&self, _: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Add)
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
struct Add;

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
