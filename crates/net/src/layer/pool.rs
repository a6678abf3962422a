use std::ops::Range;

use rayon::prelude::*;

use super::shape::{cells, fail, image, to3, windows};
use super::{AnyLayer, Cache, Cx, Grads, Io, Layer, Memory, Operation, Place};
use crate::kernel::{Scalar, vectorize};
use crate::op;
use crate::planes::{Planes, PlanesMut, each_plane};

impl Operation for op::MaxPool {
    fn numbers(&self) -> Vec<usize> {
        numbers(self.k, self.pad)
    }
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        shape(ins[0], self.k, self.stride, self.pad)
    }
    fn memory(&self, y: &[usize], _: usize) -> Memory {
        Memory { index: cells(y), ..Memory::default() }
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Pool::new(at, self.k, self.stride, self.pad, true))
    }
}

impl Operation for op::AvgPool {
    fn numbers(&self) -> Vec<usize> {
        numbers(self.k, self.pad)
    }
    fn shape(&self, ins: &[&[usize]]) -> Result<Vec<usize>, String> {
        shape(ins[0], self.k, self.stride, self.pad)
    }
    fn build(&self, at: &Place<'_>) -> Box<dyn AnyLayer> {
        Box::new(Pool::new(at, self.k, self.stride, self.pad, false))
    }
}

fn numbers(k: [usize; 2], pad: [usize; 4]) -> Vec<usize> {
    k.into_iter().chain(pad).collect()
}

fn shape(
    x: &[usize],
    k: [usize; 2],
    stride: Option<[usize; 2]>,
    pad: [usize; 4],
) -> Result<Vec<usize>, String> {
    let ([h, w, c], s) = (image(x)?, stride.unwrap_or(k));
    if pad[0].max(pad[1]) >= k[0] || pad[2].max(pad[3]) >= k[1] {
        return fail("its padding is as large as the window; pad less");
    }
    let h = windows(h, k[0], s[0], pad[0] + pad[1], 1)?;
    Ok(vec![h, windows(w, k[1], s[1], pad[2] + pad[3], 1)?, c])
}

/// Maximum or mean over windows of an image.
struct Pool {
    x: [usize; 3],
    y: [usize; 3],
    k: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 4],
    max: bool,
}

impl Pool {
    fn new(at: &Place<'_>, k: [usize; 2], stride: Option<[usize; 2]>, pad: [usize; 4], max: bool) -> Self {
        Self { x: to3(at.x), y: to3(at.y), k, stride: stride.unwrap_or(k), pad, max }
    }

    /// Rows and columns of the input under the window of output pixel `(i, j)`.
    #[inline(always)]
    fn clips(&self, i: usize, j: usize) -> [Range<usize>; 2] {
        [
            clip(i * self.stride[0], self.k[0], self.pad[0], self.x[0]),
            clip(j * self.stride[1], self.k[1], self.pad[2], self.x[1]),
        ]
    }

    /// Input pixels under the window of output pixel `(i, j)`.
    fn window(&self, i: usize, j: usize) -> impl Iterator<Item = usize> + '_ {
        let [rows, cols] = self.clips(i, j);
        rows.flat_map(move |a| cols.clone().map(move |b| a * self.x[1] + b))
    }

    /// The largest number of each window and where it lies in the image; the first one wins ties, and
    /// a NaN wins and stays, so that it is seen at the output.
    #[inline(always)]
    fn winners<T: Scalar>(&self, x: &[T], y: &mut [T], index: &mut [u32]) {
        const LANES: usize = 8;
        let c = self.x[2];
        for i in 0..self.y[0] {
            for j in 0..self.y[1] {
                let (o, clips) = ((i * self.y[1] + j) * c, self.clips(i, j));
                let (y, index) = (&mut y[o..o + c], &mut index[o..o + c]);
                let whole = c - c % LANES;
                for ch in (0..whole).step_by(LANES) {
                    let (y, index) = (&mut y[ch..ch + LANES], &mut index[ch..ch + LANES]);
                    self.best::<T, LANES>(&clips, x, ch, y, index);
                }
                for ch in whole..c {
                    self.best::<T, 1>(&clips, x, ch, &mut y[ch..ch + 1], &mut index[ch..ch + 1]);
                }
            }
        }
    }

    /// [`Pool::winners`] in one window for `N` channels from `ch`.
    #[inline(always)]
    fn best<T: Scalar, const N: usize>(
        &self,
        [rows, cols]: &[Range<usize>; 2],
        x: &[T],
        ch: usize,
        y: &mut [T],
        index: &mut [u32],
    ) {
        let (mut best, mut at, mut first) = ([T::ZERO; N], [0; N], true);
        for a in rows.clone() {
            for b in cols.clone() {
                let from = (a * self.x[1] + b) * self.x[2] + ch;
                let x = &x[from..from + N];
                for l in 0..N {
                    #[allow(clippy::eq_op, reason = "only a NaN differs from itself")]
                    let wins = first | (x[l] > best[l]) | (x[l] != x[l]);
                    best[l] = if wins { x[l] } else { best[l] };
                    at[l] = if wins { from as u32 + l as u32 } else { at[l] };
                }
                first = false;
            }
        }
        y.copy_from_slice(&best);
        index.copy_from_slice(&at);
    }

    fn pixels(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let ow = self.y[1];
        (0..self.y[0]).flat_map(move |i| (0..ow).map(move |j| (i, j, i * ow + j)))
    }
}

