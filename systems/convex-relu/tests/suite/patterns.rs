//! Lists of patterns that claim to be complete are.

use std::collections::HashSet;

use thalweg_convex_relu::network::Neuron;
use thalweg_convex_relu::patterns::count;
use thalweg_convex_relu::{ConvexRelu, Loss, Network, PatternChoice, Patterns, Samples};
use thalweg_core::Seed;
use thalweg_testing::normals;

fn random(n: usize, d: usize, seed: u64) -> Vec<f64> {
    normals(&mut Seed(seed).stream("x", 0), n * d)
}

fn set(patterns: &Patterns) -> HashSet<Vec<bool>> {
    (0..patterns.len()).map(|i| (0..patterns.n()).map(|k| patterns.on(i, k)).collect()).collect()
}

/// Six samples on a line, `h` apart.
fn thin(h: f64) -> Samples {
    Samples::new((0..6).flat_map(|k| [1.0, f64::from(k) * h]).collect(), 2).unwrap()
}

#[test]
fn every_cell_however_thin_is_listed() {
    for h in [1e-3, 1e-5, 1e-6, 1e-7, 1e-9, 1e-12, 1e-15] {
        let all = Patterns::all(&thin(h)).unwrap();
        assert!(all.complete() && all.len() as f64 == count(6, 2) - 1.0, "{h}: {}", all.len());
    }
}

/// f(1, kh) = k mod 2 by a neuron at every kink.
#[test]
fn no_network_is_below_a_bound_for_all() {
    let y = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
    for h in [1e-5, 1e-6, 1e-7] {
        let kink = |k: usize| {
            let slope = if k == 0 { 1.0 } else { 2.0 } / h;
            let sign = if k.is_multiple_of(2) { 1.0 } else { -1.0 };
            Neuron::balanced(&[-(k as f64) * h * slope, slope], sign, 0)
        };
        let network = Network { neurons: (0..5).map(kink).collect(), linear_part: None, outputs: 1 };
        let known = network.objective(&thin(h), &y, Loss::Squared, 1e-9).unwrap();
        let patterns = PatternChoice::All;
        let settings = ConvexRelu { loss: Loss::Squared, beta: 1e-9, patterns, ..ConvexRelu::default() };
        let fit = settings.fit(&thin(h), &y).unwrap();
        assert!(fit.program.patterns().complete());
        assert!(fit.certificate.dual_bound <= known, "{h}: {} {known}", fit.certificate.dual_bound);
        assert!(fit.certificate.dual_bound <= fit.nonconvex_objective);
    }
}

#[test]
fn points_that_are_almost_parallel_miss_no_pattern_that_a_direction_has() {
    for (seed, width) in [(1, 1e-3), (2, 1e-5), (3, 1e-6), (4, 1e-7), (5, 1e-9)] {
        let (n, base) = (9, [1.0, -0.7, 0.4]);
        let noise = random(n, 3, seed);
        let x: Vec<f64> = noise.iter().enumerate().map(|(i, e)| base[i % 3] + width * e).collect();
        let samples = Samples::new(x, 3).unwrap();
        let all = Patterns::all(&samples).unwrap();
        assert!(all.complete() && all.len() as f64 >= count(n, 3) - 1.0, "{width}: {}", all.len());
        let known = set(&all);
        let mut seen = HashSet::new();
        for a in random(5000, 4, seed + 10).chunks(4) {
            // Nearly orthogonal to the base, where the cells are.
            let length: f64 = base.iter().map(|b| b * b).sum();
            let along: f64 = a.iter().zip(&base).map(|(a, b)| a * b).sum::<f64>() / length;
            let a: Vec<f64> = (0..3).map(|j| a[j] - (along - width * a[3]) * base[j]).collect();
            let heights = samples.times(&a);
            if heights.iter().all(|h| h.abs() > 1e-14) && heights.iter().any(|h| *h > 0.0) {
                seen.insert(heights.iter().map(|h| *h > 0.0).collect::<Vec<bool>>());
            }
        }
        assert!(seen.len() > 30, "{width}: only {} seen", seen.len());
        assert!(seen.is_subset(&known), "{width}: {} missing", seen.difference(&known).count());
    }
}

