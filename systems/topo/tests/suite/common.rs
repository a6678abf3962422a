//! What the tests share: sets of the shared data, if they are there.
use std::fs;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use thalweg_testing::shared_data;
use thalweg_topo::{Mat, Sample};

/// Data and true graph of a simulated set.
pub fn set(name: &str) -> Option<(Sample, Mat<f64>)> {
    let folder = shared_data("topo")?;
    let mut text = String::new();
    let packed = fs::read(folder.join(format!("{name}.csv.gz"))).unwrap();
    MultiGzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows: Vec<Vec<f64>> =
        reader.records().map(|r| r.unwrap().iter().map(|c| c.parse().unwrap()).collect()).collect();
    let x = Mat::from_fn(rows.len(), names.len(), |i, j| rows[i][j]);
    let mut w = Mat::zeros(names.len(), names.len());
    let at = |name: &str| names.iter().position(|n| n == name).unwrap();
    let (file, from, to, weight) = match folder.join(format!("{name}_truth.csv")) {
        file if file.exists() => (file, 0, 1, 2),
        _ => (folder.join(format!("{}_network.csv", name.trim_end_matches("_n1000"))), 1, 0, 2),
    };
    let mut reader = csv::Reader::from_path(file).unwrap();
    for row in reader.records().map(|r| r.unwrap()).filter(|r| !r[from].is_empty()) {
        w[(at(&row[from]), at(&row[to]))] = row[weight].parse().unwrap();
    }
    Some((Sample::new(names, x).unwrap(), w))
}
