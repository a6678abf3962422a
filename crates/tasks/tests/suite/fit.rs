//! Convex training as a job: what settings do, what is refused, what is said and left.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use thalweg_core::Seed;
use thalweg_data::{npy, npz};
use thalweg_tasks::fit::{Outcome, Settings, convex_relu};
use thalweg_tasks::{Folder, Host, Opening, TaskError};
use thalweg_testing::normals;

const N: usize = 40;
const TESTS: usize = 12;

/// Samples of three features, the same in every test.
fn features(n: usize, width: usize) -> Vec<f64> {
    normals(&mut Seed(3).stream("x", width as u64), n * width)
}

/// What a sample's first features say: below −0.3, between, above 0.5.
fn level(x: &[f64]) -> usize {
    let value = x[0].abs() - 0.6 + 0.3 * x[1];
    usize::from(value > -0.3) + usize::from(value > 0.5)
}

/// An archive that is taken as it is, with these targets of one or more columns.
fn archive<T: thalweg_data::Element>(
    folder: &Path,
    name: &str,
    width: usize,
    y: impl Fn(&[f64]) -> Vec<T>,
) -> String {
    let (x, other) = (features(N, 3), features(TESTS, 3));
    let rows = |x: &[f64]| x.chunks(3).flat_map(&y).collect::<Vec<T>>();
    let shape = |n: usize| if width == 1 { vec![n] } else { vec![n, width] };
    let bytes = npz([
        ("Xtrain", npy(&[N, 3], x.clone())),
        ("ytrain", npy(&shape(N), rows(&x))),
        ("Xtest", npy(&[TESTS, 3], other.clone())),
        ("ytest", npy(&shape(TESTS), rows(&other))),
    ]);
    let file = folder.join(name);
    fs::write(&file, bytes).unwrap();
    file.display().to_string()
}

/// A table with a constant far from 0 in its numbers.
fn table(folder: &Path, name: &str, target: impl Fn(&[f64]) -> String) -> String {
    let row = |x: &[f64]| format!("{},{},{},{}\n", x[0], x[1], x[2], target(x));
    let rows: String = features(150, 3).chunks(3).map(row).collect();
    let file = folder.join(name);
    fs::write(&file, format!("a,b,c,y\n{rows}")).unwrap();
    file.display().to_string()
}

/// Settings as a file has them.
fn settings(train: &str, rest: &str) -> Settings {
    toml::from_str(&format!("train = {train:?}\n{rest}")).unwrap()
}

fn fit(train: &str, rest: &str) -> Outcome {
    convex_relu(&settings(train, rest), None, &Host::default()).unwrap_or_else(|e| panic!("{rest}: {e}"))
}

fn refused(train: &str, rest: &str, words: &[&str]) {
    match convex_relu(&settings(train, rest), None, &Host::default()) {
        Err(e) => {
            let said = e.to_string();
            assert!(words.iter().all(|w| said.contains(w)), "{rest}: {said:?} lacks one of {words:?}");
            assert!(matches!(e.fault(), thalweg_tasks::Fault::Input), "{rest}: {said}");
        }
        Ok(_) => panic!("{rest} is accepted"),
    }
}

const SQUARED: &str = "loss = 'squared'\nbeta = 0.1\npatterns = 10\nseed = 1";

#[test]
fn several_targets_are_fitted_each_by_itself() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (|x: &[f64]| x[0].abs() - 0.5, |x: &[f64]| 0.3 * x[2] + x[1].max(0.0));
    let both = archive(place.path(), "both.npz", 2, |x| vec![first(x), second(x)]);
    let alone = [
        archive(place.path(), "first.npz", 1, |x| vec![first(x)]),
        archive(place.path(), "second.npz", 1, |x| vec![second(x)]),
    ];
    let sum: f64 = alone.iter().map(|file| fit(file, SQUARED).summary.objective).sum();
    let together = fit(&both, SQUARED);
    assert!((together.summary.objective / sum - 1.0).abs() < 1e-5, "{} {sum}", together.summary.objective);
    assert_eq!((together.network.outputs, together.certificates.len()), (2, 2));
    assert!(together.proved() && together.summary.test_rmse.is_some_and(|e| e < 1.0));
    assert!(together.summary.train_accuracy.is_none());
    refused(&both, &format!("{SQUARED}\nadversarial = 'eps=0.1'"), &["`attack`", "several numbers"]);
}

