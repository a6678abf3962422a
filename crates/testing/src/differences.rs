//! Central differences, of second order in the step.

/// x + step · v.
pub fn moved(x: &[f64], v: &[f64], step: f64) -> Vec<f64> {
    x.iter().zip(v).map(|(x, v)| x + step * v).collect()
}

/// vᵀ∇f(x).
pub fn slope(mut f: impl FnMut(&[f64]) -> f64, x: &[f64], v: &[f64], step: f64) -> f64 {
    (f(&moved(x, v, step)) - f(&moved(x, v, -step))) / (2.0 * step)
}

/// ∇f(x).
pub fn gradient(mut f: impl FnMut(&[f64]) -> f64, x: &[f64], step: f64) -> Vec<f64> {
    let mut at = x.to_vec();
    let mut partial = |i: usize| {
        let [ahead, behind] = [step, -step].map(|h| {
            at[i] = x[i] + h;
            f(&at)
        });
        at[i] = x[i];
        (ahead - behind) / (2.0 * step)
    };
    (0..x.len()).map(&mut partial).collect()
}

/// The product of v with the Jacobian of `g` at x: a Hessian-vector product if `g` is a gradient.
pub fn product(mut g: impl FnMut(&[f64]) -> Vec<f64>, x: &[f64], v: &[f64], step: f64) -> Vec<f64> {
    let (ahead, behind) = (g(&moved(x, v, step)), g(&moved(x, v, -step)));
    ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * step)).collect()
}

#[cfg(test)]
mod tests {
    use super::{gradient, product, slope};
    use crate::close;

    #[test]
    fn differences_of_a_cubic() {
        let f = |x: &[f64]| x[0].powi(3) + x[0] * x[1] * x[1];
        let g = |x: &[f64]| vec![3.0 * x[0] * x[0] + x[1] * x[1], 2.0 * x[0] * x[1]];
        let (x, v) = ([0.7, -1.3], [2.0, 0.5]);
        close(&gradient(f, &x, 1e-5), &g(&x), 1e-9);
        close(&[slope(f, &x, &v, 1e-5)], &[2.0 * g(&x)[0] + 0.5 * g(&x)[1]], 1e-9);
        // H = (6x₀, 2x₁; 2x₁, 2x₀).
        close(&product(g, &x, &v, 1e-5), &[4.2 * 2.0 - 2.6 * 0.5, -2.6 * 2.0 + 1.4 * 0.5], 1e-9);
    }
}
