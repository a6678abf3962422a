//! What all methods have in common: the metrics they report, frozen blocks, files.

use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use thalweg_core::{Kind, Method, Objective, Progress, Run, Seed, Stop};
use thalweg_optim::{Adam, AdamW, Group, Lamb, Lbfgs, Muon, Schedule, Sgd};
use thalweg_testing::Bowl;

use crate::common::blocks;

/// The first step reports the gradient of the start over the blocks that are not frozen.
fn reports<M: Method<Bowl<f64>>>(method: M) {
    let mut problem = blocks(0.0);
    let theta = problem.start().unwrap();
    let mut grad = vec![0.0; theta.len()];
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    let progress = method.step(&mut problem, &mut state).unwrap();
    let (max, norm) = (progress.metric(Progress::GRAD_MAX), progress.metric("grad_norm"));
    if method.name() == "lbfgs" {
        // It reports the point that it has reached.
        assert!(max.unwrap() > 0.0 && norm.unwrap() >= max.unwrap());
        return;
    }
    problem.value_grad(&theta, &mut grad).unwrap();
    let free = problem.layout.blocks().iter().filter(|b| !b.frozen).flat_map(|b| b.range());
    let (mut largest, mut squares) = (0.0f64, 0.0);
    free.for_each(|i| (largest, squares) = (largest.max(grad[i].abs()), squares + grad[i] * grad[i]));
    assert_eq!(max, Some(largest), "{}", method.name());
    assert!((norm.unwrap() / squares.sqrt() - 1.0).abs() < 1e-12, "{}", method.name());
    assert!(progress.metric("lr").is_some() && progress.metric("skipped").is_none());
}

#[test]
fn every_method_reports_its_gradient_over_what_is_free() {
    reports(Sgd::default());
    reports(Adam::default());
    reports(AdamW::default());
    reports(Lamb::default());
    reports(Muon::default());
    reports(Lbfgs::default());
}

#[test]
fn frozen_blocks_do_not_hold_up_a_tolerance() {
    // The gradient of the frozen block never vanishes.
    let sgd = Sgd { lr: 0.3, momentum: 0.0, ..Sgd::default() };
    let mut problem = blocks::<f64>(0.0);
    let out = Run::new(&sgd, &mut problem).stop(Stop::Tolerance(1e-6)).stop(Stop::Steps(500)).run().unwrap();
    assert!(out.steps < 500, "{:?}", out.progress);
}

#[test]
fn nothing_to_train_is_an_error() {
    fn check<M: Method<Bowl<f64>>>(method: M) {
        let mut problem = blocks(0.0);
        let names: Vec<String> = problem.layout.blocks().iter().map(|b| b.name.clone()).collect();
        names.iter().for_each(|name| assert!(problem.layout.set_frozen(name, true)));
        let error = Run::new(&method, &mut problem).stop(Stop::Steps(1)).run().err().expect("an error");
        assert!(error.to_string().contains("no unknowns"), "{error}");
    }
    check(Sgd::default());
    check(Muon::default());
    check(Lbfgs::default());
}

/// JSON loses at most the last bits of a number; the second trip loses nothing more.
fn round_trip<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(method: &M) {
    let text = serde_json::to_string(method).unwrap();
    let read: M = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    let misspelt = text.replacen('{', "{\"learning_rate\":1,", 1);
    assert!(serde_json::from_str::<M>(&misspelt).unwrap_err().to_string().contains("unknown field"));
}

proptest! {
    #[test]
    fn settings_survive_a_file(n in prop::array::uniform4(0u32..1000), flag in any::<bool>()) {
        let [lr, weight_decay, eps, beta] = n.map(|n| f64::from(n) / 1024.0);
        let schedule = Schedule::parse("warmup:5+cosine:100").unwrap();
        let group = Group { kind: Some(Kind::Bias), weight_decay: Some(lr), lr_scale: eps, ..Group::default() };
        let (groups, betas) = (vec![group], (beta, lr));
        round_trip(&Sgd { lr, momentum: beta, nesterov: flag, weight_decay, schedule: schedule.clone(), groups: groups.clone() });
        round_trip(&Adam { lr, betas, eps, weight_decay, schedule: schedule.clone(), groups: groups.clone() });
        round_trip(&AdamW { lr, betas, eps, weight_decay, schedule: schedule.clone(), groups: groups.clone() });
        round_trip(&Lamb { lr, betas, eps, weight_decay, schedule: schedule.clone(), groups: groups.clone() });
        let adam_blocks = vec!["head.*".to_string()];
        round_trip(&Muon { lr, betas, eps, weight_decay, schedule, groups, adam_blocks, nesterov: flag, ..Muon::default() });
        round_trip(&Lbfgs { tolerance: eps, history: n[0] as usize + 1, ..Lbfgs::default() });
    }
}
