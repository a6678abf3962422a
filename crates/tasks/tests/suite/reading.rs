//! One way to read: what train, prune and evaluate are told about their data reaches the readers, and a saved model
//! knows its columns and its test part.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::{Args, Command, FromArgMatches};
use serde_json::Value;
use tempfile::TempDir;
use thalweg_core::Meter;
use thalweg_data::{Header, Layout, Separator, Source, Task, npy};
use thalweg_net::Model;
use thalweg_tasks::evaluate::{self, Evaluation, evaluate};
use thalweg_tasks::source::{DataSource, Part, Reading, Split};
use thalweg_tasks::train::{Settings, Summary, fit};
use thalweg_tasks::{Folder, Host, Opening, TaskError, Watcher};

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// `each` rows of each of three classes around three corners, one class after the other.
fn sorted(each: usize) -> String {
    let mut text = String::from("a,b,label\n");
    for (class, (x, y)) in [("left", (-2.0, 0.0)), ("right", (2.0, 0.0)), ("up", (0.0, 3.0))] {
        for i in 0..each {
            let (u, v) = ((i as f64 * 0.7).sin(), (i as f64 * 1.3).cos());
            writeln!(text, "{:.4},{:.4},{class}", x + 0.5 * u, y + 0.5 * v).unwrap();
        }
    }
    text
}

fn settings(data: &Path) -> Settings {
    Settings {
        data: Some(data.display().to_string()),
        model: Some("mlp:2-12-3".into()),
        method: Some("adam".into()),
        lr: Some(0.02.into()),
        epochs: Some(30),
        batch: Some(20),
        ..Settings::default()
    }
}

/// Trains into the folder `run` beside the data.
fn train(settings: &Settings) -> Result<(Summary, PathBuf), TaskError> {
    let data = PathBuf::from(settings.data.as_ref().unwrap());
    let run = data.parent().unwrap().join("run");
    let run = Folder::open(run, Opening::Overwrite)?;
    let fitted = fit(settings, Some(&run), &Host::default())?;
    Ok((fitted.trained[0].0.clone(), run.file("model.safetensors")))
}

fn on(model: &Path, data: &Path) -> evaluate::Settings {
    let (model, data) = (Some(model.into()), Some(data.display().to_string()));
    evaluate::Settings { model, data, ..evaluate::Settings::default() }
}

fn scored(settings: &evaluate::Settings) -> Evaluation {
    evaluate(settings, &Host::default()).unwrap()
}

fn refused<T>(result: Result<T, TaskError>, clues: &[&str]) {
    let Err(error) = result else { panic!("accepted, without {clues:?}") };
    let message = error.to_string();
    assert!(clues.iter().all(|clue| message.contains(clue)), "{clues:?} not in: {message}");
}

fn noted(notes: &[String], clue: &str) {
    assert!(notes.iter().any(|note| note.contains(clue)), "{clue:?} not in {notes:?}");
}

#[test]
fn a_file_sorted_by_class_is_cut_class_by_class() {
    let place = folder(&[("t.csv", &sorted(40))]);
    let data = place.path().join("t.csv");
    let (drawn, _) = train(&settings(&data)).unwrap();
    assert!(drawn.test_accuracy > Some(0.9) && drawn.notes.is_empty(), "{drawn:?}");
    let reading = Reading { split: Some(Split::Tail), ..Reading::default() };
    let (tail, _) = train(&Settings { reading, ..settings(&data) }).unwrap();
    noted(&tail.notes, "the test part lacks 2 of 3 classes: left, right");
    let reading = Reading { split: Some(Split::Tail), test_fraction: Some(1.0 / 3.0), ..Reading::default() };
    let (third, _) = train(&Settings { reading, ..settings(&data) }).unwrap();
    noted(&third.notes, "the training part lacks 1 of 3 classes: up");
    noted(&third.notes, "the test part lacks 2 of 3 classes");
    let report = fs::read_to_string(place.path().join("run/report.html")).unwrap();
    assert!(report.contains("the training part lacks 1 of 3 classes"));
    let summary = fs::read_to_string(place.path().join("run/summary.json")).unwrap();
    assert!(summary.contains("the training part lacks 1 of 3 classes"));
}

