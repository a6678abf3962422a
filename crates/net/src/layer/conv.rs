use std::ops::Range;

use super::linear::{bias_grads, part};
use super::{Cache, Cx, Grads, Io, Layer};
use crate::graph::Op;
use crate::kernel::{Conv, ConvShape, Filter, Scalar};
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

    /// The filters of the parameters and of their tangents.
    fn filters<'a, T: Scalar>(&self, cx: &Cx<'a, T>) -> Vec<Filter<'a, T>> {
        let of = |z: &'a [T]| Filter { weight: &z[self.weight.clone()], bias: part(z, &self.bias) };
        std::iter::once(cx.params.value).chain(cx.params.tangents.iter().copied()).map(of).collect()
    }
}

impl<T: Scalar> Layer<T> for Convolution {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, cache: &mut Cache<T>) {
        let (x, filters) = (x[0], self.filters(cx));
        self.conv.forward_planes(cx.batch, x.count(), x.data, &filters, y.data, false, &mut cache.scratch);
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
            let filters = self.filters(cx);
            self.conv.backward_data_planes(cx.batch, 1 + cx.r, dy.data, &filters, dx.data, dx.acc, scratch);
        }
        let Some(grads) = grads else { return };
        let mut dws = vec![&mut grads.value[self.weight.clone()]];
        dws.extend(grads.tangents.iter_mut().map(|h| &mut h[self.weight.clone()]));
        self.conv.backward_weight_planes(cx.batch, x.count(), x.data, dy.data, &mut dws, false, scratch);
        bias_grads(&self.bias, self.out, dy, grads);
    }
}
