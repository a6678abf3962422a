//! Scores a saved model on data.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_net::Preprocess;

use crate::error::bail;
use crate::model::{DataPart, load_model};
use crate::source::{DataSource, Part};
use crate::train::{Score, score};
use crate::{Host, Result, TaskError};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Model file (safetensors)
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Architecture of a file that does not describe itself: a name or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    pub arch: Option<String>,
    /// Preprocessing instead of the model's, e.g. mean=0.5,std=0.5 (several numbers: 0.1/0.2/0.3)
    #[arg(long, value_name = "mean=…,std=…")]
    pub normalize: Option<Preprocess>,
    /// `digits`, a file or a folder
    #[arg(long)]
    pub data: Option<String>,
    /// File of the test part
    #[arg(long)]
    pub test: Option<PathBuf>,
    /// Column of the labels (CSV, npz)
    #[arg(long)]
    pub label: Option<String>,
    /// Which part of the data
    #[arg(long)]
    pub part: Option<Part>,
}

/// Scores the model.
///
/// # Errors
/// Model and data that cannot be read or do not go together, a loss that is not finite.
pub fn evaluate(settings: &Settings, host: &Host) -> Result<Score> {
    let Some(file) = &settings.model else { bail!("no model; set `model` to a safetensors file") };
    let Some(data) = settings.data.clone() else {
        bail!("no data; set `data` to digits, a file or a folder")
    };
    let source = DataSource { data, test: settings.test.clone(), label: settings.label.clone(), limit: None };
    let loaded = source.load()?;
    host.note(&loaded.description);
    let part = settings.part.unwrap_or_else(|| Part::default_for(&loaded));
    let model = load_model(file, settings.arch.as_deref(), settings.normalize.as_ref(), &loaded)?;
    let part = match part {
        Part::Train => DataPart::both(loaded.source).0,
        Part::Test => DataPart::both(loaded.source).1,
        Part::All => DataPart::whole(loaded.source)?,
    };
    let (net, examples) = (model.net()?, part.for_model(&model)?);
    let score = score(&net, &model.theta, &model.buffers, &examples)?;
    match score.loss.is_finite() {
        true => Ok(score),
        false => Err(TaskError::Input(format!(
            "the loss is {}: the model holds or yields numbers that are not finite; train it anew at a lower rate",
            score.loss
        ))),
    }
}
