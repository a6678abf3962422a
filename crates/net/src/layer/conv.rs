use std::ops::Range;

use thalweg_core::Kind;

use super::linear::{bias_grads, bias_part, part};
use super::shape::{cells, channels, fail, image, sequence, windows};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, LinearMap, Operation, Part, Place};
use crate::kernel::{Conv, ConvShape, Filter, Scalar};
use crate::op;
use crate::planes::{Planes, PlanesMut};

impl op::Conv1d {
    /// Over a sequence, as an image of one row.
    fn over(&self, x: &[usize]) -> ConvShape {
        let Self { out, k, stride, pad, dilation, groups, circular, .. } = *self;
        ConvShape {
            in_h: 1,
            in_w: x[0],
            in_c: x[1],
            out_c: out,
            k_h: 1,
            k_w: k,
            stride: [1, stride],
            dilation: [1, dilation],
            groups,
            pad: [0, 0, pad[0], pad[1]],
            circular,
        }
    }
}

impl Operation for op::Conv1d {
    fn numbers(&self) -> Vec<usize> {
        vec![self.out, self.k, self.stride, self.pad[0], self.pad[1], self.dilation]
    }
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        sequence(ins[0])?;
        let [_, length] = positions(&self.over(ins[0]))?;
        Ok(vec![length, self.out])
    }
    fn parameters(&self, x: &[usize]) -> Vec<Part> {
        let weight = Part::new("weight", &[self.out, channels(x) / self.groups, self.k], Kind::Conv);
        std::iter::once(weight).chain(bias_part(self.bias, self.out)).collect()
    }
    fn macs(&self, x: &[usize], y: &[usize]) -> u64 {
        macs(&self.over(x), y)
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Convolution::new(self.over(at.x), at))
    }
}

impl op::Conv2d {
    fn over(&self, x: &[usize]) -> ConvShape {
        let Self { out, k, stride, pad, dilation, groups, circular, .. } = *self;
        ConvShape {
            in_h: x[0],
            in_w: x[1],
            in_c: x[2],
            out_c: out,
            k_h: k[0],
            k_w: k[1],
            stride,
            dilation,
            groups,
            pad,
            circular,
        }
    }
}

impl Operation for op::Conv2d {
    fn numbers(&self) -> Vec<usize> {
        [&[self.out][..], &self.k, &self.stride, &self.pad, &self.dilation].concat()
    }
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        image(ins[0])?;
        let [h, w] = positions(&self.over(ins[0]))?;
        Ok(vec![h, w, self.out])
    }
    fn parameters(&self, x: &[usize]) -> Vec<Part> {
        let weight =
            Part::new("weight", &[self.out, channels(x) / self.groups, self.k[0], self.k[1]], Kind::Conv);
        std::iter::once(weight).chain(bias_part(self.bias, self.out)).collect()
    }
    fn macs(&self, x: &[usize], y: &[usize]) -> u64 {
        macs(&self.over(x), y)
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Convolution::new(self.over(at.x), at))
    }
}

/// Height and width of the output.
fn positions(s: &ConvShape) -> Result<[usize; 2], String> {
    let (c, out, groups, pad) = (s.in_c, s.out_c, s.groups, s.pad);
    if out == 0 {
        return fail("it has no output channel");
    }
    if groups == 0 || !c.is_multiple_of(groups) || !out.is_multiple_of(groups) {
        return fail(format!("groups = {groups} does not divide {c} input and {out} output channels"));
    }
    let h = windows(s.in_h, s.k_h, s.stride[0], pad[0] + pad[1], s.dilation[0])?;
    Ok([h, windows(s.in_w, s.k_w, s.stride[1], pad[2] + pad[3], s.dilation[1])?])
}

fn macs(s: &ConvShape, y: &[usize]) -> u64 {
    cells(y) as u64 * (s.in_c / s.groups * s.k_h * s.k_w) as u64
}

/// Convolution over one or two axes; the weight keeps PyTorch's order.
struct Convolution {
    conv: Conv,
    out: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

impl Convolution {
    fn new(shape: ConvShape, at: &Place<'_>) -> Self {
        let (weight, bias) = (at.parameter("weight"), at.parameter("bias"));
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

    fn linear_map(&self) -> Option<LinearMap<'_>> {
        Some(LinearMap::Windows(self.conv.shape()))
    }
}
