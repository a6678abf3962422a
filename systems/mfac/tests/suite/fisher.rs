//! The static products against exact fractions, dense inverses and the published recursion.

use proptest::prelude::*;
use thalweg_mfac::baselines::Recursion;
use thalweg_mfac::fisher::FisherOptions;
use thalweg_mfac::gradients::{Gradients, Storage};
use thalweg_mfac::{MfacError, StaticFisher};
use thalweg_testing::on_threads;

use crate::common::*;

#[test]
fn the_hand_example_comes_out_as_fractions() {
    let g = [vec![1.0, 2.0, 0.0], vec![0.0, 1.0, 1.0]];
    let fisher = fisher(&g, 0.5, 0).unwrap();
    let inverse = [11.0, -4.0, 2.0, -4.0, 4.0, -2.0, 2.0, -2.0, 8.0].map(|x| x / 7.0);
    close(&entries(&fisher.submatrix(&[0, 1, 2]).unwrap()), &inverse, 1e-14);
    close(&fisher.diag(), &[11.0 / 7.0, 4.0 / 7.0, 8.0 / 7.0], 1e-14);
    close(&fisher.ihvp(&[1.0; 3]).unwrap(), &[9.0 / 7.0, -2.0 / 7.0, 8.0 / 7.0], 1e-14);
    let recursion = Recursion::new(&g, 0.5);
    close(recursion.pivots(), &[12.0, 14.0 / 3.0], 1e-14);
    close(&recursion.ihvp(&[1.0; 3]), &[9.0 / 7.0, -2.0 / 7.0, 8.0 / 7.0], 1e-14);
    let element = |(i, j)| recursion.element(i, j);
    close(&[(0, 0), (0, 1), (2, 1)].map(element), &[11.0 / 7.0, -4.0 / 7.0, -2.0 / 7.0], 1e-14);
}

fn check(g: &[Vec<f64>], damping: f64, block: usize, tolerance: f64) {
    let d = g[0].len();
    let f = dense(g, damping, block);
    let exact = inverse(&f);
    let fisher = fisher(g, damping, block).unwrap();
    let (x, y) = (random(91, d), random(92, d));
    let product = fisher.ihvp(&x).unwrap();
    close(&product, &times(&exact, &x), tolerance);
    close(&times(&f, &product), &x, tolerance);
    let (a, b) = (dot(&product, &y), dot(&x, &fisher.ihvp(&y).unwrap()));
    assert!((a - b).abs() <= tolerance * a.abs().max(1.0));
    assert_eq!(fisher.ihvp_many(&[&x, &y]).unwrap()[0], product);
    let diag = fisher.diag();
    close(&diag, &(0..d).map(|i| exact[(i, i)]).collect::<Vec<_>>(), tolerance);
    assert!(diag.iter().all(|x| 0.0 < *x && *x <= 1.0 / damping * (1.0 + 1e-12)));
    let all: Vec<usize> = (0..d).rev().collect();
    let turned = Mat::from_fn(d, d, |i, j| exact[(d - 1 - i, d - 1 - j)]);
    close(&entries(&fisher.submatrix(&all).unwrap()), &entries(&turned), tolerance);
    let kept = fisher.with_elements().unwrap();
    close(&kept.diag(), &diag, 1e-14);
    for (i, j) in [(0, 0), (0, d - 1), (d / 2, d / 3)] {
        let (a, b) = (kept.element(i, j).unwrap(), exact[(i, j)]);
        assert!((a - b).abs() <= tolerance * exact[(i, i)].max(exact[(j, j)]), "{a} {b}");
    }
}

use faer::Mat;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn static_products_are_those_of_the_dense_inverse(
        seed in 0u64..1000, m in 1usize..=20, d in 1usize..=60, block in 0usize..=70, power in -2i32..=2,
    ) {
        check(&rows(seed, m, d), 10f64.powi(power), block, 1e-10);
    }

    #[test]
    fn the_recursion_gives_the_same_numbers(seed in 0u64..1000, m in 1usize..=20, d in 1usize..=60) {
        let g = rows(seed, m, d);
        let (recursion, fisher) = (Recursion::new(&g, 0.1), fisher(&g, 0.1, 0).unwrap());
        let x = random(7, d);
        close(&recursion.ihvp(&x), &fisher.ihvp(&x).unwrap(), 1e-10);
        close(&recursion.diag(), &fisher.diag(), 1e-10);
        // qᵢ are the pivots of (mI + GGᵀ/λ) = L Δ Lᵀ.
        let s = Mat::from_fn(m, m, |i, j| dot(&g[i], &g[j]) / 0.1 + if i == j { m as f64 } else { 0.0 });
        let c = thalweg_linalg::dense::Cholesky::new(&s).unwrap();
        let pivots: Vec<f64> = (0..m).map(|i| c.lower()[(i, i)].powi(2)).collect();
        close(recursion.pivots(), &pivots, 1e-10);
    }
}

