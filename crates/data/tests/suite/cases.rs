//! Files that a program once misread, each a test by its name, with what stands in them.

use std::fs;
use std::path::{Path, PathBuf};

use thalweg_data::{
    Arrays, Cut, DataError, Dataset, Elements, Header, Layout, Loaded, Options, Origin, Source, Table,
    TableOptions, Targets, Task, Values, load, read_market, read_svmlight, targets,
};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

fn table(name: &str) -> Table {
    table_with(name, &TableOptions::default()).unwrap()
}

fn table_with(name: &str, options: &TableOptions) -> Result<Table, DataError> {
    Table::read(&case(name), options)
}

fn loaded(name: &str, options: &Options) -> Result<Loaded, DataError> {
    load(case(name).to_str().unwrap(), options)
}

fn read(name: &str) -> Loaded {
    loaded(name, &Options::default()).unwrap()
}

fn whole(loaded: &Loaded) -> Dataset {
    let Source::Examples { train, test } = &loaded.source else { panic!("text") };
    train.concat(test).unwrap()
}

/// Labels and names of the classes.
fn classes(loaded: &Loaded) -> (Vec<u32>, Vec<String>) {
    let Targets::Classes { labels, names } = whole(loaded).targets else {
        panic!("quantities: {:?}", loaded.notes)
    };
    (labels, names)
}

fn values(loaded: &Loaded) -> Vec<f32> {
    let Targets::Values { values, width: 1 } = whole(loaded).targets else {
        panic!("classes: {:?}", loaded.notes)
    };
    values
}

fn refused<T>(result: Result<T, DataError>, clues: &[&str]) {
    let Err(error) = result else { panic!("read, without {clues:?}") };
    let message = error.to_string();
    assert!(clues.iter().all(|clue| message.contains(clue)), "{clues:?} not in: {message}");
}

fn noted(notes: &[String], clue: &str) {
    assert!(notes.iter().any(|note| note.contains(clue)), "{clue:?} not in {notes:?}");
}

/// The table of these names is that of `plain`.
fn same(name: &str, plain: &str) {
    let (found, right) = (table(name), table(plain));
    assert_eq!(found.columns(), right.columns(), "{name}");
    assert_eq!(found.matrix().unwrap(), right.matrix().unwrap(), "{name}");
    assert_eq!(found.rows(), 12);
}

#[test]
fn c_plain() {
    let data = read("c_plain.csv");
    assert_eq!(data.features, ["a", "b", "c"]);
    assert_eq!(
        classes(&data),
        (vec![0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0], ["0", "1"].map(String::from).to_vec())
    );
    let Values::Floats(x) = whole(&data).x else { panic!("bytes") };
    assert_eq!(
        x[..3],
        [0.125_730_221_093_393_3, -0.132_104_863_291_301_9, 0.640_422_650_443_282_1].map(|v: f64| v as f32)
    );
    // Twelve rows of which the last two are all of one class.
    let lacks =
        "warning: the test part lacks 1 of 2 classes: 1; cut the parts otherwise if that is not meant";
    assert_eq!(data.notes, [lacks]);
}

#[test]
fn c_bom() {
    same("c_bom.csv", "c_plain.csv");
}

#[test]
fn c_crlf() {
    same("c_crlf.csv", "c_plain.csv");
}

#[test]
fn c_semi() {
    same("c_semi.csv", "c_plain.csv");
    assert_eq!(whole(&read("c_semi.csv")), whole(&read("c_plain.csv")));
}

#[test]
fn c_nohead() {
    let plain = table("c_plain.csv");
    let found = table("c_nohead.csv");
    assert_eq!(found.columns(), ["X0", "X1", "X2", "X3"]);
    assert_eq!((found.rows(), found.has_header()), (13, false));
    assert_eq!(found.matrix().unwrap()[..48], plain.matrix().unwrap());
    refused(loaded("c_nohead.csv", &Options::default()), &["header line is missing", "X0, X1, X2, X3"]);
    let named = Options { label: Some("X3".into()), ..Options::default() };
    assert_eq!(classes(&loaded("c_nohead.csv", &named).unwrap()).0[..12], classes(&read("c_plain.csv")).0);
}

