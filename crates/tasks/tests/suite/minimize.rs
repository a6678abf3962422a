//! Every function with every method, and searches that are cut short.

use std::fs;
use std::path::Path;
use std::time::Duration;

use thalweg_cbo::Algorithm;
use thalweg_optim::functions::{by_name, names};
use thalweg_tasks::minimize::{Descent, Found, Settings, Summary, minimize};
use thalweg_tasks::train::Trainer;
use thalweg_tasks::{Fault, Folder, Host, Opening};

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

/// The search that the settings of a file make.
fn searched(text: &str) -> thalweg_tasks::Result<Summary> {
    let settings: Settings = toml::from_str(text).unwrap();
    minimize(&settings, None, &Host::default()).map(|found| match found {
        Found::Search(found) => *found,
        other => panic!("{other:?}"),
    })
}

#[test]
fn what_a_method_does_not_obey_is_refused_by_name() {
    let descent = "function = \"rosenbrock\"\nmethod = \"adam\"\n";
    let compare = "function = \"rosenbrock\"\ncompare = [\"adam\", \"lbfgs\"]\n";
    let search = "function = \"sphere\"\nmethod = \"cbo\"\n";
    let program = "command = \"echo {x}\"\nbox = [\"0:1\"]\ndim = 1\n";
    for (base, line, field) in [
        (descent, "box = [\"2:3\"]", "box"),
        (compare, "box = [\"2:3\"]", "box"),
        (descent, "boundary = \"clip\"", "boundary"),
        (descent, "surface = \"sphere\"", "surface"),
        (descent, "eval-time = \"1s\"", "eval-time"),
        (compare, "patience = 3.0", "patience"),
        (descent, "dim = 7\nstart = [1.0, 2.0]", "dim"),
        (search, "tol = 1e-3", "tol"),
        (search, "lr = 1e-3", "lr"),
        (search, "eval-time = \"1s\"", "eval_time"),
        (search, "noisy = true", "noisy"),
        (search, "constraints = 1", "constraints"),
        (search, "penalty = 2.0", "penalty"),
        (search, "std = 1.0\nboundary = \"clip\"", "boundary"),
        (search, "target = 1.0\npatience = 3.0", "patience"),
        (search, "patience = 0.0", "patience"),
        (search, "xtol = -1.0", "xtol"),
        (search, "particles = 50\nset = [\"particles=60\"]", "particles"),
        (search, "surface = \"sphere\"\nset = [\"noise=eigenframe\"]", "noise"),
        (program, "shift = \"s.csv\"", "shift"),
        (program, "rotate = \"s.csv\"", "rotate"),
        (program, "penalty = 2.0", "penalty"),
    ] {
        let settings: Settings = toml::from_str(&format!("{base}{line}\n")).unwrap();
        let said = minimize(&settings, None, &Host::default()).expect_err(line).to_string();
        assert!(said.contains(field), "{base}{line}: {said}");
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("s.csv");
    fs::write(&file, "a,b\n1,2\n3,4\n").unwrap();
    let two = Settings { shift: Some(file), ..toml::from_str(descent).unwrap() };
    assert!(minimize(&two, None, &Host::default()).unwrap_err().to_string().contains("one row"));
}

#[test]
fn a_search_ends_when_nothing_improves_any_more() {
    for method in ["auto", "cbo", "adaptive"] {
        let found = searched(&format!("function = \"sphere\"\nmethod = \"{method}\"\n")).unwrap();
        assert!(found.best_f.unwrap() < 1e-3 && found.evals < 50_000, "{method}: {found:?}");
        // Without a target there are no successes to speak of.
        assert_eq!((found.successes, found.ert), (None, None));
        assert!(["stalled", "collapsed"].contains(&found.stop.as_str()), "{method}: {found:?}");
        assert!(!found.table().text().contains("target"));
    }
    let long = searched("function = \"sphere\"\npatience = 1e9\nmax-evaluations = 30000\n").unwrap();
    assert_eq!(long.stop, "evaluations");
    let aimed = searched("function = \"sphere\"\ntarget = 1e-6\n").unwrap();
    assert_eq!((aimed.successes, aimed.best_f_again), (Some(1), None));
}

#[test]
fn fields_of_groups_are_set_by_their_path() {
    let base = "function = \"rastrigin\"\nmethod = \"cbo\"\nmax-evaluations = 3000\nseed = 1\n";
    let value = |set: &str| searched(&format!("{base}set = [{set}]\n")).map(|found| found.best_x);
    let (path, json) =
        (value("\"memory.beta=2\", \"memory.lambda=0.3\""), value("'memory={\"beta\":2,\"lambda\":0.3}'"));
    assert_eq!(path.unwrap(), json.unwrap());
    assert_ne!(value("\"memory.lambda=0.3\"").unwrap(), value("").unwrap());
    assert!(value("\"memory.speed=2\"").unwrap_err().to_string().contains("speed"));
    assert!(value("\"lambda=1\", \"lambda.x=2\"").unwrap_err().to_string().contains("lambda"));
    assert!(value("\"lambda=1\", \"lambda=2\"").unwrap_err().to_string().contains("twice"));
}

#[test]
fn methods_are_compared_each_at_its_best_rate_and_their_paths_written() {
    let place = tempfile::tempdir().unwrap();
    let settings: Settings = toml::from_str(
        "function = \"rosenbrock\"\nstart = [-2.0, 2.0]\ncompare = [\"adahessian\", \"adam\", \"sgd\", \"lbfgs\"]\n",
    )
    .unwrap();
    let folder = open(&place.path().join("c"), Opening::Fresh);
    let Found::Compared(paths) = minimize(&settings, Some(&folder), &Host::default()).unwrap() else {
        unreachable!()
    };
    for path in &paths {
        if path.method == "lbfgs" {
            assert!(path.lr.is_none() && path.tried.is_empty());
            continue;
        }
        let ends: Vec<f64> = path.tried.iter().map(|t| t.1.unwrap_or(f64::INFINITY)).collect();
        let best = ends.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(path.best_f, best, "{}: {:?}", path.method, path.tried);
        let at = ends.iter().position(|f| *f == best).unwrap();
        assert!(ends.len() >= 5 && at > 0 && at + 1 < ends.len(), "not at an edge: {:?}", path.tried);
        assert!(path.steps <= 1000);
    }
    let data = fs::read_to_string(place.path().join("c/trajectories.csv")).unwrap();
    let rows: u64 = paths.iter().map(|p| p.steps + 1).sum();
    assert!(data.starts_with("method,step,x1,x2\nadahessian,0,-2,2\n"));
    assert_eq!(data.lines().count() as u64, rows + 1);
    // A rate that is given is every method's.
    let given = Settings { lr: Some(1e-3), compare: Some(vec!["adam".into(), "sgd".into()]), ..settings };
    let Found::Compared(paths) = minimize(&given, None, &Host::default()).unwrap() else { unreachable!() };
    assert!(paths.iter().all(|p| p.lr == Some(1e-3) && p.tried.is_empty()));
}

/// A search of two unknowns with a process of this shell text.
#[cfg(unix)]
fn process(text: &str, more: &str) -> thalweg_tasks::Result<Summary> {
    let settings = Settings {
        process: Some(format!("sh -c '{text}'")),
        dim: Some(2),
        ..toml::from_str(&format!("box = [\"-5:5\"]\nmethod = \"cbo\"\nparticles = 20\nseed = 1\n{more}"))
            .unwrap()
    };
    minimize(&settings, None, &Host::default()).map(|found| match found {
        Found::Search(found) => *found,
        other => panic!("{other:?}"),
    })
}

/// Evaluations of a program that takes milliseconds.
#[cfg(unix)]
const FEW: &str = "max-evaluations = 300\n";

/// (x − 1)² + (y + 2)², as a command of a shell loop.
#[cfg(unix)]
const BOWL: &str = "awk -v x=$x -v y=$y \"BEGIN { printf \\\"%.17g\\n\\\", (x-1)^2 + (y+2)^2 }\"";

#[test]
#[cfg(unix)]
fn a_best_value_is_that_of_its_point_whatever_a_program_prints() {
    let value = |x: &[f64]| (x[0] - 1.0).powi(2) + (x[1] + 2.0).powi(2);
    let warns = format!(
        "n=0; while read x y; do n=$((n+1)); if [ $((n % 20)) = 0 ]; then echo WARNING; fi; {BOWL}; done"
    );
    for text in [format!("while read x y; do {BOWL}; done"), warns] {
        let found = process(&text, FEW).unwrap();
        let f = found.best_f.unwrap();
        assert!((f - value(&found.best_x)).abs() <= 1e-9 * f, "{found:?}");
        assert_eq!(found.best_f_again, found.best_f);
    }
    // Nothing but talk, and nothing comes of it.
    for text in [
        format!("while read x y; do echo eval $x $y; {BOWL}; done"),
        format!("echo Loaded; while read x y; do {BOWL}; done"),
    ] {
        let said = process(&text, FEW).unwrap_err().to_string();
        assert!(
            said.contains("fails wherever it is asked") || said.contains("no finite objective"),
            "{said}"
        );
        assert!(said.contains("it answered") || said.contains("instead of one number"), "{said}");
    }
    // A line too many each time: at most an answer that came before it counts.
    if let Ok(found) = process(&format!("while read x y; do {BOWL}; echo 3; done"), FEW) {
        assert!((found.best_f.unwrap() - value(&found.best_x)).abs() <= 1e-9, "{found:?}");
    }
    // A line too many that was heard too late is found out in the end.
    let late = format!("echo 0; while read x y; do sleep 0.2; {BOWL}; done");
    let error = process(&late, "max-evaluations = 60\n").unwrap_err();
    assert!(error.to_string().contains("where it said"), "{error}");
    assert_eq!(error.fault(), Fault::Failure);
    // Values that are random are not held against a program that says so.
    let random = "n=0; while read x y; do n=$((n+1)); echo $n.5; done";
    assert!(process(random, FEW).unwrap_err().to_string().contains("`noisy`"));
    let found = process(random, &format!("{FEW}noisy = true\n")).unwrap();
    assert!(found.best_f_again.is_some_and(|again| Some(again) != found.best_f), "{found:?}");
}

#[test]
#[cfg(unix)]
fn a_program_that_never_works_is_an_error_with_its_last_words() {
    for (text, words) in
        [("exec ./nonexistent", "not found"), ("echo boom: no licence >&2; exit 1", "no licence")]
    {
        let said = process(text, FEW).unwrap_err().to_string();
        assert!(said.contains(words) && said.contains("fails wherever"), "{said}");
    }
}