#[test]
fn labels_are_classes_whatever_their_coding() {
    let place = tempfile::tempdir().unwrap();
    let bce = "loss = 'bce'\npatterns = 10\nseed = 1";
    let of = |name: &str, low: f64, high: f64| {
        archive(place.path(), name, 1, move |x| vec![if level(x) > 0 { high } else { low }])
    };
    let signs = fit(&of("signs.npz", -1.0, 1.0), bce).summary;
    for (low, high) in [(0.0, 1.0), (1.0, 2.0), (3.0, 7.0)] {
        let other = fit(&of("other.npz", low, high), bce).summary;
        assert_eq!((other.objective, other.test_accuracy), (signs.objective, signs.test_accuracy));
    }
    let whole = archive(place.path(), "whole.npz", 1, |x| vec![i64::from(level(x) > 0)]);
    assert_eq!(fit(&whole, bce).summary.objective, signs.objective);
    let three = archive(place.path(), "three.npz", 1, |x| vec![level(x) as f64 - 1.0]);
    let three = fit(&three, "loss = 'hinge'\npatterns = 10");
    assert_eq!(three.network.outputs, 3);
    assert_eq!(three.model.classes, ["-1", "0", "1"]);
}

#[test]
fn numbers_and_their_zeros_and_ones_stay_numbers_under_the_squared_loss() {
    let place = tempfile::tempdir().unwrap();
    let file = archive(place.path(), "f.npz", 1, |x| vec![f64::from(u8::from(level(x) > 0))]);
    let summary = fit(&file, SQUARED).summary;
    assert!(summary.train_accuracy.is_none() && summary.train_rmse.is_some_and(|e| e < 0.5));
    let classes = fit(&file, &format!("{SQUARED}\ntask = 'classification'")).summary;
    assert!(classes.train_accuracy.is_some());
}

#[test]
fn arrays_that_do_not_fit_each_other_are_refused_by_both_names() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, arrays: Vec<(&str, Vec<u8>)>| {
        let file = place.path().join(name);
        fs::write(&file, npz(arrays)).unwrap();
        file.display().to_string()
    };
    let labels = |n: usize| npy(&[n], (0..n).map(|k| if k % 2 == 0 { 1.0 } else { -1.0 }));
    let x = |n: usize, d: usize| npy(&[n, d], features(n, d));
    for width in [5, 2] {
        let arrays = vec![
            ("Xtrain", x(20, 3)),
            ("ytrain", labels(20)),
            ("Xtest", x(10, width)),
            ("ytest", labels(10)),
        ];
        refused(&write("w.npz", arrays), "", &["Xtest", &width.to_string(), "Xtrain", "3"]);
    }
    let rows = vec![("Xtrain", x(20, 3)), ("ytrain", labels(19))];
    refused(&write("r.npz", rows), "", &["ytrain", "19", "20"]);
    let half = vec![("Xtrain", x(20, 3)), ("ytrain", labels(20)), ("Xtest", x(10, 3))];
    refused(&write("h.npz", half), "", &["Xtest", "ytest"]);
}

#[test]
fn a_class_of_the_test_part_alone_is_named() {
    let place = tempfile::tempdir().unwrap();
    let train = table(place.path(), "train.csv", |x| ["low", "high"][usize::from(level(x) > 0)].into());
    let test = place.path().join("test.csv");
    fs::write(&test, "a,b,c,y\n1,2,3,low\n1,1,1,other\n").unwrap();
    refused(&train, &format!("target = 'y'\ntest = {test:?}"), &["other"]);
    let numbers = table(place.path(), "numbers.csv", |x| (level(x) % 2).to_string());
    fs::write(&test, "a,b,c,y\n1,2,3,0\n1,1,1,2\n").unwrap();
    refused(&numbers, &format!("target = 'y'\ntest = {test:?}"), &["class 2", "training part"]);
}

