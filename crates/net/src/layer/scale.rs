use std::ops::Range;

use thalweg_core::Kind;

use super::shape::channels;
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Part, Place, lanes};
use crate::kernel::Scalar;
use crate::loops::{put, reduce, rows};
use crate::num::Num;
use crate::op;
use crate::planes::{Planes, PlanesMut};

impl Operation for op::Scale {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        Ok(ins[0].to_vec())
    }
    fn parameters(&self, x: &[usize]) -> Vec<Part> {
        vec![Part::new("weight", &[channels(x)], Kind::NormScale)]
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Scale { c: channels(at.x), scale: at.parameter("weight") })
    }
}

/// Multiplies each channel by a trained number.
struct Scale {
    c: usize,
    scale: Range<usize>,
}

impl Scale {
    fn fwd<T: Scalar, N: Num<T>>(
        &self,
        cx: &Cx<'_, T>,
        x: Planes<'_, T>,
        y: &mut PlanesMut<'_, T>,
        p: usize,
    ) {
        let (x, w) = (x.lane::<N>(p), cx.params.lane::<N>(&self.scale, p, cx.zeros));
        rows::<T, N>(y.lane::<N>(p), self.c, |first, v, t| {
            let x = x.slice(first..first + v.len());
            for i in 0..v.len() {
                (N::load(x, i) * N::load(w, i)).store(v, t, i);
            }
        });
    }

    fn bwd<T: Scalar, N: Num<T>>(
        &self,
        cx: &Cx<'_, T>,
        io: &mut Io<'_, '_, T>,
        grads: &mut Option<&mut Grads<'_, T>>,
        p: usize,
    ) {
        let (x, dy) = (io.x[0].lane::<N>(p), io.dy.lane::<N>(p));
        if let Some(grads) = grads {
            let [sum] = reduce::<T, N, 2, 0, 1>(
                [dy, x],
                self.c,
                [],
                #[inline(always)]
                |[dy, x], []| [dy * x],
            );
            grads.put(&self.scale, p, sum.into_iter());
        }
        let Some(dx) = &mut io.dx[0] else { return };
        let (acc, w) = (dx.acc, cx.params.lane::<N>(&self.scale, p, cx.zeros));
        rows::<T, N>(dx.lane::<N>(p), self.c, |first, v, t| {
            let dy = dy.slice(first..first + v.len());
            for i in 0..v.len() {
                put(N::load(dy, i) * N::load(w, i), v, t, i, acc, p);
            }
        });
    }
}

impl<T: Scalar> Layer<T> for Scale {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        lanes!(cx, T, p => self.fwd(cx, x[0], y, p));
    }
    fn backward(
        &self,
        cx: &Cx<'_, T>,
        mut io: Io<'_, '_, T>,
        mut grads: Option<&mut Grads<'_, T>>,
        _: &mut Cache<T>,
    ) {
        lanes!(cx, T, p => self.bwd(cx, &mut io, &mut grads, p));
    }
}
