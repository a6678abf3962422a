//! Value and tangents of one quantity: separate arrays ("planes") behind each other in one buffer,
//! so that value and tangents stacked are simply a larger batch for a matrix product.

use std::ops::Range;

use crate::kernel::Scalar;
use crate::num::Num;

/// Value and one tangent; `t` is empty where plain numbers are meant.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a, T> {
    pub v: &'a [T],
    pub t: &'a [T],
}

impl<'a, T> Lane<'a, T> {
    /// The part `range` of both arrays.
    #[inline(always)]
    pub fn slice(self, range: Range<usize>) -> Self {
        let t = if self.t.is_empty() { self.t } else { &self.t[range.clone()] };
        Self { v: &self.v[range], t }
    }
}

/// One value plane of `len` numbers, followed by as many tangent planes as there are directions.
/// A quantity that does not depend on the directions has the value plane only.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a, T> {
    pub data: &'a [T],
    pub len: usize,
    /// Stands in for a missing tangent plane.
    pub zeros: &'a [T],
}

impl<'a, T: Scalar> Planes<'a, T> {
    pub fn has_tangents(&self) -> bool {
        self.data.len() > self.len
    }
    /// Number of planes.
    pub fn count(&self) -> usize {
        self.data.len() / self.len
    }
    pub fn value(&self) -> &'a [T] {
        &self.data[..self.len]
    }
    /// Tangent `p`, if this quantity has tangents.
    pub fn tangent(&self, p: usize) -> Option<&'a [T]> {
        self.has_tangents().then(|| &self.data[(p + 1) * self.len..(p + 2) * self.len])
    }
    /// Value and tangent `p` for numbers of kind `N`.
    pub fn lane<N: Num<T>>(&self, p: usize) -> Lane<'a, T> {
        let t = if N::DUAL { self.tangent(p).unwrap_or_else(|| &self.zeros[..self.len]) } else { &[] };
        Lane { v: self.value(), t }
    }
}

/// [`Planes`] to write. `acc` asks a backward pass to add to what is there.
pub(crate) struct PlanesMut<'a, T> {
    pub data: &'a mut [T],
    pub len: usize,
    pub acc: bool,
}

impl<'a, T: Scalar> PlanesMut<'a, T> {
    /// Number of planes.
    pub fn count(&self) -> usize {
        self.data.len() / self.len
    }
    pub fn value(&mut self) -> &mut [T] {
        &mut self.data[..self.len]
    }
    pub fn has_tangents(&self) -> bool {
        self.data.len() > self.len
    }
    pub fn tangent(&mut self, p: usize) -> &mut [T] {
        &mut self.data[(p + 1) * self.len..(p + 2) * self.len]
    }
    /// Value and tangent `p` to write; the tangent is empty for plain numbers.
    pub fn lane<N: Num<T>>(&mut self, p: usize) -> (&mut [T], &mut [T]) {
        let (v, t) = self.data.split_at_mut(self.len);
        (v, if N::DUAL { &mut t[p * self.len..(p + 1) * self.len] } else { &mut [] })
    }
}

/// Applies a linear map plane by plane: `f(x_plane, y_plane, add)`.
pub(crate) fn each_plane<T: Scalar>(
    x: Planes<'_, T>,
    y: &mut PlanesMut<'_, T>,
    f: impl Fn(&[T], &mut [T], bool),
) {
    let planes = y.count();
    for q in 0..planes {
        let acc = y.acc;
        let out = &mut y.data[q * y.len..(q + 1) * y.len];
        if q == 0 || x.has_tangents() {
            f(&x.data[q * x.len..(q + 1) * x.len], out, acc);
        } else if !acc {
            out.fill(T::ZERO);
        }
    }
}
