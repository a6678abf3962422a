//! Every function with every method, and searches that are cut short.

use std::fs;
use std::path::Path;
use std::time::Duration;

use thalweg_cbo::Algorithm;
use thalweg_optim::functions::{by_name, names};
use thalweg_tasks::minimize::{Descent, Found, Settings, Summary, minimize};
use thalweg_tasks::train::Trainer;
use thalweg_tasks::{Folder, Host, Opening};

/// What is refused, and by which words.
fn refusal(function: &str, method: &str) -> Option<&'static str> {
    let smooth = by_name(function, 2).unwrap().is_differentiable();
    match method {
        _ if Algorithm::NAMES.contains(&method) => None,
        "mkor" | "mkor-h" | "kfac" | "eva" => Some("layers"),
        "mfac" => Some("mini-batches"),
        "muon" => Some("matrices"),
        _ => (!smooth).then_some("not differentiable"),
    }
}

#[test]
fn every_function_with_every_method_that_fits_it() {
    for function in names() {
        let start = by_name(function, 2).unwrap();
        for method in Trainer::NAMES.iter().chain(Algorithm::NAMES) {
            let pair = format!("{function}, {method}");
            let search = Algorithm::NAMES.contains(method);
            let settings = Settings {
                function: Some(function.into()),
                method: Some((*method).into()),
                max_evaluations: search.then_some(2000),
                steps: Some(300),
                ..Settings::default()
            };
            match (minimize(&settings, None, &Host::default()), refusal(function, method)) {
                (Ok(Found::Search(found)), None) if search => {
                    assert!(
                        found.best_f.is_some_and(|f| f > -1e-12) && found.evals <= 2000,
                        "{pair}: {found:?}"
                    );
                }
                (Ok(Found::Descent(path)), None) if !search => {
                    let from = start.value(&[path.path[0].0, path.path[0].1]);
                    let lowest =
                        path.path.iter().map(|x| start.value(&[x.0, x.1])).fold(f64::INFINITY, f64::min);
                    assert!(path.best_f.is_finite() && lowest < from, "{pair}: {from} to {lowest}");
                    assert_eq!(path.path.len() as u64, path.steps + 1, "{pair}");
                }
                (Err(e), Some(words)) => {
                    let said = e.to_string();
                    assert!(said.contains(words) && said.contains(method), "{pair}: {said}");
                }
                (other, expected) => panic!("{pair}: {other:?} instead of {expected:?}"),
            }
        }
    }
    let fitting = Descent::NAMES.iter().all(|name| Trainer::NAMES.contains(name));
    assert!(fitting, "a method that trains networks has the same name here");
}

fn search(runs: u64) -> Settings {
    Settings {
        function: Some("rastrigin".into()),
        dim: Some(6),
        method: Some("auto".into()),
        max_evaluations: Some(30_000),
        runs: Some(runs),
        checkpoint_every: Some(3),
        seed: Some(7),
        ..Settings::default()
    }
}

fn found(settings: &Settings, folder: &Folder, host: &Host) -> Summary {
    match minimize(settings, Some(folder), host).unwrap() {
        Found::Search(found) => Summary { seconds: 0.0, ..*found },
        other => panic!("{other:?}"),
    }
}

fn open(path: &Path, opening: Opening) -> Folder {
    Folder::open(path, opening).unwrap()
}

#[test]
fn a_search_that_is_cut_short_goes_on_to_the_same_bits() {
    for runs in [1, 3] {
        let place = tempfile::tempdir().unwrap();
        let (settings, whole) = (search(runs), place.path().join("whole"));
        let expected = format!("{:?}", found(&settings, &open(&whole, Opening::Fresh), &Host::default()));
        let cut = place.path().join("cut");
        let (mut opening, mut cuts, mut last) = (Opening::Fresh, 0, String::new());
        // Elapsed time counts from the first start.
        for milliseconds in (1..).map(|k| 20 * k) {
            let host = Host { time: Some(Duration::from_millis(milliseconds)), ..Host::default() };
            let so_far = found(&settings, &open(&cut, opening), &host);
            opening = Opening::Resume;
            last = format!("{so_far:?}");
            if !open(&cut, opening).unfinished() {
                break;
            }
            cuts += 1;
            assert!(Folder::open(&cut, Opening::Fresh).is_err(), "an unfinished search is not overwritten");
        }
        assert!(cuts > 0, "20 ms are not enough");
        assert_eq!(last, expected, "{runs} runs, {cuts} cuts");
        let again = found(&settings, &open(&cut, opening), &Host::default());
        assert_eq!((again.runs, again.method.as_str()), (runs, "auto"), "a finished one just reports");
        let text = |folder: &Path| fs::read_to_string(folder.join("history.csv")).unwrap();
        assert!(text(&whole) == text(&cut));
        let mut left: Vec<_> =
            fs::read_dir(&cut).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let files =
            ["config.toml", "convergence.svg", "history.csv", "metrics.jsonl", "report.html", "summary.json"];
        assert_eq!(left, files);
    }
}

#[test]
fn an_interrupted_path_goes_on_to_the_same_bits() {
    let place = tempfile::tempdir().unwrap();
    let settings = Settings {
        function: Some("rosenbrock".into()),
        compare: Some(vec!["adam".into(), "sgd".into()]),
        steps: Some(400),
        ..Settings::default()
    };
    let run = |name: &str, opening, host: &Host| {
        let found = minimize(&settings, Some(&open(&place.path().join(name), opening)), host);
        found.map(|found| match found {
            Found::Compared(paths) => paths.into_iter().map(|p| (p.best_x, p.path)).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        })
    };
    let whole = run("whole", Opening::Fresh, &Host::default()).unwrap();
    let host = Host::default();
    host.interrupt.request();
    let said = run("cut", Opening::Fresh, &host).unwrap_err().to_string();
    assert!(said.contains("interrupted"), "{said}");
    assert!(run("cut", Opening::Resume, &Host::default()).unwrap() == whole);
    let picture = |name: &str| fs::read(place.path().join(name).join("trajectories.svg")).unwrap();
    assert!(picture("cut") == picture("whole"));
    // A finished one just reports; the last bits of what it wrote as text are those of the reader.
    let again = run("cut", Opening::Resume, &Host::default()).unwrap();
    for ((x, path), (y, other)) in again.iter().zip(&whole) {
        assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-12) && path.len() == other.len());
    }
}
