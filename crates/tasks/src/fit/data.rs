//! What a fit reads: samples, targets as the loss wants them, patterns, and the way back to a model.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use thalweg::convex_relu::{Layers, Loss, Network, Patterns, Samples, Scaling, plain_layers};
use thalweg::data::{self, Dataset, Source, Targets, Values};
use thalweg::net::{Model, Preprocess, named};

use super::arrays::{self, Array};

/// Data of one fit.
pub struct Data {
    /// For people.
    pub description: String,
    /// Training part, scaled unless taken as it is.
    pub train: Samples,
    /// Targets `[n, outputs]` column-major: ±1 for classes, one column if there are two.
    pub y: Vec<f64>,
    /// Test part, if there is one.
    pub test: Option<(Samples, Vec<f64>)>,
    /// Patterns that came with the data.
    pub patterns: Option<Patterns>,
    /// Directions U that came with the data, for scp.
    pub directions: Option<Vec<Vec<f64>>>,
    /// Names of the classes; none for numbers.
    pub classes: Vec<String>,
    scaling: Option<Scaling>,
    shape: Vec<usize>,
}

impl Data {
    /// Reads `train` and `test` (a file, a folder, `digits`); `raw` takes features as they are.
    /// Archives with Xtrain or patterns D are always taken as they are.
    pub fn load(
        train: &str,
        test: Option<&Path>,
        target: Option<&str>,
        loss: Loss,
        raw: bool,
    ) -> Result<Self> {
        if train.ends_with(".npz") {
            let found = arrays::read(Path::new(train))?;
            if found.contains_key("Xtrain") || found.contains_key("D") {
                return Self::archive(train, found, loss);
            }
        }
        let (test, label) = (test.map(Path::to_owned), target.map(str::to_owned));
        let options = data::Options { test, label, ..Default::default() };
        let loaded = data::load(train, &options)?;
        let Source::Examples { train: first, test: second } = loaded.source else {
            bail!("{train} is text; use a table or images with targets");
        };
        let raw_train = samples(&first)?;
        let scaling = (!raw).then(|| Scaling::of(&raw_train));
        let scaled = |raw: Samples| scaling.as_ref().map_or(Ok(raw.clone()), |s| s.apply(&raw));
        let table = matches!(first.x, Values::Floats(_));
        let (y, classes) = targets(&first.targets, loss, table)?;
        let (labels, _) = targets(&second.targets, loss, table)?;
        let test = Some((scaled(samples(&second)?)?, labels));
        let (description, shape) = (loaded.description, first.shape.clone());
        let train = scaled(raw_train)?;
        Ok(Self { description, train, y, test, patterns: None, directions: None, classes, scaling, shape })
    }

    /// An archive with X, y or Xtrain, ytrain, Xtest, ytest, and perhaps D or U: taken as it is.
    fn archive(file: &str, found: std::collections::BTreeMap<String, Array>, loss: Loss) -> Result<Self> {
        let get = |names: [&str; 2]| {
            let array = names.iter().find_map(|n| found.get(*n));
            array.with_context(|| format!("{file} has no array {} or {}", names[0], names[1]))
        };
        let train = matrix(get(["Xtrain", "X"])?)?;
        let signs = |y: &[f64]| -> Vec<f64> {
            let sign = |y: &f64| if *y >= 0.0 { 1.0 } else { -1.0 };
            if loss == Loss::Squared { y.to_vec() } else { y.iter().map(sign).collect() }
        };
        let y = signs(&get(["ytrain", "y"])?.values);
        let test = match (found.get("Xtest"), found.get("ytest")) {
            (Some(x), Some(y)) => Some((matrix(x)?, signs(&y.values))),
            _ => None,
        };
        let patterns = found.get("D").map(|d| columns(d, train.n())).transpose()?;
        let listed = patterns.as_ref().map_or_else(String::new, |p| format!(", {} patterns", p.len()));
        let (n, d) = (train.n(), train.d());
        let description = format!("{file}: {n} samples of {d} features, taken as they are{listed}");
        let directions = found.get("U").map(|u| vectors(u, d)).transpose()?;
        let (classes, scaling, shape) = (Vec::new(), None, vec![d]);
        Ok(Self { description, train, y, test, patterns, directions, classes, scaling, shape })
    }

    /// Outputs of the network.
    pub fn outputs(&self) -> usize {
        self.y.len() / self.train.n()
    }

    /// Whether the last feature is a constant that no attack may move.
    pub fn constant(&self) -> bool {
        let last = self.train.d() - 1;
        self.scaling.is_some() || self.train.rows().all(|x| x[last] == self.train.row(0)[last])
    }

