use std::fmt::Display;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What can go wrong with a network, its file or its data.
#[derive(Debug, Error)]
pub enum NetError {
    /// A layer that cannot be built.
    #[error("layer `{layer}`: {why}")]
    Graph {
        /// Name of the layer.
        layer: String,
        /// Cause and remedy.
        why: String,
    },
    /// An architecture name that is not known or not well formed.
    #[error("architecture `{name}`: {why}")]
    Arch {
        /// What was asked for.
        name: String,
        /// Cause and remedy.
        why: String,
    },
    /// A batch without examples.
    #[error("the batch is empty; give at least one example")]
    EmptyBatch,
    /// A buffer of the wrong length.
    #[error("{what} has {found} values where the network needs {expected}")]
    Length {
        /// What was measured.
        what: String,
        /// Length found.
        found: usize,
        /// Length needed.
        expected: usize,
    },
    /// A parameter's index outside the flat buffer.
    #[error("index {found} is outside the {len} parameters")]
    Index {
        /// The index.
        found: usize,
        /// Number of parameters.
        len: usize,
    },
    /// A label outside the classes of the network.
    #[error(
        "label {label} of example {index} is outside 0..{classes}; check the labels or widen the last layer"
    )]
    Label {
        /// Position in the batch.
        index: usize,
        /// The label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// An option of the loss that is out of range.
    #[error("{field} = {value} is not allowed; use {range}")]
    Loss {
        /// Name of the option.
        field: &'static str,
        /// What it is.
        value: String,
        /// What is legal.
        range: &'static str,
    },
    /// A value that is not finite.
    #[error(
        "the output of layer `{layer}` is not finite; check the input for NaN or lower the learning rate"
    )]
    NonFinite {
        /// First layer whose output is not finite.
        layer: String,
    },
    /// An input normalisation that is not well formed or does not fit the data.
    #[error("normalisation: {0}")]
    Preprocess(
        /// Cause and remedy.
        String,
    ),
    /// A model file without the architecture.
    #[error(
        "{path}: it carries no `graph`; give the architecture and the input's normalisation to \
         `Model::load_foreign`"
    )]
    NoGraph {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be read or written, or whose content is not a model.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause and remedy.
        why: String,
    },
}

impl NetError {
    pub(crate) fn graph(layer: &str, why: impl Into<String>) -> Self {
        Self::Graph { layer: layer.into(), why: why.into() }
    }

    pub(crate) fn file(path: &Path, why: impl Display) -> Self {
        Self::File { path: path.into(), why: why.to_string() }
    }

    pub(crate) fn check(what: &str, found: usize, expected: usize) -> Result<(), Self> {
        if found == expected {
            return Ok(());
        }
        Err(Self::Length { what: what.into(), found, expected })
    }
}

impl From<NetError> for thalweg_core::MethodError {
    fn from(e: NetError) -> Self {
        Self::Problem(Box::new(e))
    }
}
