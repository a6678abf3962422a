use std::ops::Range;

use thalweg_core::Kind;

use super::shape::{channels, check_eps};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Part, Place, lanes};
use crate::kernel::Scalar;
use crate::loops::{fit, put_all, reduce, row_sum, rows};
use crate::num::Num;
use crate::op;
use crate::planes::{Lane, Planes, PlanesMut};

impl Operation for op::LayerNorm {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        check_eps(self.eps)?;
        Ok(ins[0].to_vec())
    }
    fn parameters(&self, x: &[usize]) -> Vec<Part> {
        let c = [channels(x)];
        vec![Part::new("weight", &c, Kind::NormScale), Part::new("bias", &c, Kind::NormShift)]
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        let (scale, shift) = (at.parameter("weight"), at.parameter("bias"));
        Box::new(LayerNorm { c: channels(at.x), eps: self.eps, scale, shift })
    }
}

/// Layer normalisation of the last axis.
struct LayerNorm {
    c: usize,
    eps: f64,
    scale: Range<usize>,
    shift: Range<usize>,
}

impl LayerNorm {
    fn fwd<T: Scalar, N: Num<T>>(
        &self,
        cx: &Cx<'_, T>,
        x: Planes<'_, T>,
        y: &mut PlanesMut<'_, T>,
        cache: &mut Cache<T>,
        p: usize,
    ) {
        let (c, len) = (self.c, x.len);
        let n = len / c;
        // Kept: the normalised rows x̂ (all planes), then 1/σ per row (all planes).
        cache.saved.resize((1 + cx.r) * (len + n), T::ZERO);
        let (xhat, rstd) = cache.saved.split_at_mut((1 + cx.r) * len);
        let mut xhat = PlanesMut { data: xhat, len, acc: false };
        let mut rstd = PlanesMut { data: rstd, len: n, acc: false };
        let x = x.lane::<N>(p);
        let over_c = T::from_f64(1.0 / c as f64);
        let eps = N::constant(T::from_f64(self.eps));
        rows::<T, N>(
            rstd.lane::<N>(p),
            1,
            #[inline(always)]
            |row, v, t| {
                let x = x.slice(row * c..(row + 1) * c);
                let mean = mean::<T, N>(x);
                let var =
                    row_sum::<T, N>(c, |i| (N::load(x, i) - mean) * (N::load(x, i) - mean)).scale(over_c);
                (N::one() / (var + eps).sqrt()).store(v, t, 0);
            },
        );
        let rstd = Planes { data: rstd.data, len: n, zeros: cx.zeros }.lane::<N>(p);
        rows::<T, N>(
            xhat.lane::<N>(p),
            c,
            #[inline(always)]
            |first, v, t| {
                let x = x.slice(first..first + c);
                let (mean, rstd) = (mean::<T, N>(x), N::load(rstd, first / c));
                let (v, t) = fit::<T, N>(v, t);
                for i in 0..v.len() {
                    ((N::load(x, i) - mean) * rstd).store(v, t, i);
                }
            },
        );
        let xhat = Planes { data: xhat.data, len, zeros: cx.zeros }.lane::<N>(p);
        let gamma = cx.params.lane::<N>(&self.scale, p, cx.zeros);
        let beta = cx.params.lane::<N>(&self.shift, p, cx.zeros);
        rows::<T, N>(
            y.lane::<N>(p),
            c,
            #[inline(always)]
            |first, v, t| {
                let (v, t) = fit::<T, N>(v, t);
                let n = v.len();
                let (xhat, gamma, beta) = (xhat.slice(first..first + n), gamma.slice(0..n), beta.slice(0..n));
                for i in 0..n {
                    (N::load(xhat, i) * N::load(gamma, i) + N::load(beta, i)).store(v, t, i);
                }
            },
        );
    }

    fn bwd<T: Scalar, N: Num<T>>(
        &self,
        cx: &Cx<'_, T>,
        io: &mut Io<'_, '_, T>,
        grads: &mut Option<&mut Grads<'_, T>>,
        cache: &Cache<T>,
        p: usize,
    ) {
        let (c, len) = (self.c, io.x[0].len);
        let (xhat, rstd) = cache.saved.split_at((1 + cx.r) * len);
        let xhat = Planes { data: xhat, len, zeros: cx.zeros }.lane::<N>(p);
        let rstd = Planes { data: rstd, len: len / c, zeros: cx.zeros }.lane::<N>(p);
        let dy = io.dy.lane::<N>(p);
        if let Some(grads) = grads {
            let [shift, scale] = reduce::<T, N, 2, 0, 2>(
                [dy, xhat],
                c,
                [],
                #[inline(always)]
                |[dy, xhat], []| [dy, dy * xhat],
            );
            grads.put(&self.scale, p, scale.into_iter());
            grads.put(&self.shift, p, shift.into_iter());
        }
        let Some(dx) = &mut io.dx[0] else { return };
        let acc = dx.acc;
        let gamma = cx.params.lane::<N>(&self.scale, p, cx.zeros);
        let over_c = T::from_f64(1.0 / c as f64);
        rows::<T, N>(
            dx.lane::<N>(p),
            c,
            #[inline(always)]
            |first, v, t| {
                let (v, t) = fit::<T, N>(v, t);
                let n = v.len();
                let (xhat, dy, gamma) =
                    (xhat.slice(first..first + n), dy.slice(first..first + n), gamma.slice(0..n));
                let g = |i: usize| N::load(dy, i) * N::load(gamma, i);
                let mean = row_sum::<T, N>(n, g).scale(over_c);
                let inner = row_sum::<T, N>(n, |i| g(i) * N::load(xhat, i)).scale(over_c);
                let rstd = N::load(rstd, first / c);
                put_all(
                    [dy, xhat],
                    [gamma],
                    (v, t),
                    acc,
                    p,
                    #[inline(always)]
                    |[dy, xhat], [gamma]| rstd * (dy * gamma - mean - xhat * inner),
                );
            },
        );
    }
}

/// Mean of a row.
#[inline(always)]
fn mean<T: Scalar, N: Num<T>>(x: Lane<'_, T>) -> N {
    row_sum::<T, N>(x.v.len(), |i| N::load(x, i)).scale(T::from_f64(1.0 / x.v.len() as f64))
}

impl<T: Scalar> Layer<T> for LayerNorm {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, cache: &mut Cache<T>) {
        lanes!(cx, T, p => self.fwd(cx, x[0], y, cache, p));
    }
    fn backward(
        &self,
        cx: &Cx<'_, T>,
        mut io: Io<'_, '_, T>,
        mut grads: Option<&mut Grads<'_, T>>,
        cache: &mut Cache<T>,
    ) {
        lanes!(cx, T, p => self.bwd(cx, &mut io, &mut grads, cache, p));
    }
}
