use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use half::{bf16, f16};
use lzma_rust2::XzReader;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use thalweg_core::{Block, Layout, replace_file};

use crate::describe::is_mobile;
use crate::{Graph, Net, NetError, Preprocess};

/// A trained network with all that is needed to use it: what a model file holds.
///
/// The file is safetensors: tensors under PyTorch's names and in its orders, and as metadata the
/// `graph`, the `preprocess`, the `classes`, the `features`, and notes on `data` and `training`, each as JSON.
///
/// ```
/// use thalweg_core::Seed;
/// use thalweg_net::{Init, Model, initial, named};
/// let graph = named("mlp:4-8-2", &[4], 2)?;
/// let (theta, buffers) = initial(&graph, &Init::PyTorch, Seed(1))?;
/// let model = Model { graph, theta, buffers, ..Model::default() };
/// let file = std::env::temp_dir().join("thalweg-doc-model.safetensors");
/// model.save(&file)?;
/// assert_eq!(Model::load(&file)?, model);
/// # Ok::<(), thalweg_net::NetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The layers.
    pub graph: Graph,
    /// All parameters, in the order of [`Graph::layout`].
    pub theta: Vec<f32>,
    /// Running statistics, in the order of [`Graph::buffers`].
    pub buffers: Vec<f32>,
    /// What happens to raw inputs first.
    pub preprocess: Preprocess,
    /// Names of the classes; for text models the vocabulary.
    pub classes: Vec<String>,
    /// Names of the inputs, where they are columns of a table.
    pub features: Vec<String>,
    /// Free notes on the data that it was trained on.
    pub data: Value,
    /// Free notes on how the model was made.
    pub training: Value,
}

impl Model {
    /// The network, ready to compute.
    ///
    /// # Errors
    /// A graph that is not well formed.
    pub fn net(&self) -> Result<Net<f32>, NetError> {
        Net::new(self.graph.clone())
    }

