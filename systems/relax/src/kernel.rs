//! Loops over vectors, compiled for the machine's vector instructions at run time. Sums run in eight
//! interleaved parts, so that they are the same on every machine.

use pulp::Arch;

/// Partial sums of a reduction.
pub const LANES: usize = 8;

/// Runs a loop with the widest vector instructions that the machine has.
pub fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(f)
}

/// Adds `f(a, b)` of all elements to the partial sums.
#[inline(always)]
pub fn accumulate(sums: &mut [f64; LANES], a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) {
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut a).zip(&mut b) {
        for l in 0..LANES {
            sums[l] += f(a[l], b[l]);
        }
    }
    for (l, (a, b)) in a.remainder().iter().zip(b.remainder()).enumerate() {
        sums[l] += f(*a, *b);
    }
}

/// Σ aᵢ bᵢ.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    vectorised(|| {
        let mut sums = [0.0; LANES];
        accumulate(&mut sums, a, b, |a, b| a * b);
        sums.iter().sum()
    })
}

/// y ← a x + b y.
pub fn combine(a: f64, x: &[f64], b: f64, y: &mut [f64]) {
    vectorised(|| {
        for (y, x) in y.iter_mut().zip(x) {
            *y = a * x + b * *y;
        }
    });
}

/// x ← x + α p and r ← r − α w; gives ‖r‖².
pub fn descend(alpha: f64, p: &[f64], w: &[f64], x: &mut [f64], r: &mut [f64]) -> f64 {
    let w = &w[..x.len()];
    vectorised(|| descend_along(alpha, p, |i| w[i], x, r))
}

/// x ← x + α p and r ← r − α (y + z); gives ‖r‖².
pub fn descend_split(alpha: f64, p: &[f64], y: &[f64], z: &[f64], x: &mut [f64], r: &mut [f64]) -> f64 {
    let (y, z) = (&y[..x.len()], &z[..x.len()]);
    vectorised(|| descend_along(alpha, p, |i| y[i] + z[i], x, r))
}

#[inline(always)]
fn descend_along(alpha: f64, p: &[f64], w: impl Fn(usize) -> f64, x: &mut [f64], r: &mut [f64]) -> f64 {
    let n = x.len();
    let (p, r) = (&p[..n], &mut r[..n]);
    let mut sums = [0.0; LANES];
    let whole = n - n % LANES;
    let mut step = |i: usize, l: usize| {
        x[i] += alpha * p[i];
        r[i] -= alpha * w(i);
        sums[l] += r[i] * r[i];
    };
    for c in (0..whole).step_by(LANES) {
        for l in 0..LANES {
            step(c + l, l);
        }
    }
    for i in whole..n {
        step(i, i - whole);
    }
    sums.iter().sum()
}
