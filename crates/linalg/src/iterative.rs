//! Iterations that need products with a matrix and nothing else.

/// Moves `x` to the eigenvector of the largest absolute eigenvalue of a symmetric matrix, by power
/// iterations: `x` is scaled to length 1, then `products` times replaced by A x, `[n]`, of length 1.
/// `norm` gives ‖x‖; a vector of length 0 stays.
pub fn power_iteration(
    x: &mut Vec<f64>,
    products: usize,
    norm: impl Fn(&[f64]) -> f64,
    mut apply: impl FnMut(&[f64]) -> Vec<f64>,
) {
    let unit = |x: &mut [f64]| {
        let length = norm(x);
        x.iter_mut().for_each(|x| *x /= if length > 0.0 { length } else { 1.0 });
    };
    unit(x);
    for _ in 0..products {
        *x = apply(x);
        unit(x);
    }
}
