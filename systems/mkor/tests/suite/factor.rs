//! One factor: the rules against dense inverses and closed forms, both forms, half precision.

use proptest::prelude::*;
use thalweg_mkor::factor::Recursion;
use thalweg_mkor::{Form, KroneckerFactor, Rule, Storage};
use thalweg_testing::close;

use crate::common::{inverse, times, wave};

const RULES: [Rule; 3] = [Rule::Released, Rule::ShermanMorrison, Rule::Printed];

fn recursion(rule: Rule) -> Recursion {
    Recursion { rule, stabiliser: None, ..Recursion::default() }
}

fn identity(d: usize, rule: Rule, form: Form) -> KroneckerFactor<f64> {
    KroneckerFactor::identity(d, rule, form, Storage::Full)
}

/// J + c vvᵀ, with J scaled by a and b added to its diagonal.
fn mixed(j: &[f64], a: f64, b: f64, v: &[f64], c: f64) -> Vec<f64> {
    let d = v.len();
    let entry = |at: usize| {
        let (i, k) = (at / d, at % d);
        a * j[at] + if i == k { b } else { 0.0 } + c * v[i] * v[k]
    };
    (0..d * d).map(entry).collect()
}

fn step(rule: Rule) -> Vec<f64> {
    let mut factor = identity(2, rule, Form::Dense);
    factor.update(&[1.0, 2.0], &recursion(rule));
    factor.matrix()
}

#[test]
fn one_step_of_each_rule() {
    close(&step(Rule::Released), &[0.833333, -0.333333, -0.333333, 0.333333], 1e-6);
    close(&step(Rule::ShermanMorrison), &[1.008772, -0.087719, -0.087719, 0.877193], 1e-6);
    // The printed formula amplifies the direction that the inverse damps.
    close(&step(Rule::Printed), &[0.994769, 0.089538, 0.089538, 1.129076], 1e-6);
}

#[test]
fn sherman_morrison_is_the_inverse_of_the_exponential_average() {
    let d = 40;
    let mut factor = identity(d, Rule::ShermanMorrison, Form::Dense);
    let mut average = factor.matrix();
    for t in 0..50 {
        let v: Vec<f64> = wave(d, 0.7 + 0.13 * f64::from(t)).iter().map(|v| 0.3 + v).collect();
        factor.update(&v, &recursion(Rule::ShermanMorrison));
        average = mixed(&average, 0.95, 0.0, &v, 0.05);
        if t % 7 == 0 || t == 49 {
            close(&factor.matrix(), &inverse(&average, d), 1e-10);
        }
    }
}

#[test]
fn released_is_the_inverse_of_its_own_recursion() {
    let d = 12;
    let mut factor = identity(d, Rule::Released, Form::Dense);
    for t in 0..30 {
        let v = wave(d, 1.1 + 0.2 * f64::from(t));
        let q = mixed(&factor.matrix(), 0.95, 0.05, &v, 0.0);
        factor.update(&v, &recursion(Rule::Released));
        let expected = inverse(&mixed(&inverse(&q, d), 1.0, 0.0, &v, 1.0), d);
        close(&factor.matrix(), &expected, 1e-11);
        let (j, spectrum) = (factor.matrix(), factor.spectrum().unwrap());
        assert!((0..d * d).all(|at| j[at] == j[at % d * d + at / d]), "not symmetric");
        assert!(spectrum[0] > 0.0 && spectrum[d - 1] <= 1.0 + 1e-14);
        assert!(factor.max_abs().unwrap() <= 1.0);
        let largest = j.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        assert_eq!(factor.max_abs(), Some(largest));
    }
}

#[test]
fn a_constant_vector_has_a_fixed_point_in_closed_form() {
    let expected = [0.853168, 0.491622, 0.182744, 0.0491622, 0.00853168];
    for (s, expected) in [0.01, 0.1, 1.0, 10.0, 100.0].into_iter().zip(expected) {
        for form in [Form::Dense, Form::LowRank(2000)] {
            let mut factor = identity(3, Rule::Released, form);
            (0..2000).for_each(|_| {
                factor.update(&[0.0, f64::sqrt(s), 0.0], &recursion(Rule::Released));
            });
            let formula = (-0.05 * (s + 1.0) + ((0.05 * (s + 1.0)).powi(2) + 0.19 * s).sqrt()) / (1.9 * s);
            assert!((formula / expected - 1.0).abs() < 1e-5, "{formula} {expected}");
            let j = factor.matrix();
            assert!(
                (j[4] - formula).abs() < 1e-14 * if form == Form::Dense { 1.0 } else { 10.0 },
                "{form}: {} {formula}",
                j[4]
            );
            // Orthogonal directions stay exactly as they are.
            assert_eq!([j[0], j[8], j[1], j[2], j[5]], [1.0, 1.0, 0.0, 0.0, 0.0]);
        }
    }
}

