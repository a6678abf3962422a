//! Networks for the tests: those of the shared data folder, and random ones.

#![allow(dead_code)]

use std::path::Path;

use serde_json::Value;
use thalweg_data::Arrays;
use thalweg_lipsdp::{Activation, Affine, Mat, Network};
use thalweg_testing::gaussian;

/// A matrix of an npz file; a vector is a column.
pub fn matrix_of(arrays: &mut Arrays, name: &str) -> Option<Mat<f64>> {
    let array = arrays.take_if_there(name).unwrap()?;
    let (rows, columns) = (array.shape[0], array.shape.get(1).copied().unwrap_or(1));
    let data = array.into_f64().unwrap();
    Some(Mat::from_fn(rows, columns, |i, j| data[i * columns + j]))
}

fn affine(arrays: &mut Arrays, w: &str, b: &str) -> Option<Affine> {
    let weight = matrix_of(arrays, w)?;
    let bias = matrix_of(arrays, b).map(|b| b.col_as_slice(0).to_vec());
    let bias = bias.unwrap_or_else(|| vec![0.0; weight.nrows()]);
    Some(Affine::new(weight, bias))
}

/// W1, b1, … as layers.
pub fn layers(arrays: &mut Arrays) -> Vec<Affine> {
    (1..).map_while(|i| affine(arrays, &format!("W{i}"), &format!("b{i}"))).collect()
}

/// A network of the shared folder, its activation told by its name.
pub fn load(folder: &Path, name: &str) -> Network {
    let mut arrays = Arrays::open(&folder.join(format!("{name}.npz"))).unwrap();
    let act = |text: &str| text.parse::<Activation>().unwrap();
    if name.contains("deq_") {
        let (input, output) = (affine(&mut arrays, "U", "bz"), affine(&mut arrays, "Wo", "bo"));
        let state = matrix_of(&mut arrays, "Wz").unwrap();
        return Network::equilibrium(input.unwrap(), state, output.unwrap(), &act("relu")).unwrap();
    }
    let mut layers = layers(&mut arrays);
    let lower = name.to_lowercase();
    if lower.contains("res_") || lower.contains("resweights") {
        let (first, last) = (layers.remove(0), layers.pop().unwrap());
        return Network::residual(first, layers, last, &act("maxmin")).unwrap();
    }
    if lower.contains("hh4") {
        let mut normals =
            |i| Activation::Householder { normals: matrix_of(&mut arrays, &format!("v{i}")).unwrap() };
        let acts = (1..layers.len()).map(&mut normals).collect();
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
        Affine::new(Mat::from_fn(w[1], w[0], |r, c| scale * g[(r, c)]), bias)
    };
    Network::feedforward(widths.windows(2).enumerate().map(layer).collect(), activation).unwrap()
}
