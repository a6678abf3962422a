//! Optimal Brain Surgeon against exact numbers, brute force and exhaustive search; the pruner's
//! counts, masks, warnings and refusals.

use proptest::prelude::*;
use thalweg_core::{Kind, Layout, MethodError, Seed};
use thalweg_mfac::obs::{compensate, predicted_increase, saliencies};
use thalweg_mfac::prune::{Layer, Report, Weights};
use thalweg_mfac::{Compensation, MfacError, ObsPruner, Saliency, Scope};
use thalweg_testing::on_threads;

use crate::common::*;

fn mask(d: usize, at: &[usize]) -> Vec<bool> {
    (0..d).map(|i| at.contains(&i)).collect()
}

/// ½ δᵀFδ with the dense matrix.
fn cost(f: &faer::Mat<f64>, delta: &[f64]) -> f64 {
    0.5 * dot(delta, &times(f, delta))
}

#[test]
fn the_hand_example() {
    let g = [vec![1.0, 2.0, 0.0], vec![0.0, 1.0, 1.0]];
    let (fisher, f, w) = (fisher(&g, 0.5, 0).unwrap(), dense(&g, 0.5, 0), [0.3, -0.2, 0.5]);
    close(&saliencies(&fisher, &w).unwrap(), &[0.09 * 7.0 / 22.0, 0.035, 0.109375], 1e-14);
    let delta = |at: &[usize], how| compensate(&fisher, &w, &mask(3, at), how).unwrap();
    for how in [Compensation::Single, Compensation::Joint] {
        close(&delta(&[1], how), &[-0.2, 0.2, -0.1], 1e-14);
    }
    let joint = delta(&[0, 1], Compensation::Joint);
    close(&joint, &[-0.3, 0.2, -0.1], 1e-14);
    assert!((predicted_increase(&fisher, &joint).unwrap() - 0.04).abs() < 1e-15);
    let single = delta(&[0, 1], Compensation::Single);
    close(&single, &[-0.3, 0.2, -0.1 - 3.0 / 55.0], 1e-14);
    let increase = predicted_increase(&fisher, &single).unwrap();
    assert!((increase - cost(&f, &single)).abs() < 1e-15 && (increase - 0.0414876).abs() < 1e-7);
    close(&delta(&[0, 1], Compensation::None), &[-0.3, 0.2, 0.0], 1e-15);
}

/// All subsets of `n` of `d` indices.
fn subsets(d: usize, n: usize) -> Vec<Vec<usize>> {
    let all = (0u32..1 << d).filter(|s| s.count_ones() as usize == n);
    all.map(|s| (0..d).filter(|i| s >> i & 1 == 1).collect()).collect()
}

/// The least ½ δᵀFδ with δ = −w on `at`, by elimination of the others: ½ wᵀ S w with the Schur
/// complement S.
fn least(f: &faer::Mat<f64>, w: &[f64], at: &[usize]) -> f64 {
    let i = inverse(f);
    let sub = faer::Mat::from_fn(at.len(), at.len(), |a, b| i[(at[a], at[b])]);
    let gone: Vec<f64> = at.iter().map(|q| w[*q]).collect();
    0.5 * dot(&gone, &times(&inverse(&sub), &gone))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// At the minimum of ½ (w − w*)ᵀF(w − w*) the model is exact.
    #[test]
    fn joint_compensation_is_optimal_for_any_block(
        seed in 0u64..1000, m in 1usize..=9, d in 2usize..=12, block in 0usize..=13, n in 1usize..=3,
    ) {
        let n = n.min(d);
        let (g, w) = (rows(seed, m, d), random(seed + 1, d));
        let (fisher, f) = (fisher(&g, 0.05, block).unwrap(), dense(&g, 0.05, block));
        for at in subsets(d, n).iter().step_by(7) {
            let removed = mask(d, at);
            let delta = compensate(&fisher, &w, &removed, Compensation::Joint).unwrap();
            prop_assert!(at.iter().all(|i| w[*i] + delta[*i] == 0.0));
            let (measured, predicted) = (cost(&f, &delta), predicted_increase(&fisher, &delta).unwrap());
            prop_assert!((measured - predicted).abs() <= 1e-12 * predicted);
            prop_assert!((measured - least(&f, &w, at)).abs() <= 1e-9 * measured);
            for how in [Compensation::None, Compensation::Single] {
                let other = compensate(&fisher, &w, &removed, how).unwrap();
                prop_assert!(cost(&f, &other) >= measured * (1.0 - 1e-12));
            }
        }
        // Of single removals the saliency is the cost.
        for (i, rho) in saliencies(&fisher, &w).unwrap().iter().enumerate() {
            prop_assert!((rho - least(&f, &w, &[i])).abs() <= 1e-9 * rho);
        }
    }
}

