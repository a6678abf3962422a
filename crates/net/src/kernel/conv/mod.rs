//! Convolutions without an im2col buffer. A block of image rows is copied once, padding included,
//! into a small slab that stays in the cache; there, every output pixel sees a kernel row as one
//! contiguous run of numbers at a distance that is the same for all pixels, so that the loops of a
//! matrix product apply directly. The gradient for the input is the same computation with the
//! roles exchanged, once for each residue of the pixel position modulo the stride.

mod backward_data;
mod backward_weight;
mod correlate;
mod depthwise;
mod forward;
mod pack;
mod plan;
mod shape;
mod terms;

pub use shape::ConvShape;

use super::simd::Isa;
use plan::{Axis, Plan};

/// A convolution of a given shape, ready to run on any number of images.
///
/// Weights are in PyTorch's order `[out_c, in_c/groups, k_h, k_w]`. `scratch` is workspace that is
/// kept from call to call; its contents do not matter.
#[derive(Clone, Debug)]
pub struct Conv {
    shape: ConvShape,
    isa: Isa,
    forward: Plan,
    /// One plan for each phase of the stride.
    backward: Vec<Plan>,
    /// For circular padding: the convolution over the padded image, without padding.
    padded: Option<Box<Conv>>,
}

impl Conv {
    /// Prepares a convolution.
    ///
    /// # Panics
    /// If the groups do not divide the channels, or a kernel size, stride, dilation or number of
    /// groups is zero: graphs check that before.
    pub fn new(shape: ConvShape) -> Self {
        Self::with_isa(shape, Isa::best())
    }

    pub(super) fn with_isa(shape: ConvShape, isa: Isa) -> Self {
        let s = &shape;
        assert!(
            s.groups > 0 && s.in_c.is_multiple_of(s.groups) && s.out_c.is_multiple_of(s.groups),
            "groups must divide channels"
        );
        assert!(
            s.k_h * s.k_w * s.stride[0] * s.stride[1] * s.dilation[0] * s.dilation[1] > 0,
            "sizes must be positive"
        );
        let (ph, pw) = (s.pad[0], s.pad[2]);
        let (oh, ow) = (s.out_h(), s.out_w());
        let ([sh, sw], [dh, dw]) = (s.stride, s.dilation);
        let merge = !s.depthwise();
        let (groups, ic, oc) = if s.depthwise() {
            (1, s.in_c, s.out_c)
        } else {
            (s.groups, s.in_c / s.groups, s.out_c / s.groups)
        };
        let forward = Plan::new(
            Axis::forward(s.in_h, ph, s.k_h, sh, dh, oh),
            Axis::forward(s.in_w, pw, s.k_w, sw, dw, ow),
            groups,
            ic,
            (oc, ow),
            s.circular,
            merge,
        );
        let mut backward = Vec::new();
        for (a, b) in (0..sh).flat_map(|a| (0..sw).map(move |b| (a, b))) {
            backward.push(Plan::new(
                Axis::backward(a, s.in_h, ph, s.k_h, sh, dh, oh),
                Axis::backward(b, s.in_w, pw, s.k_w, sw, dw, ow),
                groups,
                oc,
                (ic, s.in_w),
                false,
                merge,
            ));
        }
        let padded = s.circular.then(|| {
            let (in_h, in_w) = (s.in_h + ph + s.pad[1], s.in_w + pw + s.pad[3]);
            let shape = ConvShape { in_h, in_w, pad: [0; 4], circular: false, ..shape.clone() };
            Box::new(Self::with_isa(shape, isa))
        });
        Self { isa, forward, backward, padded, shape }
    }

    /// The shape.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }
}

/// Weight and bias of a convolution.
#[derive(Clone, Copy)]
pub struct Filter<'a, T> {
    /// `[out_c, in_c/groups, k_h, k_w]`.
    pub weight: &'a [T],
    /// `[out_c]`.
    pub bias: Option<&'a [T]>,
}

impl<'a, T> Filter<'a, T> {
    /// Cut to the lengths of a shape.
    fn of(&self, s: &ConvShape) -> Self {
        Self { weight: &self.weight[..s.weight_len()], bias: self.bias.map(|b| &b[..s.out_c]) }
    }
}
