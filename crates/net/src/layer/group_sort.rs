use super::shape::{cells, channels, fail};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Memory, Operation, Place};
use crate::kernel::Scalar;
use crate::op;
use crate::planes::{Planes, PlanesMut, each_plane};

impl Operation for op::GroupSort {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        let (size, c) = (self.size, channels(ins[0]));
        if size > 0 && !c.is_multiple_of(size) {
            return fail(format!("group size {size} does not divide {c} channels"));
        }
        Ok(ins[0].to_vec())
    }
    fn memory(&self, y: &[usize], _: usize) -> Memory {
        Memory { index: cells(y), ..Memory::default() }
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(GroupSort { size: if self.size == 0 { channels(at.x) } else { self.size } })
    }
}

/// Sorts groups of neighbouring channels, ascending: a locally constant permutation.
struct GroupSort {
    size: usize,
}

impl<T: Scalar> Layer<T> for GroupSort {
    fn forward(&self, _: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, cache: &mut Cache<T>) {
        let value = x[0].value();
        cache.index.clear();
        cache.index.extend(0..value.len() as u32);
        for group in cache.index.chunks_exact_mut(self.size) {
            group.sort_by(|&a, &b| value[a as usize].to_f64().total_cmp(&value[b as usize].to_f64()));
        }
        each_plane(x[0], y, |x, y, _| y.iter_mut().zip(&cache.index).for_each(|(y, &i)| *y = x[i as usize]));
    }
    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, cache: &mut Cache<T>) {
        if let Some(dx) = &mut io.dx[0] {
            each_plane(io.dy, dx, |dy, dx, add| {
                for (d, &i) in dy.iter().zip(&cache.index) {
                    let x = &mut dx[i as usize];
                    *x = if add { *x + *d } else { *d };
                }
            });
        }
    }
}