#[test]
fn a_vector_of_zeros_only_decays() {
    let v = wave(5, 0.9);
    for form in [Form::Dense, Form::LowRank(3)] {
        let mut factor = identity(5, Rule::Released, form);
        factor.update(&[0.0; 5], &recursion(Rule::Released));
        assert_eq!(factor.matrix(), identity(5, Rule::Released, Form::Dense).matrix());
        factor.update(&v, &recursion(Rule::Released));
        let before = factor.matrix();
        factor.update(&[0.0; 5], &recursion(Rule::Released));
        close(&factor.matrix(), &mixed(&before, 0.95, 0.05, &v, 0.0), 1e-15);
    }
}

/// Vectors around a mean, like those of training.
fn news(d: usize, t: u32) -> Vec<f64> {
    let noise = wave(d, 1.0 + 0.37 * f64::from(t));
    wave(d, 0.21).iter().zip(noise).map(|(m, n)| 0.5 * m + 0.15 * n).collect()
}

#[test]
fn low_rank_is_the_dense_recursion_as_long_as_nothing_is_forgotten() {
    let d = 60;
    let (mut dense, mut low) =
        (identity(d, Rule::Released, Form::Dense), identity(d, Rule::Released, Form::LowRank(300)));
    for t in 0..300 {
        dense.update(&news(d, t), &recursion(Rule::Released));
        low.update(&news(d, t), &recursion(Rule::Released));
    }
    close(&low.matrix(), &dense.matrix(), 1e-13);
    close(&low.spectrum().unwrap(), &dense.spectrum().unwrap(), 1e-12);
    let (g, columns) = (wave(d * 7, 0.31), 7);
    for right in [false, true] {
        let (mut a, mut b) = (g.clone(), g.clone());
        for (factor, x) in [(&dense, &mut a), (&low, &mut b)] {
            if right { factor.apply_right(x, columns) } else { factor.apply_left(x, columns) }
        }
        let j = dense.matrix();
        let expected = if right { times(&g, &j, d) } else { times(&j, &g, d) };
        close(&a, &expected, 1e-13);
        close(&b, &expected, 1e-13);
    }
}

#[test]
fn forgetting_old_pairs_costs_a_few_percent() {
    let (d, rows) = (300, 20);
    let apply = |form| {
        let mut factor = identity(d, Rule::Released, form);
        (0..300).for_each(|t| {
            factor.update(&news(d, t), &recursion(Rule::Released));
        });
        let mut g = wave(rows * d, 0.77);
        factor.apply_right(&mut g, rows);
        (g, factor.spectrum().unwrap())
    };
    let (exact, _) = apply(Form::Dense);
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let error = |rank| {
        let (g, spectrum) = apply(Form::LowRank(rank));
        assert!(spectrum[0] > 0.0 && spectrum[d - 1] <= 1.0 + 1e-12);
        let difference: Vec<f64> = g.iter().zip(&exact).map(|(a, b)| a - b).collect();
        norm(&difference) / norm(&exact)
    };
    let errors = [20, 40, 60].map(error);
    println!("truncation to 20, 40, 60 pairs: {errors:.4?}");
    assert!(errors[0] < 0.08 && errors[1] < 0.03 && errors[2] < 0.012, "{errors:?}");
    assert!(errors[0] > errors[1] && errors[1] > errors[2]);
}

#[test]
fn the_stabiliser_acts_exactly_beyond_the_threshold() {
    let on = Recursion { rule: Rule::ShermanMorrison, ..Recursion::default() };
    let off = recursion(Rule::ShermanMorrison);
    let mut factor = identity(6, Rule::ShermanMorrison, Form::Dense);
    let mut acted = 0;
    for t in 0..60 {
        let v: Vec<f64> = (0..6).map(|i| if i < 2 { 0.3 + f64::from(t % 3) } else { 0.0 }).collect();
        let (before, beyond) = (factor.matrix(), factor.max_abs().unwrap() > 2.0);
        let mut expected = factor.clone();
        if beyond {
            // J⁻¹ ← 0.9 J⁻¹ + 0.1 I by hand, then the plain rule.
            let j = mixed(&before, 0.9, 0.1, &v, 0.0);
            let w = times(&j, &v, 6);
            let inner: f64 = w.iter().zip(&v).map(|(w, v)| w * v).sum();
            let j = mixed(&j, 1.0 / 0.95, 0.0, &w, -0.05 / (0.95 + 0.05 * inner) / 0.95);
            assert!(factor.update(&v, &on));
            close(&factor.matrix(), &j, 1e-14);
            acted += 1;
        } else {
            expected.update(&v, &off);
            assert!(!factor.update(&v, &on));
            assert_eq!(factor, expected);
        }
        assert!(factor.spectrum().unwrap()[0] > 0.0);
    }
    assert!((5..55).contains(&acted), "{acted}");
    // Without it the directions without news grow by 1/γ each time.
    let mut wild = identity(2, Rule::ShermanMorrison, Form::Dense);
    (0..40).for_each(|_| {
        wild.update(&[1.0, 0.0], &off);
    });
    assert!((wild.matrix()[3] - 0.95f64.powi(-40)).abs() < 1e-10);
}

