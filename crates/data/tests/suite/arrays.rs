//! Every type of array is read, and refused by name where it cannot be.

use std::fs;
use std::path::{Path, PathBuf};

use thalweg_data::{Array, Arrays, DataError, Elements, npy, npz, read_bytes, read_text};

use crate::common;

fn with<T>(name: &str, bytes: &[u8], read: impl FnOnce(PathBuf) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, bytes).unwrap();
    read(file)
}

fn array(bytes: &[u8]) -> Result<Array, DataError> {
    with("x.npy", bytes, |file| Arrays::open(&file)?.take("x"))
}

fn elements(descr: &str, count: usize, data: &[u8]) -> Elements {
    array(&common::npy(descr, false, &[count], data)).unwrap().elements
}

/// Bytes of numbers in the order of the type.
macro_rules! both {
    ($code:literal, $type:ty, $values:expr, $expected:expr) => {
        let values: Vec<$type> = $values;
        let little: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let big: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
        assert_eq!(elements(concat!("<", $code), values.len(), &little), $expected);
        assert_eq!(elements(concat!(">", $code), values.len(), &big), $expected);
    };
}

#[test]
fn every_type_in_both_byte_orders() {
    assert_eq!(elements("|b1", 3, &[0, 1, 1]), Elements::Bools(vec![false, true, true]));
    assert_eq!(elements("|u1", 2, &[0, 255]), Elements::Bytes(vec![0, 255]));
    assert_eq!(elements("|i1", 2, &[1, 255]), Elements::Whole(vec![1, -1]));
    both!("i2", i16, vec![-2, 300], Elements::Whole(vec![-2, 300]));
    both!("u2", u16, vec![2, 65535], Elements::Whole(vec![2, 65535]));
    both!("i4", i32, vec![-2, 70000], Elements::Whole(vec![-2, 70000]));
    both!("u4", u32, vec![2, u32::MAX], Elements::Whole(vec![2, u32::MAX.into()]));
    both!("i8", i64, vec![i64::MIN, 7], Elements::Whole(vec![i64::MIN, 7]));
    both!("u8", u64, vec![2, 7], Elements::Whole(vec![2, 7]));
    both!("u8", u64, vec![2, u64::MAX], Elements::Doubles(vec![2.0, u64::MAX as f64]));
    both!("f4", f32, vec![0.1, -3e30], Elements::Singles(vec![0.1, -3e30]));
    both!("f8", f64, vec![0.1, 1e300], Elements::Doubles(vec![0.1, 1e300]));
    // 1, −2, the least, 0.1 in half precision
    both!(
        "f2",
        u16,
        vec![0x3c00, 0xc000, 1, 0x2e66],
        Elements::Singles(vec![1.0, -2.0, 2f32.powi(-24), 0.099_975_586])
    );
    let units = |bytes: fn(u32) -> [u8; 4]| -> Vec<u8> {
        "caté\0\0".chars().flat_map(|c| bytes(c.into())).collect()
    };
    let words = Elements::Words(vec!["cat".into(), "é".into()]);
    assert_eq!(elements("<U3", 2, &units(u32::to_le_bytes)), words);
    assert_eq!(elements(">U3", 2, &units(u32::to_be_bytes)), words);
    assert_eq!(elements("|S3", 2, b"catab\0"), Elements::Words(vec!["cat".into(), "ab".into()]));
}

#[test]
fn orders_versions_and_empty_shapes() {
    let fortran = common::npy("|u1", true, &[2, 3], &[1, 4, 2, 5, 3, 6]);
    assert_eq!(array(&fortran).unwrap().elements, Elements::Bytes(vec![1, 2, 3, 4, 5, 6]));
    let words = common::npy("|S1", true, &[2, 2], b"acbd");
    assert_eq!(array(&words).unwrap().into_words().unwrap(), ["a", "b", "c", "d"]);
    assert_eq!(array(&common::npy("<f8", true, &[0, 1 << 40], &[])).unwrap().into_f64().unwrap(), [0.0; 0]);
    // Version 2 has a longer length.
    let one = common::npy("|u1", false, &[1], &[7]);
    let mut two = one[..6].to_vec();
    two.extend([2, 0, one[8], one[9], 0, 0]);
    two.extend(&one[10..]);
    assert_eq!(array(&two).unwrap().into_i64().unwrap(), [7]);
}