#[test]
fn what_would_have_no_effect_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let file = archive(place.path(), "f.npz", 1, |x| vec![if level(x) > 0 { 1.0 } else { -1.0 }]);
    let three = archive(place.path(), "three.npz", 1, |x| vec![level(x) as f64 - 1.0]);
    let robust = "adversarial = 'eps=0.01'";
    for (file, rest, field) in [
        (&file, format!("{robust}\nmethod = 'admm'"), "`method`"),
        (&file, format!("{robust}\nmethod = 'rbcd'"), "`method`"),
        (&file, format!("{robust}\nextra-pattern-searches = 5"), "`extra_pattern_searches`"),
        (&file, format!("{robust}\nmax-steps = 5"), "`max_steps`"),
        (&file, format!("{robust}\nlinear-part = true\nloss = 'bce'"), "`linear_part`"),
        (&file, format!("{robust}\nbeta = 'path:4'"), "`beta`"),
        (&file, "method = 'exact'\nmax-steps = 5".into(), "`max_steps`"),
        (&file, "method = 'scp'\nextra-pattern-searches = 5".into(), "`extra_pattern_searches`"),
        (&file, "method = 'scp'\nbeta = 'auto'".into(), "`beta`"),
        (&file, "beta = 0.5\ncv = 3".into(), "`cv`"),
        (&file, "multiclass = 'shared'".into(), "`multiclass`"),
        (&file, "attack = ['fgsm']".into(), "`attack`"),
        (&file, format!("{robust}\nattack = ['fgsm', 'eps=0.2']"), "`attack`"),
        (&file, "eps-mask = 'mask.txt'".into(), "`eps_mask`"),
        (&file, "target = 'ytrain'".into(), "`target`"),
        (&file, "test = 'other.npz'".into(), "`test`"),
        (&file, "split = 'tail'".into(), "reading"),
        (&three, "beta = 'auto'".into(), "beta = auto"),
        (&three, "compare = ['adam']".into(), "`compare`"),
        (&three, "multiclass = 'shared'\nextra-pattern-searches = 3".into(), "`extra_pattern_searches`"),
    ] {
        refused(file, &rest, &[field]);
    }
}

#[test]
fn listed_patterns_are_used_for_every_class() {
    let place = tempfile::tempdir().unwrap();
    let three = archive(place.path(), "three.npz", 1, |x| vec![level(x) as f64 - 1.0]);
    let columns = [|x: &[f64]| x[0] > 0.0, |x: &[f64]| x[1] > 0.0, |x: &[f64]| x[0] + x[2] > 0.0];
    let x = features(N, 3);
    let d: Vec<u8> = x.chunks(3).flat_map(|x| columns.map(|on| u8::from(on(x)))).collect();
    let list = place.path().join("D.npz");
    fs::write(&list, npz([("D", npy(&[N, 3], d))])).unwrap();
    let found = fit(&three, &format!("loss = 'hinge'\npatterns = {:?}", list.display().to_string())).summary;
    assert_eq!((found.patterns, found.patterns_drawn, found.certified), (Some(3), 0, "listed patterns"));
    assert!(found.sampling_bound.is_none(), "nobody drew these");
    assert!(fit(&three, "loss = 'hinge'\npatterns = 30").summary.sampling_bound.is_some());
}

#[test]
fn the_exit_is_by_the_gap_that_was_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let file = archive(place.path(), "f.npz", 1, |x| vec![if level(x) > 0 { 1.0 } else { -1.0 }]);
    let usual = fit(&file, "patterns = 10\nadversarial = 'eps=0.01'");
    assert!(usual.proved() && usual.wanted_gap == 1e-3 && usual.summary.certified == "listed patterns");
    let strict = fit(&file, "patterns = 10\nadversarial = 'eps=0.01'\ntol = 1e-15");
    assert!(strict.wanted_gap == 1e-15 && strict.proved() == (strict.summary.gap <= 1e-15));
}

#[test]
fn attacks_on_several_classes_are_made() {
    let place = tempfile::tempdir().unwrap();
    let three = archive(place.path(), "three.npz", 1, |x| vec![level(x) as f64 - 1.0]);
    for rest in ["adversarial = 'eps=0.005'", "attack = ['fgsm', 'pgd:20', 'eps=0.3']"] {
        let s = fit(&three, &format!("loss = 'hinge'\npatterns = 20\nraw = true\n{rest}")).summary;
        let (clean, fgsm) = (s.test_accuracy.unwrap(), s.withstood.fgsm_accuracy.unwrap());
        let (pgd, proved) = (s.withstood.pgd_accuracy.unwrap(), s.withstood.certified_accuracy.unwrap());
        assert!(proved <= pgd && pgd <= fgsm && fgsm <= clean, "{proved} {pgd} {fgsm} {clean}");
        assert!(rest.starts_with("adv") == s.withstood.worst_case_train_loss.is_some());
        assert!(rest.starts_with("adv") || pgd < clean, "boxes of 0.3 must hurt");
    }
}

