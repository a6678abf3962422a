//! `thalweg evaluate`: score a saved model.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use thalweg::data::{Dataset, Source, Targets};
use thalweg::net::{Model, Preprocess, arch_or_file};
use thalweg::train::{Examples, score};

use crate::config::Common;
use crate::output;
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
        let model = match &self.arch {
            None => Model::load(&self.model)?,
            Some(arch) => {
                let (input, outputs) = match &loaded.source {
                    Source::Examples { train, .. } => (train.shape.clone(), train.classes().unwrap_or(1)),
                    Source::Text { train, .. } => (Vec::new(), train.vocabulary.len()),
                };
                let Some(preprocess) = self.normalize.clone() else {
                    bail!(
                        "a model without metadata needs its preprocessing too; add --normalize mean=…,std=…"
                    );
                };
                Model::load_foreign(&self.model, arch_or_file(arch, &input, outputs)?, preprocess)?
            }
        };
        let preprocess = self.normalize.as_ref().unwrap_or(&model.preprocess);
        let net = model.net()?;
        let examples = match loaded.source {
            Source::Examples { train, test } => {
                let data = match part {
                    Part::Train => train,
                    Part::Test => test,
                    Part::All => train.concat(&test).context("training and test part do not fit together")?,
                };
                check_shape(net.input_shape(), &data.shape)?;
                Examples::set(Dataset { targets: align(data.targets, &model)?, ..data }, preprocess)?
            }
            Source::Text { train, test } => {
                let mut text = match part {
                    Part::Train => train,
                    Part::Test => test,
                    Part::All => {
                        let mut all = train;
                        all.tokens.extend(test.tokens);
                        all
                    }
                };
                // The model's numbers for the characters, not this text's.
                let characters: Vec<String> = text.vocabulary.iter().map(char::to_string).collect();
                text.tokens =
                    renumber(&text.tokens, &characters, &model.classes, ["character", "characters"])?;
                let context = model.graph.input.first().copied().unwrap_or(1);
                Examples::windows(text, context)?
            }
        };
        check_shape(net.input_shape(), examples.shape())?;
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

fn check_shape(model: &[usize], data: &[usize]) -> Result<()> {
    if model != data {
        bail!("the model reads {model:?} per example but the data has {data:?}; use data of this shape");
    }
    Ok(())
}

/// The data's targets as the model knows them: its own numbers for the classes, real numbers where
/// it predicts those.
fn align(targets: Targets, model: &Model) -> Result<Targets> {
    let classes = &model.classes;
    match targets {
        Targets::Classes { labels, names } if !classes.is_empty() => Ok(Targets::Classes {
            labels: renumber(&labels, &names, classes, ["class", "classes"])?,
            names: classes.clone(),
        }),
        Targets::Values { .. } if !classes.is_empty() => {
            bail!(
                "the model tells {} classes apart but the data has numbers to predict; use data with these classes",
                classes.len()
            )
        }
        // Real targets that happen to be whole.
        Targets::Classes { labels, names }
            if model.net()?.classes() == 1 && names.iter().all(|n| n.parse::<u32>().is_ok()) =>
        {
            Ok(Targets::Values { values: labels.iter().map(|&l| l as f32).collect(), width: 1 })
        }
        targets => Ok(targets),
    }
}

/// Numbers of one list of names as those of another.
fn renumber(numbers: &[u32], from: &[String], to: &[String], [one, all]: [&str; 2]) -> Result<Vec<u32>> {
    let table: Vec<Option<u32>> =
        from.iter().map(|name| to.iter().position(|t| t == name).map(|i| i as u32)).collect();
    let number = |&n: &u32| {
        let known = table.get(n as usize).copied().flatten();
        known.with_context(|| {
            let name = from.get(n as usize).map_or("?", String::as_str);
            format!("the data has the {one} {name:?}, which the model never saw; use data with the model's {} {all}", to.len())
        })
    };
    numbers.iter().map(number).collect()
}