#[test]
fn a_saved_model_finds_its_test_part_again() {
    let place = folder(&[("t.csv", &sorted(40)), ("u.csv", &sorted(30))]);
    let data = place.path().join("t.csv");
    let reading = Reading { test_fraction: Some(0.25), ..Reading::default() };
    let told = Settings { seed: Some(5), reading, ..settings(&data) };
    let (summary, model) = train(&told).unwrap();
    let again = scored(&on(&model, &data));
    assert_eq!((again.part, again.score.n), (Part::Test, 30));
    assert_eq!(again.score.loss, summary.test_loss);
    let named = evaluate::Settings { part: Some(Part::Test), ..on(&model, &data) };
    assert_eq!(scored(&named).score.loss, summary.test_loss);
    let rest = evaluate::Settings { part: Some(Part::Train), ..on(&model, &data) };
    assert_eq!(scored(&rest).score.n, 90);

    // Other data are scored as a whole.
    let other = scored(&on(&model, &place.path().join("u.csv")));
    assert_eq!((other.part, other.score.n), (Part::All, 90));

    // Another cut is one with a warning.
    let reading = Reading { split_seed: Some(6), test_fraction: Some(0.25), ..Reading::default() };
    let anew = scored(&evaluate::Settings { reading, ..on(&model, &data) });
    noted(&anew.notes, "cut otherwise than when the model was trained");
    assert!(anew.score.loss != summary.test_loss);

    #[cfg(feature = "mfac")]
    {
        use thalweg_tasks::prune;
        let pruning = prune::Settings {
            model: Some(model),
            data: Some(data.display().to_string()),
            sparsity: Some(vec![0.5]),
            seed: Some(77),
            ..prune::Settings::default()
        };
        let outcome = prune::prune(&pruning, None, &Host::default()).unwrap();
        assert_eq!(outcome.dense.loss, summary.test_loss, "gradients come from the training part alone");
    }
}

#[test]
fn columns_are_those_of_the_model_by_name() {
    let text = sorted(40);
    let shuffled = |head: &str, row: &dyn Fn(&str, &str, &str) -> String| {
        let rows = text.lines().skip(1).map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            row(cells[0], cells[1], cells[2])
        });
        std::iter::once(head.to_owned()).chain(rows).collect::<Vec<_>>().join("\n")
    };
    let place = folder(&[
        ("t.csv", &text),
        ("permuted.csv", &shuffled("label,b,a", &|a, b, c| format!("{c},{b},{a}"))),
        ("extra.csv", &shuffled("name,a,b,label", &|a, b, c| format!("flower {a},{a},{b},{c}"))),
        ("missing.csv", &shuffled("a,c,label", &|a, b, c| format!("{a},{b},{c}"))),
    ]);
    let (summary, model) = train(&settings(&place.path().join("t.csv"))).unwrap();
    assert_eq!(Model::load(&model).unwrap().features, ["a", "b"]);
    let at = |name: &str| on(&model, &place.path().join(name));
    let permuted = scored(&at("permuted.csv"));
    assert_eq!((permuted.part, permuted.score.loss), (Part::Test, summary.test_loss));
    noted(&permuted.notes, "matched by name");
    let extra = scored(&at("extra.csv"));
    assert_eq!(extra.score.loss, summary.test_loss);
    noted(&extra.notes, "left out, since the model does not read it: name");
    refused(evaluate(&at("missing.csv"), &Host::default()), &["missing.csv", "\"b\"", "a, c"]);
}

