use std::ops::Range;

use thalweg_core::Kind;

use super::shape::{cells, channels, fail, with_channels};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, LinearMap, Operation, Part, Place};
use crate::kernel::{Scalar, column_sums, matmul, matmul_bias};
use crate::loops::par_pair;
use crate::num::Dual;
use crate::op;
use crate::planes::{Planes, PlanesMut};

impl Operation for op::Linear {
    fn numbers(&self) -> Vec<usize> {
        vec![self.out]
    }
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        if self.out == 0 { fail("out = 0; use at least 1") } else { Ok(with_channels(ins[0], self.out)) }
    }
    fn parameters(&self, x: &[usize]) -> Vec<Part> {
        let weight = Part::new("weight", &[self.out, channels(x)], Kind::Linear);
        std::iter::once(weight).chain(bias_part(self.bias, self.out)).collect()
    }
    fn macs(&self, x: &[usize], y: &[usize]) -> u64 {
        cells(y) as u64 * channels(x) as u64
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        let (weight, bias) = (at.parameter("weight"), at.parameter("bias"));
        Box::new(Linear { input: channels(at.x), out: self.out, weight, bias })
    }
}

/// The block of a bias, if there is one.
pub(super) fn bias_part(on: bool, n: usize) -> Option<Part> {
    on.then(|| Part::new("bias", &[n], Kind::Bias))
}

/// `y = W x + b` on rows; `W` is `[out, in]`.
struct Linear {
    input: usize,
    out: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

impl<T: Scalar> Layer<T> for Linear {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        let (x, rows) = (x[0], x[0].len / self.input);
        let w = &cx.params.value[self.weight.clone()];
        let b = part(cx.params.value, &self.bias);
        let stacked = x.count();
        let out = &mut y.data[..stacked * y.len];
        // Value and tangents of the input are one larger batch: [X; Ẋ] Wᵀ; only the value has a bias.
        let fused = if stacked == 1 { b } else { None };
        product(stacked * rows, self.out, self.input, x.data, w, fused, out, false);
        if let (Some(b), true) = (b, stacked > 1) {
            add_rows(y.value(), b);
        }
        if y.has_tangents() {
            for (p, z) in cx.params.tangents.iter().enumerate() {
                let (w, b) = (&z[self.weight.clone()], part(z, &self.bias));
                product(rows, self.out, self.input, x.value(), w, b, y.tangent(p), x.has_tangents());
            }
        }
    }

    fn backward(
        &self,
        cx: &Cx<'_, T>,
        io: Io<'_, '_, T>,
        grads: Option<&mut Grads<'_, T>>,
        _: &mut Cache<T>,
    ) {
        let (x, dy, rows) = (io.x[0], io.dy, io.x[0].len / self.input);
        let (m, n) = (self.out, self.input);
        if let Some(dx) = &mut io.dx[0] {
            let w = &cx.params.value[self.weight.clone()];
            matmul((1 + cx.r) * rows, n, m, dy.data, false, w, false, dx.data, dx.acc);
            for (p, z) in cx.params.tangents.iter().enumerate() {
                matmul(rows, n, m, dy.value(), false, &z[self.weight.clone()], false, dx.tangent(p), true);
            }
        }
        let Some(grads) = grads else { return };
        matmul(m, n, rows, dy.value(), true, x.value(), false, &mut grads.value[self.weight.clone()], false);
        for (p, h) in grads.tangents.iter_mut().enumerate() {
            let (h, dyt) = (&mut h[self.weight.clone()], dy.lane::<Dual<T>>(p).t);
            matmul(m, n, rows, dyt, true, x.value(), false, h, false);
            if let Some(xt) = x.tangent(p) {
                matmul(m, n, rows, dy.value(), true, xt, false, h, true);
            }
        }
        bias_grads(&self.bias, m, dy, grads);
    }

    fn linear_map(&self) -> Option<LinearMap<'_>> {
        Some(LinearMap::Rows)
    }
}

/// A block of the parameters, if it is not empty.
pub(super) fn part<'a, T>(params: &'a [T], block: &Range<usize>) -> Option<&'a [T]> {
    (!block.is_empty()).then(|| &params[block.clone()])
}

/// `Y (+)= X Wᵀ (+ b)`.
fn product<T: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    x: &[T],
    w: &[T],
    b: Option<&[T]>,
    y: &mut [T],
    acc: bool,
) {
    match b {
        Some(b) => matmul_bias(m, n, k, x, false, w, true, b, y, acc),
        None => matmul(m, n, k, x, false, w, true, y, acc),
    }
}

/// Adds `bias` to each row of `y`.
fn add_rows<T: Scalar>(y: &mut [T], bias: &[T]) {
    par_pair(
        y,
        &mut [],
        bias.len() * 64,
        #[inline(always)]
        |_, y, _| {
            for row in y.chunks_exact_mut(bias.len()) {
                for (y, b) in row.iter_mut().zip(bias) {
                    *y += *b;
                }
            }
        },
    );
}

/// Gradient of a bias and its products: the column sums of the cotangent's planes.
pub(super) fn bias_grads<T: Scalar>(
    bias: &Range<usize>,
    c: usize,
    dy: Planes<'_, T>,
    grads: &mut Grads<'_, T>,
) {
    if bias.is_empty() {
        return;
    }
    let store = |plane: &[T], out: &mut [T]| {
        let sums = column_sums(plane, plane.len() / c, c);
        out.iter_mut().zip(sums).for_each(|(o, s)| *o = T::from_f64(s));
    };
    store(dy.value(), &mut grads.value[bias.clone()]);
    for (p, h) in grads.tangents.iter_mut().enumerate() {
        store(dy.lane::<Dual<T>>(p).t, &mut h[bias.clone()]);
    }
}
