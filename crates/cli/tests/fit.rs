//! `thalweg fit convex-relu` as people and scripts use it.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::{command, errors, folder, json, run, shared_data, succeed};
use serde_json::Value;

const KEYS: [&str; 12] = [
    "objective",
    "dual_bound",
    "gap",
    "nonconvex_objective",
    "complete_patterns",
    "train_accuracy",
    "test_accuracy",
    "fgsm_accuracy",
    "pgd_accuracy",
    "neurons",
    "iterations",
    "seconds",
];

/// Points of two features; the class is −1 or 1, the number is what the class is the sign of.
fn points(count: usize, from: usize, number: bool) -> String {
    let row = |i: usize| {
        let (a, b) = ((i as f64 * 0.7).sin(), (i as f64 * 1.3).cos());
        let value = a.abs() - 0.5 + 0.4 * b;
        let y = if number { format!("{value:.4}") } else { format!("{:.0}", value.signum()) };
        format!("{a:.4},{b:.4},{y}\n")
    };
    std::iter::once("a,b,y\n".to_string()).chain((from..from + count).map(row)).collect()
}

fn place() -> tempfile::TempDir {
    folder(&[
        ("a.csv", points(14, 0, false).as_bytes()),
        ("b.csv", points(30, 50, false).as_bytes()),
        ("numbers.csv", points(14, 0, true).as_bytes()),
        ("nan.csv", b"a,b,y\n1,2,1\n1,NaN,-1\n3,1,1\n"),
        (
            "single.csv",
            points(14, 0, false)
                .replace(
                    ",-1
", ",1
",
                )
                .as_bytes(),
        ),
        ("other.csv", b"a,c,y\n1,2,1\n"),
        ("wide.csv", points(60, 0, false).as_bytes()),
    ])
}

const FIT: &str = "fit convex-relu --train a.csv --test b.csv --target y --seed 1 --quiet --json";

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"))
}

#[test]
fn every_method_and_loss_is_certified_and_leaves_a_model() {
    let place = place();
    for loss in ["squared", "hinge", "bce"] {
        let mut values = Vec::new();
        for method in ["exact", "admm", "admm-paper", "rbcd", "scp"] {
            if (method == "admm-paper" && loss != "squared") || (method == "rbcd" && loss == "hinge") {
                continue;
            }
            let line = format!(
                "{FIT} --loss {loss} --method {method} --patterns 50 --beta 0.1 --tol 1e-3 --out m/ --overwrite"
            );
            let row = json(place.path(), &line);
            for key in KEYS {
                assert!(row.get(key).is_some(), "{key} of {row}");
            }
            let (value, bound) = (number(&row, "objective"), number(&row, "dual_bound"));
            assert!(bound <= value && number(&row, "gap") <= 1e-3, "{row}");
            assert!((number(&row, "nonconvex_objective") / value - 1.0).abs() < 1e-6, "{row}");
            assert!(number(&row, "test_accuracy") > 0.7, "{row}");
            let run = place.path().join("m");
            for file in ["config.toml", "metrics.jsonl", "model.safetensors", "report.html", "dual.npy"] {
                assert!(run.join(file).is_file(), "{file}");
            }
            assert!(!run.join("checkpoint.bin").exists());
            let summary: Value =
                serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
            assert_eq!(summary, row);
            if method != "scp" {
                values.push(value);
            }
        }
        assert!(values.iter().all(|v| (v / values[0] - 1.0).abs() < 2e-3), "{loss}: {values:?}");
    }
    let summary: Value =
        serde_json::from_slice(&fs::read(place.path().join("m/summary.json")).unwrap()).unwrap();
    let scored = json(place.path(), "evaluate --model m/model.safetensors --data b.csv --label y --json");
    assert_eq!(scored["accuracy"], summary["test_accuracy"]);
}