/// One layer of `d` weights with the given gradients.
struct Model {
    theta: Vec<f32>,
    alive: Vec<bool>,
    layers: Vec<Layer>,
    g: Vec<Vec<f64>>,
    calls: Vec<(usize, usize)>,
}

impl Model {
    fn new(seed: u64, m: usize, sizes: &[usize]) -> Self {
        let d: usize = sizes.iter().sum();
        let mut start = 0;
        let layer = |(i, n): (usize, &usize)| {
            start += n;
            Layer { name: format!("fc{i}.weight"), range: start - n..start, row: *n }
        };
        Self {
            theta: random(seed, d).iter().map(|w| *w as f32).collect(),
            alive: vec![true; d],
            layers: sizes.iter().enumerate().map(layer).collect(),
            g: rows(seed + 7, m, d),
            calls: Vec::new(),
        }
    }

    fn run(&mut self, pruner: &ObsPruner, sparsity: f64) -> Result<Report, MfacError> {
        let Self { theta, alive, layers, g, calls } = self;
        let mut source = |_: &[f32], at: &[usize], round: usize, rows: &mut [&mut [f32]]| {
            calls.push((round, at.len()));
            for (row, g) in rows.iter_mut().zip(g.iter().cycle()) {
                row.iter_mut().zip(at).for_each(|(x, i)| *x = g[*i] as f32);
            }
            Ok::<_, MethodError>(vec![1.0; rows.len()])
        };
        pruner.one_shot(Weights { theta, alive, layers }, sparsity, 0, &mut source)
    }

    fn zeros(&self) -> usize {
        self.alive.iter().filter(|a| !**a).count()
    }
}

fn pruner(m: usize) -> ObsPruner {
    ObsPruner { gradients: vec![m], damping: 1e-2, recompute: 1, block: 8, ..ObsPruner::default() }
}

#[test]
fn sparsity_is_met_exactly_by_every_method() {
    for method in [Saliency::Mfac, Saliency::Magnitude, Saliency::DiagFisher] {
        for compensation in
            [Compensation::None, Compensation::Single, Compensation::Joint, Compensation::Greedy]
        {
            for (sparsity, recompute, block) in [(0.29, 1, 8), (0.5, 3, 1), (0.777, 4, 0), (0.0, 2, 8)] {
                let mut model = Model::new(3, 5, &[40, 35, 25]);
                let pruner = ObsPruner { method, compensation, recompute, block, ..pruner(5) };
                let report = model.run(&pruner, sparsity).unwrap();
                let zeros = (100.0 * sparsity + 1e-9f64).floor() as usize;
                assert_eq!(
                    (model.zeros(), report.dropped, report.sparsity),
                    (zeros, zeros, zeros as f64 / 100.0)
                );
                assert!((0..100).all(|i| model.alive[i] == (model.theta[i] != 0.0)));
                assert_eq!(report.layers.iter().map(|l| l.pruned).sum::<usize>(), zeros);
                assert_eq!(report.predicted_increase.is_some(), method != Saliency::Magnitude && zeros > 0);
            }
        }
    }
}

