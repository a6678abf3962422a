use rayon::prelude::*;

use super::shape::{cells, channels};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Place};
use crate::kernel::Scalar;
use crate::op;
use crate::planes::{Planes, PlanesMut, each_plane};

impl Operation for op::Flatten {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        Ok(vec![cells(ins[0])])
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        let c = channels(at.x);
        Box::new(Flatten { positions: cells(at.x) / c, c })
    }
}

/// `[positions, c]` to `[c · positions]`: PyTorch's order, channel outermost.
struct Flatten {
    positions: usize,
    c: usize,
}

fn transpose<T: Scalar>(rows: usize, cols: usize, x: &[T], y: &mut [T], add: bool) {
    y.par_chunks_mut(rows * cols).zip(x.par_chunks(rows * cols)).for_each(|(y, x)| {
        for j in 0..cols {
            for i in 0..rows {
                let out = &mut y[j * rows + i];
                *out = if add { *out + x[i * cols + j] } else { x[i * cols + j] };
            }
        }
    });
}

impl<T: Scalar> Layer<T> for Flatten {
    fn forward(&self, _: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        each_plane(x[0], y, |x, y, add| transpose(self.positions, self.c, x, y, add));
    }
    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, _: &mut Cache<T>) {
        if let Some(dx) = &mut io.dx[0] {
            each_plane(io.dy, dx, |dy, dx, add| transpose(self.c, self.positions, dy, dx, add));
        }
    }
}