    /// Writes the model as `f32` safetensors; equal models give equal bytes. The file appears
    /// whole or not at all: it is written beside `path`, synced and renamed.
    ///
    /// # Errors
    /// Buffers of the wrong length, or a file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), NetError> {
        let path = path.as_ref();
        let (layout, buffers) = (self.graph.layout()?, self.graph.buffers()?);
        NetError::check("the parameter buffer", self.theta.len(), layout.len())?;
        NetError::check("the buffer of running statistics", self.buffers.len(), buffers.len())?;
        let mut metadata = json!({
            "format": "pt",
            "graph": self.graph.to_json().to_string(),
            "preprocess": json!(self.preprocess).to_string(),
            "classes": json!(self.classes).to_string(),
            "training": self.training.to_string(),
        });
        if !self.features.is_empty() {
            metadata["features"] = json!(self.features).to_string().into();
        }
        if !self.data.is_null() {
            metadata["data"] = self.data.to_string().into();
        }
        let mut header = Map::new();
        header.insert("__metadata__".into(), metadata);
        for (layout, start) in [(&layout, 0), (&buffers, layout.len())] {
            for b in layout.blocks() {
                let offsets = [4 * (start + b.range().start), 4 * (start + b.range().end)];
                header.insert(
                    b.name.clone(),
                    json!({ "dtype": "F32", "shape": b.shape, "data_offsets": offsets }),
                );
            }
        }
        let mut bytes = Value::Object(header).to_string().into_bytes();
        // Tensors start at a multiple of 8.
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        bytes.splice(0..0, (bytes.len() as u64).to_le_bytes());
        bytes.extend(self.theta.iter().chain(&self.buffers).flat_map(|x| x.to_le_bytes()));
        replace_file(path, &[&bytes]).map_err(|e| NetError::file(path, format!("it cannot be written: {e}")))
    }

    /// Reads a model file with a `graph` in its metadata: one that [`Model::save`] wrote (of
    /// `f32`, `f16` or `bf16`, possibly as `.xz`), or a shared MobileNet, whose input in [0, 1] is
    /// seen as 2x − 1.
    ///
    /// # Errors
    /// A file that cannot be read or is not well formed; [`NetError::NoGraph`] for one that holds tensors
    /// alone.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, NetError> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let metadata = parse(path, &bytes)?.1;
        let note = |key: &str| metadata.get(key).map(String::as_str);
        let Some(text) = note("graph") else {
            return Err(NetError::NoGraph { path: path.into() });
        };
        let value = json_note(path, "graph", text)?;
        let graph = Graph::from_json(&value).map_err(|e| NetError::file(path, e))?;
        let preprocess = match note("preprocess") {
            Some(text) => json_note(path, "preprocess", text)?,
            None if is_mobile(&value) => Preprocess { scale: 1.0 / 255.0, mean: vec![0.5], std: vec![0.5] },
            None => {
                return Err(NetError::file(
                    path,
                    "it carries no `preprocess`; save it anew with its normalisation",
                ));
            }
        };
        let classes = note("classes").map_or(Ok(Vec::new()), |text| json_note(path, "classes", text))?;
        let features = note("features").map_or(Ok(Vec::new()), |text| json_note(path, "features", text))?;
        let free = |key| note(key).map_or(Ok(Value::Null), |text| json_note(path, key, text));
        let (data, training) = (free("data")?, free("training")?);
        let model = Self::from_tensors(path, &bytes, graph, preprocess)?;
        Ok(Self { classes, features, data, training, ..model })
    }

    /// Reads tensors into a given graph, for files without one. A prefix that all tensors share (`_orig_mod.`,
    /// `model.`, …) is dropped, and kept as `dropped_prefix` of the notes on the training. `module.` prefixes and counters of
    /// batches are ignored, and a few other names for the same layer are understood (`linear` for
    /// `fc`, `shortcut` for `downsample`); anything else must fit exactly.
    ///
    /// # Errors
    /// A file that cannot be read or is not well formed; tensors that are not the graph's.
    pub fn load_foreign(
        path: impl AsRef<Path>,
        graph: Graph,
        preprocess: Preprocess,
    ) -> Result<Self, NetError> {
        let path = path.as_ref();
        Self::from_tensors(path, &read(path)?, graph, preprocess)
    }

    fn from_tensors(
        path: &Path,
        bytes: &[u8],
        graph: Graph,
        preprocess: Preprocess,
    ) -> Result<Self, NetError> {
        let bad = |why: String| NetError::file(path, why);
        let (layout, buffers) = (graph.layout()?, graph.buffers()?);
        preprocess.check(graph.input.last().copied().unwrap_or(1)).map_err(|e| bad(e.to_string()))?;
        let known = |name: &str| layout.get(name).or(buffers.get(name)).is_some();
        let mut tensors = BTreeMap::new();
        let mut unexpected = Vec::new();
        let file = parse(path, bytes)?.0;
        let counted = |name: &&str| !name.ends_with("num_batches_tracked");
        let names: Vec<&str> = file.iter().map(|(name, _)| name).filter(counted).collect();
        let dropped = foreign_prefix(&names, |name| spellings(name).any(|n| known(&n)));
        for (name, tensor) in file.iter().filter(|(name, _)| counted(name)) {
            match spellings(&name[dropped..]).find(|n| known(n)) {
                None => unexpected.push(name),
                Some(ours) => {
                    if tensors.insert(ours, tensor).is_some() {
                        return Err(bad(format!("tensor `{name}` is there twice under different prefixes")));
                    }
                }
            }
        }
        let blocks = || layout.blocks().iter().chain(buffers.blocks());
        let missing: Vec<&str> =
            blocks().map(|b| b.name.as_str()).filter(|&n| !tensors.contains_key(n)).collect();
        if !missing.is_empty() || !unexpected.is_empty() {
            let (missing, unexpected) = (list(missing), list(unexpected));
            return Err(bad(format!(
                "its tensors are not the architecture's: missing {missing}; unexpected {unexpected}"
            )));
        }
        // Shapes first: nothing is allocated for a graph that the file does not fill.
        for block in blocks() {
            let found = tensors[&block.name].shape();
            if found != block.shape {
                let (name, needed) = (&block.name, &block.shape);
                return Err(bad(format!(
                    "tensor `{name}` has shape {found:?} where the architecture needs {needed:?}"
                )));
            }
        }
        let collect = |layout: &Layout| -> Result<Vec<f32>, NetError> {
            let mut all = Vec::with_capacity(layout.len());
            for block in layout.blocks() {
                decode(block, &tensors[&block.name], &mut all).map_err(bad)?;
            }
            Ok(all)
        };
        let (theta, buffers) = (collect(&layout)?, collect(&buffers)?);
        let training = match names.first().filter(|_| dropped > 0) {
            Some(name) => json!({ "dropped_prefix": name[..dropped] }),
            None => Value::Null,
        };
        Ok(Self { graph, theta, buffers, preprocess, training, ..Self::default() })
    }
}

/// Length of the shortest prefix, of whole parts that end with a point, that all names share and behind which
/// all are `known`; 0 where there is none.
fn foreign_prefix(names: &[&str], known: impl Fn(&str) -> bool) -> usize {
    let Some(first) = names.first() else { return 0 };
    let points = first.match_indices('.').map(|(at, _)| at + 1);
    let shared = |n: &usize| names.iter().all(|name| name.starts_with(&first[..*n]));
    std::iter::once(0)
        .chain(points.take_while(shared))
        .find(|&n| names.iter().all(|name| known(&name[n..])))
        .unwrap_or(0)
}

/// A tensor's name as we may know it.
fn spellings(name: &str) -> impl Iterator<Item = String> {
    let mut name = name;
    while let Some(rest) = ["module.", "transformer."].iter().find_map(|p| name.strip_prefix(p)) {
        name = rest;
    }
    let aliases = [("linear.", "fc."), ("classifier.", "fc."), ("shortcut.", "downsample.")];
    let others = aliases.map(|(theirs, ours)| name.replace(theirs, ours));
    std::iter::once(name.to_string()).chain(others)
}