#[test]
fn densities_fall_by_equal_factors_and_one_round_is_plain_one_shot() {
    let mut model = Model::new(3, 5, &[1000]);
    model.run(&ObsPruner { recompute: 4, ..pruner(5) }, 0.9).unwrap();
    let expected = [1.0, 0.1f64.powf(0.25), 0.1f64.powf(0.5), 0.1f64.powf(0.75)];
    for ((round, alive), (j, density)) in model.calls.iter().zip(expected.iter().enumerate()) {
        assert_eq!((*round, *alive), (j, (1000.0 * density).ceil() as usize));
    }
    let mut further = Model { calls: vec![], ..Model::new(3, 5, &[1000]) };
    for sparsity in [0.5, 0.75] {
        further.run(&pruner(5), sparsity).unwrap();
    }
    assert_eq!(
        (further.calls, further.alive.iter().filter(|a| **a).count()),
        (vec![(0, 1000), (0, 500)], 250)
    );
    let (mut a, mut b) = (Model::new(4, 5, &[100]), Model::new(4, 5, &[100]));
    a.run(&pruner(5), 0.6).unwrap();
    let Model { theta, alive, layers, g, .. } = &mut b;
    let mut source = |_: &[f32], at: &[usize], _: usize, rows: &mut [&mut [f32]]| {
        let fill = |(row, g): (&mut &mut [f32], &Vec<f64>)| {
            row.iter_mut().zip(at).for_each(|(x, i)| *x = g[*i] as f32);
        };
        rows.iter_mut().zip(&*g).for_each(fill);
        Ok(vec![1.0; 5])
    };
    let many = ObsPruner { recompute: 9, ..pruner(5) };
    many.step(Weights { theta, alive, layers }, 0.6, 0, &mut source).unwrap();
    assert_eq!((a.theta, a.alive), (b.theta, b.alive));
}

/// ½ (B · var(c) + mean(c)²) of the changes c = G δ of one block.
fn loss_increase(g: &[Vec<f64>], delta: &[f64], cols: std::ops::Range<usize>, micro_batch: usize) -> f64 {
    let c: Vec<f64> = g.iter().map(|g| dot(&g[cols.clone()], &delta[cols.clone()])).collect();
    let mean = c.iter().sum::<f64>() / c.len() as f64;
    let variance = c.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (c.len() - 1) as f64;
    0.5 * (micro_batch as f64 * variance + mean * mean)
}

/// Greedy removal of two or three weights, in one block, is at least as good as the cheapest
/// singles and rarely worse than the best of all subsets; with two blocks it shares out globally.
#[test]
fn greedy_and_joint_against_exhaustive_search() {
    let (mut greedy_total, mut joint_total, mut best_total) = (0.0, 0.0, 0.0);
    for seed in 0..60 {
        for n in [2, 3] {
            let costs = [Compensation::Greedy, Compensation::Joint].map(|compensation| {
                let mut model = Model::new(seed, 4, &[10]);
                let w: Vec<f64> = model.theta.iter().map(|w| f64::from(*w)).collect();
                let g: Vec<Vec<f64>> =
                    model.g.iter().map(|g| g.iter().map(|g| f64::from(*g as f32)).collect()).collect();
                let f = dense(&g, 1e-2, 5);
                let pruner = ObsPruner { compensation, block: 5, ..pruner(4) };
                let report = model.run(&pruner, n as f64 / 10.0).unwrap();
                let delta: Vec<f64> = model.theta.iter().zip(&w).map(|(t, w)| f64::from(*t) - w).collect();
                let predicted = cost(&f, &delta);
                // What is reported is the loss's: B · var + mean² of the micro-batches' changes, block by block.
                let reported: f64 = [0..5, 5..10]
                    .map(|cols| loss_increase(&g, &delta, cols, pruner.micro_batch))
                    .iter()
                    .sum();
                let found = report.predicted_increase.unwrap();
                assert!((found - reported).abs() < 1e-5 * (reported + 1e-3), "{found} is not {reported}");
                let best = subsets(10, n).iter().map(|at| least(&f, &w, at)).fold(f64::INFINITY, f64::min);
                assert!(predicted >= best * (1.0 - 1e-6), "{predicted} < {best}");
                (predicted, best)
            });
            greedy_total += costs[0].0;
            joint_total += costs[1].0;
            best_total += costs[0].1;
        }
    }
    println!("greedy {greedy_total:.4}, joint {joint_total:.4}, exhaustive {best_total:.4}");
    assert!(greedy_total < joint_total && greedy_total < 1.3 * best_total);
}

