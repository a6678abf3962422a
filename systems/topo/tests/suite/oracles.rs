//! What the specification lists as correctness oracles, each against an independent computation.

use proptest::prelude::*;
use thalweg_core::{Interrupt, Seed, Stop, StopReason};
use thalweg_linalg::dense::{Lu, product, solve};
use thalweg_testing::{normals, on_threads};
use thalweg_topo::baselines::{Dagma, Notears};
use thalweg_topo::factor::Move;
use thalweg_topo::graph::{edges, positions, topological_order};
use thalweg_topo::metrics::{compare, order_divergence};
use thalweg_topo::score::Bic;
use thalweg_topo::simulate::{Mechanism, Noise, Simulation};
use thalweg_topo::start::{random_order, top_down};
use thalweg_topo::*;

fn simulated(family: &str, dim: usize, samples: usize, seed: u64) -> (Mat<f64>, Sample) {
    let simulation = Simulation {
        family: family.parse().unwrap(),
        dim,
        samples,
        noise: Noise::GaussEv,
        mechanism: Mechanism::Linear,
    };
    simulation.run(Seed(seed)).unwrap()
}

/// Covariance (I − W)⁻ᵀ (I − W)⁻¹ of infinitely many samples with unit noise.
fn population(w: &Mat<f64>) -> Mat<f64> {
    let d = w.nrows();
    let m = Mat::from_fn(d, d, |i, j| f64::from(i == j) - w[(i, j)]);
    let inverse = Lu::new(m).inverse();
    product(inverse.transpose(), &inverse)
}

/// ½ Σ conditional variances of an order, each by a regression of its own.
fn score_of(s: &Mat<f64>, order: &[usize]) -> f64 {
    let mut sum = 0.0;
    for (k, &v) in order.iter().enumerate() {
        let p = &order[..k];
        let gram = Mat::from_fn(k, k, |a, b| s[(p[a], p[b])]);
        let c = Mat::from_fn(k, 1, |a, _| s[(p[a], v)]);
        let explained = match k {
            0 => 0.0,
            _ => {
                let w = solve(gram, &c).unwrap();
                (0..k).map(|a| w[(a, 0)] * c[(a, 0)]).sum()
            }
        };
        sum += 0.5 * (s[(v, v)] - explained);
    }
    sum
}

/// A start from this order.
fn from(order: &[usize]) -> FitOptions<'_> {
    FitOptions { start: Some(order), ..FitOptions::default() }
}

