//! `thalweg prune`, and training with the preconditioners, as people and scripts use them.

mod common;

use std::fs;
use std::path::Path;

use common::{errors, folder, json, run, shared_data, succeed};
use serde_json::Value;

/// A folder with a trained model `run/model.safetensors` for the digits.
fn trained() -> tempfile::TempDir {
    let place = folder(&[]);
    let line = "train --data digits --model mlp:64-64-10 --method adamw --lr 3e-3 --epochs 10 --seed 1 --out run/ --quiet";
    succeed(place.path(), line);
    place
}

const PRUNE: &str = "prune --model run/model.safetensors --data digits --seed 1 --json --quiet";

fn rows(place: &Path, options: &str) -> Vec<Value> {
    json(place, &format!("{PRUNE} {options}")).as_array().expect("a list").clone()
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"))
}

#[test]
fn a_model_is_pruned_by_several_methods_and_loads_again() {
    let place = trained();
    let all = rows(
        place.path(),
        "--compare mfac,magnitude,diag-fisher --sparsity 0.5,0.9 --recompute 2 --gradients 32 --out p/",
    );
    assert_eq!(all.len(), 6);
    for (row, (method, sparsity)) in all.iter().zip([
        ("mfac", 0.5),
        ("mfac", 0.9),
        ("magnitude", 0.5),
        ("magnitude", 0.9),
        ("diag-fisher", 0.5),
        ("diag-fisher", 0.9),
    ]) {
        assert_eq!(row["method"], method);
        let weights = 64 * 64 + 64 * 10;
        let gone = (weights as f64 * sparsity).floor() / weights as f64;
        assert!((number(row, "sparsity") - gone).abs() < 1e-12, "{row}");
        assert_eq!(row["predicted_increase"].is_null(), method == "magnitude", "{row}");
        for key in ["accuracy", "loss", "actual_increase", "seconds"] {
            number(row, key);
        }
        let model = format!("p/{method}-{sparsity}/model.safetensors");
        let score = json(place.path(), &format!("evaluate --model {model} --data digits --json"));
        assert_eq!((&score["accuracy"], &score["loss"]), (&row["accuracy"], &row["loss"]));
        assert!(place.path().join(format!("p/{method}-{sparsity}/mask.safetensors")).is_file());
    }
    // What the method is for: less is lost than without curvature, and the model knows how much.
    let (mfac, magnitude) = (&all[1], &all[3]);
    assert!(
        number(mfac, "actual_increase") < 0.7 * number(magnitude, "actual_increase"),
        "{mfac} {magnitude}"
    );
    assert!(number(mfac, "accuracy") > number(magnitude, "accuracy"), "{mfac} {magnitude}");
    let report = fs::read_to_string(place.path().join("p/report.html")).unwrap();
    assert!(["mfac", "diag-fisher", "<svg"].iter().all(|s| report.contains(s)));
}

#[test]
fn gradual_pruning_goes_on_where_it_was_cut_and_ends_in_the_same_bits() {
    let place = trained();
    let options = "--gradual 0.5,0.8,0.95 --recompute 2 --gradients 16 --finetune-lr 0.02 --every 2";
    let all = rows(place.path(), &format!("{options} --out whole/"));
    assert_eq!(all.len(), 3);
    assert!(number(&all[2], "accuracy") > number(&all[2], "accuracy_as_pruned"), "{}", all[2]);

    // As if it had been killed in the last step.
    fs::create_dir_all(place.path().join("cut")).unwrap();
    for name in ["config.toml", "mfac-0.5", "mfac-0.8"] {
        let copied = std::process::Command::new("cp")
            .args(["-r", &format!("whole/{name}"), "cut/"])
            .current_dir(place.path())
            .status();
        assert!(copied.unwrap().success());
    }
    let again = succeed(place.path(), "prune --resume cut/ --json --quiet");
    let again: Vec<Value> = serde_json::from_str(&again).unwrap();
    let bytes = |run: &str| fs::read(place.path().join(run).join("mfac-0.95/model.safetensors")).unwrap();
    assert_eq!(bytes("whole"), bytes("cut"));
    for (a, b) in all.iter().zip(&again) {
        assert_eq!((&a["accuracy"], &a["loss"]), (&b["accuracy"], &b["loss"]));
    }
    let one = rows(place.path(), &format!("{options} --out one/ --threads 1"));
    assert_eq!(one[2]["loss"], all[2]["loss"], "threads change nothing");
    assert_eq!(bytes("whole"), bytes("one"));
}