#[test]
fn the_stabiliser_never_acts_on_the_released_rule() {
    let mut factor = identity(30, Rule::Released, Form::Dense);
    let acted = (0..200).filter(|t| factor.update(&news(30, *t), &Recursion::default())).count();
    assert_eq!(acted, 0);
}

#[test]
fn half_precision_stays_close_and_positive() {
    let d = 300;
    let after = |storage| {
        let mut factor = KroneckerFactor::<f32>::identity(d, Rule::Released, Form::Dense, storage);
        (0..1000).for_each(|t| {
            factor.update(&news(d, t), &recursion(Rule::Released));
        });
        factor
    };
    let full = after(Storage::Full);
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    for (storage, bound) in [(Storage::F16, 0.01), (Storage::Bf16, 0.05)] {
        let half = after(storage);
        let difference: Vec<f64> = half.matrix().iter().zip(full.matrix()).map(|(a, b)| a - b).collect();
        let error = norm(&difference) / norm(&full.matrix());
        let spectrum = half.spectrum().unwrap();
        println!(
            "{storage:?}: deviation {error:.5}, spectrum from {:.5} to {:.5}",
            spectrum[0],
            spectrum[d - 1]
        );
        assert!(error > 0.0 && error < bound, "{storage:?} {error}");
        assert!(storage != Storage::F16 || spectrum[0] > 0.0);
        assert_eq!(half.bytes() * 2, full.bytes());
    }
    // The pairs too.
    for storage in [Storage::F16, Storage::Bf16] {
        let mut low = KroneckerFactor::<f32>::identity(d, Rule::Released, Form::LowRank(60), storage);
        (0..200).for_each(|t| {
            low.update(&news(d, t), &recursion(Rule::Released));
        });
        assert!(low.spectrum().unwrap()[0] > 0.0);
        assert_eq!(low.bytes(), 60 * (2 * d + 8));
    }
}

#[test]
fn pairs_that_do_not_matter_are_not_kept() {
    let d = 50;
    let quiet = |t: u32| news(d, t).iter().map(|v| 2e-3 * v).collect::<Vec<f64>>();
    let (mut dense, mut low) =
        (identity(d, Rule::Released, Form::Dense), identity(d, Rule::Released, Form::LowRank(40)));
    for t in 0..200 {
        dense.update(&quiet(t), &recursion(Rule::Released));
        low.update(&quiet(t), &recursion(Rule::Released));
    }
    assert_eq!(low.bytes(), 0);
    close(&low.matrix(), &dense.matrix(), 1e-4 / 0.05);
    assert!(dense.spectrum().unwrap()[0] > 1.0 - 1e-4 / 0.05);
    low.update(&news(d, 1), &recursion(Rule::Released));
    assert_eq!(low.bytes(), 8 * (d + 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn released_spectra_lie_in_the_unit_interval(
        vectors in prop::collection::vec(prop::collection::vec(-100.0f64..100.0, 7), 1..12)
    ) {
        let mut dense = identity(7, Rule::Released, Form::Dense);
        let mut low = identity(7, Rule::Released, Form::LowRank(50));
        for v in &vectors {
            dense.update(v, &recursion(Rule::Released));
            low.update(v, &recursion(Rule::Released));
        }
        for factor in [&dense, &low] {
            let spectrum = factor.spectrum().unwrap();
            prop_assert!(spectrum[0] > -1e-11 && spectrum[6] <= 1.0 + 1e-11, "{:?}", spectrum);
        }
        for (a, b) in dense.matrix().iter().zip(low.matrix()) {
            prop_assert!((a - b).abs() < 1e-9, "{} {}", a, b);
        }
    }

    #[test]
    fn every_rule_keeps_factors_symmetric_and_positive(
        vectors in prop::collection::vec(prop::collection::vec(-3.0f64..3.0, 5), 1..20), rule in 0usize..3
    ) {
        let mut factor = identity(5, RULES[rule], Form::Dense);
        for v in &vectors {
            factor.update(v, &Recursion { rule: RULES[rule], ..Recursion::default() });
            let j = factor.matrix();
            prop_assert!((0..25).all(|at| j[at] == j[at % 5 * 5 + at / 5]));
            prop_assert!(factor.spectrum().unwrap()[0] > 0.0);
        }
    }
}
