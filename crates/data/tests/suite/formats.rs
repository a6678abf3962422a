//! What is written comes back, and no bytes make a reader panic.

use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;
use thalweg_data::{
    DataError, Dataset, Loaded, Options, Origin, Part, Source, Split, Svmlight, Targets, Task, Text, Values,
    load, read_split, read_svmlight,
};
use thalweg_testing::shared_data;

use crate::common::{bzip2, cifar, doubles, gzip, idx, longs, npy, npz};

fn read(files: &[(&str, Vec<u8>)], name: &str, options: Options) -> Result<Loaded, DataError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let options = Options { test: options.test.map(|t| folder.path().join(t)), ..options };
    load(folder.path().join(name).to_str().unwrap(), &options)
}

fn parts(loaded: Loaded) -> (Dataset, Dataset, Origin) {
    let Source::Examples { train, test } = loaded.source else { panic!("text: {}", loaded.description) };
    (train, test, loaded.origin)
}

/// Training and test part, one after the other.
fn whole(loaded: Loaded) -> Dataset {
    let (train, test, origin) = parts(loaded);
    assert_eq!(origin, Origin::Cut);
    assert_eq!(train.len(), (train.len() + test.len()) * 5 / 6);
    train.concat(&test).unwrap()
}

fn texts(loaded: Loaded) -> (Text, Text) {
    let Source::Text { train, test } = loaded.source else { panic!("examples: {}", loaded.description) };
    (train, test)
}

fn labels(data: &Dataset) -> &[u32] {
    let Targets::Classes { labels, .. } = &data.targets else { panic!("real targets") };
    labels
}

fn names(data: &Dataset) -> &[String] {
    let Targets::Classes { names, .. } = &data.targets else { panic!("real targets") };
    names
}