#[test]
fn greedy_picks_the_cheapest_next_weight_each_time() {
    let mut model = Model::new(21, 4, &[12]);
    let w: Vec<f64> = model.theta.iter().map(|w| f64::from(*w)).collect();
    let g: Vec<Vec<f64>> = model.g.iter().map(|g| g.iter().map(|g| f64::from(*g as f32)).collect()).collect();
    let f = dense(&g, 1e-2, 6);
    model.run(&ObsPruner { compensation: Compensation::Greedy, block: 6, ..pruner(4) }, 0.5).unwrap();
    let mut gone: Vec<usize> = Vec::new();
    while gone.len() < 6 {
        let with = |q: usize| [&gone[..], &[q]].concat();
        let next = (0..12)
            .filter(|q| !gone.contains(q))
            .min_by(|a, b| least(&f, &w, &with(*a)).total_cmp(&least(&f, &w, &with(*b))));
        gone.extend(next);
    }
    assert_eq!(model.alive, mask(12, &gone).iter().map(|g| !g).collect::<Vec<_>>());
}

#[test]
fn patterns_keep_n_of_every_m_along_a_row() {
    for recompute in [1, 4] {
        let mut model = Model::new(5, 6, &[8 * 10, 4 * 6]);
        (model.layers[0].row, model.layers[1].row) = (10, 6);
        let pattern = Some("2:4".parse().unwrap());
        let report = model.run(&ObsPruner { pattern, recompute, ..pruner(6) }, 0.5).unwrap();
        for layer in &model.layers {
            for row in model.alive[layer.range.clone()].chunks(layer.row) {
                let groups = row.as_chunks::<4>();
                assert!(groups.0.iter().all(|g| g.iter().filter(|a| **a).count() == 2));
                assert!(groups.1.iter().all(|a| *a), "the rest of a row stays");
            }
        }
        assert_eq!(report.dropped, 8 * 4 + 4 * 2);
    }
    let refused = Model::new(5, 6, &[16])
        .run(&ObsPruner { pattern: Some("1:4".parse().unwrap()), ..pruner(6) }, 0.5)
        .unwrap_err();
    assert_eq!(refused.to_string(), "sparsity = 0.5 is not allowed; use 0.75, which the pattern 1:4 leaves");
}

#[test]
fn zeros_that_are_not_masked_are_alive() {
    let mut model = Model::new(6, 5, &[20]);
    model.theta[3] = 0.0;
    model.alive[8] = false;
    model.theta[8] = 0.0;
    model.run(&pruner(5), 0.1).unwrap();
    assert_eq!(model.calls, [(0, 19)]);
    assert!(!model.alive[3] && model.zeros() == 2, "the free zero goes first");
}

#[test]
fn sparsity_of_all_parameters_and_choice_of_layers() {
    let mut layout = Layout::default();
    layout.push("conv.weight", &[4, 2, 3, 3], Kind::Conv);
    layout.push("conv.bias", &[28], Kind::Bias);
    layout.push("head.weight", &[5, 8], Kind::Linear);
    layout.push("frozen.weight", &[5, 8], Kind::Linear);
    layout.set_frozen("frozen.weight", true);
    let all = pruner(5).prunable(&layout).unwrap();
    let names: Vec<_> = all.iter().map(|l| (l.name.as_str(), l.range.clone(), l.row)).collect();
    assert_eq!(names, [("conv.weight", 0..72, 18), ("head.weight", 100..140, 8)]);
    let only = ObsPruner { layers: vec!["head*".into()], ..pruner(5) };
    let mut model = Model { layers: only.prunable(&layout).unwrap(), ..Model::new(1, 5, &[180]) };
    let pruner = ObsPruner { relative_to: Scope::All, ..only.clone() };
    let report = model.run(&pruner, 0.1).unwrap();
    assert_eq!((model.zeros(), report.sparsity), (18, 18.0 / 40.0));
    assert!(model.alive[..100].iter().all(|a| *a));
    let text = model.run(&pruner, 0.5).unwrap_err().to_string();
    assert!(text.starts_with("sparsity = 0.5 is not allowed; use at most 0.22222"), "{text}");
    let text = |layers: &str| {
        let pruner = ObsPruner { layers: vec![layers.into()], ..only.clone() };
        pruner.prunable(&layout).unwrap_err().to_string()
    };
    assert!(text("heads").starts_with("layers = \"heads\" is not allowed; use the name of a block"));
    assert!(text("conv.bias").starts_with("layers = conv.bias is not allowed; use a pattern that matches"));
}

