use rayon::prelude::*;

use super::plan::Plan;
use super::shape::ConvShape;
use crate::kernel::Scalar;
use crate::kernel::matmul::MIN_WORK;

/// Distances in the weight: between output channels, inner channels, groups of the correlation.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub out: usize,
    pub inner: usize,
    pub group: usize,
}

/// Weights as panels `[group][panel][inner][width]`, from a column on; beyond the last output channel
/// zeros.
pub(super) fn pack<T: Scalar>(
    plan: &Plan,
    s: &ConvShape,
    order: Order,
    w: &[T],
    out: &mut [T],
    width: usize,
    column: usize,
) {
    let (inner, panels) = (plan.inner(), plan.out_c.div_ceil(width));
    let pack = |(i, out): (usize, &mut [T])| {
        let (g, first) = (i / panels, i % panels * width);
        let n = width.min(plan.out_c - first);
        let mut rows = out.chunks_exact_mut(width);
        for (r, c) in plan.taps() {
            let from = g * order.group + first * order.out + r * s.k_w + c;
            for (i, row) in (0..plan.c).zip(&mut rows) {
                let (from, row) = (from + i * order.inner, &mut row[column..]);
                for j in 0..n {
                    row[j] = w[from + j * order.out];
                }
                row[n..].fill(T::ZERO);
            }
        }
    };
    let panel = (inner * width).max(1);
    if out.len() <= MIN_WORK / 16 {
        out.chunks_mut(panel).enumerate().for_each(pack);
    } else {
        out.par_chunks_mut(panel).enumerate().for_each(pack);
    }
}

/// Weights as `[tap][columns]`.
pub(super) fn pack_depthwise<T: Scalar>(plan: &Plan, s: &ConvShape, w: &[T], out: &mut [T], columns: usize) {
    for ((r, c), row) in plan.taps().zip(out.chunks_exact_mut(columns)) {
        for (j, v) in row.iter_mut().enumerate() {
            *v = if j < s.out_c { w[(j * s.k_h + r) * s.k_w + c] } else { T::ZERO };
        }
    }
}
