use std::ops::Range;

use thalweg_core::Kind;

use super::shape::sequence;
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Part, Place};
use crate::kernel::Scalar;
use crate::num::Dual;
use crate::op;
use crate::planes::{Planes, PlanesMut, each_plane};

impl Operation for op::PositionalEmbedding {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        Ok(sequence(ins[0])?.to_vec())
    }
    fn parameters(&self, x: &[usize]) -> Vec<Part> {
        vec![Part::new("weight", x, Kind::Embedding)]
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(PositionalEmbedding { weight: at.parameter("weight") })
    }
}

/// Adds a trained `[length, width]` table to each example.
struct PositionalEmbedding {
    weight: Range<usize>,
}

impl<T: Scalar> Layer<T> for PositionalEmbedding {
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
