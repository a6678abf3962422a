//! Every verb that writes a run folder writes the same one: what is in it, what is left out, and how a run is
//! repeated, changed, cut short, replaced, continued and killed.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{command, errors, folder, json, run, succeed};
use serde_json::Value;
use tempfile::TempDir;

/// A command that writes a folder, what it makes, and a longer one of its kind where the work can be long.
struct Verb {
    line: &'static str,
    products: &'static [&'static str],
    long: Option<&'static str>,
}

const VERBS: &[Verb] = &[
    Verb {
        line: "train --data digits --model mlp:64-16-10 --epochs 2",
        products: &["model.safetensors"],
        long: Some("train --data digits --model mlp:64-128-64-10 --epochs 40 --checkpoint-every 20"),
    },
    Verb {
        line: "train --data digits --model mlp:64-16-10 --compare adam,sgd --epochs 2",
        products: &["adam/model.safetensors", "sgd/model.safetensors"],
        long: Some("train --data digits --model mlp:64-64-10 --compare mkor,adahessian --epochs 40"),
    },
    Verb {
        line: "prune --model m/model.safetensors --data digits --sparsity 0.5 --gradients 8 --recompute 1",
        products: &["mfac-0.5/model.safetensors", "mfac-0.5/mask.safetensors"],
        long: Some(
            "prune --model m/model.safetensors --data digits --gradual 0.3,0.5,0.7,0.8 --every 3 --compare mfac,magnitude",
        ),
    },
    Verb {
        line: "fit convex-relu --data digits --limit 60 --patterns 6",
        products: &["model.safetensors"],
        long: Some(
            "fit convex-relu --data digits --limit 300 --loss squared --multiclass shared --method admm --patterns 40",
        ),
    },
    Verb { line: "certify m/model.safetensors --bound layer", products: &["certificate.json"], long: None },
    Verb {
        line: "dag fit sachs --log --score bic",
        products: &["graph.csv", "graph.dot"],
        long: Some("dag fit sachs --log --standardize --score mlp --hidden 8 --seed 1"),
    },
    Verb {
        line: "linsolve solve --matrix A.mtx --method sor",
        products: &["x.mtx", "residuals.svg"],
        long: None,
    },
    Verb { line: "linsolve scan --matrix A.mtx --omegas 1:1.9:5", products: &["scan.svg"], long: None },
    Verb {
        line: "linsolve sequence --problem shift-high --steps 60 --policy chebcb",
        products: &["omega.svg"],
        long: Some("linsolve sequence --problem heat --nx 40 --steps 1500 --policy joint --no-compare"),
    },
    Verb {
        line: "minimize --function rosenbrock --start=-1.2,1 --method adahessian",
        products: &["trajectories.svg"],
        long: None,
    },
    Verb {
        line: "minimize --function rastrigin --dim 2 --method cbo --max-evals 4000",
        products: &["convergence.svg"],
        long: Some(
            "minimize --function rastrigin --dim 10 --method auto --max-evals 1500000 --patience 1e9 --runs 2",
        ),
    },
    Verb {
        line: "bilevel hyperclean --steps 5",
        products: &["weights.csv"],
        long: Some("bilevel hyperclean --steps 400"),
    },
    Verb {
        line: "bilevel regularisation --steps 3",
        products: &["weights.svg"],
        long: Some("bilevel regularisation --method pbo-single --steps 4000"),
    },
    Verb { line: "bilevel toy cosine --start 2.5", products: &[], long: None },
];

/// A folder with what the commands read.
fn place() -> TempDir {
    let mut matrix = String::from("%%MatrixMarket matrix coordinate real symmetric\n20 20 39\n");
    for i in 1..=20 {
        matrix += &format!("{i} {i} 2.5\n");
        if i < 20 {
            matrix += &format!("{} {i} -1\n", i + 1);
        }
    }
    let place = folder(&[("A.mtx", matrix.as_bytes())]);
    succeed(place.path(), "train --data digits --model mlp:64-24-10 --epochs 3 --quiet --out m");
    place
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{}/{name}: {e}", folder.display()))
}

