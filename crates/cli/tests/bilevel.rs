//! `thalweg bilevel`: the commands, their JSON, what they write, what they refuse.

mod common;

use std::fs;

use common::{command, errors, folder, json, run, shared_data, succeed};
use serde_json::Value;

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

#[test]
fn toys_are_solved() {
    let f = folder(&[]);
    for (line, x) in [
        ("toy active", 5.0 / 3.0),
        ("toy simplex", 5.0 / 11.0),
        ("toy active --method implicit", 5.0 / 3.0),
        ("toy cosine --start 2.5", 2.82964),
    ] {
        let got = json(f.path(), &format!("bilevel {line} --json --quiet"));
        assert!((got["x"][0].as_f64().unwrap() - x).abs() < 1e-4, "{line}: {got}");
    }
    succeed(f.path(), "bilevel toy pl --method pbo-double --steps 200 --trace t.csv --plot p.svg --quiet");
    let trace = fs::read_to_string(f.path().join("t.csv")).unwrap();
    assert!(
        trace.starts_with("step,calls,seconds,psi\n1,") && trace.lines().last().unwrap().starts_with("200,")
    );
    assert!(fs::read_to_string(f.path().join("p.svg")).unwrap().contains("pbo-double"));
}

#[test]
fn check_tells_of_the_jump() {
    let f = folder(&[]);
    let got = json(f.path(), "bilevel check jump --at 0.000001 --json");
    assert!(got["warnings"].to_string().contains("jump"), "{got}");
    let got = json(f.path(), "bilevel check least-squares --at 0.5,-1 --json");
    assert_eq!(got["warnings"], serde_json::json!([]));
    assert!((got["explicit"][0].as_f64().unwrap() + 0.25).abs() < 1e-8, "{got}");
    assert!(succeed(f.path(), "bilevel check pl").contains("error bound"));
}

/// What the issue promises of `hyperclean --json`, and that the weights find the wrong labels.
#[test]
fn digits_are_cleaned() {
    let f = folder(&[]);
    let got = json(f.path(), "bilevel hyperclean --steps 30 --seed 1 --out c/ --json --quiet");
    for key in ["test_accuracy", "f1", "upper", "lower_gap", "gradient_calls", "seconds"] {
        assert!(number(&got, key).is_finite(), "{key}: {got}");
    }
    assert!(number(&got, "test_accuracy") > 0.8 && number(&got, "f1") > 0.8, "{got}");
    assert!(number(&got, "lower_gap") >= -1e-9, "{got}");
    for file in [
        "config.toml",
        "summary.json",
        "weights.csv",
        "curves.svg",
        "weights.svg",
        "report.html",
        "metrics.jsonl",
    ] {
        assert!(f.path().join("c").join(file).exists(), "{file}");
    }
    // The same seed gives the same answer, for any number of threads; a configuration repeats a run.
    let again =
        json(f.path(), "bilevel hyperclean --config c/config.toml --threads 1 --out d/ --json --quiet");
    for key in ["test_accuracy", "f1", "upper", "lower_gap"] {
        assert_eq!(got[key], again[key], "{key}");
    }
    let weights = |folder: &str| fs::read(f.path().join(folder).join("weights.csv")).unwrap();
    assert_eq!(weights("c"), weights("d"));
    let hidden = json(f.path(), "bilevel hyperclean --hidden 16 --hold-out --steps 5 --json --quiet");
    assert!(number(&hidden, "test_accuracy") > 0.3, "{hidden}");
}

/// A killed run goes on to the same weights.
#[test]
fn cleaning_resumes() {
    let f = folder(&[]);
    let line = "bilevel hyperclean --method pbo-single --steps 3000 --seed 2 --quiet --out";
    succeed(f.path(), &format!("{line} whole"));
    let mut child = command(f.path(), &format!("{line} killed")).spawn().unwrap();
    while !f.path().join("killed/checkpoint.bin").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    succeed(f.path(), "bilevel hyperclean --quiet --resume killed");
    let weights = |folder: &str| fs::read(f.path().join(folder).join("weights.csv")).unwrap();
    assert_eq!(weights("whole"), weights("killed"));
}

