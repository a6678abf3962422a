use proptest::prelude::*;

use super::{assert_close, random};
use crate::kernel::simd::Isa;
use crate::kernel::{Conv, ConvShape, Filter, Scalar};

impl ConvShape {
    pub(super) fn simple(
        size: (usize, usize),
        c: (usize, usize),
        k: usize,
        stride: usize,
        pad: usize,
    ) -> Self {
        Self {
            in_h: size.0,
            in_w: size.1,
            in_c: c.0,
            out_c: c.1,
            k_h: k,
            k_w: k,
            stride: [stride; 2],
            dilation: [1; 2],
            groups: 1,
            pad: [pad; 4],
            circular: false,
        }
    }

    /// Calls `f(x index, w index, y index)` for every product of the convolution of one image.
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let (ig, og) = (self.in_c / self.groups, self.out_c / self.groups);
        let at = |o: usize, k: usize, axis: usize, n: usize| {
            let i = (o * self.stride[axis] + k * self.dilation[axis]) as isize - self.pad[2 * axis] as isize;
            let wrapped = i.rem_euclid(n as isize) as usize;
            (self.circular || wrapped as isize == i).then_some(wrapped)
        };
        for (oh, ow) in (0..self.out_h()).flat_map(|h| (0..self.out_w()).map(move |w| (h, w))) {
            for (kh, kw) in (0..self.k_h).flat_map(|h| (0..self.k_w).map(move |w| (h, w))) {
                let (Some(h), Some(w)) = (at(oh, kh, 0, self.in_h), at(ow, kw, 1, self.in_w)) else {
                    continue;
                };
                for (o, i) in (0..self.out_c).flat_map(|o| (0..ig).map(move |i| (o, i))) {
                    f(
                        (h * self.in_w + w) * self.in_c + o / og * ig + i,
                        ((o * ig + i) * self.k_h + kh) * self.k_w + kw,
                        (oh * self.out_w() + ow) * self.out_c + o,
                    );
                }
            }
        }
    }
}

/// The passes without tangents.
impl Conv {
    /// `y (+)= x * w (+ bias)` for `images` images.
    pub(super) fn forward<T: Scalar>(
        &self,
        images: usize,
        x: &[T],
        w: &[T],
        bias: Option<&[T]>,
        y: &mut [T],
        acc: bool,
        scratch: &mut Vec<T>,
    ) {
        self.forward_planes(images, 1, x, &[Filter { weight: w, bias }], y, acc, scratch);
    }

    /// Gradient for the input: `dx (+)= wᵀ * dy`.
    pub(super) fn backward_data<T: Scalar>(
        &self,
        images: usize,
        dy: &[T],
        w: &[T],
        dx: &mut [T],
        acc: bool,
        scratch: &mut Vec<T>,
    ) {
        self.backward_data_planes(images, 1, dy, &[Filter { weight: w, bias: None }], dx, acc, scratch);
    }

    /// Gradient for the weight: `dw (+)= Σ_images x ⋆ dy`.
    pub(super) fn backward_weight<T: Scalar>(
        &self,
        images: usize,
        x: &[T],
        dy: &[T],
        dw: &mut [T],
        acc: bool,
        scratch: &mut Vec<T>,
    ) {
        self.backward_weight_planes(images, 1, x, dy, &mut [dw], acc, scratch);
    }
}

