//! The two-loop recursion against the matrix that it stands for.

use faer::Mat;
use thalweg_linalg::dense::apply;
use thalweg_linalg::quasi_newton::{Pair, Pairs};
use thalweg_linalg::vector::dot;

use crate::common::{naive, numbers, positive, transposed};

const N: usize = 6;

/// Steps on a quadratic with Hessian A.
fn pairs(a: &Mat<f64>, count: u64, history: usize) -> Pairs<f64> {
    let mut pairs = Pairs::default();
    for k in 0..count {
        let s = numbers(N, k);
        let y = apply(a, &s);
        pairs.learn((s, y), 1e-12, history, dot);
    }
    pairs
}

/// H ← (I − syᵀ/sᵀy) H (I − ysᵀ/sᵀy) + ssᵀ/sᵀy from `first` I.
fn updated(first: f64, kept: impl Iterator<Item = u64>, a: &Mat<f64>) -> Mat<f64> {
    let mut h = Mat::from_fn(N, N, |i, j| if i == j { first } else { 0.0 });
    for k in kept {
        let s = numbers(N, k);
        let y = apply(a, &s);
        let sy = dot(&s, &y);
        let left = Mat::from_fn(N, N, |i, j| f64::from(u8::from(i == j)) - s[i] * y[j] / sy);
        h = naive(&naive(&left, &h), &transposed(&left)) + Mat::from_fn(N, N, |i, j| s[i] * s[j] / sy);
    }
    h
}

#[test]
fn the_direction_is_that_of_the_updated_matrix() {
    let (a, g) = (positive(N, 9), numbers(N, 100));
    let pairs = pairs(&a, 5, 3);
    assert_eq!(pairs.len(), 3);
    let newest = pairs.newest().unwrap();
    let h = updated(newest.sy / dot(&newest.y, &newest.y), 2..5, &a);
    for (d, e) in pairs.direction(&g, dot).iter().zip(apply(&h, &g)) {
        assert!((d + e).abs() < 1e-10, "{d} {e}");
    }
}

#[test]
fn pairs_can_be_left_out_and_the_first_matrix_chosen() {
    let (a, g) = (positive(N, 9), numbers(N, 100));
    let all = pairs(&a, 4, 10);
    let newest = all.newest().unwrap().s.clone();
    let mut q = g.clone();
    let mut told = Vec::new();
    all.apply(
        &mut q,
        dot,
        |pair| (pair.s != newest).then_some(pair.sy),
        |q, kept| {
            told = kept.unwrap().0.s.clone();
            q.iter_mut().for_each(|q| *q *= 0.25);
        },
    );
    assert_eq!(told, numbers(N, 2));
    for (q, e) in q.iter().zip(apply(&updated(0.25, 0..3, &a), &g)) {
        assert!((q - e).abs() < 1e-10, "{q} {e}");
    }
}

#[test]
fn nothing_known_is_steepest_descent() {
    let mut pairs = pairs(&positive(N, 9), 2, 10);
    pairs.clear();
    assert!(pairs.is_empty());
    assert_eq!(pairs.direction(&[1.0, -2.0], dot), [-1.0, 2.0]);
    // Curved downwards: not learnt.
    pairs.learn((vec![1.0, 0.0], vec![-1.0, 0.0]), 1e-12, 10, dot);
    assert!(pairs.is_empty() && pairs.newest().is_none());
}

/// Checkpoints hold the pairs as a plain sequence.
#[test]
fn pairs_are_stored_as_a_sequence() {
    let mut pairs = Pairs::default();
    pairs.push(Pair { s: vec![1.0f32], y: vec![2.0], sy: 2.0 }, 5);
    let bytes = postcard::to_stdvec(&pairs).unwrap();
    assert_eq!(bytes, postcard::to_stdvec(&[(vec![1.0f32], vec![2.0f32], 2.0f64)].to_vec()).unwrap());
    assert_eq!(postcard::from_bytes::<Pairs<f32>>(&bytes).unwrap(), pairs);
}