#[test]
fn a_scale_left_open_is_that_of_the_data() {
    let place = folder(&[("t.csv", &sorted(40))]);
    let data = place.path().join("t.csv");
    let normalize = Some("mean=0.1,std=2".parse().unwrap());
    let (summary, model) = train(&Settings { normalize, ..settings(&data) }).unwrap();
    let saved = Model::load(&model).unwrap();
    assert_eq!(saved.preprocess.scale, 1.0);
    assert!(summary.test_accuracy > Some(0.9));
    noted(&summary.notes, "taken as they are before mean and std");
    let config = fs::read_to_string(place.path().join("run/config.toml")).unwrap();
    assert!(config.contains("scale = 1.0"), "{config}");

    // The same numbers without a description, as another program would write them.
    for prefix in ["", "_orig_mod.", "model.net."] {
        let bare = place.path().join("bare.safetensors");
        fs::write(&bare, without_metadata(&fs::read(&model).unwrap(), prefix)).unwrap();
        let foreign = evaluate::Settings {
            arch: Some("mlp:2-12-3".into()),
            normalize: Some("mean=0.1,std=2".parse().unwrap()),
            part: Some(Part::All),
            ..on(&bare, &data)
        };
        let whole = evaluate::Settings { part: Some(Part::All), ..on(&model, &data) };
        let (foreign, own) = (scored(&foreign), scored(&whole));
        assert_eq!(foreign.score.accuracy, own.score.accuracy);
        assert!((foreign.score.loss - own.score.loss).abs() < 1e-6);
        let dropped = foreign.notes.iter().any(|note| note.contains("that prefix is dropped"));
        assert_eq!(dropped, !prefix.is_empty(), "{:?}", foreign.notes);
    }

    let digits = Settings {
        data: Some("digits".into()),
        model: Some("mlp:64-10".into()),
        steps: Some(1),
        epochs: None,
        normalize: Some("mean=0,std=1".parse().unwrap()),
        ..settings(&data)
    };
    let fitted = fit(&digits, None, &Host::default()).unwrap();
    assert_eq!(fitted.trained[0].1.as_ref().unwrap().preprocess.scale, 1.0 / 255.0);
    noted(&fitted.trained[0].0.notes, "divided by 255");
}

#[test]
fn a_limit_that_leaves_out_classes_is_said_to() {
    let place = folder(&[("t.csv", &sorted(40))]);
    let data = place.path().join("t.csv").display().to_string();
    let load =
        |limit| DataSource { data: data.clone(), ..DataSource::default() }.with(limit, None).load().unwrap();
    let limited = load(Some(50));
    noted(&limited.notes, "the first 50 training examples hold 2 of 3 classes");
    assert!(limited.description.ends_with("; the first 50 for training are used"), "{}", limited.description);
    let Source::Examples { train, .. } = &limited.source else { panic!("text") };
    assert_eq!(train.len(), 50);
    assert!(load(Some(100)).notes.is_empty() && load(None).notes.is_empty());
    assert_eq!(limited.whole, load(None).whole);
}

/// Of a network of PyTorch's, compiled (`_orig_mod.`) or in double precision, with the preprocessing of `pre.json`.
#[test]
fn foreign_weights_are_scored_as_their_own_program_does() {
    let case = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name);
    let pre: Value = serde_json::from_str(&fs::read_to_string(case("pre.json")).unwrap()).unwrap();
    let normalize = format!("mean={},std={}", pre["mean"][0], pre["std"][0]);
    let score = |name| {
        let told = evaluate::Settings {
            arch: Some("mlp:64-32-10".into()),
            normalize: Some(normalize.parse().unwrap()),
            ..on(&case(name), Path::new("digits"))
        };
        scored(&told)
    };
    let compiled = score("pre__orig_mod.safetensors");
    assert_eq!((compiled.score.accuracy, compiled.score.n), (Some(0.925), 360));
    noted(&compiled.notes, "`_orig_mod.…`; that prefix is dropped");
    let double = score("f64.safetensors");
    assert_eq!((double.score.accuracy, double.notes.len()), (Some(0.925), 1), "{:?}", double.notes);
}

