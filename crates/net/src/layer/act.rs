use std::f64::consts::{FRAC_1_SQRT_2, PI};

use serde::{Deserialize, Serialize};
use thalweg_core::Real;

use super::shape::fail;
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Place, lanes};
use crate::kernel::Scalar;
use crate::loops::{CHUNK, map, par_pair, put_all};
use crate::num::Num;
use crate::op;
use crate::planes::{Planes, PlanesMut};

/// Elementwise activations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// `max(x, 0)`.
    Relu,
    /// `x` or `slope · x` for negative `x`.
    LeakyRelu(f64),
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x Φ(x)` with the exact normal distribution function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// `x · sigmoid(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// Logistic function.
    Sigmoid,
    /// `ln(1 + eˣ)`.
    Softplus,
}

impl Operation for op::Act {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        match self.act {
            Act::LeakyRelu(slope) if !slope.is_finite() => {
                fail(format!("slope = {slope}; use a finite number"))
            }
            _ => Ok(ins[0].to_vec()),
        }
    }
    fn build(&self, _: &Place<'_>) -> Box<dyn AnyLayer> {
        match self.act {
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
}

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

curve!(Relu, |c, x| x.cut(T::from_f64(f64::INFINITY)), x.step());
curve!(Leaky(f64), |c, x| x * (k!(c.0) + k!(1.0 - c.0) * x.step()), k!(c.0) + k!(1.0 - c.0) * x.step());
curve!(Relu6, |c, x| x.cut(T::from_f64(6.0)), x.step() * (k!(6.0) - x).step());
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

/// A curve of each number.
struct Elementwise<C>(C);

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
