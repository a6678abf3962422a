//! Scores a saved model on data.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_net::Normalize;

use crate::error::bail;
use crate::model::{DataPart, cut_anew, load_with_data, scored_part};
use crate::source::{DataSource, Part, Reading};
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
    pub normalize: Option<Normalize>,
    /// `digits`, a file or a folder
    #[arg(long)]
    pub data: Option<String>,
    /// File of the test part
    #[arg(long)]
    pub test: Option<PathBuf>,
    /// Column of the labels (CSV, npz)
    #[arg(long)]
    pub label: Option<String>,
    /// Which part of the data [default: the test part, as the model knows it; of other data without one all]
    #[arg(long)]
    pub part: Option<Part>,
    /// How the data are read.
    #[command(flatten)]
    #[serde(flatten)]
    pub reading: Reading,
}

/// What a model scores on which part of the data.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The score.
    #[serde(flatten)]
    pub score: Score,
    /// The part that was scored.
    pub part: Part,
    /// For people: what was found out about the data, left out and looks odd.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Scores the model, and says on what.
///
/// # Errors
/// Model and data that cannot be read or do not go together, a loss that is not finite.
pub fn evaluate(settings: &Settings, host: &Host) -> Result<Evaluation> {
    let Some(file) = &settings.model else { bail!("no model; set `model` to a safetensors file") };
    let (test, label) = (settings.test.as_deref(), settings.label.as_deref());
    let source = DataSource::named(settings.data.as_deref(), test, label, &settings.reading)?;
    let (arch, normalize) = (settings.arch.as_deref(), settings.normalize.as_ref());
    let (model, mut loaded) = load_with_data(file, arch, normalize, source.clone())?;
    host.note(&loaded.description);
    loaded.notes.extend(cut_anew(&model, source.for_model(&model).cut_of(&loaded).as_ref()));
    loaded.notes.iter().for_each(|note| host.note(note));
    let (usual, why) = scored_part(&model, &loaded);
    let part = settings.part.unwrap_or(usual);
    let of_part = match part {
        Part::Train => DataPart::both(loaded.source).0,
        Part::Test => DataPart::both(loaded.source).1,
        Part::All => DataPart::whole(loaded.source)?,
    };
    let (net, examples) = (model.net()?, of_part.for_model(&model)?);
    let score = score(&net, &model.theta, &model.buffers, &examples)?;
    if settings.part.is_none() {
        host.note(format!("scored: {why}"));
    }
    match score.loss.is_finite() {
        true => Ok(Evaluation { score, part, notes: loaded.notes }),
        false => Err(TaskError::Input(format!(
            "the loss is {}: the model holds or yields numbers that are not finite; train it anew at a lower rate",
            score.loss
        ))),
    }
}