#[test]
fn refusals_and_warnings() {
    let mut model = Model::new(2, 5, &[50, 5]);
    model.run(&pruner(5), 0.5).unwrap();
    let text = model.run(&pruner(5), 0.3).unwrap_err().to_string();
    assert!(text.starts_with("sparsity 0.3 is below the present 0.49"), "{text}");
    for sparsity in [1.1, -0.1, f64::NAN] {
        assert!(model.run(&pruner(5), sparsity).unwrap_err().to_string().starts_with("sparsity = "));
    }
    model.theta[50..].fill(1e-3);
    let report = model.run(&pruner(5), 0.8).unwrap();
    assert!(report.warnings.iter().any(|w| w.starts_with("fc1.weight lost all its 5 weights")), "{report:?}");

    model.layers.reverse();
    let text = model.run(&pruner(5), 0.9).unwrap_err().to_string();
    assert!(text.starts_with("layers = overlapping ranges is not allowed"), "{text}");
    let greedy = ObsPruner { compensation: Compensation::Greedy, block: 0, ..pruner(5) };
    let text = Model::new(2, 5, &[5000]).run(&greedy, 0.9).unwrap_err().to_string();
    assert!(text.starts_with("block = 5000 is not allowed; use 1 to 4096"), "{text}");

    let mut model = Model::new(2, 20, &[50]);
    model.g[3][17] = f64::NAN;
    model.g[9][0] = f64::INFINITY;
    let report = model.run(&pruner(20), 0.5).unwrap();
    assert_eq!(report.skipped, 2);
    let (mut clean, good) = (Model::new(2, 20, &[50]), (0..20).filter(|k| *k != 3 && *k != 9));
    clean.g = good.map(|k| clean.g[k].clone()).collect();
    clean.run(&pruner(18), 0.5).unwrap();
    assert_eq!(model.theta, clean.theta);
    let mut model = Model::new(2, 20, &[50]);
    (0..3).for_each(|k| model.g[k][1] = f64::NAN);
    let text = model.run(&pruner(20), 0.5).unwrap_err().to_string();
    assert!(text.starts_with("3 of 20 micro-batches had non-finite gradients"), "{text}");

    let mut model = Model::new(2, 5, &[50]);
    model.g.iter_mut().flatten().for_each(|g| *g *= 1e-5);
    let report = model.run(&pruner(5), 0.5).unwrap();
    assert!(report.warnings[0].starts_with("the gradients nearly vanish"), "{report:?}");
    let at = model.alive.iter().position(|a| *a).unwrap();
    model.theta[at] = f32::NAN;
    let text = model.run(&pruner(5), 0.9).unwrap_err().to_string();
    assert!(text.starts_with(&format!("weight {at} of fc0.weight is not finite")), "{text}");
}

