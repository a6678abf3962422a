//! `thalweg certify` as people and scripts use it.

mod common;

use std::fs;
use std::path::Path;

use common::{errors, folder, json, run, shared_data, succeed};
use serde_json::Value;

/// A folder with a trained model `run/model.safetensors` for the digits.
fn trained() -> tempfile::TempDir {
    let place = folder(&[]);
    let line = "train --data digits --model mlp:64-16-16-10 --method adamw --lr 3e-3 --epochs 8 --seed 1 --out run/ --quiet";
    succeed(place.path(), line);
    place
}

fn bound(place: &Path, options: &str) -> (f64, Value) {
    let found = json(place, &format!("certify {options} --json --quiet"));
    (found["bound"].as_f64().unwrap_or_else(|| panic!("bound in {found}")), found)
}

#[test]
fn every_bound_of_a_trained_model_is_proved_and_in_order() {
    let place = trained();
    let list = json(place.path(), "certify run/model.safetensors --bound all --out all/ --json --quiet");
    let list = list.as_array().expect("a list");
    for c in list {
        for key in ["bound", "lower_bound", "margin", "solver_value", "seconds", "neurons", "norm", "method"]
        {
            assert!(c.get(key).is_some(), "{key} in {c}");
        }
        assert_eq!((&c["verified"], &c["norm"]), (&Value::Bool(true), &Value::from("l2")), "{c}");
        assert!(c["bound"].as_f64() >= c["lower_bound"].as_f64(), "{c}");
        let alone = format!("run/model.safetensors --bound {}", c["method"].as_str().expect("a name"));
        assert_eq!(bound(place.path(), &alone).1["bound"], c["bound"]);
    }
    let methods: Vec<_> = list.iter().filter_map(|c| c["method"].as_str()).collect();
    for method in ["neuron", "layer", "first-order", "eclipse", "split:2", "product"] {
        assert!(methods.contains(&method), "{method} in {methods:?}");
    }
    for file in
        ["report.html", "bounds.svg", "summary.json", "config.toml", "metrics.jsonl", "certificate.json"]
    {
        assert!(place.path().join("all").join(file).is_file(), "{file}");
    }
    assert!(!place.path().join("all/checkpoint.bin").exists());
    let read = |file: &str| fs::read_to_string(place.path().join("all").join(file)).expect("written");
    let summary: Value = serde_json::from_str(&read("summary.json")).expect("JSON");
    assert_eq!(summary["bounds"], Value::from(list.clone()));
    assert_eq!(summary["lower_bound"], list[0]["lower_bound"]);
    assert!(summary["refused"]["patterns"].is_string() && summary.get("left_out").is_none(), "{summary}");
    let records: Vec<Value> =
        read("metrics.jsonl").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    for (i, (record, c)) in records.iter().zip(list).enumerate() {
        assert_eq!((&record["value"], &record["bound"]), (&c["bound"], &c["method"]), "{record}");
        assert!(record["step"] == i + 1 && record["seconds"].is_number(), "{record}");
    }
    assert_eq!(records.len(), list.len());
    // The certificate of the list is its tightest bound, and its settings repeat the list.
    let checked = json(place.path(), "certify run/model.safetensors --check all/certificate.json --json");
    let tightest = list.iter().filter_map(|c| c["bound"].as_f64()).fold(f64::INFINITY, f64::min);
    assert_eq!(checked["bound"].as_f64(), Some(tightest));
    assert_eq!(
        errors(&run(place.path(), "certify run/model.safetensors --out all/")).matches("--overwrite").count(),
        1
    );
    let line = "certify --config all/config.toml --set bound=product --out all/ --overwrite --json --quiet";
    assert_eq!(json(place.path(), line)["method"], "product");
    assert_eq!(json(place.path(), "certify --resume all/ --json --quiet")["method"], "product");
}

/// What the time does not suffice for is left out and said; a resumed run ends in the same bits.
#[test]
fn a_list_that_the_time_cut_short_goes_on() {
    let place = trained();
    let line = "certify run/model.safetensors --bound all --out cut/ --time 0s --json";
    let output = run(place.path(), line);
    assert!(output.status.success(), "{}", errors(&output));
    let cut: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let cut = cut.as_array().expect("a list").clone();
    assert!(cut.len() == 1 && errors(&output).contains("--resume"), "{cut:?} {}", errors(&output));
    let summary = fs::read_to_string(place.path().join("cut/summary.json")).expect("written");
    assert!(summary.contains("left_out") && place.path().join("cut/checkpoint.bin").exists(), "{summary}");
    let whole = json(place.path(), "certify --resume cut/ --json --quiet");
    // What was proved is not proved again: even its seconds are the same. The sampled bound comes with the rest.
    assert!(cut[0]["lower_bound"].is_null() && whole[0]["lower_bound"].is_number());
    assert_eq!((&whole[0]["bound"], &whole[0]["seconds"]), (&cut[0]["bound"], &cut[0]["seconds"]));
    let timeless = |mut list: Value| {
        list.as_array_mut().expect("a list").iter_mut().for_each(|c| c["seconds"] = Value::Null);
        list
    };
    let straight = json(place.path(), "certify run/model.safetensors --bound all --json --quiet");
    assert_eq!(timeless(whole), timeless(straight));
    assert!(!place.path().join("cut/checkpoint.bin").exists());
}

