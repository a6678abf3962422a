//! `thalweg dag` end to end.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use common::{command, errors, folder, json, run, shared_data, succeed};
use serde_json::Value;

/// A chain x → y → z with loud noise, by a small generator of its own.
fn chain(rows: usize) -> String {
    let mut state = 1u64;
    let mut noise = || {
        // Sums of twelve uniform numbers are nearly normal.
        (0..12)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as f64 / (1u64 << 31) as f64
            })
            .sum::<f64>()
            - 6.0
    };
    let row = |_| {
        let x = noise();
        let y = 1.5 * x + noise();
        let z = -1.2 * y + noise();
        format!("{z},{x},{y}\n")
    };
    std::iter::once("z,x,y\n".into()).chain((0..rows).map(row)).collect()
}

#[test]
fn a_chain_is_found_and_compared() {
    let here = folder(&[("d.csv", chain(400).as_bytes()), ("t.csv", b"from,to,weight\nx,y,1.5\ny,z,-1.2\n")]);
    let fit = json(here.path(), "dag fit d.csv --score l2 --seed 1 --out g/ --json --quiet");
    let keys: Vec<&str> = fit.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["cpdag_edges", "edges", "kkt_violation", "order", "score", "score_chosen", "score_name", "seconds"]
    );
    assert_eq!(fit["order"], serde_json::json!(["x", "y", "z"]));
    assert_eq!(fit["edges"].as_array().unwrap().len(), 2);
    assert!((fit["edges"][0][2].as_f64().unwrap() - 1.5).abs() < 0.2);
    assert_eq!(fit["cpdag_edges"][0][2], "undirected");
    assert!(fit["kkt_violation"].as_f64().unwrap() < 1e-8);
    let eval = json(here.path(), "dag eval --truth t.csv --est g/graph.csv --json");
    let expected = serde_json::json!({
        "shd": 0, "tpr": 1.0, "fdr": 0.0, "cpdag_shd": 0, "skeleton_f1": 1.0, "fpr": 0.0, "skeleton_shd": 0,
        "edges_found": 2, "true_edges": 2, "differing": [],
    });
    assert_eq!(eval, expected);
    let more =
        json(here.path(), "dag eval --truth t.csv --est g/graph.csv --data d.csv --order g/order.txt --json");
    assert_eq!(more["order_divergence"], 0);
    assert_eq!(more["varsortability"], 1.0);
    for file in [
        "config.toml",
        "summary.json",
        "graph.csv",
        "weights.csv",
        "edges.csv",
        "cpdag.csv",
        "graph.dot",
        "graph.graphml",
        "graph.svg",
        "order.txt",
        "metrics.jsonl",
        "report.html",
    ] {
        assert!(here.path().join("g").join(file).exists(), "{file}");
    }
    // The folder says how to repeat the run.
    let again = json(here.path(), "dag fit --config g/config.toml --json --quiet");
    assert_eq!(again["score"], fit["score"]);
    let again = run(here.path(), "dag fit d.csv --out g/ --json --quiet");
    assert!(again.status.code() == Some(2) && errors(&again).contains("--overwrite"), "{}", errors(&again));
    json(here.path(), "dag fit --config g/config.toml --set restarts=1 --out g/ --overwrite --json --quiet");
    assert!(fs::read_to_string(here.path().join("g/config.toml")).unwrap().contains("restarts = 1"));
    assert!(!here.path().join("g/checkpoint.bin").exists());
    let summary: Value =
        serde_json::from_slice(&fs::read(here.path().join("g/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["starts"].as_array().unwrap().len(), 2);
    let exact = json(here.path(), "dag exact d.csv --score l2 --json --quiet");
    assert!((exact["score"].as_f64().unwrap() - fit["score"].as_f64().unwrap()).abs() < 1e-9);
}

#[test]
fn another_graph_is_improved() {
    // z → y → x, the wrong way round, and a cycle's weak edge.
    let w = ",z,x,y\nz,0,0,-0.5\nx,0.01,0,0\ny,0,0.4,0\n";
    let here = folder(&[("d.csv", chain(300).as_bytes()), ("w.csv", w.as_bytes())]);
    let done = json(here.path(), "dag polish --w w.csv d.csv --score l2 --json --quiet");
    let score = |key: &str| done[key].as_f64().unwrap();
    assert_eq!(score("cut"), 0.01);
    assert!(score("score_before") >= score("score_refit") && score("score_refit") >= score("score"));
    assert_eq!(done["order"], serde_json::json!(["x", "y", "z"]));
}

#[test]
fn simulated_data_go_through() {
    let here = folder(&[]);
    let line = "dag simulate --graph er:2 --dim 10 --samples 500 --noise gauss-ev --seed 1 --out sim/ --json";
    let made = json(here.path(), line);
    assert_eq!(made["edges"], 20);
    let line = "dag fit sim/data.csv --score l2 --init random --restarts 2 --seed 1 --out g/ --json --quiet";
    json(here.path(), line);
    let eval = json(here.path(), "dag eval --truth sim/truth.csv --est g/graph.csv --json");
    assert!(eval["shd"].as_u64().unwrap() <= 2, "{eval}");
    for score in ["bic", "mcp", "ev"] {
        json(here.path(), &format!("dag fit sim/data.csv --score {score} --standardize --json --quiet"));
    }
    let line = "dag simulate --graph er:1 --dim 6 --samples 300 --noise logistic --out bin/";
    assert!(succeed(here.path(), line).contains("6 edges"));
    json(
        here.path(),
        "dag fit bin/data.csv --score logistic --reg l2 --lambda 0.01 --mode paper --json --quiet",
    );
    // Knowledge from files.
    let knowledge = folder(&[
        ("forbid.csv", b"from,to\nX0,X1\n"),
        ("tiers.csv", b"node,tier\nX0,0\nX1,1\nX2,1\nX3,1\nX4,1\nX5,2\n"),
    ]);
    let at = |f: &str| knowledge.path().join(f).display().to_string();
    let line = format!(
        "dag fit bin/data.csv --forbid {} --tiers {} --json --quiet",
        at("forbid.csv"),
        at("tiers.csv")
    );
    let fit = json(here.path(), &line);
    assert_eq!(fit["order"][0], "X0");
    assert_eq!(fit["order"][5], "X5");
}

#[test]
fn the_embedded_cells_need_no_file() {
    let here = folder(&[]);
    let fit = json(here.path(), "dag fit sachs --log --standardize --score BIC --out g/ --json --quiet");
    assert_eq!(fit["order"].as_array().unwrap().len(), 11);
    let text = succeed(here.path(), "dag fit sachs --log --restarts 0 --bootstrap 3 --quiet");
    for words in ["score bic", "does not depend on units", "compelled", "linked", "3 resamples"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let eval = json(here.path(), "dag eval --truth sachs --est g/graph.csv --json");
    assert!(eval["skeleton_f1"].as_f64().unwrap() > 0.3, "{eval}");
}

/// The folder's files that a resumed run must have alike, times aside.
fn kept(folder: &Path) -> (Value, Vec<Value>, Vec<u8>) {
    let timeless = |mut value: Value| {
        value.as_object_mut().unwrap().remove("seconds");
        value
    };
    let summary = timeless(serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap());
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let metrics = metrics.lines().map(|line| timeless(serde_json::from_str(line).unwrap())).collect();
    (summary, metrics, fs::read(folder.join("weights.csv")).unwrap())
}

#[test]
fn a_search_that_is_cut_short_goes_on_to_the_same_bits() {
    let here = folder(&[]);
    succeed(here.path(), "dag simulate --graph er:2 --dim 12 --samples 300 --seed 2 --out sim/ --quiet");
    for (number, options) in [
        "--score bic --init random --restarts 3",
        "--score mlp --hidden 12",
        "--mode paper --reg l1 --lambda 0.01",
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("dag fit sim/data.csv {options} --seed 3");
        let whole = here.path().join(format!("whole{number}"));
        succeed(here.path(), &format!("{line} --out whole{number} --quiet"));
        // Time that is up before the first move, then after some.
        let cut = here.path().join(format!("cut{number}"));
        let output = run(here.path(), &format!("{line} --time 0s --out cut{number}"));
        assert!(
            output.status.success() && errors(&output).contains("the time was up"),
            "{}",
            errors(&output)
        );
        assert!(cut.join("checkpoint.bin").exists() && cut.join("graph.csv").exists());
        assert_eq!(kept(&cut).0["stopped_because"], "time");
        succeed(here.path(), &format!("dag fit --resume cut{number} --time 30ms --quiet"));
        // A kill at any moment.
        let mut child = command(here.path(), &format!("dag fit --resume cut{number} --quiet"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(200));
        child.kill().unwrap();
        child.wait().unwrap();
        succeed(here.path(), &format!("dag fit --resume cut{number} --quiet"));
        assert_eq!(kept(&cut), kept(&whole), "{options}");
        assert!(!cut.join("checkpoint.bin").exists());
    }
    let other = run(here.path(), "dag fit --resume whole0 --seed 4 --quiet");
    assert!(other.status.code() == Some(2) && errors(&other).contains("--seed"), "{}", errors(&other));
}

#[test]
fn bad_input_is_named() {
    let here = folder(&[
        ("d.csv", chain(50).as_bytes()),
        ("nan.csv", b"a,b\n1,2\n3,NA\n4,1\n0,0\n2,2.5\n"),
        ("word.csv", b"a,b\n1,2\n3,many\n"),
        ("constant.csv", b"a,b\n1,7\n2,7\n3,7\n"),
        ("collinear.csv", b"a,b,c\n1,2,3\n2,1,3\n4,5,9\n0,1,1\n3,3,6\n"),
        ("few.csv", b"a,b,c\n1,2,4\n2,1,0\n"),
        ("bare.csv", b"1,2\n3,4\n"),
        ("cycle.csv", b"from,to\nx,y\ny,x\n"),
        ("alien.csv", b"from,to\nx,q\n"),
    ]);
    for (line, words) in [
        (
            "dag fit nan.csv",
            "nan.csv: line 3, column \"b\": \"NA\" is not a finite number but marks a missing value",
        ),
        ("dag fit word.csv", "word.csv: line 3, column \"b\": \"many\" is not a finite number"),
        ("dag fit constant.csv", "column b is constant"),
        ("dag fit collinear.csv", "column c is a linear combination of a, b"),
        ("dag fit few.csv --score l2", "2 samples of 3 variables"),
        ("dag fit bare.csv --score l2", "2 samples of 2 variables"),
        ("dag fit absent.csv", "absent.csv"),
        ("dag fit", "no data"),
        ("dag fit d.csv --score logll", "no penalty"),
        ("dag fit d.csv --score logistic", "takes 0 and 1 alone"),
        ("dag fit d.csv --score what", "unknown variant `what`, expected one of `auto`"),
        ("dag fit d.csv --reg l1 --lambda -1", "lambda"),
        ("dag fit d.csv --init best", "expected one of `td`"),
        ("dag fit d.csv --score l2 --lambda 1", "--lambda without --penalty"),
        ("dag fit few.csv --score l2", "set --score to bic"),
        ("dag fit d.csv --score bic --hidden 7", "--hidden does nothing under --score bic"),
        ("dag fit d.csv --score ev --lambda 3", "--lambda does nothing"),
        ("dag fit d.csv --small 3", "set --mode to paper"),
        ("dag fit d.csv --drop w", "no column w to --drop"),
        ("dag fit collinear.csv --score mcp", "name one of them in --drop"),
        ("dag fit d.csv --header perhaps", "perhaps is none of auto, yes, no"),
        ("dag exact d.csv --restarts 3", "has no --restarts"),
        ("dag exact d.csv --time 1s", "leave out --time"),
        ("dag polish d.csv", "set --w to a file"),
        ("dag fit d.csv --score bic --reg l1", "does not go with"),
        ("dag fit d.csv --require cycle.csv", "cycle"),
        ("dag fit d.csv --forbid alien.csv", "a node q that the data do not have"),
        ("dag polish --w alien.csv d.csv", "a node q that the data do not have"),
        ("dag eval --truth cycle.csv --est cycle.csv", "directed cycle"),
        ("dag simulate --graph er:9 --dim 5 --samples 10 --out o/", "graph"),
        ("dag simulate --graph xx:1 --dim 5 --samples 10 --out o/", "er:K"),
    ] {
        let output = run(here.path(), line);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains(words) && said.lines().any(|l| l.starts_with("error:")), "{line}: {said}");
    }
    assert_eq!(
        json(here.path(), "dag fit nan.csv --drop-missing --json --quiet")["order"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn the_known_graph_is_found() {
    let Some(data) = shared_data("topo/er4_d20_n1000.csv.gz") else { return };
    let truth = data.with_file_name("er4_d20_n1000_truth.csv");
    let here = folder(&[]);
    json(
        here.path(),
        &format!("dag fit {} --score l2 --init random --seed 3 --out g/ --json --quiet", data.display()),
    );
    let line = format!("dag eval --truth {} --est g/graph.csv --json", truth.display());
    assert!(json(here.path(), &line)["shd"].as_u64().unwrap() <= 1);
}