#[test]
fn digits_sorted_by_class_are_learnt() {
    let (train_part, test) = thalweg_data::digits();
    let all = train_part.concat(&test).unwrap();
    let (thalweg_data::Values::Bytes(x), thalweg_data::Targets::Classes { labels, .. }) =
        (&all.x, &all.targets)
    else {
        panic!("digits are bytes with classes")
    };
    let mut rows: Vec<(u32, &[u8])> = labels.iter().copied().zip(x.chunks(64)).collect();
    rows.sort_by_key(|row| row.0);
    let mut text: String = (0..64).map(|j| format!("p{j},")).collect::<String>() + "label\n";
    for (label, pixels) in rows {
        pixels.iter().for_each(|p| write!(text, "{p},").unwrap());
        writeln!(text, "{label}").unwrap();
    }
    let place = folder(&[("t.csv", &text)]);
    let told = Settings {
        model: Some("mlp:64-32-10".into()),
        lr: Some(0.01.into()),
        epochs: Some(8),
        seed: Some(1),
        ..settings(&place.path().join("t.csv"))
    };
    let accuracy = |reading| train(&Settings { reading, ..told.clone() }).unwrap().0.test_accuracy;
    assert!(accuracy(Reading::default()) > Some(0.9));
    assert!(accuracy(Reading { split: Some(Split::Tail), ..Reading::default() }) < Some(0.6));
}

/// Whole numbers can be quantities or classes; the model says which they were.
#[test]
fn a_saved_model_knows_what_its_labels_were() {
    let rows: String = (0..60).map(|i| format!("{},{},{}\n", i % 7, i % 5, i % 3 + 1)).collect();
    let place = folder(&[("t.csv", &format!("a,b,label\n{rows}"))]);
    let data = place.path().join("t.csv");
    for (task, arch) in [(Task::Regression, "mlp:2-4-1"), (Task::Classification, "mlp:2-4-3")] {
        let reading = Reading { task: Some(task), ..Reading::default() };
        let told = Settings { model: Some(arch.into()), reading, epochs: Some(2), ..settings(&data) };
        let (summary, model) = train(&told).unwrap();
        let again = scored(&on(&model, &data));
        assert_eq!((again.part, again.score.loss), (Part::Test, summary.test_loss), "{task}");
        assert_eq!(again.score.rmse.is_some(), task == Task::Regression);
    }
}

/// A model file with its tensors alone, their names behind `prefix`.
fn without_metadata(file: &[u8], prefix: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__");
    let header: serde_json::Map<String, Value> =
        tensors.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    [&(text.len() as u64).to_le_bytes()[..], &text, &file[8 + length..]].concat()
}