#[test]
fn settings_survive_a_file_and_name_their_errors() {
    let read = |text: &str| serde_json::from_str::<ObsPruner>(text);
    assert_eq!(read("{}").unwrap(), ObsPruner::default());
    let pruner = read(r#"{"method": "diag-fisher", "pattern": "2:4", "gradients": [64, 128]}"#).unwrap();
    assert_eq!(read(&serde_json::to_string(&pruner).unwrap()).unwrap(), pruner);
    for (text, expected) in [
        (r#"{"grads": 3}"#, "unknown field `grads`"),
        (r#"{"pattern": "4:2"}"#, "pattern = 4:2 is not allowed; use N:M"),
        (r#"{"compensation": "both"}"#, "unknown variant `both`"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let base = ObsPruner::default;
    for (pruner, expected) in [
        (ObsPruner { gradients: vec![], ..base() }, "gradients = []"),
        (ObsPruner { gradients: vec![4, 0], ..base() }, "gradients = [4, 0]"),
        (ObsPruner { micro_batch: 0, ..base() }, "micro_batch = 0"),
        (ObsPruner { damping: 0.0, ..base() }, "damping = 0"),
        (ObsPruner { recompute: 0, ..base() }, "recompute = 0"),
        (ObsPruner { layers: vec![], ..base() }, "layers = []"),
        (
            ObsPruner { pattern: Some("2:4".parse().unwrap()), compensation: Compensation::Greedy, ..base() },
            "compensation = greedy",
        ),
    ] {
        let error = pruner.validate().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn pruning_gives_the_same_bits_on_any_number_of_threads() {
    for compensation in [Compensation::Single, Compensation::Joint, Compensation::Greedy] {
        let run = |threads| {
            on_threads(threads, || {
                let mut model = Model::new(9, 12, &[5000, 700]);
                let pruner = ObsPruner { compensation, block: 64, recompute: 2, ..pruner(12) };
                let report = model.run(&pruner, 0.7).unwrap();
                (model.theta, report)
            })
        };
        let one = run(1);
        assert!(run(2) == one && run(3) == one);
    }
}

/// Where the quadratic model is right, a linear regression at its minimum with noise of variance 1, the predicted
/// increase of the loss is the actual one within a factor of 3, for micro-batches of any size.
#[test]
fn the_predicted_increase_is_in_the_units_of_the_loss() {
    let (d, m) = (24, 400);
    // Correlated inputs, so that compensation matters: x = L z with E[z zᵀ] = I.
    let l = rows(1, d, d);
    let input = |z: &[f64]| -> Vec<f64> { l.iter().map(|row| dot(row, z) / (d as f64).sqrt()).collect() };
    let w: Vec<f32> = random(2, d).iter().map(|w| *w as f32).collect();
    for micro_batch in [1, 4, 32] {
        for compensation in [Compensation::None, Compensation::Single, Compensation::Joint] {
            let (mut theta, mut alive) = (w.clone(), vec![true; d]);
            let layers = [Layer { name: "fc.weight".into(), range: 0..d, row: d }];
            let mut source = |_: &[f32], at: &[usize], _: usize, rows: &mut [&mut [f32]]| {
                let mut rng = Seed(3).stream("examples", micro_batch as u64);
                for row in rows.iter_mut() {
                    row.fill(0.0);
                    for _ in 0..micro_batch {
                        // The gradient of ½ (xᵀw − y)² at the minimum is x times the noise.
                        let z: Vec<f64> = thalweg_testing::normals(&mut rng, d + 1);
                        let x = input(&z[..d]);
                        at.iter().zip(row.iter_mut()).for_each(|(i, g)| *g += (z[d] * x[*i]) as f32);
                    }
                    row.iter_mut().for_each(|g| *g /= micro_batch as f32);
                }
                Ok::<_, MethodError>(vec![0.5; rows.len()])
            };
            let pruner = ObsPruner { micro_batch, compensation, damping: 1e-6, block: 0, ..pruner(m) };
            let weights = Weights { theta: &mut theta, alive: &mut alive, layers: &layers };
            let report = pruner.one_shot(weights, 0.4, 0, &mut source).unwrap();
            let delta: Vec<f64> = theta.iter().zip(&w).map(|(a, b)| f64::from(a - b)).collect();
            // ½ δᵀE[xxᵀ]δ with E[xxᵀ] = L Lᵀ/d.
            let actual: f64 = (0..d)
                .map(|k| (0..d).map(|i| l[i][k] * delta[i]).sum::<f64>().powi(2) / d as f64)
                .sum::<f64>()
                / 2.0;
            let ratio = report.predicted_increase.unwrap() / actual;
            assert!(
                (1.0 / 3.0..3.0).contains(&ratio),
                "micro-batches of {micro_batch}, {compensation:?}: {ratio}"
            );
        }
    }
}
