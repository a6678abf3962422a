//! The two passes over the gradients, for one strip of columns that stays in the first-level
//! cache. Sums are in double precision and in a fixed order: sixteen lanes, then the lanes.

use half::bf16;
use pulp::Arch;

/// Columns of a strip.
pub(crate) const STRIP: usize = 2048;

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

/// `sums[k] = Σ_i g[k·d + i] x[i]`: the inner products of a strip of each row, `d` apart, with x.
pub(crate) fn dots<E: Element>(g: &[E], d: usize, x: &[f64], sums: &mut [f64]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = dot(&g[k * d..][..x.len()], x);
            }
        },
    );
}

#[inline(always)]
fn dot<E: Element>(g: &[E], x: &[f64]) -> f64 {
    let mut lanes = [0.0; 16];
    let ((g, g_rest), (x, x_rest)) = (g.as_chunks::<16>(), x.as_chunks::<16>());
    for (g, x) in g.iter().zip(x) {
        for i in 0..16 {
            lanes[i] += g[i].wide() * x[i];
        }
    }
    let rest: f64 = g_rest.iter().zip(x_rest).map(|(g, x)| g.wide() * x).sum();
    lanes.iter().sum::<f64>() + rest
}

/// `sums[i] = Σ_k c[k] g[k·d + i]`: a strip of the combination of the rows, `d` apart.
pub(crate) fn combine<E: Element>(g: &[E], d: usize, c: &[f64], sums: &mut [f64]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
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
        },
    );
}