#[test]
fn real_targets_are_scored_by_rmse_and_r2() {
    let mut text = String::from("a,b,price\n");
    for i in 0..120 {
        let (a, b) = ((i as f64 * 0.7).sin(), (i as f64 * 1.3).cos());
        writeln!(text, "{a:.5},{b:.5},{:.5}", 2.0 * a - b + 0.3 * (i as f64 * 2.1).sin()).unwrap();
    }
    let place = folder(&[("t.csv", &text), ("far.csv", &text.replace("price", "label"))]);
    let data = place.path().join("t.csv");
    let told = Settings { label: Some("price".into()), model: Some("mlp:2-1".into()), ..settings(&data) };
    let told = Settings { epochs: Some(200), ..told };
    let (summary, model) = train(&told).unwrap();
    let (rmse, r2) = (summary.test_rmse.unwrap(), summary.test_r2.unwrap());
    assert!((rmse * rmse - summary.test_loss).abs() < 1e-9);
    assert!(rmse < 0.35 && r2 > 0.95 && r2 < 1.0, "{summary:?}");
    assert!(summary.test_accuracy.is_none());
    let table = thalweg_tasks::train::report::table(&[&summary]).text();
    assert!(["test MSE", "test RMSE", "test R²"].iter().all(|head| table.contains(head)), "{table}");

    // By hand: the drawn test part, from the saved weights.
    let model = Model::load(model).unwrap();
    let source =
        DataSource { label: Some("price".into()), data: data.display().to_string(), ..Default::default() };
    let loaded = source.for_model(&model).load().unwrap();
    let Source::Examples { test, .. } = loaded.source else { panic!("text") };
    let thalweg_data::Values::Floats(x) = &test.x else { panic!("bytes") };
    let targets = test.targets.numbers().unwrap();
    let p = &model.preprocess;
    let predict = |row: &[f32]| {
        let z = |j: usize| f64::from((row[j] - p.mean[j]) / p.std[j]);
        f64::from(model.theta[0]) * z(0) + f64::from(model.theta[1]) * z(1) + f64::from(model.theta[2])
    };
    let mean = targets.iter().sum::<f64>() / targets.len() as f64;
    let errors: f64 = x.chunks(2).zip(&targets).map(|(row, t)| (predict(row) - t).powi(2)).sum();
    let spread: f64 = targets.iter().map(|t| (t - mean).powi(2)).sum();
    assert!((r2 - (1.0 - errors / spread)).abs() < 1e-5);

    // Targets far from where networks start are said to be.
    let far: String = text
        .lines()
        .enumerate()
        .map(|(i, line)| match i {
            0 => format!("{line}\n"),
            _ => format!("{}{}\n", &line[..line.rfind(',').unwrap() + 1], 100 + i),
        })
        .collect();
    fs::write(place.path().join("far.csv"), far).unwrap();
    let reading = Reading { task: Some(Task::Regression), ..Reading::default() };
    let far = place.path().join("far.csv");
    let data = Some(far.display().to_string());
    let (summary, _) = train(&Settings { data, reading, steps: Some(1), epochs: None, ..told }).unwrap();
    noted(&summary.notes, "the targets have mean 1");
}

#[test]
fn every_setting_of_reading_reaches_the_reader() {
    let text = "# of a probe\n1,5;7;-999;x\n2,5;8;1;y\n3,5;9;2;x\n4,5;7;3;y\n5,5;8;4;x\n6,5;9;5;y\n";
    let place =
        folder(&[("t.csv", text), ("numbers.csv", "a,label\n1,1\n2,2\n3,3\n4,7\n5,9\n6,2\n7,1\n8,3\n")]);
    let source = |name: &str, reading| DataSource {
        data: place.path().join(name).display().to_string(),
        reading,
        ..DataSource::default()
    };
    let reading = Reading {
        separator: Some(Separator::Semicolon),
        header: Some(Header::No),
        missing: Some(vec!["-999".into()]),
        drop_missing: Some(true),
        drop: Some(vec!["X1".into()]),
        ..Reading::default()
    };
    let loaded = DataSource { label: Some("X3".into()), ..source("t.csv", reading.clone()) }.load().unwrap();
    assert_eq!(loaded.features, ["X0", "X2"]);
    let Source::Examples { train, test } = &loaded.source else { panic!("text") };
    assert_eq!((train.len() + test.len(), train.classes()), (5, Some(2)));
    noted(&loaded.notes, "1 of 6 rows lack a value");
    let told = Reading { drop_missing: None, ..reading.clone() };
    refused(DataSource { label: Some("X3".into()), ..source("t.csv", told) }.load(), &["line 2", "missing"]);
    let told = Reading { drop: Some(vec!["X7".into()]), ..reading };
    refused(
        DataSource { label: Some("X3".into()), ..source("t.csv", told) }.load(),
        &["X7", "X0, X1, X2, X3"],
    );

    for (task, classes) in
        [(None, Some(5)), (Some(Task::Classification), Some(5)), (Some(Task::Regression), None)]
    {
        let loaded = source("numbers.csv", Reading { task, ..Reading::default() }).load().unwrap();
        let Source::Examples { train, .. } = &loaded.source else { panic!("text") };
        assert_eq!(train.classes(), classes, "{task:?}");
    }
}