#[test]
fn lattices_duplicates_antipodes_and_low_ranks_are_complete_and_no_longer_than_needed() {
    let grid: Vec<f64> =
        (-1..=1).flat_map(|a| (-1..=1).flat_map(move |b| [f64::from(a), f64::from(b), 1.0])).collect();
    let few = random(6, 3, 1);
    let twice = [few.clone(), few.iter().map(|x| 2.0 * x).collect()].concat();
    let antipodes = [few.clone(), few.iter().map(|x| -x).collect()].concat();
    let scaled = few.iter().enumerate().map(|(i, x)| x * 10f64.powi(12 * (i / 3 % 3) as i32 - 12)).collect();
    let zero = [few.clone(), vec![0.0; 3]].concat();
    let plane: Vec<f64> =
        random(8, 2, 2).chunks(2).flat_map(|x| [x[0], x[1], x[0] + x[1], 2.0 * x[0]]).collect();
    let product: Vec<f64> = random(8, 2, 3)
        .chunks(2)
        .flat_map(|x| [(0.3, 0.7), (-1.1, 0.2), (0.9, -0.4), (0.1, 1.3)].map(|(a, b)| a * x[0] + b * x[1]))
        .collect();
    for (name, x, d, most) in [
        ("grid", grid, 3, count(9, 3)),
        ("twice", twice, 3, count(6, 3)),
        ("antipodes", antipodes, 3, count(6, 3)),
        ("scaled", scaled, 3, count(6, 3)),
        ("zero", zero, 3, count(6, 3)),
        ("plane", plane, 4, count(8, 2)),
        ("product", product, 4, count(8, 2)),
    ] {
        let samples = Samples::new(x, d).unwrap();
        let all = Patterns::all(&samples).unwrap();
        let sampled = Patterns::sample(&samples, 30_000, Seed(7)).unwrap();
        assert!(all.complete(), "{name}");
        assert!(set(&sampled).is_subset(&set(&all)), "{name}");
        assert!(all.len() as f64 <= most, "{name}: {} > {most}", all.len());
        assert_eq!(all.len(), sampled.len(), "{name}: more cells than directions show");
    }
}

/// Rounding turns repeated points into points that are almost parallel: their cells are there, and the program that
/// lists them is solved and proved like any other.
#[test]
fn cells_as_thin_as_rounding_do_no_harm() {
    let few = random(5, 3, 4);
    let thrice = [few.clone(), few.iter().map(|x| 3.0 * x).collect()].concat();
    let samples = Samples::new(thrice, 3).unwrap();
    let all = Patterns::all(&samples).unwrap();
    assert!(all.complete() && set(&Patterns::sample(&samples, 3000, Seed(1)).unwrap()).is_subset(&set(&all)));
    let y: Vec<f64> = samples.rows().map(|x| x[0].abs() - 0.4 * x[1]).collect();
    let patterns = PatternChoice::All;
    let settings = ConvexRelu { loss: Loss::Squared, beta: 0.05, patterns, ..ConvexRelu::default() };
    let fit = settings.fit(&samples, &y).unwrap();
    assert!(fit.certificate.gap < 1e-4, "{} with {} patterns", fit.certificate.gap, all.len());
    assert!((fit.nonconvex_objective / fit.certificate.objective - 1.0).abs() < 1e-6);
}

/// |x| on three points: its worst case and decay are 0.16 at ε = 0.2.
#[test]
fn no_robust_program_claims_all_networks() {
    let samples = Samples::new(vec![-1.0, 1.0, 0.0, 1.0, 1.0, 1.0], 2).unwrap();
    let y = [1.0, 0.0, 1.0];
    for (eps, known) in [(0.2, 0.16), (0.3, 0.235)] {
        let (patterns, half) = (PatternChoice::All, Some(vec![eps, 0.0]));
        let settings =
            ConvexRelu { loss: Loss::Squared, beta: 0.05, patterns, eps: half, ..ConvexRelu::default() };
        let fit = settings.fit(&samples, &y).unwrap();
        assert!(!fit.program.patterns().complete(), "{eps}");
        // s|x| at the corners and kinks of the boxes, which hold its worst cases.
        let best = (0..=2000).map(|i| f64::from(i) / 1000.0).map(|s| {
            let worst = |x: f64, y: f64| {
                let ends = [(x - eps).abs(), (x + eps).abs(), if x.abs() <= eps { 0.0 } else { x.abs() }];
                ends.iter().map(|a| 0.5 * (s * a - y).powi(2)).fold(0.0, f64::max)
            };
            worst(-1.0, 1.0) + worst(0.0, 0.0) + worst(1.0, 1.0) + 0.05 * 2.0 * s
        });
        let best = best.fold(f64::INFINITY, f64::min);
        assert!((best - known).abs() < 1e-3, "{eps}: {best}");
        assert!(fit.certificate.objective >= best * (1.0 - 1e-6), "its value bounds the best from above");
    }
}

#[test]
fn patterns_that_nobody_drew_have_no_number_of_draws() {
    let samples = Samples::new(random(8, 2, 1), 2).unwrap();
    let drawn = Patterns::sample(&samples, 30, Seed(1)).unwrap();
    assert_eq!(drawn.drawn(), 30);
    assert_eq!(Patterns::all(&samples).unwrap().drawn(), 0);
    assert_eq!(drawn.filter(|i| i > 0).unwrap().drawn(), 0);
    let columns: Vec<Vec<u8>> =
        (0..drawn.len()).map(|i| (0..8).map(|k| u8::from(drawn.on(i, k))).collect()).collect();
    assert_eq!(Patterns::from_columns(8, columns.iter().map(Vec::as_slice)).unwrap().drawn(), 0);
    let part = drawn.select(&[0, 3, 5]).unwrap();
    assert!(part.n() == 3 && part.drawn() == 0 && !part.complete());
}