fn orders(d: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..d {
        let grown = |o: &Vec<usize>| {
            (0..d).filter(|v| !o.contains(v)).map(|v| [&o[..], &[v]].concat()).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(grown).collect();
    }
    all
}

#[test]
fn in_the_limit_the_true_orders_are_the_best() {
    let (w, _) = simulated("er:1", 6, 10, 7);
    let s = population(&w);
    assert_eq!(order_divergence(&w, &top_down(&s)), 0);
    for order in orders(6) {
        let score = score_of(&s, &order);
        match order_divergence(&w, &order) {
            0 => assert!((score - 3.0).abs() < 1e-9, "{score}"),
            _ => assert!(score > 3.0 + 1e-6, "{order:?} {score}"),
        }
    }
}

#[test]
fn restarts_with_windows_hit_the_optimum() {
    let (mut hits, mut all) = (0, 0);
    for (family, samples, standardize) in
        [("er:2", 100, false), ("er:2", 100, true), ("er:4", 100, true), ("er:2", 1000, true)]
    {
        for seed in 0..5 {
            let (_, sample) = simulated(family, 12, samples, seed);
            let topo = Topo { standardize, init: Init::Random, restarts: Some(8), ..Topo::default() };
            let exact = topo.exact(&sample, &FitOptions::default()).unwrap().score;
            let found = topo.fit(&sample, &FitOptions::seed(seed)).unwrap().score;
            assert!(found >= exact * (1.0 - 1e-10));
            hits += usize::from(found <= exact * (1.0 + 1e-9));
            all += 1;
        }
    }
    assert!(hits * 100 >= 95 * all, "{hits} of {all}");
}

#[test]
fn the_exact_bic_is_the_best_of_all_graphs() {
    let (_, sample) = simulated("er:1", 4, 60, 3);
    let topo = Topo { score: Score::Bic(1.0), ..Topo::default() };
    let exact = topo.exact(&sample, &FitOptions::default()).unwrap();
    let bic = Bic::new(sample.covariance(), sample.n(), 1.0);
    let mut least = f64::INFINITY;
    for order in orders(4) {
        // Every set of parents of every node among its predecessors.
        let node = |k: usize| {
            (0..1usize << k)
                .map(|t| {
                    let p: Vec<usize> = (0..k).filter(|i| t >> i & 1 == 1).map(|i| order[i]).collect();
                    bic.exactly(order[k], &p)
                })
                .fold(f64::INFINITY, f64::min)
        };
        least = least.min((0..4).map(node).sum());
    }
    assert!((exact.score - least).abs() < 1e-10, "{} {least}", exact.score);
    assert!(topo.fit(&sample, &FitOptions::default()).unwrap().score >= least - 1e-10);
}

#[test]
fn both_modes_of_every_score_are_consistent() {
    let (_, sample) = simulated("er:2", 8, 200, 5);
    let binary = Simulation {
        noise: Noise::Logistic,
        family: "er:1".parse().unwrap(),
        dim: 8,
        samples: 200,
        mechanism: Mechanism::Linear,
    };
    let binary = binary.run(Seed(5)).unwrap().1;
    for score in [
        Score::L2(Penalty::None),
        Score::L2(Penalty::L2(0.1)),
        Score::L2(Penalty::L1(0.05)),
        Score::L2(Penalty::Mcp(0.1, 1.0)),
        Score::EqualVariance,
        Score::Mcp(0.1, 1.0),
        Score::Bic(1.0),
        Score::Logistic(Penalty::L1(0.01)),
        Score::Logistic(Penalty::L2(0.01)),
    ] {
        let sample = if matches!(score, Score::Logistic(_)) { &binary } else { &sample };
        for mode in [Mode::Fast, Mode::Paper] {
            let topo = Topo {
                score,
                mode,
                init: Init::Random,
                restarts: Some(0),
                window: Some(4),
                ..Topo::default()
            };
            let learned = topo.fit(sample, &FitOptions::seed(3)).unwrap();
            assert!(learned.trace.windows(2).all(|w| w[1] < w[0]), "{score:?} {:?}", learned.trace);
            let last = *learned.trace.last().unwrap();
            // The window updates of the search add up to a full refit.
            let again = topo.fit(sample, &from(&learned.order)).unwrap();
            assert!(
                (again.trace[0] - last).abs() <= 1e-9 * last.abs().max(1.0),
                "{score:?}: {last} {}",
                again.trace[0]
            );
            assert_eq!(order_divergence(&learned.weights, &learned.order), 0);
            assert!(topological_order(&learned.graph).is_some());
            let kkt = learned.kkt_violation.unwrap();
            assert!(kkt <= 1e-5, "{score:?} {mode:?}: {kkt}");
            // Polishing its own result changes nothing for the worse; under the MCP score, whose
            // regressions are not convex, the first refit may end in another local minimum.
            if matches!(score, Score::Mcp(..)) {
                continue;
            }
            let polished = topo.polish(&learned.weights, sample, &FitOptions::default()).unwrap();
            let before = polished.before.unwrap();
            assert!(polished.learned.score <= before + 1e-9 * before.abs(), "{score:?}");
        }
    }
}

#[test]
fn graphs_of_continuous_methods_get_better() {
    let (truth, sample) = simulated("er:2", 8, 1000, 3);
    let s = sample.covariance();
    let dagma = Dagma { lambda: 0.02, warm_steps: 6000, max_steps: 6000, ..Dagma::default() };
    for w in [Notears::default().fit(&s).unwrap(), dagma.fit(&s).unwrap()] {
        let polished = Topo::default().polish(&w, &sample, &FitOptions::default()).unwrap();
        assert!(polished.refit <= polished.before.unwrap() + 1e-9);
        assert!(polished.learned.score <= polished.refit + 1e-9);
        assert!(compare(&truth, &polished.learned.graph).unwrap().shd <= 1);
    }
}

#[test]
fn units_change_least_squares_but_not_bic() {
    let (_, sample) = simulated("er:2", 8, 300, 8);
    let order: Vec<usize> = (0..8).collect();
    let rescaled = |f: &dyn Fn(usize) -> f64| {
        Sample::unnamed(Mat::from_fn(300, 8, |i, j| f(j) * sample.x()[(i, j)])).unwrap()
    };
    let at = |score: Score, sample: &Sample| {
        Topo { score, ..Topo::default() }.fit(sample, &from(&order)).unwrap().trace[0]
    };
    let (all, each) = (rescaled(&|_| 3.0), rescaled(&|j| 1.0 + j as f64));
    let squares = Score::L2(Penalty::None);
    assert!((at(squares, &all) / at(squares, &sample) - 9.0).abs() < 1e-9);
    assert!((at(squares, &each) / at(squares, &sample) - 1.0).abs() > 0.1);
    let bic = Score::Bic(2.0);
    let shift: f64 = (0..8).map(|j| (1.0 + j as f64).ln()).sum();
    assert!((at(bic, &each) - at(bic, &sample) - shift).abs() < 1e-9);
    let learned = |s: &Sample| {
        let topo = Topo { score: bic, init: Init::Random, ..Topo::default() };
        topo.fit(s, &FitOptions::seed(1)).unwrap().cpdag
    };
    assert_eq!(learned(&each), learned(&sample));
}

#[test]
fn knowledge_is_obeyed() {
    let (truth, sample) = simulated("er:2", 10, 500, 9);
    let real = edges(&truth);
    let knowledge = Knowledge {
        forbidden: vec![(real[0].0, real[0].1), (real[3].0, real[3].1)],
        required: vec![(real[5].1, real[5].0)], // against the truth
        tiers: Vec::new(),
    };
    let tiers = Knowledge { tiers: (0..10).map(|v| usize::from(v < 5)).collect(), ..Knowledge::default() };
    for score in [Score::L2(Penalty::None), Score::L2(Penalty::L1(0.2)), Score::Bic(1.0)] {
        for mode in [Mode::Fast, Mode::Paper] {
            let topo = Topo { score, mode, restarts: Some(2), ..Topo::default() };
            let learned =
                topo.fit(&sample, &FitOptions { knowledge: &knowledge, ..FitOptions::seed(1) }).unwrap();
            for e in &knowledge.forbidden {
                assert_eq!(learned.graph[*e], 0.0);
            }
            assert!(learned.graph[knowledge.required[0]] != 0.0, "{score:?} {mode:?}");
            let learned =
                topo.fit(&sample, &FitOptions { knowledge: &tiers, ..FitOptions::seed(1) }).unwrap();
            assert!(edges(&learned.weights).iter().all(|e| e.0 >= 5 || e.1 < 5), "{score:?} {mode:?}");
        }
        let topo = Topo { score, ..Topo::default() };
        if score != Score::L2(Penalty::L1(0.2)) {
            let given = FitOptions { knowledge: &knowledge, ..FitOptions::default() };
            let (exact, found) = (topo.exact(&sample, &given).unwrap(), topo.fit(&sample, &given).unwrap());
            assert!(exact.score <= found.score + 1e-9, "{score:?}: {} {}", exact.score, found.score);
            assert!(exact.graph[knowledge.forbidden[0]] == 0.0 && exact.graph[knowledge.required[0]] != 0.0);
        }
    }
    let contradiction = Knowledge { forbidden: vec![(0, 1)], required: vec![(0, 1)], tiers: Vec::new() };
    let given = FitOptions { knowledge: &contradiction, ..FitOptions::default() };
    assert!(matches!(Topo::default().fit(&sample, &given), Err(TopoError::Contradiction { .. })));
    let circle = Knowledge { required: vec![(0, 1), (1, 2), (2, 0)], ..Knowledge::default() };
    let given = FitOptions { knowledge: &circle, ..FitOptions::default() };
    assert!(matches!(Topo::default().fit(&sample, &given), Err(TopoError::Cyclic(_))));
}

#[test]
fn results_depend_on_the_seed_and_not_on_the_threads() {
    let (_, sample) = simulated("er:2", 15, 200, 4);
    for score in [Score::L2(Penalty::None), Score::Bic(2.0)] {
        let topo = Topo { score, init: Init::Random, restarts: Some(3), ..Topo::default() };
        let run = |threads| on_threads(threads, || topo.fit(&sample, &FitOptions::seed(6)).unwrap());
        let (one, four) = (run(1), run(4));
        assert_eq!((&one.order, one.score.to_bits()), (&four.order, four.score.to_bits()));
        assert_eq!(one.starts, four.starts);
    }
}

#[test]
fn a_stopped_search_gives_its_best_so_far() {
    let (_, sample) = simulated("er:2", 10, 200, 4);
    for score in [Score::L2(Penalty::None), Score::Bic(2.0), Score::L2(Penalty::L1(0.1))] {
        for mode in [Mode::Fast, Mode::Paper] {
            let topo = Topo { score, mode, init: Init::Random, restarts: Some(1), ..Topo::default() };
            let whole = topo.fit(&sample, &FitOptions::seed(2)).unwrap();
            assert_eq!(whole.stopped_because, StopReason::Converged);
            let mut before = f64::INFINITY;
            for steps in [0, 1, 3] {
                let stops = [Stop::Steps(steps)];
                let cut = topo.fit_driven(&sample, &FitOptions::seed(2), &mut &stops[..]).unwrap();
                assert!(cut.score >= whole.score && cut.score <= before, "{score:?} {mode:?}");
                assert_eq!(order_divergence(&cut.weights, &cut.order), 0);
                before = cut.score;
            }
        }
    }
    let token = Interrupt::default();
    token.request();
    let options = FitOptions { interrupt: Some(&token), ..FitOptions::default() };
    let lasso = Topo { score: Score::L2(Penalty::L1(0.1)), ..Topo::default() };
    assert!(matches!(lasso.exact(&sample, &options), Err(TopoError::Interrupted)));
}

#[test]
fn bad_data_are_named() {
    let data = |f: &dyn Fn(usize, usize) -> f64| Mat::from_fn(30, 4, f);
    let z: Vec<f64> = normals(&mut Seed(1).stream("bad", 0), 120);
    let noise = |i: usize, j: usize| z[4 * i + j];
    let of = |x: Mat<f64>| {
        Sample::unnamed(x).and_then(|s| Topo::default().fit(&s, &FitOptions::default())).unwrap_err()
    };
    let constant = of(data(&|i, j| if j == 2 { 5.0 } else { noise(i, j) }));
    assert!(matches!(constant, TopoError::Constant(column) if column == "X2"));
    let nan = of(data(&|i, j| if (i, j) == (3, 1) { f64::NAN } else { noise(i, j) }));
    assert!(matches!(nan, TopoError::NotFinite { row: 4, .. }) && nan.to_string().contains("column X1"));
    let collinear = of(data(&|i, j| if j == 3 { noise(i, 0) - 2.0 * noise(i, 1) } else { noise(i, j) }));
    assert!(
        matches!(collinear, TopoError::Collinear { column, others } if column == "X3" && others == "X0, X1")
    );
    let few = of(Mat::from_fn(4, 4, noise));
    assert!(matches!(few, TopoError::TooFewSamples { rows: 4, columns: 4 }));
    let few = Sample::unnamed(Mat::from_fn(4, 4, noise)).unwrap();
    for score in [Score::Bic(1.0), Score::L2(Penalty::L2(0.1)), Score::L2(Penalty::L1(0.1))] {
        let learned = Topo { score, ..Topo::default() }.fit(&few, &FitOptions::default()).unwrap();
        assert!(learned.score.is_finite());
    }
    let sample = Sample::unnamed(data(&noise)).unwrap();
    let logistic = Topo { score: Score::Logistic(Penalty::None), ..Topo::default() };
    assert!(matches!(logistic.fit(&sample, &FitOptions::default()), Err(TopoError::NotBinary { .. })));
    let bad = Topo { score: Score::Bic(-1.0), ..Topo::default() };
    assert!(matches!(bad.fit(&sample, &FitOptions::default()), Err(TopoError::Invalid(_))));
    assert!(matches!(Topo::default().fit(&sample, &from(&[0, 1, 1, 2])), Err(TopoError::NotAnOrder(_))));
    assert!(matches!(
        Topo::default().polish(&Mat::zeros(3, 3), &sample, &FitOptions::default()),
        Err(TopoError::Size { .. })
    ));
    let (_, wide) = simulated("er:1", 21, 50, 1);
    assert!(matches!(Topo::default().exact(&wide, &FitOptions::default()), Err(TopoError::TooMany { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Renaming columns renames the result.
    #[test]
    fn columns_may_come_in_any_order(seed in 0u64..1000) {
        let (_, sample) = simulated("er:2", 9, 150, seed);
        let shuffle = random_order(9, Seed(seed), 7);
        let moved = Sample::unnamed(Mat::from_fn(150, 9, |i, j| sample.x()[(i, shuffle[j])])).unwrap();
        let start: Vec<usize> = (0..9).collect();
        let at = positions(&shuffle);
        let moved_start: Vec<usize> = start.iter().map(|v| at[*v]).collect();
        let topo = Topo::default();
        let a = topo.fit(&sample, &from(&start)).unwrap();
        let b = topo.fit(&moved, &from(&moved_start)).unwrap();
        prop_assert!((a.score - b.score).abs() <= 1e-9 * a.score);
        let back: Vec<usize> = b.order.iter().map(|v| shuffle[*v]).collect();
        prop_assert_eq!(a.order, back);
    }

    /// The factor's score is that of separate regressions, before and after a search.
    #[test]
    fn scores_are_those_of_regressions(seed in 0u64..1000) {
        let (_, sample) = simulated("er:2", 8, 60, seed);
        let s = sample.covariance();
        let order = random_order(8, Seed(seed), 0);
        let learned = Topo::default().fit(&sample, &from(&order)).unwrap();
        prop_assert!((learned.trace[0] - score_of(&s, &order)).abs() < 1e-9 * learned.trace[0]);
        prop_assert!((learned.score - score_of(&s, &learned.order)).abs() < 1e-9 * learned.score);
        prop_assert!(learned.kkt_violation.unwrap() < 1e-8 * s[(0, 0)].max(1.0));
    }

    /// No exchange and no insertion improves what the fast search returns.
    #[test]
    fn the_result_is_a_local_optimum(seed in 0u64..1000) {
        let (_, sample) = simulated("er:2", 7, 80, seed);
        let s = sample.covariance();
        let learned = Topo { init: Init::Random, ..Topo::default() }.fit(&sample, &FitOptions::seed(seed)).unwrap();
        for a in 0..7 {
            for b in (0..7).filter(|b| *b != a) {
                for step in [Move::Exchange(a.min(b), a.max(b)), Move::Insert(a, b)] {
                    let mut order = learned.order.clone();
                    step.apply(&mut order);
                    prop_assert!(score_of(&s, &order) >= learned.score * (1.0 - 1e-10));
                }
            }
        }
    }
}