#[test]
fn what_is_no_number_is_refused_by_name() {
    for (descr, clues) in [
        ("<c16", &["complex", "<c16", "real and imaginary"][..]),
        ("|O", &["objects", "pickled"]),
        ("<M8[ns]", &["dates", "<M8[ns]"]),
        ("|V8", &["records", "field"]),
        ("<f16", &["<f16", "float64"]),
        ("<U0", &["empty"]),
        ("<i3", &["<i3"]),
    ] {
        let message = array(&common::npy(descr, false, &[1], &[0; 16])).unwrap_err().to_string();
        assert!(clues.iter().all(|c| message.contains(c)) && message.contains("\"x\""), "{descr}: {message}");
    }
    let header = "{'descr': [('a', '<f4'), ('b', '<i8')], 'fortran_order': False, 'shape': (1,), }\n";
    let mut records = b"\x93NUMPY\x01\x00".to_vec();
    records.extend((header.len() as u16).to_le_bytes());
    records.extend(header.as_bytes());
    assert!(array(&records).unwrap_err().to_string().contains("structured records"));
    let lone = common::npy("<U1", false, &[1], &0xd800u32.to_le_bytes());
    assert!(array(&lone).unwrap_err().to_string().contains("no text"));
}

#[test]
fn conversions_refuse_what_they_would_change() {
    let doubles = |v: &[f64]| array(&common::doubles(&[v.len()], v)).unwrap();
    assert_eq!(doubles(&[1.0, -3.0]).into_i64().unwrap(), [1, -3]);
    assert!(doubles(&[1.0, 0.5]).into_i64().unwrap_err().to_string().contains("element 1 is 0.5"));
    assert!(doubles(&[f64::NAN]).into_f64().unwrap_err().to_string().contains("element 0 is NaN"));
    assert!(doubles(&[f64::NAN]).into_f64_or_nan().unwrap()[0].is_nan());
    assert!(doubles(&[1e300]).into_f32().unwrap_err().to_string().contains("element 0 is inf"));
    assert!(
        doubles(&[1.0]).axes::<2>("a matrix").unwrap_err().to_string().contains("shape [1]; save a matrix")
    );
    let words = || array(&common::npy("|S1", false, &[1], b"a")).unwrap();
    assert!(words().into_f64().unwrap_err().to_string().contains("words where numbers"));
    assert!(doubles(&[1.0]).into_words().unwrap_err().to_string().contains("numbers where words"));
}

#[test]
fn what_is_written_is_read_back() {
    let bits = [true, false, true, true, false, false];
    let archive = npz([
        ("W1", npy(&[2, 3], [1.5f64, -2.0, 0.1, 1e-300, 4.0, 5.0])),
        ("mask", npy(&[6], bits)),
        ("n", npy(&[], [7i64])),
        ("half", npy(&[2], [0.25f32, 1e-40])),
    ]);
    with("w.npz", &archive, |file| {
        let mut arrays = Arrays::open(&file).unwrap();
        assert_eq!(arrays.names(), ["W1", "mask", "n", "half"]);
        let w = arrays.take("W1").unwrap();
        assert_eq!(w.axes::<2>("a matrix").unwrap(), [2, 3]);
        assert_eq!(w.into_f64().unwrap(), [1.5, -2.0, 0.1, 1e-300, 4.0, 5.0]);
        assert_eq!(arrays.take("mask").unwrap().elements, Elements::Bools(bits.to_vec()));
        assert_eq!(arrays.take("n").unwrap().into_i64().unwrap(), [7]);
        assert_eq!(arrays.take("half").unwrap().into_f32().unwrap(), [0.25, 1e-40]);
        assert!(arrays.take_if_there("b1").unwrap().is_none());
        assert!(arrays.take("b1").unwrap_err().to_string().contains("holds: W1, mask, n, half"));
        arrays.finish(0).unwrap();
    });
    // The numbers start at a multiple of 64 bytes.
    assert_eq!(npy(&[1], [1u8]).len(), 129);
}

#[test]
fn an_archive_of_tables_is_said_to_be_one() {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("t.csv", zip::write::SimpleFileOptions::default()).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    with("t.csv.zip", &bytes, |file| {
        let message = Arrays::open(&file).err().unwrap().to_string();
        assert!(message.contains("t.csv; unpack it"), "{message}");
    });
}

#[test]
fn xz_is_seen_through() {
    // `printf 'some text to pack' | xz`
    let packed = "fd377a585a000004e6d6b4460200210116000000742fe5a3010010736f6d65207465787420746f207061636b00000000779f\
                  2129a118f0ff00012911320a700e1fb6f37d010000000004595a";
    let digit = |i: usize| u8::from_str_radix(&packed[i..i + 2], 16).unwrap();
    let packed: Vec<u8> = (0..packed.len()).step_by(2).map(digit).collect();
    with("t.txt.xz", &packed, |file| {
        assert_eq!(read_text(&file).unwrap(), "some text to pack");
        assert_eq!(read_bytes(&file).unwrap().len(), 17);
    });
    with("t.txt.xz", &packed[..40], |file: PathBuf| {
        assert!(read_text(Path::new(&file)).unwrap_err().to_string().contains("damaged xz"));
    });
}

#[test]
fn utf_16_is_read() {
    let text: Vec<u8> = "\u{feff}é,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    with("t.csv", &text, |file| assert_eq!(read_text(&file).unwrap(), "é,b\n"));
}