#[test]
fn regularisation_of_files() {
    // Two informative features, one of noise.
    let rows = |n: usize, salt: f64| -> String {
        (0..n)
            .map(|i| {
                let t = i as f64 + salt;
                let (a, b, c) = ((1.7 * t).sin(), (2.3 * t).cos(), (5.1 * t).sin());
                let label = if a + 0.5 * b + 0.3 * (11.0 * t).sin() > 0.0 { "+1" } else { "-1" };
                format!("{label} 1:{a} 2:{b} 3:{c}\n")
            })
            .collect()
    };
    let f = folder(&[
        ("a.svm", rows(80, 0.0).as_bytes()),
        ("b.svm", rows(60, 0.5).as_bytes()),
        ("c.svm", rows(50, 0.25).as_bytes()),
    ]);
    let line =
        "bilevel regularisation --train a.svm --validation b.svm --test c.svm --box -8:4 --json --quiet";
    let ours = json(f.path(), &format!("{line} --out r/"));
    // As good a point, whose last digits this method cannot vouch for: it may say so.
    let exact = run(f.path(), &format!("{line} --method implicit"));
    assert!(matches!(exact.status.code(), Some(0 | 3)), "{}", errors(&exact));
    let exact: Value = serde_json::from_slice(&exact.stdout).unwrap();
    let grid = json(f.path(), &format!("{line} --method grid"));
    assert!((number(&ours, "upper") - number(&exact, "upper")).abs() < 1e-5, "{ours} {exact}");
    assert!(number(&ours, "upper") < number(&grid, "upper") + 1e-9);
    assert_eq!(ours["x"].as_array().unwrap().len(), 3);
    assert!(number(&ours, "gradient_calls") > 0.0 && number(&ours, "seconds") >= 0.0);
    for file in [
        "summary.json",
        "upper_calls.svg",
        "upper_time.svg",
        "stationarity.svg",
        "weights.svg",
        "weights.csv",
        "model.safetensors",
        "report.html",
    ] {
        assert!(f.path().join("r").join(file).exists(), "{file}");
    }
    // The third set has no part in the choice; without it nothing is called a test.
    assert!(number(&ours, "test_accuracy") > 0.7 && number(&ours, "validation_accuracy") > 0.7, "{ours}");
    assert!(number(&ours["common"], "upper") >= number(&ours, "upper") - 1e-9, "{ours}");
    let two = succeed(f.path(), "bilevel regularisation --train a.svm --validation b.svm --box -8:4 --quiet");
    assert!(two.contains("validation accuracy") && !two.contains("test"), "{two}");
    let table = fs::read_to_string(f.path().join("r/weights.csv")).unwrap();
    assert!(table.starts_with("feature,x,weight,at_bound,size\n1,") && table.lines().count() == 4, "{table}");
    let (ends, noise) = (ours["at_bounds"].as_array().unwrap(), table.lines().nth(3).unwrap());
    assert_eq!(ends.len(), 2);
    assert!(!noise.contains("NaN"), "{noise}");
}

/// A table of one's own, its classes in a named column.
#[test]
fn tables_are_cleaned() {
    let rows: String = (0..150)
        .map(|i| {
            let t = f64::from(i);
            let class = ["red", "green", "blue"][i as usize * 7 % 3];
            let of = |c: &str| if c == class { 200.0 } else { 0.0 };
            format!(
                "{class},{},{},{}\n",
                of("red") + 30.0 * t.sin(),
                of("green") + 30.0 * (2.0 * t).cos(),
                1e-3 * (3.0 * t).sin()
            )
        })
        .collect();
    let f = folder(&[("t.csv", format!("colour,a,b,c\n{rows}").as_bytes())]);
    let got = json(f.path(), "bilevel hyperclean --data t.csv --label colour --corrupt 0.4 --json --quiet");
    assert!(number(&got, "test_accuracy") > 0.9 && number(&got, "f1") > 0.8, "{got}");
}

