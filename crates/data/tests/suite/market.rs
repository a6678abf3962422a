//! MatrixMarket files, packed or not.

use std::fs;

use thalweg_data::{DataError, Market, read_market, vector_text};

use crate::common::{bzip2, gzip};

fn read(name: &str, bytes: &[u8]) -> Result<Market, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, bytes).unwrap();
    read_market(&file)
}

#[test]
fn matrices_and_vectors_are_read() {
    let symmetric =
        b"%%MatrixMarket matrix coordinate real symmetric\n% two\n2 2 3\n1 1 2\n2 1 -1\n\n2 2 2.5\n";
    for bytes in [symmetric.to_vec(), gzip(symmetric), bzip2(symmetric)] {
        let a = read("a.mtx", &bytes).unwrap();
        assert_eq!(a.triplets, [(0, 0, 2.0), (1, 0, -1.0), (0, 1, -1.0), (1, 1, 2.5)]);
        assert_eq!((a.rows, a.columns), (2, 2));
    }
    let pattern = b"%%MatrixMarket matrix coordinate pattern general\n2 2 2\n1 1\n2 2\n";
    assert_eq!(read("a.mtx", pattern).unwrap().triplets, [(0, 0, 1.0), (1, 1, 1.0)]);
    let skew = b"%%MatrixMarket matrix array real skew-symmetric\n3 3\n4\n1\n3\n";
    let skew = read("a.mtx", skew).unwrap().triplets;
    assert_eq!(skew, [(1, 0, 4.), (0, 1, -4.), (2, 0, 1.), (0, 2, -1.), (2, 1, 3.), (1, 2, -3.)]);
    let dense = b"%%MatrixMarket matrix array real symmetric\n2 2\n4\n1\n3\n";
    assert_eq!(read("a.mtx", dense).unwrap().triplets[2], (0, 1, 1.0));
    let vector = |bytes: &[u8]| read("b.mtx", bytes).unwrap().into_vector("b.mtx".as_ref());
    let array = b"%%MatrixMarket matrix array real general\n3 1\n1\n-2e-1\n3\n";
    assert_eq!(vector(array).unwrap(), [1.0, -0.2, 3.0]);
    let sparse = b"%%MatrixMarket matrix coordinate real general\n3 1 1\n2 1 7\n";
    assert_eq!(vector(sparse).unwrap(), [0.0, 7.0, 0.0]);
    let x = [1e-300, -0.1, 7.0];
    assert_eq!(vector(vector_text(&x).as_bytes()).unwrap(), x);
    let long = b"%%MatrixMarket matrix coordinate real general\n3000000000 1 1\n2 1 7\n";
    assert!(
        read("b.mtx", long).unwrap_err().to_string().contains("3000000000 rows and 1 columns with 1 entries")
    );
    let alone = Market { rows: 3_000_000_000, columns: 1, triplets: vec![(1, 0, 7.0)] };
    assert!(
        alone.into_vector("b.mtx".as_ref()).unwrap_err().to_string().contains("3000000000 rows of which 1")
    );
    assert!(vector(dense).unwrap_err().to_string().contains("2 columns"));
}

#[test]
fn faults_are_named_by_line() {
    for (text, line, word) in [
        ("1 1 1\n", 1, "header"),
        ("%%MatrixMarket matrix coordinate complex general\n1 1 1\n", 1, "complex"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 x 3\n", 3, "\"x\""),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n%\n3 1 3\n", 4, "outside"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 3\n", 3, "promises"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 nan\n", 3, "finite"),
        ("%%MatrixMarket matrix coordinate real symmetric\n2 3 1\n1 1 1\n", 2, "square"),
        ("%%MatrixMarket matrix array real symmetric\n3000000000 3000000000\n1\n", 3, "promises"),
    ] {
        let Err(DataError::Market { line: at, what, .. }) = read("a.mtx", text.as_bytes()) else {
            panic!("{text:?} is read")
        };
        assert!(at == line && what.contains(word), "line {at}: {what}");
    }
}