#[test]
fn patterns_and_layers_are_kept() {
    let place = trained();
    let row =
        &rows(place.path(), "--pattern 2:4 --layers fc1.weight,*1* --recompute 1 --gradients 16 --out p/")[0];
    assert_eq!(number(row, "sparsity"), 0.5);
    let layers = row["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1, "{row}");
    assert_eq!(layers[0]["pruned"], 64 * 64 / 2);
}

/// The authors' own network, where the shared data are.
#[test]
fn the_published_network_loses_less_with_curvature() {
    let (Some(model), Some(train), Some(test)) = (
        shared_data("mfac/resnet20-cifar10.safetensors"),
        shared_data("vision/cifar10-train-3000.bin.gz"),
        shared_data("vision/cifar10-devtest-400.bin.gz"),
    ) else {
        return;
    };
    let place = folder(&[]);
    let line = format!(
        "prune --model {} --arch resnet20:projection --normalize mean=0.5,std=0.5 --data {} --test {} \
         --limit 1024 --gradients 32 --compare mfac,magnitude --sparsity 0.7 --recompute 1 --seed 1 --json --quiet",
        model.display(),
        train.display(),
        test.display()
    );
    let all = json(place.path(), &line);
    let (mfac, magnitude) = (number(&all[0], "accuracy"), number(&all[1], "accuracy"));
    assert!(mfac > magnitude + 0.02, "{mfac} against {magnitude}");
}

#[test]
fn preconditioned_methods_train_and_resume_their_settings() {
    let place = folder(&[]);
    let line = "train --data digits --model mlp:64-64-10 --compare mkor,mkor-h,kfac,eva,mfac,sgd --epochs 4 \
                --lr 0.1 --set mfac.lr=auto --set eva.lr=0.03 --seed 1 --out cmp/ --json --quiet";
    let all = json(place.path(), line);
    let names: Vec<&str> = all.as_array().unwrap().iter().map(|s| s["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["mkor", "mkor-h", "kfac", "eva", "mfac", "sgd"]);
    for s in all.as_array().unwrap() {
        assert!(number(s, "test_accuracy") > 0.85, "{s}");
    }
    assert!(number(&all[0], "train_loss") < number(&all[5], "train_loss"), "mkor against sgd: {all}");
    // The written configuration gives the same run.
    let again = json(place.path(), "train --config cmp/config.toml --out again/ --json --quiet");
    for (a, b) in all.as_array().unwrap().iter().zip(again.as_array().unwrap()) {
        assert_eq!((&a["method"], &a["test_loss"]), (&b["method"], &b["test_loss"]));
    }
    let line = "train --data digits --model mlp:64-32-10 --method mkor --backend adamw --lr 3e-3 --betas 0.9,0.99 \
                --form low-rank:8 --inv-freq 5 --epochs 8 --out a/ --json --quiet";
    assert!(number(&json(place.path(), line), "test_accuracy") > 0.8);
}

#[test]
fn nonsense_is_refused_in_one_line() {
    let place = trained();
    let ask = |options: &str| -> String {
        let output = run(place.path(), &format!("{PRUNE} --out bad/ {options}"));
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{options}: {said}");
        assert!(said.starts_with("error: ") && !said.contains("panicked"), "{options}: {said}");
        said
    };
    for (options, clue) in [
        ("", "--sparsity"),
        ("--sparsity 1.5", "[0, 1]"),
        ("--sparsity=-0.1", "sparsity"),
        ("--sparsity nan", "[0, 1]"),
        ("--sparsity 0.5,0.5", "twice"),
        ("--sparsity 0.5 --damping 0", "damping"),
        ("--sparsity 0.5 --damp=-1", "damping"),
        ("--sparsity 0.5 --gradients 0", "gradients"),
        ("--sparsity 0.5 --micro-batch 0", "micro_batch"),
        ("--sparsity 0.5 --recompute 0", "recompute"),
        ("--sparsity 0.5 --compensation perhaps", "compensation"),
        ("--sparsity 0.5 --method best", "mfac"),
        ("--sparsity 0.5 --layers nothing.*", "nothing.*"),
        ("--sparsity 0.99 --relative-to all --layers fc2.weight", "sparsity"),
        ("--gradual 0.8,0.5", "none below"),
        ("--gradual 0.5,0.8 --every 2 --epochs 2", "epochs"),
        ("--gradual 0.5 --finetune-lr=-1", "lr"),
        ("--gradual 0.5 --batch 0", "batch"),
        ("--pattern 4:2", "pattern"),
        ("--sparsity 0.5 --gradual 0.5", "cannot be used"),
    ] {
        let said = ask(options);
        assert!(said.contains(clue), "{options}: {clue:?} is missing in {said}");
    }
    let refused = |line: &str, clue: &str| {
        let output = run(place.path(), line);
        let said = errors(&output);
        assert!(output.status.code() == Some(2) && said.contains(clue), "{line}: {said}");
    };
    refused("prune --data digits --sparsity 0.5", "--model");
    refused("prune --model absent.safetensors --data digits --sparsity 0.5", "absent.safetensors");
    refused("prune --model run/model.safetensors --sparsity 0.5", "--data");
    refused("prune --resume nowhere/", "nowhere");
    // A model that is sparser already.
    rows(place.path(), "--sparsity 0.8 --method magnitude --out sparse/");
    let line = "prune --model sparse/magnitude-0.8/model.safetensors --data digits --sparsity 0.5 --out bad/";
    refused(line, "below the present");
    for (options, clue) in [
        ("--inv-freq 0", "inv_freq"),
        ("--form low-rank:0", "form"),
        ("--form low-rank:8 --rule printed", "released"),
        ("--rule best", "rule"),
        ("--backend lbfgs", "backend"),
        ("--set decay=1", "decay"),
        ("--set threshold=0", "threshold"),
        ("--set stabilisation=2", "stabilisation"),
        ("--set exclude=[\"nothing\"]", "nothing"),
        ("--lr=-1", "lr"),
        ("--window 3", "window"),
    ] {
        refused(
            &format!("train --data digits --model mlp:64-10 --method mkor --epochs 1 --out bad/ {options}"),
            clue,
        );
    }
    for (options, clue) in [
        ("--window 0", "window"),
        ("--damping 0", "damping"),
        ("--lr fast", "auto"),
        ("--window 100000000", "gradients"),
    ] {
        refused(
            &format!("train --data digits --model mlp:64-10 --method mfac --epochs 1 --out bad/ {options}"),
            clue,
        );
    }
}
