//! Loops over vectors, compiled for the machine's vector instructions at run time. Sums run in eight
//! interleaved parts, so that they are the same on every machine.

use thalweg_linalg::vector::{LANES, wide};

/// x ← x + α p and r ← r − α w; gives ‖r‖².
pub fn descend(alpha: f64, p: &[f64], w: &[f64], x: &mut [f64], r: &mut [f64]) -> f64 {
    let w = &w[..x.len()];
    wide(|| descend_along(alpha, p, |i| w[i], x, r))
}

/// x ← x + α p and r ← r − α (y + z); gives ‖r‖².
pub fn descend_split(alpha: f64, p: &[f64], y: &[f64], z: &[f64], x: &mut [f64], r: &mut [f64]) -> f64 {
    let (y, z) = (&y[..x.len()], &z[..x.len()]);
    wide(|| descend_along(alpha, p, |i| y[i] + z[i], x, r))
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

/// The largest magnitude; 0 of nothing.
pub fn largest(v: &[f64]) -> f64 {
    wide(
        #[inline(always)]
        || {
            let larger = |most: f64, v: f64| if v.abs() > most { v.abs() } else { most };
            let (whole, rest) = v.as_chunks::<LANES>();
            let mut most = [0.0; LANES];
            whole.iter().for_each(|v| (0..LANES).for_each(|l| most[l] = larger(most[l], v[l])));
            rest.iter().chain(&most).fold(0.0, |most, v| larger(most, *v))
        },
    )
}

/// ‖v‖ from its square as a loop has summed it; where that has over- or underflowed, from v again, in units of its
/// largest element.
pub fn length(squared: f64, v: &[f64]) -> f64 {
    if (1e-280..=1e300).contains(&squared) || squared.is_nan() {
        return squared.sqrt();
    }
    let unit = largest(v);
    if unit == 0.0 || unit.is_infinite() {
        return unit;
    }
    unit * v.iter().map(|v| (v / unit).powi(2)).sum::<f64>().sqrt()
}

/// v · 2^exponent, in two steps, since the factor itself may be beyond the numbers.
pub fn shift_exponent(v: f64, exponent: i32) -> f64 {
    let exponent = exponent.clamp(-2000, 2000);
    v * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
}
