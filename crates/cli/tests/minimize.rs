//! `thalweg minimize` by values alone, as people and scripts use it.

mod common;

use std::fs;

use common::{errors, folder, json, run, shared_data, succeed};

#[test]
fn searches_find_the_minimum_of_a_rugged_function() {
    let place = folder(&[]);
    for method in ["auto", "cbo"] {
        let line = format!(
            "minimize --function rastrigin --dim 10 --method {method} --max-evals 200000 --target 1e-3 --runs 2 --seed 1 --json"
        );
        let found = json(place.path(), &line);
        assert_eq!(found["successes"], 2, "{found}");
        assert_eq!((&found["runs"], &found["stop"]), (&2.into(), &"target".into()));
        assert!(found["best_f"].as_f64() <= Some(1e-3) && found["consensus_f"].is_f64(), "{found}");
        assert_eq!(found["best_x"].as_array().map(Vec::len), Some(10));
        let evals = found["evals"].as_u64().expect("a count");
        assert_eq!(found["ert"].as_f64(), Some(evals as f64 / 2.0));
        assert!(found["seconds"].is_f64());
        // One thread or two: the same bits.
        let again = json(place.path(), &format!("{line} --threads 1"));
        assert_eq!((&again["best_x"], &again["evals"]), (&found["best_x"], &found["evals"]));
    }
    let hop = "minimize --function sphere --dim 3 --method ch --max-evals 40000 --target 1e-3 --json";
    assert_eq!(json(place.path(), hop)["successes"], 1);
    // A target that no run reaches is said by the exit status too.
    let line = "minimize --function rastrigin --dim 10 --max-evaluations 500 --target 1e-9 --json";
    let missed = run(place.path(), line);
    assert_eq!(missed.status.code(), Some(3), "{}", errors(&missed));
    let none: serde_json::Value = serde_json::from_slice(&missed.stdout).expect("JSON");
    assert!(none["ert"].is_null() && none["successes"] == 0 && none["stop"] == "evaluations", "{none}");
    assert!(none["evals"].as_u64() <= Some(500), "{none}");
}

#[test]
fn shifts_and_rotations_come_from_files() {
    let place = folder(&[("s.csv", b"s0,s1\n0.5,-1\n2,2\n"), ("q.csv", b"a,b,c,d\n0.6,-0.8,0.8,0.6\n")]);
    let line = "minimize --function ellipsoid --dim 2 --shift s.csv --rotate q.csv --method adaptive --target 1e-9 \
                --runs 2 --json --out r/";
    let found = json(place.path(), line);
    assert_eq!(found["successes"], 2, "{found}");
    let x = found["best_x"][0].as_f64().expect("a number");
    assert!((x - 0.5).abs() < 1e-3 || (x - 2.0).abs() < 1e-3, "{found}");
    let history = fs::read_to_string(place.path().join("r/history.csv")).expect("a history");
    assert!(history.starts_with("run,iteration,") && history.lines().count() > 20);
    for file in ["config.toml", "convergence.svg", "metrics.jsonl", "report.html", "summary.json"] {
        assert!(place.path().join("r").join(file).is_file(), "{file}");
    }
    let Some(shifts) = shared_data("cbo/shifts_d10.csv") else { return };
    let line = format!(
        "minimize --function rastrigin --dim 10 --shift {} --method cbo --particles 200 --max-evals 200000 --target 1e-3 --runs 3 --json",
        shifts.display()
    );
    assert!(json(place.path(), &line)["successes"].as_u64() >= Some(2));
}

const BOWL: &[u8] = b"#!/bin/sh\nawk -v x=\"$1\" -v y=\"$2\" 'BEGIN { print (x-1)^2 + (y+2)^2 }'\n";

/// Crashes, hangs, talks nonsense and answers, by turns.
const NASTY: &[u8] = b"while read x y; do
  echo >> calls
  n=$(wc -l < calls)
  if [ $((n % 7)) = 3 ]; then echo 'what?'; continue; fi
  if [ $((n % 11)) = 5 ]; then echo nan; continue; fi
  if [ $((n % 60)) = 59 ]; then exit 1; fi
  if [ $((n % 60)) = 30 ]; then sleep 100; fi
  awk -v x=$x -v y=$y 'BEGIN { print (x-1)^2 + (y+2)^2 }'
done
";

