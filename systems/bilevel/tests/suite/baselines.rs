//! The baselines on problems whose minimum is known.

use serde_json::{Map, Value, json};
use thalweg_bilevel::tasks::quadratic::{Quadratic, Spec};
use thalweg_bilevel::tasks::toys::Toy;
use thalweg_bilevel::{Algorithm, BilevelError, Oracle, Solution};
use thalweg_core::{Outcome, Seed, Stop};

fn fields(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn end(toy: &Toy, name: &str, settings: Value, steps: u64) -> Outcome<Solution> {
    let algorithm = Algorithm::new(name, fields(settings)).unwrap();
    algorithm.drive(&mut Oracle::new(toy).unwrap(), Seed(1), &mut Stop::Steps(steps)).unwrap()
}

/// Strongly convex below and free near the minimum: what all of them are made for.
#[test]
fn every_method_reaches_the_minimum() {
    let toy = Toy::named("active").unwrap();
    let all = [
        ("pbo", json!({}), 100, 1e-5),
        ("pbo-double", json!({ "alpha": 0.3, "sigma": 0.5, "shift": 10.0 }), 5000, 0.02),
        ("pbo-single", json!({ "alpha": 0.2, "shift": 100.0 }), 20_000, 0.05),
        ("f2sa", json!({ "alpha": 0.1, "gamma": 0.5, "a": 0.5, "shift": 50.0 }), 5000, 0.02),
        ("pbgd", json!({ "gamma": 0.5, "penalty_end": 30.0, "ramp": 2000 }), 20_000, 0.03),
        ("g-pbgd", json!({ "penalty_end": 30.0, "ramp": 2000 }), 20_000, 0.03),
        ("bome", json!({ "gamma": 0.5, "alpha": 0.02, "beta": 0.02 }), 50_000, 0.02),
        ("aid", json!({ "gamma": 0.5 }), 500, 1e-4),
        ("stocbio", json!({ "gamma": 0.5 }), 500, 0.01),
        ("soba", json!({ "gamma": 0.5 }), 500, 1e-4),
        ("saba", json!({ "gamma": 0.5 }), 500, 1e-4),
        ("amigo", json!({ "gamma": 0.5 }), 500, 1e-4),
        ("implicit", json!({}), 100, 1e-5),
        ("grid", json!({ "trials": 241 }), 1000, 0.01),
        ("random", json!({ "trials": 500 }), 1000, 0.02),
    ];
    assert_eq!(all.len(), Algorithm::NAMES.len());
    for (name, settings, steps, tolerance) in all {
        let x = end(&toy, name, settings, steps).solution.x[0];
        assert!((x - 5.0 / 3.0).abs() < tolerance, "{name}: {x}");
    }
}

/// With σ = 1 some of these have no minimum in x, though ψ has one.
#[test]
fn random_quadratics() {
    for (inner, seed) in [(10, 1), (100, 1), (100, 2)] {
        let problem = Quadratic::new(Spec { inner, ..Spec::default() }, Seed(seed)).unwrap();
        let method = Algorithm::new("pbo", Map::new()).unwrap();
        let mut oracle = Oracle::new(&problem).unwrap();
        let x = method.drive(&mut oracle, Seed(1), &mut Stop::Steps(500)).unwrap().solution.x;
        let above = problem.value(&x) - problem.minimum();
        assert!(above < 1e-6, "{inner} lower unknowns, seed {seed}: {above:.1e} above the minimum");
    }
}

/// The linear system is solved, not approximated: AID's direction at a solved lower level is the gradient of ψ.
#[test]
fn one_step_of_aid_is_along_the_gradient() {
    let toy = Toy::named("pl").unwrap().from(vec![0.2], vec![0.2]);
    let settings = json!({ "alpha": 0.01, "gamma": 0.1 });
    let x = end(&toy, "aid", settings, 1).solution.x[0];
    // y = x solves the lower level, so nothing else moves.
    assert!((x - (0.2 + 0.01 * 0.6)).abs() < 1e-9, "{x}");
}

/// SABA's memories hold what it has seen: on a problem of one term it is SOBA.
#[test]
fn saba_of_one_term_is_soba() {
    let toy = Toy::named("pl").unwrap();
    let settings = json!({ "gamma": 0.05 });
    let [a, b] = ["saba", "soba"].map(|name| end(&toy, name, settings.clone(), 50).solution.x[0]);
    assert!((a - b).abs() < 1e-12, "{a} {b}");
}

#[test]
fn bad_settings() {
    let refused =
        |name: &str, settings: Value| Algorithm::new(name, fields(settings)).unwrap_err().to_string();
    assert!(refused("newton", json!({})).contains("pbo-double"));
    assert!(refused("f2sa", json!({ "sigma": 1.0 })).contains("sigma"));
    let toy = Toy::named("line").unwrap();
    let grid = Algorithm::new("grid", Map::new()).unwrap();
    let error = grid.drive(&mut Oracle::new(&toy).unwrap(), Seed(1), &mut Stop::Steps(1)).unwrap_err();
    assert!(error.to_string().contains("finite bounds"), "{error}");
    let saba = Algorithm::new("saba", Map::new()).unwrap();
    let error =
        saba.drive(&mut Oracle::new(&toy.noisy(0.1)).unwrap(), Seed(1), &mut Stop::Steps(1)).unwrap_err();
    assert!(error.to_string().contains("soba"), "{error}");
    let bome = Algorithm::new("bome", fields(json!({ "eta": -1.0 }))).unwrap();
    let toy = Toy::named("line").unwrap();
    let error = bome.drive(&mut Oracle::new(&toy).unwrap(), Seed(1), &mut Stop::Steps(1)).unwrap_err();
    assert!(error.to_string().contains("eta = -1"), "{error}");
    let _: BilevelError = error.into();
}
