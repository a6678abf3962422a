//! Networks in files: models that `train` saved, and weights in npz archives.

use std::path::Path;

use thalweg_data::Arrays;
use thalweg_lipsdp::Network;
use thalweg_net::{Graph, Model, NetError, Normalize, Preprocess, arch_or_file, tensors};

use super::network::wired;
use super::{Engine, Subject, archive};
use crate::error::bail;
use crate::{Context, Result};

/// A network, and what turns raw inputs into its own.
#[derive(Clone, Debug)]
pub struct LoadedNetwork {
    /// The network, for scaled inputs.
    pub net: Subject,
    /// What computes a model's values where it is too large to be written out.
    pub engine: Option<Engine>,
    /// Multiplies raw values; bounds are for inputs after it. None where the data decide: 1/255 of bytes, 1 of real
    /// numbers.
    pub scale: Option<f64>,
    /// Names of the classes, if the file has them.
    pub classes: Vec<String>,
    /// What was noticed while reading.
    pub notes: Vec<String>,
}

/// How to read a file that does not describe itself.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Of weights alone (npz, safetensors without layers): relu, leaky:0.1, maxmin, groupsort:N, householder, ….
    pub activation: Option<String>,
    /// Of a safetensors file without a graph: a name or a TOML file.
    pub arch: Option<String>,
    /// Shape of an example, channels last, for an architecture by name that does not say it.
    pub input: Option<Vec<usize>>,
    /// Outputs of an architecture by name that does not say them. Default 10.
    pub outputs: Option<usize>,
    /// Layers between the first and the last of weights alone are blocks x + φ(W x + b).
    pub residual: bool,
    /// Preprocessing instead of the model's; weights alone take its scale only.
    pub normalize: Option<Normalize>,
}

/// Reads a model or an archive.
///
/// # Errors
/// No such file, one that does not describe itself where nothing else does, a network without a constraint.
pub fn read(file: &Path, options: &ReadOptions) -> Result<LoadedNetwork> {
    let named = || file.display().to_string();
    let ReadOptions { activation, arch, input, outputs, residual, normalize } = options;
    if arch.is_none() && (input.is_some() || outputs.is_some()) {
        bail!("`input` and `outputs` are for an architecture by name; set `arch`, or leave them out");
    }
    if file.extension().is_some_and(|e| e == "npz") {
        if arch.is_some() {
            bail!("`arch` is for safetensors; an npz archive takes `activation`");
        }
        let activation = activation.as_deref().context(
            "an npz archive does not say its activation; set `activation` to relu, leaky:0.1, maxmin, groupsort:N, householder, …",
        );
        let arrays = Arrays::open(file)?;
        let found = activation.and_then(|a| archive::read(arrays, a, *residual)).with_context(named)?;
        return matrices(found, normalize.as_ref());
    }
    if let (Some(activation), None) = (activation, arch) {
        if Model::load(file).is_ok() {
            bail!("`activation` and `residual` are for files without layers; {} describes its own", named());
        }
        let found = archive::of_tensors(tensors(file)?, activation, *residual).with_context(named)?;
        return matrices(found, normalize.as_ref());
    }
    if activation.is_some() || *residual {
        bail!("`activation` and `residual` are for files without layers; `arch` describes them");
    }
    let model = match arch {
        None => Model::load(file)?,
        Some(arch) => {
            let graph = architecture(file, arch, options)?;
            let preprocess = normalize.as_ref().map_or_else(Preprocess::default, |n| n.of(false));
            Model::load_foreign(file, graph, preprocess)?
        }
    };
    // A model is of single precision; a proof for rounded weights would be none for those in the file.
    let narrow = |x: &f64| f64::from(*x as f32) == *x;
    if let Some(t) = tensors(file)?.iter().find(|t| !t.values.iter().all(narrow)) {
        bail!(
            "{}: tensor {} is of double precision, and would be rounded before the proof; save it as F32, or dense layers \
             as an npz archive",
            named(),
            t.name
        );
    }
    let preprocess = normalize.as_ref().map_or_else(|| model.preprocess.clone(), |n| n.of(false));
    let net = Subject::wired(wired(&model, &preprocess).with_context(named)?);
    // Norms do not depend on the scale.
    let scale = match (normalize, arch) {
        (Some(n), _) => n.scale.map(f64::from),
        (None, Some(_)) => None,
        (None, None) => Some(model.preprocess.scale.into()),
    };
    let classes = model.classes.clone();
    let engine = Some(Engine::new(model, preprocess)?);
    Ok(LoadedNetwork { net, engine, scale, classes, notes: Vec::new() })
}

/// A network of matrices, whose preprocessing is a scale at most.
fn matrices((net, notes): (Network, Vec<String>), normalize: Option<&Normalize>) -> Result<LoadedNetwork> {
    let scale = match normalize {
        Some(n) if n.mean.iter().any(|m| *m != 0.0) || n.std.iter().any(|s| *s != 1.0) => {
            bail!("weights alone take the scale of `normalize` only; put mean and std into the first layer")
        }
        Some(n) => n.scale.map(f64::from),
        None => Some(1.0),
    };
    Ok(LoadedNetwork { net: Subject::matrices(net), engine: None, scale, classes: Vec::new(), notes })
}

/// The layers of a file that may not say them.
fn architecture(file: &Path, arch: &str, options: &ReadOptions) -> Result<Graph> {
    let path = Path::new(arch);
    if path.extension().is_some_and(|e| e == "toml" || e == "json") {
        if options.input.is_some() || options.outputs.is_some() {
            bail!("{arch} says the shape of its input and its outputs; leave out `input` and `outputs`");
        }
        return Ok(Graph::read(path)?);
    }
    let widths: Vec<Option<usize>> = match arch.strip_prefix("mlp:") {
        Some(rest) => {
            rest.split([':', ',']).next().unwrap_or("").split('-').map(|w| w.parse().ok()).collect()
        }
        None => Vec::new(),
    };
    let own = || match Model::load(file) {
        Ok(model) => Ok(Some(model.graph.input)),
        Err(NetError::NoGraph { .. }) => Ok(None),
        Err(e) => Err(e),
    };
    let input = match (&options.input, widths.first().copied().flatten()) {
        (Some(input), _) => input.clone(),
        (None, Some(width)) => vec![width],
        (None, None) => own()?.with_context(|| {
            format!("`arch` {arch} does not say the shape of its input; set `input`, e.g. 28,28,1")
        })?,
    };
    let outputs = options.outputs.or(widths.last().copied().flatten()).unwrap_or(10);
    Ok(arch_or_file(arch, &input, outputs)?)
}
