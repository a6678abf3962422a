use thalweg_core::{LayerStats, SecondMoments};

use crate::graph::Op;
use crate::kernel::{Scalar, column_sums, matmul};

/// What the backward passes of a [`crate::Pass`] gather of linear and convolutional layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gather {
    /// Nothing.
    #[default]
    Nothing,
    /// The means, at a cost linear in the batch.
    Means,
    /// The means and second moments.
    Moments,
}

/// Numbers of a buffer of unfolded inputs, about: a block of rows stays in the cache.
const UNFOLDED: usize = 1 << 18;

/// The statistics of a layer; none if it is not a linear map with a weight. `weight` and `bias` are
/// left for the caller.
pub(crate) fn layer_stats<T: Scalar>(
    op: &Op,
    x_shape: &[usize],
    y_shape: &[usize],
    x: &[T],
    dy: &[T],
    gather: Gather,
) -> Option<LayerStats> {
    let out = *y_shape.last()?;
    let rows = dy.len() / out;
    let windows = Windows::of(op, x_shape, y_shape);
    let (groups, positions) = match (op, &windows) {
        (_, Some(w)) => (w.groups, w.out[0] * w.out[1]),
        (Op::Linear { .. }, _) => (1, 1),
        _ => return None,
    };
    if gather == Gather::Nothing {
        return None;
    }
    let input_mean = match &windows {
        None => scaled(column_sums(x, rows, x.len() / rows), rows),
        Some(w) => w.mean(x),
    };
    let moments = (gather == Gather::Moments).then(|| {
        let output = (0..groups).flat_map(|g| gram(&columns(dy, rows, out, groups, g), out / groups));
        let output = output.map(T::to_f64).collect();
        let input = match &windows {
            None => gram(x, x.len() / rows).into_iter().map(T::to_f64).collect(),
            Some(w) => (0..groups).flat_map(|g| w.gram(x, g)).map(T::to_f64).collect(),
        };
        SecondMoments { input: scaled(input, rows), output }
    });
    let output_grad = column_sums(dy, rows, out);
    Some(LayerStats { weight: 0, bias: None, groups, positions, rows, input_mean, output_grad, moments })
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

/// The windows that a convolution sees of channels-last images.
struct Windows {
    input: [usize; 3],
    out: [usize; 2],
    k: [usize; 2],
    stride: [usize; 2],
    /// Before the first row and column.
    pad: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
    circular: bool,
}

impl Windows {
    fn of(op: &Op, x: &[usize], y: &[usize]) -> Option<Self> {
        Some(match op {
            Op::Conv2d { k, stride, pad, dilation, groups, circular, .. } => Self {
                input: [x[0], x[1], x[2]],
                out: [y[0], y[1]],
                k: *k,
                stride: *stride,
                pad: [pad[0], pad[2]],
                dilation: *dilation,
                groups: *groups,
                circular: *circular,
            },
            Op::Conv1d { k, stride, pad, dilation, groups, circular, .. } => Self {
                input: [1, x[0], x[1]],
                out: [1, y[0]],
                k: [1, *k],
                stride: [1, *stride],
                pad: [0, pad[0]],
                dilation: [1, *dilation],
                groups: *groups,
                circular: *circular,
            },
            _ => return None,
        })
    }

    /// Where tap `t` of output `o` reads along an axis, if it does not read padding.
    fn source(&self, axis: usize, o: usize, t: usize) -> Option<usize> {
        let (i, n) = (o * self.stride[axis] + t * self.dilation[axis], self.input[axis]);
        if self.circular {
            return Some((i + n * self.pad[axis] - self.pad[axis]) % n);
        }
        i.checked_sub(self.pad[axis]).filter(|&i| i < n)
    }

    /// Mean over images and positions of each `(channel, kh, kw)` cell under the kernel: the images
    /// are summed first, so that the windows are visited once.
    fn mean<T: Scalar>(&self, x: &[T]) -> Vec<f64> {
        let ([h, w, c], [kh, kw]) = (self.input, self.k);
        let images = x.len() / (h * w * c);
        let sum = column_sums(x, images, h * w * c);
        let mut mean = vec![0.0; c * kh * kw];
        for (a, b) in (0..kh).flat_map(|a| (0..kw).map(move |b| (a, b))) {
            for i in (0..self.out[0]).filter_map(|o| self.source(0, o, a)) {
                for j in (0..self.out[1]).filter_map(|o| self.source(1, o, b)) {
                    for ch in 0..c {
                        mean[(ch * kh + a) * kw + b] += sum[(i * w + j) * c + ch];
                    }
                }
            }
        }
        scaled(mean, images * self.out[0] * self.out[1])
    }

    /// `AᵀA` of a group's unfolded inputs, some images at a time.
    fn gram<T: Scalar>(&self, x: &[T], group: usize) -> Vec<T> {
        let ([h, w, c], [kh, kw], [oh, ow]) = (self.input, self.k, self.out);
        let channels = c / self.groups;
        let (taps, n) = (kh * kw, channels * kh * kw);
        let mut gram = vec![T::ZERO; n * n];
        let at_once = (UNFOLDED / (oh * ow * n)).max(1) * h * w * c;
        for some in x.chunks(at_once) {
            let rows = some.len() / (h * w * c) * oh * ow;
            let mut unfolded = vec![T::ZERO; rows * n];
            for (r, row) in unfolded.chunks_exact_mut(n).enumerate() {
                let (image, i, j) = (r / (oh * ow), r / ow % oh, r % ow);
                for a in 0..kh {
                    let Some(y) = self.source(0, i, a) else { continue };
                    for b in 0..kw {
                        let Some(z) = self.source(1, j, b) else { continue };
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
}
