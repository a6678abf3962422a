use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

use super::simd::{Isa, Op, Simd};
use super::*;

/// Numbers in −1..1 from a seed.
fn random<T: Scalar>(len: usize, seed: u64) -> Vec<T> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| T::from_f64(rng.random_range(-1.0..1.0))).collect()
}

/// Largest difference, relative to the size of the numbers summed.
fn distance<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    let top = b.iter().map(|b| b.to_f64().abs()).fold(1.0, f64::max);
    a.iter().zip(b).map(|(a, b)| (a.to_f64() - b.to_f64()).abs()).fold(0.0, f64::max) / top
}

fn assert_close<T: Scalar>(a: &[T], b: &[T], what: &str) {
    let tolerance = if size_of::<T>() == 4 { 3e-5 } else { 1e-12 };
    let d = distance(a, b);
    assert!(d < tolerance, "{what}: off by {d:e}");
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a small pool")
}

/// Product of strided matrices, by definition.
fn naive_product<T: Scalar>(
    (m, n, k): (usize, usize, usize),
    a: impl Fn(usize, usize) -> T,
    b: impl Fn(usize, usize) -> T,
    mut c: impl FnMut(usize, usize, f64),
) {
    for i in 0..m {
        for j in 0..n {
            c(i, j, (0..k).map(|l| a(i, l).to_f64() * b(l, j).to_f64()).sum());
        }
    }
}

fn check_product<T: Scalar>(isa: Isa, (m, n, k): (usize, usize, usize)) {
    let (a, b, c0, bias): (Vec<T>, Vec<T>, Vec<T>, Vec<T>) =
        (random(m * k, 1), random(k * n, 2), random(m * n, 3), random(n, 4));
    for case in 0..16 {
        let [ta, tb, acc, biased] = [1, 2, 4, 8].map(|bit| case & bit != 0);
        let mut expected = c0.clone();
        naive_product(
            (m, n, k),
            |i, l| if ta { a[l * m + i] } else { a[i * k + l] },
            |l, j| if tb { b[j * k + l] } else { b[l * n + j] },
            |i, j, s| {
                let start = if acc { c0[i * n + j].to_f64() } else { 0.0 };
                expected[i * n + j] = T::from_f64(s + start + if biased { bias[j].to_f64() } else { 0.0 });
            },
        );
        let mut c = c0.clone();
        matmul::product(isa, (m, n, k), (&a, ta), (&b, tb), &mut c, acc, biased.then_some(&bias[..]));
        assert_close(&c, &expected, &format!("{isa:?} {m}x{n}x{k} ta {ta} tb {tb} acc {acc} bias {biased}"));
    }
}

#[test]
fn products_match_their_definition() {
    let sizes = [(1, 1, 1), (2, 3, 0), (5, 7, 3), (17, 33, 9), (24, 32, 20), (31, 16, 65), (100, 50, 300)];
    for isa in Isa::available() {
        for size in if cfg!(miri) { &sizes[..4] } else { &sizes[..] } {
            check_product::<f32>(isa, *size);
        }
    }
    check_product::<f64>(Isa::Portable, (13, 19, 7));
    check_product::<f64>(Isa::best(), (40, 9, 300));
}

#[test]
fn long_inner_dimensions_stay_accurate() {
    let k = if cfg!(miri) { 50 } else { 20_000 };
    for isa in Isa::available() {
        check_product::<f32>(isa, (3, 5, k));
    }
}

#[test]
fn batched_products_match_their_definition() {
    let (batches, m, n, k) = (3, 9, 21, 10);
    for isa in Isa::available() {
        for case in 0..8 {
            let [ta, tb, acc] = [1, 2, 4].map(|bit| case & bit != 0);
            let ((ra, ca), (rb, cb)) = (if ta { (k, m) } else { (m, k) }, if tb { (n, k) } else { (k, n) });
            let (lda, ldb, ldc) = (ca + 2, cb + 5, n + 3);
            let (sa, sb, sc) = (ra * lda + 1, rb * ldb, m * ldc);
            let (a, b, c0): (Vec<f32>, Vec<f32>, Vec<f32>) =
                (random(batches * sa, 1), random(batches * sb, 2), random(batches * sc, 3));
            let mut expected = c0.clone();
            for q in 0..batches {
                naive_product(
                    (m, n, k),
                    |i, l| a[q * sa + if ta { l * lda + i } else { i * lda + l }],
                    |l, j| b[q * sb + if tb { j * ldb + l } else { l * ldb + j }],
                    |i, j, s| {
                        let c = &mut expected[q * sc + i * ldc + j];
                        *c = (0.25 * s + if acc { *c as f64 } else { 0.0 }) as f32;
                    },
                );
            }
            let mut c = c0.clone();
            matmul::batched(
                isa,
                batches,
                (m, n, k),
                (&a, lda, sa, ta),
                (&b, ldb, sb, tb),
                (&mut c, ldc, sc),
                acc,
                0.25,
            );
            assert_close(&c, &expected, &format!("{isa:?} ta {ta} tb {tb} acc {acc}"));
        }
    }
}

