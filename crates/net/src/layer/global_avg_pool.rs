use rayon::prelude::*;

use super::shape::{cells, channels};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Operation, Place};
use crate::kernel::Scalar;
use crate::op;
use crate::planes::{Planes, PlanesMut, each_plane};

impl Operation for op::GlobalAvgPool {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        Ok(vec![channels(ins[0])])
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        let c = channels(at.x);
        Box::new(GlobalAvgPool { positions: cells(at.x) / c, c })
    }
}

/// Mean over all positions.
struct GlobalAvgPool {
    positions: usize,
    c: usize,
}

impl<T: Scalar> Layer<T> for GlobalAvgPool {
    fn forward(&self, _: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, _: &mut Cache<T>) {
        let share = T::from_f64(1.0 / self.positions as f64);
        each_plane(x[0], y, |x, y, _| {
            y.par_chunks_mut(self.c).zip(x.par_chunks(self.positions * self.c)).for_each(|(y, x)| {
                y.fill(T::ZERO);
                for row in x.chunks_exact(self.c) {
                    y.iter_mut().zip(row).for_each(|(y, x)| *y += *x);
                }
                y.iter_mut().for_each(|y| *y *= share);
            });
        });
    }
    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, _: &mut Cache<T>) {
        let share = T::from_f64(1.0 / self.positions as f64);
        let Some(dx) = &mut io.dx[0] else { return };
        each_plane(io.dy, dx, |dy, dx, add| {
            dx.par_chunks_mut(self.positions * self.c).zip(dy.par_chunks(self.c)).for_each(|(dx, dy)| {
                for row in dx.chunks_exact_mut(self.c) {
                    for (x, y) in row.iter_mut().zip(dy) {
                        *x = if add { *x + *y * share } else { *y * share };
                    }
                }
            });
        });
    }
}
