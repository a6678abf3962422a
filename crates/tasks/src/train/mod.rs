//! Training of networks: [`fit`] does what the settings say; below it, [`Examples`] are data with their
//! preprocessing, [`Training`] is the objective that a method moves, [`run`] drives it, [`score`] tests
//! the result.

pub mod compare;
mod examples;
mod job;
mod ranks;
pub mod report;
mod run;
mod score;
mod settings;
#[cfg(all(feature = "adahessian", feature = "mkor", feature = "mfac"))]
pub mod tour;
mod trainer;
mod training;

pub use examples::{Augment, Examples, Minibatch, standardize};
pub use job::{Fitted, Job, MODEL, Summary, Trained, fit, fit_shared};
pub use run::{Epoch, Plan, run};
pub use score::{Score, score};
pub use settings::Settings;
pub use trainer::Trainer;
pub use training::{Sampling, Training};

use thalweg_net::NetError;
use thiserror::Error;

/// Why data and network do not go together.
#[derive(Debug, Error)]
pub enum TrainError {
    /// No example.
    #[error("the {0} has no example; give it at least one")]
    Empty(&'static str),
    /// Too short for one window.
    #[error(
        "the text has {found} characters but the model's context needs {needed}; give a longer text or a shorter context"
    )]
    ShortText {
        /// Characters found.
        found: usize,
        /// Characters needed: the context and one to predict.
        needed: usize,
    },
    /// The network and the data differ in shape.
    #[error("the model reads {model:?} per example but the data has {data:?}; choose a model for this shape")]
    Shape {
        /// Input shape of the network.
        model: Vec<usize>,
        /// Shape of an example.
        data: Vec<usize>,
    },
    /// Augmentation of what is no image.
    #[error("augmentation needs images [h, w, channels] but the data has {0:?}; leave it out")]
    Augment(Vec<usize>),
    /// A batch size of 0, or of more than there is.
    #[error("batch = {0} is not allowed; use at least 1")]
    Batch(usize),
    /// More parts than examples, or none.
    #[error("accumulate = {accumulate} is not allowed; use 1 to {batch}, the examples of a step")]
    Accumulate {
        /// Parts of a mini-batch.
        accumulate: usize,
        /// Examples per mini-batch.
        batch: usize,
    },
    /// Ranks without an example.
    #[error("a mini-batch of {batch} cannot be shared by {ranks} ranks; use a batch of at least {ranks}")]
    Ranks {
        /// Examples per mini-batch.
        batch: usize,
        /// Ranks that train together.
        ranks: usize,
    },
    /// The network refuses.
    #[error(transparent)]
    Net(#[from] NetError),
}
