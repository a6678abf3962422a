//! Every malformed input is refused with a message that names the file and the fault.

use std::fs;
use std::path::Path;
use thalweg_data::{DataError, Options, load, read_split, read_svmlight};

use crate::common::{bzip2, cifar, doubles, gzip, idx, longs, npy, npz};

struct Case {
    /// Files to write.
    files: Vec<(&'static str, Vec<u8>)>,
    /// What to load, in the folder of the files; empty for the folder itself.
    load: &'static str,
    test: Option<&'static str>,
    label: Option<&'static str>,
    /// The name and the other words that the message must have.
    clues: &'static [&'static str],
}

fn case(files: &[(&'static str, Vec<u8>)], load: &'static str, clues: &'static [&'static str]) -> Case {
    Case { files: files.to_vec(), load, test: None, label: None, clues }
}

fn csv(text: &str, clues: &'static [&'static str]) -> Case {
    case(&[("t.csv", text.into())], "t.csv", clues)
}

fn images(bytes: Vec<u8>, labels: Vec<u8>, clues: &'static [&'static str]) -> Case {
    let files = [("train-images-idx3-ubyte", bytes), ("train-labels-idx1-ubyte", labels)];
    case(&files, "train-images-idx3-ubyte", clues)
}

fn arrays(arrays: &[(&str, Vec<u8>)], clues: &'static [&'static str]) -> Case {
    case(&[("a.npz", npz(arrays))], "a.npz", clues)
}

