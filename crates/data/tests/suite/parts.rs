//! Which examples test, which columns are inputs, and what does not apply to the data at hand.

use std::collections::BTreeSet;

use thalweg_data::{
    Cut, Header, Layout, Options, Origin, Separator, Source, TableOptions, Targets, Task, Values, digits,
    load,
};

use crate::common::{cifar, doubles, idx, longs, npz};

fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

fn quantities(n: usize) -> String {
    std::iter::once("a,y\n".to_owned()).chain((0..n).map(|i| format!("{i},{}.5\n", i * i))).collect()
}

#[test]
fn quantities_are_cut_at_random_by_the_seed() {
    let (_folder, path) = file("t.csv", quantities(60));
    let drawn = |seed, test_fraction| {
        let options = Options { cut: Cut::Stratified { seed }, test_fraction, ..Options::default() };
        let loaded = load(&path, &options).unwrap();
        assert!(loaded.description.ends_with("the test part drawn at random"), "{}", loaded.description);
        assert_eq!(loaded.origin, Origin::Drawn);
        let Source::Examples { train, test } = loaded.source else { panic!("text") };
        let Values::Floats(x) = &test.x else { panic!("bytes") };
        let all: BTreeSet<u32> = [&train, &test]
            .into_iter()
            .flat_map(|part| match &part.x {
                Values::Floats(x) => x.iter().map(|&v| v as u32).collect::<Vec<_>>(),
                Values::Bytes(_) => panic!("bytes"),
            })
            .collect();
        assert_eq!((all.len(), train.len() + test.len()), (60, 60), "no example is lost or doubled");
        x.clone()
    };
    assert_eq!(drawn(1, None).len(), 10);
    assert_eq!(drawn(1, Some(0.5)).len(), 30);
    assert_eq!(drawn(1, None), drawn(1, None));
    assert!(drawn(1, None) != drawn(2, None));
    assert!(drawn(3, None).iter().any(|&v| v < 50.0), "not the end of the file");
}

#[test]
fn a_text_is_cut_where_it_is_told() {
    let (_folder, path) = file("t.txt", "abcdefghij".repeat(10));
    for (test_fraction, tests) in [(None, 10), (Some(0.25), 25), (Some(0.001), 1), (Some(0.999), 99)] {
        let loaded = load(&path, &Options { test_fraction, ..Options::default() }).unwrap();
        let Source::Text { train, test } = loaded.source else { panic!("examples") };
        assert_eq!((train.tokens.len(), test.tokens.len()), (100 - tests, tests));
    }
}

#[test]
fn the_whole_is_known_by_its_fingerprint() {
    let (_folder, path) = file("t.csv", quantities(30));
    let whole = |cut, test_fraction| {
        load(&path, &Options { cut, test_fraction, ..Options::default() }).unwrap().whole
    };
    let usual = whole(Cut::Tail, None);
    assert!(usual.is_some());
    assert_eq!(whole(Cut::Stratified { seed: 4 }, Some(0.4)), usual);
    let (_other, changed) = file("t.csv", quantities(30).replace("\n7,", "\n8,"));
    assert!(load(&changed, &Options::default()).unwrap().whole != usual);
    assert_eq!(load("digits", &Options::default()).unwrap().whole, None, "nothing was cut");
    let (train, test) = digits();
    assert!(train.fingerprint() != test.fingerprint());
}

#[test]
fn inputs_have_a_documented_range() {
    assert_eq!(load("digits", &Options::default()).unwrap().range, Some([0.0, 16.0]));
    let (_folder, path) = file("t.csv", quantities(30));
    assert_eq!(load(&path, &Options::default()).unwrap().range, None);
    let (_folder, path) = file("c.bin", cifar(4, 9));
    assert_eq!(load(&path, &Options::default()).unwrap().range, Some([0.0, 255.0]));
}

#[test]
fn columns_are_dropped_and_chosen_by_name() {
    let text = "id,a,b,label\nx1,1,10,0\nx2,2,20,1\nx3,3,NA,0\nx4,4,40,1\n";
    let (_folder, path) = file("t.csv", text);
    let words = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let table = TableOptions { drop_missing: true, ..TableOptions::default() };
    let first = |options: &Options| {
        let loaded = load(&path, options).unwrap();
        let Source::Examples { train, test } = &loaded.source else { panic!("text") };
        let Values::Floats(x) = train.concat(test).unwrap().x else { panic!("bytes") };
        (loaded.features.clone(), x, loaded.notes)
    };
    let (names, x, _) = first(&Options { drop: words(&["id", "b"]), ..Options::default() });
    assert_eq!((names, x), (words(&["a"]), vec![1., 2., 3., 4.]));
    // Rows are left out for what they lack in the columns that are used.
    let (_, x, notes) =
        first(&Options { drop: words(&["id", "b"]), table: table.clone(), ..Options::default() });
    assert!(x.len() == 4 && notes.iter().all(|note| !note.contains("rows lack a value")), "{notes:?}");
    let chosen = Options { features: words(&["b", "a"]), table, ..Options::default() };
    let (names, x, notes) = first(&chosen);
    assert_eq!((names, x), (words(&["b", "a"]), vec![10., 1., 20., 2., 40., 4.]));
    assert!(
        notes.iter().any(|n| n.contains("id")) && notes.iter().any(|n| n.contains("matched by name")),
        "{notes:?}"
    );
    let error = |options: Options| load(&path, &options).unwrap_err().to_string();
    let lacking = error(Options { features: words(&["a", "c"]), ..Options::default() });
    assert!(lacking.contains("\"c\"") && lacking.contains("id, a, b, label"), "{lacking}");
    assert!(error(Options { drop: words(&["z"]), ..Options::default() }).contains("\"z\""));
}

