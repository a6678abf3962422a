//! `thalweg evaluate`: score a saved model.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use thalweg::net::Preprocess;
use thalweg::train::score;

use crate::config::Common;
use crate::output;
use crate::subject::{Piece, load_model};
use crate::task::{From, Part};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg train --data digits --model mlp:64-128-10 --epochs 10 --out run/
  thalweg evaluate --model run/model.safetensors --data digits
  thalweg evaluate --model run/model.safetensors --data digits --part train --json

A folder is scored by its test part, `digits` and texts too; a single file of examples as a whole.")]
pub struct Evaluate {
    /// Model file (safetensors)
    #[arg(long)]
    model: PathBuf,
    /// Architecture of a file that does not describe itself: a name or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    arch: Option<String>,
    /// Preprocessing instead of the model's, e.g. mean=0.5,std=0.5 (several numbers: 0.1/0.2/0.3)
    #[arg(long, value_name = "mean=…,std=…")]
    normalize: Option<Preprocess>,
    /// `digits`, a file or a folder
    #[arg(long)]
    data: String,
    /// File of the test part
    #[arg(long)]
    test: Option<PathBuf>,
    /// Column of the labels (CSV, npz)
    #[arg(long)]
    label: Option<String>,
    /// Which part of the data
    #[arg(long)]
    part: Option<Part>,
    #[command(flatten)]
    common: Common,
}

impl Evaluate {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        let from = From { data: self.data, test: self.test, label: self.label, limit: None };
        let loaded = from.load()?;
        self.common.note(&loaded.description);
        let part = self.part.unwrap_or_else(|| Part::default_for(&loaded));
        let model = load_model(&self.model, self.arch.as_deref(), self.normalize.as_ref(), &loaded)?;
        let piece = match part {
            Part::Train => Piece::both(loaded.source).0,
            Part::Test => Piece::both(loaded.source).1,
            Part::All => Piece::whole(loaded.source)?,
        };
        let (net, examples) = (model.net()?, piece.for_model(&model)?);
        let score = score(&net, &model.theta, &model.buffers, &examples)?;
        if !score.loss.is_finite() {
            bail!(
                "the loss is {}: the model holds or yields numbers that are not finite; train it anew at a lower rate",
                score.loss
            );
        }
        if self.common.json {
            return output::print_json(&score);
        }
        let accuracy = score.accuracy.map_or_else(String::new, |a| format!("accuracy {:.2} %   ", 100.0 * a));
        output::print(&format!("{accuracy}loss {:.4}   n {}\n", score.loss, score.n))
    }
}
