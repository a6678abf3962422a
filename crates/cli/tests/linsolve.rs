//! `thalweg linsolve`: the commands, their JSON, what they write, what they refuse.

mod common;

use std::fs;

use common::{errors, folder, json, run, succeed};

/// The 5-point Laplacian with a shift on `side²` points, symmetric MatrixMarket.
fn laplacian(side: usize, shift: f64) -> String {
    let mut entries = Vec::new();
    for i in 0..side * side {
        entries.push(format!("{} {} {}", i + 1, i + 1, 4.0 + shift));
        if (i + 1) % side != 0 {
            entries.push(format!("{} {} -1", i + 2, i + 1));
        }
        if i + side < side * side {
            entries.push(format!("{} {} -1", i + side + 1, i + 1));
        }
    }
    let (n, count) = (side * side, entries.len());
    format!("%%MatrixMarket matrix coordinate real symmetric\n{n} {n} {count}\n{}\n", entries.join("\n"))
}

fn ones(n: usize) -> String {
    format!("%%MatrixMarket matrix array real general\n{n} 1\n{}", "1\n".repeat(n))
}

#[test]
fn solve_counts_as_the_literature_does() {
    let f = folder(&[("A.mtx", laplacian(10, 0.0).as_bytes()), ("b.mtx", ones(100).as_bytes())]);
    for (line, count) in [
        ("--method sor --omega 1.6", 43),
        ("--method sor --omega 1.0", 223),
        ("--method ssor-cg --omega 1.2", 12),
        ("--method cg", 15),
    ] {
        let line = format!("linsolve solve --matrix A.mtx --rhs b.mtx --tol 1e-8 {line} --json");
        let got = json(f.path(), &line);
        assert_eq!(
            (got["iterations"].as_u64(), got["reason"].as_str()),
            (Some(count), Some("converged")),
            "{line}"
        );
        assert!(got["relative_residual"].as_f64().expect("a number") <= 1e-8);
    }
    succeed(f.path(), "linsolve solve --matrix A.mtx --out x/");
    for file in ["x.mtx", "summary.json", "residuals.svg"] {
        assert!(f.path().join("x").join(file).exists(), "{file}");
    }
    // The solution can be read again.
    succeed(f.path(), "linsolve solve --matrix A.mtx --rhs x/x.mtx");
}

#[test]
fn scan_writes_counts_and_bounds() {
    let f = folder(&[("A.mtx", laplacian(6, 0.0).as_bytes())]);
    let got = json(f.path(), "linsolve scan --matrix A.mtx --method sor --omegas 1:1.9:4 --out s/ --json");
    let counts: Vec<u64> =
        got["iterations"].as_array().expect("a list").iter().filter_map(|k| k.as_u64()).collect();
    assert_eq!(counts.len(), 4);
    let best = counts.iter().min().expect("four counts");
    assert_eq!(got["best"]["iterations"].as_u64(), Some(*best));
    for (bound, count) in got["bounds"]["energy"].as_array().expect("a list").iter().zip(&counts) {
        assert!(bound.as_f64().expect("a number") >= *count as f64);
    }
    for file in ["summary.json", "scan.svg", "report.html"] {
        assert!(f.path().join("s").join(file).exists(), "{file}");
    }
    let cg = json(f.path(), "linsolve scan --matrix A.mtx --method ssor-cg --omegas 1,1.5 --json");
    assert!(cg["bounds"]["axelsson"][0].as_f64().expect("a number") > 1.0);
}

#[test]
fn a_sequence_answers_in_the_promised_json() {
    let f = folder(&[]);
    let line = "linsolve sequence --problem shift-high --steps 200 --policy tsallis-inf --seed 1 --json";
    let text = succeed(f.path(), line);
    let got: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut keys: Vec<&str> = got.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    let promised = [
        "best_fixed",
        "best_fixed_cost",
        "best_fixed_iterations",
        "best_fixed_unsolved",
        "cost",
        "oracle_cost",
        "oracle_iterations",
        "policy",
        "seconds",
        "steps",
        "total_cost",
        "total_iterations",
        "unsolved",
    ];
    assert_eq!(keys, promised);
    let number = |v: &serde_json::Value, key: &str| v[key].as_u64().unwrap_or_else(|| panic!("{key} in {v}"));
    assert!(number(&got, "oracle_iterations") < number(&got, "best_fixed_iterations"));
    assert_eq!((number(&got, "steps"), got["policy"].as_str()), (200, Some("tsallis-inf")));
    // The same seed takes the same path, whatever the threads.
    let again = json(f.path(), &format!("{line} --threads 1"));
    assert_eq!(number(&again, "total_iterations"), number(&got, "total_iterations"));
    let total = |policy: &str| {
        let line =
            format!("linsolve sequence --problem shift-high --steps 200 --policy {policy} --seed 1 --json");
        let got = json(f.path(), &line);
        number(&got, "total_iterations")
    };
    assert_eq!(total("best-fixed"), number(&got, "best_fixed_iterations"));
    assert_eq!(total("oracle"), number(&got, "oracle_iterations"));
    let fixed = total("fixed:1.5");
    assert!(total("joint") < fixed && total("young") < fixed && total("chebcb") < 2 * fixed);
}

