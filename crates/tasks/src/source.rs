//! Data by name or file, its parts, and the network that they are for.

use std::path::PathBuf;

use thalweg_data::{self as data, Dataset, Origin, Source, Targets, Text};
use thalweg_net::{Graph, Preprocess, arch_or_file};

use crate::Result;
use crate::error::bail;
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
}

impl DataSource {
    /// Reads and splits.
    ///
    /// # Errors
    /// No such data, or unreadable.
    pub fn load(&self) -> Result<data::Loaded> {
        if self.limit == Some(0) {
            bail!("limit = 0 is not allowed; use at least 1");
        }
        let options =
            data::Options { test: self.test.clone(), label: self.label.clone(), ..Default::default() };
        Ok(data::load(&self.data, &options)?)
    }
}

impl Prepared {
    /// Loads the data, builds the architecture for them and finds the preprocessing: the one
    /// given, else the standardisation of the training part.
    ///
    /// # Errors
    /// No such data, an architecture that does not fit them.
    pub fn load(from: &DataSource, arch: &str, normalize: Option<&Preprocess>) -> Result<Self> {
        let loaded = from.load()?;
        match loaded.source {
            Source::Examples { mut train, test } => {
                if let Some(limit) = from.limit {
                    train = train.slice(0..limit.min(train.len()));
                }
                Self::of_sets(loaded.description, train, test, arch, normalize)
            }
            Source::Text { mut train, test } => {
                if let Some(limit) = from.limit {
                    train.tokens.truncate(limit);
                }
                Self::of_texts(loaded.description, train, test, arch)
            }
        }
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
        normalize: Option<&Preprocess>,
    ) -> Result<Self> {
        let graph = arch_or_file(arch, &train.shape, outputs(&train))?;
        let preprocess = normalize.cloned().unwrap_or_else(|| standardize(&train));
        let classes = class_names(&train);
        let (train, test) = (Examples::set(train, &preprocess)?, Examples::set(test, &preprocess)?);
        Ok(Self { description, graph, preprocess, classes, train, test })
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
        Ok(Self { description, graph, preprocess, classes, train, test })
    }
}

/// Outputs that a network needs for these targets.
fn outputs(data: &Dataset) -> usize {
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
            (Source::Examples { .. }, Origin::Cut) => Self::All,
            _ => Self::Test,
        }
    }
}