/// Every number and word of a summary but times and places.
fn results(value: &Value, path: &str, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| !name.contains("second")) {
                results(value, &format!("{path}/{name}"), into);
            }
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(i, v)| results(v, &format!("{path}/{i}"), into))
        }
        Value::String(text) if text.contains('/') => {}
        value => {
            into.insert(path.into(), value.to_string());
        }
    }
}

fn summary(folder: &Path) -> BTreeMap<String, String> {
    let value: Value = serde_json::from_str(&text(folder, "summary.json")).expect("summary.json is JSON");
    assert!(value.is_object(), "{}: summary.json is an object", folder.display());
    let mut all = BTreeMap::new();
    results(&value, "", &mut all);
    all
}

/// All files of a folder, by their path in it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry")) {
        let name = entry.file_name().into_string().expect("a name");
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path()).into_iter().map(|f| format!("{name}/{f}"))),
            false => found.push(name),
        }
    }
    found
}

#[test]
fn every_folder_holds_the_same_and_nothing_else_is_left() {
    let place = place();
    for (i, verb) in VERBS.iter().enumerate() {
        let out = format!("o{i}");
        let printed = json(place.path(), &format!("{} --json --quiet --out {out}", verb.line));
        assert!(printed.is_object() || printed.is_array(), "{}", verb.line);
        let out = place.path().join(out);
        let there = files(&out);
        for name in
            ["config.toml", "metrics.jsonl", "summary.json", "report.html"].iter().chain(verb.products)
        {
            // Of several methods, each has its own metrics.
            let inner = *name == "metrics.jsonl" && there.iter().any(|f| f.ends_with("/metrics.jsonl"));
            assert!(
                inner || there.iter().any(|f| f == name),
                "{}: {name} is missing from {there:?}",
                verb.line
            );
        }
        let left = |f: &&String| f.contains("checkpoint") || f.contains(".probe") || f.contains("tmp");
        assert_eq!(there.iter().find(left), None, "{}", verb.line);
        summary(&out);
        for name in there.iter().filter(|f| f.ends_with("metrics.jsonl")) {
            let lines = text(&out, name);
            assert!(!lines.is_empty(), "{}: {name} is empty", verb.line);
            for line in lines.lines() {
                let record: Value = serde_json::from_str(line).expect("a record");
                assert!(record.get("step").is_some(), "{}: {line}", verb.line);
            }
        }
        assert!(text(&out, "report.html").contains("<html"), "{}", verb.line);
        text(&out, "config.toml").parse::<toml::Table>().expect("config.toml is TOML");
    }
}

#[test]
fn every_run_is_repeated_by_its_settings_changed_by_set_and_replaced_only_when_asked() {
    let place = place();
    for (i, verb) in VERBS.iter().enumerate() {
        let head: Vec<&str> = verb.line.split_whitespace().take_while(|w| !w.starts_with("--")).collect();
        // A positional argument is a setting of the file too.
        let words = if head[0] == "train" || head[0] == "prune" || head[0] == "minimize" {
            1
        } else {
            head.len().min(2)
        };
        let words = if head[0] == "certify" { 1 } else { words };
        let name = head[..words].join(" ");
        succeed(place.path(), &format!("{} --quiet --out a{i}", verb.line));
        let first = summary(&place.path().join(format!("a{i}")));

        let again = run(place.path(), &format!("{} --quiet --out a{i}", verb.line));
        assert_eq!(again.status.code(), Some(2), "{}", verb.line);
        assert!(errors(&again).contains("--overwrite"), "{}: {}", verb.line, errors(&again));
        succeed(place.path(), &format!("{} --quiet --overwrite --out a{i}", verb.line));
        assert_eq!(summary(&place.path().join(format!("a{i}"))), first, "{}", verb.line);

        let positional = if words < head.len() { head[words..].join(" ") } else { String::new() };
        let repeated = format!("{name} {positional} --config a{i}/config.toml --quiet --out b{i}");
        succeed(place.path(), &repeated);
        assert_eq!(summary(&place.path().join(format!("b{i}"))), first, "{repeated}");

        if text(&place.path().join(format!("a{i}")), "config.toml").contains("seed")
            || !verb.line.contains("linsolve s")
        {
            let set = run(place.path(), &format!("{} --quiet --set seed=5 --out c{i}", verb.line));
            if set.status.success() {
                let config = text(&place.path().join(format!("c{i}")), "config.toml");
                assert!(config.contains("seed = 5"), "{}: {config}", verb.line);
            } else {
                assert!(errors(&set).contains("seed"), "{}: {}", verb.line, errors(&set));
            }
        }
        let unknown = run(place.path(), &format!("{} --quiet --set nonsense=5 --out d{i}", verb.line));
        assert_eq!(unknown.status.code(), Some(2), "{}", verb.line);
        assert!(
            errors(&unknown).contains("nonsense") || errors(&unknown).contains("set"),
            "{}",
            errors(&unknown)
        );
    }
}

