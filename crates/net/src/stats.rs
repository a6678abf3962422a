use thalweg_core::{LayerStats, SecondMoments};

use crate::kernel::{ConvShape, Scalar, column_sums, matmul};
use crate::layer::LinearMap;

/// What the backward passes of a [`crate::Pass`] gather of linear and convolutional layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gather {
    /// No statistics.
    #[default]
    Nothing,
    /// The means, at a cost linear in the batch.
    Means,
    /// The means and second moments.
    Moments,
}

/// Numbers of a buffer of unfolded inputs, about: a block of rows stays in the cache.
const UNFOLDED: usize = 1 << 18;

/// The statistics of a linear layer of `out` output channels. `weight` and `bias` are left for the
/// caller.
pub(crate) fn layer_stats<T: Scalar>(
    map: LinearMap<'_>,
    out: usize,
    x: &[T],
    dy: &[T],
    gather: Gather,
) -> LayerStats {
    let rows = dy.len() / out;
    let (groups, positions) = match map {
        LinearMap::Rows => (1, 1),
        LinearMap::Windows(s) => (s.groups, s.out_h() * s.out_w()),
    };
    let input_mean = match map {
        LinearMap::Rows => scaled(column_sums(x, rows, x.len() / rows), rows),
        LinearMap::Windows(s) => window_mean(s, x),
    };
    let moments = (gather == Gather::Moments).then(|| {
        let output = (0..groups).flat_map(|g| gram(&columns(dy, rows, out, groups, g), out / groups));
        let output = output.map(T::to_f64).collect();
        let input = match map {
            LinearMap::Rows => gram(x, x.len() / rows).into_iter().map(T::to_f64).collect(),
            LinearMap::Windows(s) => (0..groups).flat_map(|g| window_gram(s, x, g)).map(T::to_f64).collect(),
        };
        SecondMoments { input: scaled(input, rows), output }
    });
    let output_grad = column_sums(dy, rows, out);
    LayerStats { weight: 0, bias: None, groups, positions, rows, input_mean, output_grad, moments }
}

fn scaled(mut sums: Vec<f64>, n: usize) -> Vec<f64> {
    sums.iter_mut().for_each(|s| *s /= n as f64);
    sums
}

/// `XᵀX` of rows of width `n`.
fn gram<T: Scalar>(x: &[T], n: usize) -> Vec<T> {
    let mut gram = vec![T::ZERO; n * n];
    matmul(n, n, x.len() / n, x, true, x, false, &mut gram, false);
    gram
}

/// The columns of a group, as a matrix of its own.
fn columns<T: Scalar>(x: &[T], rows: usize, width: usize, groups: usize, group: usize) -> Vec<T> {
    let (n, first) = (width / groups, group * (width / groups));
    (0..rows).flat_map(|i| &x[i * width + first..][..n]).copied().collect()
}

/// Where tap `t` of output `o` of a convolution reads along an axis, if it does not read padding.
fn source(s: &ConvShape, axis: usize, o: usize, t: usize) -> Option<usize> {
    let (n, pad) = ([s.in_h, s.in_w][axis], s.pad[2 * axis]);
    let i = o * s.stride[axis] + t * s.dilation[axis];
    if s.circular {
        return Some((i + n * pad - pad) % n);
    }
    i.checked_sub(pad).filter(|&i| i < n)
}

/// Mean over images and positions of each `(channel, kh, kw)` cell under the kernel: the images
/// are summed first, so that the windows are visited once.
fn window_mean<T: Scalar>(s: &ConvShape, x: &[T]) -> Vec<f64> {
    let ([h, w, c], [kh, kw]) = ([s.in_h, s.in_w, s.in_c], [s.k_h, s.k_w]);
    let images = x.len() / (h * w * c);
    let sum = column_sums(x, images, h * w * c);
    let mut mean = vec![0.0; c * kh * kw];
    for (a, b) in (0..kh).flat_map(|a| (0..kw).map(move |b| (a, b))) {
        for i in (0..s.out_h()).filter_map(|o| source(s, 0, o, a)) {
            for j in (0..s.out_w()).filter_map(|o| source(s, 1, o, b)) {
                for ch in 0..c {
                    mean[(ch * kh + a) * kw + b] += sum[(i * w + j) * c + ch];
                }
            }
        }
    }
    scaled(mean, images * s.out_h() * s.out_w())
}

/// `AᵀA` of a group's unfolded inputs, some images at a time.
fn window_gram<T: Scalar>(s: &ConvShape, x: &[T], group: usize) -> Vec<T> {
    let ([h, w, c], [kh, kw]) = ([s.in_h, s.in_w, s.in_c], [s.k_h, s.k_w]);
    let (oh, ow) = (s.out_h(), s.out_w());
    let channels = c / s.groups;
    let (taps, n) = (kh * kw, channels * kh * kw);
    let mut gram = vec![T::ZERO; n * n];
    let at_once = (UNFOLDED / (oh * ow * n)).max(1) * h * w * c;
    for some in x.chunks(at_once) {
        let rows = some.len() / (h * w * c) * oh * ow;
        let mut unfolded = vec![T::ZERO; rows * n];
        for (r, row) in unfolded.chunks_exact_mut(n).enumerate() {
            let (image, i, j) = (r / (oh * ow), r / ow % oh, r % ow);
            for a in 0..kh {
                let Some(y) = source(s, 0, i, a) else { continue };
                for b in 0..kw {
                    let Some(z) = source(s, 1, j, b) else { continue };
                    let cell = &some[((image * h + y) * w + z) * c + group * channels..][..channels];
                    for (ch, v) in cell.iter().enumerate() {
                        row[ch * taps + a * kw + b] = *v;
                    }
                }
            }
        }
        matmul(n, n, rows, &unfolded, true, &unfolded, false, &mut gram, true);
    }
    gram
}
