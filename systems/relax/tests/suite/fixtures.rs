//! The deterministic sequences of the shared data: totals of fixed ω, instance by instance.

use serde_json::Value;
use thalweg_core::{Problem, Run, Seed, Stop};
use thalweg_relax::learner::omega_grid;
use thalweg_relax::method::Arm;
use thalweg_relax::sequence::{Heat, Shift, Shifted};
use thalweg_relax::{Policy, Scheme, Sequence, Solver, TunedSolver};
use thalweg_testing::shared_data;

fn fixtures() -> Option<Value> {
    let text = std::fs::read_to_string(shared_data("relax/fixtures.json")?).expect("a readable file");
    Some(serde_json::from_str(&text).expect("fixtures.json is JSON"))
}

const SEQUENCES: [(&str, usize, f64, f64, u64); 2] =
    [("S10_T2000", 10, -0.15, 0.6, 2000), ("S20_T500", 20, -0.03, 0.3, 500)];

fn sequence((_, side, low, width, steps): (&str, usize, f64, f64, u64)) -> Shifted {
    Shifted::new(Shift::Golden { low, width }, side, steps, Seed(0)).expect("legal")
}

#[test]
fn fixed_omega_totals() {
    let Some(all) = fixtures() else { return };
    for spec in SEQUENCES {
        let wanted = all[spec.0].as_object().expect("an object");
        // Every ω of the smaller sequence; of the larger one those that do not take long.
        let limit = if spec.0 == "S20_T500" { u64::MAX } else { 400_000 };
        for (omega, total) in wanted
            .iter()
            .filter_map(|(k, v)| Some((k.parse::<f64>().ok()?, v.as_u64()?)))
            .filter(|w| w.1 < limit)
        {
            let mut sequence = sequence(spec);
            let solver = Solver { omega, ..Solver::default() };
            let mut sum = 0;
            for t in 0..spec.4 {
                sequence.begin_step(t).expect("a step");
                sum += sequence.solve(&solver).expect("a solve").iterations as u64;
            }
            let off = (sum as f64 - total as f64).abs() / total as f64;
            assert!(off <= 1e-4, "{} ω = {omega}: {sum} instead of {total}", spec.0);
        }
    }
}

#[test]
fn instance_optimal_on_a_grid() {
    let Some(all) = fixtures() else { return };
    for spec in &SEQUENCES[1..] {
        let mut sequence = sequence(*spec);
        let mut sum = 0;
        for t in 0..spec.4 {
            sequence.begin_step(t).expect("a step");
            // From large ω to small: who takes more than the least so far need not go on.
            let mut cap = 10_000;
            for omega in omega_grid(1.0, 1.95, 96).into_iter().rev() {
                cap = sequence
                    .solve(&Solver { omega, max_iterations: cap, ..Solver::default() })
                    .expect("a solve")
                    .iterations;
            }
            sum += cap;
        }
        let total = all[spec.0]["instance_optimal_grid96"].as_f64().expect("a number");
        assert!((sum as f64 - total).abs() / total <= 1e-4, "{}: {sum} instead of {total}", spec.0);
    }
}

fn heat_total(nx: usize, method: Scheme, omega: f64) -> u64 {
    let mut heat = Heat::new(nx, 5000).expect("legal");
    let tuned = TunedSolver {
        policy: Policy::Fixed(omega),
        arms: vec![Arm { method, omega }],
        ..TunedSolver::default()
    };
    Run::new(&tuned, &mut heat).stop(Stop::Steps(5000)).run().expect("a run").evaluations
}

#[test]
fn heat_totals() {
    let Some(all) = fixtures() else { return };
    for nx in [25, 50] {
        let wanted = all["heat"][format!("nx{nx}_T5000")].as_object().expect("an object");
        for (name, total) in wanted {
            let total = total.as_u64().expect("a count");
            if nx > 25 && total > 44_000 {
                continue; // the others take long
            }
            let sum = match name.parse() {
                Ok(omega) => heat_total(nx, Scheme::SsorCg, omega),
                Err(_) => heat_total(nx, Scheme::Cg, 1.0),
            };
            let off = (sum as f64 - total as f64).abs() / total as f64;
            assert!(off <= 1e-3, "nx = {nx}, {name}: {sum} instead of {total}");
        }
    }
}

/// Means over seeds, beside those of the reference learners.
#[test]
fn learners_keep_up_with_the_reference() {
    let Some(all) = fixtures() else { return };
    let spec = SEQUENCES[0];
    let mean = |policy: &str, steps| {
        let tuned = TunedSolver { policy: policy.parse().expect("a policy"), ..TunedSolver::default() };
        let run = |seed| {
            let mut sequence = sequence(spec);
            Run::new(&tuned, &mut sequence)
                .seed(Seed(seed))
                .stop(Stop::Steps(steps))
                .run()
                .expect("a run")
                .evaluations
        };
        (1..=3).map(run).sum::<u64>() as f64 / 3.0
    };
    for (policy, key) in [("tsallis-inf", "tinf"), ("tsallis-inf-cb:5", "tinfcb"), ("chebcb", "cheb")] {
        let theirs = all[spec.0][key].as_array().expect("a list");
        let theirs = theirs.iter().filter_map(Value::as_f64).sum::<f64>() / theirs.len() as f64;
        let ours = mean(policy, spec.4);
        println!("{policy}: {ours:.0} beside {theirs:.0}");
        assert!(ours <= 1.1 * theirs, "{policy}: {ours} beside {theirs}");
    }
    let optimal = all[spec.0]["instance_optimal_grid96"].as_f64().expect("a number");
    for policy in ["joint", "young"] {
        let ours = mean(policy, spec.4);
        println!("{policy}: {ours:.0} beside {optimal:.0}");
        assert!(ours <= 1.2 * optimal, "{policy}: {ours} beside {optimal}");
    }
}
