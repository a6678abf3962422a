//! The numbers of commands over all verbs stay: `recorded/commands.txt` against `recorded/numbers.json`.
//!
//! `THALWEG_RECORD=1 cargo test -p thalweg-cli --test recorded` records them anew. Machines differ in the
//! last bits; `recorded/same-bits.sh` compares two programs on one machine without allowing for that.
#![cfg(unix)] // some commands start shell scripts

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::{env, fs, thread};

use serde_json::Value;

/// What two machines may differ by, of the number.
const RELATIVE: f64 = 1e-5;
/// What they may differ by where rounding is all there is: gaps, violations, zeros.
const ABSOLUTE: f64 = 1e-9;
/// Keys of what the clock says.
const TIMES: [&str; 2] = ["seconds", "seconds_per_step"];
/// Numbers that machines agree on less: begin of the name, end of the path, relative difference.
const LOOSER: [(&str, &str, f64); 2] = [
    ("certify-", "iterations", 0.5), // first-order bounds stop by a gap that rounding moves
    ("bilevel-clean-pbo", "gradient_calls", 0.01),
];

/// The answers of the commands by their names.
type Answers = BTreeMap<String, Value>;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

/// Names and commands; those behind a `~` are for `same-bits.sh` alone.
fn commands() -> Vec<(String, String)> {
    let text = fs::read_to_string(here().join("commands.txt")).expect("the list of commands");
    let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with(['#', '~']));
    let parts = lines.map(|l| l.split_once(' ').unwrap_or_else(|| panic!("no command in {l:?}")));
    parts
        .map(|(name, line)| (name.into(), line.replace("{out}", name).replace("{inputs}", "inputs")))
        .collect()
}

/// Words between blanks, and between quotation marks.
fn words(line: &str) -> Vec<&str> {
    let parts = line.split('"').enumerate();
    parts.flat_map(|(i, p)| if i % 2 == 1 { vec![p] } else { p.split_whitespace().collect() }).collect()
}

/// What a command says, without times.
fn answer(place: &Path, line: &str) -> Result<Value, String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    program.current_dir(place).args(words(line)).args(["--json", "--quiet", "--threads", "1"]);
    let output = program.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let mut answer = serde_json::from_slice(&output.stdout).map_err(|e| format!("no JSON: {e}"))?;
    drop_times(&mut answer);
    Ok(answer)
}

fn drop_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !TIMES.contains(&key.as_str()));
            map.values_mut().for_each(drop_times);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_times),
        _ => {}
    }
}

/// Runs all commands, several at a time, each after those whose folders it reads.
fn run(commands: &[(String, String)]) -> Answers {
    let place = tempfile::tempdir().expect("a temporary folder");
    std::os::unix::fs::symlink(here().join("inputs"), place.path().join("inputs")).expect("a link");
    let (next, done, ended) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()), Condvar::new());
    let work = || {
        while let Some((name, line)) = commands.get(next.fetch_add(1, Ordering::Relaxed)) {
            let before = commands.iter().take_while(|c| c.0 != *name);
            let read: Vec<&String> =
                before.map(|c| &c.0).filter(|n| line.contains(&format!("{n}/"))).collect();
            let all = done.lock().expect("no worker panics");
            drop(ended.wait_while(all, |all| !read.iter().all(|n| all.contains_key(*n))));
            let said = answer(place.path(), line);
            done.lock().expect("no worker panics").insert(name.clone(), said);
            ended.notify_all();
        }
    };
    thread::scope(|s| {
        (0..thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(s.spawn(work)))
    });
    let done: BTreeMap<String, Result<Value, String>> = done.into_inner().expect("no worker panics");
    let failed: Vec<String> =
        done.iter().filter_map(|(name, a)| Some(format!("{name}: {}", a.as_ref().err()?))).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    done.into_iter().filter_map(|(name, a)| Some((name, a.ok()?))).collect()
}

/// What is no list and no object, by its path: `layers.0.pruned`.
fn flatten(path: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    let below =
        |key: &dyn std::fmt::Display| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) if !map.is_empty() => map.iter().for_each(|(k, v)| flatten(&below(k), v, leaves)),
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(i, v)| flatten(&below(&i), v, leaves));
        }
        _ => drop(leaves.insert(path.into(), value.clone())),
    }
}

fn same(name: &str, path: &str, a: &Value, b: &Value) -> bool {
    let looser = LOOSER.iter().find(|l| name.starts_with(l.0) && path.ends_with(l.1)).map(|l| l.2);
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) if a.is_f64() || b.is_f64() || looser.is_some() => {
            (x - y).abs() <= looser.unwrap_or(RELATIVE) * x.abs().max(y.abs()) + ABSOLUTE
        }
        _ => a == b,
    }
}

/// A line for every command and path whose value is another.
fn differences(recorded: &Answers, now: &Answers) -> Vec<String> {
    let leaves = |answers: &Answers, name: &str| {
        let mut leaves = BTreeMap::new();
        answers.get(name).into_iter().for_each(|a| flatten("", a, &mut leaves));
        leaves
    };
    let mut found = Vec::new();
    for name in recorded.keys().chain(now.keys().filter(|n| !recorded.contains_key(*n))) {
        let (was, is) = (leaves(recorded, name), leaves(now, name));
        for path in was.keys().chain(is.keys().filter(|p| !was.contains_key(*p))) {
            match (was.get(path), is.get(path)) {
                (Some(a), Some(b)) if same(name, path, a, b) => {}
                (a, b) => {
                    let say = |v: Option<&Value>| v.map_or("nothing".into(), Value::to_string);
                    found.push(format!("{name}: {path} was {}, is {}", say(a), say(b)));
                }
            }
        }
    }
    found
}

fn recorded() -> Answers {
    let text = fs::read_to_string(here().join("numbers.json")).expect("recorded numbers");
    serde_json::from_str(&text).expect("recorded numbers are JSON")
}

#[test]
fn the_recorded_numbers_stay() {
    let now = run(&commands());
    if env::var_os("THALWEG_RECORD").is_some() {
        let lines: Vec<String> = now.iter().map(|(name, a)| format!("\"{name}\": {a}")).collect();
        let text = format!("{{\n{}\n}}\n", lines.join(",\n"));
        return fs::write(here().join("numbers.json"), text).expect("the numbers can be written");
    }
    let found = differences(&recorded(), &now);
    assert!(found.is_empty(), "{} numbers differ:\n{}", found.len(), found.join("\n"));
}

#[test]
fn another_number_is_named() {
    let known = recorded();
    let with = |name: &str, path: &str, value: Value| {
        let mut other = known.clone();
        *other.get_mut(name).expect("recorded").pointer_mut(path).expect("recorded") = value;
        differences(&known, &other)
    };
    let loss = known["evaluate-digits"]["loss"].as_f64().expect("a number");
    assert!(with("evaluate-digits", "/loss", (loss * (1.0 + 1e-6)).into()).is_empty());
    let found = with("evaluate-digits", "/loss", (loss * (1.0 + 1e-4)).into());
    assert!(found.len() == 1 && found[0].starts_with("evaluate-digits: loss was "), "{found:?}");
    assert_eq!(with("evaluate-digits", "/n", 361.into()), ["evaluate-digits: n was 360, is 361"]);
    assert_eq!(with("dag-l2", "/order/0", "X9".into()).len(), 1);
    let fewer = with("dag-l2", "/order", Value::Array(Vec::new()));
    assert!(fewer.iter().any(|f| f.contains("order.1 was") && f.ends_with("is nothing")), "{fewer:?}");
}
