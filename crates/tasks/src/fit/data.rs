//! What a fit reads: samples, targets as the loss wants them, patterns.

use std::path::Path;

use thalweg_convex_relu::scaling::Scaling;
use thalweg_convex_relu::{Loss, Network, Patterns, Samples};
use thalweg_data::{self as data, Array, Arrays, Dataset, Source, Targets, Task, Values};

use super::Settings;
use crate::error::bail;
use crate::settings::first_given;
use crate::source::{DataSource, Parted, Reading};
use crate::{Context, Result};

/// Data of one fit.
#[derive(Clone, Debug)]
pub struct Data {
    /// For people.
    pub description: String,
    /// Training part, scaled unless taken as it is.
    pub train: Samples,
    /// Targets `[n, outputs]` column-major: ±1 for classes, one column if there are two; numbers less `offset`.
    pub y: Vec<f64>,
    /// Test part, if there is one.
    pub test: Option<(Samples, Vec<f64>)>,
    /// What was subtracted from the numbers to predict, by output: their mean over the training part, which the
    /// saved model adds again as a bias of its output. None of classes and of data that are taken as they are.
    pub offset: Vec<f64>,
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
    /// Names of the features, where they are columns of a table.
    pub features: Vec<String>,
    /// How the test part was cut, where it was.
    pub parted: Option<Parted>,
    /// For people: what was found out, left out and looks odd.
    pub notes: Vec<String>,
}

impl Data {
    /// Reads what the settings name; with `raw` features and targets are taken as they are, and archives with
    /// Xtrain or patterns D always are.
    ///
    /// # Errors
    /// Files that cannot be read, settings that do not apply to them, targets that the loss does not know.
    pub fn load(settings: &Settings) -> Result<Self> {
        let (test, label) = (settings.test.as_deref(), settings.target.as_deref());
        let source = DataSource::named(settings.train.as_deref(), test, label, &settings.reading)?;
        let source = source.with(settings.limit, settings.seed);
        let loss = settings.loss.unwrap_or(Loss::Hinge);
        let mut found = match archive(&source.data)? {
            Some(arrays) => Self::of_arrays(arrays, settings)?,
            None => {
                let loaded = source.load()?;
                let parted = source.cut_of(&loaded);
                let Source::Examples { train, test } = loaded.source else {
                    bail!("{} is text; use a table or images with targets", source.data);
                };
                let raw = settings.raw.unwrap_or(false);
                let of = Self::of_sets(loaded.description, &train, &test, loss, raw)?;
                Self { features: loaded.features, parted, notes: loaded.notes, ..of }
            }
        };
        if let Some(limit) = settings.limit {
            found.limit(limit)?;
        }
        if settings.loss.unwrap_or_else(|| found.loss()) == Loss::Squared {
            found.center();
        }
        Ok(found)
    }