/// What no gradient can better is no solution: exit status 3, in the words of the method.
#[test]
fn no_progress_is_no_success() {
    let f = folder(&[]);
    // Many lower solutions: implicit differentiation is refused, not "converged" at the start.
    for toy in ["line", "least-squares"] {
        let output = run(f.path(), &format!("bilevel toy {toy} --method implicit --json --quiet"));
        assert_eq!(output.status.code(), Some(2), "{toy}: {}", errors(&output));
        assert!(errors(&output).contains("no single solution"), "{toy}: {}", errors(&output));
    }
    // A run is not lost by what is measured after it.
    let got = json(f.path(), "bilevel toy line --method aid --steps 5000 --json --quiet");
    assert!(got["psi"].as_f64().unwrap().is_finite(), "{got}");
    assert!(got["warnings"].to_string().contains("aid is not made for this"), "{got}");
    let output = run(f.path(), "bilevel toy jump --json --quiet");
    let got: Value = serde_json::from_slice(&output.stdout).unwrap();
    if got["stopped_because"] == "method" {
        assert_eq!(output.status.code(), Some(3), "{got}");
        assert!(got["why"].to_string().contains("no progress"), "{got}");
    }
}

/// ijcnn1 from 0: the local minimum that L-BFGS-B finds with exact gradients.
#[test]
fn regularisation_of_ijcnn1() {
    let (Some(train), Some(test)) =
        (shared_data("bilevel/ijcnn1.train.svm.bz2"), shared_data("bilevel/ijcnn1.test.svm.bz2"))
    else {
        return;
    };
    let line = format!(
        "bilevel regularisation --train {} --validation {} --box -10:2 --json --quiet",
        train.display(),
        test.display()
    );
    let got = json(folder(&[]).path(), &line);
    assert!(number(&got, "upper") - 0.206_399_012_059 <= 1e-4, "{got}");
}

#[test]
fn bad_input_is_refused() {
    let f = folder(&[("a.svm", b"+1 1:1\n-1 2:1\n"), ("bad.svm", b"+1 1:one\n")]);
    for (line, words) in [
        ("bilevel toy nothing", "least-squares"),
        ("bilevel toy line --method newton", "pbo-double"),
        ("bilevel toy line --sigma 0", "sigma"),
        ("bilevel toy line --start 1,2", "2 numbers"),
        ("bilevel toy line --set moreau=-1 --method pbo-double", "moreau = -1"),
        ("bilevel toy line --set morau=1", "morau"),
        ("bilevel toy line --noise -1", "noise = -1"),
        ("bilevel toy line --method grid", "finite bounds"),
        ("bilevel check line --at 1,2", "2 numbers"),
        ("bilevel regularisation --train a.svm", "--validation"),
        ("bilevel regularisation --test a.svm", "--validation"),
        ("bilevel regularisation --train a.svm --validation bad.svm", "line 1"),
        ("bilevel check simplex --at 2", "nearest"),
        ("bilevel regularisation --box 2:-10", "LO:HI"),
        ("bilevel regularisation --start 5", "outside the box"),
        ("bilevel hyperclean --label class", "--label"),
        ("bilevel hyperclean --corrupt 1.5", "corrupt = 1.5"),
        ("bilevel hyperclean --reg -1", "ridge"),
        ("bilevel hyperclean --resume nowhere", "config.toml"),
    ] {
        let output = run(f.path(), line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", errors(&output));
        let text = errors(&output);
        assert!(text.contains(words), "{line}: {text}");
        assert!(!text.contains("panicked") && !text.contains("internal error"), "{line}: {text}");
    }
}