#[test]
fn long_work_obeys_a_time_limit_and_goes_on_to_the_same_end() {
    let place = place();
    for (i, long) in VERBS.iter().filter_map(|v| v.long).enumerate() {
        succeed(place.path(), &format!("{long} --quiet --out whole{i}"));
        let whole = summary(&place.path().join(format!("whole{i}")));
        let cut = run(place.path(), &format!("{long} --quiet --time 150ms --out cut{i}"));
        assert!(matches!(cut.status.code(), Some(0 | 3)), "{long}: {}", errors(&cut));
        let cut = place.path().join(format!("cut{i}"));
        summary(&cut);
        let verb: Vec<&str> = long.split_whitespace().take_while(|w| !w.starts_with("--")).collect();
        let resumed = run(place.path(), &format!("{} --quiet --resume cut{i}", verb.join(" ")));
        assert!(matches!(resumed.status.code(), Some(0 | 3)), "{long}: {}", errors(&resumed));
        assert_eq!(summary(&cut), whole, "{long}");
    }
}

#[test]
fn long_work_that_is_killed_goes_on_to_the_same_end() {
    let place = place();
    for (i, long) in VERBS.iter().filter_map(|v| v.long).enumerate() {
        let clock = Instant::now();
        succeed(place.path(), &format!("{long} --quiet --out whole{i}"));
        let took = clock.elapsed();
        let whole = summary(&place.path().join(format!("whole{i}")));
        let killed = place.path().join(format!("killed{i}"));
        let verb: Vec<&str> = long.split_whitespace().take_while(|w| !w.starts_with("--")).collect();
        for share in [0.4, 0.6] {
            let line = match killed.join("config.toml").exists() {
                true => format!("{} --quiet --resume killed{i}", verb.join(" ")),
                false => format!("{long} --quiet --out killed{i}"),
            };
            let mut child = command(place.path(), &line).stdout(Stdio::null()).spawn().expect("a start");
            sleep(took.mul_f64(share).max(Duration::from_millis(20)));
            child.kill().expect("SIGKILL");
            child.wait().expect("an end");
        }
        let line = match killed.join("config.toml").exists() {
            true => format!("{} --quiet --resume killed{i}", verb.join(" ")),
            false => format!("{long} --quiet --out killed{i}"),
        };
        let ended = run(place.path(), &line);
        assert!(matches!(ended.status.code(), Some(0 | 3)), "{line}: {}", errors(&ended));
        assert_eq!(summary(&killed), whole, "{long}");
    }
}

#[test]
fn a_run_goes_on_with_its_own_settings_alone() {
    let place = place();
    for (i, verb) in VERBS.iter().enumerate() {
        succeed(place.path(), &format!("{} --quiet --out a{i}", verb.line));
        let out = place.path().join(format!("a{i}"));
        let (config, first) = (text(&out, "config.toml"), summary(&out));
        let words: Vec<&str> = verb.line.split_whitespace().take_while(|w| !w.starts_with("--")).collect();
        let resume =
            |more: &str| run(place.path(), &format!("{} --quiet --resume a{i} {more}", words.join(" ")));
        let other = resume("--set seed=77");
        assert_eq!(other.status.code(), Some(2), "{}: {}", verb.line, errors(&other));
        // By its name, where the verb has one.
        assert!(
            ["seed", "--set"].iter().any(|w| errors(&other).contains(w)),
            "{}: {}",
            verb.line,
            errors(&other)
        );
        // Nothing was touched, and as it was it goes on, to the same end.
        assert_eq!(text(&out, "config.toml"), config, "{}", verb.line);
        assert_eq!(summary(&out), first, "{}", verb.line);
        let same = resume("");
        assert!(matches!(same.status.code(), Some(0 | 3)), "{}: {}", verb.line, errors(&same));
        assert_eq!(summary(&out), first, "{}", verb.line);
    }
}

