//! Networks in npz archives: W1, b1, W2, …; with v1, … for Householder; or U, bz, Wz, Wo, bo for an equilibrium.

use thalweg_data::Arrays;
use thalweg_lipsdp::{Activation, Affine, Mat, Network};

use crate::error::bail;
use crate::{Result, TaskError};

/// The network of an archive, whose activation it does not say, and what was noticed. `residual`: the layers
/// between the first and the last are blocks x + φ(W x + b).
///
/// # Errors
/// Arrays that are missing, are no matrices or do not fit together; an unknown activation.
pub fn read(arrays: &mut Arrays, activation: &str, residual: bool) -> Result<(Network, Vec<String>)> {
    if arrays.contains("Wz") {
        let (input, output) = (affine(arrays, "U", "bz")?, affine(arrays, "Wo", "bo")?);
        let state = matrix(arrays, "Wz")?;
        return Ok((Network::equilibrium(input, state, output, &activation.parse()?)?, Vec::new()));
    }
    let (mut layers, notes) = upright(layers(arrays)?);
    let count = layers.len();
    let net = match activation {
        "householder" => {
            let normals = |i| Ok(Activation::Householder { normals: matrix(arrays, &format!("v{i}"))? });
            Network::layered(layers, (1..count).map(normals).collect::<Result<_>>()?)?
        }
        _ if residual => {
            let (Some(last), true) = (layers.pop(), count >= 3) else {
                bail!("a residual network needs a first, a last and at least one layer between them");
            };
            let first = layers.remove(0);
            Network::residual(first, layers, last, &activation.parse()?)?
        }
        _ => Network::feedforward(layers, &activation.parse()?)?,
    };
    Ok((net, notes))
}

/// W1, b1, W2, ….
fn layers(arrays: &mut Arrays) -> Result<Vec<Affine>> {
    let count = (1..).take_while(|i| arrays.contains(&format!("W{i}"))).count();
    if count == 0 {
        return Err(missing("W1", arrays));
    }
    (1..=count).map(|i| affine(arrays, &format!("W{i}"), &format!("b{i}"))).collect()
}

/// Transposed if the layers chain that way alone, with a note.
fn upright(mut layers: Vec<Affine>) -> (Vec<Affine>, Vec<String>) {
    let chains = |wide: fn(&Mat<f64>) -> usize, tall: fn(&Mat<f64>) -> usize| {
        layers.windows(2).all(|l| tall(&l[0].weight) == wide(&l[1].weight))
    };
    if chains(|w| w.ncols(), |w| w.nrows()) || !chains(|w| w.nrows(), |w| w.ncols()) {
        return (layers, Vec::new());
    }
    for layer in &mut layers {
        layer.weight = layer.weight.transpose().to_owned();
        if layer.bias.len() != layer.weight.nrows() {
            layer.bias = vec![0.0; layer.weight.nrows()];
        }
    }
    (layers, vec!["the weights are stored as [inputs, outputs]; they are read transposed".to_owned()])
}

fn affine(arrays: &mut Arrays, w: &str, b: &str) -> Result<Affine> {
    let weight = matrix(arrays, w)?;
    let bias = match arrays.take_if_there(b)? {
        Some(bias) => bias.into_f64()?,
        None => vec![0.0; weight.nrows()],
    };
    Ok(Affine { weight, bias })
}

fn matrix(arrays: &mut Arrays, key: &str) -> Result<Mat<f64>> {
    if !arrays.contains(key) {
        return Err(missing(key, arrays));
    }
    let array = arrays.take(key)?;
    let [rows, columns] = array.axes("a matrix [outputs, inputs]")?;
    let values = array.into_f64()?;
    Ok(Mat::from_fn(rows, columns, |i, j| values[i * columns + j]))
}

fn missing(key: &str, arrays: &Arrays) -> TaskError {
    let found = arrays.names().join(", ");
    TaskError::Input(format!(
        "there is no array {key} (found: {found}); save W1, b1, W2, … or U, bz, Wz, Wo, bo"
    ))
}