    /// [`Data::load`] for data at hand, of which all samples are used; numbers are not centred yet.
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
        Ok(Self { description, train, y, test, classes, scaling, shape, ..Self::bare()? })
    }

    /// Nothing but what every data set has.
    fn bare() -> Result<Self> {
        Ok(Self {
            description: String::new(),
            train: Samples::new(vec![0.0; 2], 1)?,
            y: Vec::new(),
            test: None,
            offset: Vec::new(),
            patterns: None,
            directions: None,
            classes: Vec::new(),
            scaling: None,
            shape: Vec::new(),
            features: Vec::new(),
            parted: None,
            notes: Vec::new(),
        })
    }

    /// An archive with X, y or Xtrain, ytrain, Xtest, ytest, and perhaps D or U: taken as it is.
    fn of_arrays(mut arrays: Arrays, settings: &Settings) -> Result<Self> {
        let file = arrays.file().display().to_string();
        let reading = Reading { task: settings.reading.task, ..Reading::default() };
        let given = [("test", settings.test.is_some()), ("target", settings.target.is_some())];
        if let Some(field) = first_given(given) {
            bail!("`{field}` does not apply to {file}, which is taken as it is; leave it out");
        }
        if settings.reading != reading {
            bail!(
                "{file} is taken as it is: task, of all settings of reading, applies to it alone; leave the others out"
            );
        }
        let mut get = |names: [&str; 2]| {
            let name = arrays.find(&names)?;
            arrays.take(&name)
        };
        let (x, y) = (get(["Xtrain", "X"])?, get(["ytrain", "y"])?);
        let others = (arrays.take_if_there("Xtest")?, arrays.take_if_there("ytest")?);
        let (x_test, y_test) = match others {
            (Some(x), Some(y)) => (Some(x), Some(y)),
            (None, None) => (None, None),
            (x, _) => {
                let (there, lacking) = if x.is_some() { ("Xtest", "ytest") } else { ("ytest", "Xtest") };
                bail!("{file} has {there} without {lacking}; save both or neither")
            }
        };
        let train = matrix(x)?;
        let test = x_test.map(matrix).transpose()?;
        if let Some(test) = test.as_ref().filter(|test| test.d() != train.d()) {
            bail!(
                "{file}: Xtest has {} features and Xtrain {}; save the same features of both",
                test.d(),
                train.d()
            );
        }
        for (name, x, y) in [("training", Some(&train), Some(&y)), ("test", test.as_ref(), y_test.as_ref())] {
            let (Some(x), Some(y)) = (x, y) else { continue };
            let found = y.shape.first().copied().unwrap_or(0);
            if found != x.n() {
                bail!(
                    "{file}: {} has {found} rows for {} {name} samples; save as many of both",
                    y.name,
                    x.n()
                );
            }
        }
        let (n, d) = (train.n(), train.d());
        let Coded { y, test: labels, classes, notes } = coded(y, y_test, settings)?;
        let patterns = arrays.take_if_there("D")?.map(|matrix| columns(matrix, n)).transpose()?;
        let directions = arrays.take_if_there("U")?.map(|u| vectors(u, d)).transpose()?;
        let listed = patterns.as_ref().map_or_else(String::new, |p| format!(", {} patterns", p.len()));
        let description = format!("{file}: {n} samples of {d} features, taken as they are{listed}");
        let (test, shape) = (test.zip(labels), vec![d]);
        Ok(Self { description, train, y, test, patterns, directions, classes, shape, notes, ..Self::bare()? })
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
    fn limit(&mut self, limit: usize) -> Result<()> {
        let (n, outputs) = (self.train.n(), self.outputs());
        let keep: Vec<usize> = (0..limit.min(n)).collect();
        self.train = self.train.select(&keep)?;
        self.y = (0..outputs).flat_map(|o| self.y[o * n..][..keep.len()].to_vec()).collect();
        self.patterns = self.patterns.take().map(|p| p.select(&keep)).transpose()?;
        Ok(())
    }

    /// Subtracts from numbers their means over the training part: no sum of neurons whose weights cost something
    /// is as cheap a constant.
    pub fn center(&mut self) {
        if self.scaling.is_none() || !self.classes.is_empty() || !self.offset.is_empty() {
            return;
        }
        let mean = |y: &[f64]| y.iter().sum::<f64>() / y.len() as f64;
        self.offset = self.y.chunks(self.train.n()).map(mean).collect();
        for y in self.y.chunks(self.train.n()).filter(|y| y.iter().all(|v| *v == y[0])) {
            self.notes
                .push(format!("all targets of the training part are {}: there is nothing to learn", y[0]));
        }
        let subtract = |y: &mut Vec<f64>, n: usize| {
            let columns = y.chunks_mut(n).zip(&self.offset);
            columns.for_each(|(y, offset)| y.iter_mut().for_each(|y| *y -= offset));
        };
        subtract(&mut self.y, self.train.n());
        if let Some((x, y)) = &mut self.test {
            subtract(y, x.n());
        }
    }

    /// Refuses classes without a training sample.
    pub(super) fn check_classes(&self) -> Result<()> {
        let columns: Vec<&[f64]> = self.y.chunks(self.train.n()).collect();
        let has = |class: usize| match columns[..] {
            [only] => only.contains(&(2.0 * class as f64 - 1.0)),
            _ => columns[class].contains(&1.0),
        };
        match self.classes.iter().enumerate().find(|(class, _)| !has(*class)) {
            Some((_, name)) => bail!(
                "the training part has no sample of class {name}; add some, leave the class out, or cut the parts otherwise"
            ),
            None => Ok(()),
        }
    }

    /// How well a network predicts numbers.
    ///
    /// # Errors
    /// Samples of another size.
    pub(super) fn errors(network: &Network, x: &Samples, y: &[f64]) -> Result<Errors> {
        let f = network.outputs_on(x)?;
        let n = x.n();
        let square = |a: f64, b: f64| (a - b).powi(2);
        let sse = |o: usize| (o * n..(o + 1) * n).map(|i| square(f[i], y[i])).sum::<f64>();
        let outputs = y.len() / n;
        let r2 = |o: usize| {
            let y = &y[o * n..][..n];
            let mean = y.iter().sum::<f64>() / n as f64;
            let varied: f64 = y.iter().map(|y| square(*y, mean)).sum();
            (varied > 0.0).then(|| 1.0 - sse(o) / varied)
        };
        let all: Option<Vec<f64>> = (0..outputs).map(r2).collect();
        Ok(Errors {
            rmse: ((0..outputs).map(sse).sum::<f64>() / y.len() as f64).sqrt(),
            r2: all.map(|all| all.iter().sum::<f64>() / outputs as f64),
        })
    }
}

