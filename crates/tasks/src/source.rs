//! Data by name or file, its parts, and the network that they are for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_data::{
    self as data, Cut, Dataset, Header, Layout, Origin, Separator, Source, Targets, Task, Text, Values,
};
use thalweg_net::{Graph, Model, Normalize, Preprocess, arch_or_file};
use thalweg_plot::Report;

use crate::Result;
use crate::error::bail;
use crate::model::{DataPart, NO_NUMBERS, load_with_data};
use crate::settings::first_given;
use crate::train::{Examples, standardize};

/// Data and architecture, brought together.
pub struct Prepared {
    /// What was read, for people.
    pub description: String,
    /// The architecture for these data.
    pub graph: Graph,
    /// What the network does to raw values first.
    pub preprocess: Preprocess,
    /// Names of the classes; the characters of a text.
    pub classes: Vec<String>,
    /// To train on.
    pub train: Examples,
    /// To test on.
    pub test: Examples,
    /// Names of the inputs, where they are columns of a table.
    pub features: Vec<String>,
    /// How the test part was cut, where it was.
    pub parted: Option<Parted>,
    /// For people: what was found out, left out and looks odd.
    pub notes: Vec<String>,
}

/// How the test part is cut from examples that come without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Drawn at random, of each class its share
    Stratified,
    /// The last examples of the file, as series need it
    Tail,
}

/// How data are read, and which part of them tests: settings of every verb that reads examples. One that does
/// not apply to the data is refused by name.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Reading {
    /// What the labels are: auto, classification or regression (tables, arrays) [default: auto]
    #[arg(long, help_heading = "Of the data")]
    #[serde(with = "by_name", skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// How a test part is cut from a file without one [default: stratified; of a text its tail]
    #[arg(long, help_heading = "Of the data", value_name = "stratified|tail", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Share of the examples in a test part that is cut, in (0, 1) [default: a sixth; of a text a tenth]
    #[arg(long, help_heading = "Of the data", value_name = "F", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// Seed of the stratified cut [default: the seed; of a saved model the one it was trained with]
    #[arg(long, help_heading = "Of the data", value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    /// Images in arrays: nhwc (channels last), nchw (channels first) or auto [default: auto]
    #[arg(long, help_heading = "Of the data")]
    #[serde(with = "by_name", skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Whether a table's first row holds names: auto, yes or no [default: auto]
    #[arg(long, help_heading = "Of the data")]
    #[serde(with = "by_name", skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// What separates a table's cells: comma, semicolon, tab, bar or blanks [default: found out]
    #[arg(long, help_heading = "Of the data")]
    #[serde(with = "by_name", skip_serializing_if = "Option::is_none")]
    pub separator: Option<Separator>,
    /// What else marks a missing value in a table, beside NA, NaN, null, ? and the like
    #[arg(
        long,
        help_heading = "Of the data",
        value_delimiter = ',',
        value_name = "MARK,…",
        allow_hyphen_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<String>>,
    /// Leave out a table's rows with missing values
    #[arg(long, help_heading = "Of the data", num_args = 0, default_missing_value = "true")]
    #[serde(alias = "drop_missing", skip_serializing_if = "Option::is_none")]
    pub drop_missing: Option<bool>,
    /// Columns of a table that are no inputs
    #[arg(long, help_heading = "Of the data", value_delimiter = ',', value_name = "COLUMN,…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<Vec<String>>,
}

