//! Networks in archives of named arrays: W1, b1, W2, … (or from W0); with v1, … for Householder; U, bz, Wz, Wo, bo for
//! an equilibrium; PyTorch's `fc1.weight`, `fc1.bias`, …, Keras's `dense/kernel`, `dense/bias`, … and `arr_0`, `arr_1`,
//! … in their order.

use std::collections::BTreeSet;

use thalweg_data::Arrays;
use thalweg_lipsdp::{Activation, Affine, Mat, Network};
use thalweg_net::Tensor;

use crate::error::bail;
use crate::{Context, Result, TaskError};

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
        let net = match activation {
            "householder" => {
                let mut normals = |i| {
                    let normals = matrix(&mut arrays, &format!("v{i}"))?;
                    Ok(Activation::Householder { normals })
                };
                let all = (first..first + layers.len() - 1).map(&mut normals).collect::<Result<_>>()?;
                Network::layered(layers, all)?
            }
            _ => chain(layers, activation, residual)?,
        };
        (net, notes, 2)
    } else if !named.is_empty() {
        let mut take = |name: &str| {
            let array = arrays.take(name)?;
            Ok((array.shape.clone(), array.into_f64()?))
        };
        let (net, notes) = by_name(named, &mut take, activation, residual)?;
        // A vector may be a normalization that would be missed.
        (net, notes, 1)
    } else {
        return Err(missing("W1", &arrays));
    };
    arrays.finish(axes)?;
    Ok((net, notes))
}

/// The network of tensors that do not say their layers, by their names.
///
/// # Errors
/// Tensors that are no matrices of dense layers with their biases, or do not fit together; an unknown activation.
pub fn of_tensors(
    mut tensors: Vec<Tensor>,
    activation: &str,
    residual: bool,
) -> Result<(Network, Vec<String>)> {
    // Files keep them by the letters of their names.
    tensors.sort_by_cached_key(|t| counted(&t.name));
    let names: Vec<String> = tensors.iter().map(|t| t.name.clone()).collect();
    let named = named(&names);
    let used: BTreeSet<String> =
        named.iter().flat_map(|n| [Some(n.weight.clone()), n.bias.clone()]).flatten().collect();
    let unused: Vec<String> = names.into_iter().filter(|n| !used.contains(n)).collect();
    if !unused.is_empty() || named.is_empty() {
        let (used, unused) = (Vec::from_iter(used).join(", "), unused.join(", "));
        bail!(
            "tensors that are no dense layers: {unused} (layers: {used}); set `arch` to the network's layers"
        );
    }
    let mut take = |name: &str| {
        let found = tensors.iter_mut().find(|t| t.name == name);
        let tensor = found.with_context(|| format!("there is no tensor {name}"))?;
        Ok((tensor.shape.clone(), std::mem::take(&mut tensor.values)))
    };
    by_name(named, &mut take, activation, residual)
}

/// A name with its numbers counted, so that 10 comes behind 2.
fn counted(name: &str) -> Vec<(String, u64)> {
    let mut parts = vec![(String::new(), 0u64)];
    let mut digits = false;
    for c in name.chars() {
        let last = parts.len() - 1;
        match c.to_digit(10) {
            Some(d) => {
                parts[last].1 = parts[last].1.saturating_mul(10).saturating_add(u64::from(d));
                digits = true;
            }
            None if digits => {
                parts.push((c.into(), 0));
                digits = false;
            }
            None => parts[last].0.push(c),
        }
    }
    parts
}

fn by_name(
    named: Vec<Named>,
    take: &mut Take<'_>,
    activation: &str,
    residual: bool,
) -> Result<(Network, Vec<String>)> {
    if activation == "householder" {
        bail!("`activation` householder is for archives that are numbered: W1, b1, v1, W2, …");
    }
    let order: Vec<String> = named.iter().map(|n| n.weight.clone()).collect();
    let (layers, mut notes) = upright(ordered(take, named)?);
    notes.insert(0, format!("the layers in their order: {}", order.join(", ")));
    Ok((chain(layers, activation, residual)?, notes))
}

fn chain(mut layers: Vec<Affine>, activation: &str, residual: bool) -> Result<Network> {
    if !residual {
        return Ok(Network::feedforward(layers, &activation.parse()?)?);
    }
    if layers.len() < 3 {
        bail!("a residual network needs a first, a last and at least one layer between them");
    }
    let (first, last) = (layers.remove(0), layers.remove(layers.len() - 1));
    Ok(Network::residual(first, layers, last, &activation.parse()?)?)
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

/// Shape and numbers of an array.
type Take<'a> = dyn FnMut(&str) -> Result<(Vec<usize>, Vec<f64>)> + 'a;

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
fn ordered(take: &mut Take<'_>, named: Vec<Named>) -> Result<Vec<Affine>> {
    let mut layers: Vec<Affine> = Vec::new();
    for Named { weight, bias, transposed } in named {
        let (shape, values) = take(&weight)?;
        if let (true, Some(last)) = (shape.len() == 1 && weight.starts_with("arr_"), layers.last_mut()) {
            last.bias = values;
            continue;
        }
        let &[rows, columns] = &shape[..] else {
            bail!(
                "{weight} has shape {shape:?}, and is no matrix of a dense layer; save other networks as safetensors and \
                 set `arch` to their layers"
            );
        };
        let plain = Mat::from_fn(rows, columns, |i, j| values[i * columns + j]);
        let matrix = if transposed { plain.transpose().to_owned() } else { plain };
        let bias = match bias {
            Some(bias) => take(&bias)?.1,
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
