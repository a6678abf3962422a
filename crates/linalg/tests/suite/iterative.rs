//! Iterations against decompositions.

use thalweg_linalg::dense::{Eigen, apply};
use thalweg_linalg::iterative::power_iteration;
use thalweg_linalg::vector::{dot, square};

use crate::common::positive;

#[test]
fn the_power_iteration_finds_the_leading_eigenvector() {
    let a = positive(6, 1);
    let eigen = Eigen::new(&a).unwrap();
    let mut x = vec![1.0; 6];
    power_iteration(&mut x, 500, |x| square(x).sqrt(), |x| apply(&a, x));
    let leading = eigen.vectors.col_as_slice(5);
    assert!((square(&x) - 1.0).abs() < 1e-12 && (dot(&x, leading).abs() - 1.0).abs() < 1e-9);
    assert!((dot(&x, &apply(&a, &x)) - eigen.values[5]).abs() < 1e-9 * eigen.values[5]);
}

#[test]
fn zero_stays_zero() {
    let mut x = vec![0.0; 3];
    power_iteration(&mut x, 5, |x| square(x).sqrt(), <[f64]>::to_vec);
    assert_eq!(x, [0.0; 3]);
}