fn csv_of(text: &str) -> Dataset {
    whole(read(&[("t.csv", text.into())], "t.csv", Options::default()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn idx_round_trip(h in 1u32..5, w in 1u32..5, y in vec(0u8..10, 2..20), packed: bool) {
        let n = y.len() as u32;
        let x: Vec<u8> = (0..n * h * w).map(|i| (i * 37 % 256) as u8).collect();
        let pack = |b: Vec<u8>| if packed { gzip(&b) } else { b };
        let files = [
            ("my-train-images.idx3-ubyte", pack(idx(&[n, h, w], &x))),
            ("my-train-labels.idx1-ubyte.gz", gzip(&idx(&[n], &y))),
        ];
        for name in ["", files[0].0] {
            let data = whole(read(&files, name, Options::default()).unwrap());
            prop_assert_eq!(&data.shape, &[h as usize, w as usize, 1]);
            prop_assert_eq!(&data.x, &Values::Bytes(x.clone()));
            prop_assert_eq!(labels(&data), y.iter().map(|&l| u32::from(l)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn cifar_round_trip(images in vec((0u8..10, any::<u8>()), 2..9)) {
        // Plane c, pixel p holds start + 5c + 11p.
        let value = |start: u8, c: usize, p: usize| start.wrapping_add((5 * c + 11 * p) as u8);
        let mut bytes = Vec::new();
        for &(label, start) in &images {
            bytes.push(label);
            bytes.extend((0..3072).map(|i| value(start, i / 1024, i % 1024)));
        }
        let data = whole(read(&[("c.bin.gz", gzip(&bytes))], "c.bin.gz", Options::default()).unwrap());
        prop_assert_eq!(labels(&data), images.iter().map(|i| u32::from(i.0)).collect::<Vec<_>>());
        let Values::Bytes(x) = &data.x else { panic!("CIFAR is bytes") };
        for (i, &v) in x.iter().enumerate() {
            prop_assert_eq!(v, value(images[i / 3072].1, i % 3, i % 3072 / 3));
        }
    }

    #[test]
    fn csv_round_trip(rows in vec((-1e30f32..1e30, any::<i32>(), 0u32..50), 2..40)) {
        let mut text = String::from("a,\"b, quoted\",label\r\n");
        rows.iter().for_each(|(a, b, y)| text += &format!("{a},\"{b}\",{y}\r\n"));
        let data = csv_of(&text);
        let x = rows.iter().flat_map(|&(a, b, _)| [a, b as f32]).collect();
        prop_assert_eq!(&data.x, &Values::Floats(x));
        let class = |&l: &u32| names(&data)[l as usize].parse().unwrap();
        prop_assert_eq!(labels(&data).iter().map(class).collect::<Vec<u32>>(), rows.iter().map(|r| r.2).collect::<Vec<_>>());
    }

    #[test]
    fn npz_round_trip(x in vec(-1e6f64..1e6, 12..13), fortran: bool, big: bool) {
        // 4 examples of 3, written in either order and either endianness.
        let at = |i: usize| if fortran { i % 4 * 3 + i / 4 } else { i };
        let bytes = |v: f64| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let data: Vec<u8> = (0..12).flat_map(|i| bytes(x[at(i)])).collect();
        let array = npy(if big { ">f8" } else { "<f8" }, fortran, &[4, 3], &data);
        let file = npz(&[("x", array), ("y", longs(&[3, 0, 1, 3]))]);
        let data = whole(read(&[("a.npz", file)], "a.npz", Options::default()).unwrap());
        prop_assert_eq!(&data.x, &Values::Floats(x.iter().map(|&v| v as f32).collect()));
        prop_assert_eq!((labels(&data), data.classes()), ([3, 0, 1, 3].as_slice(), Some(4)));
    }

    #[test]
    fn svmlight_round_trip(rows in vec((-9i32..9, vec((0u32..4, -1e6f64..1e6), 0..6)), 1..12), from in 0u32..2) {
        // Steps to the next index and values; column `from` occurs, so that the first index is known.
        let mut text = format!("0 qid:7 {from}:1 # first\n\n");
        let mut whole = Svmlight { labels: vec![0.], indptr: vec![0, 1], indices: vec![0], values: vec![1.], columns: 1 };
        for (label, steps) in &rows {
            let mut index = 0;
            text += &format!("{label:+}.0");
            for (step, value) in steps {
                index += step + 1;
                text += &format!(" {}:{value:e}", index + from);
                whole.indices.push(index);
                whole.values.push(*value);
                whole.columns = whole.columns.max(index as usize + 1);
            }
            text += "\r\n";
            whole.labels.push(f64::from(*label));
            whole.indptr.push(whole.indices.len());
        }
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("a.svm.bz2"), folder.path().join("b.svm.gz")];
        fs::write(&files[0], bzip2(text.as_bytes())).unwrap();
        fs::write(&files[1], gzip(format!("2 {}:5\n", 9 + from).as_bytes())).unwrap();
        if from == 1 { // alone, the second file is no different
            let [alone] = read_svmlight([&files[1]]).unwrap();
            prop_assert_eq!((alone.columns, alone.indices), (10, vec![9]));
        }
        let [first, second] = read_svmlight(files).unwrap();
        whole.columns = whole.columns.max(10);
        prop_assert_eq!((second.columns, second.indices, second.labels), (whole.columns, vec![9], vec![2.]));
        prop_assert_eq!(first, whole);
    }

    #[test]
    fn text_round_trip(text in "\\PC{2,200}") {
        let (train, test) = texts(read(&[("t.txt", text.clone().into())], "t.txt", Options::default()).unwrap());
        prop_assert_eq!(train.tokens.len(), text.chars().count() * 9 / 10);
        prop_assert_eq!(train.decode(&train.tokens) + &test.decode(&test.tokens), text.clone());
        prop_assert_eq!(train.encode(&text).unwrap(), [train.tokens, test.tokens].concat());
        prop_assert!(train.vocabulary.is_sorted());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_bytes_panic(noise in vec(any::<u8>(), 0..200), at in 0usize..400, text in "[a-c0-9.,\"\n\r -]{0,80}") {
        let mut csv = b"a,y\n".to_vec();
        csv.extend(text.as_bytes());
        let x = npz(&[("x", doubles(&[2, 2], &[1., 2., 3., 4.])), ("y", longs(&[0, 1]))]);
        let starts: [(&str, Vec<u8>); 8] = [
            ("train-images-idx3-ubyte", idx(&[2, 2, 2], &[0; 8])),
            ("c.bin", cifar(1, 9)),
            ("t.csv", csv),
            ("a.npz", x),
            ("x.npy", doubles(&[2, 2], &[1., 2., 3., 4.])),
            ("t.txt", text.into_bytes()),
            ("t.txt.gz", gzip(b"packed text")),
            ("t.txt.bz2", bzip2(b"packed text")),
        ];
        let labels = ("train-labels-idx1-ubyte", idx(&[2], &[0, 1]));
        for (name, good) in starts {
            let cut = at.min(good.len());
            let overwritten: Vec<u8> =
                [&good[..cut], &noise, good.get(cut + noise.len()..).unwrap_or(&[])].concat();
            for bytes in [noise.clone(), good[..cut].to_vec(), overwritten] {
                // Either outcome is right; a panic is not.
                let _ = read(&[(name, bytes.clone()), labels.clone()], name, Options::default());
            }
        }
    }
}

#[test]
fn csv_targets_are_classes_words_or_numbers() {
    let words = csv_of("x,Class\n1,cat\n2,ape\n3,cat\n");
    assert_eq!(
        (labels(&words), names(&words)),
        ([1, 0, 1].as_slice(), ["ape", "cat"].map(String::from).as_slice())
    );
    for (cells, values) in
        [("1.5 2 -3", [1.5, 2., -3.]), ("-1 0 1", [-1., 0., 1.]), ("1 2 70000", [1., 2., 7e4])]
    {
        let rows: String = cells.split(' ').map(|c| format!("0,{c}\n")).collect();
        let data = csv_of(&format!("x,y\n{rows}"));
        assert_eq!(data.targets, Targets::Values { values: values.to_vec(), width: 1 });
        assert_eq!((data.classes(), data.len()), (None, 3));
    }
}

#[test]
fn codings_of_labels() {
    let of = |cells: &str, task| {
        let rows: String = cells.split(' ').map(|c| format!("0,{c}\n")).collect();
        let file = [("t.csv", format!("x,y\n{rows}").into_bytes())];
        whole(read(&file, "t.csv", Options { task, ..Options::default() }).unwrap()).targets
    };
    let classes = |labels: &[u32], names: &[&str]| Targets::Classes {
        labels: labels.to_vec(),
        names: names.iter().map(ToString::to_string).collect(),
    };
    // 1 to 4 are four classes, -1 and 1 two, 0.0 and 1.0 are 0 and 1, a class that is left out stays.
    assert_eq!(of("1 2 3 4", Task::Auto), classes(&[0, 1, 2, 3], &["1", "2", "3", "4"]));
    assert_eq!(of("1 -1 1", Task::Auto), classes(&[1, 0, 1], &["-1", "1"]));
    assert_eq!(of("0.0 1.0 1.0 0.0", Task::Auto), classes(&[0, 1, 1, 0], &["0", "1"]));
    assert_eq!(of("0 1 3", Task::Auto), classes(&[0, 1, 3], &["0", "1", "2", "3"]));
    assert_eq!(of("0 255 0", Task::Auto), classes(&[0, 1, 0], &["0", "255"]));
    assert_eq!(of("-5 70000 -5 70000", Task::Auto), classes(&[0, 1, 0, 1], &["-5", "70000"]));
    assert_eq!(of("True False True", Task::Auto), classes(&[1, 0, 1], &["False", "True"]));
    assert_eq!(of("none mild none", Task::Auto), classes(&[1, 0, 1], &["mild", "none"]));
    assert_eq!(of("0.5 1.5 0.5", Task::Classification), classes(&[0, 1, 0], &["0.5", "1.5"]));
    assert_eq!(of("1 2 1", Task::Regression), Targets::Values { values: vec![1., 2., 1.], width: 1 });

    // One-hot rows; a word array; both parts by one map.
    let x = doubles(&[3, 1], &[1., 2., 3.]);
    let one_hot = doubles(&[3, 2], &[0., 1., 1., 0., 0., 1.]);
    let words =
        npy("<U1", false, &[3], &"bab".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect::<Vec<_>>());
    let of = |arrays: &[(&str, Vec<u8>)]| {
        let (train, test, _) = parts(read(&[("a.npz", npz(arrays))], "a.npz", Options::default()).unwrap());
        (train.targets, test.targets)
    };
    let both = of(&[("x", x.clone()), ("y", one_hot.clone()), ("x_test", x.clone()), ("y_test", one_hot)]);
    assert_eq!(both.0, classes(&[1, 0, 1], &["0", "1"]));
    let both = of(&[("x", x.clone()), ("y", words.clone()), ("x_test", x.clone()), ("y_test", words)]);
    assert_eq!(both, (classes(&[1, 0, 1], &["a", "b"]), classes(&[1, 0, 1], &["a", "b"])));
    let both =
        of(&[("x", x.clone()), ("y", longs(&[1, 2, 1])), ("x_test", x), ("y_test", longs(&[2, 2, 3]))]);
    assert_eq!(both, (classes(&[0, 1, 0], &["1", "2", "3"]), classes(&[1, 1, 2], &["1", "2", "3"])));
}

#[test]
fn a_named_label_and_a_test_file_are_used() {
    let files = [
        ("t.csv", b"p,x,y\n1,5,a\n2,6,b\n".to_vec()),
        ("u.csv.gz", gzip(b"\xef\xbb\xbfp,x,y\n7,8,b\n")),
        ("v.csv", b"p,x,y\n7,8,2\n".to_vec()),
    ];
    let (train, test, origin) = parts(
        read(&files, "t.csv", Options { test: Some("u.csv.gz".into()), label: None, ..Options::default() })
            .unwrap(),
    );
    assert_eq!((train.len(), labels(&test), names(&test)), (2, [1].as_slice(), names(&train)));
    assert_eq!((&test.x, origin), (&Values::Floats(vec![7., 8.]), Origin::Given));
    let by_name = Options { test: None, label: Some("p".into()), ..Options::default() };
    let files = [("t.csv", b"p,x,z\n1,5,9\n2,6,10\n".to_vec())];
    let data = whole(read(&files, "t.csv", by_name).unwrap());
    assert_eq!((labels(&data), names(&data)), ([0, 1].as_slice(), ["1", "2"].map(String::from).as_slice()));
    assert_eq!(data.x, Values::Floats(vec![5., 9., 6., 10.]));
}

#[test]
fn folders_give_their_test_files() {
    let mnist = [
        ("train-images-idx3-ubyte.gz", gzip(&idx(&[3, 1, 2], &[1, 2, 3, 4, 5, 6]))),
        ("train-labels-idx1-ubyte.gz", gzip(&idx(&[3], &[0, 1, 0]))),
        ("t10k-images-idx3-ubyte", idx(&[1, 1, 2], &[7, 8])),
        ("t10k-labels-idx1-ubyte", idx(&[1], &[4])),
        ("README.txt", b"notes".to_vec()),
    ];
    for name in ["", "train-images-idx3-ubyte.gz"] {
        let (train, test, origin) = parts(read(&mnist, name, Options::default()).unwrap());
        assert_eq!((train.len(), labels(&test), origin), (3, [4].as_slice(), Origin::Given));
        assert_eq!((train.classes(), test.classes()), (Some(5), Some(5)));
    }
    let cifar_files = [
        ("data_batch_1.bin", cifar(2, 1)),
        ("data_batch_2.bin", cifar(1, 2)),
        ("test_batch.bin", cifar(1, 3)),
        ("batches.meta.txt", b"airplane\n".to_vec()),
    ];
    let (train, test, origin) = parts(read(&cifar_files, "", Options::default()).unwrap());
    assert_eq!((train.len(), test.len(), origin), (3, 1, Origin::Given));
    assert_eq!(train.x, Values::Bytes([vec![1; 2 * 3072], vec![2; 3072]].concat()));
    assert_eq!(names(&train)[3], "cat");
    let named = Options { test: Some("data_batch_2.bin".into()), label: None, ..Options::default() };
    let (train, test, _) = parts(read(&cifar_files, "", named).unwrap());
    assert_eq!((train.len(), test.x), (2, Values::Bytes(vec![2; 3072])));
}

#[test]
fn cifar_100_shows_in_the_size() {
    let mut image = vec![7; 3074];
    image[1] = 99;
    let data = whole(read(&[("train.bin", image.repeat(2))], "train.bin", Options::default()).unwrap());
    assert_eq!((labels(&data), data.classes()), ([99, 99].as_slice(), Some(100)));
}

#[test]
fn packed_files_may_be_of_several_streams() {
    for (name, packed) in [
        ("t.txt.gz", [gzip(b"one "), gzip(b"and two")].concat()),
        ("t.txt.bz2", [bzip2(b"one "), bzip2(b"and two")].concat()),
    ] {
        for named in [name, ""] {
            // In a folder the plain file goes first.
            let files = [(name, packed.clone())];
            let (train, test) = texts(read(&files, named, Options::default()).unwrap());
            assert_eq!(train.decode(&train.tokens) + &test.decode(&test.tokens), "one and two");
        }
        let both = [("t.txt", b"plain".to_vec()), (name, packed)];
        let (train, _) = texts(read(&both, "", Options::default()).unwrap());
        assert_eq!(train.decode(&train.tokens), "plai");
    }
    // No stream, whatever its first bytes say.
    let (train, _) = texts(read(&[("t.txt", b"BZh9 a text".to_vec())], "t.txt", Options::default()).unwrap());
    assert_eq!(train.decode(&train.tokens), "BZh9 a te");
}

#[test]
fn splits_are_read_by_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.csv.gz");
    fs::write(
        &file,
        gzip(b"part,index,given_label,note,clean_label\ntrain,4,1,,0\nval,2,3,,3\ntrain,0,5,,5\n"),
    )
    .unwrap();
    let split = read_split(&file).unwrap();
    let (index, part) = (vec![4, 2, 0], vec![Part::Train, Part::Val, Part::Train]);
    assert_eq!(split, Split { index, part, clean: vec![0, 3, 5], given: vec![1, 3, 5] });
    assert_eq!(split.of(Part::Train).collect::<Vec<_>>(), [(4, 0, 1), (0, 5, 5)]);
}

#[test]
fn arrays_are_taken_by_name_shape_and_type() {
    let pixels = npy("|u1", false, &[2, 2, 1], &[1, 2, 3, 4]);
    let given = npz(&[
        ("x_train", pixels.clone()),
        ("y_train", longs(&[0, 1])),
        ("x_test", pixels.clone()),
        ("y_test", longs(&[1, 2])),
    ]);
    let (train, test, origin) =
        parts(read(&[("mnist.npz", given)], "mnist.npz", Options::default()).unwrap());
    assert_eq!((&train.shape[..], &train.x), ([2, 1, 1].as_slice(), &Values::Bytes(vec![1, 2, 3, 4])));
    assert_eq!((labels(&test), test.classes(), train.classes()), ([1, 2].as_slice(), Some(3), Some(3)));
    assert_eq!(origin, Origin::Given);

    let files = [("x.npy", pixels.clone()), ("y.npy.gz", gzip(&doubles(&[2, 2], &[0., 1., 2., 3.])))];
    for name in ["x.npy", ""] {
        let data = whole(read(&files, name, Options::default()).unwrap());
        assert_eq!(data.targets, Targets::Values { values: vec![0., 1., 2., 3.], width: 2 });
    }
    let named = Options { test: None, label: Some("age".into()), ..Options::default() };
    let data =
        whole(read(&[("a.npz", npz(&[("X", pixels), ("age", longs(&[-1, 5]))]))], "a.npz", named).unwrap());
    assert_eq!(data.targets, Targets::Values { values: vec![-1., 5.], width: 1 });
}

#[test]
fn a_text_and_its_test_text_share_a_vocabulary() {
    let files = [("a.txt", b"hello".to_vec()), ("b.txt", b"zoo".to_vec())];
    let (train, test) = texts(
        read(&files, "a.txt", Options { test: Some("b.txt".into()), label: None, ..Options::default() })
            .unwrap(),
    );
    assert_eq!(train.vocabulary, ['e', 'h', 'l', 'o', 'z']);
    assert_eq!((train.tokens, test.tokens.clone()), (vec![1, 0, 2, 2, 3], vec![4, 3, 3]));
    assert_eq!(test.decode(&[1, 9]), "h\u{fffd}");
    assert!(test.encode("he!").unwrap_err().to_string().contains("character 2: '!'"));
}

#[test]
fn rows_are_selected_sliced_and_joined() {
    let data = csv_of("a,b,y\n1,2,0\n3,4,1\n5,6,2\n");
    let picked = data.select(&[2, 0, 2]);
    assert_eq!(
        (&picked.x, labels(&picked)),
        (&Values::Floats(vec![5., 6., 1., 2., 5., 6.]), [2, 0, 2].as_slice())
    );
    assert_eq!(data.slice(0..1).concat(&data.slice(1..3)).unwrap(), data);
    assert!(data.slice(1..1).is_empty());
    let other = csv_of("a,y\n1,0\n3,1\n");
    assert!(data.concat(&other).unwrap_err().to_string().contains("shape differ: [2] and [1]"));
}

#[test]
fn the_real_sets_are_read() {
    if shared_data("vision").is_none() {
        return;
    }
    let shared = |name: &str| shared_data(name).unwrap();
    let load = |name: &str| load(shared(name).to_str().unwrap(), &Options::default());
    let mixed = load("vision").unwrap_err().to_string();
    assert!(
        mixed.contains("IDX (") && mixed.contains("CIFAR binary (") && mixed.contains("name the one file")
    );

    let started = std::time::Instant::now();
    let (train, test, _) = parts(load("vision/mnist-train-images-idx3-ubyte.gz").unwrap());
    eprintln!("MNIST read in {:?}", started.elapsed());
    assert_eq!((train.len(), test.len(), &train.shape[..]), (50_000, 10_000, [28, 28, 1].as_slice()));
    assert_eq!(labels(&train)[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    let (train, test, _) = parts(load("vision/cifar10-train-3000.bin.gz").unwrap());
    assert_eq!((train.len(), test.len(), train.classes()), (2500, 500, Some(10)));
    assert_eq!(labels(&train)[..10], [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]);
    let (train, test) = texts(load("text/tinyshakespeare-train.txt.gz").unwrap());
    assert_eq!((train.tokens.len(), test.tokens.len()), (903_468, 100_386));
    assert!(train.decode(&train.tokens[..14]).starts_with("First Citizen:"));

    let bilevel = |name: &str| shared(&format!("bilevel/{name}"));
    let pair = |name: &str| {
        read_svmlight(["train", "test"].map(|part| bilevel(&format!("{name}.{part}.svm.bz2")))).unwrap()
    };
    let started = std::time::Instant::now();
    let [train, test] = pair("ijcnn1");
    eprintln!("ijcnn1 read in {:?}", started.elapsed());
    assert_eq!((train.labels.len(), train.columns, train.values.len()), (49_990, 22, 649_870));
    assert_eq!((test.labels.len(), test.columns, test.values.len()), (91_701, 22, 1_192_113));
    assert_eq!((train.labels[0], &train.indices[..3], train.values[1]), (-1., &[5, 10, 11][..], -0.731854));
    let [train, test] = pair("reuters");
    assert_eq!((train.labels.len(), train.columns, train.values.len()), (7770, 8315, 339_837));
    assert_eq!((test.labels.len(), test.columns, test.values.len()), (3299, 8315, 136_821));
    let split = read_split(&bilevel("hyperclean_mnist10k_p50.csv.gz")).unwrap();
    let counts = [Part::Train, Part::Val, Part::Test].map(|part| split.of(part).count());
    let wrong = split.of(Part::Train).filter(|(_, clean, given)| clean != given).count();
    assert_eq!((counts, wrong), ([5000, 1000, 4000], 2550));

    let (train, _, _) = parts(load("stsl/digits8x8_train.csv.gz").unwrap());
    assert_eq!((train.len(), &train.shape[..], train.classes()), (1080, [64].as_slice(), Some(10)));
}