/// All three passes against their definition, overwriting and adding.
fn check_conv<T: Scalar>(isa: Isa, shape: &ConvShape, images: usize) {
    let (nx, ny, nw) = (
        shape.in_h * shape.in_w * shape.in_c,
        shape.out_h() * shape.out_w() * shape.out_c,
        shape.out_c * shape.in_c / shape.groups * shape.k_h * shape.k_w,
    );
    assert_eq!(nw, shape.weight_len());
    let (x, w, dy, bias): (Vec<T>, Vec<T>, Vec<T>, Vec<T>) =
        (random(images * nx, 1), random(nw, 2), random(images * ny, 3), random(shape.out_c, 4));
    let conv = Conv::with_isa(shape.clone(), isa);
    let mut scratch = vec![T::from_f64(7.0); 3]; // its contents must not matter
    for acc in [false, true] {
        let start =
            |len: usize| -> Vec<T> { if acc { random(len, 5) } else { vec![T::from_f64(f64::NAN); len] } };
        let zero = |len: usize| if acc { random(len, 5) } else { vec![T::ZERO; len] };
        let what = format!("{isa:?} {shape:?} images {images} acc {acc}");

        let mut expected = zero(images * ny);
        let mut y = start(images * ny);
        for q in 0..images {
            let (x, y) = (&x[q * nx..], &mut expected[q * ny..]);
            shape.each(|i, j, o| y[o] += x[i] * w[j]);
        }
        conv.forward(images, &x, &w, None, &mut y, acc, &mut scratch);
        assert_close(&y, &expected, &format!("forward {what}"));
        for row in expected.chunks_mut(shape.out_c) {
            row.iter_mut().zip(&bias).for_each(|(y, b)| *y += *b);
        }
        let mut y = start(images * ny);
        conv.forward(images, &x, &w, Some(&bias), &mut y, acc, &mut scratch);
        assert_close(&y, &expected, &format!("forward with bias {what}"));

        let mut expected = zero(images * nx);
        let mut dx = start(images * nx);
        for q in 0..images {
            let (dy, dx) = (&dy[q * ny..], &mut expected[q * nx..]);
            shape.each(|i, j, o| dx[i] += dy[o] * w[j]);
        }
        conv.backward_data(images, &dy, &w, &mut dx, acc, &mut scratch);
        assert_close(&dx, &expected, &format!("backward data {what}"));

        let mut expected = zero(nw);
        let mut dw = start(nw);
        for q in 0..images {
            let (x, dy) = (&x[q * nx..], &dy[q * ny..]);
            shape.each(|i, j, o| expected[j] += dy[o] * x[i]);
        }
        conv.backward_weight(images, &x, &dy, &mut dw, acc, &mut scratch);
        assert_close(&dw, &expected, &format!("backward weight {what}"));
    }
}

