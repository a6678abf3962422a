//! The program's commands as people and scripts use them.

mod common;

use std::fs;

use common::{command, csv, errors, folder, json, npy, run, shared_data, succeed};
use serde_json::Value;

const TRAIN_KEYS: [&str; 9] = [
    "method",
    "seed",
    "steps",
    "epochs",
    "train_loss",
    "test_loss",
    "test_accuracy",
    "seconds",
    "seconds_per_step",
];

/// Exactly the promised keys, with numbers where numbers are promised.
fn check_summary(summary: &Value, method: &str) {
    let object = summary.as_object().expect("an object");
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut expected = TRAIN_KEYS;
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(summary["method"], method);
    for key in ["seed", "steps"] {
        assert!(summary[key].is_u64(), "{key} of {summary}");
    }
    for key in &TRAIN_KEYS[3..] {
        assert!(summary[key].is_f64(), "{key} of {summary}");
    }
}

#[test]
fn one_method_trains_and_its_model_scores_the_same() {
    let place = folder(&[]);
    let summary = json(
        place.path(),
        "train --data digits --model mlp:64-128-10 --method adahessian --epochs 10 --seed 1 --out run/ --json",
    );
    check_summary(&summary, "adahessian");
    assert_eq!((summary["seed"].as_u64(), summary["epochs"].as_f64()), (Some(1), Some(10.0)));
    assert_eq!(summary["steps"], 110, "1437 examples, 128 a step, the rest left out");
    assert!(summary["test_accuracy"].as_f64() > Some(0.93), "{summary}");
    for file in ["config.toml", "metrics.jsonl", "model.safetensors", "report.html", "summary.json"] {
        assert!(place.path().join("run").join(file).is_file(), "{file}");
    }
    let saved = fs::read_to_string(place.path().join("run/summary.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&saved).unwrap(), summary);

    let score = json(place.path(), "evaluate --model run/model.safetensors --data digits --json");
    assert_eq!(score.as_object().unwrap().len(), 4);
    assert_eq!(score["part"], "test");
    assert_eq!(score["accuracy"], summary["test_accuracy"]);
    assert_eq!(score["loss"], summary["test_loss"]);
    assert_eq!(score["n"], 360);
    let all = json(place.path(), "evaluate --model run/model.safetensors --data digits --part all --json");
    assert_eq!(all["n"], 1797);
}

#[test]
fn several_methods_give_a_list_and_one_report() {
    let place = folder(&[]);
    let line = "train --data digits --model mlp:64-32-10 --compare adahessian,adamw,sgd --epochs 2 --seed 1 --out cmp/";
    let list = json(place.path(), &format!("{line} --json"));
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), 3);
    for (summary, method) in list.iter().zip(["adahessian", "adamw", "sgd"]) {
        check_summary(summary, method);
        assert!(place.path().join("cmp").join(method).join("model.safetensors").is_file());
    }
    let report = fs::read_to_string(place.path().join("cmp/report.html")).unwrap();
    assert!(["adahessian", "adamw", "sgd", "<svg"].iter().all(|s| report.contains(s)));
    assert!(report.trim_end().ends_with("</html>"));

    // The same for people: one line per method under a header.
    let table = succeed(place.path(), &format!("{line} --overwrite"));
    assert_eq!(["adahessian", "adamw", "sgd"].map(|m| table.matches(m).count()), [1; 3], "{table}");
}

#[test]
fn a_set_value_speaks_to_one_method_or_to_all_that_know_it() {
    let place = folder(&[]);
    succeed(
        place.path(),
        "train --data digits --model mlp:64-10 --compare sgd,adam --steps 2 --lr 0.25 --momentum 0.5 \
         --set adam.eps=0.001 --out cmp --quiet",
    );
    let config: toml::Table =
        fs::read_to_string(place.path().join("cmp/config.toml")).unwrap().parse().unwrap();
    let field = |method: &str, field: &str| config["methods"][method][field].as_float();
    assert_eq!((field("sgd", "lr"), field("adam", "lr")), (Some(0.25), Some(0.25)));
    assert_eq!((field("sgd", "momentum"), field("adam", "eps")), (Some(0.5), Some(0.001)));
}