/// The part of a window that starts at `at − pad` and lies on the axis.
#[inline(always)]
fn clip(at: usize, k: usize, pad: usize, n: usize) -> Range<usize> {
    at.saturating_sub(pad)..(at + k).saturating_sub(pad).min(n)
}

impl<T: Scalar> Layer<T> for Pool {
    fn forward(&self, _: &Cx<'_, T>, x: &[Planes<'_, T>], y: &mut PlanesMut<'_, T>, cache: &mut Cache<T>) {
        let (nx, ny, c): (usize, usize, _) = (self.x.iter().product(), self.y.iter().product(), self.x[2]);
        if !self.max {
            let share = T::from_f64(1.0 / (self.k[0] * self.k[1]) as f64);
            return each_plane(x[0], y, |x, y, _| {
                y.par_chunks_mut(ny).zip(x.par_chunks(nx)).for_each(|(y, x)| {
                    y.fill(T::ZERO);
                    for (i, j, o) in self.pixels() {
                        for q in self.window(i, j) {
                            let (y, x) = (&mut y[o * c..(o + 1) * c], &x[q * c..(q + 1) * c]);
                            y.iter_mut().zip(x).for_each(|(y, x)| *y += *x * share);
                        }
                    }
                });
            });
        }
        cache.index.resize(y.len, 0);
        let (x, index) = (x[0], &mut cache.index);
        let value = y.value();
        value.par_chunks_mut(ny).zip(index.par_chunks_mut(ny)).zip(x.value().par_chunks(nx)).for_each(
            |((y, index), x)| {
                vectorize(
                    #[inline(always)]
                    || self.winners(x, y, index),
                );
            },
        );
        if y.has_tangents() {
            for p in 0..y.count() - 1 {
                let t = y.tangent(p);
                match x.tangent(p) {
                    None => t.fill(T::ZERO),
                    Some(xt) => {
                        t.par_chunks_mut(ny).zip(index.par_chunks(ny)).zip(xt.par_chunks(nx)).for_each(
                            |((t, index), x)| t.iter_mut().zip(index).for_each(|(t, &i)| *t = x[i as usize]),
                        )
                    }
                }
            }
        }
    }

    fn backward(&self, _: &Cx<'_, T>, io: Io<'_, '_, T>, _: Option<&mut Grads<'_, T>>, cache: &mut Cache<T>) {
        let (nx, ny, c): (usize, usize, _) = (self.x.iter().product(), self.y.iter().product(), self.x[2]);
        let share = T::from_f64(1.0 / (self.k[0] * self.k[1]) as f64);
        let Some(dx) = &mut io.dx[0] else { return };
        let index = &cache.index;
        each_plane(io.dy, dx, |dy, dx, add| {
            dx.par_chunks_mut(nx).zip(dy.par_chunks(ny)).enumerate().for_each(|(n, (dx, dy))| {
                if !add {
                    dx.fill(T::ZERO);
                }
                if self.max {
                    index[n * ny..(n + 1) * ny].iter().zip(dy).for_each(|(&i, d)| dx[i as usize] += *d);
                    return;
                }
                for (i, j, o) in self.pixels() {
                    for q in self.window(i, j) {
                        let (dx, dy) = (&mut dx[q * c..(q + 1) * c], &dy[o * c..(o + 1) * c]);
                        dx.iter_mut().zip(dy).for_each(|(x, y)| *x += *y * share);
                    }
                }
            });
        });
    }
}