#[test]
fn c_pm1() {
    let data = read("c_pm1.csv");
    let names = ["-1", "1"].map(String::from).to_vec();
    assert_eq!(classes(&data), (classes(&read("c_plain.csv")).0, names));
    noted(&data.notes, "-1, 1 are taken for 2 classes");
    let quantities = Options { task: Task::Regression, ..Options::default() };
    assert_eq!(values(&loaded("c_pm1.csv", &quantities).unwrap())[..3], [-1., -1., 1.]);
}

#[test]
fn c_str() {
    let (labels, names) = classes(&read("c_str.csv"));
    assert_eq!((labels, names), (classes(&read("c_plain.csv")).0, ["no", "yes"].map(String::from).to_vec()));
    let quantities = Options { task: Task::Regression, ..Options::default() };
    refused(loaded("c_str.csv", &quantities), &["line 2", "\"y\"", "\"no\"", "regression"]);
}

#[test]
fn c_3() {
    let (labels, names) = classes(&read("c_3.csv"));
    assert_eq!((&labels[..4], names), (&[0, 1, 2, 0][..], ["u", "v", "w"].map(String::from).to_vec()));
}

#[test]
fn c_one() {
    assert_eq!(classes(&read("c_one.csv")), (vec![0; 12], vec!["1".into()]));
}

#[test]
fn c_const() {
    noted(&read("c_const.csv").notes, "the column c never changes");
}

#[test]
fn c_cat() {
    refused(loaded("c_cat.csv", &Options::default()), &["line 2", "\"b\"", "\"blue\"", "finite number"]);
}

#[test]
fn c_reg() {
    let data = read("c_reg.csv");
    assert_eq!((values(&data)[0], data.notes), (1_000.509_3, vec![]));
}

#[test]
fn c_regint() {
    let data = read("c_regint.csv");
    assert_eq!(values(&data)[..3], [1., 1., 13.]);
    noted(&data.notes, "taken for quantities");
    let forced = Options { task: Task::Classification, ..Options::default() };
    assert_eq!(whole(&loaded("c_regint.csv", &forced).unwrap()).classes(), Some(10));
}

#[test]
fn c_labfirst() {
    let data = read("c_labfirst.csv");
    assert_eq!((&data.features[..], classes(&data).0.len()), (&["a", "b"].map(String::from)[..], 12));
}

#[test]
fn c_id() {
    let data = read("c_id.csv");
    assert_eq!((&data.features[..], whole(&data).shape), (&["a", "b"].map(String::from)[..], vec![2]));
    noted(&data.notes, "unnamed first column numbers the rows");
}

#[test]
fn c_miss() {
    let clues = ["line 7", "\"b\"", "\"\"", "missing", "1 of 12 rows", "drop_missing"];
    refused(loaded("c_miss.csv", &Options::default()), &clues);
    refused(table("c_miss.csv").matrix(), &clues);
    let table = TableOptions { drop_missing: true, ..TableOptions::default() };
    let data = loaded("c_miss.csv", &Options { table, ..Options::default() }).unwrap();
    assert_eq!(whole(&data).len(), 11);
    noted(&data.notes, "1 of 12 rows lack a value");
}

#[test]
fn c_nan() {
    refused(loaded("c_nan.csv", &Options::default()), &["line 7", "\"b\"", "\"nan\"", "missing"]);
}

#[test]
fn c_d0() {
    refused(loaded("c_d0.csv", &Options::default()), &["no inputs"]);
}

#[test]
fn c_d1() {
    assert_eq!(whole(&read("c_d1.csv")).shape, [1]);
}

#[test]
fn c_n1() {
    refused(loaded("c_n1.csv", &Options::default()), &["only one example"]);
}

