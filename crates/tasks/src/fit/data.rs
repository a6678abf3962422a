//! What a fit reads: samples, targets as the loss wants them, patterns.

use std::path::Path;

use thalweg_convex_relu::scaling::Scaling;
use thalweg_convex_relu::{Loss, Patterns, Samples};
use thalweg_data::{self as data, Array, Arrays, Dataset, Source, Targets, Values};

use crate::Result;
use crate::error::bail;

/// Data of one fit.
#[derive(Clone, Debug)]
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
    /// Directions U that came with the data, for sampled programs.
    pub directions: Option<Vec<Vec<f64>>>,
    /// Names of the classes; none for numbers.
    pub classes: Vec<String>,
    /// How raw features became those of the samples; none if they are taken as they are.
    pub scaling: Option<Scaling>,
    /// Shape of an example before it became a row.
    pub shape: Vec<usize>,
}

impl Data {
    /// Reads `train` and `test` (a file, a folder, `digits`); `raw` takes features as they are.
    /// Archives with Xtrain or patterns D are always taken as they are.
    ///
    /// # Errors
    /// Files that cannot be read, targets that the loss does not know.
    pub fn load(
        train: &str,
        test: Option<&Path>,
        target: Option<&str>,
        loss: Loss,
        raw: bool,
    ) -> Result<Self> {
        if train.ends_with(".npz") {
            let arrays = Arrays::open(Path::new(train))?;
            if arrays.contains("Xtrain") || arrays.contains("D") {
                return Self::of_arrays(arrays, loss);
            }
        }
        let (test, label) = (test.map(Path::to_owned), target.map(str::to_owned));
        let options = data::Options { test, label, ..Default::default() };
        let loaded = data::load(train, &options)?;
        let Source::Examples { train: first, test: second } = loaded.source else {
            bail!("{train} is text; use a table or images with targets");
        };
        Self::of_sets(loaded.description, &first, &second, loss, raw)
    }

    /// [`Data::load`] for data at hand.
    ///
    /// # Errors
    /// As [`Data::load`].
    pub fn of_sets(
        description: String,
        train: &Dataset,
        test: &Dataset,
        loss: Loss,
        raw: bool,
    ) -> Result<Self> {
        let raw_train = samples(train)?;
        let scaling = (!raw).then(|| Scaling::of(&raw_train));
        let scaled = |raw: Samples| scaling.as_ref().map_or(Ok(raw.clone()), |s| s.apply(&raw));
        let table = matches!(train.x, Values::Floats(_));
        let (y, classes) = targets(&train.targets, loss, table)?;
        let (labels, _) = targets(&test.targets, loss, table)?;
        let test = Some((scaled(samples(test)?)?, labels));
        let shape = train.shape.clone();
        let train = scaled(raw_train)?;
        Ok(Self { description, train, y, test, patterns: None, directions: None, classes, scaling, shape })
    }

    /// An archive with X, y or Xtrain, ytrain, Xtest, ytest, and perhaps D or U: taken as it is.
    fn of_arrays(mut arrays: Arrays, loss: Loss) -> Result<Self> {
        let file = arrays.file().display().to_string();
        let mut get = |names: [&str; 2]| {
            let name = arrays.find(&names)?;
            arrays.take(&name)
        };
        let signs = |y: Vec<f64>| -> Vec<f64> {
            let sign = |y: &f64| if *y >= 0.0 { 1.0 } else { -1.0 };
            if loss == Loss::Squared { y } else { y.iter().map(sign).collect() }
        };
        let train = matrix(get(["Xtrain", "X"])?)?;
        let y = signs(get(["ytrain", "y"])?.into_f64_or_nan()?);
        let test = match (arrays.take_if_there("Xtest")?, arrays.take_if_there("ytest")?) {
            (Some(x), Some(y)) => Some((matrix(x)?, signs(y.into_f64_or_nan()?))),
            _ => None,
        };
        let (n, d) = (train.n(), train.d());
        let patterns = arrays.take_if_there("D")?.map(|matrix| columns(matrix, n)).transpose()?;
        let directions = arrays.take_if_there("U")?.map(|u| vectors(u, d)).transpose()?;
        let listed = patterns.as_ref().map_or_else(String::new, |p| format!(", {} patterns", p.len()));
        let description = format!("{file}: {n} samples of {d} features, taken as they are{listed}");
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

    /// Whether accuracy means something: targets are classes.
    pub fn classifies(&self, loss: Loss) -> bool {
        loss != Loss::Squared || self.y.iter().all(|y| y.abs() == 1.0)
    }

    /// The loss for these targets where none is set: squared for numbers.
    pub fn loss(&self) -> Loss {
        let numbers = self.classes.is_empty() && self.y.iter().any(|y| y.abs() != 1.0);
        if numbers { Loss::Squared } else { Loss::Hinge }
    }

    /// Keeps the first training samples.
    ///
    /// # Errors
    /// Fewer than 2.
    pub fn limit(&mut self, limit: usize) -> Result<()> {
        let (n, outputs) = (self.train.n(), self.outputs());
        let keep = limit.min(n);
        self.train = self.train.select(&(0..keep).collect::<Vec<_>>())?;
        self.y = (0..outputs).flat_map(|o| self.y[o * n..o * n + keep].to_vec()).collect();
        if keep < n {
            self.patterns = None;
        }
        Ok(())
    }
}

/// The columns of a pattern matrix.
pub(super) fn columns(d: Array, n: usize) -> Result<Patterns> {
    let [rows, count] = d.axes("a 0/1 matrix with one row per sample")?;
    let values = d.into_f64_or_nan()?;
    let column =
        |i: usize| -> Vec<u8> { (0..rows).map(|k| u8::from(values[k * count + i] != 0.0)).collect() };
    let columns: Vec<Vec<u8>> = (0..count).map(column).collect();
    Ok(Patterns::from_columns(n, columns.iter().map(Vec::as_slice))?)
}

/// The rows of length `d` of a matrix, or its columns.
fn vectors(u: Array, d: usize) -> Result<Vec<Vec<f64>>> {
    let wrong = u.refused(format!("directions of shape {:?}; save rows of {d} numbers", u.shape));
    let shape = u.axes("rows of directions")?;
    let values = u.into_f64_or_nan()?;
    match shape {
        [_, width] if width == d => Ok(values.chunks(d).map(<[f64]>::to_vec).collect()),
        [height, count] if height == d => {
            Ok((0..count).map(|j| (0..d).map(|i| values[i * count + j]).collect()).collect())
        }
        _ => Err(wrong.into()),
    }
}

fn matrix(array: Array) -> Result<Samples> {
    let [_, d] = array.axes("features, one row per sample")?;
    Ok(Samples::new(array.into_f64_or_nan()?, d)?)
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