#[test]
fn numbers_far_from_zero_are_predicted_better_than_by_their_mean() {
    let place = tempfile::tempdir().unwrap();
    let price = |x: &[f64]| 100.0 + 4.0 * x[0].abs() + 2.0 * x[1];
    let file = table(place.path(), "price.csv", |x| format!("{:.6}", price(x)));
    let found = fit(&file, "target = 'y'\npatterns = 20\nadversarial = 'eps=0.001'");
    assert!(found.summary.withstood.pgd_accuracy.is_none() && found.summary.withstood.pgd_rmse.is_some());
    let found = fit(&file, "target = 'y'\npatterns = 20");
    let s = &found.summary;
    assert!(found.proved() && s.beta == 0.1 && s.train_accuracy.is_none(), "{s:?}");
    // The mean has an R² of 0 there.
    assert!(s.test_r2.is_some_and(|r2| r2 > 0.5) && s.test_rmse.is_some_and(|e| e < 2.0), "{s:?}");
    // The saved network carries the mean.
    let x = features(150, 3);
    let layout = found.model.graph.layout().unwrap();
    let bias = found.model.theta[layout.get("fc2.bias").unwrap().range()][0];
    let mean: f64 = x.chunks(3).map(price).sum::<f64>() / 150.0;
    assert!((f64::from(bias) - mean).abs() < 2.0, "{bias} {mean}");
    // Taken as they are, they are worse.
    let raw = fit(&file, "target = 'y'\npatterns = 20\nraw = true").summary;
    assert!(raw.test_rmse > s.test_rmse);
}

#[test]
fn constant_numbers_are_said_and_predicted() {
    let place = tempfile::tempdir().unwrap();
    let file = table(place.path(), "constant.csv", |_| "7.5".into());
    let found = fit(&file, "target = 'y'\npatterns = 5\ntask = 'regression'");
    assert!(found.network.neurons.is_empty() && found.proved() && found.summary.test_rmse == Some(0.0));
    refused(&file, "target = 'y'\npatterns = 5\ntask = 'regression'\nbeta = 'auto'", &["`beta`", "alike"]);
}

#[test]
fn cross_validation_goes_on_where_the_least_value_is_the_best() {
    let place = tempfile::tempdir().unwrap();
    // Of a line without noise less penalty is always better.
    let rows = (0..48).map(|i| f64::from(i) / 10.0 - 2.0);
    let text: String = rows.map(|x| format!("{x},{}\n", 50.0 * x + 7.0)).collect();
    let file = place.path().join("line.csv");
    fs::write(&file, format!("a,y\n{text}")).unwrap();
    let file = file.display().to_string();
    let found = fit(&file, "target = 'y'\npatterns = 2\nbeta = 'auto'\ncv = 3");
    let folds = &found.beta.folds;
    assert!(folds.len() > 12, "{} values", folds.len());
    assert!(folds.iter().all(|fold| fold.accuracy.is_none()));
    let least = folds.last().unwrap().beta;
    assert_eq!(found.beta.at_edge, found.beta.beta == least);
}

#[test]
fn every_method_stops_within_a_second_of_its_limit() {
    let three = |method: &str| format!("patterns = 5\nlimit = 300\n{method}");
    for rest in [
        three("method = 'exact'"),
        three(""),
        three("adversarial = 'eps=0.001'"),
        three("multiclass = 'shared'\nmethod = 'admm'\ntol = 0.0"),
    ] {
        let (clock, limit) = (Instant::now(), Duration::from_millis(1500));
        let host = Host { time: Some(limit), ..Host::default() };
        let found = convex_relu(&settings("digits", &rest), None, &host).unwrap();
        let took = clock.elapsed();
        assert!(took < limit + Duration::from_millis(2500), "{rest}: {took:?}");
        let s = &found.summary;
        assert!(
            s.dual_bound <= s.objective && (found.proved() || s.stopped_because.is_some()),
            "{rest}: {s:?}"
        );
    }
}

#[test]
fn a_folder_keeps_nothing_of_an_earlier_fit_and_shows_the_outputs() {
    let place = tempfile::tempdir().unwrap();
    let file = archive(place.path(), "f.npz", 1, |x| vec![if level(x) > 0 { 1.0 } else { -1.0 }]);
    let out = place.path().join("out");
    let run = |rest: &str, opening| {
        let folder = Folder::open(&out, opening).unwrap();
        convex_relu(&settings(&file, rest), Some(&folder), &Host::default()).unwrap()
    };
    run("patterns = 10\nbeta = 'path:4'\ncv = 3", Opening::Fresh);
    let there = |name: &str| out.join(name).is_file();
    assert!(there("path.json") && there("cv.json") && there("path.svg"));
    run("patterns = 10", Opening::Overwrite);
    assert!(!there("path.json") && !there("cv.json") && !there("path.svg"));
    assert!(there("outputs.svg") && there("report.html") && there("model.safetensors"));
    let summary: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!((&summary["beta"], &summary["loss"]), (&0.1.into(), &"hinge".into()));
    let config = fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.contains("beta = "), "the default is written down: {config}");
    let again = Folder::open(&out, Opening::Fresh);
    assert!(matches!(again, Err(TaskError::Input(_))));
}
