//! Compressed rows against dense matrices.

use thalweg_linalg::sparse::Csr;

#[test]
fn products_are_those_of_the_dense_matrix() {
    let (rows, columns) = (5, 7);
    let entry = |k: usize| if k.is_multiple_of(3) { 0.0 } else { (k as f64).sin() };
    let dense: Vec<f64> = (0..rows * columns).map(entry).collect();
    let sparse = Csr::dense(&dense, columns).unwrap();
    for width in [1, 2, 3, 5, 10, 16, 31] {
        let w: Vec<f64> = (0..columns * width).map(|k| (k as f64).cos()).collect();
        let mut back = vec![1.0; columns * width];
        let mut expected = back.clone();
        for i in 0..rows {
            let mut out = vec![f64::NAN; width];
            sparse.times(i, &w, &mut out);
            for c in 0..width {
                let sum: f64 = (0..columns).map(|j| dense[i * columns + j] * w[j * width + c]).sum();
                assert!((out[c] - sum).abs() < 1e-14);
                (0..columns).for_each(|j| expected[j * width + c] += dense[i * columns + j] * out[c]);
            }
            if width == 1 {
                assert!((sparse.dot(sparse.range(i), &w) - out[0]).abs() < 1e-14);
            }
            sparse.add(i, &out, &mut back);
        }
        assert!(back.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13));
    }
    let some = sparse.select(&[3, 0, 3]);
    assert_eq!((some.rows(), some.row(1), some.row(2)), (3, sparse.row(0), sparse.row(3)));
}

#[test]
fn rows_can_be_filled_one_by_one() {
    let mut grown = Csr::empty(3);
    grown.push(0, 1.0);
    grown.push(2, 2.0);
    grown.end_row();
    grown.end_row();
    grown.push(1, 3.0);
    grown.end_row();
    assert_eq!(grown, Csr::dense(&[1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0], 3).unwrap());
    assert_eq!((grown.rows(), grown.columns(), grown.entries()), (3, 3, 3));
    assert_eq!((grown.indices(), grown.values()), (&[0, 2, 1][..], &[1.0, 2.0, 3.0][..]));
}

#[test]
fn what_is_no_matrix_is_refused() {
    let new = |indptr: &[usize], indices: &[u32], values: &[f64]| {
        Csr::new(indptr.into(), indices.into(), values.into(), 3).unwrap_err().to_string()
    };
    assert!(new(&[], &[], &[]).contains("indptr must rise from 0"));
    assert!(new(&[0, 2], &[0], &[1.0]).contains("the number of values, 1"));
    assert!(new(&[0, 1], &[0, 1], &[1.0]).contains("2 indices for 1 values"));
    assert!(new(&[0, 2], &[1, 1], &[1.0, 1.0]).contains("columns of row 0 must rise"));
    assert!(new(&[0, 0, 1], &[3], &[1.0]).contains("row 1 must rise and be below 3"));
    assert!(new(&[0, 1], &[2], &[f64::NAN]).contains("NaN in row 0"));
    assert!(Csr::dense(&[1.0; 4], 3).unwrap_err().to_string().contains("whole rows"));
    assert!(Csr::dense(&[], 0).is_err());
}