#[test]
fn what_others_left_in_a_folder_is_not_overwritten() {
    let place = place();
    for (i, verb) in VERBS.iter().enumerate() {
        let out = place.path().join(format!("mine{i}"));
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("report.html"), "my thesis").unwrap();
        let refused = run(place.path(), &format!("{} --quiet --out mine{i}", verb.line));
        assert_eq!(refused.status.code(), Some(2), "{}: {}", verb.line, errors(&refused));
        assert!(errors(&refused).contains("--overwrite"), "{}: {}", verb.line, errors(&refused));
        assert_eq!(text(&out, "report.html"), "my thesis", "{}", verb.line);
    }
}

#[test]
fn a_run_goes_on_from_anywhere() {
    let place = place();
    let table: String = std::iter::once("x,y,label\n".to_owned())
        .chain((0..60).map(|i| format!("{},{},{}\n", i % 7, i % 5, i % 2)))
        .collect();
    fs::write(place.path().join("table.csv"), table).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for (i, line) in [
        "train --data table.csv --model mlp:2-8-2 --epochs 3",
        "prune --model m/model.safetensors --data digits --sparsity 0.5 --gradients 8 --recompute 1",
        "certify m/model.safetensors --bound layer",
        "linsolve scan --matrix A.mtx --omegas 1:1.9:5",
    ]
    .into_iter()
    .enumerate()
    {
        succeed(place.path(), &format!("{line} --quiet --out a{i}"));
        let first = summary(&place.path().join(format!("a{i}")));
        let verb: Vec<&str> =
            line.split_whitespace().take_while(|w| !w.starts_with("--") && !w.contains('/')).collect();
        let out = place.path().join(format!("a{i}"));
        succeed(elsewhere.path(), &format!("{} --quiet --resume {}", verb.join(" "), out.display()));
        assert_eq!(summary(&out), first, "{line}");
        // As settings of another run, they name the same files.
        let config = out.join("config.toml");
        succeed(
            elsewhere.path(),
            &format!("{} --quiet --config {} --out b{i}", verb.join(" "), config.display()),
        );
        assert_eq!(summary(&elsewhere.path().join(format!("b{i}"))), first, "{line}");
    }
    // Settings written by hand see files from where they lie.
    fs::create_dir(place.path().join("inner")).unwrap();
    let by_hand = "data = \"../table.csv\"\nmodel = \"mlp:2-8-2\"\nepochs = 3\n";
    fs::write(place.path().join("inner/settings.toml"), by_hand).unwrap();
    let config = place.path().join("inner/settings.toml");
    succeed(elsewhere.path(), &format!("train --quiet --config {} --out c", config.display()));
}

#[test]
fn models_of_an_older_run_are_none_of_a_resumed_one() {
    let place = place();
    succeed(place.path(), "train --data digits --model mlp:64-24-10 --epochs 1 --seed 9 --quiet --out other");
    let line = |model: &str, more: &str| {
        format!(
            "prune --model {model}/model.safetensors --data digits --sparsity 0.4,0.6 --method magnitude --quiet {more}"
        )
    };
    succeed(place.path(), &line("m", "--out fresh"));
    let expected = summary(&place.path().join("fresh"));
    // As if the second run had been killed after its start.
    succeed(place.path(), &line("other", "--out p"));
    succeed(place.path(), &line("m", "--overwrite --time 0s --out p"));
    succeed(place.path(), "prune --quiet --resume p");
    assert_eq!(summary(&place.path().join("p")), expected);
}
