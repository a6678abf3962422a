use std::ops::Range;

use thalweg_core::Kind;

use super::shape::fail;
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Part, Place};
use crate::kernel::Scalar;
use crate::num::Dual;
use crate::op;
use crate::planes::{Planes, PlanesMut};

impl Operation for op::Embedding {
    fn numbers(&self) -> Vec<usize> {
        vec![self.vocab, self.width]
    }
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        let x = ins[0];
        if x.len() != 1 || self.vocab == 0 || self.width == 0 {
            return fail(format!("it needs tokens [length] and a non-empty table; input is {x:?}"));
        }
        Ok(vec![x[0], self.width])
    }
    fn parameters(&self, _: &[usize]) -> Vec<Part> {
        vec![Part::new("weight", &[self.vocab, self.width], Kind::Embedding)]
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Embedding { vocab: self.vocab, width: self.width, weight: at.parameter("weight") })
    }
}

/// Looks up rows of a `[vocab, width]` table; tokens arrive as whole numbers, checked before the pass.
struct Embedding {
    vocab: usize,
    width: usize,
    weight: Range<usize>,
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

    fn check(&self, input: &[T]) -> Result<(), String> {
        let vocab = self.vocab;
        let bad = |t: &T| !(t.to_f64() >= 0.0 && t.to_f64() < vocab as f64 && t.to_f64().fract() == 0.0);
        match input.iter().position(bad) {
            Some(i) => {
                fail(format!("token {} at position {i} is not a whole number below {vocab}", input[i]))
            }
            None => Ok(()),
        }
    }
}