/// Options by name, each given alone.
fn options() -> Vec<(&'static str, Options)> {
    let plain = Options::default;
    let table = |table| Options { table, ..plain() };
    let usual = TableOptions::default;
    vec![
        ("label", Options { label: Some("y".into()), ..plain() }),
        ("task", Options { task: Task::Regression, ..plain() }),
        ("layout", Options { layout: Layout::ChannelsLast, ..plain() }),
        ("header", table(TableOptions { header: Header::Yes, ..usual() })),
        ("separator", table(TableOptions { separator: Some(Separator::Comma), ..usual() })),
        ("missing", table(TableOptions { missing: vec!["-".into()], ..usual() })),
        ("drop_missing", table(TableOptions { drop_missing: true, ..usual() })),
        ("drop", Options { drop: vec!["b".into()], ..plain() }),
    ]
}

#[test]
fn options_that_do_not_apply_are_refused_by_name() {
    let (_a, csv) = file("t.csv", "a,b,y\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n");
    let arrays = [("x", doubles(&[4, 2, 2, 1], &[0.0; 16])), ("y", longs(&[0, 1, 0, 1]))];
    let (_b, npz) = file("t.npz", npz(&arrays));
    let (_c, text) = file("t.txt", "abcdefghij");
    let (_d, bin) = file("t.bin", cifar(4, 1));
    let images = tempfile::tempdir().unwrap();
    let name = |what: &str| images.path().join(format!("train-{what}-ubyte"));
    std::fs::write(name("images-idx3"), idx(&[4, 1, 1], &[1, 2, 3, 4])).unwrap();
    std::fs::write(name("labels-idx1"), idx(&[4], &[0, 1, 0, 1])).unwrap();
    let idx = name("images-idx3").display().to_string();
    let table = ["label", "task", "header", "separator", "missing", "drop_missing", "drop"];
    let kinds: [(&str, &[&str]); 6] = [
        (&csv, &table),
        (&npz, &["label", "task", "layout"]),
        (&text, &[]),
        (&bin, &[]),
        (&idx, &[]),
        ("digits", &[]),
    ];
    for (data, applicable) in kinds {
        for (option, options) in options() {
            match (load(data, &options), applicable.contains(&option)) {
                (Ok(_), true) => {}
                (Err(e), false) => {
                    let message = e.to_string();
                    assert!(message.contains(&format!("`{option}`")), "{data}: {message}");
                }
                (Ok(_), false) => panic!("{data}: {option} is taken and ignored"),
                (Err(e), true) => panic!("{data}: {option}: {e}"),
            }
        }
    }
}

#[test]
fn codings_of_labels_in_arrays_are_classes() {
    let x = doubles(&[8, 1], &[1., 2., 3., 4., 5., 6., 7., 8.]);
    let of = |y: Vec<u8>, task| {
        let (_folder, path) = file("t.npz", npz(&[("x", x.clone()), ("y", y)]));
        let loaded = load(&path, &Options { task, ..Options::default() }).unwrap();
        let Source::Examples { train, test } = loaded.source else { panic!("text") };
        match train.concat(&test).unwrap().targets {
            Targets::Classes { names, labels } => Some((names.join(" "), labels)),
            Targets::Values { .. } => None,
        }
    };
    let twice = |four: [f64; 4]| [four, four].concat();
    let cases = [
        (twice([0., 1., 1., 0.]), "0 1", [0, 1, 1, 0]),
        (twice([-1., 1., 1., -1.]), "-1 1", [0, 1, 1, 0]),
        (twice([1., 2., 3., 1.]), "1 2 3", [0, 1, 2, 0]),
        (twice([-1., 0., 1., 0.]), "-1 0 1", [0, 1, 2, 1]),
        (twice([2., 4., 4., 2.]), "2 4", [0, 1, 1, 0]),
    ];
    for (y, names, labels) in cases {
        let expected = Some((names.to_owned(), [labels, labels].concat()));
        assert_eq!(of(doubles(&[8], &y), Task::Auto), expected, "{y:?} as real numbers");
        let whole: Vec<i64> = y.iter().map(|&v| v as i64).collect();
        assert_eq!(of(longs(&whole), Task::Auto), expected, "{y:?} as whole numbers");
        assert_eq!(of(longs(&whole), Task::Regression), None);
    }
    let one_hot: Vec<f64> =
        [0, 1, 2, 1, 0, 2, 2, 0].iter().flat_map(|&c| (0..3).map(move |j| f64::from(j == c))).collect();
    assert_eq!(
        of(doubles(&[8, 3], &one_hot), Task::Auto),
        Some(("0 1 2".into(), vec![0, 1, 2, 1, 0, 2, 2, 0]))
    );
    assert_eq!(of(doubles(&[8, 3], &one_hot), Task::Regression), None);
    assert_eq!(of(doubles(&[8], &[0.5, 1.5, 2.25, 3., 4., 5.5, 6., 7.]), Task::Auto), None);
}

#[test]
fn choices_are_read_by_the_names_they_are_written_with() {
    fn all<T: std::str::FromStr<Err: std::fmt::Debug> + ToString + PartialEq + std::fmt::Debug + Copy>(
        list: &[(&str, T)],
    ) {
        for (name, value) in list {
            assert_eq!((value.to_string().as_str(), name.parse::<T>().unwrap()), (*name, *value));
        }
    }
    all(&Task::ALL);
    all(&Layout::ALL);
    all(&Header::ALL);
    all(&Separator::ALL);
    assert_eq!(";".parse::<Separator>().unwrap(), Separator::Semicolon);
    let wrong = "chw".parse::<Layout>().unwrap_err().to_string();
    assert!(wrong.contains("layout") && wrong.contains("auto, nhwc, nchw"), "{wrong}");
}
