use crate::graph::{Node, Op};
use crate::kernel::{Scalar, column_sums};

/// What a preconditioner wants of one linear or convolutional layer, gathered during a backward
/// pass at a cost linear in the batch (MKOR, Eva).
#[derive(Clone, Debug, PartialEq)]
pub struct Tap {
    /// Name of the layer.
    pub layer: String,
    /// Mean input vector over the batch and all positions, in the order of a weight row: `[in]`,
    /// or the im2col mean `[in, kh, kw]`. For grouped convolutions the groups follow each other.
    pub input_mean: Vec<f64>,
    /// Sum of the output's cotangent over the batch and all positions: the gradient of the bias,
    /// whether the layer has one or not.
    pub output_grad: Vec<f64>,
}

impl Tap {
    pub(crate) fn gather<T: Scalar>(
        node: &Node,
        x_shape: &[usize],
        y_shape: &[usize],
        x: &[T],
        dy: &[T],
    ) -> Option<Self> {
        let (c, out) = (*x_shape.last()?, *y_shape.last()?);
        let input_mean = match &node.op {
            Op::Linear { .. } => {
                let rows = x.len() / c;
                column_sums(x, rows, c).into_iter().map(|s| s / rows as f64).collect()
            }
            Op::Conv2d { k, stride, pad, dilation, circular, .. } => {
                let place = [x_shape[0], x_shape[1], y_shape[0], y_shape[1]];
                im2col_mean(x, c, place, *k, *stride, [pad[0], pad[2]], *dilation, *circular)
            }
            Op::Conv1d { k, stride, pad, dilation, circular, .. } => {
                let place = [1, x_shape[0], 1, y_shape[0]];
                im2col_mean(x, c, place, [1, *k], [1, *stride], [0, pad[0]], [1, *dilation], *circular)
            }
            _ => return None,
        };
        Some(Self { layer: node.name.clone(), input_mean, output_grad: column_sums(dy, dy.len() / out, out) })
    }
}

/// Mean over images and output positions of each `(channel, kh, kw)` cell under the kernel: the
/// images are summed first, so that the windows are visited once.
fn im2col_mean<T: Scalar>(
    x: &[T],
    c: usize,
    [h, w, oh, ow]: [usize; 4],
    k: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    dilation: [usize; 2],
    circular: bool,
) -> Vec<f64> {
    let image = h * w * c;
    let images = x.len() / image;
    let sum = column_sums(x, images, image);
    let at = |o: usize, tap: usize, axis: usize, n: usize| {
        let i = (o * stride[axis] + tap * dilation[axis]) as isize - pad[axis] as isize;
        if circular {
            Some(i.rem_euclid(n as isize) as usize)
        } else {
            (0..n as isize).contains(&i).then_some(i as usize)
        }
    };
    let mut mean = vec![0.0; c * k[0] * k[1]];
    for a in 0..k[0] {
        for b in 0..k[1] {
            for i in (0..oh).filter_map(|o| at(o, a, 0, h)) {
                for j in (0..ow).filter_map(|o| at(o, b, 1, w)) {
                    for ch in 0..c {
                        mean[(ch * k[0] + a) * k[1] + b] += sum[(i * w + j) * c + ch];
                    }
                }
            }
        }
    }
    let n = (images * oh * ow) as f64;
    mean.iter_mut().for_each(|m| *m /= n);
    mean
}