fn list(names: Vec<&str>) -> String {
    match names.as_slice() {
        [] => "none".into(),
        [shown @ .., _] if shown.len() >= 4 => {
            format!("`{}` and {} more", shown[..3].join("`, `"), names.len() - 3)
        }
        all => format!("`{}`", all.join("`, `")),
    }
}

fn decode(block: &Block, tensor: &TensorView<'_>, all: &mut Vec<f32>) -> Result<(), String> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => all.extend(data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
        Dtype::F16 => all.extend(data.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => all.extend(data.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32())),
        Dtype::F64 => {
            for &b in data.as_chunks().0 {
                let wide = f64::from_le_bytes(b);
                let narrow = wide as f32;
                if wide.is_finite() && !narrow.is_finite() {
                    return Err(format!("tensor `{}` holds {wide:e}, too large for F32", block.name));
                }
                all.push(narrow);
            }
        }
        other => {
            return Err(format!("tensor `{}` is of type {other}; use F64, F32, F16 or BF16", block.name));
        }
    }
    Ok(())
}

/// The file's bytes, unpacked if they are an xz stream.
fn read(path: &Path) -> Result<Vec<u8>, NetError> {
    let bytes = std::fs::read(path).map_err(|e| NetError::file(path, format!("it cannot be read: {e}")))?;
    if !bytes.starts_with(b"\xfd7zXZ\0") {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let done = XzReader::new(&bytes[..], true).read_to_end(&mut unpacked);
    done.map_err(|e| {
        NetError::file(path, format!("corrupt xz data after {} unpacked bytes: {e}", unpacked.len()))
    })?;
    Ok(unpacked)
}

fn json_note<T: DeserializeOwned>(path: &Path, key: &str, text: &str) -> Result<T, NetError> {
    serde_json::from_str(text).map_err(|e| NetError::file(path, format!("metadata `{key}`: {e}")))
}

/// Tensors and metadata; what is wrong is said with its place in the file.
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<(SafeTensors<'a>, BTreeMap<String, String>), NetError> {
    let size = bytes.len();
    let bad = |why: String| NetError::file(path, why);
    let header = bytes.first_chunk().map(|&n| u64::from_le_bytes(n));
    let explain = |e: SafeTensorError| {
        bad(match (e, header) {
            (_, None) => {
                format!("it ends after {size} bytes; a safetensors file starts with an 8-byte header length")
            }
            (SafeTensorError::InvalidHeaderLength | SafeTensorError::HeaderTooLarge, Some(n)) => {
                format!(
                    "its first 8 bytes announce a header of {n} bytes but it has {size} bytes; it is truncated or not safetensors"
                )
            }
            (SafeTensorError::InvalidHeader(e), _) => {
                format!("corrupt header at byte {}: not UTF-8", 8 + e.valid_up_to())
            }
            (SafeTensorError::InvalidHeaderDeserialization(e), Some(n)) => {
                let text = bytes.get(8..8 + n as usize).unwrap_or_default();
                let lines = text.split_inclusive(|&b| b == b'\n').take(e.line().saturating_sub(1));
                let byte = 8 + lines.map(<[u8]>::len).sum::<usize>() + e.column().saturating_sub(1);
                format!("corrupt header at byte {byte}: {e}")
            }
            (SafeTensorError::MetadataIncompleteBuffer, _) => {
                format!(
                    "the tensors of its header do not fill its {size} bytes exactly; it is truncated or has bytes appended"
                )
            }
            (e, _) => format!("corrupt header: {e}"),
        })
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(explain)?;
    let notes = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok((SafeTensors::deserialize(bytes).map_err(explain)?, notes))
}

/// A tensor of a safetensors file, to the last bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, the last index fastest.
    pub values: Vec<f64>,
}

/// All tensors of a safetensors file, whatever network they are of, in the order of the file.
///
/// # Errors
/// A file that cannot be read or is not well formed; tensors of other types than F64, F32, F16 and BF16, but for
/// counters of batches, which are left out.
pub fn tensors(path: impl AsRef<Path>) -> Result<Vec<Tensor>, NetError> {
    let path = path.as_ref();
    let bytes = read(path)?;
    let file = parse(path, &bytes)?.0;
    let mut all = Vec::new();
    for (name, tensor) in file.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F32 => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            Dtype::F16 => data.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f64()).collect(),
            Dtype::BF16 => data.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f64()).collect(),
            other => {
                let why = format!("tensor `{name}` is of type {other}; use F64, F32, F16 or BF16");
                return Err(NetError::file(path, why));
            }
        };
        all.push(Tensor { name: name.to_owned(), shape: tensor.shape().to_vec(), values });
    }
    Ok(all)
}