#[test]
fn c_n2() {
    assert_eq!(classes(&read("c_n2.csv")).0, [0, 1]);
}

#[test]
fn c_n3() {
    assert_eq!(classes(&read("c_n3.csv")).0, [0, 1, 1]);
}

#[test]
fn c_dup() {
    assert_eq!(whole(&read("c_dup.csv")).len(), 12);
}

#[test]
fn c_dupconf() {
    assert_eq!(classes(&read("c_dupconf.csv")).0[..4], [0, 1, 0, 1]);
}

#[test]
fn c_sorted() {
    let named = Options { label: Some("species".into()), ..Options::default() };
    let data = loaded("c_sorted.csv", &named).unwrap();
    assert_eq!(whole(&data).classes(), Some(3));
    noted(&data.notes, "the test part lacks 2 of 3 classes: setosa, versicolor");
}

#[test]
fn c_sorted_stratified() {
    let options = |seed| Options {
        label: Some("species".into()),
        cut: Cut::Stratified { seed },
        test_fraction: Some(0.25),
        ..Options::default()
    };
    let data = loaded("c_sorted.csv", &options(1)).unwrap();
    assert_eq!((data.origin, &data.notes[..]), (Origin::Drawn, &[][..]));
    let Source::Examples { train, test } = &data.source else { panic!("text") };
    let labels = |part: &Dataset| match &part.targets {
        Targets::Classes { labels, .. } => labels.clone(),
        Targets::Values { .. } => panic!("quantities"),
    };
    assert_eq!((labels(test), labels(train)), (vec![0, 1, 2], vec![0, 0, 0, 1, 1, 1, 2, 2, 2]));
    assert_eq!(loaded("c_sorted.csv", &options(1)).unwrap(), data);
    assert!((2..20).any(|seed| loaded("c_sorted.csv", &options(seed)).unwrap() != data));
    let all = Options { test_fraction: Some(1.0), ..options(1) };
    refused(loaded("c_sorted.csv", &all), &["`test_fraction` = 1", "(0, 1)"]);
}

/// Train on `train`, test on `test`, by species.
fn species(train: &str, test: &str) -> Result<Loaded, DataError> {
    loaded(train, &Options { label: Some("species".into()), test: Some(case(test)), ..Options::default() })
}

#[test]
fn te2new() {
    refused(species("tr2.csv", "te2new.csv"), &["te2new.csv", "virginica", "training file"]);
}

#[test]
fn te_cols() {
    let data = species("tr.csv", "te_cols.csv").unwrap();
    noted(&data.notes, "matched by name");
    let Source::Examples { test, .. } = &data.source else { panic!("text") };
    let Values::Floats(x) = &test.x else { panic!("bytes") };
    assert_eq!(x[..2], [2.471_159_222_935_503, -0.901_396_022_705_927_4].map(|v: f64| v as f32));
}

#[test]
fn te_xcol() {
    refused(species("tr.csv", "te_xcol.csv"), &["te_xcol.csv", "columns a, zz", "a, b"]);
}

#[test]
fn pm1() {
    let data = read("pm1.csv");
    assert_eq!((&classes(&data).0[..4], whole(&data).classes()), (&[0, 0, 1, 1][..], Some(2)));
}

#[test]
fn float() {
    let data = read("float.csv");
    let names = ["0", "1"].map(String::from).to_vec();
    assert_eq!((&classes(&data).0[..4], classes(&data).1), (&[0, 0, 1, 1][..], names));
    noted(&data.notes, "taken for 2 classes");
}

#[test]
fn t_bom() {
    same("t_bom.csv", "t_plain.csv");
}

#[test]
fn t_crlf() {
    same("t_crlf.csv", "t_plain.csv");
}

#[test]
fn t_semi() {
    same("t_semi.csv", "t_plain.csv");
}

#[test]
fn t_tab() {
    same("t_tab.csv", "t_plain.csv");
}