#[test]
fn patterns_all_and_from_a_file_and_the_ways_to_choose_beta() {
    let place = place();
    let all = json(place.path(), &format!("{FIT} --loss bce --patterns all --beta 0.1 --tol 1e-4 --out m/"));
    assert_eq!((&all["complete_patterns"], &all["certified"]), (&Value::Bool(true), &"all patterns".into()));
    let listed = json(
        place.path(),
        &format!("{FIT} --loss bce --patterns m/patterns.npy --beta 0.1 --tol 1e-4 --out f/"),
    );
    assert!((number(&all, "objective") / number(&listed, "objective") - 1.0).abs() < 1e-4);
    assert_eq!(listed["complete_patterns"], false);

    json(place.path(), &format!("{FIT} --loss squared --patterns 20 --beta path:5 --out p/"));
    let path: Value = serde_json::from_slice(&fs::read(place.path().join("p/path.json")).unwrap()).unwrap();
    let values: Vec<f64> = path.as_array().unwrap().iter().map(|p| number(p, "objective")).collect();
    assert!(values.len() == 5 && values.windows(2).all(|w| w[0] >= w[1]), "{values:?}");
    assert!(place.path().join("p/path.svg").is_file());
    json(place.path(), &format!("{FIT} --loss squared --patterns 20 --beta auto --cv 3 --out c/"));
    assert!(place.path().join("c/cv.json").is_file());
    let numbers = "fit convex-relu --train numbers.csv --target y --beta 0.1 --json --quiet --out n/";
    assert!(json(place.path(), numbers)["train_accuracy"].is_null());
}

#[test]
fn people_see_the_result_and_the_report_how_it_came_about() {
    let place = place();
    let said =
        succeed(place.path(), "fit convex-relu --train a.csv --test b.csv --target y --quiet --out m/");
    assert!(
        said.contains("β 0.1") && said.contains("test accuracy") && !said.contains("iterations"),
        "{said}"
    );
    let report = fs::read_to_string(place.path().join("m/report.html")).unwrap();
    assert!(report.contains("iterations") && report.contains("Margins"));
    assert!(place.path().join("m/outputs.svg").is_file());
}

#[test]
fn robust_training_and_attacks() {
    let place = place();
    let line = format!(
        "{FIT} --loss hinge --patterns 50 --beta 0.1 --adversarial eps=0.01 --attack fgsm,pgd:40 --out m/"
    );
    let row = json(place.path(), &line);
    let proved = number(&row, "certified_accuracy");
    let [clean, fgsm, pgd] = ["test_accuracy", "fgsm_accuracy", "pgd_accuracy"].map(|k| number(&row, k));
    assert!(proved <= pgd && pgd <= clean && fgsm <= clean, "{row}");
    assert!((number(&row, "nonconvex_objective") / number(&row, "objective") - 1.0).abs() < 1e-5, "{row}");
}

#[test]
fn shared_problems_are_taken_as_they_are() {
    let Some(data) = shared_data("convex-relu") else { return };
    let here = tempfile::tempdir().unwrap();
    let fit = |set: &str, rest: &str| {
        let file = data.join(format!("{set}.npz"));
        json(
            here.path(),
            &format!("fit convex-relu --data {} --json --quiet --overwrite {rest}", file.display()),
        )
    };
    let exact = fit("exact2d_0", "--loss squared --beta 0.05");
    assert!((number(&exact, "objective") / 2.3029348899 - 1.0).abs() < 1e-6, "{exact}");
    let sampled = fit("scp_bc", "--loss squared --method scp --beta 0.1");
    assert!((number(&sampled, "objective") / 12.584433399 - 1.0).abs() < 1e-6, "{sampled}");
    assert!((number(&sampled, "test_accuracy") - 0.9675).abs() < 1e-3, "{sampled}");
}