#[test]
fn convolutions_match_their_definition() {
    let simple = ConvShape::simple;
    let mut shapes = vec![
        simple((5, 6), (3, 4), 3, 1, 1),
        simple((1, 1), (2, 3), 3, 1, 1),
        simple((2, 2), (3, 2), 5, 1, 2),
        simple((7, 5), (4, 6), 3, 2, 1),
        simple((6, 6), (5, 17), 1, 2, 0),
        simple((4, 3), (18, 35), 1, 1, 0),
        ConvShape { groups: 6, ..simple((6, 5), (6, 6), 3, 1, 1) },
        ConvShape { groups: 6, ..simple((6, 5), (6, 12), 3, 2, 1) },
        ConvShape { groups: 2, ..simple((5, 7), (4, 6), 3, 1, 1) },
        ConvShape { dilation: [2, 3], ..simple((9, 11), (2, 3), 3, 1, 2) },
        ConvShape { dilation: [2, 1], stride: [3, 2], ..simple((9, 11), (2, 3), 3, 1, 2) },
        ConvShape { pad: [0, 1, 0, 1], ..simple((8, 8), (3, 5), 3, 2, 0) },
        ConvShape { pad: [2, 0, 1, 3], k_h: 2, ..simple((4, 7), (3, 5), 4, 1, 0) },
        ConvShape { circular: true, ..simple((5, 6), (3, 4), 3, 1, 1) },
        ConvShape { circular: true, pad: [2, 1, 0, 3], ..simple((3, 4), (2, 3), 3, 2, 0) },
        ConvShape { circular: true, groups: 3, ..simple((3, 4), (3, 3), 3, 1, 1) },
        ConvShape { k_h: 1, pad: [0, 0, 2, 0], dilation: [1, 2], ..simple((1, 13), (3, 5), 3, 1, 0) },
    ];
    if !cfg!(miri) {
        shapes.extend([
            simple((13, 12), (16, 16), 3, 1, 1),
            simple((9, 10), (32, 40), 3, 1, 1),
            simple((9, 10), (33, 64), 3, 2, 1),
            simple((28, 28), (1, 8), 5, 1, 2),
            simple((14, 14), (8, 16), 5, 1, 0),
            simple((32, 32), (3, 16), 3, 1, 1),
            simple((40, 40), (20, 24), 3, 1, 1),
            ConvShape { groups: 37, ..simple((12, 11), (37, 37), 3, 1, 1) },
            ConvShape { groups: 32, ..simple((12, 11), (32, 32), 3, 2, 1) },
            ConvShape { groups: 2, ..simple((8, 9), (34, 36), 3, 1, 1) },
            ConvShape { pad: [3, 3, 3, 3], ..simple((20, 20), (3, 8), 7, 2, 3) },
        ]);
    }
    for shape in &shapes {
        for isa in Isa::available() {
            check_conv::<f32>(isa, shape, 1);
            check_conv::<f32>(isa, shape, 3);
        }
        check_conv::<f64>(Isa::best(), shape, 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
    #[test]
    fn any_convolution_matches_its_definition(
        size in (1usize..9, 1usize..9), c in (1usize..5, 1usize..5), k in (1usize..5, 1usize..5),
        stride in (1usize..4, 1usize..4), dilation in (1usize..4, 1usize..4), groups in 1usize..4,
        pad in [0usize..4, 0..4, 0..4, 0..4], circular in any::<bool>(), images in 1usize..3,
    ) {
        let shape = ConvShape {
            in_h: size.0, in_w: size.1, in_c: c.0 * groups, out_c: c.1 * groups, k_h: k.0, k_w: k.1,
            stride: [stride.0, stride.1], dilation: [dilation.0, dilation.1], groups, pad, circular,
        };
        for isa in Isa::available() {
            check_conv::<f32>(isa, &shape, images);
        }
    }

    #[test]
    fn backward_is_the_adjoint(stride in 1usize..3, groups in 1usize..3, pad in [0usize..3, 0..3, 0..3, 0..3], circular in any::<bool>()) {
        let shape = ConvShape { groups, pad, circular, ..ConvShape::simple((7, 6), (4, 6), 3, stride, 0) };
        let conv = Conv::new(shape.clone());
        let x: Vec<f64> = random(2 * shape.in_len(), 1);
        let (w, dy): (Vec<f64>, Vec<f64>) = (random(shape.weight_len(), 2), random(2 * shape.out_len(), 3));
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
        let scratch = &mut Vec::new();
        conv.forward(2, &x, &w, None, &mut y, false, scratch);
        conv.backward_data(2, &dy, &w, &mut dx, false, scratch);
        conv.backward_weight(2, &x, &dy, &mut dw, false, scratch);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let value = dot(&y, &dy);
        prop_assert!((value - dot(&x, &dx)).abs() < 1e-10 * (1.0 + value.abs()));
        prop_assert!((value - dot(&w, &dw)).abs() < 1e-10 * (1.0 + value.abs()));
    }
}

/// Values and two tangents, on the left, on the right and on both, against one product after the other.
fn check_planes<T: Scalar>(isa: Isa) {
    let simple = ConvShape::simple;
    for shape in [
        simple((7, 6), (4, 18), 3, 1, 1),
        simple((7, 6), (3, 5), 3, 2, 0),
        simple((9, 8), (8, 8), 3, 1, 1),
        simple((5, 4), (6, 7), 1, 1, 0),
        ConvShape { groups: 2, ..simple((5, 7), (4, 6), 3, 1, 1) },
        ConvShape { groups: 6, ..simple((6, 5), (6, 6), 3, 1, 1) },
        ConvShape { circular: true, ..simple((5, 6), (3, 4), 3, 1, 1) },
    ] {
        let (conv, images, scratch) = (Conv::with_isa(shape.clone(), isa), 2, &mut Vec::new());
        let (nx, ny, nw) = (images * shape.in_len(), images * shape.out_len(), shape.weight_len());
        let (x, w, dy): (Vec<T>, Vec<T>, Vec<T>) = (random(3 * nx, 1), random(3 * nw, 2), random(3 * ny, 3));
        let bias: Vec<T> = random(3 * shape.out_c, 4);
        for (left, right, acc) in
            [(1, 1, false), (3, 1, false), (1, 3, true), (3, 3, false), (3, 3, true), (2, 3, true)]
        {
            let planes = left.max(right);
            let filters: Vec<_> = (w.chunks(nw).zip(bias.chunks(shape.out_c)))
                .map(|(weight, bias)| Filter { weight, bias: Some(bias) })
                .take(right)
                .collect();
            let what = format!("{isa:?} {shape:?} {left} {right} {acc}");
            let products = (0..left).map(|l| (l, 0)).chain((1..right).map(|r| (0, r)));

            let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
            let clear = |v: &mut Vec<T>| {
                if !acc {
                    v.fill(T::ZERO)
                }
            };
            [&mut y, &mut dx, &mut dw].into_iter().for_each(clear);
            let (mut ours_y, mut ours_dx, mut ours_dw) = (dy.clone(), x.clone(), w.clone());
            for (l, r) in products {
                let (p, f) = (l + r, filters[r]);
                let (bias, to) = (f.bias.filter(|_| l == 0), &mut y[p * ny..][..ny]);
                conv.forward(images, &x[l * nx..], f.weight, bias, to, true, scratch);
                conv.backward_data(images, &dy[l * ny..], f.weight, &mut dx[p * nx..][..nx], true, scratch);
                let (x, dy, dw) = (&x[l * nx..], &dy[r * ny..], &mut dw[p * nw..][..nw]);
                conv.backward_weight(images, x, dy, dw, true, scratch);
            }
            conv.forward_planes(images, left, &x, &filters, &mut ours_y, acc, scratch);
            conv.backward_data_planes(images, left, &dy, &filters, &mut ours_dx, acc, scratch);
            assert_close(&ours_y[..planes * ny], &y[..planes * ny], &format!("forward {what}"));
            assert_close(&ours_dx[..planes * nx], &dx[..planes * nx], &format!("data {what}"));
            if left <= right {
                let mut dws: Vec<_> = ours_dw.chunks_mut(nw).take(right).collect();
                conv.backward_weight_planes(images, left, &x, &dy, &mut dws, acc, scratch);
                assert_close(&ours_dw[..right * nw], &dw[..right * nw], &format!("weight {what}"));
            }
        }
    }
}

#[test]
fn planes_are_sums_of_products() {
    Isa::available().into_iter().for_each(check_planes::<f32>);
    check_planes::<f64>(Isa::best());
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn images_do_not_see_each_other() {
    let shape = ConvShape::simple((11, 9), (16, 32), 3, 1, 1);
    let (conv, scratch) = (Conv::new(shape.clone()), &mut Vec::new());
    let (x, w): (Vec<f32>, Vec<f32>) = (random(5 * shape.in_len(), 1), random(shape.weight_len(), 2));
    let (mut all, mut one) = (vec![0.0; 5 * shape.out_len()], vec![0.0; shape.out_len()]);
    conv.forward(5, &x, &w, None, &mut all, false, scratch);
    conv.forward(1, &x[3 * shape.in_len()..], &w, None, &mut one, false, scratch);
    assert_eq!(one, all[3 * shape.out_len()..4 * shape.out_len()]);
}

#[test]
fn no_images_and_empty_outputs() {
    let shape = ConvShape::simple((2, 2), (3, 4), 5, 1, 0);
    assert_eq!((shape.out_h(), shape.out_w()), (0, 0));
    for (shape, images) in [(shape, 2), (ConvShape::simple((4, 4), (3, 4), 3, 1, 1), 0)] {
        let (conv, scratch) = (Conv::new(shape.clone()), &mut Vec::new());
        let w: Vec<f32> = random(shape.weight_len(), 1);
        let (x, mut dx, mut dw) =
            (vec![1.0; images * shape.in_len()], vec![1.0; images * shape.in_len()], w.clone());
        conv.forward(images, &x, &w, None, &mut [], false, scratch);
        conv.backward_data(images, &[], &w, &mut dx, false, scratch);
        conv.backward_weight(images, &x, &[], &mut dw, false, scratch);
        assert!(dx.iter().chain(&dw).all(|v| *v == 0.0));
    }
}