#[test]
fn t_index() {
    same("t_index.csv", "t_plain.csv");
    let found = table("t_index.csv");
    noted(found.notes(), "unnamed first column numbers the rows");
    assert_eq!(found.row_name(2), Some("2"));
}

#[test]
fn t_quoted() {
    let found = table("t_quoted.csv");
    assert_eq!(found.columns(), ["a", "b, x", "c"]);
    assert_eq!(found.matrix().unwrap(), table("t_plain.csv").matrix().unwrap());
}

#[test]
fn t_numhead() {
    let found = table("t_numhead.csv");
    assert_eq!(found.columns(), ["0", "1", "2"]);
    assert_eq!(found.matrix().unwrap(), table("t_plain.csv").matrix().unwrap());
}

#[test]
fn t_nohead() {
    let found = table("t_nohead.csv");
    assert_eq!((found.rows(), found.columns()), (13, &["X0", "X1", "X2"].map(String::from)[..]));
    noted(found.notes(), "no header");
    assert_eq!(found.matrix().unwrap()[..36], table("t_plain.csv").matrix().unwrap());
    let yes = TableOptions { header: Header::Yes, ..TableOptions::default() };
    assert_eq!(table_with("t_nohead.csv", &yes).unwrap().rows(), 12);
}

#[test]
fn t_missing() {
    let mut found = table("t_missing.csv");
    refused(found.matrix(), &["line 6", "\"c\"", "missing", "1 of 12 rows"]);
    assert_eq!((found.drop_missing(), found.rows()), (1, 11));
    assert!(found.matrix().is_ok());
}

#[test]
fn t_nan() {
    let drop = TableOptions { drop_missing: true, ..TableOptions::default() };
    refused(table("t_nan.csv").matrix(), &["line 7", "\"b\"", "\"NaN\""]);
    assert_eq!(table_with("t_nan.csv", &drop).unwrap().rows(), 11);
}

#[test]
fn t_inf() {
    refused(table("t_inf.csv").numbers(1), &["line 7", "\"b\"", "\"inf\" is not a finite number; correct"]);
}

#[test]
fn t_ragged() {
    refused(table_with("t_ragged.csv", &TableOptions::default()), &["line 9", "2 cells", "has 3"]);
}

#[test]
fn t_dupname() {
    refused(table_with("t_dupname.csv", &TableOptions::default()), &["\"a\" occurs twice"]);
}

#[test]
fn t_latin() {
    refused(table_with("t_latin.csv", &TableOptions::default()), &["line 1", "not UTF-8, perhaps Latin-1"]);
}

#[test]
fn t_zero() {
    refused(table_with("t_zero.csv", &TableOptions::default()), &["empty"]);
}

#[test]
fn t_empty() {
    let found = table("t_empty.csv");
    assert_eq!((found.rows(), found.columns().len()), (0, 3));
}

#[test]
fn t_str() {
    refused(table("t_str.csv").matrix(), &["line 2", "\"c\"", "\"no\"", "finite number"]);
}

#[test]
fn t_sizes() {
    for (name, rows, columns) in [
        ("t_n1.csv", 1, 3),
        ("t_n2.csv", 2, 3),
        ("t_n3.csv", 3, 3),
        ("t_d1.csv", 12, 1),
        ("t_const.csv", 12, 4),
        ("t_dupcol.csv", 12, 4),
        ("t_dupsamp.csv", 12, 3),
        ("duplicate_column.csv", 12, 3),
    ] {
        let found = table(name);
        assert_eq!((found.rows(), found.columns().len()), (rows, columns), "{name}");
        assert_eq!(found.matrix().unwrap().len(), rows * columns, "{name}");
    }
}