#[test]
fn bad_input_is_refused_in_one_line() {
    let place = place();
    for (rest, clue) in [
        ("a.csv --beta 0", "beta"),
        ("a.csv --beta -1", "beta"),
        ("a.csv --beta much", "beta"),
        ("a.csv --beta path:1", "path:30"),
        ("a.csv --loss log", "hinge"),
        ("a.csv --method sgd", "admm-paper"),
        ("a.csv --method rbcd --loss hinge", "admm"),
        ("a.csv --method admm-paper --loss bce", "rbcd"),
        ("a.csv --patterns 0", "at least 1"),
        ("a.csv --patterns nowhere.npy", "nowhere.npy"),
        ("a.csv --adversarial eps=-1", "eps=0.1"),
        ("a.csv --raw --adversarial eps=50", "largest admissible"),
        ("a.csv --adversarial eps=0.01 --attack cw", "fgsm"),
        ("a.csv --adversarial eps=0.01 --method admm", "--method"),
        ("a.csv --attack fgsm", "--attack"),
        ("a.csv --beta 0.5 --cv 3", "--cv"),
        ("a.csv --method exact --max-iters 5", "--max-steps"),
        ("a.csv --tol=-1 --method admm", "tol"),
        ("a.csv --multiclass pairs --method admm", "ova"),
        ("numbers.csv --loss hinge", "-1"),
        ("nan.csv", "NaN"),
        ("single.csv", "class"),
        ("a.csv --test other.csv", "a, c"),
        ("a.csv --target z", "\"z\""),
        ("nowhere.csv", "nowhere.csv"),
        ("wide.csv --raw --patterns all --method admm-paper --loss squared --limit 1", "at least 2"),
    ] {
        let target = if rest.contains("--target") { "" } else { "--target y" };
        let output = run(place.path(), &format!("fit convex-relu --quiet {target} --train {rest}"));
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{rest}: {said}");
        assert!(said.starts_with("error: ") && said.contains(clue), "{rest}: {said}");
    }
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_result() {
    let place = place();
    let settings = "fit convex-relu --train wide.csv --target y --loss hinge --method admm --patterns 200 --beta 0.01 --tol 0 --max-iters 1400 --seed 1 --quiet --json";
    let solution = |out: &str, row: &Value| {
        let model = fs::read(place.path().join(out).join("dual.npy")).unwrap();
        (model, number(row, "objective"), number(row, "dual_bound"))
    };
    let row = |output: std::process::Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };
    let whole = run(place.path(), &format!("{settings} --out whole/"));
    assert_eq!(whole.status.code(), Some(3), "a gap of 0 is not reached: {}", errors(&whole));
    let expected = solution("whole", &row(whole));

    let mut child =
        command(place.path(), &format!("{settings} --out cut/")).stdout(Stdio::null()).spawn().unwrap();
    let metrics = place.path().join("cut/metrics.jsonl");
    let begun = |path: &Path| fs::metadata(path).is_ok_and(|m| m.len() > 0);
    while !begun(&metrics) && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.is_ok());
    let code = child.wait().unwrap().code();
    if code == Some(3) {
        return; // it was quicker than the signal
    }
    assert_eq!(code, Some(130));
    let again = run(place.path(), "fit convex-relu --resume cut/ --quiet --json");
    assert_eq!(again.status.code(), Some(3), "{}", errors(&again));
    assert_eq!(solution("cut", &row(again)), expected);
}

#[test]
fn older_names_of_settings_hold_and_a_run_is_not_overwritten() {
    let place = place();
    fs::write(place.path().join("c.toml"), "train = 'a.csv'\ntarget = 'y'\nloss = 'bce'\npatterns = 12\nmax-iters = 700\ngrow = 4\nskip = true\n").unwrap();
    let row =
        json(place.path(), "fit convex-relu --config c.toml --max-iters 900 --prune --out m/ --json --quiet");
    let config = fs::read_to_string(place.path().join("m/config.toml")).unwrap();
    for setting in
        ["max-steps = 900", "extra-pattern-searches = 4", "linear-part = true", "minimal-network = true"]
    {
        assert!(config.contains(setting), "{config}");
    }
    let again = run(place.path(), "fit convex-relu --config c.toml --out m/ --quiet");
    assert_eq!(again.status.code(), Some(2), "{}", errors(&again));
    assert!(errors(&again).contains("--overwrite"), "{}", errors(&again));
    let newer = "fit convex-relu --data a.csv --target y --loss bce --set patterns=12 --set max-iters=900 --out m/ --overwrite --json --quiet";
    let now =
        json(place.path(), &format!("{newer} --extra-pattern-searches 4 --linear-part --minimal-network"));
    assert_eq!((&now["objective"], &now["neurons"]), (&row["objective"], &row["neurons"]));
}

#[test]
fn a_run_whose_time_is_up_leaves_its_best_and_goes_on() {
    let place = place();
    let settings = "fit convex-relu --train wide.csv --target y --loss hinge --method admm --patterns 200 --beta 0.01 --tol 1e-2 --seed 1 --json";
    let cut = run(place.path(), &format!("{settings} --time 1ms --out cut/"));
    let said = errors(&cut);
    assert_eq!(cut.status.code(), Some(3), "{said}");
    assert!(said.contains("the time was up") && said.contains("--resume"), "{said}");
    let row: Value = serde_json::from_slice(&cut.stdout).unwrap();
    assert_eq!(row["stopped_because"], "time");
    assert!(number(&row, "dual_bound") <= number(&row, "objective"), "{row}");
    let end = json(place.path(), "fit convex-relu --resume cut/ --json --quiet");
    let whole = json(place.path(), &format!("{settings} --out whole/ --quiet"));
    let solution =
        |row: &Value| (row["objective"].clone(), row["dual_bound"].clone(), row["iterations"].clone());
    assert_eq!(solution(&end), solution(&whole));
    assert!(!place.path().join("cut/checkpoint.bin").exists());
}
