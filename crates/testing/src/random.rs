use faer::Mat;
use rand::Rng;
use thalweg_core::{Real, Seed, normal};
use thalweg_linalg::dense::{product, thin_q};

/// `n` standard normal numbers.
pub fn normals<T: Real>(rng: &mut impl Rng, n: usize) -> Vec<T> {
    let mut x = vec![T::ZERO; n];
    normal(rng, &mut x);
    x
}

/// A matrix of standard normal numbers.
pub fn gaussian(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let x: Vec<f64> = normals(&mut Seed(seed).stream("test", 0), rows * columns);
    Mat::from_fn(rows, columns, |i, j| x[i * columns + j])
}

/// A random orthogonal matrix.
pub fn orthogonal(n: usize, seed: u64) -> Mat<f64> {
    thin_q(gaussian(n, n, seed))
}

/// A symmetric positive definite matrix: the covariance of 3n samples without structure.
pub fn covariance(n: usize, seed: u64) -> Mat<f64> {
    let x = gaussian(3 * n, n, seed);
    let s = product(x.transpose(), &x);
    Mat::from_fn(n, n, |i, j| s[(i, j)] / (3 * n) as f64)
}

#[cfg(test)]
mod tests {
    use thalweg_linalg::dense::{cholesky, product};

    use super::{covariance, orthogonal};

    #[test]
    fn matrices_are_what_they_are_called() {
        let q = orthogonal(6, 3);
        let i = product(q.transpose(), &q);
        assert!((0..36).all(|k| (i[(k / 6, k % 6)] - f64::from(k / 6 == k % 6)).abs() < 1e-12));
        assert!(cholesky(covariance(6, 3)).is_some());
    }
}
