//! Bilevel jobs: what they are scored on, what they leave in the folder, and how they say that they failed.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use thalweg_bilevel::penalty::lower;
use thalweg_bilevel::{Bilevel, Oracle};
use thalweg_core::StopReason;
use thalweg_net::Model;
use thalweg_tasks::bilevel::{check, hyperclean, regularization, toy};
use thalweg_tasks::{Folder, Host, Opening};

/// Two informative features, one of noise, as svmlight.
fn rows(folder: &TempDir, name: &str, n: usize, salt: f64) -> PathBuf {
    let row = |i: usize| {
        let t = i as f64 + salt;
        let (a, b, c) = ((1.7 * t).sin(), (2.3 * t).cos(), (5.1 * t).sin());
        let label = if a + 0.5 * b + 0.3 * (11.0 * t).sin() > 0.0 { "+1" } else { "-1" };
        format!("{label} 1:{a} 2:{b} 3:{c}\n")
    };
    let file = folder.path().join(name);
    fs::write(&file, (0..n).map(row).collect::<String>()).unwrap();
    file
}

/// The third set has no part in the choice, and without it nothing is called a test; the folder has the table of the
/// weights, with those at the box, and a classifier that gives the accuracy that is told.
#[test]
fn the_classifier_is_saved_and_scored_on_a_third_set() {
    let folder = tempfile::tempdir().unwrap();
    let [train, validation, test] = [("a.svm", 80, 0.0), ("b.svm", 60, 0.5), ("c.svm", 50, 0.25)]
        .map(|(f, n, salt)| rows(&folder, f, n, salt));
    let mut settings = regularization::Settings {
        train: Some(train),
        validation: Some(validation.clone()),
        test: Some(test),
        bounds: Some("-4:2".into()),
        ..Default::default()
    };
    let out = Folder::open(folder.path().join("r"), Opening::Fresh).unwrap();
    let found = regularization::regularization(&settings, Some(&out), &Host::default()).unwrap();
    assert_eq!(found.stopped_because, StopReason::Converged, "{}", found.why);
    assert!(found.score.test_accuracy.is_some_and(|a| a > 0.7), "{found:?}");
    assert!(found.common.score.upper >= found.score.upper - 1e-9, "{found:?}");
    assert!(found.table().text().contains("test accuracy"));

    let table = fs::read_to_string(out.file("weights.csv")).unwrap();
    assert!(table.starts_with("feature,x,weight,at_bound,size\n1,"), "{table}");
    let held = table.matches(",lower,").count() + table.matches(",upper,").count();
    assert_eq!((table.lines().count(), held), (4, found.at_bounds.iter().sum()), "{table}");
    let model = Model::load(out.file("model.safetensors")).unwrap();
    assert_eq!((model.classes.len(), model.theta.len()), (2, 2 * 3 + 2));
    let text = fs::read_to_string(validation).unwrap();
    let right = text.lines().filter(|line| {
        let numbers = line.split(' ').skip(1).map(|f| f.split(':').nth(1).unwrap().parse::<f64>().unwrap());
        let score: f64 = numbers.zip(&model.theta[3..6]).map(|(v, w)| v * f64::from(*w)).sum();
        line.starts_with("+1") == (score > 0.0)
    });
    assert_eq!(right.count() as f64 / 60.0, found.score.validation_accuracy);

    settings.test = None;
    let found = regularization::regularization(&settings, None, &Host::default()).unwrap();
    let (table, json) = (found.table().text(), serde_json::to_string(&found).unwrap());
    assert!(table.contains("validation accuracy") && !table.contains("test"), "{table}");
    assert!(!json.contains("test"), "{json}");
}

/// Hyper-cleaning is scored on the classifier that the weights alone train, whatever the method's own y has seen.
#[test]
fn cleaning_is_scored_on_the_weights_alone() {
    for method in ["pbo-double", "implicit"] {
        let settings = hyperclean::Settings {
            method: Some(method.into()),
            steps: Some(8),
            seed: Some(1),
            ..Default::default()
        };
        let found = hyperclean::hyperclean(&settings, None, &Host::default()).unwrap();
        let problem = &found.judged.problem;
        // Trained anew, from where the problem starts.
        let mut z = problem.start().1;
        lower(&mut Oracle::new(problem).unwrap(), &found.x, &mut z, 1e-9).unwrap();
        let (own, told) = (found.judged.test_accuracy(&z), found.summary.test_accuracy);
        assert!((own - told).abs() < 0.003, "{method}: {told}, but the weights alone give {own}");
        let loss = problem.classifier().loss(&z, problem.val());
        assert!(
            (loss - found.summary.upper).abs() < 1e-4 * loss,
            "{method}: {} is not {loss}",
            found.summary.upper
        );
    }
}

