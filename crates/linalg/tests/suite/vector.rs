//! Sums in their orders, and loops over pieces.

use thalweg_linalg::vector::*;

use crate::common::numbers;

const LENGTHS: [usize; 7] = [0, 1, 7, 8, 33, CHUNK, 2 * CHUNK + 5];

/// Σ aᵢbᵢ with `lanes` partial sums over whole groups; the rest by itself.
fn lanes(a: &[f64], b: &[f64], lanes: usize) -> (Vec<f64>, Vec<f64>) {
    let whole = a.len() - a.len() % lanes;
    let mut sums = vec![0.0; lanes];
    (0..whole).for_each(|i| sums[i % lanes] += a[i] * b[i]);
    (sums, (whole..a.len()).map(|i| a[i] * b[i]).collect())
}

#[test]
fn every_inner_product_has_the_order_of_its_name() {
    for n in LENGTHS {
        let (a, b) = (numbers(n, 1), numbers(n, 2));
        let mut in_turn = -0.0; // as sums of the standard library begin
        (0..n).for_each(|i| in_turn += a[i] * b[i]);
        assert_eq!(dot_in_turn(&a, &b).to_bits(), f64::to_bits(in_turn));

        let (s, rest) = lanes(&a, &b, 4);
        let four = (s[0] + s[1]) + (s[2] + s[3]) + rest.iter().sum::<f64>();
        assert_eq!(dot_by_four(&a, &b), four);

        let (s, rest) = lanes(&a, &b, 16);
        assert_eq!(dot_by_sixteen(&a, &b), s.iter().chain(&rest).sum::<f64>());

        let mut s = [0.0; 8];
        (0..n).for_each(|i| s[i % 8] += a[i] * b[i]);
        assert_eq!(dot_interleaved(&a, &b), s.iter().sum::<f64>());

        let pieces = a.chunks(CHUNK).zip(b.chunks(CHUNK)).map(|(a, b)| {
            let (s, rest) = lanes(a, b, 8);
            s.iter().sum::<f64>() + rest.iter().sum::<f64>()
        });
        assert_eq!(dot(&a, &b), pieces.sum::<f64>());
        assert_eq!(square(&a), dot(&a, &a));
    }
}

#[test]
fn inner_products_of_single_precision_add_in_double() {
    let a: Vec<f32> = vec![1e8, 1.0, -1e8, 1.0];
    assert_eq!(dot(&a, &[1.0; 4]), 2.0);
    assert_eq!(dot_by_sixteen(&a, &[1.0; 4]), 1.0);
}

#[test]
fn loops_reach_every_element() {
    for n in LENGTHS {
        let (a, b, c, g) = (numbers(n, 3), numbers(n, 4), numbers(n, 5), numbers(n, 6));
        let mut x = a.clone();
        each2(&mut x, &g, |x, g| *x -= g);
        assert!((0..n).all(|i| x[i] == a[i] - g[i]));
        let (mut x, mut y) = (a.clone(), b.clone());
        each3(&mut x, &mut y, &g, |x, y, g| (*x, *y) = (*y + g, *x));
        assert!((0..n).all(|i| x[i] == b[i] + g[i] && y[i] == a[i]));
        let (mut x, mut y, mut z) = (a.clone(), b.clone(), c.clone());
        each4(&mut x, &mut y, &mut z, &g, |x, y, z, g| (*x, *y, *z) = (*y, *z, *x * g));
        assert!((0..n).all(|i| x[i] == b[i] && y[i] == c[i] && z[i] == a[i] * g[i]));
        let mut x = a.clone();
        axpy(&mut x, 0.5, &b);
        assert!((0..n).all(|i| x[i] == a[i] + 0.5 * b[i]));
        combine(2.0, &g, -3.0, &mut x);
        assert!((0..n).all(|i| x[i] == 2.0 * g[i] + -3.0 * (a[i] + 0.5 * b[i])));
    }
}

#[test]
fn the_largest_absolute_value_does_not_lose_a_nan() {
    for n in [1, 16, 40, CHUNK + 3] {
        let mut a = numbers(n, 7);
        let largest = a.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        assert_eq!(max_abs(&a), largest);
        a[n / 2] = f64::NEG_INFINITY;
        assert_eq!(max_abs(&a), f64::INFINITY);
        a[n - 1] = f64::NAN;
        assert!(max_abs(&a).is_nan());
    }
    assert_eq!(max_abs::<f32>(&[]), 0.0);
}