#[test]
fn a_folder_of_the_run_and_going_on() {
    let f = folder(&[]);
    let line = "linsolve sequence --problem heat --nx 12 --steps 150 --policy chebcb --seed 2 --json";
    let whole = json(f.path(), &format!("{line} --out whole/"));
    for file in ["config.toml", "metrics.jsonl", "summary.json", "regret.svg", "omega.svg", "report.html"] {
        assert!(f.path().join("whole").join(file).exists(), "{file}");
    }
    let log = fs::read_to_string(f.path().join("whole/metrics.jsonl")).expect("a log");
    assert_eq!(log.lines().count(), 150);
    for key in [
        "omega\":",
        "context\":",
        "probability\":",
        "predicted\":",
        "method\":\"ssor-cg",
        "reason\":\"converged",
    ] {
        assert!(log.contains(key), "{key}");
    }
    // A finished run that goes on has nothing left to do and says the same.
    let again = json(f.path(), "linsolve sequence --resume whole --json");
    assert_eq!(again["total_iterations"], whole["total_iterations"]);
}

#[test]
fn a_sequence_of_files() {
    let mut files: Vec<(String, String)> = (0..12)
        .flat_map(|t| {
            let shift = 0.1 * (t % 4) as f64;
            [(format!("d/A{t}.mtx"), laplacian(6, shift)), (format!("d/b{t}.mtx"), ones(36))]
        })
        .collect();
    let contexts: String = (0..12).map(|t| format!("{t},{}\n", 0.1 * (t % 4) as f64)).collect();
    files.push(("contexts.csv".into(), format!("step,context\n{contexts}")));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, t)| (n.as_str(), t.as_bytes())).collect();
    let f = folder(&files);
    for policy in ["joint", "chebcb", "tsallis-inf-cb:4", "young"] {
        let line = format!("linsolve sequence --files d --context contexts.csv --policy {policy} --json");
        let got = json(f.path(), &line);
        assert_eq!(got["steps"], 12);
        assert!(got["oracle_iterations"].as_u64() <= got["best_fixed_iterations"].as_u64());
    }
    let several = "linsolve sequence --files d --context contexts.csv --policy chebcb --method sor,ssor-cg --cost flops";
    succeed(f.path(), several);
}

