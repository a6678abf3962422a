//! Networks for the tests: those of the shared data folder, and random ones.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use thalweg_lipsdp::{Activation, Affine, Mat, Network};
use thalweg_testing::gaussian;

/// The arrays of an npz file of float64.
pub fn arrays(file: &Path) -> BTreeMap<String, Mat<f64>> {
    let mut archive = zip::ZipArchive::new(File::open(file).unwrap()).unwrap();
    let mut all = BTreeMap::new();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).unwrap();
        let name = member.name().unwrap().trim_end_matches(".npy").to_owned();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        let length = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[..length]).into_owned();
        assert!(header.contains("'<f8'"), "{header}");
        let shape = header.split('(').nth(1).unwrap().split(')').next().unwrap();
        let shape: Vec<usize> = shape.split(',').filter_map(|d| d.trim().parse().ok()).collect();
        let (rows, columns) = (shape[0], shape.get(1).copied().unwrap_or(1));
        let data: Vec<f64> = bytes[length..].as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
        let fortran = header.contains("'fortran_order': True");
        let at = |i: usize, j: usize| if fortran { data[j * rows + i] } else { data[i * columns + j] };
        all.insert(name, Mat::from_fn(rows, columns, at));
    }
    all
}

fn affine(arrays: &BTreeMap<String, Mat<f64>>, w: &str, b: &str) -> Affine {
    let weight = arrays[w].clone();
    let bias = arrays.get(b).map(|b| (0..b.nrows()).map(|i| b[(i, 0)]).collect());
    Affine { bias: bias.unwrap_or_else(|| vec![0.0; weight.nrows()]), weight }
}

/// W1, b1, … as layers.
pub fn layers(arrays: &BTreeMap<String, Mat<f64>>) -> Vec<Affine> {
    let count = (1..).take_while(|i| arrays.contains_key(&format!("W{i}"))).count();
    (1..=count).map(|i| affine(arrays, &format!("W{i}"), &format!("b{i}"))).collect()
}

/// A network of the shared folder, its activation told by its name.
pub fn load(folder: &Path, name: &str) -> Network {
    let arrays = arrays(&folder.join(format!("{name}.npz")));
    let act = |text: &str| text.parse::<Activation>().unwrap();
    if name.contains("deq_") {
        let (input, output) = (affine(&arrays, "U", "bz"), affine(&arrays, "Wo", "bo"));
        return Network::equilibrium(input, arrays["Wz"].clone(), output, &act("relu")).unwrap();
    }
    let mut layers = layers(&arrays);
    let lower = name.to_lowercase();
    if lower.contains("res_") || lower.contains("resweights") {
        let (first, last) = (layers.remove(0), layers.pop().unwrap());
        return Network::residual(first, layers, last, &act("maxmin")).unwrap();
    }
    if lower.contains("hh4") {
        let normals = |i| Activation::Householder { normals: arrays[&format!("v{i}")].clone() };
        let acts = (1..layers.len()).map(normals).collect();
        return Network::layered(layers, acts).unwrap();
    }
    let activation = match lower {
        n if n.contains("numgroups") => {
            let groups: usize = n.rsplit("numgroups").next().unwrap().parse().unwrap();
            // The number of groups is that of the first hidden layer.
            act(&format!("groupsort:{}", layers[0].weight.nrows() / groups))
        }
        n if n.contains("gs4") => act("groupsort:4"),
        n if n.contains("maxmin") || n.contains("weights_l2") => act("maxmin"),
        n if n.contains("leaky") => act("leaky:0.1"),
        _ => act("relu"),
    };
    Network::feedforward(layers, &activation).unwrap()
}

/// A JSON file of the shared folder.
pub fn json(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

/// A random feed-forward network of these widths, with weights of about unit norm.
pub fn random(activation: &Activation, widths: &[usize], seed: u64) -> Network {
    let layer = |(i, w): (usize, &[usize])| {
        let g = gaussian(w[1], w[0] + 1, seed * 1000 + i as u64);
        let scale = 1.5 / (w[0] as f64).sqrt();
        let bias = (0..w[1]).map(|r| 0.3 * g[(r, w[0])]).collect();
        Affine { weight: Mat::from_fn(w[1], w[0], |r, c| scale * g[(r, c)]), bias }
    };
    Network::feedforward(widths.windows(2).enumerate().map(layer).collect(), activation).unwrap()
}
