//! Runs that are killed, interrupted and continued.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{command, errors, folder, json, run, succeed};
use serde_json::Value;

/// Digits through a wide network, and through one with running statistics.
const RUNS: [&str; 2] = [
    "train --data digits --model mlp:64-256-256-10 --method adahessian --epochs 12 --checkpoint-every 10 --quiet --out",
    "train --data digits --model cnn:2,8 --method adahessian --epochs 12 --checkpoint-every 5 --augment pad=1 --quiet --out",
];
const KILLS: usize = 11;

/// Numbers in [0, 1), the same in every run of the test.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn model(run: &Path) -> Vec<u8> {
    fs::read(run.join("model.safetensors")).unwrap()
}

/// The recorded steps without their times; each line must be whole.
fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(text.ends_with('\n'));
    let mut records: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for record in &mut records {
        record.as_object_mut().unwrap().remove("seconds");
    }
    records
}

#[test]
fn a_run_killed_at_random_moments_ends_in_the_same_bits() {
    for (number, line) in RUNS.iter().enumerate() {
        let place = folder(&[]);
        let began = Instant::now();
        succeed(place.path(), &format!("{line} whole"));
        let whole = began.elapsed();
        let expected = metrics(&place.path().join("whole"));
        let steps: Vec<u64> = expected.iter().map(|r| r["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, (1..=steps.len() as u64).collect::<Vec<_>>(), "each step once, in order");

        let (mut draws, mut kills, mut attempt) = (Draws(number as u64), 0, 0);
        // A run that was quicker than the kills starts over.
        while kills < KILLS {
            attempt += 1;
            let name = format!("killed{attempt}");
            let folder = place.path().join(&name);
            loop {
                let saved = folder.join("config.toml").exists();
                let next =
                    if saved { format!("train --quiet --resume {name}") } else { format!("{line} {name}") };
                let mut child = command(place.path(), &next).stdout(Stdio::null()).spawn().unwrap();
                // Half of the time at most, so that it takes several kills to get through.
                sleep(whole.mul_f64(0.5 * draws.next()));
                let ended = match child.try_wait().unwrap() {
                    Some(status) => Some(status),
                    None if kills == KILLS => Some(child.wait().unwrap()),
                    None => None,
                };
                if let Some(status) = ended {
                    assert!(status.success(), "{next}");
                    break;
                }
                child.kill().unwrap(); // SIGKILL
                child.wait().unwrap();
                kills += 1;
            }
            assert!(
                model(&folder) == model(&place.path().join("whole")),
                "{line}: other bits after {kills} kills"
            );
            assert_eq!(metrics(&folder), expected, "{line}");
            assert!(!folder.join("checkpoint.bin").exists());
        }
    }
}

#[test]
fn ctrl_c_stops_after_a_checkpoint_and_names_the_command_that_goes_on() {
    let place = folder(&[]);
    let line = "train --data digits --model mlp:64-256-256-10 --epochs 80 --out";
    succeed(place.path(), &format!("{line} whole --quiet"));

    let child = command(place.path(), &format!("{line} cut")).stderr(Stdio::piped()).spawn().unwrap();
    let checkpoint = place.path().join("cut/checkpoint.bin");
    while !checkpoint.exists() {
        sleep(Duration::from_millis(2));
    }
    sleep(Duration::from_millis(50));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", errors(&output));
    let said = errors(&output);
    let (_, resume) = said.split_once("continue with `thalweg ").expect("the command that goes on");
    let resume = resume.split_once('`').unwrap().0;
    let steps = metrics(&place.path().join("cut")).len() as u64;

    let again = run(place.path(), &format!("{line} cut --quiet"));
    assert_eq!(again.status.code(), Some(2), "an unfinished run is not overwritten");
    assert!(
        errors(&again).contains("--resume cut") && errors(&again).contains("--overwrite"),
        "{}",
        errors(&again)
    );

    let summary = json(place.path(), &format!("{resume} --quiet --json"));
    assert!(steps > 0 && summary["steps"].as_u64() > Some(steps));
    assert!(model(&place.path().join("cut")) == model(&place.path().join("whole")));
    assert_eq!(metrics(&place.path().join("cut")), metrics(&place.path().join("whole")));
}

/// A folder with a run of 40 steps that a time limit cut short.
fn cut_short(place: &Path) {
    let line = "train --data digits --model mlp:64-32-10 --method adamw --lr 0.01 --epochs 4 --time 0s --out r --quiet";
    succeed(place, line);
    assert!(place.join("r/checkpoint.bin").exists());
}

#[test]
fn a_run_whose_time_was_up_goes_on_with_more_time() {
    let place = folder(&[]);
    cut_short(place.path());
    let more = json(place.path(), "train --resume r --time 1h --json --quiet");
    assert_eq!(more["steps"], 44);
    let line =
        "train --data digits --model mlp:64-32-10 --method adamw --lr 0.01 --epochs 4 --out whole --quiet";
    succeed(place.path(), line);
    assert!(model(&place.path().join("r")) == model(&place.path().join("whole")));
}

#[test]
fn a_finished_run_just_reports() {
    let place = folder(&[]);
    let first = json(place.path(), "train --data digits --model mlp:64-10 --steps 5 --out r --json --quiet");
    assert_eq!(json(place.path(), "train --resume r --json --quiet"), first);
}

#[test]
fn a_resumed_run_keeps_its_settings() {
    let place = folder(&[]);
    cut_short(place.path());
    let refused = |line: &str, clues: &[&str]| {
        let output = run(place.path(), line);
        let said = errors(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{line}: {said}");
        assert!(clues.iter().all(|c| said.contains(c)), "{line}: {said}");
    };
    refused("train --resume r --lr 0.02 --time 1h --quiet", &["lr", "0.01", "0.02"]);
    refused("train --resume r --seed 5 --time 1h --quiet", &["seed", "0", "5"]);
    refused("train --resume r --batch 64 --time 1h --quiet", &["batch", "128", "64"]);
    refused("train --resume r --method sgd --time 1h --quiet", &["method", "adamw", "sgd"]);
    refused("train --resume r --model mlp:64-33-10 --time 1h --quiet", &["32", "33"]);
    refused("train --resume nowhere --quiet", &["nowhere", "no run", "--out"]);

    let checkpoint = place.path().join("r/checkpoint.bin");
    let intact = fs::read(&checkpoint).unwrap();
    let mut flipped = intact.clone();
    flipped[intact.len() / 2] ^= 1;
    for (damaged, clue) in [
        (flipped, "checksum"),
        (intact[..intact.len() / 2].to_vec(), "damaged"),
        (b"something else".to_vec(), "not a Thalweg checkpoint"),
        (Vec::new(), "checkpoint"),
    ] {
        fs::write(&checkpoint, damaged).unwrap();
        refused("train --resume r --time 1h --quiet", &["checkpoint.bin", clue]);
    }
    fs::write(&checkpoint, intact).unwrap();
    assert_eq!(json(place.path(), "train --resume r --time 1h --json --quiet")["steps"], 44);
}

const SEARCHES: [&str; 2] = [
    "minimize --function rastrigin --dim 10 --method auto --max-evals 300000 --patience 1e9 --seed 1 --checkpoint-every 40 --quiet --json",
    "minimize --function ackley --dim 6 --method cbo --particles 100 --max-evals 60000 --patience 1e9 --runs 5 --seed 2 --checkpoint-every 20 --quiet --json",
];

/// What a search found, without the time that it took.
fn found(text: &[u8]) -> Value {
    let mut found: Value = serde_json::from_slice(text).expect("JSON");
    found.as_object_mut().unwrap().remove("seconds");
    found
}

#[test]
fn a_killed_search_ends_in_the_same_bits() {
    for (number, line) in SEARCHES.iter().enumerate() {
        let place = folder(&[]);
        let began = Instant::now();
        let whole = found(succeed(place.path(), &format!("{line} --out whole")).as_bytes());
        let took = began.elapsed();
        let (mut draws, mut kills, mut attempt) = (Draws(number as u64), 0, 0);
        while kills < 6 {
            attempt += 1;
            let name = format!("killed{attempt}");
            let place_of_run = place.path().join(&name);
            let end = loop {
                let saved = place_of_run.join("config.toml").exists();
                let next = if saved {
                    format!("minimize --quiet --json --resume {name}")
                } else {
                    format!("{line} --out {name}")
                };
                let mut child = command(place.path(), &next).stdout(Stdio::piped()).spawn().unwrap();
                sleep(took.mul_f64(0.5 * draws.next()));
                if kills < 6 && child.try_wait().unwrap().is_none() {
                    child.kill().unwrap(); // SIGKILL
                    child.wait().unwrap();
                    kills += 1;
                    continue;
                }
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{next}");
                break found(&output.stdout);
            };
            assert_eq!(end, whole, "{line}: other bits after {kills} kills");
            let history = |run: &Path| fs::read(run.join("history.csv")).unwrap();
            assert!(history(&place_of_run) == history(&place.path().join("whole")), "{line}");
            assert!(!place_of_run.join("checkpoint.bin").exists() && !place_of_run.join("run-0").exists());
            // A finished search just reports.
            assert_eq!(
                found(succeed(place.path(), &format!("minimize --json --resume {name}")).as_bytes()),
                whole
            );
        }
    }
}

#[test]
fn ctrl_c_stops_a_search_after_a_checkpoint() {
    let place = folder(&[(
        "f.sh",
        b"while read x y; do sleep 0.002; echo $x $y | awk '{ print ($1-1)^2+($2+2)^2 }'; done\n",
    )]);
    let line = "minimize --dim 2 --box -5:5 --method cbo --max-evals 1500 --seed 1 --json --threads 2";
    let search = |extra: &str| {
        let mut command = command(place.path(), &format!("{line} {extra}"));
        command.args(["--process", "sh f.sh"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let whole = found(&search("").output().unwrap().stdout);
    let child = search("--out cut").spawn().unwrap();
    sleep(Duration::from_millis(1200));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("continue with `thalweg minimize --resume cut`"), "{said}");
    assert!(!said.contains("ETA"), "no bar where nobody looks: {said}");
    let again = search("--out cut").output().unwrap();
    assert_eq!(again.status.code(), Some(2), "an unfinished search is not overwritten");
    let refused = run(place.path(), "minimize --resume cut --seed 5 --quiet");
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors(&refused).contains("seed"), "{}", errors(&refused));
    // What the program left unsaid when it was interrupted has not steered the search.
    let mut end = json(place.path(), "minimize --resume cut --json --quiet");
    end.as_object_mut().unwrap().remove("seconds");
    assert_eq!(end, whole);

    // A damaged checkpoint is named.
    let slow = "minimize --function sphere --dim 2 --time 0s --out s --quiet";
    succeed(place.path(), slow);
    let file = place.path().join("s/checkpoint.bin");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let output = run(place.path(), "minimize --resume s --quiet");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("checkpoint.bin") && errors(&output).contains("checksum"),
        "{}",
        errors(&output)
    );
}
