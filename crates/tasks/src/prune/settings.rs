//! What decides the result of a pruning.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_core::named::text;
use thalweg_mfac::{Compensation, Gradual, ObsPruner, Pattern, Saliency, Scope};
use thalweg_net::Normalize;

use crate::Result;
use crate::error::bail;
use crate::settings::{first_given, named_twice};
use crate::source::{DataSource, Reading};

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
    /// Preprocessing instead of the model's, e.g. mean=0.5,std=0.5
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
    /// Use only the first N training examples
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// mfac, magnitude or diag-fisher [default: mfac]
    #[arg(long, conflicts_with = "compare", value_parser = text::<Saliency>)]
    pub method: Option<Saliency>,
    /// Several methods, side by side
    #[arg(long, value_delimiter = ',', value_name = "M,M,…", value_parser = text::<Saliency>)]
    pub compare: Option<Vec<Saliency>>,
    /// Fractions of the weights to remove, each from the given model
    #[arg(long, value_delimiter = ',', value_name = "S,S,…", conflicts_with = "gradual")]
    pub sparsity: Option<Vec<f64>>,
    /// Gradients behind the Fisher matrix (a list: one number per gradual step) [default: 64]
    #[arg(long, value_delimiter = ',', value_name = "M")]
    pub gradients: Option<Vec<usize>>,
    /// Examples per gradient [default: 32]
    #[arg(long, value_name = "N")]
    pub micro_batch: Option<usize>,
    /// Damping of the Fisher matrix [default: 1e-5]
    #[arg(long, alias = "damp", allow_negative_numbers = true)]
    #[serde(alias = "damp")]
    pub damping: Option<f64>,
    /// Length of the Fisher matrix's diagonal blocks; 0 for the whole matrix [default: 128]
    #[arg(long, value_name = "B")]
    pub block: Option<usize>,
    /// Fresh gradients on the way to each sparsity [default: 16]
    #[arg(long, value_name = "R")]
    pub recompute: Option<usize>,
    /// How other weights make up: none, single, joint or greedy [default: joint]
    #[arg(long, value_parser = text::<Compensation>)]
    pub compensation: Option<Compensation>,
    /// Keep N of every M consecutive weights of a row, e.g. 2:4
    #[arg(long, value_name = "N:M", conflicts_with_all = ["sparsity", "gradual"])]
    pub pattern: Option<Pattern>,
    /// What sparsity is a fraction of: prunable or all [default: prunable]
    #[arg(long, value_parser = text::<Scope>)]
    pub relative_to: Option<Scope>,
    /// Weights that may go, by name; * stands for any characters [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub layers: Option<Vec<String>>,
    /// Estimate batch normalisation's statistics afresh after pruning
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub bn_refresh: Option<bool>,
    /// Sparsities to go through one after the other, with fine-tuning after each
    #[arg(long, help_heading = "Gradual pruning", value_delimiter = ',', value_name = "S,S,…")]
    pub gradual: Option<Vec<f64>>,
    /// Epochs of fine-tuning between two steps [default: 2]
    #[arg(long, help_heading = "Gradual pruning", value_name = "N")]
    pub every: Option<usize>,
    /// Epochs in all [default: as many after the last step as between two]
    #[arg(long, help_heading = "Gradual pruning", value_name = "N")]
    pub epochs: Option<usize>,
    /// Learning rates of SGD with momentum 0.9, one epoch each, from the first again after each
    /// step; the first holds after the last step [default: 0.005,0.0005]
    #[arg(long, help_heading = "Gradual pruning", value_delimiter = ',', value_name = "LR,LR,…")]
    pub finetune_lr: Option<Vec<f64>>,
    /// Epochs of the whole from which on the rate is divided by 10, after the last step
    #[arg(long, help_heading = "Gradual pruning", value_delimiter = ',', value_name = "N,N,…")]
    pub drops: Option<Vec<usize>>,
    /// Examples per step of fine-tuning [default: 128]
    #[arg(long, help_heading = "Gradual pruning", value_name = "N")]
    pub batch: Option<usize>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// How the data are read.
    #[command(flatten)]
    #[serde(flatten)]
    pub reading: Reading,
}

/// Its name in settings.
pub(super) fn name_of(method: Saliency) -> String {
    let name = serde_json::to_value(method).unwrap_or_default();
    name.as_str().unwrap_or_default().into()
}

impl Settings {
    /// The data that are asked for.
    pub(super) fn source(&self) -> Result<DataSource> {
        let (test, label) = (self.test.as_deref(), self.label.as_deref());
        let source = DataSource::named(self.data.as_deref(), test, label, &self.reading)?;
        Ok(source.with(self.limit, self.seed))
    }

    pub(super) fn methods(&self) -> Vec<Saliency> {
        self.compare.clone().unwrap_or_else(|| vec![self.method.unwrap_or_default()])
    }

    pub(super) fn pruner(&self, method: Saliency) -> ObsPruner {
        let default = ObsPruner::default();
        ObsPruner {
            method,
            gradients: self.gradients.clone().unwrap_or(default.gradients),
            micro_batch: self.micro_batch.unwrap_or(default.micro_batch),
            damping: self.damping.unwrap_or(default.damping),
            block: self.block.unwrap_or(default.block),
            recompute: self.recompute.unwrap_or(default.recompute),
            compensation: self.compensation.unwrap_or(default.compensation),
            pattern: self.pattern,
            relative_to: self.relative_to.unwrap_or(default.relative_to),
            layers: self.layers.clone().unwrap_or(default.layers),
        }
    }

    /// The schedule of gradual pruning, if that is asked for.
    pub(super) fn schedule(&self) -> Option<Gradual> {
        let default = Gradual::default();
        let targets = self.gradual.clone()?;
        let every = self.every.unwrap_or(default.every);
        Some(Gradual {
            every,
            epochs: self.epochs.unwrap_or(targets.len() * every),
            targets,
            lr: self.finetune_lr.clone().unwrap_or(default.lr),
            drops: self.drops.clone().unwrap_or(default.drops),
            batch: self.batch.unwrap_or(default.batch),
            ..default
        })
    }

    pub(super) fn targets(&self) -> Result<Vec<f64>> {
        let targets = match (&self.gradual, &self.sparsity, self.pattern) {
            (Some(some), ..) | (_, Some(some), None) => some.clone(),
            (.., Some(pattern)) => vec![pattern.sparsity()],
            _ => bail!("no sparsity; set `sparsity`, e.g. 0.5,0.8, or `gradual` or `pattern`, e.g. 2:4"),
        };
        if let Some(bad) = targets.iter().find(|s| !(0.0..=1.0).contains(*s)) {
            bail!("sparsity = {bad} is not allowed; use a number in [0, 1]");
        }
        if let Some(sparsity) = named_twice(&targets) {
            bail!("sparsity {sparsity} is named twice; name each once");
        }
        match self.schedule() {
            Some(schedule) => schedule.validate()?,
            None => {
                let given = [
                    ("every", self.every.is_some()),
                    ("epochs", self.epochs.is_some()),
                    ("finetune-lr", self.finetune_lr.is_some()),
                    ("drops", self.drops.is_some()),
                    ("batch", self.batch.is_some()),
                ];
                if let Some(field) = first_given(given) {
                    bail!("`{field}` belongs to fine-tuning, which only `gradual` pruning has; leave it out");
                }
            }
        }
        if let Some(method) = named_twice(&self.methods()) {
            bail!("{} is compared twice; name each method once", name_of(*method));
        }
        Ok(targets)
    }
}