#[test]
fn zero_and_equal_gradients_and_their_order_do_not_matter() {
    let mut g = rows(3, 6, 30);
    g[2] = vec![0.0; 30];
    g[4] = g[1].clone();
    let products = |g: &[Vec<f64>]| {
        check(g, 0.01, 0, 1e-10);
        check(g, 0.01, 4, 1e-10);
        fisher(g, 0.01, 0).unwrap().ihvp(&random(1, 30)).unwrap()
    };
    let first = products(&g);
    g.reverse();
    g.swap(0, 3);
    close(&products(&g), &first, 1e-10);
}

#[test]
fn limits_of_damping_count_and_scale() {
    let (g, x) = (rows(5, 8, 40), random(6, 40));
    // λ → ∞: λF⁻¹x → x.
    let far: Vec<f64> = fisher(&g, 1e9, 0).unwrap().ihvp(&x).unwrap().iter().map(|y| 1e9 * y).collect();
    close(&far, &x, 1e-6);
    // One gradient: x/λ − g (gᵀx)/(λ(λ + ‖g‖²)).
    let (one, damping) = (&g[0], 0.3);
    let scale = dot(one, &x) / (damping * (damping + dot(one, one)));
    let expected: Vec<f64> = x.iter().zip(one).map(|(x, g)| x / damping - g * scale).collect();
    close(&fisher(&g[..1], damping, 0).unwrap().ihvp(&x).unwrap(), &expected, 1e-12);
    // Gradients times c and damping times c²: the step for c·g is divided by c.
    let scaled: Vec<Vec<f64>> = g.iter().map(|g| g.iter().map(|g| 8.0 * g).collect()).collect();
    let a = fisher(&g, 0.1, 0).unwrap().ihvp(&g[3]).unwrap();
    let b = fisher(&scaled, 6.4, 0).unwrap().ihvp(&scaled[3]).unwrap();
    close(&b.iter().map(|b| 8.0 * b).collect::<Vec<_>>(), &a, 1e-12);
}

#[test]
fn blocks_from_one_weight_to_all() {
    let (g, x) = (rows(8, 12, 50), random(9, 50));
    let whole = fisher(&g, 0.02, 0).unwrap();
    for block in [50, 51, 1 << 40] {
        assert_eq!(fisher(&g, 0.02, block).unwrap().ihvp(&x).unwrap(), whole.ihvp(&x).unwrap());
    }
    let diagonal = fisher(&g, 0.02, 1).unwrap().diag();
    let expected =
        (0..50).map(|i| 1.0 / (0.02 + g.iter().map(|g| g[i] * g[i]).sum::<f64>() / 12.0)).collect::<Vec<_>>();
    close(&diagonal, &expected, 1e-13);
    for block in [1, 5, 12, 13, 49] {
        check(&g, 0.02, block, 1e-10);
    }
}

/// Sizes at which strips, panels and partial sums begin and end.
#[test]
fn wide_gradients_and_any_number_of_threads() {
    for (m, d) in [(3, 4095), (5, 4097), (4, 9000), (7, 33_001)] {
        let g = rows(d as u64, m, d);
        let x = random(2, d);
        let run = |threads| {
            on_threads(threads, || {
                let fisher = fisher(&g, 0.5, 0).unwrap();
                let blocks = StaticFisher::new(
                    Gradients::from_rows(&g, Storage::Bf16).unwrap(),
                    FisherOptions { damping: 0.5, block: 700 },
                );
                let blocks = blocks.unwrap();
                [fisher.ihvp(&x).unwrap(), fisher.diag(), blocks.ihvp(&x).unwrap(), blocks.diag()].concat()
            })
        };
        let one = run(1);
        assert!(run(2) == one && run(3) == one);
        close(&one[..d], &Recursion::new(&g, 0.5).ihvp(&x), 1e-10);
        close(&one[d..2 * d], &Recursion::new(&g, 0.5).diag(), 1e-10);
    }
}

