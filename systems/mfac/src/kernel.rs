//! The two passes over the gradients, for one strip of columns whose sums stay in the cache. Sums
//! are in double precision and in a fixed order: by lanes, then the lanes in turn.

use std::array;

use half::bf16;
use pulp::{Arch, Simd, WithSimd};

/// Columns of a strip of a combination, whose sums stay in the cache.
pub(crate) const STRIP: usize = 8192;
/// Columns at most of a strip of inner products, whose sums are few: long streams.
pub(crate) const LONG_STRIP: usize = 4 * STRIP;
/// Partial sums of an inner product.
const LANES: usize = 8;

/// A number as it is stored.
pub(crate) trait Element: Copy + Send + Sync {
    /// The largest number that can be stored.
    const MOST: f64;
    fn wide(self) -> f64;
    fn narrow(x: f64) -> Self;
}

impl Element for f64 {
    const MOST: f64 = f64::MAX;
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    fn narrow(x: f64) -> Self {
        x
    }
}

impl Element for f32 {
    const MOST: f64 = f32::MAX as f64;
    #[inline(always)]
    fn wide(self) -> f64 {
        self.into()
    }
    fn narrow(x: f64) -> Self {
        x as f32
    }
}

impl Element for bf16 {
    const MOST: f64 = 3.389_531_389_251_535_5e38;
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
        let row = |k: usize| &g[k * d..][..x.len()];
        for (k, sums) in sums.chunks_mut(4).enumerate() {
            // Where fewer are left, the last stands in for the others.
            let last = sums.len() - 1;
            let dots = four_dots(array::from_fn(|r| row(4 * k + r.min(last))), x);
            sums.copy_from_slice(&dots[..=last]);
        }
    }
}

/// The inner products of four rows with x: several streams keep the memory busy, and partial sums of
/// this width stay in registers.
#[inline(always)]
fn four_dots<E: Element>(rows: [&[E]; 4], x: &[f64]) -> [f64; 4] {
    let [p, q, r, s] = rows.map(|row| row.as_chunks::<LANES>().0);
    let [mut a, mut b, mut c, mut d] = [[0.0; LANES]; 4];
    let (chunks, last) = x.as_chunks::<LANES>();
    for ((((x, p), q), r), s) in chunks.iter().zip(p).zip(q).zip(r).zip(s) {
        a = accumulate(a, p, x);
        b = accumulate(b, q, x);
        c = accumulate(c, r, x);
        d = accumulate(d, s, x);
    }
    let [a, b, c, d] = [a, b, c, d].map(|lanes| lanes.iter().sum::<f64>());
    let tail =
        rows.map(|row| row[x.len() - last.len()..].iter().zip(last).map(|(g, x)| g.wide() * x).sum::<f64>());
    [a + tail[0], b + tail[1], c + tail[2], d + tail[3]]
}

/// `sums + g x` by lanes, in steps that become one vector operation each.
#[inline(always)]
fn accumulate<E: Element>(sums: [f64; LANES], g: &[E; LANES], x: &[f64; LANES]) -> [f64; LANES] {
    let g: [f64; LANES] = array::from_fn(|l| g[l].wide());
    let products: [f64; LANES] = array::from_fn(|l| g[l] * x[l]);
    array::from_fn(|l| sums[l] + products[l])
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
        let (eights, rest) = c.as_chunks::<8>();
        let done = 8 * eights.len();
        sums.fill(0.0);
        for (k, c) in eights.iter().enumerate() {
            let rows: [&[E]; 8] = array::from_fn(|r| row(8 * k + r));
            for (i, sum) in sums.iter_mut().enumerate() {
                let mut part = 0.0;
                for r in 0..8 {
                    part += c[r] * rows[r][i].wide();
                }
                *sum += part;
            }
        }
        for (k, c) in (done..).zip(rest) {
            sums.iter_mut().zip(row(k)).for_each(|(sum, g)| *sum += c * g.wide());
        }
    }
}