impl ConvShape {
    fn simple(size: (usize, usize), c: (usize, usize), k: usize, stride: usize, pad: usize) -> Self {
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
    pub fn forward<T: Scalar>(
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
    pub fn backward_data<T: Scalar>(
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
    pub fn backward_weight<T: Scalar>(
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

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        pool(threads).install(|| {
            let mut bits = Vec::new();
            let mut keep = |v: &[f32]| bits.extend(v.iter().map(|v| v.to_bits()));
            let (m, n, k) = (130, 120, 333);
            let (a, b): (Vec<f32>, Vec<f32>) = (random(m * k, 1), random(k * n, 2));
            let mut c = vec![0.0; m * n];
            for (ta, tb) in [(false, true), (false, false), (true, false)] {
                matmul(m, n, k, &a, ta, &b, tb, &mut c, false);
                keep(&c);
            }
            let (a, b): (Vec<f32>, Vec<f32>) = (random(20_000 * 20, 1), random(20_000 * 16, 2));
            matmul(20, 16, 20_000, &a, true, &b, false, &mut c, false);
            keep(&c[..320]);
            let (q, s) = (64 * 16, 64 * 64);
            let (a, mut c) = (random::<f32>(70 * q, 1), vec![0.0; 70 * s]);
            batched_matmul(70, 64, 64, 16, &a, 16, q, false, &a, 16, q, true, &mut c, 64, s, false, 0.25);
            keep(&c);
            let simple = ConvShape::simple((20, 20), (16, 24), 3, 1, 1);
            let strided = ConvShape::simple((20, 20), (16, 24), 3, 2, 1);
            let depthwise = ConvShape { groups: 40, ..ConvShape::simple((20, 20), (40, 40), 3, 1, 1) };
            for shape in [simple, strided, depthwise, ConvShape::simple((20, 20), (16, 24), 1, 1, 0)] {
                let (conv, images, scratch) = (Conv::new(shape.clone()), 19, &mut Vec::new());
                let (x, dy): (Vec<f32>, Vec<f32>) =
                    (random(images * shape.in_len(), 1), random(images * shape.out_len(), 2));
                let w: Vec<f32> = random(shape.weight_len(), 3);
                let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
                conv.forward(images, &x, &w, None, &mut y, false, scratch);
                conv.backward_data(images, &dy, &w, &mut dx, false, scratch);
                conv.backward_weight(images, &x, &dy, &mut dw, false, scratch);
                [y, dx, dw].iter().for_each(|v| keep(v));
            }
            let sums = column_sums(&random::<f32>(5000 * 37, 8), 5000, 37);
            bits.extend(sums.iter().flat_map(|s| [s.to_bits() as u32, (s.to_bits() >> 32) as u32]));
            bits
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
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

#[test]
fn column_sums_match_their_definition() {
    for (rows, cols) in [(0, 3), (1, 1), (7, 5), (123, 33)] {
        let x: Vec<f32> = random(rows * cols, 1);
        let sums = column_sums(&x, rows, cols);
        assert_eq!(sums.len(), cols);
        for (j, sum) in sums.iter().enumerate() {
            let expected: f64 = (0..rows).map(|i| x[i * cols + j] as f64).sum();
            assert!((sum - expected).abs() < 1e-10);
        }
    }
}

#[test]
fn pieces_cover_everything_once() {
    for (len, chunk) in [(0, 4), (3, 4), (4, 4), (103, 10)] {
        let seen: Vec<_> = (0..len).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
        for_chunks(len, chunk, |range| {
            range.for_each(|i| {
                seen[i].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        });
        assert!(seen.into_iter().all(|n| n.into_inner() == 1));
    }
    let mut rows = vec![0.0f32; 7 * 3];
    par_rows(&mut rows, 3, 2, |first, piece| {
        piece.chunks_mut(3).enumerate().for_each(|(i, row)| row.fill((first + i) as f32));
    });
    assert!(rows.chunks(3).enumerate().all(|(i, row)| row.iter().all(|v| *v == i as f32)));
}

/// The basic operations of every instruction set.
struct Basics;
impl<T: Scalar> Op<T> for Basics {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd<T = T>>(self) {
        let x: Vec<T> = random(S::N * 6, 1);
        let mut y = vec![T::ZERO; S::N];
        // SAFETY: all accesses are to the `6·N` numbers of `x` or the `N` of `y`.
        unsafe {
            let (a, b) = (S::load(x.as_ptr()), S::load(x[S::N..].as_ptr()));
            S::store(y.as_mut_ptr(), S::fma(a, b, S::splat(T::ONE)));
            for i in 0..S::N {
                assert!((y[i].to_f64() - (x[i].to_f64() * x[S::N + i].to_f64() + 1.0)).abs() < 1e-6);
            }
            for n in 0..S::N {
                y.fill(T::ONE);
                S::store_part(y.as_mut_ptr(), S::load_part(x.as_ptr(), n), n);
                assert!((0..S::N).all(|i| y[i] == if i < n { x[i] } else { T::ONE }));
                S::store(y.as_mut_ptr(), S::load_part(x.as_ptr(), n));
                assert!((0..S::N).all(|i| y[i] == if i < n { x[i] } else { T::ZERO }));
            }
            for (c, v) in S::columns(x.as_ptr(), 6).into_iter().enumerate() {
                S::store(y.as_mut_ptr(), v);
                assert!((0..S::N).all(|r| y[r] == x[r * 6 + c]));
            }
            let sum: f64 = x[..S::N].iter().map(|x| x.to_f64()).sum();
            assert!((S::sum(a).to_f64() - sum).abs() < 1e-5);
        }
    }
}

#[test]
fn vectors_work_on_every_instruction_set() {
    for isa in Isa::available() {
        <f32 as Kernel>::run(isa, Basics);
    }
    <f64 as Kernel>::run(Isa::best(), Basics);
}

/// Distance in units in the last place, ∞ and NaN matching themselves only.
fn ulps(a: f32, b: f64) -> f64 {
    let nearest = b as f32;
    if a.is_nan() || b.is_nan() || a.is_infinite() || nearest.is_infinite() {
        return if a.to_bits() == nearest.to_bits() || (a.is_nan() && b.is_nan()) {
            0.0
        } else {
            f64::INFINITY
        };
    }
    let up = f32::from_bits(nearest.abs().to_bits() + 1);
    (a as f64 - b).abs() / (up as f64 - nearest.abs() as f64)
}

#[test]
fn elementary_functions_are_accurate() {
    let steps = if cfg!(miri) { 200 } else { 400_000 };
    let mut worst = [0.0f64; 5];
    let mut check = |x: f32| {
        let d = x as f64;
        let sigmoid = if d < 0.0 { d.exp() / (1.0 + d.exp()) } else { 1.0 / (1.0 + (-d).exp()) };
        let errors = [
            ulps(x.exp_fast(), d.exp()),
            ulps(x.ln_fast(), d.ln()),
            ulps(x.tanh_fast(), d.tanh()),
            ulps(x.sigmoid_fast(), sigmoid),
            if d.is_nan() {
                if x.erf_fast().is_nan() { 0.0 } else { 1.0 }
            } else {
                (x.erf_fast() as f64 - libm::erf(d)).abs()
            },
        ];
        for (w, e) in worst.iter_mut().zip(errors) {
            assert!(e < 4.0, "{errors:?} at {x:e}");
            *w = w.max(e);
        }
    };
    for i in 0..=steps {
        let u = i as f32 / steps as f32 * 2.0 - 1.0;
        [120.0 * u, 10.0 * u, u, 0.01 * u].into_iter().for_each(&mut check);
        check((88.0 * u).exp());
    }
    [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        0.0,
        -0.0,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-42,
        1e-45,
    ]
    .into_iter()
    .for_each(&mut check);
    println!("largest errors of exp, ln, tanh, sigmoid (ulp), erf (absolute): {worst:?}");
    assert!(worst[..4].iter().all(|e| *e < 2.5) && worst[4] < 2e-7, "{worst:?}");
}

#[test]
fn vectorised_loops_give_the_same_bits() {
    let x: Vec<f32> = random(1000, 1);
    let f = |x: f32| (x * 3.0 + 1.0).exp_fast() / (x.tanh_fast() * x - 7.0);
    let plain: Vec<f32> = x.iter().map(|x| f(*x)).collect();
    let mut fast = x.clone();
    vectorize(
        #[inline(always)]
        || fast.iter_mut().for_each(|x| *x = f(*x)),
    );
    assert_eq!(plain, fast);
}
