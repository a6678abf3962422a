//! Products, factorisations and spectra against their definitions.

use faer::{Accum, Mat};
use thalweg_linalg::dense::*;

use crate::common::{close, matrix, naive, positive, transposed};

const SHAPES: [(usize, usize, usize); 4] = [(1, 1, 1), (3, 5, 2), (17, 9, 33), (64, 70, 5)];

#[test]
fn products_are_those_of_the_definition() {
    for (m, k, n) in SHAPES {
        let (a, b, c) = (matrix(m, k, 1), matrix(k, n, 2), matrix(m, n, 3));
        let ab = naive(&a, &b);
        close(&product(&a, &b), &ab);
        close(&product(transposed(&a).transpose(), &b), &ab);
        close(&product(a.subrows(0, 1), &b), &ab.subrows(0, 1).to_owned());
        let mut sum = c.clone();
        multiply(sum.as_mut(), Accum::Add, &a, &b);
        close(&sum, &(&c + &ab));
        multiply(sum.as_mut(), Accum::Replace, &a, &b);
        close(&sum, &ab);
        let x: Vec<f64> = (0..k).map(|i| b[(i, 0)]).collect();
        let y = apply(&a, &x);
        assert!((0..m).all(|i| (y[i] - ab[(i, 0)]).abs() < 1e-12));
    }
    let single = Mat::<f32>::from_fn(2, 2, |i, j| (i + 2 * j) as f32);
    assert_eq!(product(&single, &single)[(1, 1)], 11.0);
}

#[test]
fn symmetric_products_and_their_triangles() {
    for (m, k, _) in SHAPES {
        let (a, s) = (matrix(m, k, 4), positive(m, 5));
        let gram = naive(&a, &transposed(&a));
        close(&symmetric_product(&a, a.transpose()), &gram);
        let mut lower = Mat::full(m, m, 7.0);
        multiply_lower(lower.as_mut(), Accum::Add, &a, a.transpose(), 0.5);
        let half = Mat::from_fn(m, m, |i, j| if i < j { 7.0 } else { 7.0 + 0.5 * gram[(i, j)] });
        close(&lower, &half);
        close(&congruence(&a, &s), &naive(&transposed(&a), &naive(&s, &a)));
        let c = matrix(m, m, 6);
        close(&symmetric(&c), &((&c + transposed(&c)) * faer::Scale(0.5)));
        let diagonal = Mat::from_fn(m, m, |i, j| if i == j { i as f64 } else { 0.0 });
        close(&scale_rows(&a, |i| i as f64), &naive(&diagonal, &a));
        let mut shifted = c.clone();
        shift(&mut shifted, 3.0);
        close(&shifted, &(c + Mat::<f64>::identity(m, m) * faer::Scale(3.0)));
    }
    close(&from_rows(&[&[1.0, 2.0], &[3.0, 4.0]]), &Mat::from_fn(2, 2, |i, j| (1 + 2 * i + j) as f64));
    assert_eq!(from_rows(&[]).nrows(), 0);
}

#[test]
fn positive_definite_systems() {
    for n in [1, 4, 31] {
        let (a, b) = (positive(n, 7), matrix(n, 3, 8));
        let factor = Cholesky::new(&a).unwrap();
        let l = factor.lower().to_owned();
        close(&naive(&l, &transposed(&l)), &a);
        assert!((0..n).all(|j| (0..j).all(|i| l[(i, j)] == 0.0)));
        close(&cholesky(&a).unwrap(), &l);
        close(&naive(&a, &factor.solve(&b)), &b);
        close(&naive(&a, &solve(&a, &b).unwrap()), &b);
        close(&naive(&a, &factor.inverse()), &Mat::identity(n, n));
        let mut x = b.clone();
        factor.solve_in_place(&mut x);
        close(&x, &factor.solve(&b));
        let (mut forward, column) = (b.clone(), b.col_as_slice(0));
        solve_lower(&l, forward.as_mut());
        close(&naive(&l, &forward), &b);
        solve_upper(l.transpose(), forward.as_mut());
        close(&forward, &x);
        for by_hand in [solve_factored(&l, column), solve_semidefinite(&a, column)] {
            assert!((0..n).all(|i| (by_hand[i] - x[(i, 0)]).abs() < 1e-9));
        }
    }
    let indefinite = Mat::from_fn(2, 2, |i, j| if i == j { 1.0 } else { 2.0 });
    assert_eq!(Cholesky::new(&indefinite).unwrap_err(), NotPositive);
    assert!(cholesky(&indefinite).is_none() && solve(&indefinite, &indefinite).is_none());
    assert!(cholesky(Mat::from_fn(1, 1, |_, _| f64::INFINITY)).is_none());
    // Of two equal unknowns the second stays 0.
    let x = solve_semidefinite(&Mat::full(2, 2, 4.0), &[2.0, 2.0]);
    assert_eq!(x, [0.5, 0.0]);
}

