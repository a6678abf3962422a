//! What learners make of costs and contexts.

use thalweg_core::Seed;
use thalweg_relax::learner::{Axis, JointModel, Tsallis};
use thalweg_relax::{Interval, Learner, Policy};

/// One update's estimates, averaged over the arm that is drawn, are the true losses: with and without the baseline
/// that lowers their variance.
#[test]
fn importance_weights_are_unbiased() {
    let costs = [3.0, 11.0, 4.5, 40.0];
    for reduced in [false, true] {
        let mut learner = Tsallis::new(4, reduced);
        let (mut baselines, mut rng) = (0, Seed(5).stream("arm", 0));
        for round in 0..400 {
            let p = learner.probabilities();
            let before = learner.estimates().to_vec();
            let mut mean = [0.0; 4];
            for drawn in 0..4 {
                let mut after = learner.clone();
                after.learn(drawn, p[drawn], costs[drawn]);
                for i in 0..4 {
                    mean[i] += p[drawn] * (after.estimates()[i] - before[i]);
                }
                baselines += usize::from((0..4).any(|i| i != drawn && after.estimates()[i] != before[i]));
            }
            for i in 0..4 {
                let loss = costs[i] - 1.0;
                let rounding = 1e-10 * (before[i].abs() + 1.0) / p[i].min(1.0);
                assert!(
                    (mean[i] - loss).abs() < rounding,
                    "{reduced}, round {round}: {} not {loss}",
                    mean[i]
                );
            }
            let (drawn, probability) = learner.choose(&mut rng);
            learner.learn(drawn, probability, costs[drawn]);
        }
        assert_eq!(baselines > 0, reduced, "the baseline counts for arms that are not drawn");
    }
}

fn joint(memory: f64) -> Policy {
    let (context_features, omega_features) = (4, 4);
    Policy::Joint(JointModel { memory, context_features, omega_features, ..JointModel::default() })
}

/// What a learner loses per round over the last tenth, where the best of five arms changes half-way.
fn late_regret(policy: &Policy, rounds: u64) -> f64 {
    let places = [1.0, 1.2, 1.4, 1.6, 1.8];
    let mut learner = Learner::new(policy, &places, Interval::new(0.0, 1.0), Seed(1)).expect("legal");
    let mut late = 0.0;
    for t in 0..rounds {
        let best = if t < rounds / 2 { 1.2 } else { 1.6 };
        let choice = learner.choose((t as f64 * 0.618).fract()).expect("a context");
        assert!(choice.predicted.is_none_or(|p| p.is_finite() && p > 0.0), "round {t}: {choice:?}");
        let excess = 1000.0 * (choice.omega - best).powi(2);
        learner.feedback(&choice, (20.0 + excess).round()).expect("a cost");
        if t >= rounds - rounds / 10 {
            late += excess;
        }
    }
    late / (rounds / 10) as f64
}

#[test]
fn forgetting_follows_a_change_and_stays_bounded() {
    for (memory, most) in [(0.9, 30.0), (0.99, 8.0)] {
        let late = late_regret(&joint(memory), 10_000);
        assert!(late < most, "memory {memory}: {late} per round");
    }
    let (forgetful, stubborn) = (late_regret(&joint(0.99), 2000), late_regret(&joint(1.0), 2000));
    assert!(forgetful < 0.2 * stubborn, "{forgetful} beside {stubborn}");
}

#[test]
fn costs_below_one_teach_too() {
    let linear = JointModel { axis: Axis::Linear, ..JointModel::default() };
    let policies =
        [Policy::TsallisInf, Policy::TsallisInfRv, Policy::ChebCb { features: 3 }, Policy::Joint(linear)];
    for policy in policies {
        // Seconds, also where the first is above 1.
        for costs in [[0.5, 0.05], [1.5, 0.15], [4e-5, 4e-6]] {
            let mut learner =
                Learner::new(&policy, &[0.0, 1.0], Interval::new(0.0, 1.0), Seed(3)).expect("legal");
            let mut plays = [0; 2];
            for t in 0..3000 {
                let choice = learner.choose((t as f64 * 0.37).fract()).expect("a context");
                let learnt = learner.feedback(&choice, costs[choice.arm]).expect("a cost");
                assert!((learnt - costs[choice.arm]).abs() < 1e-12 * learnt, "{policy}: {learnt}");
                plays[choice.arm] += 1;
            }
            assert!(plays[1] > 2400, "{policy} of {costs:?}: {plays:?}");
        }
    }
}

#[test]
fn contexts_and_costs_that_are_no_numbers_are_refused() {
    for policy in ["tsallis-inf", "tsallis-inf-cb:2", "chebcb", "joint", "young", "fixed:1.2"] {
        let policy: Policy = policy.parse().expect("a policy");
        let new = || Learner::new(&policy, &[1.0, 1.5], Interval::new(0.0, 1.0), Seed(1)).expect("legal");
        let (mut learner, mut other) = (new(), new());
        for t in 0..60 {
            for context in [f64::NAN, f64::INFINITY] {
                let error = learner.choose(context).expect_err("no context").to_string();
                assert!(error.contains("context"), "{error}");
            }
            let context = (t as f64 * 0.37).fract();
            let choice = learner.choose(context).expect("a context");
            for cost in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
                let error = learner.feedback(&choice, cost).expect_err("no cost").to_string();
                assert!(error.contains("cost"), "{error}");
            }
            // What was refused has left no trace.
            assert_eq!(Ok(choice), other.choose(context));
            let cost = [30.0, 20.0][choice.arm];
            assert_eq!(learner.feedback(&choice, cost), other.feedback(&choice, cost));
        }
        assert_eq!(learner, other);
    }
}