#[test]
fn airfoil_tabs() {
    same("airfoil_tabs.txt", "airfoil_m.csv");
    let text = fs::read_to_string(case("airfoil_tabs.txt")).unwrap();
    for mark in ["|", ";", "  "] {
        let found = Table::parse(Path::new("t"), text.replace('\t', mark), &TableOptions::default()).unwrap();
        assert_eq!(found.matrix().unwrap(), table("airfoil_m.csv").matrix().unwrap(), "{mark:?}");
    }
    let comma = text.replace('.', ",").replace('\t', ";");
    let found = Table::parse(Path::new("t"), comma, &TableOptions::default()).unwrap();
    assert_eq!(found.matrix().unwrap(), table("airfoil_m.csv").matrix().unwrap());
}

#[test]
fn first_row_na() {
    let found = table("first_row_na.csv");
    assert_eq!((found.rows(), found.cell(0, 0), found.cell(0, 1)), (13, "1.0", "NA"));
    refused(found.matrix(), &["line 1", "\"X1\"", "\"NA\"", "1 of 13 rows"]);
}

#[test]
fn markers() {
    refused(table("markers.csv").matrix(), &["\"b\"", "\"missing\""]);
    let told =
        TableOptions { missing: vec!["missing".into()], drop_missing: true, ..TableOptions::default() };
    let found = table_with("markers.csv", &told).unwrap();
    assert_eq!(found.rows(), 11);
    noted(found.notes(), "1 of 12 rows lack a value");
}

#[test]
fn index_column() {
    let data = read("index_column.csv");
    assert_eq!(data.features, ["a", "b"]);
    assert_eq!(table("index_column.csv").columns(), ["a", "b", "label"]);
}

#[test]
fn notears_x() {
    let found = table("notears_X.csv");
    assert_eq!((found.rows(), found.columns().len()), (13, 3));
    let found = table("notears_W.csv");
    assert_eq!((found.rows(), found.number(1, 0).unwrap()), (3, 0.05));
}

#[test]
fn graphs() {
    let found = table("w_cyc.csv");
    assert_eq!((found.columns(), found.row_name(1)), (&["a", "b", "c"].map(String::from)[..], Some("b")));
    assert_eq!(found.matrix().unwrap(), [0., 1., 0., 0.5, 0., 1., 0., 0., 0.]);
    assert_eq!(table("w_m.csv").matrix().unwrap(), [0., 1., 0., 0., 0., 1., 0., 0., 0.]);
    assert_eq!(table("w_nohead.csv").rows(), 3);
    let edges = table("k_ab.csv");
    let (from, to) = (edges.need(&["from", "parent"]).unwrap(), edges.need(&["to", "node"]).unwrap());
    assert_eq!((edges.cell(0, from), edges.cell(0, to)), ("a", "b"));
    assert_eq!(table("k_ab0.csv").numbers(2).unwrap(), [0.]);
    let tiers = table("k_tiers.csv");
    assert_eq!((tiers.cell(0, 0), tiers.count(0, 1).unwrap()), ("a", 1));
}

#[test]
fn ctx_bom() {
    let found = table("ctx_bom.csv");
    let column = found.column(&["context"]).unwrap();
    assert_eq!(found.numbers(column).unwrap(), [0., 0.309, 0.118, 0.427, 0.236]);
}

#[test]
fn big_endian_f8() {
    let array = Arrays::open(&case("big_endian_f8.npy")).unwrap().take_any_or_only(&["x", "X"]).unwrap();
    assert_eq!(array.axes::<2>("samples × variables").unwrap(), [300, 3]);
    assert_eq!(array.into_f64().unwrap()[..2], [2.040_919_121_385_182_5, 1.822_588_893_689_532_5]);
}

#[test]
fn strings_too() {
    let mut arrays = Arrays::open(&case("strings_too.npz")).unwrap();
    for name in ["W1", "b1", "W2", "b2"] {
        arrays.take(name).unwrap().into_f64().unwrap();
    }
    let word = arrays.take("activation").unwrap();
    assert_eq!((&word.shape[..], word.elements), (&[][..], Elements::Words(vec!["relu".into()])));
    arrays.finish(0).unwrap();
}

