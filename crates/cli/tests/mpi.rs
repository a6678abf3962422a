//! `mpirun -n 2 thalweg train …` goes where one process goes.
#![cfg(feature = "mpi")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{errors, folder, json};
use serde_json::Value;

fn mpirun(place: &Path, n: usize, line: &str) -> Output {
    Command::new("mpirun")
        .args(["-n", &n.to_string(), env!("CARGO_BIN_EXE_thalweg")])
        .args(line.split_whitespace())
        .current_dir(place)
        // Containers: root, fewer cores than processes, no binding.
        .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("OMPI_MCA_hwloc_base_binding_policy", "none")
        .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
        .output()
        .expect("mpirun is missing; install openmpi-bin")
}

#[test]
fn two_processes_go_where_one_goes() {
    let place = folder(&[]);
    // At its usual damping K-FAC is not stable here, and rounding grows a thousandfold in ten steps.
    let line = "train --data digits --model mlp:64-32-10:tanh --compare mkor,kfac,adahessian,mfac,adamw --epochs 2 \
                --set kfac.damping=0.01 --batch 64 --seed 1 --threads 1 --json --quiet";
    let one = json(place.path(), &format!("{line} --out one/"));
    let output = mpirun(place.path(), 2, &format!("{line} --out two/"));
    assert!(output.status.success(), "{}", errors(&output));
    let two: Value = serde_json::from_slice(&output.stdout).expect("one process alone speaks");
    for (a, b) in one.as_array().unwrap().iter().zip(two.as_array().unwrap()) {
        assert_eq!((&a["method"], &a["steps"]), (&b["method"], &b["steps"]));
        let loss = |s: &Value| s["test_loss"].as_f64().unwrap();
        assert!((loss(a) - loss(b)).abs() < 2e-3 * loss(a), "{a}\n{b}");
    }
    assert!(place.path().join("two/mkor/model.safetensors").is_file());
}

#[test]
fn a_run_cut_short_goes_on_in_another_number_of_processes() {
    let place = folder(&[]);
    let line = "train --data digits --model mlp:64-32-10 --method mkor --epochs 4 --seed 1 --checkpoint-every 5 --quiet";
    assert!(mpirun(place.path(), 2, &format!("{line} --out whole/")).status.success());
    assert!(mpirun(place.path(), 2, &format!("{line} --out cut/ --time 0s")).status.success());
    assert!(place.path().join("cut/checkpoint.bin").is_file());
    let output = mpirun(place.path(), 2, "train --resume cut/ --time 1h --quiet");
    assert!(output.status.success(), "{}", errors(&output));
    let bytes = |run: &str| fs::read(place.path().join(run).join("model.safetensors")).unwrap();
    assert_eq!(bytes("whole"), bytes("cut"));
}

#[test]
fn nonsense_is_refused_once() {
    let place = folder(&[]);
    for (line, clue) in [
        ("train --data digits --model mlp:64-10 --lr=-1", "lr"),
        ("train --data digits --model mlp:64-10 --method sgd --batch 1 --epochs 1", "batch"),
        ("evaluate --model m.safetensors --data digits", "only `train`"),
    ] {
        let output = mpirun(place.path(), 2, line);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert_eq!(said.matches("error: ").count(), 1, "{line}: {said}");
        assert!(said.contains(clue), "{line}: {said}");
    }
}
