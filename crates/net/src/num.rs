//! Plain and dual numbers: each layer's formulas are written once, over [`Num`], and run either on
//! values alone or on value–tangent pairs (forward-over-reverse differentiation).

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::kernel::Scalar;
use crate::planes::Lane;

/// A number that a layer computes with: `T` itself, or [`Dual<T>`].
pub(crate) trait Num<T: Scalar>:
    Copy
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Whether a tangent is carried.
    const DUAL: bool;
    /// A number whose tangent is zero.
    fn constant(v: T) -> Self;
    /// A number from its two parts; plain numbers drop the tangent.
    fn new(v: T, t: T) -> Self;
    /// The value.
    fn value(self) -> T;
    /// The tangent; zero for plain numbers.
    fn tangent(self) -> T;
    /// Element `i` of a lane.
    fn load(lane: Lane<'_, T>, i: usize) -> Self;
    /// Writes element `i`; plain numbers leave `t` alone (it is empty).
    fn store(self, v: &mut [T], t: &mut [T], i: usize);
    /// Chain rule: `f(self)` given `f` and `f'` at the value.
    fn lift(self, f: T, slope: T) -> Self;
    /// Multiplication by a constant.
    fn scale(self, c: T) -> Self;

    #[inline(always)]
    fn zero() -> Self {
        Self::constant(T::ZERO)
    }
    #[inline(always)]
    fn one() -> Self {
        Self::constant(T::ONE)
    }
    /// Adds to element `i`.
    #[inline(always)]
    fn add_to(self, v: &mut [T], t: &mut [T], i: usize) {
        (self + Self::load(Lane { v, t }, i)).store(v, t, i);
    }
    #[inline(always)]
    fn exp(self) -> Self {
        let e = self.value().exp_fast();
        self.lift(e, e)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        self.lift(self.value().ln_fast(), T::ONE / self.value())
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        let y = self.value().tanh_fast();
        self.lift(y, T::ONE - y * y)
    }
    /// Logistic function.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let y = self.value().sigmoid_fast();
        self.lift(y, y * (T::ONE - y))
    }
    #[inline(always)]
    fn erf(self) -> Self {
        let x = self.value();
        let slope = T::from_f64(std::f64::consts::FRAC_2_SQRT_PI) * (-x * x).exp_fast();
        self.lift(x.erf_fast(), slope)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        let y = self.value().sqrt();
        self.lift(y, T::from_f64(0.5) / y)
    }
    /// The value cut to [0, high]; the slope is 1 inside.
    #[inline(always)]
    fn cut(self, high: T) -> Self {
        let v = self.value();
        let low = if v < T::ZERO { T::ZERO } else { v };
        let inside = if v > T::ZERO && v < high { T::ONE } else { T::ZERO };
        self.lift(if low > high { high } else { low }, inside)
    }
    /// 1 where the value is positive, 0 elsewhere; locally constant.
    #[inline(always)]
    fn step(self) -> Self {
        Self::constant(if self.value() > T::ZERO { T::ONE } else { T::ZERO })
    }
}

impl<T: Scalar> Num<T> for T {
    const DUAL: bool = false;
    #[inline(always)]
    fn constant(v: T) -> Self {
        v
    }
    #[inline(always)]
    fn new(v: T, _: T) -> Self {
        v
    }
    #[inline(always)]
    fn value(self) -> T {
        self
    }
    #[inline(always)]
    fn tangent(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn load(lane: Lane<'_, T>, i: usize) -> Self {
        lane.v[i]
    }
    #[inline(always)]
    fn store(self, v: &mut [T], _: &mut [T], i: usize) {
        v[i] = self;
    }
    #[inline(always)]
    fn lift(self, f: T, _: T) -> Self {
        f
    }
    #[inline(always)]
    fn scale(self, c: T) -> Self {
        self * c
    }
}

/// `v + ε t` with `ε² = 0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dual<T> {
    pub v: T,
    pub t: T,
}

impl<T: Scalar> Add for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self { v: self.v + b.v, t: self.t + b.t }
    }
}
impl<T: Scalar> Sub for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self { v: self.v - b.v, t: self.t - b.t }
    }
}
impl<T: Scalar> Mul for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self { v: self.v * b.v, t: self.t * b.v + self.v * b.t }
    }
}
impl<T: Scalar> Div for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        let q = self.v / b.v;
        Self { v: q, t: (self.t - q * b.t) / b.v }
    }
}
impl<T: Scalar> Neg for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { v: -self.v, t: -self.t }
    }
}

impl<T: Scalar> Num<T> for Dual<T> {
    const DUAL: bool = true;
    #[inline(always)]
    fn constant(v: T) -> Self {
        Self { v, t: T::ZERO }
    }
    #[inline(always)]
    fn new(v: T, t: T) -> Self {
        Self { v, t }
    }
    #[inline(always)]
    fn value(self) -> T {
        self.v
    }
    #[inline(always)]
    fn tangent(self) -> T {
        self.t
    }
    #[inline(always)]
    fn load(lane: Lane<'_, T>, i: usize) -> Self {
        Self { v: lane.v[i], t: lane.t[i] }
    }
    #[inline(always)]
    fn store(self, v: &mut [T], t: &mut [T], i: usize) {
        v[i] = self.v;
        t[i] = self.t;
    }
    #[inline(always)]
    fn lift(self, f: T, slope: T) -> Self {
        Self { v: f, t: slope * self.t }
    }
    #[inline(always)]
    fn scale(self, c: T) -> Self {
        Self { v: self.v * c, t: self.t * c }
    }
}