fn cases() -> Vec<Case> {
    let good = || idx(&[2, 2, 2], &[7; 8]);
    let labels = || idx(&[2], &[0, 1]);
    let (x, y) = (|| doubles(&[2, 1], &[1., 2.]), || longs(&[0, 1]));
    let mut bad_label = cifar(2, 0);
    bad_label[3073] = 10;
    let mut zipped = gzip(b"some text to pack");
    zipped.truncate(15);
    let mut checksum = gzip(b"some text to pack");
    *checksum.iter_mut().nth_back(5).unwrap() ^= 1;
    let mut cut = bzip2(b"some text to pack");
    cut.truncate(30);
    let mut flipped = bzip2(b"some text to pack");
    flipped[12] ^= 1; // in the checksum of the block
    let mut archive = npz(&[("x", x()), ("y", y())]);
    archive.truncate(archive.len() / 2);
    let mut huge = idx(&[u32::MAX, u32::MAX, u32::MAX], &[1; 8]);
    huge.truncate(24);
    let text = |b: &[u8]| [("t.txt", b.to_vec())];

    vec![
        // paths and kinds
        case(&[], "absent.csv", &["absent.csv", "cannot be read", "check the path"]),
        case(&[], "", &["no data", "nothing", "pass a folder with"]),
        case(&[("notes.md", b"# x".into())], "", &["no data", "notes.md"]),
        case(
            &[("a.csv", b"x,y\n1,0\n".into()), ("b.txt", b"hello".into())],
            "",
            &["more than one kind", "CSV (a.csv)", "text (b.txt)"],
        ),
        case(
            &[("a.csv", b"x,y\n1,0\n".into()), ("b.csv", b"x,y\n1,0\n".into())],
            "",
            &["several files", "a.csv, b.csv"],
        ),
        case(
            &[("photo.jpg", b"\xff\xd8\xff\xe0JFIF".into())],
            "photo.jpg",
            &["photo.jpg", "unknown kind", ".npz"],
        ),
        case(&[("empty.csv", vec![])], "empty.csv", &["empty.csv", "no example"]),
        // gzip
        case(&[("t.txt.gz", zipped)], "t.txt.gz", &["t.txt.gz", "damaged gzip"]),
        case(&[("t.txt.gz", checksum)], "t.txt.gz", &["t.txt.gz", "damaged gzip"]),
        case(&[("t.txt.gz", gzip(b""))], "t.txt.gz", &["t.txt.gz", "empty"]),
        // bzip2
        case(&[("t.txt.bz2", cut)], "t.txt.bz2", &["t.txt.bz2", "damaged bzip2", "fetch"]),
        case(&[("t.txt.bz2", flipped)], "t.txt.bz2", &["t.txt.bz2", "damaged bzip2"]),
        case(&[("t.txt.bz2", bzip2(b""))], "t.txt.bz2", &["t.txt.bz2", "empty"]),
        // IDX
        images(good()[..20].to_vec(), labels(), &["train-images", "byte 16", "promises 8 bytes", "has 4"]),
        images(good()[..10].to_vec(), labels(), &["train-images", "byte 0", "has 10"]),
        images([good(), vec![0]].concat(), labels(), &["train-images", "promises 8 bytes", "has 9"]),
        images(huge, labels(), &["train-images", "79228162458924105385300197375 bytes", "has 8"]),
        images(b"\x7fELF0123".into(), labels(), &["train-images", "7f, 45, 4c, 46", "00 00 08"]),
        images(labels(), labels(), &["train-images", "byte 3", "1 dimensions where 3"]),
        images(good(), good(), &["train-labels", "3 dimensions where 1"]),
        images(good(), idx(&[3], &[0, 1, 2]), &["train-labels", "3 labels for 2 examples"]),
        images(idx(&[0, 2, 2], &[]), idx(&[0], &[]), &["train-images", "empty"]),
        images(idx(&[1, 2, 2], &[0; 4]), idx(&[1], &[0]), &["train-images", "only one example"]),
        case(
            &[("train-images-idx3-ubyte", good())],
            "",
            &["train-images", "no labels", "train-labels-idx1-ubyte"],
        ),
        case(&[("train-labels-idx1-ubyte", labels())], "", &["no data", "IDX without inputs"]),
        // CIFAR
        case(
            &[("c.bin", cifar(2, 0)[..6000].to_vec())],
            "c.bin",
            &["c.bin", "3073", "2927 are left over at byte 3073"],
        ),
        case(&[("c.bin", bad_label)], "c.bin", &["c.bin", "byte 3073", "label 10", "0 to 9"]),
        case(
            &[("data_batch_1.bin", cifar(2, 0)), ("test_batch.bin", vec![0; 3074])],
            "",
            &["test_batch.bin", "class \"0\"", "not occur in the training file"],
        ),
        // CSV
        csv("a,y\n1,0\nnan,1\n", &["t.csv", "line 3", "\"a\"", "\"nan\"", "finite"]),
        csv("a,y\n1,0\ninf,1\n", &["line 3", "\"inf\""]),
        csv("a,y\n1e99,0\n1,1\n", &["line 2", "\"1e99\""]),
        csv("a,y\n1,0\n,1\n", &["line 3", "\"a\"", "\"\" is not a finite number"]),
        csv("a,\"b\nc\",y\n1,2,0\n1,oops,1\n", &["line 4", "\"oops\""]),
        csv("a,y\n1,0\n1,2,3\n", &["t.csv", "line 3", "3 cells where the header has 2"]),
        csv("a,b\n1,0\n2,1\n", &["t.csv", "label/target/y/class", "a, b"]),
        Case { label: Some("z"), ..csv("a,y\n1,0\n2,1\n", &["t.csv", "no column \"z\"", "a, y"]) },
        csv("a,a,y\n1,1,0\n", &["t.csv", "\"a\" occurs twice"]),
        csv("1,2,0\n3,4,1\n", &["t.csv", "header line is missing"]),
        csv("a,y\n", &["t.csv", "empty"]),
        csv("\n\n", &["t.csv", "empty"]),
        csv("y\n1\n", &["t.csv", "no inputs"]),
        csv("a,y\n1,cat\n2,\n", &["line 3", "\"y\"", "not a label"]),
        csv("a,y\n1,1.5\n2,nan\n", &["line 3", "\"y\"", "\"nan\""]),
        csv("a,y\n1,1.5\n2,cat\n", &["line 3", "\"cat\"", "not a number"]),
        csv("a,y\n1,0\n", &["t.csv", "only one example"]),
        case(&[("t.csv", b"a,y\n1,0\n\xff,1\n".into())], "t.csv", &["t.csv", "line 3", "byte 8", "UTF-8"]),
        Case {
            test: Some("u.csv"),
            ..case(
                &[("t.csv", b"a,b,y\n1,2,0\n3,4,1\n".into()), ("u.csv", b"b,c,y\n1,2,0\n".into())],
                "t.csv",
                &["u.csv", "columns b, c", "a, b"],
            )
        },
        Case {
            test: Some("u.csv"),
            ..case(
                &[("t.csv", b"a,y\n1,cat\n3,dog\n".into()), ("u.csv", b"a,y\n1,cow\n".into())],
                "t.csv",
                &["u.csv", "\"cow\"", "training"],
            )
        },
        Case { test: Some("absent.csv"), ..csv("a,y\n1,0\n3,1\n", &["absent.csv", "cannot be read"]) },
        // text
        case(&text(b"ab\nc\xc3("), "t.txt", &["t.txt", "line 2", "byte 4", "UTF-8"]),
        case(&text(b"a"), "t.txt", &["t.txt", "only one example"]),
        Case { label: Some("y"), ..case(&text(b"abc"), "t.txt", &["t.txt", "option `label`", "text"]) },
        // npz, npy
        case(&[("a.npz", archive)], "a.npz", &["a.npz", "damaged npz"]),
        arrays(&[("y", y())], &["a.npz", "no array x/X", "holds: y"]),
        arrays(&[("x", x()), ("z", y())], &["a.npz", "no array y/Y", "holds: x, z"]),
        arrays(&[("x", x()), ("y", longs(&[0, 1, 2]))], &["a.npz", "\"y\"", "3 rows for 2"]),
        arrays(&[("x", longs(&[1, 2])), ("y", y())], &["a.npz", "\"x\"", "shape [2]", "(n, d)"]),
        arrays(&[("x", x()), ("y", doubles(&[2, 1, 1], &[0., 1.]))], &["\"y\"", "shape [2, 1, 1]"]),
        arrays(&[("x", doubles(&[2, 1], &[1., f64::NAN])), ("y", y())], &["\"x\"", "element 1 is NaN"]),
        arrays(&[("x", npy("<c16", false, &[1, 1], &[0; 16])), ("y", y())], &["\"x\"", "<c16", "float32"]),
        arrays(
            &[("x", npy("<f8", false, &[1 << 40, 1 << 40], &[0; 16])), ("y", y())],
            &["\"x\"", "bytes, the file has 16"],
        ),
        arrays(
            &[("x", npy("<f8", false, &[usize::MAX, 9], &[0; 16])), ("y", y())],
            &["\"x\"", "the file has 16"],
        ),
        arrays(&[("x", b"\x93NUMPY\x01\x00\xff\xff{".to_vec()), ("y", y())], &["\"x\"", "header is cut off"]),
        arrays(&[("x", b"hello".to_vec()), ("y", y())], &["\"x\"", "not in npy format"]),
        arrays(&[("x", doubles(&[0, 1], &[])), ("y", longs(&[]))], &["a.npz", "empty"]),
        case(&[("x.npy", x())], "x.npy", &["x.npy", "no array y/Y", "holds: x"]),
    ]
}

