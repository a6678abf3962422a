//! Networks in files: models that `train` saved, and weights in npz archives.

use std::path::Path;

use thalweg_data::Arrays;
use thalweg_lipsdp::Network;
use thalweg_net::{Model, Preprocess, arch_or_file};

use super::{archive, network};
use crate::error::bail;
use crate::{Context, Result};

/// A network, and what turns raw inputs into its own.
#[derive(Clone, Debug)]
pub struct LoadedNetwork {
    /// The network, for scaled inputs.
    pub net: Network,
    /// Multiplies raw values; bounds are for inputs after it (pixels in [0, 1]).
    pub scale: f64,
    /// Names of the classes, if the file has them.
    pub classes: Vec<String>,
    /// What was noticed while reading.
    pub notes: Vec<String>,
}

/// How to read a file that does not describe itself.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Of an npz archive: relu, leaky:0.1, maxmin, groupsort:N, householder, ….
    pub activation: Option<String>,
    /// Of a safetensors file without a graph: a name or a TOML file.
    pub arch: Option<String>,
    /// Layers between the first and the last of an npz archive are blocks x + φ(W x + b).
    pub residual: bool,
    /// Preprocessing instead of the model's; an npz archive takes its scale only.
    pub normalize: Option<Preprocess>,
}

/// Reads a model or an archive.
///
/// # Errors
/// No such file, one that does not describe itself where nothing else does, a network that is no chain.
pub fn read(file: &Path, options: &ReadOptions) -> Result<LoadedNetwork> {
    let named = || file.display().to_string();
    let ReadOptions { activation, arch, residual, normalize } = options;
    if file.extension().is_some_and(|e| e == "npz") {
        let mut arrays = Arrays::open(file)?;
        let activation = activation.as_deref().context(
            "an npz archive does not say its activation; set `activation` to relu, leaky:0.1, maxmin, groupsort:N, householder, …",
        );
        let (net, notes) =
            activation.and_then(|a| archive::read(&mut arrays, a, *residual)).with_context(named)?;
        let scale = normalize.as_ref().map_or(1.0, |n| n.scale.into());
        return Ok(LoadedNetwork { net, scale, classes: Vec::new(), notes });
    }
    if activation.is_some() || *residual {
        bail!("`activation` and `residual` are for npz archives; {} describes its own layers", named());
    }
    let model = match arch {
        None => Model::load(file)?,
        Some(arch) => {
            let widths = arch.strip_prefix("mlp:").and_then(|a| a.split(':').next()).unwrap_or("");
            let input: Vec<usize> =
                widths.split('-').next().and_then(|w| w.parse().ok()).into_iter().collect();
            let outputs = widths.rsplit('-').next().and_then(|w| w.parse().ok()).unwrap_or(10);
            Model::load_foreign(
                file,
                arch_or_file(arch, &input, outputs)?,
                normalize.clone().unwrap_or_default(),
            )?
        }
    };
    let preprocess = normalize.as_ref().unwrap_or(&model.preprocess).clone();
    let net = network::with_preprocessing(&model, &preprocess).with_context(named)?;
    Ok(LoadedNetwork { net, scale: preprocess.scale.into(), classes: model.classes, notes: Vec::new() })
}