#[test]
fn what_is_refused() {
    let skew = "%%MatrixMarket matrix coordinate real general\n2 2 3\n1 1 1\n1 2 0.5\n2 2 1\n";
    let hole = "%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 1\n1 2 0.5\n";
    let wide = "%%MatrixMarket matrix coordinate real general\n2 3 1\n1 1 1\n";
    let wild = "%%MatrixMarket matrix coordinate real general\n2 2 4\n1 1 1\n1 2 9\n2 1 9\n2 2 1\n";
    let broken = "%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 1\n1 two 0.5\n";
    let huge = "%%MatrixMarket matrix coordinate real symmetric\n3000000000 3000000000 1\n1 1 2\n";
    let singular =
        "%%MatrixMarket matrix coordinate real symmetric\n3 3 5\n1 1 1\n2 1 -1\n2 2 2\n3 2 -1\n3 3 1\n";
    let f = folder(&[
        ("A.mtx", laplacian(3, 0.0).as_bytes()),
        ("skew.mtx", skew.as_bytes()),
        ("hole.mtx", hole.as_bytes()),
        ("wide.mtx", wide.as_bytes()),
        ("wild.mtx", wild.as_bytes()),
        ("broken.mtx", broken.as_bytes()),
        ("b.mtx", ones(2).as_bytes()),
        ("w.mtx", b"%%MatrixMarket matrix array integer general\n2 1\n1\n-1\n"),
        ("d/A0.mtx", laplacian(3, 0.0).as_bytes()),
        ("c.csv", b"context\n1\n2\n"),
        ("two.csv", b"step,value\n0,1\n"),
        ("right/b.mtx", ones(3).as_bytes()),
        ("huge.mtx", huge.as_bytes()),
        ("huge/A.mtx", huge.as_bytes()),
        ("singular.mtx", singular.as_bytes()),
        ("x.csv", b"context\nx\n"),
    ]);
    for (line, code, word) in [
        ("solve --matrix none.mtx", 2, "none.mtx"),
        ("solve --matrix A.mtx --omega 2", 2, "(0, 2)"),
        ("solve --matrix A.mtx --omega -0.1", 2, "(0, 2)"),
        ("solve --matrix A.mtx --method magic", 2, "magic"),
        ("solve --matrix A.mtx --tol 0", 2, "tol"),
        ("solve --matrix A.mtx --rhs b.mtx", 2, "2 entries"),
        ("solve --matrix skew.mtx --method cg", 2, "symmetric"),
        ("solve --matrix hole.mtx", 2, "row 2"),
        ("solve --matrix wide.mtx", 2, "3 columns"),
        ("solve --matrix broken.mtx", 2, "broken.mtx: line 4"),
        ("solve --matrix wild.mtx --method sor", 1, "diverged"),
        ("solve --matrix wild.mtx --rhs w.mtx --method cg", 2, "positive definite"),
        ("solve --matrix A.mtx --method sor --max-iters 2", 1, "not converged"),
        ("scan --matrix A.mtx --omegas 1:3:4", 2, "(0, 2)"),
        ("sequence --problem shift-high --policy best", 2, "policy"),
        ("sequence --problem shift-high --policy fixed:3", 2, "(0, 2)"),
        ("sequence --problem waves", 2, "waves"),
        ("sequence", 2, "--problem"),
        ("sequence --problem heat --nx 1", 2, "nx"),
        ("sequence --files d --context c.csv", 2, "2 contexts"),
        ("sequence --files d --context two.csv", 2, "step, value"),
        ("sequence --files right", 2, "no matrix"),
        ("sequence --files d --nx 5", 2, "--nx"),
        ("sequence --problem shift-high --solutions", 2, "--out"),
        ("sequence --problem shift-high --set joint.memory=2", 2, "memory"),
        ("sequence --problem shift-high --set joint.memories=1", 2, "memories"),
        ("sequence --problem shift-high --set memory=1", 2, "joint.memory"),
        ("sequence --problem shift-high --policy chebcb --set joint.memory=0.9", 2, "--policy"),
        ("sequence --problem shift-high --nx 0", 2, "nx = 0"),
        ("solve --matrix huge.mtx", 2, "check the sizes"),
        ("solve --matrix huge.mtx --rhs huge.mtx", 2, "check the sizes"),
        ("sequence --files huge", 2, "check the sizes"),
        ("scan --matrix huge.mtx", 2, "check the sizes"),
        ("solve --matrix singular.mtx --method jacobi-cg", 1, "not converged"),
        ("sequence --files d --context x.csv", 2, "line 2"),
        ("sequence --files nowhere", 2, "nowhere"),
        ("sequence --resume nowhere", 2, "config.toml"),
        ("sequence --problem shift-high --steps 5 --method sor,cg --policy joint", 2, "one"),
    ] {
        let output = run(f.path(), &format!("linsolve {line}"));
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        assert!(text.contains(word), "{line}: {text}");
        assert!(text.lines().filter(|l| l.starts_with("error")).count() == 1, "{line}: {text}");
    }
}

/// Scripts can tell a sequence of which some systems were not solved.
#[test]
fn unsolved_systems_are_counted_and_change_the_exit_status() {
    let f = folder(&[]);
    let line =
        "linsolve sequence --problem shift-high --steps 40 --policy fixed:1 --max-iters 100 --json --quiet";
    let output = run(f.path(), line);
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
    let got: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let number = |key: &str| got[key].as_u64().unwrap_or_else(|| panic!("{key} in {got}"));
    assert!((1..40).contains(&number("unsolved")));
    assert!(number("total_iterations") >= 100 * number("unsolved"));
    assert!(number("total_iterations") >= number("best_fixed_iterations"));
    assert!(number("best_fixed_iterations") >= number("oracle_iterations"));
}

#[test]
fn a_time_limit_bounds_every_task() {
    let f = folder(&[("A.mtx", laplacian(120, 0.0).as_bytes())]);
    for (line, code) in [
        ("solve --matrix A.mtx --method sor --omega 0.01 --max-iters 1000000 --time 1s", 3),
        ("scan --matrix A.mtx --omegas 1.95,0.01 --max-iters 1000000 --time 2s", 3),
        ("sequence --problem heat --nx 100 --policy fixed:1.5 --time 1s", 0),
    ] {
        let clock = std::time::Instant::now();
        let output = run(f.path(), &format!("linsolve {line}"));
        assert_eq!(output.status.code(), Some(code), "{line}: {}", errors(&output));
        assert!(clock.elapsed().as_secs() < 20, "{line}: {:?}", clock.elapsed());
        assert!(!output.stdout.is_empty(), "{line}: the best so far");
    }
}

#[test]
fn numbered_files_sort_by_value() {
    let mut names = ["a10.mtx", "a9.mtx", "a1.mtx", "a001b2.mtx"];
    names.sort_by_key(|n| thalweg::linsolve::natural(n));
    assert_eq!(names, ["a1.mtx", "a001b2.mtx", "a9.mtx", "a10.mtx"]);
}