#[test]
fn sixteen_bits_are_exact_for_the_rounded_gradients() {
    let g = rows(4, 6, 300);
    let stored = Gradients::from_rows(&g, Storage::Bf16).unwrap();
    let rounded: Vec<Vec<f64>> = (0..6).map(|k| stored.row(k)).collect();
    close(&rounded.concat(), &g.concat(), 1.0 / 256.0);
    assert!(rounded != g);
    let options = FisherOptions { damping: 1e-3, block: 0 };
    let x = random(1, 300);
    let ours = StaticFisher::new(stored, options).unwrap().ihvp(&x).unwrap();
    assert_eq!(ours, fisher(&rounded, 1e-3, 0).unwrap().ihvp(&x).unwrap());
}

#[test]
fn single_precision_gradients_lose_nothing_but_their_rounding() {
    // Strongly cancelling: ‖g‖² = 10⁴ m λ and more. The recursion in f32 is far off.
    let g: Vec<Vec<f32>> =
        rows(11, 32, 3000).into_iter().map(|g| g.into_iter().map(|g| g as f32).collect()).collect();
    let wide: Vec<Vec<f64>> = g.iter().map(|g| g.iter().map(|g| f64::from(*g)).collect()).collect();
    let exact = fisher(&wide, 1e-6, 0).unwrap().ihvp(&wide[5]).unwrap();
    let ours = StaticFisher::new(
        Gradients::from_flat(g.concat(), 32).unwrap(),
        FisherOptions { damping: 1e-6, block: 0 },
    );
    let ours = ours.unwrap().ihvp(&g[5]).unwrap();
    let theirs = Recursion::new(&g, 1e-6).ihvp(&g[5]);
    let error = |x: &[f32]| relative(&x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>(), &exact);
    assert!(error(&ours) < 1e-6, "{}", error(&ours));
    assert!(error(&theirs) > 1e-4, "{}", error(&theirs));
}

#[test]
fn bad_input_is_named() {
    let g = rows(1, 3, 5);
    let text = |r: Result<StaticFisher, MfacError>| r.unwrap_err().to_string();
    assert_eq!(text(fisher(&g, 0.0, 0)), "damping = 0 is not allowed; use a number > 0");
    assert!(text(fisher(&g, f64::NAN, 0)).starts_with("damping = NaN"));
    assert!(text(fisher(&[], 1.0, 0)).starts_with("gradients = 0 is not allowed; use at least 1"));
    assert!(text(fisher(&[vec![], vec![]], 1.0, 0)).starts_with("length of a gradient = 0"));
    let ragged = [vec![1.0; 3], vec![1.0; 4]];
    assert!(text(fisher(&ragged, 1.0, 0)).starts_with("the gradient has 4 elements where 3 are needed"));
    let nan = [vec![1.0; 3], vec![1.0, f64::NAN, 0.0]];
    assert!(text(fisher(&nan, 1.0, 0)).starts_with("gradient 1 is not finite at element 1"));
    let flat = Gradients::from_flat(vec![1.0, f32::INFINITY], 2).unwrap_err().to_string();
    assert!(flat.starts_with("gradient 1 is not finite at element 0"), "{flat}");
    assert!(Gradients::from_flat(vec![1.0; 7], 2).is_err() && Gradients::from_flat(vec![], 2).is_err());
    let good = fisher(&g, 1.0, 0).unwrap();
    assert!(good.ihvp(&[1.0f64; 4]).unwrap_err().to_string().starts_with("the vector has 4 elements"));
    assert!(good.element(0, 5).unwrap_err().to_string().starts_with("element = 5 is not allowed"));
    let huge = Gradients::zeros::<f32>(1024, 1 << 40, Storage::Full).unwrap_err().to_string();
    assert!(huge.contains("use at most 0 gradients"), "{huge}");
}

#[test]
fn too_little_damping_is_refused_with_one_that_works() {
    let g = vec![vec![1e8, 2e8, 3e8]; 3];
    let Err(MfacError::Singular { least, .. }) = fisher(&g, 1e-12, 0) else { panic!("not refused") };
    assert!(fisher(&g, least, 0).is_ok());
}