/// How well numbers are predicted.
pub(super) struct Errors {
    /// Root of the squared error, averaged over samples and outputs.
    pub rmse: f64,
    /// R², averaged over outputs; none where one is constant.
    pub r2: Option<f64>,
}

/// The arrays of an archive that is taken as it is.
fn archive(file: &str) -> Result<Option<Arrays>> {
    if !file.ends_with(".npz") {
        return Ok(None);
    }
    let arrays = Arrays::open(Path::new(file))?;
    Ok((arrays.contains("Xtrain") || arrays.contains("D")).then_some(arrays))
}

/// Targets as the loss wants them.
struct Coded {
    y: Vec<f64>,
    test: Option<Vec<f64>>,
    classes: Vec<String>,
    notes: Vec<String>,
}

/// Targets of an archive by one map for both parts, in double precision; under the squared loss numbers other
/// than ±1 are numbers unless `task` says otherwise.
fn coded(y: Array, test: Option<Array>, settings: &Settings) -> Result<Coded> {
    let signs = |array: &Array| array.clone().into_f64().is_ok_and(|y| y.iter().all(|y| y.abs() == 1.0));
    let squared = settings.loss == Some(Loss::Squared) && !signs(&y);
    let task = settings.reading.task.unwrap_or(if squared { Task::Regression } else { Task::Auto });
    let exact = (y.clone(), test.clone());
    let (first, second, notes) = data::targets(y, test, task)?;
    if let Targets::Values { .. } = first {
        let columns = |array: Array| -> Result<Vec<f64>> {
            let width = array.shape.get(1).copied().unwrap_or(1);
            let rows = array.into_f64()?;
            Ok((0..width)
                .flat_map(|o| rows.iter().copied().skip(o).step_by(width).collect::<Vec<_>>())
                .collect())
        };
        let test = exact.1.map(columns).transpose()?;
        return Ok(Coded { y: columns(exact.0)?, test, classes: Vec::new(), notes });
    }
    let loss = settings.loss.unwrap_or(Loss::Hinge);
    let (y, classes) = targets(&first, loss, false)?;
    let labels = second.map(|second| targets(&second, loss, false)).transpose()?;
    Ok(Coded { y, test: labels.map(|(labels, _)| labels), classes, notes })
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
    let name = array.name.clone();
    Samples::new(array.into_f64_or_nan()?, d).context(name)
}

fn samples(set: &Dataset) -> Result<Samples> {
    let x: Vec<f64> = match &set.x {
        Values::Bytes(x) => x.iter().map(|x| f64::from(*x)).collect(),
        Values::Floats(x) => x.iter().map(|x| f64::from(*x)).collect(),
    };
    Ok(Samples::new(x, set.example_len())?)
}

/// Two classes as −1 and +1, more as one column of ±1 each, numbers by column as they are; whole numbers of a
/// `table` are numbers under the squared loss.
fn targets(targets: &Targets, loss: Loss, table: bool) -> Result<(Vec<f64>, Vec<String>)> {
    match targets {
        Targets::Values { values, width } => {
            let column = |o: usize| values.iter().skip(o).step_by(*width).map(|v| f64::from(*v));
            Ok(((0..*width).flat_map(column).collect(), Vec::new()))
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