#[test]
fn w0() {
    let mut arrays = Arrays::open(&case("w0.npz")).unwrap();
    assert_eq!(arrays.names(), ["W0", "b0", "W1", "b1"]);
    arrays.take("W1").unwrap();
    arrays.take("b1").unwrap();
    refused(arrays.finish(2), &["not used: W0;", "used: W1, b1"]);
}

#[test]
fn two_targets() {
    let data = read("two_targets.npz");
    let Targets::Values { values, width } = whole(&data).targets else { panic!("classes") };
    // [n, 2] row by row: never one column of 2 n.
    let first = [-0.801_931_425_253_447_4, -1.324_358_995_628_145].map(|v: f64| v as f32);
    assert_eq!((width, &values[..2]), (2, &first[..]));
}

#[test]
fn ytrain01() {
    let data = read("ytrain01.npz");
    assert_eq!((whole(&data).classes(), data.notes), (Some(2), vec![]));
}

#[test]
fn labels01() {
    let data = read("labels01.npz");
    assert_eq!(classes(&data).1, ["0", "1"]);
}

#[test]
fn labels_m1_0_1() {
    let data = read("labels_m1_0_1.npz");
    assert_eq!(classes(&data).1, ["-1", "0", "1"]);
    noted(&data.notes, "-1, 0, 1 are taken for 3 classes");
}

#[test]
fn three_labels() {
    let data = read("three_labels.npz");
    assert_eq!(whole(&data).classes(), Some(3));
    // The same from the arrays by themselves.
    let mut arrays = Arrays::open(&case("three_labels.npz")).unwrap();
    let (train, test) = (arrays.take("ytrain").unwrap(), arrays.take("ytest").unwrap());
    let (first, second, notes) = targets(train, Some(test), Task::Auto).unwrap();
    let Source::Examples { train, test } = data.source else { panic!("text") };
    assert_eq!((first, second, notes), (train.targets, Some(test.targets), data.notes));
}

#[test]
fn xtest_wide() {
    refused(loaded("xtest_wide.npz", &Options::default()), &["[3]", "[5]"]);
}

#[test]
fn nchw() {
    let data = read("nchw.npz");
    assert_eq!(whole(&data).shape, [16, 16, 3]);
    noted(&data.notes, "3 channels of 16×16");
    let as_is = Options { layout: Layout::ChannelsLast, ..Options::default() };
    let plain = whole(&loaded("nchw.npz", &as_is).unwrap());
    assert_eq!(plain.shape, [3, 16, 16]);
    let (Values::Bytes(last), Values::Bytes(first)) = (whole(&data).x, plain.x) else { panic!("floats") };
    assert!((0..first.len()).all(|i| last[i / 768 * 768 + i % 256 * 3 + i / 256 % 3] == first[i]));
}

#[test]
fn word_labels() {
    let data = read("word_labels.npz");
    let names = ["cat", "dog"].map(String::from).to_vec();
    assert_eq!((&classes(&data).0[..3], classes(&data).1), (&[0, 1, 0][..], names));
}

#[test]
fn patterns() {
    let array = Arrays::open(&case("D.npz")).unwrap().take("D").unwrap();
    assert!(matches!(array.elements, Elements::Bytes(_)) && array.shape == [50, 3]);
}

#[test]
fn hugedim() {
    refused(read_market(&case("hugedim.mtx")), &["hugedim.mtx", "line 2", "3000000000 rows", "1 entries"]);
}

#[test]
fn tiny_b() {
    let market = read_market(&case("tiny_b.mtx")).unwrap();
    assert_eq!(market.into_vector(&case("tiny_b.mtx")).unwrap(), [1e-180; 50]);
}

#[test]
fn huge_svm() {
    refused(
        read_svmlight([case("huge.train.svm")]),
        &["huge.train.svm", "line 1", "4000000000", "3 entries"],
    );
}