fn solved(name: &str, method: &str, steps: u64) -> Result<toy::Summary, String> {
    let settings = toy::Settings {
        name: Some(name.into()),
        method: Some(method.into()),
        steps: Some(steps),
        ..Default::default()
    };
    toy::solve(&settings, None, &Host::default()).map_err(|e| e.to_string())
}

/// A good run is not lost by what is measured after it, and no alarm is raised at a perfect solution.
#[test]
fn a_run_is_told_whatever_comes_after_it() {
    let found = solved("line", "aid", 5000).unwrap();
    assert!(found.warnings.iter().any(|w| w.contains("aid is not made for this")), "{:?}", found.warnings);
    for (name, method) in [("line", "pbo-double"), ("line", "pbo-single"), ("least-squares", "bome")] {
        let found = solved(name, method, 10_000).unwrap();
        assert!(!found.warnings.iter().any(|w| w.contains("jump")), "{name}, {method}: {:?}", found.warnings);
    }
    for name in ["line", "least-squares"] {
        let refused = solved(name, "implicit", 100).unwrap_err();
        assert!(refused.contains("no single solution"), "{name}: {refused}");
    }
    let outside = check::Settings { name: Some("simplex".into()), at: Some(vec![2.0]), ..Default::default() };
    let refused = check::check(&outside, &Host::default()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("nearest"), "{refused}");
}

/// Every toy that "converges" is at a minimum of ψ, in digits that are known.
#[test]
fn toys_converge_to_their_minima() {
    for (name, method) in [
        ("active", "pbo"),
        ("active", "implicit"),
        ("pl", "implicit"),
        ("cosine", "pbo"),
        ("simplex", "pbo"),
        ("line", "pbo"),
        ("least-squares", "pbo"),
        ("pl", "pbo"),
    ] {
        let found = solved(name, method, 1000).unwrap();
        assert_eq!(found.stopped_because, StopReason::Converged, "{name}, {method}: {}", found.why);
        assert!((found.psi - found.minimum).abs() < 1e-8, "{name}, {method}: {found:?}");
    }
}

/// A table with a split of its own: the numbers of the split are rows of the file.
#[test]
fn a_split_counts_rows_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut table, mut split) =
        (String::from("a,b,c,label\n"), String::from("index,part,clean_label,given_label\n"));
    for i in 0..150 {
        let (t, class) = (f64::from(i), i * 7 % 3);
        let of = |c: i32| if c == class { 2.0 } else { 0.0 };
        table += &format!(
            "{},{},{},{class}\n",
            of(0) + 0.3 * t.sin(),
            of(1) + 0.3 * (2.0 * t).cos(),
            of(2) + 0.1 * (3.0 * t).sin()
        );
        let part = ["train", "train", "val", "test"][i as usize % 4];
        let given = if part == "train" && i % 5 == 0 { (class + 1) % 3 } else { class };
        split += &format!("{i},{part},{class},{given}\n");
    }
    let [data, split] = [("t.csv", table), ("s.csv", split)].map(|(name, text)| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    });
    let settings = hyperclean::Settings {
        data: Some(data.display().to_string()),
        label: Some("label".into()),
        split: Some(split),
        ..Default::default()
    };
    let found = hyperclean::hyperclean(&settings, None, &Host::default()).unwrap().summary;
    assert!(found.test_accuracy > 0.9 && found.f1 > 0.8, "{found:?}");
    let own = hyperclean::Settings { split: None, corrupt: Some(0.4), ..settings };
    let found = hyperclean::hyperclean(&own, None, &Host::default()).unwrap().summary;
    assert!(found.test_accuracy > 0.9 && found.f1 > 0.8, "{found:?}");
}