/// A model without graph in its file, of a published ResNet-20.
#[test]
fn a_foreign_model_is_scored() {
    let (Some(model), Some(data)) =
        (shared_data("mfac/resnet20-cifar10.safetensors"), shared_data("vision/cifar10-devtest-400.bin.gz"))
    else {
        return;
    };
    let line = format!(
        "evaluate --model {} --arch resnet20:projection --normalize mean=0.5,std=0.5 --data {} --json",
        model.display(),
        data.display()
    );
    let score = json(folder(&[]).path(), &line);
    assert_eq!((score["accuracy"].as_f64(), score["n"].as_u64()), (Some(0.9125), Some(400)));
}

#[test]
fn a_table_of_words_is_classified() {
    let table = csv(120, |a, b| if a + b > 0.0 { "yes".into() } else { "no".into() });
    let place = folder(&[("t.csv", table.as_bytes())]);
    let summary = json(
        place.path(),
        "train --data t.csv --model mlp:2-16-2 --epochs 40 --batch 20 --out r --json --quiet",
    );
    assert!(summary["test_accuracy"].as_f64() > Some(0.85), "{summary}");

    // Classes are known by their names: a file with one of them alone means that one.
    let only = |word: &str| {
        let rows: Vec<&str> = table.lines().skip(1).filter(|l| l.ends_with(word)).collect();
        format!("a,b,label\n{}\n", rows.join("\n"))
    };
    let count = |word: &str| only(word).lines().count() - 1;
    let mut right = 0.0;
    for word in ["yes", "no"] {
        fs::write(place.path().join("one.csv"), only(word)).unwrap();
        let score = json(place.path(), "evaluate --model r/model.safetensors --data one.csv --json");
        right += score["accuracy"].as_f64().unwrap() * count(word) as f64;
    }
    let test = json(place.path(), "evaluate --model r/model.safetensors --data t.csv --json");
    assert_eq!((&test["n"], &test["part"]), (&20.into(), &"test".into()), "the part kept from training");
    assert_eq!((&test["loss"], &test["accuracy"]), (&summary["test_loss"], &summary["test_accuracy"]));
    let all = json(place.path(), "evaluate --model r/model.safetensors --data t.csv --part all --json");
    assert_eq!(all["n"], 120);
    assert!((right / 120.0 - all["accuracy"].as_f64().unwrap()).abs() < 1e-9);
}

#[test]
fn a_table_of_numbers_is_regressed() {
    let table = csv(120, |a, b| format!("{}", 2.0 * a - b + 0.25));
    let table = table.replace("label", "price");
    let place = folder(&[("t.csv", table.as_bytes())]);
    let line = "train --data t.csv --label price --model mlp:2-1 --method sgd --lr 0.1 --epochs 60 --batch 20 --out r";
    let summary = json(place.path(), &format!("{line} --json --quiet"));
    assert!(summary["test_accuracy"].is_null());
    assert!(summary["test_loss"].as_f64() < Some(1e-4), "a linear function is learnt: {summary}");
    let score = json(place.path(), "evaluate --model r/model.safetensors --data t.csv --label price --json");
    assert!(score["accuracy"].is_null() && score["loss"].as_f64() < Some(1e-4));
}

#[test]
fn arrays_are_read() {
    let x: Vec<u8> = (0..80).flat_map(|i| ((i % 9) as f32 - 4.0).to_le_bytes()).collect();
    let y: Vec<u8> = (0..40).flat_map(|i| i64::from(2 * i % 9 > 4).to_le_bytes()).collect();
    let files = [("d/x.npy", npy("f4", "(40, 2)", x)), ("d/y.npy", npy("i8", "(40,)", y))];
    let place = folder(&files.each_ref().map(|(name, content)| (*name, content.as_slice())));
    let line = "train --data d --model mlp:2-8-2 --steps 50 --batch 16 --out r --json --quiet";
    check_summary(&json(place.path(), line), "adahessian");
}

