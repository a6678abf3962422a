use std::ops::Range;

use thalweg_core::Kind;

use super::shape::{channels, fail};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Part, Place, lanes};
use crate::kernel::Scalar;
use crate::loops::{put, rows, sums};
use crate::num::Num;
use crate::op;
use crate::planes::{Planes, PlanesMut};

impl Operation for op::Householder {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        let c = channels(ins[0]);
        if !c.is_multiple_of(2) {
            return fail(format!("{c} channels are not pairs; use an even number"));
        }
        Ok(ins[0].to_vec())
    }
    fn parameters(&self, x: &[usize]) -> Vec<Part> {
        vec![Part::new("weight", &[channels(x) / 2], Kind::Other)]
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Householder { c: channels(at.x), angle: at.parameter("weight") })
    }
}

/// Householder activation on the pairs `(a, b) = (x_i, x_{i + c/2})` with angle `φ_i`: the pair
/// stays where `a sin(φ/2) − b cos(φ/2) > 0` and is reflected to
/// `(a cos φ + b sin φ, a sin φ − b cos φ)` elsewhere (Singla, Singla and Feizi 2022).
struct Householder {
    c: usize,
    angle: Range<usize>,
}

#[inline(always)]
fn sine_cosine<T: Scalar, N: Num<T>>(angle: N) -> (N, N) {
    let (s, c) = angle.value().to_f64().sin_cos();
    let (s, c) = (T::from_f64(s), T::from_f64(c));
    (angle.lift(s, c), angle.lift(c, -s))
}

#[inline(always)]
fn stays<T: Scalar>(angle: T, a: T, b: T) -> bool {
    let (s, c) = (angle.to_f64() / 2.0).sin_cos();
    a.to_f64() * s - b.to_f64() * c > 0.0
}

impl Householder {
    fn fwd<T: Scalar, N: Num<T>>(
        &self,
        cx: &Cx<'_, T>,
        x: Planes<'_, T>,
        y: &mut PlanesMut<'_, T>,
        p: usize,
    ) {
        let (x, half) = (x.lane::<N>(p), self.c / 2);
        let angle = cx.params.lane::<N>(&self.angle, p, cx.zeros);
        rows::<T, N>(y.lane::<N>(p), self.c, |first, v, t| {
            for i in 0..half {
                let (a, b, angle) = (N::load(x, first + i), N::load(x, first + i + half), N::load(angle, i));
                let (s, c) = sine_cosine::<T, N>(angle);
                let keep = stays(angle.value(), a.value(), b.value());
                let (u, w) = if keep { (a, b) } else { (a * c + b * s, a * s - b * c) };
                u.store(v, t, i);
                w.store(v, t, i + half);
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
        let (x, dy, half) = (io.x[0].lane::<N>(p), io.dy.lane::<N>(p), self.c / 2);
        let angle = cx.params.lane::<N>(&self.angle, p, cx.zeros);
        if let Some(grads) = grads {
            let [sum] = sums::<T, N, 1>(x.v.len(), self.c, |part, [v], [t]| {
                for (j, e) in part.enumerate() {
                    let (row, i) = (e / self.c * self.c, e % self.c);
                    if i >= half {
                        continue;
                    }
                    let (a, b, angle) = (N::load(x, e), N::load(x, e + half), N::load(angle, i));
                    let (s, c) = sine_cosine::<T, N>(angle);
                    if !stays(angle.value(), a.value(), b.value()) {
                        let (u, w) = (N::load(dy, row + i), N::load(dy, row + i + half));
                        (u * (b * c - a * s) + w * (a * c + b * s)).add_to(v, t, j);
                    }
                }
            });
            grads.put(&self.angle, p, sum[..half].iter().copied());
        }
        let Some(dx) = &mut io.dx[0] else { return };
        let acc = dx.acc;
        rows::<T, N>(dx.lane::<N>(p), self.c, |first, v, t| {
            for i in 0..half {
                let (a, b, angle) = (N::load(x, first + i), N::load(x, first + i + half), N::load(angle, i));
                let (s, c) = sine_cosine::<T, N>(angle);
                let (u, w) = (N::load(dy, first + i), N::load(dy, first + i + half));
                let keep = stays(angle.value(), a.value(), b.value());
                let (da, db) = if keep { (u, w) } else { (u * c + w * s, u * s - w * c) };
                put(da, v, t, i, acc, p);
                put(db, v, t, i + half, acc, p);
            }
        });
    }
}

impl<T: Scalar> Layer<T> for Householder {
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
