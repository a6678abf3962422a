//! Known values on the shared data.

use thalweg_topo::graph::topological_order;
use thalweg_topo::metrics::{compare, order_divergence, varsortability};
use thalweg_topo::score::{Bic, Mlp, NodeScore};
use thalweg_topo::start::top_down;
use thalweg_topo::{FitOptions, Init, Mode, Penalty, Score, Topo};

use crate::common::set;

/// Scores that exchanges and insertions together reach from any start.
const REACHED: [(&str, f64); 6] = [
    ("er4_d20_n1000", 9.9725),
    ("er4_d50_n1000", 24.3249),
    ("er4_d100_n1000", 47.3074),
    ("sf4_d30_n1000_gumbel", 24.3831),
    ("er2_d20_n1000_nv", 11.0002),
    ("er2_d20_n1000_std", 1.644),
];

#[test]
fn random_starts_reach_the_known_scores() {
    for (name, score) in REACHED {
        let Some((sample, _)) = set(name) else { return };
        for seed in 0..3 {
            let topo = Topo { init: Init::Random, ..Topo::default() };
            let learned = topo.fit(&sample, &FitOptions::seed(seed)).unwrap();
            assert!(learned.score <= score * (1.0 + 1e-3), "{name}, seed {seed}: {}", learned.score);
            assert!(learned.kkt_violation.unwrap() <= 1e-8 * sample.covariance()[(0, 0)].max(1.0), "{name}");
            assert!(learned.trace.windows(2).all(|w| w[1] < w[0]));
        }
    }
}

#[test]
fn raw_equal_variances_give_the_true_graph() {
    let Some((sample, truth)) = set("er4_d20_n1000") else { return };
    let learned = Topo::default().fit(&sample, &FitOptions::default()).unwrap();
    assert_eq!(compare(&truth, &learned.graph).unwrap().shd, 0);
    assert_eq!(order_divergence(&truth, &learned.order), 0);
    assert!(varsortability(&truth, &sample.covariance()).unwrap() > 0.95);
}

#[test]
fn standardized_data_need_bic() {
    let Some((sample, truth)) = set("er2_d20_n1000_std") else { return };
    let squares =
        Topo { threshold: Some(0.1), ..Topo::default() }.fit(&sample, &FitOptions::default()).unwrap();
    assert!(compare(&truth, &squares.graph).unwrap().shd > 60);
    let topo = Topo { score: Score::Bic(2.0), ..Topo::default() };
    let learned = topo.fit(&sample, &FitOptions::default()).unwrap();
    assert!(compare(&truth, &learned.graph).unwrap().cpdag_shd <= 2);
    // Never worse than the truth in its own score.
    assert!(learned.score <= Bic::new(sample.covariance(), sample.n(), 2.0).at(&truth, &[]).unwrap() + 1e-9);
    assert!(Topo::default().fit(&sample, &FitOptions::default()).unwrap().warnings[0].contains("bic"));
}

#[test]
fn the_exact_optimum_has_the_known_value_and_restarts_find_it() {
    for (name, optimum) in [("er2_d12_n100_std", 0.8650415082), ("er4_d15_n100", 7.1460422109)] {
        let Some((sample, _)) = set(name) else { return };
        let exact = Topo::default().exact(&sample, &FitOptions::default()).unwrap();
        // The data were rounded to eight digits after the known values were computed.
        assert!((exact.score - optimum).abs() < 1e-6 * optimum, "{name}: {}", exact.score);
        let topo = Topo { init: Init::Random, restarts: Some(8), ..Topo::default() };
        let found = topo.fit(&sample, &FitOptions::seed(1)).unwrap();
        assert!((found.score - exact.score).abs() < 1e-9, "{name}: {}", found.score);
        assert!(found.starts.iter().all(|s| *s >= exact.score - 1e-9));
    }
}

#[test]
fn the_published_search_is_no_better_than_the_fast_one() {
    let Some((sample, truth)) = set("er4_d20_n1000") else { return };
    let fast = Topo { init: Init::Random, ..Topo::default() };
    let paper =
        Topo { mode: Mode::Paper, small: Some(40), large: Some(150), large_budget: 1, ..fast.clone() };
    let (a, b) =
        (fast.fit(&sample, &FitOptions::seed(2)).unwrap(), paper.fit(&sample, &FitOptions::seed(2)).unwrap());
    assert!(a.score <= b.score * (1.0 + 1e-3), "{} {}", a.score, b.score);
    assert!(compare(&truth, &b.graph).unwrap().shd <= 3);
    assert!(b.evaluations > 0 && b.trace.windows(2).all(|w| w[1] < w[0]));
}

#[test]
fn other_scores_find_most_of_their_graphs() {
    let Some((sample, truth)) = set("er2_d15_n2000_logistic") else { return };
    let topo = Topo { score: Score::Logistic(Penalty::None), ..Topo::default() };
    let logistic = topo.fit(&sample, &FitOptions::default()).unwrap();
    let m = compare(&truth, &logistic.graph).unwrap();
    assert!(m.skeleton_f1 > 0.7 && m.tpr > 0.5, "{m:?}");
    let Some((sample, truth)) = set("er2_d20_n1000_nv") else { return };
    let mcp = Topo { score: Score::Mcp(0.01, 1.0), ..Topo::default() };
    let mcp = mcp.fit(&sample, &FitOptions::default()).unwrap();
    let m = compare(&truth, &mcp.graph).unwrap();
    assert!(m.skeleton_f1 > 0.8, "{m:?}");
}

#[test]
fn top_down_is_near_the_optimum_of_equal_variances() {
    let Some((sample, truth)) = set("er4_d50_n1000") else { return };
    let order = top_down(&sample.covariance());
    assert!(order_divergence(&truth, &order) <= 2);
    assert_eq!(topological_order(&truth).unwrap().len(), 50);
}

#[test]
#[ignore = "trains hundreds of networks; minutes"]
fn networks_find_nonlinear_edges() {
    let Some((sample, truth)) = set("er1_d10_n1000_mlp") else { return };
    let topo = Topo { score: Score::Mlp(Mlp::default()), ..Topo::default() };
    let learned = topo.fit(&sample, &FitOptions::default()).unwrap();
    let m = compare(&truth, &learned.graph).unwrap();
    assert!(m.tpr >= 0.7 && m.shd <= 6, "{m:?}");
}
