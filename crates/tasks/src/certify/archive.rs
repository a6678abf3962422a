//! Networks in archives of named arrays: W1, b1, W2, … (or from W0); with v1, … for Householder; U, bz, Wz, Wo, bo for
//! an equilibrium; PyTorch's `fc1.weight`, `fc1.bias`, …, Keras's `dense/kernel`, `dense/bias`, … and `arr_0`, `arr_1`,
//! … in their order.

use std::collections::BTreeSet;

use thalweg_data::Arrays;
use thalweg_lipsdp::{Activation, Affine, Mat, Network};

use crate::error::bail;
use crate::{Result, TaskError};

/// The network of an archive, whose activation it does not say, and what was noticed. `residual`: the layers
/// between the first and the last are blocks x + φ(W x + b). Arrays that are no part of it are not read; matrices that
/// nothing uses are refused, since they may be.
///
/// # Errors
/// Arrays that are missing, unused, no matrices or do not fit together; an unknown activation.
pub fn read(mut arrays: Arrays, activation: &str, residual: bool) -> Result<(Network, Vec<String>)> {
    let named = named(arrays.names());
    let (net, notes, axes) = if arrays.contains("Wz") {
        let (input, output) = (affine(&mut arrays, "U", "bz")?, affine(&mut arrays, "Wo", "bo")?);
        let state = matrix(&mut arrays, "Wz")?;
        (Network::equilibrium(input, state, output, &activation.parse()?)?, Vec::new(), 2)
    } else if arrays.contains("W0") || arrays.contains("W1") {
        let first = usize::from(!arrays.contains("W0"));
        let (layers, notes) = upright(numbered(&mut arrays, first)?);
        (chain(&mut arrays, layers, activation, residual, first)?, notes, 2)
    } else if !named.is_empty() {
        let (layers, mut notes) = upright(ordered(&mut arrays, named)?);
        let order: Vec<String> = arrays.names().to_vec();
        let net = chain(&mut arrays, layers, activation, residual, 1)?;
        notes.insert(0, format!("the layers are taken in the order of the file: {}", order.join(", ")));
        // A vector may be a normalization that would be missed.
        (net, notes, 1)
    } else {
        return Err(missing("W1", &arrays));
    };
    arrays.finish(axes)?;
    Ok((net, notes))
}

fn chain(
    arrays: &mut Arrays,
    mut layers: Vec<Affine>,
    activation: &str,
    residual: bool,
    first: usize,
) -> Result<Network> {
    let count = layers.len();
    Ok(match activation {
        "householder" => {
            let mut normals = |i: usize| {
                Ok(Activation::Householder { normals: matrix(arrays, &format!("v{}", i + first))? })
            };
            let all = (0..count - 1).map(&mut normals).collect::<Result<_>>()?;
            Network::layered(layers, all)?
        }
        _ if residual => {
            let (Some(last), true) = (layers.pop(), count >= 3) else {
                bail!("a residual network needs a first, a last and at least one layer between them");
            };
            let first = layers.remove(0);
            Network::residual(first, layers, last, &activation.parse()?)?
        }
        _ => Network::feedforward(layers, &activation.parse()?)?,
    })
}

/// W1, b1, W2, … without gaps.
fn numbered(arrays: &mut Arrays, first: usize) -> Result<Vec<Affine>> {
    let number = |name: &String| name.strip_prefix(['W', 'b'])?.parse::<usize>().ok();
    let weights: BTreeSet<usize> =
        arrays.names().iter().filter(|n| n.starts_with('W')).filter_map(number).collect();
    let all: BTreeSet<usize> = arrays.names().iter().filter_map(number).collect();
    let last = all.last().copied().unwrap_or(first);
    if let Some(gap) = (first..=last).find(|i| !weights.contains(i)) {
        let found = arrays.names().join(", ");
        bail!("the numbering has a gap: there is no W{gap} (found: {found}); number the layers without gaps");
    }
    (first..=last).map(|i| affine(arrays, &format!("W{i}"), &format!("b{i}"))).collect()
}

/// A layer's weights and bias by name, and whether the weights are `[inputs, outputs]`.
struct Named {
    weight: String,
    bias: Option<String>,
    transposed: bool,
}

/// The layers that the names tell, in their order.
fn named(names: &[String]) -> Vec<Named> {
    const KINDS: [(&str, &str, bool); 4] = [
        (".weight", ".bias", false),
        ("/kernel:0", "/bias:0", true),
        ("/kernel", "/bias", true),
        (".kernel", ".bias", true),
    ];
    for (weight, bias, transposed) in KINDS {
        let layer = |name: &String| {
            let stem = name.strip_suffix(weight)?;
            let bias = Some(format!("{stem}{bias}")).filter(|b| names.contains(b));
            Some(Named { weight: name.clone(), bias, transposed })
        };
        let layers: Vec<Named> = names.iter().filter_map(layer).collect();
        if !layers.is_empty() {
            return layers;
        }
    }
    // What `savez(*weights)` calls them; vectors between matrices are biases.
    let positional = !names.is_empty() && (0..names.len()).all(|i| names.contains(&format!("arr_{i}")));
    let single = |i: usize| Named { weight: format!("arr_{i}"), bias: None, transposed: true };
    if positional { (0..names.len()).map(single).collect() } else { Vec::new() }
}

/// The layers by name.
fn ordered(arrays: &mut Arrays, named: Vec<Named>) -> Result<Vec<Affine>> {
    let mut layers: Vec<Affine> = Vec::new();
    for Named { weight, bias, transposed } in named {
        let array = arrays.take(&weight)?;
        let (shape, vector) = (array.shape.clone(), array.shape.len() == 1);
        let values = array.into_f64()?;
        if let (true, Some(last)) = (vector && weight.starts_with("arr_"), layers.last_mut()) {
            last.bias = values;
            continue;
        }
        let &[rows, columns] = &shape[..] else {
            bail!(
                "the array {weight} has shape {shape:?}; archives hold dense layers, each a matrix; save other \
                 networks with their layers as safetensors and set `arch`"
            );
        };
        let plain = Mat::from_fn(rows, columns, |i, j| values[i * columns + j]);
        let matrix = if transposed { plain.transpose().to_owned() } else { plain };
        let bias = match bias {
            Some(bias) => arrays.take(&bias)?.into_f64()?,
            None => vec![0.0; matrix.nrows()],
        };
        layers.push(Affine::new(matrix, bias));
    }
    Ok(layers)
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
        // What stood for an absent bias had the other length.
        if layer.bias.len() != layer.weight.nrows() && layer.bias.iter().all(|b| *b == 0.0) {
            layer.bias = vec![0.0; layer.weight.nrows()];
        }
    }
    (layers, vec!["the weights are read transposed: the layers fit together that way alone".to_owned()])
}

fn affine(arrays: &mut Arrays, w: &str, b: &str) -> Result<Affine> {
    let weight = matrix(arrays, w)?;
    let bias = match arrays.take_if_there(b)? {
        Some(bias) => bias.into_f64()?,
        None => vec![0.0; weight.nrows()],
    };
    Ok(Affine::new(weight, bias))
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
        "there is no array {key} (found: {found}); save W1, b1, W2, …, or names like fc1.weight, fc1.bias, or U, bz, \
         Wz, Wo, bo"
    ))
}
