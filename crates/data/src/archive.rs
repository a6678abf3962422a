use std::path::Path;

use crate::arrays::{Array, Arrays, Elements, array_name};
use crate::dataset::number_classes;
use crate::table::{LABELS, MOST_CLASSES};
use crate::{DataError, Dataset, Targets, Values};

const INPUTS: [&str; 7] = ["x", "X", "x_train", "X_train", "images", "x_test", "X_test"];

/// Examples from named arrays.
///
/// Inputs are the array `x` (or `X`, `x_train`, `X_train`, `images`), targets `label` (else `y`,
/// `labels` or a name usual in tables), with `_train` or `_test` if the inputs have it. In an npz
/// archive these are members; an `.npy` file holds the inputs, its neighbours the targets.
pub(crate) fn read(file: &Path, label: Option<&str>) -> Result<Dataset, DataError> {
    let mut arrays = Arrays::open_folder(file)?;
    let x = inputs(&arrays)?;
    pair(&mut arrays, &x, label)
}

/// The test examples that `file` has beside those that [`read`] gives, named alike with `_test`.
pub(crate) fn read_test(file: &Path, label: Option<&str>) -> Result<Option<Dataset>, DataError> {
    let mut arrays = Arrays::open_folder(file)?;
    let x = inputs(&arrays)?;
    let test = format!("{}_test", stem(&x).0);
    let there = test != x && arrays.contains(&test);
    there.then(|| pair(&mut arrays, &test, label)).transpose()
}

/// Whether an `.npy` file has a name usual for inputs.
pub(crate) fn is_inputs(file: &Path) -> bool {
    array_name(file).is_some_and(|name| INPUTS.contains(&&*name))
}

/// An array name without and its ending `_train` or `_test`.
fn stem(name: &str) -> (&str, &str) {
    let end = ["_train", "_test"].iter().find_map(|end| name.strip_suffix(end)).map_or(name.len(), str::len);
    name.split_at(end)
}

/// Name of the array with the inputs: of an `.npy` file its own.
fn inputs(arrays: &Arrays) -> Result<String, DataError> {
    match array_name(arrays.file()).filter(|name| arrays.contains(name)) {
        Some(own) => Ok(own),
        None => arrays.find(&INPUTS),
    }
}

/// Inputs `x` with the targets that go with them.
fn pair(arrays: &mut Arrays, x: &str, label: Option<&str>) -> Result<Dataset, DataError> {
    let part = stem(x).1;
    let y = match label {
        Some(label) if part != "_test" => arrays.find(&[label.to_owned(), format!("{label}{part}")]),
        Some(label) => arrays.find(&[format!("{}_test", stem(label).0), label.to_owned()]),
        None => {
            let names = ["y", "Y", "labels"].into_iter().chain(LABELS);
            arrays.find(&names.map(|n| format!("{n}{part}")).collect::<Vec<_>>())
        }
    }?;
    let (inputs, targets) = (arrays.take(x)?, arrays.take(&y)?);
    let shape = match inputs.shape[..] {
        [_, d] => vec![d],
        [_, height, width] => vec![height, width, 1],
        [_, height, width, channels] => vec![height, width, channels],
        _ => {
            let cause = format!("shape {:?}; save (n, d), (n, h, w) or (n, h, w, c)", inputs.shape);
            return Err(inputs.refused(cause));
        }
    };
    let width = match targets.shape[..] {
        [_] => 1,
        [_, width] if width > 0 => width,
        _ => return Err(targets.refused(format!("shape {:?}; save (n) or (n, width)", targets.shape))),
    };
    let (examples, labels) = (inputs.shape[0], targets.shape[0]);
    if examples != labels {
        return Err(targets.refused(format!("{labels} rows for {examples} of {x:?}; save as many of both")));
    }
    if examples == 0 || shape.contains(&0) {
        return Err(DataError::Empty { file: arrays.file().into() });
    }
    let x = match inputs {
        Array { elements: Elements::Bytes(bytes), .. } => Values::Bytes(bytes),
        numbers => Values::Floats(numbers.into_f32()?),
    };
    let targets = match classes(&targets.elements).filter(|_| width == 1) {
        Some(labels) => number_classes(labels),
        None => Targets::Values { values: targets.into_f32()?, width },
    };
    Ok(Dataset { x, shape, targets })
}

/// Whole numbers that can be classes.
fn classes(elements: &Elements) -> Option<Vec<u32>> {
    let class = |&n: &i64| u32::try_from(n).ok().filter(|&n| n < MOST_CLASSES);
    match elements {
        Elements::Bools(v) => Some(v.iter().map(|&b| u32::from(b)).collect()),
        Elements::Bytes(v) => Some(v.iter().map(|&n| u32::from(n)).collect()),
        Elements::Whole(v) => v.iter().map(class).collect(),
        _ => None,
    }
}
