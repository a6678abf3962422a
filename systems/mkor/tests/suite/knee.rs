//! The knee detector on curves whose knees are known.

use thalweg_core::{Method, Problem, Seed};
use thalweg_mkor::Knee;
use thalweg_mkor::knee::{KneeSchedule, KneeState, Scheduled};
use thalweg_optim::Sgd;

use crate::common::{Tiny, momentum};

/// Checks, from 0, at which a knee of the curve is found.
fn knees(knee: &Knee, curve: impl Fn(f64) -> f64, checks: u64) -> Vec<u64> {
    let mut state = KneeState::default();
    // Within a window the loss scatters around its mean.
    let scatter = |step: u64| if step.is_multiple_of(2) { 0.3 } else { -0.3 };
    let steps = (0..checks * knee.window).filter(|&step| {
        let t = step / knee.window;
        knee.observe(&mut state, curve(t as f64) + scatter(step))
    });
    steps.map(|step| step / knee.window).collect()
}

#[test]
fn a_straight_line_has_none_and_a_falling_exponential_one() {
    let knee = Knee::default();
    assert!(knees(&knee, |t| 100.0 - 0.3 * t, 300).is_empty());
    for ratio in [0.9f64, 0.95, 0.97] {
        // r and R in closed form: the improvements are (1 − ρ)ρᵗ⁻¹, their exponential average sums a
        // geometric series.
        let rate = |t: i32| {
            let later = (2..=t).map(|k| 0.1 * 0.9f64.powi(t - k) * ratio.powi(k - 1)).sum::<f64>();
            (1.0 - ratio) * (0.9f64.powi(t - 1) + later)
        };
        let average = |t: i32| (1.0 - ratio.powi(t)) / f64::from(t);
        let expected = (1..1000).find(|&t| rate(t) < 0.1 * average(t)).unwrap() as u64;
        let plateau = expected as f64;
        let found = knees(&knee, |t| ratio.powf(t.min(plateau)), 4 * expected);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].abs_diff(expected) <= 2, "{ratio}: {} is not {expected}", found[0]);
    }
}

#[test]
fn a_sharp_plateau_is_found_soon() {
    // Without smoothing the first two flat checks are the knee.
    let knee = Knee { smoothing: 0.0, ..Knee::default() };
    let curve = |t: f64| 5.0 - 0.1 * t.min(30.0) - 0.05 * (t - 60.0).clamp(0.0, 20.0);
    let found = knees(&knee, curve, 120);
    // After the first knee at the first plateau there is a second slope and its end.
    assert_eq!(found, [32, 82]);
    let lost = knees(&knee, |t| if t == 40.0 { f64::NAN } else { curve(t) }, 120);
    assert_eq!(lost.len(), 2);
}

#[test]
fn the_rate_falls_at_knees() {
    let knee = Knee { beta: 0.5, window: 4, smoothing: 0.5, patience: 2 };
    let method = Scheduled { backend: momentum(0.2), schedule: KneeSchedule { knee, factor: 0.25 } };
    let mut problem = Tiny::<f64>::mlp();
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    let mut rates = Vec::new();
    for t in 0..400 {
        problem.begin_step(t).unwrap();
        rates.push(method.step(&mut problem, &mut state).unwrap().metric("lr").unwrap());
    }
    let drops = rates.windows(2).filter(|w| w[0] != w[1]).count();
    assert!(drops >= 1 && rates[0] == 0.2, "{drops}");
    assert!(rates.windows(2).all(|w| w[1] == w[0] || w[1] == w[0] * 0.25));
    assert_eq!(Method::<Tiny<f64>>::name(&method), "sgd");
    let plain = Scheduled { backend: thalweg_mkor::Backend::Sgd(Sgd::default()), ..method };
    assert!(Method::<Tiny<f64>>::validate(&plain).is_ok());
}