#[test]
fn a_text_is_learnt_and_scored_with_the_models_own_characters() {
    let text = "the cat sat on the mat, the dog sat on the log. ".repeat(20);
    let place = folder(&[("a.txt", text.as_bytes()), ("b.txt", text.replace("dog", "hog").as_bytes())]);
    let line = "train --data a.txt --model char-transformer:1,16,2,16 --method adamw --lr 0.01 --steps 60 \
                --batch 16 --out r --json --quiet";
    let summary = json(place.path(), line);
    assert!(summary["test_loss"].as_f64() < Some(2.0), "better than guessing among 17: {summary}");
    let score = json(place.path(), "evaluate --model r/model.safetensors --data a.txt --json");
    assert_eq!(score["loss"], summary["test_loss"]);
    // The other text lacks the d; its numbers of the letters are different.
    let other = json(place.path(), "evaluate --model r/model.safetensors --data b.txt --json");
    assert!(other["loss"].as_f64() < Some(2.2), "{other}");
}

#[test]
fn functions_are_minimised() {
    let place = folder(&[]);
    let line =
        "minimize --function rosenbrock --start=-1.2,1 --compare adahessian,adam,sgd,lbfgs --out min --json";
    let list = json(place.path(), line);
    let best = |i: usize| list[i]["best_f"].as_f64().unwrap();
    assert!(best(0) < 1e-4 && best(1) < 1e-6 && best(3) < 1e-10, "{list}");
    for t in list.as_array().unwrap() {
        assert!(t["steps"].is_u64() && t["evals"].is_u64() && t["stop"].is_string() && t["seconds"].is_f64());
        assert_eq!(t["best_x"].as_array().map(Vec::len), Some(2));
    }
    let picture = fs::read_to_string(place.path().join("min/trajectories.svg")).unwrap();
    assert!(picture.starts_with("<svg") || picture.starts_with("<?xml"));
    let saved = fs::read_to_string(place.path().join("min/summary.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&saved).unwrap()["methods"], list);
    let one = json(place.path(), "minimize --function rastrigin --start=0.1,-0.1 --method sgd --json");
    assert!(one["best_f"].as_f64() < Some(1e-6), "{one}");
}

#[test]
fn the_tour_writes_its_report() {
    let place = folder(&[]);
    let summary = json(place.path(), "tour --out tour/ --json --quiet");
    let saved = fs::read_to_string(place.path().join("tour/summary.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&saved).unwrap(), summary);
    let stops = summary["stops"].as_array().unwrap();
    for system in ["adahessian", "mkor", "mfac", "convex-relu", "lipsdp", "topo", "relax", "cbo"] {
        assert!(stops.iter().any(|s| s["system"] == system && !s["results"].is_null()), "{system}");
    }
    // What is proved holds on every machine.
    for stop in stops.iter().filter(|s| s["system"] == "lipsdp" || s["system"] == "convex-relu") {
        let marks = stop["marks"].as_array().unwrap();
        assert!(!marks.is_empty() && marks.iter().all(|m| m["holds"] == true), "{stop}");
    }
    let report = fs::read_to_string(place.path().join("tour/report.html")).unwrap();
    assert!(report.starts_with("<!doctype html>") || report.starts_with("<!DOCTYPE html>"));
    assert!(report.trim_end().ends_with("</html>"));
    assert_eq!(report.matches("<svg").count(), report.matches("</svg>").count());
    assert!(!report.contains("src=\"http"), "self-contained");
}

#[test]
fn a_written_configuration_repeats_the_run() {
    let place = folder(&[]);
    let model = |run: &str| fs::read(place.path().join(run).join("model.safetensors")).unwrap();
    succeed(
        place.path(),
        "train --data digits --model cnn:1,4 --method adahessian --steps 12 --seed 3 --lr 0.1 --augment pad=1,flip \
         --label-smoothing 0.1 --block linear=row --init orthogonal --limit 300 --batch 50 --out a --quiet",
    );
    succeed(place.path(), "train --config a/config.toml --out b --quiet");
    assert!(model("a") == model("b"));
    let last = fs::read_to_string(place.path().join("a/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    let summary = fs::read_to_string(place.path().join("a/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(last["test_loss"], summary["test_loss"], "neither is smoothed");

    // A flag overrides the file, also where it replaces another key of it.
    let fewer = json(place.path(), "train --config a/config.toml --epochs 1 --out c --quiet --json");
    assert_eq!((fewer["steps"].as_u64(), fewer["epochs"].as_f64()), (Some(6), Some(1.0)));
    let list = json(place.path(), "train --config a/config.toml --compare sgd,adam --out d --quiet --json");
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    let one = json(place.path(), "train --config d/config.toml --method adam --out e --quiet --json");
    assert_eq!(one["method"], "adam");
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let text = "to be or not to be, that is the question. ".repeat(30);
    let place = folder(&[("t.txt", text.as_bytes())]);
    let tasks = [
        "--data digits --model mlp:64-300-10 --steps 8 --batch 256",
        "--data digits --model cnn:2,8 --steps 6 --batch 100 --augment pad=1",
        "--data digits --model cnn:1,4 --method muon --steps 6 --batch 100",
        "--data t.txt --model char-transformer:1,32,2,32 --steps 6 --batch 32",
    ];
    for task in tasks {
        let model = |threads: usize| {
            succeed(
                place.path(),
                &format!("train {task} --threads {threads} --overwrite --out r{threads} --quiet"),
            );
            fs::read(place.path().join(format!("r{threads}/model.safetensors"))).unwrap()
        };
        let one = model(1);
        assert!(one == model(2) && one == model(3), "{task}");
    }
}

#[test]
fn standard_output_holds_the_json_alone_and_standard_error_the_notes() {
    let place = folder(&[]);
    let line = "train --data digits --model mlp:64-10 --steps 3 --overwrite --out r";
    let talkative = run(place.path(), &format!("{line} --json"));
    assert_eq!(String::from_utf8_lossy(&talkative.stdout).lines().count(), 1);
    assert!(errors(&talkative).contains("1437 training and 360 test examples"));
    let quiet = run(place.path(), &format!("{line} --json --quiet"));
    assert_eq!(errors(&quiet), "");
    assert_eq!(String::from_utf8_lossy(&quiet.stdout).lines().count(), 1);
}

/// The indented lines of a verb's help that start with the program's name.
fn examples(help: &str) -> Vec<String> {
    let lines = help.lines().filter_map(|l| l.strip_prefix("  thalweg "));
    lines.map(|l| l.trim().to_string()).collect()
}

#[test]
fn the_examples_of_the_help_work_as_they_stand() {
    for verb in ["train", "evaluate", "minimize", "tour"] {
        let place = folder(&[]);
        let help = succeed(place.path(), &format!("{verb} --help"));
        let examples =
            examples(help.split_once("Examples:").unwrap_or_else(|| panic!("no examples for {verb}")).1);
        assert!(examples.len() >= 2, "{verb}: {help}");
        for example in &examples {
            succeed(place.path(), example);
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = folder(&[]);
    for line in ["train --data digits --model mlp:64-10 --steps 3 --out r", "--help", "train --help"] {
        let (out, err) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let mut child = command(place.path(), line).stdout(out.1).stderr(err.1).spawn().unwrap();
        drop((out.0, err.0)); // closes both ends before anything is said
        assert!(child.wait().unwrap().success(), "{line}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure_in_one_line() {
    let place = folder(&[]);
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let line = "train --data digits --model mlp:64-10 --steps 3 --out r --json --quiet";
    let output = command(place.path(), line).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("cannot write to standard output"), "{}", errors(&output));

    fs::create_dir(place.path().join("s")).unwrap();
    std::os::unix::fs::symlink("/dev/full", place.path().join("s/metrics.jsonl")).unwrap();
    std::os::unix::fs::symlink("/dev/full", place.path().join("s/summary.json.partial")).unwrap();
    let output = run(place.path(), "train --data digits --model mlp:64-10 --steps 3 --out s --quiet");
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert_eq!(errors(&output).lines().count(), 1);
    assert!(errors(&output).contains("free space"), "{}", errors(&output));
}

#[test]
fn the_library_trains_as_the_program_does() {
    let place = folder(&[]);
    let line = "train --data digits --model mlp:64-24-10 --method mkor --steps 15 --batch 100 --seed 3 --out r --quiet";
    succeed(place.path(), line);
    let settings = thalweg::train::Settings {
        data: Some("digits".into()),
        model: Some("mlp:64-24-10".into()),
        method: Some("mkor".into()),
        steps: Some(15),
        batch: Some(100),
        seed: Some(3),
        ..Default::default()
    };
    let fitted = thalweg::train::fit(&settings, None, &thalweg::tasks::Host::default()).expect("a fit");
    let ours = fitted.trained[0].1.as_ref().expect("a network");
    let theirs = thalweg::net::Model::load(place.path().join("r/model.safetensors")).expect("a model");
    assert!(ours.theta.iter().zip(&theirs.theta).all(|(a, b)| a.to_bits() == b.to_bits()));
    assert_eq!((ours.theta.len(), &ours.classes), (theirs.theta.len(), &theirs.classes));
}

#[test]
fn the_help_names_every_method_of_the_lists() {
    let place = folder(&[]);
    let lists = [
        ("train", thalweg::train::Trainer::NAMES),
        ("minimize", thalweg::cbo::Algorithm::NAMES),
        ("minimize", thalweg::tasks::minimize::Descent::NAMES),
        ("bilevel toy", thalweg::bilevel::Algorithm::NAMES),
        ("bilevel regularisation", thalweg::bilevel::Algorithm::NAMES),
    ];
    for (verb, names) in lists {
        let help = succeed(place.path(), &format!("{verb} --help"));
        let words: Vec<&str> = help.split(|c: char| !(c.is_alphanumeric() || c == '-')).collect();
        for name in names {
            assert!(words.contains(name), "{verb}: {name} is not in its help");
        }
    }
}

#[test]
fn groups_of_blocks_are_set_from_flags_and_from_a_file() {
    let place = folder(&[]);
    let base = "train --data digits --model mlp:64-16-10 --epochs 1 --seed 1 --json --quiet";
    let loss = |line: &str| json(place.path(), line)["train_loss"].as_f64().expect("a loss");
    let plain = loss(&format!("{base} --method sgd --out plain"));
    let halved =
        format!(r#"{base} --method sgd --out halved --set groups=[{{"pattern":"fc2*","lr_scale":0.5}}]"#);
    assert_ne!(loss(&halved), plain);
    let config = fs::read_to_string(place.path().join("halved/config.toml")).unwrap();
    assert!(config.contains("lr_scale = 0.5"), "{config}");
    assert_eq!(
        loss("train --config halved/config.toml --out again --json --quiet"),
        loss("train --resume halved --json --quiet")
    );
    for method in ["adahessian", "adamw", "mkor", "muon"] {
        let line = format!(
            r#"{base} --method {method} --out {method} --set groups=[{{"pattern":"fc2*","lr_scale":0.5}}]"#
        );
        loss(&line);
    }
}

#[test]
fn a_trained_model_trains_on_and_a_finished_run_does_not_change_its_length() {
    let place = folder(&[]);
    succeed(
        place.path(),
        "train --data digits --model mlp:64-16-10 --method sgd --epochs 2 --seed 1 --quiet --out a",
    );
    let longer = run(place.path(), "train --resume a --epochs 20 --quiet");
    assert_eq!(longer.status.code(), Some(2), "{}", errors(&longer));
    assert!(errors(&longer).contains("--from"), "{}", errors(&longer));
    let score = |model: &str| {
        json(place.path(), &format!("evaluate --model {model}/model.safetensors --data digits --json"))
    };
    let before = score("a")["loss"].as_f64().unwrap();
    succeed(
        place.path(),
        "train --data digits --from a/model.safetensors --method sgd --epochs 5 --quiet --out b",
    );
    assert!(score("b")["loss"].as_f64().unwrap() < before);
    // No step, no change.
    succeed(place.path(), "train --data digits --from a/model.safetensors --steps 0 --quiet --out c");
    assert_eq!(score("c")["loss"].as_f64().unwrap(), before);
    for more in ["--model mlp:64-8-10", "--init xavier", "--normalize mean=0,std=1"] {
        let refused =
            run(place.path(), &format!("train --data digits --from a/model.safetensors {more} --out d"));
        assert_eq!(refused.status.code(), Some(2), "{more}");
    }
}
