//! Linear systems from files: what is taken for what, what is counted, what is kept.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use thalweg_relax::method::Cost;
use thalweg_relax::solver::Reason;
use thalweg_relax::{Policy, Scheme};
use thalweg_tasks::linsolve::{ScanSettings, SequenceSettings, SolveSettings, scan, sequence, solve};
use thalweg_tasks::{Fault, Folder, Host, Opening};

/// A folder with these files.
fn folder(files: &[(&str, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// −u″ on a line of `n` points, times `scale`, and its diagonal times `1 + shift`.
fn line(n: usize, scale: f64, shift: f64) -> String {
    let beside = (1..n).map(|i| format!("{} {i} {:e}", i + 1, -scale));
    let diagonal = (1..=n).map(|i| format!("{i} {i} {:e}", (2.0 + shift) * scale));
    let entries: Vec<String> = beside.chain(diagonal).collect();
    let header = "%%MatrixMarket matrix coordinate real symmetric";
    format!("{header}\n{n} {n} {}\n{}\n", entries.len(), entries.join("\n"))
}

fn vector(values: impl IntoIterator<Item = f64>) -> String {
    let lines: Vec<String> = values.into_iter().map(|v| format!("{v:e}")).collect();
    format!("%%MatrixMarket matrix array real general\n{} 1\n{}\n", lines.len(), lines.join("\n"))
}

fn solved(matrix: &Path, rhs: Option<&Path>, method: Scheme) -> thalweg_tasks::linsolve::Solution {
    let settings = SolveSettings {
        matrix: Some(matrix.into()),
        rhs: rhs.map(Into::into),
        method: Some(method),
        ..SolveSettings::default()
    };
    solve(&settings, None, &Host::default()).unwrap()
}

#[test]
fn numbers_of_extreme_size_are_solved() {
    let f = folder(&[("A.mtx", line(50, 1e-180, 0.0)), ("b.mtx", vector([1e-180; 50]))]);
    let at = |name: &str| f.path().join(name);
    for method in [Scheme::Cg, Scheme::SsorCg, Scheme::JacobiCg] {
        let solution = solved(&at("A.mtx"), Some(&at("b.mtx")), method);
        assert!(solution.check().unwrap() && solution.summary.relative_residual <= 1e-8);
        for (x, exact) in solution.x.iter().zip([25.0, 49.0, 72.0]) {
            assert!((x - exact).abs() < 1e-6, "{method}: {x} instead of {exact}");
        }
    }
}

#[test]
fn a_singular_system_is_no_success() {
    let edge = line(20, 1.0, 0.0).replace("\n1 1 2e0", "\n1 1 1e0").replace("\n20 20 2e0", "\n20 20 1e0");
    let f = folder(&[("A.mtx", edge)]);
    for method in Scheme::ALL {
        let solution = solved(&f.path().join("A.mtx"), None, method);
        assert!(solution.summary.reason != Reason::Converged && solution.summary.relative_residual > 0.9);
        let error = solution.check().unwrap_err();
        assert!(error.to_string().contains("not converged"), "{method}: {error}");
        assert_eq!(error.fault(), Fault::Failure);
    }
}

#[test]
fn the_host_bounds_and_interrupts_a_solve() {
    let f = folder(&[("A.mtx", line(20_000, 1.0, 0.0))]);
    let settings = SolveSettings {
        matrix: Some(f.path().join("A.mtx")),
        method: Some(Scheme::Sor),
        omega: Some(0.1),
        max_iters: Some(100_000_000),
        ..SolveSettings::default()
    };
    let host = Host { time: Some(Duration::from_millis(300)), ..Host::default() };
    let solution = solve(&settings, None, &host).unwrap();
    assert_eq!((solution.summary.reason, solution.check().unwrap()), (Reason::Stopped, false));
    assert!(solution.summary.seconds < 10.0 && solution.x.iter().any(|x| *x > 0.0));
    host.interrupt.request();
    assert_eq!(solve(&settings, None, &host).unwrap_err().fault(), Fault::Interrupted);
    let settings =
        ScanSettings { matrix: settings.matrix, max_iters: settings.max_iters, ..ScanSettings::default() };
    assert_eq!(scan(&settings, None, &host).unwrap_err().fault(), Fault::Interrupted);
}

/// Matrices named as right-hand sides often are, and the other way round.
#[test]
fn files_are_told_by_their_shape_not_by_their_name() {
    let f = folder(&[
        ("bcs01.mtx", line(8, 1.0, 0.1)),
        ("bcs02.mtx", line(9, 1.0, 0.2)),
        ("f_0.mtx", vector([1.0; 8])),
        ("seq_b1.mtx", vector([2.0; 9])),
    ]);
    let settings = SequenceSettings { files: Some(f.path().into()), ..SequenceSettings::default() };
    let out = tempfile::tempdir().unwrap();
    let run = Folder::open(out.path().join("run"), Opening::Fresh).unwrap();
    let summary = sequence(&settings, Some(&run), &Host::default()).unwrap();
    assert_eq!((summary.steps, summary.unsolved), (2, 0));
    // Each solution solves its system.
    for (name, rhs, matrix) in [("f_0", "f_0.mtx", "bcs01.mtx"), ("seq_b1", "seq_b1.mtx", "bcs02.mtx")] {
        let kept = fs::read_to_string(run.file(&format!("solutions/{name}.mtx"))).unwrap();
        let kept: Vec<f64> = kept.lines().skip(2).map(|l| l.parse().unwrap()).collect();
        let exact = solved(&f.path().join(matrix), Some(&f.path().join(rhs)), Scheme::SsorCg).x;
        assert_eq!(kept.len(), exact.len());
        assert!(kept.iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-5 * b.abs()), "{name}");
    }
    // Without right-hand sides these are ones.
    fs::remove_file(f.path().join("f_0.mtx")).unwrap();
    fs::remove_file(f.path().join("seq_b1.mtx")).unwrap();
    assert_eq!(sequence(&settings, None, &Host::default()).unwrap().steps, 2);
}

fn contexts(file: &str, text: &str) -> thalweg_tasks::Result<Vec<f64>> {
    let f =
        folder(&[("d/A0.mtx", line(6, 1.0, 0.1)), ("d/A1.mtx", line(6, 1.0, 0.2)), (file, text.to_owned())]);
    let settings = SequenceSettings {
        files: Some(f.path().join("d")),
        context: Some(f.path().join(file)),
        policy: Some("fixed:1.2".into()),
        ..SequenceSettings::default()
    };
    let run = Folder::open(f.path().join("run"), Opening::Fresh).unwrap();
    sequence(&settings, Some(&run), &Host::default())?;
    let log = fs::read_to_string(run.metrics()).unwrap();
    let record = |line: &str| serde_json::from_str::<Value>(line).unwrap()["context"].as_f64().unwrap();
    Ok(log.lines().map(record).collect())
}

/// Never another column without a word.
#[test]
fn contexts_are_the_column_of_that_name() {
    for text in [
        "\u{feff}context,other\r\n0.25,5\r\n0.75,5\r\n",
        "other;context\n5;0,25\n5;0,75\n",
        "\u{feff}other\tcontext\n5\t0.25\n5\t0.75\n",
        "shift\n0.25\n0.75\n",
        "0.25\n0.75\n",
    ] {
        assert_eq!(contexts("c.csv", text).unwrap(), [0.25, 0.75], "{text:?}");
    }
    let error = contexts("c.csv", "step,shift\n0,0.25\n1,0.75\n").unwrap_err().to_string();
    assert!(error.contains("context") && error.contains("step, shift"), "{error}");
}

/// Failures cost the same wherever they are counted, and are counted.
#[test]
fn failed_solves_cost_alike_in_all_totals() {
    let files: Vec<(String, String)> = (0..8)
        .flat_map(|t| {
            let b = (0..40).map(move |i| ((t + 1) as f64 * i as f64).sin());
            [(format!("A{t}.mtx"), line(40, 1.0, 0.4 * (t % 4) as f64)), (format!("b{t}.mtx"), vector(b))]
        })
        .collect();
    let files: Vec<_> = files.iter().map(|(n, t)| (n.as_str(), t.clone())).collect();
    let f = folder(&files);
    for cost in [Cost::Iterations, Cost::Flops, Cost::Time] {
        for policy in ["fixed:1", "best-fixed", "oracle", "joint", "tsallis-inf"] {
            let settings = SequenceSettings {
                files: Some(f.path().into()),
                method: Some(vec![Scheme::Cg]),
                policy: Some(policy.into()),
                max_iters: Some(25),
                cost: Some(cost),
                ..SequenceSettings::default()
            };
            let run = tempfile::tempdir().unwrap();
            let run = Folder::open(run.path().join("run"), Opening::Fresh).unwrap();
            let s = sequence(&settings, Some(&run), &Host::default()).unwrap();
            let what = format!("{policy} by {cost:?}: {s:?}");
            assert!((1..8).contains(&s.unsolved), "{what}");
            // There is one arm: whoever chooses, totals are the same.
            assert_eq!(Some(s.total_iterations), s.best_fixed_iterations, "{what}");
            assert_eq!(
                (Some(s.total_iterations), Some(s.unsolved)),
                (s.oracle_iterations, s.best_fixed_unsolved)
            );
            if cost != Cost::Time {
                assert_eq!(
                    (Some(s.total_cost), s.oracle_cost),
                    (s.best_fixed_cost, s.best_fixed_cost),
                    "{what}"
                );
            }
            let log = fs::read_to_string(run.metrics()).unwrap();
            let log: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
            let failed = log.iter().filter(|r| r["reason"] == "cap").count();
            assert_eq!(failed as u64, s.unsolved, "{what}");
            for record in &log {
                assert_eq!(record["method"], "cg");
                let made = record["iterations"].as_f64().unwrap();
                let counted = if record["reason"] == "cap" { 25.0 } else { made };
                assert_eq!(record["value"].as_f64(), Some(counted));
                assert!(record["cost"].as_f64().unwrap() > 0.0);
            }
            let sum: f64 = log.iter().map(|r| r["cost"].as_f64().unwrap()).sum();
            assert!((sum - s.total_cost).abs() < 1e-9 * sum, "{what}");
            let report = fs::read_to_string(run.file("report.html")).unwrap();
            assert!(report.contains(&format!("{} not solved", s.unsolved)), "{what}");
            // What was not solved is not passed off as a solution.
            let kept = fs::read_dir(run.file("solutions")).unwrap().count();
            assert_eq!(kept as u64, 8 - s.unsolved, "{what}");
        }
    }
}

#[test]
fn fields_of_the_joint_model_are_set() {
    let with = |set: &str, policy: &str| SequenceSettings {
        problem: Some("shift-high".into()),
        nx: Some(6),
        steps: Some(60),
        policy: Some(policy.into()),
        set: vec![set.into()],
        no_compare: Some(true),
        ..SequenceSettings::default()
    };
    let total = |set| sequence(&with(set, "joint"), None, &Host::default()).unwrap().total_iterations;
    assert_eq!(total("joint.memory=1"), total("joint.bonus=0.1"), "the defaults");
    assert_ne!(total("joint.memory=0.6"), total("joint.memory=1"));
    assert!(matches!(Policy::default(), Policy::Joint(_)));
    for (set, policy, word) in [
        ("joint.memory=0", "joint", "memory"),
        ("joint.memory=1.5", "joint", "memory"),
        ("joint.memries=1", "joint", "memries"),
        ("memory=1", "joint", "joint.memory"),
        ("joint.memory=0.9", "chebcb", "`policy`"),
    ] {
        let error = sequence(&with(set, policy), None, &Host::default()).unwrap_err();
        assert!(error.to_string().contains(word), "{set}: {error}");
        assert_eq!(error.fault(), Fault::Input);
    }
}

#[test]
fn a_scan_says_which_omega_is_best() {
    let f = folder(&[("A.mtx", line(30, 1.0, 0.0)), ("big.mtx", line(700, 1.0, 0.5))]);
    let settings = |matrix: &str, omegas: &str, method| ScanSettings {
        matrix: Some(f.path().join(matrix)),
        omegas: Some(omegas.into()),
        method: Some(method),
        ..ScanSettings::default()
    };
    let got = scan(&settings("A.mtx", "1:1.95:20", Scheme::Sor), None, &Host::default()).unwrap();
    assert!(got.verdict().contains(&format!("{:.3}", got.best.omega)), "{}", got.verdict());
    // Young's ω of a line is known.
    let beta = (std::f64::consts::PI / 31.0).cos();
    assert!((got.young_omega.unwrap() - 2.0 / (1.0 + (1.0 - beta * beta).sqrt())).abs() < 1e-6);
    // Without bounds the report speaks of none.
    let run = Folder::open(f.path().join("run"), Opening::Fresh).unwrap();
    let big = scan(&settings("big.mtx", "1,1.5", Scheme::Sor), Some(&run), &Host::default()).unwrap();
    let report = fs::read_to_string(run.file("report.html")).unwrap();
    assert!(big.bounds.is_empty() && !report.contains("upper bounds") && report.contains("best ω"));
    // Axelsson's bound holds between 0.83 and 1.9.
    let cg = scan(&settings("A.mtx", "0.5,1,1.95", Scheme::SsorCg), None, &Host::default()).unwrap();
    let finite: Vec<bool> = cg.bounds["axelsson"].iter().map(|b| b.is_finite()).collect();
    assert_eq!(finite, [false, true, false]);
}