#[test]
fn layouts_of_images_are_told() {
    let place = tempfile::tempdir().unwrap();
    let bytes: Vec<f64> = (0..12 * 4 * 4 * 4).map(|i| f64::from(i % 7)).collect();
    let labels: Vec<f64> = (0..12).map(|i| f64::from(i % 2)).collect();
    fs::write(place.path().join("x.npy"), npy(&[12, 4, 4, 4], bytes)).unwrap();
    fs::write(place.path().join("y.npy"), npy(&[12], labels)).unwrap();
    let pixels = |layout| {
        let reading = Reading { layout, split: Some(Split::Tail), ..Reading::default() };
        let data = place.path().join("x.npy").display().to_string();
        let loaded = DataSource { data, reading, ..DataSource::default() }.load().unwrap();
        let Source::Examples { train, .. } = loaded.source else { panic!("text") };
        let thalweg_data::Values::Floats(x) = train.x else { panic!("bytes") };
        x[..2].to_vec()
    };
    // Two channels of a pixel lie beside each other, or a whole picture apart.
    assert_eq!(pixels(Some(Layout::ChannelsLast)), [0., 1.]);
    assert_eq!(pixels(Some(Layout::ChannelsFirst)), [0., f32::from(16 % 7_u8)]);
}

#[test]
fn settings_that_do_not_apply_are_refused_by_name() {
    let place = folder(&[("t.csv", &sorted(8)), ("u.csv", &sorted(4)), ("t.txt", &"abcd ".repeat(50))]);
    let at = |name: &str| place.path().join(name).display().to_string();
    let told =
        |data: &str, reading: Reading| DataSource { data: data.into(), reading, ..DataSource::default() };
    let none = Reading::default;
    let fraction = |f| Reading { test_fraction: Some(f), ..none() };
    for f in [0.0, 1.0, -0.5, f64::NAN, 7.0] {
        refused(told(&at("t.csv"), fraction(f)).load(), &["`test_fraction`", "(0, 1)"]);
        refused(told("digits", fraction(f)).load(), &["`test_fraction`"]);
    }
    refused(told("digits", fraction(0.5)).load(), &["`test_fraction`", "leave it out"]);
    for (reading, field) in [
        (Reading { split: Some(Split::Stratified), ..none() }, "`split`"),
        (Reading { split: Some(Split::Tail), ..none() }, "`split`"),
        (Reading { split_seed: Some(3), ..none() }, "`split_seed`"),
        (Reading { task: Some(Task::Regression), ..none() }, "`task`"),
        (Reading { layout: Some(Layout::ChannelsFirst), ..none() }, "`layout`"),
        (Reading { header: Some(Header::No), ..none() }, "`header`"),
        (Reading { separator: Some(Separator::Tab), ..none() }, "`separator`"),
        (Reading { missing: Some(vec!["-".into()]), ..none() }, "`missing`"),
        (Reading { drop_missing: Some(true), ..none() }, "`drop_missing`"),
        (Reading { drop: Some(vec!["a".into()]), ..none() }, "`drop`"),
    ] {
        refused(told("digits", reading.clone()).load(), &[field, "leave it out"]);
        if !field.starts_with("`split") {
            refused(told(&at("t.txt"), reading).load(), &[field, "text", "leave it out"]);
        } else {
            let given = DataSource { test: Some(at("u.csv").into()), ..told(&at("t.csv"), reading) };
            refused(given.load(), &[field, "there is one"]);
        }
    }
    refused(
        told(&at("t.csv"), Reading { layout: Some(Layout::ChannelsFirst), ..none() }).load(),
        &["`layout`", "CSV"],
    );
    refused(
        told(&at("t.txt"), Reading { split: Some(Split::Stratified), ..none() }).load(),
        &["text", "tail"],
    );
    refused(
        told(&at("t.csv"), Reading { split: Some(Split::Tail), split_seed: Some(1), ..none() }).load(),
        &["`split_seed`"],
    );
    assert!(told(&at("t.txt"), Reading { split: Some(Split::Tail), ..fraction(0.5) }).load().is_ok());
    let normalize = "mean=0,std=1".parse().ok();
    let letters = Settings {
        model: Some("char-transformer:1,8,1,4".into()),
        normalize,
        ..settings(Path::new(&at("t.txt")))
    };
    refused(fit(&letters, None, &Host::default()), &["`normalize`", "text"]);
    refused(DataSource::named(None, None, None, &none()), &["no data", "`data`"]);
}