/// Choices of the readers, written by their names.
mod by_name {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<T: Display, S: Serializer>(choice: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match choice {
            Some(choice) => to.collect_str(choice),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let name = Option::<String>::deserialize(from)?;
        name.map(|name| name.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

/// Where data come from and how much of them is used.
#[derive(Clone, Debug, Default)]
pub struct DataSource {
    /// A name, a file or a folder.
    pub data: String,
    /// The test part.
    pub test: Option<PathBuf>,
    /// Column of the labels.
    pub label: Option<String>,
    /// Only so many of the first training examples.
    pub limit: Option<usize>,
    /// How they are read and cut.
    pub reading: Reading,
    /// Seed of the cut, unless `reading` has one.
    pub seed: u64,
    /// The columns of tables that are inputs, in this order. Default: all.
    pub features: Vec<String>,
    /// What labels are for the model that the data are for, unless `reading` says it. Default: found out.
    pub expected: Task,
    /// The cut of the model that the data are for, unless `reading` asks for another.
    pub parted: Option<Parted>,
}

/// How the data of a model were cut; saved models keep it, so that their test part can be found again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parted {
    /// How the test part was cut.
    pub split: Split,
    /// Seed of a stratified cut.
    pub split_seed: u64,
    /// Share of the test part; none for the usual one.
    pub test_fraction: Option<f64>,
    /// [`Dataset::fingerprint`] of the whole, in hexadecimal.
    pub whole: String,
}

impl DataSource {
    /// What settings name; the one place where it is checked that they do.
    ///
    /// # Errors
    /// No data are named.
    pub fn named(
        data: Option<&str>,
        test: Option<&Path>,
        label: Option<&str>,
        reading: &Reading,
    ) -> Result<Self> {
        let Some(data) = data else { bail!("no data; set `data` to digits, a file or a folder") };
        let (data, test, label) = (data.into(), test.map(Into::into), label.map(Into::into));
        Ok(Self { data, test, label, reading: reading.clone(), ..Self::default() })
    }

    /// The same of the first `limit` training examples, cut by `seed`.
    pub fn with(self, limit: Option<usize>, seed: Option<u64>) -> Self {
        Self { limit, seed: seed.unwrap_or(0), ..self }
    }

    /// The same as a saved model knows it: its columns by name, its kind of labels, and its test part.
    pub fn for_model(mut self, model: &Model) -> Self {
        self.features.clone_from(&model.features);
        self.expected = if model.classes.is_empty() { Task::Regression } else { Task::Classification };
        self.parted = Parted::of(model);
        self
    }

    /// Whether `reading` asks for a cut, by which field.
    fn asked_cut(&self) -> Option<&'static str> {
        let Reading { split, split_seed, test_fraction, .. } = self.reading;
        let asked = [
            ("split", split.is_some()),
            ("split_seed", split_seed.is_some()),
            ("test_fraction", test_fraction.is_some()),
        ];
        first_given(asked)
    }

    /// How a test part is cut where there is none.
    fn cut(&self) -> (Split, u64, Option<f64>) {
        match &self.parted {
            Some(p) if self.asked_cut().is_none() => (p.split, p.split_seed, p.test_fraction),
            _ => (
                self.reading.split.unwrap_or(Split::Stratified),
                self.reading.split_seed.unwrap_or(self.seed),
                self.reading.test_fraction,
            ),
        }
    }

    /// How the data were cut, for a model to keep; none where they were not.
    pub fn cut_of(&self, loaded: &data::Loaded) -> Option<Parted> {
        let (split, split_seed, test_fraction) = self.cut();
        let whole = format!("{:016x}", loaded.whole?);
        // Of a tail the seed says nothing.
        let split_seed = if split == Split::Tail { 0 } else { split_seed };
        Some(Parted { split, split_seed, test_fraction, whole })
    }

    /// Reads and splits.
    ///
    /// # Errors
    /// No such data, unreadable, or a setting that does not apply to them.
    pub fn load(&self) -> Result<data::Loaded> {
        if self.limit == Some(0) {
            bail!("`limit` = 0 is not allowed; use at least 1");
        }
        if let (Some(Split::Tail), Some(_)) = (self.reading.split, self.reading.split_seed) {
            bail!("`split_seed` is for the stratified cut; leave it out, or set `split` to stratified");
        }
        let reading = &self.reading;
        let (split, seed, test_fraction) = self.cut();
        let options = data::Options {
            test: self.test.clone(),
            label: self.label.clone(),
            task: reading.task.unwrap_or_default(),
            expected: self.expected,
            layout: reading.layout.unwrap_or_default(),
            table: data::TableOptions {
                separator: reading.separator,
                header: reading.header.unwrap_or_default(),
                missing: reading.missing.clone().unwrap_or_default(),
                drop_missing: reading.drop_missing.unwrap_or(false),
            },
            drop: reading.drop.clone().unwrap_or_default(),
            features: self.features.clone(),
            cut: if split == Split::Tail { Cut::Tail } else { Cut::Stratified { seed } },
            test_fraction,
        };
        let mut loaded = data::load(&self.data, &options)?;
        let text = matches!(loaded.source, Source::Text { .. });
        match self.asked_cut() {
            Some(field) if loaded.origin == Origin::Given => {
                bail!("`{field}` is for data without a test part, but there is one; leave it out")
            }
            Some(_) if text && (reading.split == Some(Split::Stratified) || reading.split_seed.is_some()) => {
                bail!("the test part of a text is its tail; set `split` to tail, or leave it out")
            }
            _ => {}
        }
        if let Some(limit) = self.limit {
            keep_first(&mut loaded, limit);
        }
        Ok(loaded)
    }
}

/// Only the first `limit` training examples or characters; a note says which classes that leaves out.
fn keep_first(loaded: &mut data::Loaded, limit: usize) {
    let all = match &mut loaded.source {
        Source::Text { train, .. } => {
            let all = train.tokens.len();
            train.tokens.truncate(limit);
            all
        }
        Source::Examples { train, .. } => {
            let all = train.len();
            let classes = |part: &Dataset| match &part.targets {
                Targets::Classes { labels, .. } => labels.iter().collect::<BTreeSet<_>>().len(),
                Targets::Values { .. } => 0,
            };
            let before = classes(train);
            *train = train.slice(0..limit.min(all));
            let after = classes(train);
            if after < before {
                loaded.notes.push(format!(
                    "warning: the first {limit} training examples hold {after} of {before} classes; a file sorted by \
                     class wants a higher `limit`"
                ));
            }
            all
        }
    };
    if limit < all {
        loaded.description += &format!("; the first {limit} for training are used");
    }
}

impl Parted {
    /// The usual share off the end of any file.
    pub fn tail() -> Self {
        Self { split: Split::Tail, split_seed: 0, test_fraction: None, whole: String::new() }
    }

    /// What a saved model says of its data.
    pub fn of(model: &Model) -> Option<Self> {
        serde_json::from_value(model.data.clone()).ok()
    }
}

impl Prepared {
    /// Loads the data, builds the architecture for them and finds the preprocessing: the one
    /// given, else the standardisation of the training part.
    ///
    /// # Errors
    /// No such data, an architecture that does not fit them.
    pub fn load(from: &DataSource, arch: &str, normalize: Option<&Normalize>) -> Result<Self> {
        let loaded = from.load()?;
        let parted = from.cut_of(&loaded);
        let prepared = match loaded.source {
            Source::Examples { train, test } => {
                Self::of_sets(loaded.description, train, test, arch, normalize)
            }
            Source::Text { .. } if normalize.is_some() => bail!("{NO_NUMBERS}"),
            Source::Text { train, test } => Self::of_texts(loaded.description, train, test, arch),
        }?;
        let notes = loaded.notes.into_iter().chain(prepared.notes).collect();
        Ok(Self { features: loaded.features, parted, notes, ..prepared })
    }

    /// [`Prepared::load`] for data at hand.
    ///
    /// # Errors
    /// As [`Prepared::load`].
    pub fn of_sets(
        description: String,
        train: Dataset,
        test: Dataset,
        arch: &str,
        normalize: Option<&Normalize>,
    ) -> Result<Self> {
        let graph = arch_or_file(arch, &train.shape, outputs(&train))?;
        let mut notes = Vec::new();
        let preprocess = match normalize {
            Some(normalize) => preprocess_of(normalize, &train, &mut notes),
            None => standardize(&train),
        };
        notes.extend(far_targets(&train));
        let classes = class_names(&train);
        let (train, test) = (Examples::set(train, &preprocess)?, Examples::set(test, &preprocess)?);
        let (features, parted) = Default::default();
        Ok(Self { description, graph, preprocess, classes, train, test, features, parted, notes })
    }

    /// Data as a saved model reads them, which gives architecture, preprocessing and classes; with the model, which
    /// may go on training.
    ///
    /// # Errors
    /// As [`load_with_data`]; data that the model does not know.
    pub fn of_model(from: DataSource, file: &Path) -> Result<(Self, Model)> {
        let (model, loaded) = load_with_data(file, None, None, from.clone())?;
        let parted = from.for_model(&model).cut_of(&loaded);
        let (train, test) = DataPart::both(loaded.source);
        let prepared = Self {
            description: loaded.description,
            graph: model.graph.clone(),
            preprocess: model.preprocess.clone(),
            classes: model.classes.clone(),
            train: train.for_model(&model)?,
            test: test.for_model(&model)?,
            features: model.features.clone(),
            parted,
            notes: loaded.notes,
        };
        Ok((prepared, model))
    }

    /// The training part alone: its last sixth takes the place of the test part, so that what is chosen by it
    /// (learning rates) has not seen the test part.
    ///
    /// # Errors
    /// Too few examples.
    pub fn held_out(&self) -> Result<Self> {
        let size = self.train.size();
        let (train, test) = self.train.split(size - size / 6)?;
        Ok(Self {
            description: self.description.clone(),
            graph: self.graph.clone(),
            preprocess: self.preprocess.clone(),
            classes: self.classes.clone(),
            train,
            test,
            features: self.features.clone(),
            parted: self.parted.clone(),
            notes: self.notes.clone(),
        })
    }

    /// [`Prepared::load`] for texts at hand.
    ///
    /// # Errors
    /// As [`Prepared::load`].
    pub fn of_texts(description: String, train: Text, test: Text, arch: &str) -> Result<Self> {
        let classes: Vec<String> = train.vocabulary.iter().map(char::to_string).collect();
        let graph = arch_or_file(arch, &[], classes.len())?;
        let context = graph.input.first().copied().unwrap_or(1);
        let preprocess = Preprocess::default();
        let (train, test) = (Examples::windows(train, context)?, Examples::windows(test, context)?);
        let (features, parted, notes) = Default::default();
        Ok(Self { description, graph, preprocess, classes, train, test, features, parted, notes })
    }
}

/// A section of a report with what the reader of the data noted, if it did.
pub(crate) fn of_data(report: &mut Report, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    let section = report.section("Data");
    notes.iter().for_each(|note| {
        section.text(&format!("{note}."));
    });
}

/// What [`Normalize`] means for these data; a note says the scale where it was left open.
pub fn preprocess_of(normalize: &Normalize, data: &Dataset, notes: &mut Vec<String>) -> Preprocess {
    let bytes = matches!(data.x, Values::Bytes(_));
    if normalize.scale.is_none() {
        notes.push(format!(
            "inputs are {} before mean and std, since the data are {}",
            if bytes { "divided by 255" } else { "taken as they are" },
            if bytes { "bytes" } else { "real numbers" },
        ));
    }
    normalize.of(bytes)
}

/// A note where real targets are far from what networks start with: outputs near 0.
fn far_targets(data: &Dataset) -> Option<String> {
    let Targets::Values { values, width } = &data.targets else { return None };
    let n = (values.len() / width).max(1) as f64;
    let far = (0..*width).find_map(|j| {
        let column = || values.iter().skip(j).step_by(*width).map(|&v| f64::from(v));
        let mean = column().sum::<f64>() / n;
        let std = (column().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        (mean.abs() > 10.0 * std.max(1.0) || std > 10.0).then_some((mean, std))
    });
    far.map(|(mean, std)| {
        format!(
            "the targets have mean {mean:.4} and standard deviation {std:.4} and are taken as they are; training is \
             faster where they are near 0 with a deviation of 1"
        )
    })
}

/// Outputs that a network needs for these targets.
pub(crate) fn outputs(data: &Dataset) -> usize {
    match &data.targets {
        Targets::Classes { names, .. } => names.len(),
        Targets::Values { width, .. } => *width,
    }
}

/// Names of the classes, none for real targets.
fn class_names(data: &Dataset) -> Vec<String> {
    match &data.targets {
        Targets::Classes { names, .. } => names.clone(),
        Targets::Values { .. } => Vec::new(),
    }
}

/// The part of data that a score is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The training part.
    Train,
    /// The test part.
    Test,
    /// Everything.
    All,
}

impl Part {
    /// A single file of examples is scored whole; everything else by its test part.
    pub fn default_for(loaded: &data::Loaded) -> Self {
        match (&loaded.source, &loaded.origin) {
            (Source::Examples { .. }, Origin::Cut | Origin::Drawn) => Self::All,
            _ => Self::Test,
        }
    }
}
