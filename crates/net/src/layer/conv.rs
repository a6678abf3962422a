use std::ops::Range;

use super::linear::{bias_grads, part};
use super::{Cache, Cx, Grads, Io, Layer};
use crate::graph::Op;
use crate::kernel::{Conv, ConvShape, Scalar};
use crate::num::Dual;
use crate::planes::{Planes, PlanesMut};

/// Convolution over one or two axes; the weight keeps PyTorch's order.
pub(super) struct Convolution {
    conv: Conv,
    out: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

impl Convolution {
    pub fn new(op: &Op, x: &[usize], weight: Range<usize>, bias: Range<usize>) -> Self {
        let c = x[x.len() - 1];
        let shape = match op {
            Op::Conv2d { out, k, stride, pad, dilation, groups, circular, .. } => ConvShape {
                in_h: x[0],
                in_w: x[1],
                in_c: c,
                out_c: *out,
                k_h: k[0],
                k_w: k[1],
                stride: *stride,
                dilation: *dilation,
                groups: *groups,
                pad: *pad,
                circular: *circular,
            },
            Op::Conv1d { out, k, stride, pad, dilation, groups, circular, .. } => ConvShape {
                in_h: 1,
                in_w: x[0],
                in_c: c,
                out_c: *out,
                k_h: 1,
                k_w: *k,
                stride: [1, *stride],
                dilation: [1, *dilation],
                groups: *groups,
                pad: [0, 0, pad[0], pad[1]],
                circular: *circular,
            },
            _ => unreachable!("only convolutions are built here"),
        };
        Self { out: shape.out_c, conv: Conv::new(shape), weight, bias }
    }
}

impl<T: Scalar> Layer<T> for Convolution {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, cache: &mut Cache<T>) {
        let (x, scratch) = (x[0], &mut cache.scratch);
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        let w = &cx.params.value[weight.clone()];
        let b = part(cx.params.value, &bias);
        self.conv.forward(cx.batch, x.value(), w, b, y.value(), false, scratch);
        let (r, len) = (y.data.len() / y.len - 1, y.len);
        if x.has_tangents() {
            self.conv.forward(r * cx.batch, &x.data[x.len..], w, None, &mut y.data[len..], false, scratch);
        }
        if y.has_tangents() {
            for (p, z) in cx.params.tangents.iter().enumerate() {
                let (w, b) = (&z[weight.clone()], part(z, &bias));
                self.conv.forward(cx.batch, x.value(), w, b, y.tangent(p), x.has_tangents(), scratch);
            }
        }
    }

    fn backward(
        &self,
        cx: &Cx<'_, T>,
        io: Io<'_, '_, T>,
        grads: Option<&mut Grads<'_, T>>,
        cache: &mut Cache<T>,
    ) {
        let (x, dy, scratch) = (io.x[0], io.dy, &mut cache.scratch);
        if let Some(dx) = &mut io.dx[0] {
            let w = &cx.params.value[self.weight.clone()];
            self.conv.backward_data((1 + cx.r) * cx.batch, dy.data, w, dx.data, dx.acc, scratch);
            for (p, z) in cx.params.tangents.iter().enumerate() {
                let w = &z[self.weight.clone()];
                self.conv.backward_data(cx.batch, dy.value(), w, dx.tangent(p), true, scratch);
            }
        }
        let Some(grads) = grads else { return };
        let dw = &mut grads.value[self.weight.clone()];
        self.conv.backward_weight(cx.batch, x.value(), dy.value(), dw, false, scratch);
        for (p, h) in grads.tangents.iter_mut().enumerate() {
            let h = &mut h[self.weight.clone()];
            self.conv.backward_weight(cx.batch, x.value(), dy.lane::<Dual<T>>(p).t, h, false, scratch);
            if let Some(xt) = x.tangent(p) {
                self.conv.backward_weight(cx.batch, xt, dy.value(), h, true, scratch);
            }
        }
        bias_grads(&self.bias, self.out, dy, grads);
    }
}
