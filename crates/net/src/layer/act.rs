use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::{Cache, Cx, Grads, Io, Layer, lanes};
use crate::graph::Act;
use crate::kernel::Scalar;
use crate::num::Num;
use crate::planes::{CHUNK, Lane, Planes, PlanesMut, fit, map, par_pair, put_all, row_sum};

/// A curve and its slope; both over any [`Num`], so that the second derivative comes for free.
trait Curve: Copy + Send + Sync + 'static {
    fn value<T: Scalar, N: Num<T>>(self, x: N) -> N;
    fn slope<T: Scalar, N: Num<T>>(self, x: N) -> N;
}

macro_rules! curve {
    ($name:ident $(($field:ty))?, |$c:ident, $x:ident| $value:expr, $slope:expr) => {
        #[derive(Clone, Copy)]
        struct $name $(($field))?;
        impl Curve for $name {
            #[inline(always)]
            fn value<T: Scalar, N: Num<T>>(self, $x: N) -> N {
                let $c = self;
                let _ = $c;
                $value
            }
            #[inline(always)]
            fn slope<T: Scalar, N: Num<T>>(self, $x: N) -> N {
                let $c = self;
                let _ = $c;
                $slope
            }
        }
    };
}

/// A constant of the number type.
macro_rules! k {
    ($c:expr) => {
        N::constant(T::from_f64($c))
    };
}

curve!(Relu, |c, x| x * x.step(), x.step());
curve!(Leaky(f64), |c, x| x * (k!(c.0) + k!(1.0 - c.0) * x.step()), k!(c.0) + k!(1.0 - c.0) * x.step());
curve!(
    Relu6,
    |c, x| x * x.step() * (k!(6.0) - x).step() + k!(6.0) * (N::one() - (k!(6.0) - x).step()),
    x.step() * (k!(6.0) - x).step()
);
curve!(Tanh, |c, x| x.tanh(), {
    let y = x.tanh();
    N::one() - y * y
});
curve!(Sigmoid, |c, x| x.sigmoid(), {
    let y = x.sigmoid();
    y * (N::one() - y)
});
curve!(Silu, |c, x| x * x.sigmoid(), {
    let s = x.sigmoid();
    s + x * s * (N::one() - s)
});
curve!(
    Softplus,
    // max(x, 0) + ln(1 + e^-|x|), which neither overflows nor cancels; the slope is exact for it too.
    |c, x| N::new(softplus(x.value()), x.sigmoid().value() * x.tangent()),
    x.sigmoid()
);
curve!(Gelu, |c, x| x * normal_cdf(x), {
    let density = (x * x).scale(T::from_f64(-0.5)).exp().scale(T::from_f64(1.0 / (2.0 * PI).sqrt()));
    normal_cdf(x) + x * density
});
curve!(GeluTanh, |c, x| (x * (N::one() + inner(x).tanh())).scale(T::from_f64(0.5)), {
    let t = inner(x).tanh();
    let slope = (N::one() + (x * x).scale(T::from_f64(3.0 * 0.044715))).scale(T::from_f64((2.0 / PI).sqrt()));
    (N::one() + t + x * (N::one() - t * t) * slope).scale(T::from_f64(0.5))
});

#[inline(always)]
fn softplus<T: Scalar>(x: T) -> T {
    Real::max(x, T::ZERO) + (T::ONE + (-Real::abs(x)).exp_fast()).ln_fast()
}

#[inline(always)]
fn normal_cdf<T: Scalar, N: Num<T>>(x: N) -> N {
    (N::one() + x.scale(T::from_f64(FRAC_1_SQRT_2)).erf()).scale(T::from_f64(0.5))
}

#[inline(always)]
fn inner<T: Scalar, N: Num<T>>(x: N) -> N {
    (x + (x * x * x).scale(T::from_f64(0.044715))).scale(T::from_f64((2.0 / PI).sqrt()))
}

use thalweg_core::Real;

struct Elementwise<C>(C);

pub(super) fn build<T: Scalar>(act: Act) -> Box<dyn Layer<T>> {
    match act {
        Act::Relu => Box::new(Elementwise(Relu)),
        Act::LeakyRelu(slope) => Box::new(Elementwise(Leaky(slope))),
        Act::Relu6 => Box::new(Elementwise(Relu6)),
        Act::Gelu => Box::new(Elementwise(Gelu)),
        Act::GeluTanh => Box::new(Elementwise(GeluTanh)),
        Act::Silu => Box::new(Elementwise(Silu)),
        Act::Tanh => Box::new(Elementwise(Tanh)),
        Act::Sigmoid => Box::new(Elementwise(Sigmoid)),
        Act::Softplus => Box::new(Elementwise(Softplus)),
    }
}

impl<T: Scalar, C: Curve> Layer<T> for Elementwise<C> {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        fn run<T: Scalar, N: Num<T>>(c: impl Curve, x: Planes<'_, T>, y: &mut PlanesMut<'_, T>, p: usize) {
            map::<T, N>(
                x.lane::<N>(p),
                y.lane::<N>(p),
                #[inline(always)]
                |x| c.value(x),
            );
        }
        lanes!(cx, T, p => run(self.0, x[0], y, p));
    }

    fn backward(&self, cx: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, _: &mut Cache<T>) {
        fn run<T: Scalar, N: Num<T>>(
            c: impl Curve,
            x: Planes<'_, T>,
            dy: Planes<'_, T>,
            dx: &mut PlanesMut<'_, T>,
            p: usize,
        ) {
            let (x, dy, acc) = (x.lane::<N>(p), dy.lane::<N>(p), dx.acc);
            let (v, t) = dx.lane::<N>(p);
            par_pair(
                v,
                t,
                CHUNK,
                #[inline(always)]
                |first, v, t| {
                    let part = first..first + v.len();
                    let x = [x.slice(part.clone()), dy.slice(part)];
                    put_all::<T, N, 2, 0>(
                        x,
                        [],
                        (v, t),
                        acc,
                        p,
                        #[inline(always)]
                        |[x, dy], []| dy * c.slope(x),
                    );
                },
            );
        }
        if let Some(dx) = &mut io.dx[0] {
            lanes!(cx, T, p => run(self.0, io.x[0], io.dy, dx, p));
        }
    }
}

/// Softmax over the last axis of `c` numbers.
pub(super) struct Softmax {
    pub c: usize,
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

/// Runs `f(first, v, t)` on each row of `c` elements, in parallel over fixed groups of rows. Mark
/// `f` `#[inline(always)]` so that its loops vectorise.
pub(super) fn rows<T: Scalar, N: Num<T>>(
    out: (&mut [T], &mut [T]),
    c: usize,
    f: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    let group = (CHUNK / 4).div_ceil(c) * c;
    par_pair(
        out.0,
        out.1,
        group,
        #[inline(always)]
        |first, v, t| {
            for row in 0..v.len() / c {
                let part = row * c..(row + 1) * c;
                let t = if N::DUAL { &mut t[part.clone()] } else { &mut [][..] };
                f(first + row * c, &mut v[part], t);
            }
        },
    );
}