    /// The network as a model on raw data: of two classes with outputs −f and f, whose cross-entropy
    /// is log(1 + exp(−2yf)).
    pub fn model(&self, network: &Network, training: Value) -> Result<Model> {
        let mut layers = match &self.scaling {
            Some(scaling) => scaling.fold(network),
            None => plain_layers(network, self.train.d()),
        };
        let d: usize = self.shape.iter().product();
        if layers.bias.is_empty() {
            layers = Layers { weight: vec![0.0; d], bias: vec![0.0], output: vec![0.0; network.outputs] };
        }
        if self.classes.len() == 2 {
            layers.output = layers.output.iter().map(|a| -a).chain(layers.output.iter().copied()).collect();
        }
        let (hidden, outputs) = (layers.bias.len(), layers.output.len() / layers.bias.len());
        let graph = named(&format!("mlp:{d}-{hidden}-{outputs}"), &self.shape, outputs)?;
        let layout = graph.layout()?;
        let mut theta = vec![0.0; layout.len()];
        for (name, values) in
            [("fc1.weight", &layers.weight), ("fc1.bias", &layers.bias), ("fc2.weight", &layers.output)]
        {
            let block = layout.get(name).with_context(|| format!("the architecture has no {name}"))?;
            theta[block.range()].iter_mut().zip(values).for_each(|(t, v)| *t = *v as f32);
        }
        let (preprocess, classes) = (Preprocess::default(), self.classes.clone());
        Ok(Model { graph, theta, buffers: Vec::new(), preprocess, classes, training })
    }
}

/// The columns of a pattern matrix.
pub fn columns(d: &Array, n: usize) -> Result<Patterns> {
    let [rows, count] = d.shape[..] else {
        bail!("patterns of shape {:?}; give a 0/1 matrix with one row per sample", d.shape)
    };
    let column =
        |i: usize| -> Vec<u8> { (0..rows).map(|k| u8::from(d.values[k * count + i] != 0.0)).collect() };
    let columns: Vec<Vec<u8>> = (0..count).map(column).collect();
    Ok(Patterns::from_columns(n, columns.iter().map(Vec::as_slice))?)
}

/// The rows of length `d` of a matrix, or its columns.
fn vectors(u: &Array, d: usize) -> Result<Vec<Vec<f64>>> {
    match u.shape[..] {
        [_, width] if width == d => Ok(u.values.chunks(d).map(<[f64]>::to_vec).collect()),
        [height, count] if height == d => {
            Ok((0..count).map(|j| (0..d).map(|i| u.values[i * count + j]).collect()).collect())
        }
        _ => bail!("directions U of shape {:?}; give rows of {d} numbers", u.shape),
    }
}

fn matrix(array: &Array) -> Result<Samples> {
    let [_, d] = array.shape[..] else {
        bail!("features of shape {:?}; give one row per sample", array.shape)
    };
    Ok(Samples::new(array.values.clone(), d)?)
}

fn samples(set: &Dataset) -> Result<Samples> {
    let x: Vec<f64> = match &set.x {
        Values::Bytes(x) => x.iter().map(|x| f64::from(*x)).collect(),
        Values::Floats(x) => x.iter().map(|x| f64::from(*x)).collect(),
    };
    Ok(Samples::new(x, set.example_len())?)
}

/// Two classes as −1 and +1, more as one column of ±1 each, numbers as they are; whole numbers of a
/// `table` are numbers under the squared loss.
fn targets(targets: &Targets, loss: Loss, table: bool) -> Result<(Vec<f64>, Vec<String>)> {
    match targets {
        Targets::Values { values, width: 1 } => {
            Ok((values.iter().map(|v| f64::from(*v)).collect(), Vec::new()))
        }
        Targets::Values { width, .. } => {
            bail!("{width} numbers to predict per sample; give one target column")
        }
        Targets::Classes { labels, names }
            if table
                && loss == Loss::Squared
                && names.len() > 2
                && names.iter().all(|n| n.parse::<f64>().is_ok()) =>
        {
            let value = |l: &u32| names[*l as usize].parse::<f64>().unwrap_or(f64::NAN);
            Ok((labels.iter().map(value).collect(), Vec::new()))
        }
        Targets::Classes { labels, names } => {
            let sign = |yes: bool| if yes { 1.0 } else { -1.0 };
            let of = |class: u32| labels.iter().map(move |l| sign(*l == class));
            let y = match names.len() {
                0 | 1 => bail!("all samples are of one class; give samples of two classes or more"),
                2 => of(1).collect(),
                several => (0..several as u32).flat_map(of).collect(),
            };
            Ok((y, names.clone()))
        }
    }
}