#[test]
#[cfg(unix)]
fn programs_are_minimised_and_their_failures_survived() {
    let place = folder(&[("f.sh", BOWL), ("nasty.sh", NASTY)]);
    let search = |options: &[&str]| {
        let mut command = common::command(place.path(), "minimize --box -5:5 --dim 2 --seed 1 --json");
        let output = command.args(options).output().expect("the program starts");
        assert!(output.status.success(), "{}", errors(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let found =
        search(&["--command", "sh f.sh {x}", "--max-evals", "400", "--time", "60s", "--target", "0.1"]);
    assert!(found["best_f"].as_f64() <= Some(0.1) && found["failures"] == 0, "{found}");
    let nasty =
        ["--process", "sh nasty.sh", "--eval-time", "200ms", "--max-evals", "900", "--target", "0.01"];
    let found = search(&nasty);
    assert!(found["best_f"].as_f64() <= Some(0.01), "{found}");
    assert!(found["failures"].as_u64() > Some(0) && found["complaint"].is_string(), "{found}");
    // What hangs forever ends with the time.
    let output = common::command(place.path(), "minimize --dim 2 --box -1:1 --time 1s --json")
        .args(["--command", "sleep 100; echo {x}"])
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("no finite objective value"), "{}", errors(&output));
}

#[test]
fn bad_input_is_named() {
    let place =
        folder(&[("bad.csv", b"s0,s1\n1,x\n"), ("typo.toml", b"function = \"sphere\"\ndimension = 2\n")]);
    for (line, words) in [
        ("--function nothing --dim 2", &["nothing", "rastrigin"][..]),
        ("--function sphere --dim 0", &["dim"]),
        ("--function sphere --dim 2 --box 5:-5", &["coordinate 0"]),
        ("--function sphere --dim 2 --box 5", &["LO:HI"]),
        ("--function sphere --dim 2 --runs 0", &["runs"]),
        ("--function sphere --dim 2 --max-evals 10 --method cbo", &["max_evaluations", "10"]),
        ("--function sphere --dim 2 --method cbo --set lambda=-1", &["lambda"]),
        ("--function sphere --dim 2 --method cbo --set speed=1", &["speed"]),
        ("--function sphere --dim 2 --method cbo --set alpha=cold", &["alpha", "cold"]),
        ("--function sphere --dim 2 --method walk", &["walk", "auto"]),
        ("--function sphere --dim 2 --lr 1", &["--lr"]),
        ("--function sphere --dim 2 --shift bad.csv", &["bad.csv", "line 2", "x"]),
        ("--function sphere --dim 3 --shift bad.csv", &["bad.csv", "3"]),
        ("--function sphere --dim 2 --shift nowhere.csv", &["nowhere.csv"]),
        ("--function sphere --dim 2 --walls soft", &["boundary", "soft", "reflect"]),
        ("--function sphere --dim 2 --surface torus", &["surface", "sphere"]),
        ("--function grandcanyon3 --dim 3", &["dim", "2"]),
        ("--command prog --dim 2 --box 0:1", &["{x}"]),
        ("--process cat --dim 2", &["box"]),
        ("--dim 2", &["--function"]),
        ("--function sphere --dim 2 --constraints 1", &["--constraints", "--command"]),
        (
            "--function sphere --dim 2 --method cbo --set sigma_schedule=linear",
            &["sigma_schedule", "linear:1000"],
        ),
        ("--function sphere --dim 2 --method cbo --set alpha_schedule=soon", &["schedule", "soon"]),
        ("--function sphere --dim 2 --checkpoint-every 0", &["checkpoint-every"]),
        ("--resume nowhere", &["nowhere", "--out"]),
        ("--function rosenbrock --start=-1,1 --xtol 1", &["--xtol", "auto"]),
        ("--function sphere --method adam --boundary clip", &["--boundary", "adam"]),
        ("--function rosenbrock --start=-1,1 --method lbfgs --box 2:3", &["--box", "lbfgs"]),
        ("--function sphere --eval-time 1s", &["--eval-time", "--process"]),
        ("--function sphere --dim 3 --surface plane:40", &["plane", "box"]),
        ("--function sphere --method cbo --set memory.speed=1", &["speed"]),
        ("--process ./nonexistent --dim 2 --box 0:1", &["nonexistent", "not found"]),
        ("--function alpine --method adam", &["alpine", "differentiable", "auto"]),
        ("--function sphere --method mkor", &["mkor", "layers", "lbfgs"]),
        ("--function sphere --compare adam,cbo", &["--compare", "gradients"]),
        ("--command prog{x} --start=1,2 --method adam", &["gradients", "--method", "auto"]),
        ("--config typo.toml", &["typo.toml", "dimension"]),
    ] {
        let output = run(place.path(), &format!("minimize --quiet {line}"));
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        for word in words {
            assert!(said.contains(word), "{line}: {word} is not in {said}");
        }
    }
    let table = succeed(place.path(), "minimize --function sphere --dim 2 --max-evals 2000");
    assert!(table.contains("where the cloud agrees") && table.contains("best value"));
    assert!(!table.contains("target"), "there is none: {table}");
}

/// The distance from (1, −2), and how far outside of x ≤ 0.5 the point is.
const BOUNDED: &[u8] = b"#!/bin/sh
while read x y; do awk -v x=$x -v y=$y 'BEGIN { print (x-1)^2 + (y+2)^2, x - 0.5 }'; done
";

#[test]
#[cfg(unix)]
fn programs_may_have_constraints() {
    let place = folder(&[("f.sh", BOUNDED)]);
    let search = |options: &[&str]| {
        let line = "minimize --box -5:5 --dim 2 --seed 1 --max-evals 1500 --method cbo --json --quiet";
        let output = common::command(place.path(), line).args(options).output().expect("the program starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &errors(&output))
    };
    let found = search(&["--process", "sh f.sh", "--constraints", "1", "--penalty", "20"]);
    let found: serde_json::Value = serde_json::from_str(&found.1).expect("JSON");
    assert_eq!((&found["best_feasible"], &found["failures"]), (&true.into(), &0.into()), "{found}");
    let (f, x) = (found["best_f"].as_f64().unwrap(), found["best_x"][0].as_f64().unwrap());
    assert!((0.25..0.3).contains(&f) && x <= 0.5 + 1e-6, "{found}");
    // Where the constraint costs next to nothing, the consensus is outside and says so.
    let table = common::command(place.path(), "minimize --box -5:5 --dim 2 --max-evals 500 --quiet")
        .args(["--method", "cbo", "--process", "sh f.sh", "--constraints", "1", "--penalty", "1e-9"])
        .output()
        .expect("the program starts");
    assert!(String::from_utf8_lossy(&table.stdout).contains("(infeasible)"));
    // A program that says less than it should never has a value.
    let (code, said) = search(&["--process", "sh f.sh", "--constraints", "2"]);
    assert!(code == Some(2) && said.contains("instead of 3 numbers"), "{said}");
    for (options, word) in [
        (["--constraints", "1", "--penalty", "0"], "penalty.weight = 0"),
        (["--penalty", "1", "--walls", "clip"], "--constraints"),
    ] {
        let (code, said) = search(&[&["--process", "sh f.sh"][..], &options].concat());
        assert!(code == Some(2) && said.contains(word), "{said}");
    }
}

#[test]
fn schedules_and_settings_come_from_files_too() {
    let place = folder(&[(
        "s.toml",
        b"function = \"sphere\"\ndim = 3\nmethod = \"cbo\"\nmax-evals = 3000\nseed = 4\n",
    )]);
    let line = "minimize --config s.toml --set sigma_schedule=linear:40 --set alpha_schedule=step:20:10 --set alpha=5";
    let found = json(place.path(), &format!("{line} --out r --json --quiet"));
    let history = fs::read_to_string(place.path().join("r/history.csv")).expect("a history");
    let rows: Vec<Vec<f64>> =
        history.lines().skip(1).map(|l| l.split(',').map(|x| x.parse().unwrap()).collect()).collect();
    assert!((rows[10][7] - 0.95 * 0.75).abs() < 1e-12 && rows[19][6] == 5.0 && rows[20][6] == 50.0);
    // The configuration in the folder repeats the run.
    let again = json(place.path(), "minimize --config r/config.toml --json --quiet");
    assert_eq!((&again["best_x"], &again["evals"]), (&found["best_x"], &found["evals"]));
    // A setting may be given under its older name, in the file and beside it.
    let fewer = json(place.path(), "minimize --config s.toml --max-evaluations 500 --json --quiet");
    assert!(fewer["evals"].as_u64() <= Some(500), "{fewer}");
    let fewer = json(place.path(), "minimize --config r/config.toml --set max-evals=500 --json --quiet");
    assert!(fewer["evals"].as_u64() <= Some(500), "{fewer}");
    // A flag for another objective replaces the file's.
    let other = run(place.path(), "minimize --config s.toml --process cat --quiet");
    assert!(errors(&other).contains("box"), "{}", errors(&other));
}

#[test]
fn a_time_limit_leaves_the_best_so_far_and_a_folder_is_replaced_only_when_asked() {
    let place = folder(&[]);
    let line =
        "minimize --function rastrigin --dim 10 --method auto --max-evals 2000000 --patience 1e9 --seed 1";
    let cut = run(place.path(), &format!("{line} --time 100ms --out r --json"));
    assert!(cut.status.success() && errors(&cut).contains("--resume"), "{}", errors(&cut));
    let found: serde_json::Value = serde_json::from_slice(&cut.stdout).expect("JSON");
    assert!(found["stop"] == "time" && found["best_f"].is_f64(), "{found}");
    let again = run(place.path(), &format!("{line} --out r --quiet"));
    assert!(again.status.code() == Some(2) && errors(&again).contains("--overwrite"), "{}", errors(&again));
    let short = "minimize --function sphere --runs 3 --max-evals 300 --out r --overwrite --quiet";
    succeed(place.path(), short);
    let text = fs::read_to_string(place.path().join("r/summary.json")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(summary.is_object() && summary["runs"] == 3, "{summary}");
    let mut files: Vec<_> =
        fs::read_dir(place.path().join("r")).unwrap().map(|f| f.unwrap().file_name()).collect();
    files.sort();
    let all =
        ["config.toml", "convergence.svg", "history.csv", "metrics.jsonl", "report.html", "summary.json"];
    assert_eq!(files, all, "nothing is left behind");
}
