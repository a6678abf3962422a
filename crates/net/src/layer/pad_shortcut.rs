use rayon::prelude::*;

use super::shape::{fail, image, to3};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Place};
use crate::kernel::Scalar;
use crate::op;
use crate::planes::{Planes, PlanesMut, each_plane};

impl Operation for op::PadShortcut {
    fn numbers(&self) -> Vec<usize> {
        vec![self.step, self.out]
    }
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        let ([h, w, c], &Self { step, out }) = (image(ins[0])?, self);
        if step == 0 || out < c {
            return fail(format!("step = {step}, out = {out}; use step ≥ 1 and at least {c} channels"));
        }
        Ok(vec![h.div_ceil(step), w.div_ceil(step), out])
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(PadShortcut { x: to3(at.x), y: to3(at.y), step: self.step })
    }
}

/// Keeps every `step`-th row and column; zero channels evenly before and after.
struct PadShortcut {
    x: [usize; 3],
    y: [usize; 3],
    step: usize,
}

impl PadShortcut {
    /// Offsets of matching channel vectors in an input and an output image.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let [_, w, c] = self.x;
        let [oh, ow, oc] = self.y;
        let before = (oc - c) / 2;
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