#[test]
fn accuracy_of_data_is_certified_and_the_proof_can_be_repeated() {
    let place = trained();
    let line = "run/model.safetensors --data digits --limit 50 --eps 0,0.001,0.5 --out c/";
    let (value, found) = bound(place.path(), line);
    let share = |row: &Value, key: &str| row[key].as_f64().expect("a share");
    let curve = found["certified_accuracy"].as_array().expect("a curve");
    assert_eq!(curve.len(), 3);
    for row in curve {
        assert!(share(row, "certified") <= share(row, "attacked"), "{row}");
    }
    assert_eq!(curve[0]["certified"], found["accuracy"]);
    assert!(
        share(&curve[1], "certified") > 0.5 && share(&curve[2], "certified") < share(&curve[0], "certified")
    );
    assert_eq!(fs::read_to_string(place.path().join("c/radii.csv")).expect("written").lines().count(), 51);
    assert!(place.path().join("c/accuracy.svg").is_file());
    let metrics = fs::read_to_string(place.path().join("c/metrics.jsonl")).expect("written");
    // One bound, 45 pairs of classes, three sizes of changes.
    assert_eq!(metrics.lines().count(), 1 + 45 + 3);
    let summary = fs::read_to_string(place.path().join("c/summary.json")).expect("written");
    assert_eq!(serde_json::from_str::<Value>(&summary).expect("JSON"), found);
    let again = json(place.path(), "certify run/model.safetensors --check c/certificate.json --json");
    let proved = again["proved"].as_f64().expect("a number");
    assert!(proved <= value * (1.0 + 1e-9), "{proved} {value}");
    // A certificate of another network, or one that claims too much, proves nothing.
    let path = place.path().join("c/certificate.json");
    let mut forged: Value = serde_json::from_str(&fs::read_to_string(&path).expect("written")).expect("JSON");
    forged["bound"] = Value::from(0.5 * value);
    fs::write(&path, forged.to_string()).expect("written");
    assert!(!run(place.path(), "certify run/model.safetensors --check c/certificate.json").status.success());
}

#[test]
fn norms_rows_and_pairs_are_understood() {
    let place = trained();
    let of = |options: &str| bound(place.path(), &format!("run/model.safetensors {options}")).0;
    let whole = of("--bound neuron");
    assert!(of("--output-row 7") < whole);
    assert!(of("--pair 3,8") <= 2f64.sqrt() * whole * (1.0 + 1e-9));
    assert!(of("--norm linf --to l2") <= of("--norm linf --to l1"));
}

/// The values on the shared networks.
#[test]
fn shared_networks_have_their_known_bounds() {
    let Some(data) = shared_data("lipsdp") else { return };
    let reference = fs::read_to_string(data.join("reference.json")).expect("reference.json");
    let reference: Value = serde_json::from_str(&reference).expect("JSON");
    for (file, options, value) in [
        ("lipsdp_mit/random_weights", "--activation relu --bound neuron", "neuron"),
        (
            "exlipbab_mit/wine_net_11x12x12x1_GroupSort_numGroups6",
            "--activation maxmin --bound nsr",
            "nsr_full_gamma",
        ),
        (
            "exlipbab_mit/wine_net_11x12x12x1_GroupSort_numGroups6",
            "--activation groupsort:2 --bound product",
            "norm_product",
        ),
    ] {
        let known = reference[file]["computed"][value].as_f64().expect("a value");
        let archive = data.join(format!("{file}.npz"));
        let (found, certificate) = bound(&data, &format!("{} {options}", archive.display()));
        assert!(
            (found / known - 1.0).abs() < 1e-4 && certificate["verified"] == true,
            "{file}: {certificate}"
        );
    }
}

#[test]
fn what_cannot_be_certified_is_said_in_one_line() {
    let place = trained();
    fs::write(place.path().join("empty.npz"), b"").expect("written");
    for (options, clue) in [
        ("run/none.safetensors", "none.safetensors"),
        ("empty.npz --activation relu", "empty.npz"),
        ("run/model.safetensors --bound network", "unsound"),
        ("run/model.safetensors --bound best", "neuron"),
        ("run/model.safetensors --bound split:0", "split"),
        ("run/model.safetensors --bound patterns", "patterns"),
        ("run/model.safetensors --bound nsr-paper", "nsr"),
        ("run/model.safetensors --output-row 10", "10"),
        ("run/model.safetensors --pair 3", "3,8"),
        ("run/model.safetensors --pair 3,3", "3"),
        ("run/model.safetensors --norm l7", "l2"),
        ("run/model.safetensors --to l1", "--norm linf"),
        ("run/model.safetensors --bound patterns", "--bound nsr"),
        ("run/model.safetensors --bound all --data digits", "--bound"),
        ("run/model.safetensors --pair 3,8 --data digits", "--pair"),
        ("run/model.safetensors --eps 0.1", "--data"),
        ("run/model.safetensors --activation relu", "--activation"),
        ("run/model.safetensors --set epsilon=0.1", "set"),
        ("", "model"),
        ("run/model.safetensors --data digits --eps=-1", "eps"),
        ("run/model.safetensors --data digits --eps nan", "eps"),
        ("run/model.safetensors --max-memory 1K --bound neuron", "--max-memory"),
        ("run/model.safetensors --max-memory lots", "4G"),
        ("run/model.safetensors --tol 0", "tol"),
    ] {
        let output = run(place.path(), &format!("certify {options}"));
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{options}: {said}");
        assert!(
            said.contains(clue) && said.lines().count() <= 12,
            "{options}: {clue:?} is missing in {said}"
        );
    }
}