#[test]
fn flags_and_files_of_settings_say_the_same() {
    let command = Settings::augment_args(Command::new("train").no_binary_name(true));
    let line = "--data t.csv --task regression --split tail --test-fraction 0.3 --layout nchw --header no \
                --separator ; --missing -,-999 --drop-missing --drop id,name --seed 3";
    let matches = command.clone().try_get_matches_from(line.split_whitespace()).unwrap();
    let told = Settings::from_arg_matches(&matches).unwrap();
    let expected = Reading {
        task: Some(Task::Regression),
        split: Some(Split::Tail),
        test_fraction: Some(0.3),
        split_seed: None,
        layout: Some(Layout::ChannelsFirst),
        header: Some(Header::No),
        separator: Some(Separator::Semicolon),
        missing: Some(vec!["-".into(), "-999".into()]),
        drop_missing: Some(true),
        drop: Some(vec!["id".into(), "name".into()]),
    };
    assert_eq!(told.reading, expected);
    let table = toml::Table::try_from(&told).unwrap();
    assert_eq!(
        (table["task"].as_str(), table["separator"].as_str()),
        (Some("regression"), Some("semicolon"))
    );
    let back: Settings = table.clone().try_into().unwrap();
    assert_eq!((back.reading, back.seed), (expected, Some(3)));
    let mut unknown = table;
    unknown.insert("laout".into(), "nchw".into());
    assert!(unknown.try_into::<Settings>().unwrap_err().to_string().contains("laout"));
    for (flag, known) in
        [("--task=guess", "regression"), ("--layout=chw", "nchw"), ("--separator=x", "semicolon")]
    {
        let refused = command.clone().try_get_matches_from([flag]).unwrap_err().to_string();
        assert!(refused.contains(known), "{refused}");
    }
}

/// Everything that is said.
#[derive(Default)]
struct Ears(Mutex<Vec<String>>);

impl Watcher for Ears {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.into());
    }

    fn meter(&self, _: &str, _: Option<u64>) -> Option<Box<dyn Meter>> {
        None
    }
}

#[test]
fn what_the_reader_notes_is_said() {
    let mut text = String::from(",a,b,label\n");
    sorted(40).lines().skip(1).enumerate().for_each(|(i, line)| writeln!(text, "{i},{line}").unwrap());
    let place = folder(&[("t.csv", &text)]);
    let data = place.path().join("t.csv");
    let (summary, model) = train(&settings(&data)).unwrap();
    let index = "the unnamed first column numbers the rows; it is left out";
    noted(&summary.notes, index);
    let ears = Arc::new(Ears::default());
    let host = Host { watcher: Some(ears.clone()), ..Host::default() };
    fit(&settings(&data), None, &host).unwrap();
    noted(&ears.0.lock().unwrap(), index);
    ears.0.lock().unwrap().clear();
    let evaluation = evaluate(&on(&model, &data), &host).unwrap();
    noted(&evaluation.notes, index);
    let said = ears.0.lock().unwrap();
    noted(&said, index);
    noted(&said, "scored: the test part, as it was cut when the model was trained");
    assert!(serde_json::to_value(&evaluation).unwrap()["part"] == "test");
}
