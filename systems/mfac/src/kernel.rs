//! The two passes over the gradients, for one strip of columns whose sums stay in the cache. Sums
//! are in double precision and in a fixed order: by lanes, then the lanes in turn.

use half::bf16;
use pulp::{Arch, Simd, WithSimd};

/// Columns of a strip.
pub(crate) const STRIP: usize = 4096;
/// Partial sums of an inner product.
const LANES: usize = 128;

/// A number as it is stored.
pub(crate) trait Element: Copy + Send + Sync {
    fn wide(self) -> f64;
    fn narrow(x: f64) -> Self;
}

impl Element for f64 {
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    fn narrow(x: f64) -> Self {
        x
    }
}

impl Element for f32 {
    #[inline(always)]
    fn wide(self) -> f64 {
        self.into()
    }
    fn narrow(x: f64) -> Self {
        x as f32
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn wide(self) -> f64 {
        f32::from_bits(u32::from(self.to_bits()) << 16).into()
    }
    fn narrow(x: f64) -> Self {
        Self::from_f64(x)
    }
}

/// Runs a loop compiled for the widest vectors that the machine has.
pub(crate) fn run(kernel: impl WithSimd<Output = ()>) {
    Arch::new().dispatch(kernel);
}

/// `sums[k] = Σ_i g[k·d + i] x[i]`: the inner products of a strip of each row, `d` apart, with x.
pub(crate) struct Dots<'a, E> {
    pub g: &'a [E],
    pub d: usize,
    pub x: &'a [f64],
    pub sums: &'a mut [f64],
}

impl<E: Element> WithSimd for Dots<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { g, d, x, sums } = self;
        for (k, sums) in sums.chunks_mut(4).enumerate() {
            dot(&g[4 * k * d..], d, x, sums);
        }
    }
}

/// Inner products of at most four rows: several streams at a time keep the memory busy. The inner
/// loop runs over the lanes, so that it becomes vector operations.
#[inline(always)]
fn dot<E: Element>(g: &[E], d: usize, x: &[f64], sums: &mut [f64]) {
    let mut lanes = [[0.0; LANES]; 4];
    for at in (0..x.len()).step_by(LANES) {
        let x = &x[at..(at + LANES).min(x.len())];
        for (r, lanes) in lanes[..sums.len()].iter_mut().enumerate() {
            let g = &g[r * d + at..][..x.len()];
            lanes.iter_mut().zip(g.iter().zip(x)).for_each(|(sum, (g, x))| *sum += g.wide() * x);
        }
    }
    sums.iter_mut().zip(&lanes).for_each(|(sum, lanes)| *sum = lanes.iter().sum());
}

/// `sums[i] = Σ_k c[k] g[k·d + i]`: a strip of the combination of the rows, `d` apart.
pub(crate) struct Combine<'a, E> {
    pub g: &'a [E],
    pub d: usize,
    pub c: &'a [f64],
    pub sums: &'a mut [f64],
}

impl<E: Element> WithSimd for Combine<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { g, d, c, sums } = self;
        let n = sums.len();
        let row = |k: usize| &g[k * d..][..n];
        let (fours, rest) = c.as_chunks::<4>();
        sums.fill(0.0);
        for (k, c) in fours.iter().enumerate() {
            let (p, q, r, s) = (row(4 * k), row(4 * k + 1), row(4 * k + 2), row(4 * k + 3));
            for i in 0..n {
                let (p, q) = (c[0] * p[i].wide(), c[1] * q[i].wide());
                let (r, s) = (c[2] * r[i].wide(), c[3] * s[i].wide());
                sums[i] += (p + q) + (r + s);
            }
        }
        for (k, c) in (4 * fours.len()..).zip(rest) {
            sums.iter_mut().zip(row(k)).for_each(|(sum, g)| *sum += c * g.wide());
        }
    }
}