#[test]
fn malformed_inputs_are_refused_by_name_and_fault() {
    let cases = cases();
    assert!(cases.len() >= 25);
    let mut faults = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &case.files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let options = Options {
            test: case.test.map(|t| folder.path().join(t)),
            label: case.label.map(Into::into),
            ..Options::default()
        };
        let path = folder.path().join(case.load);
        let message = match load(path.to_str().unwrap(), &options) {
            Err(error) => error.to_string(),
            Ok(loaded) => format!("none, read was {}", loaded.description),
        };
        let place = folder.path().to_str().unwrap();
        let said = message.starts_with(place) && case.clues.iter().all(|clue| message.contains(clue));
        if !said || message.contains('\n') {
            faults.push(format!("case {i}: {:?} not in: {message}", case.clues));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Each text is refused by `read` with these words.
fn refused<T>(read: impl Fn(&Path) -> Result<T, DataError>, cases: &[(&str, &[&str])]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows");
    for (text, clues) in cases {
        fs::write(&file, text).unwrap();
        let Err(error) = read(&file) else { panic!("read: {text:?}") };
        let message = error.to_string();
        let named = message.starts_with(file.to_str().unwrap()) && !message.contains('\n');
        assert!(named && clues.iter().all(|c| message.contains(c)), "{text:?}: {message}");
    }
}

#[test]
fn malformed_svmlight_is_refused_by_line_and_fault() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["empty"]),
        ("# nothing\n\n", &["empty"]),
        ("1 1:2\nspam 1:2\n", &["line 2", "\"spam\"", "label"]),
        ("nan 1:2\n", &["line 1", "\"nan\"", "finite"]),
        ("1 1:2\n\n1,2 1:2\n", &["line 3", "\"1,2\""]),
        ("1 1:2 2\n", &["line 1", "\"2\"", "index:value"]),
        ("1 -1:2\n", &["line 1", "\"-1:2\"", "whole number ≥ 0"]),
        ("1 1:inf\n", &["line 1", "\"1:inf\""]),
        ("1 1:\n", &["line 1", "\"1:\""]),
        ("1 1:2:3\n", &["\"1:2:3\""]),
        ("1 9999999999:2\n", &["\"9999999999:2\""]),
        ("1 1:2\n-1 3:1 2:1\n", &["line 2", "index 2 after 3", "sort the row"]),
        ("1 3:1 3:1\n", &["line 1", "index 3 after 3", "once"]),
        ("1 1:1\n2 1:1 4294967295:1\n", &["line 2", "index 4294967295", "3 entries"]),
        ("1 0:1 4294967295:1\n", &["line 1", "index 4294967295", "2 entries"]),
    ];
    refused(|file| read_svmlight([file]), cases);
}

#[test]
fn malformed_splits_are_refused_by_line_and_fault() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["empty"]),
        ("index,part,clean_label,given_label\n", &["empty"]),
        ("index,part,clean_label\n0,val,1\n", &["line 1", "\"given_label\"", "index, part, clean_label"]),
        ("index,part,clean_label,given_label\n0,dev,1,1\n", &["line 2", "\"dev\"", "train, val or test"]),
        ("index,part,clean_label,given_label\n-1,val,1,1\n", &["\"-1\"", "\"index\""]),
        ("index,part,clean_label,given_label\n0,val,1,x\n", &["\"x\"", "\"given_label\"", "class"]),
        ("index,part,clean_label,given_label\n0,val,1\n", &["line 2", "3 cells where the header has 4"]),
    ];
    refused(read_split, cases);
}

#[test]
fn digits_take_no_options() {
    let options = Options { label: Some("y".into()), ..Options::default() };
    assert!(load("digits", &options).unwrap_err().to_string().contains("option `label`"));
}
