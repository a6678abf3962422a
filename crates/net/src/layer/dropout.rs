use rand::Rng;
use thalweg_core::Seed;

use super::shape::{cells, fail};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Memory, Mode, Operation, Place};
use crate::kernel::Scalar;
use crate::op;
use crate::planes::{Planes, PlanesMut, each_plane};

impl Operation for op::Dropout {
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        if !(0.0..1.0).contains(&self.p) {
            return fail(format!("p = {}; use a probability in [0, 1)", self.p));
        }
        Ok(ins[0].to_vec())
    }
    fn memory(&self, y: &[usize], _: usize) -> Memory {
        Memory { saved: cells(y), ..Memory::default() }
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Dropout { p: self.p, layer: at.node })
    }
}

/// Zeroes each value with probability `p` and scales the rest by `1/(1 − p)`.
struct Dropout {
    p: f64,
    layer: usize,
}

impl<T: Scalar> Layer<T> for Dropout {
    fn forward(&self, cx: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, cache: &mut Cache<T>) {
        cache.saved.resize(y.len, T::ONE);
        match cx.mode {
            Mode::Eval => cache.saved.fill(T::ONE),
            Mode::Train { seed, step } => {
                let mut rng = Seed(seed.0 ^ (self.layer as u64) << 48).stream("dropout", step);
                let keep = T::from_f64(1.0 / (1.0 - self.p));
                let limit = (self.p * 4_294_967_296.0) as u64;
                for m in &mut cache.saved {
                    *m = if u64::from(rng.next_u32()) < limit { T::ZERO } else { keep };
                }
            }
        }
        each_plane(x[0], y, |x, y, _| {
            for i in 0..y.len() {
                y[i] = x[i] * cache.saved[i];
            }
        });
    }
    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, cache: &mut Cache<T>) {
        if let Some(dx) = &mut io.dx[0] {
            each_plane(io.dy, dx, |dy, dx, add| {
                for i in 0..dx.len() {
                    let d = dy[i] * cache.saved[i];
                    dx[i] = if add { dx[i] + d } else { d };
                }
            });
        }
    }
}
