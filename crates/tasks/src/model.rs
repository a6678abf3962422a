//! A saved model and the data that it is used on.

use std::path::Path;

use serde_json::Value;
use thalweg_data::{Dataset, Loaded, Source, Targets, Text};
use thalweg_net::{Model, NetError, Normalize, Preprocess, arch_or_file};

use crate::error::bail;
use crate::source::{DataSource, Part, Parted, outputs, preprocess_of};
use crate::train::Examples;
use crate::{Context, Result, TaskError};

/// Why a text takes no preprocessing.
pub(crate) const NO_NUMBERS: &str = "`normalize` is for numbers, and a text has none; leave it out";

/// Loads a model and the data that it is used on, read as the model was trained on it. A file without metadata
/// needs its architecture and its preprocessing; a preprocessing given replaces the model's own. What was noticed
/// is among the notes of the data.
///
/// # Errors
/// No such files, a model that does not describe itself where no architecture is given, columns that the model
/// reads and the data lack.
pub fn load_with_data(
    file: &Path,
    arch: Option<&str>,
    normalize: Option<&Normalize>,
    source: DataSource,
) -> Result<(Model, Loaded)> {
    let Some(arch) = arch else {
        let mut model = Model::load(file).map_err(|e| match e {
            NetError::NoGraph { path } => TaskError::Input(format!(
                "{}: it carries no graph; set `arch` to its architecture and `normalize` to its preprocessing, e.g. mean=0.5,std=0.5",
                path.display()
            )),
            e => e.into(),
        })?;
        let mut loaded = source.for_model(&model).load()?;
        if !model.features.is_empty() && loaded.features.is_empty() {
            loaded
                .notes
                .push("the inputs have no names; they are taken in the order of the model's columns".into());
        }
        match (normalize, &loaded.source) {
            (None, _) => {}
            (Some(normalize), Source::Examples { train, .. }) => {
                model.preprocess = preprocess_of(normalize, train, &mut loaded.notes);
            }
            (Some(_), Source::Text { .. }) => bail!("{NO_NUMBERS}"),
        }
        return Ok((model, loaded));
    };
    let mut loaded = source.load()?;
    let (input, outputs, preprocess) = match (&loaded.source, normalize) {
        (Source::Examples { train, .. }, Some(normalize)) => {
            (train.shape.clone(), outputs(train), preprocess_of(normalize, train, &mut loaded.notes))
        }
        (Source::Examples { .. }, None) => {
            bail!(
                "a model without metadata needs its preprocessing too; set `normalize`, e.g. mean=0.5,std=0.5"
            )
        }
        (Source::Text { train, .. }, None) => (Vec::new(), train.vocabulary.len(), Preprocess::default()),
        (Source::Text { .. }, Some(_)) => bail!("{NO_NUMBERS}"),
    };
    let model = Model::load_foreign(file, arch_or_file(arch, &input, outputs)?, preprocess)?;
    if let Some(prefix) = model.training.get("dropped_prefix").and_then(Value::as_str) {
        loaded.notes.push(format!("all tensors are named `{prefix}…`; that prefix is dropped"));
    }
    Ok((model, loaded))
}

/// Which part of the data a saved model is scored on unless one is named, and why: the test part that is given, or
/// that was cut from the same data when it was trained; of other data everything.
pub fn scored_part(model: &Model, loaded: &Loaded) -> (Part, &'static str) {
    let Some(whole) = loaded.whole else { return (Part::Test, "the test part") };
    match Parted::of(model) {
        Some(parted) if parted.whole == format!("{whole:016x}") => {
            (Part::Test, "the test part, as it was cut when the model was trained")
        }
        Some(_) => (Part::All, "all examples: these are not the data that the model was trained on"),
        None => (Part::All, "all examples: the model does not say on which data it was trained"),
    }
}

/// A warning where a test part, cut anew from the data that a model was trained on, holds what it was trained on.
pub fn cut_anew(model: &Model, cut: Option<&Parted>) -> Option<String> {
    let (trained, cut) = (Parted::of(model)?, cut?);
    (trained.whole == cut.whole && trained != *cut).then(|| {
        "warning: the test part is cut otherwise than when the model was trained; it holds examples that the model \
         was trained on"
            .into()
    })
}

/// One part of the data.
pub enum DataPart {
    /// Images or rows of a table.
    Set(Dataset),
    /// Characters.
    Text(Text),
}

impl DataPart {
    /// Training and test part.
    pub fn both(source: Source) -> (Self, Self) {
        match source {
            Source::Examples { train, test } => (Self::Set(train), Self::Set(test)),
            Source::Text { train, test } => (Self::Text(train), Self::Text(test)),
        }
    }

    /// Both parts in one.
    ///
    /// # Errors
    /// They differ in shape or classes.
    pub fn whole(source: Source) -> Result<Self> {
        Ok(match source {
            Source::Examples { train, test } => {
                Self::Set(train.concat(&test).context("training and test part do not fit together")?)
            }
            Source::Text { mut train, test } => {
                train.tokens.extend(test.tokens);
                Self::Text(train)
            }
        })
    }

    /// As the model reads them: with its own numbers for classes and characters.
    ///
    /// # Errors
    /// Shape, classes or characters that the model does not know.
    pub fn for_model(self, model: &Model) -> Result<Examples> {
        let examples = match self {
            Self::Set(data) => {
                check_shape(&model.graph.input, &data.shape)?;
                Examples::set(Dataset { targets: align(data.targets, model)?, ..data }, &model.preprocess)?
            }
            Self::Text(mut text) => {
                let characters: Vec<String> = text.vocabulary.iter().map(char::to_string).collect();
                text.tokens =
                    renumber(&text.tokens, &characters, &model.classes, ["character", "characters"])?;
                Examples::windows(text, model.graph.input.first().copied().unwrap_or(1))?
            }
        };
        check_shape(&model.graph.input, examples.shape())?;
        Ok(examples)
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
        Targets::Classes { .. } if model.net()?.classes() == 1 => Ok(match targets.numbers() {
            Some(values) => {
                Targets::Values { values: values.into_iter().map(|v| v as f32).collect(), width: 1 }
            }
            None => targets,
        }),
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