#[test]
fn general_systems_and_orthogonal_bases() {
    for n in [1, 4, 31] {
        let (a, b) = (matrix(n, n, 9), matrix(n, 2, 10));
        let lu = Lu::new(&a);
        close(&naive(&a, &lu.solve(&b)), &b);
        close(&naive(&a, &lu.inverse()), &Mat::identity(n, n));
    }
    // det [0 2; 3 1] = −6.
    assert!((Lu::new(from_rows(&[&[0.0, 2.0], &[3.0, 1.0]])).log_det() - 6f64.ln()).abs() < 1e-14);
    for (m, n) in [(5, 3), (3, 5), (4, 4)] {
        let a = matrix(m, n, 11);
        let (q, r) = (thin_q(&a), thin_r(&a));
        close(&naive(&q, &r), &a);
        close(&naive(&transposed(&q), &q), &Mat::identity(m.min(n), m.min(n)));
        assert!((0..n).all(|j| (j + 1..m.min(n)).all(|i| r[(i, j)] == 0.0)));
    }
}

#[test]
fn spectra() {
    for n in [1, 4, 31] {
        let a = symmetric(&matrix(n, n, 12));
        let Eigen { values, vectors } = Eigen::new(&a).unwrap();
        assert!(values.is_sorted());
        let scaled = Mat::from_fn(n, n, |i, j| vectors[(i, j)] * values[j]);
        close(&naive(&a, &vectors), &scaled);
        close(&naive(&transposed(&vectors), &vectors), &Mat::identity(n, n));
        let alone = eigenvalues(&a).unwrap();
        assert!(alone.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-12));
        assert!((lambda_min(&a) - values[0]).abs() < 1e-12);
        assert!((lambda_max(&a) - values[n - 1]).abs() < 1e-12);
        let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!((spectral_radius(&a).unwrap() - largest).abs() < 1e-9);
        assert!((norm2(&a) - largest).abs() < 1e-9);
    }
    // A rotation by a quarter, twice as long: eigenvalues ±2i.
    assert!((spectral_radius(from_rows(&[&[0.0, -2.0], &[2.0, 0.0]])).unwrap() - 2.0).abs() < 1e-14);
    assert_eq!((lambda_min(Mat::new()), lambda_max(Mat::new())), (0.0, 0.0));
    let broken = Mat::full(3, 3, f64::NAN);
    assert_eq!(eigenvalues(&broken), Err(NoConvergence));
    assert!(lambda_max(&broken).is_nan() && lambda_min(&broken).is_nan());
}

#[test]
fn singular_values_and_the_pseudo_inverse() {
    for (m, n) in [(5, 3), (3, 5), (4, 4)] {
        let a = matrix(m, n, 13);
        let k = m.min(n);
        let Svd { u, values, v } = Svd::thin(&a).unwrap();
        assert_eq!((u.ncols(), values.len(), v.ncols()), (k, k, k));
        let scaled = Mat::from_fn(m, k, |i, j| u[(i, j)] * values[j]);
        close(&naive(&scaled, &transposed(&v)), &a);
        assert!(values.is_sorted_by(|a, b| a >= b) && (norm2(&a) - values[0]).abs() < 1e-9);
        let alone = singular_values(&a).unwrap();
        assert!(alone.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-12));
        let full = Svd::full(&a).unwrap();
        assert_eq!((full.u.ncols(), full.v.ncols()), (m, n));
        close(&naive(&transposed(&full.v), &full.v), &Mat::identity(n, n));
        let inverse = pseudo_inverse(&a).unwrap();
        close(&naive(&naive(&a, &inverse), &a), &a);
        let projection = naive(&inverse, &a);
        close(&projection, &transposed(&projection));
    }
}

#[test]
fn the_bits_of_a_product_do_not_depend_on_the_view() {
    let (a, b) = (matrix(40, 30, 14), matrix(30, 20, 15));
    let wide = Mat::from_fn(50, 60, |i, j| if i < 40 && j < 30 { a[(i, j)] } else { f64::NAN });
    assert_eq!(product(wide.submatrix(0, 0, 40, 30), &b), product(&a, &b));
}
