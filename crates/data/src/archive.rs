use std::path::Path;

use crate::arrays::{Array, Arrays, Elements, array_name};
use crate::choice::choice;
use crate::examples::LABELS;
use crate::labels::{Labels, Task, Unlabelled, settle_labels};
use crate::{DataError, Targets, Values};

const INPUTS: [&str; 9] = ["x", "X", "x_train", "X_train", "xtrain", "Xtrain", "images", "x_test", "X_test"];

/// Where the channels of images stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// First where the first axis of an image is at most 4 long and its last is longer, else last.
    #[default]
    Auto,
    /// (height, width, channels).
    ChannelsLast,
    /// (channels, height, width), as PyTorch has it.
    ChannelsFirst,
}

impl Layout {
    /// The choices by name.
    pub const ALL: [(&str, Self); 3] =
        [("auto", Self::Auto), ("nhwc", Self::ChannelsLast), ("nchw", Self::ChannelsFirst)];
}

choice!(Layout, "layout");

/// Examples from named arrays, and the test examples beside them, named alike with `_test`.
///
/// Inputs are the array `x` (or `X`, `x_train`, `X_train`, `images`), targets `label` (else `y`,
/// `labels` or a name usual in tables), with `_train`, `train`, `_test` or `test` if
/// the inputs have it. In an npz
/// archive these are members; an `.npy` file holds the inputs, its neighbours the targets.
pub(crate) fn read(
    file: &Path,
    label: Option<&str>,
    layout: Layout,
    notes: &mut Vec<String>,
) -> Result<(Unlabelled, Option<Unlabelled>), DataError> {
    let mut arrays = Arrays::open_folder(file)?;
    let x = inputs(&arrays)?;
    let examples = pair(&mut arrays, &x, label, layout, notes)?;
    let (name, end) = stem(&x);
    let test = match end {
        "" => format!("{name}_test"),
        end => format!("{name}{}", end.replace("train", "test")),
    };
    let there = test != x && arrays.contains(&test);
    let test = there.then(|| pair(&mut arrays, &test, label, layout, &mut Vec::new())).transpose()?;
    Ok((examples, test))
}

/// Whether an `.npy` file has a name usual for inputs.
pub(crate) fn is_inputs(file: &Path) -> bool {
    array_name(file).is_some_and(|name| INPUTS.contains(&&*name))
}

/// An array name without and its ending `_train` or `_test`, behind one letter also without the line.
fn stem(name: &str) -> (&str, &str) {
    let of = |ends: [&str; 2]| ends.iter().find_map(|end| name.strip_suffix(end)).map(str::len);
    let bare = of(["train", "test"]).filter(|&n| n == 1);
    name.split_at(of(["_train", "_test"]).or(bare).unwrap_or(name.len()))
}

/// Name of the array with the inputs: of an `.npy` file its own.
fn inputs(arrays: &Arrays) -> Result<String, DataError> {
    match array_name(arrays.file()).filter(|name| arrays.contains(name)) {
        Some(own) => Ok(own),
        None => arrays.find(&INPUTS),
    }
}

/// Inputs `x` with the targets that go with them.
fn pair(
    arrays: &mut Arrays,
    x: &str,
    label: Option<&str>,
    layout: Layout,
    notes: &mut Vec<String>,
) -> Result<Unlabelled, DataError> {
    let part = stem(x).1;
    let y = match label {
        Some(label) if !part.ends_with("test") => arrays.find(&[label.to_owned(), format!("{label}{part}")]),
        Some(label) => arrays.find(&[format!("{}{part}", stem(label).0), label.to_owned()]),
        None => {
            let names = ["y", "Y", "labels"].into_iter().chain(LABELS);
            arrays.find(&names.map(|n| format!("{n}{part}")).collect::<Vec<_>>())
        }
    }?;
    let (inputs, targets) = (arrays.take(x)?, arrays.take(&y)?);
    let mut channels_first = false;
    let shape = match inputs.shape[..] {
        [_, d] => vec![d],
        [_, height, width] => vec![height, width, 1],
        [_, a, b, c] => {
            channels_first = match layout {
                Layout::Auto => a <= 4 && c > 4,
                layout => layout == Layout::ChannelsFirst,
            };
            if layout == Layout::Auto && channels_first {
                notes
                    .push(format!("{x}: images of {a}×{b}×{c} are taken for {a} channels of {b}×{c} pixels"));
            }
            if channels_first { vec![b, c, a] } else { vec![a, b, c] }
        }
        _ => {
            let cause = format!("shape {:?}; save (n, d), (n, h, w) or (n, h, w, c)", inputs.shape);
            return Err(inputs.refused(cause));
        }
    };
    let width = width(&targets)?;
    let (examples, given) = (inputs.shape[0], targets.shape[0]);
    if examples != given {
        return Err(targets.refused(format!("{given} rows for {examples} of {x:?}; save as many of both")));
    }
    if examples == 0 || shape.contains(&0) {
        return Err(DataError::Empty { file: arrays.file().into() });
    }
    let x = match inputs {
        Array { elements: Elements::Bytes(bytes), .. } => Values::Bytes(bytes),
        numbers => Values::Floats(numbers.into_f32()?),
    };
    let x = match x {
        x if !channels_first => x,
        Values::Bytes(x) => Values::Bytes(channels_last(&x, &shape)),
        Values::Floats(x) => Values::Floats(channels_last(&x, &shape)),
    };
    Ok(Unlabelled { x, shape, labels: labels(targets, width)? })
}

/// Images of `[height, width, channels]` whose channels stood first.
fn channels_last<T: Copy>(x: &[T], shape: &[usize]) -> Vec<T> {
    let (pixels, channels) = (shape[0] * shape[1], shape[2]);
    let mut out = Vec::with_capacity(x.len());
    for image in x.chunks_exact(pixels * channels) {
        out.extend((0..pixels).flat_map(|p| (0..channels).map(move |c| image[c * pixels + p])));
    }
    out
}

/// What arrays of labels mean, (n) or (n, width), by one map for both parts; with notes for people.
///
/// # Errors
/// Other shapes, elements that are not finite, and classes that only the test part has.
pub fn targets(
    train: Array,
    test: Option<Array>,
    task: Task,
) -> Result<(Targets, Option<Targets>, Vec<String>), DataError> {
    let file = test.as_ref().unwrap_or(&train).file.clone();
    let coded = |array: Array| {
        let width = width(&array)?;
        labels(array, width)
    };
    let mut notes = Vec::new();
    let (train, test) = settle_labels(coded(train)?, test.map(coded).transpose()?, task, &file, &mut notes)?;
    Ok((train, test, notes))
}

/// Numbers per example of an array of labels.
fn width(targets: &Array) -> Result<usize, DataError> {
    match targets.shape[..] {
        [_] => Ok(1),
        [_, width] if width > 0 => Ok(width),
        _ => Err(targets.refused(format!("shape {:?}; save (n) or (n, width)", targets.shape))),
    }
}

/// The labels of an array, `width` numbers each.
fn labels(targets: Array, width: usize) -> Result<Labels, DataError> {
    if let Elements::Words(words) = &targets.elements {
        if width > 1 {
            return Err(targets.refused("several words per row; save one label per example"));
        }
        if let Some(i) = words.iter().position(String::is_empty) {
            return Err(targets.refused(format!("element {i} is empty; give each example a label")));
        }
        let numbers: Option<Vec<i64>> = words.iter().map(|w| w.parse().ok()).collect();
        let Some(numbers) = numbers else { return Ok(Labels::Words(targets.into_words()?)) };
        let single = numbers.iter().map(|&n| n as f32).collect();
        return Ok(Labels::Numbers {
            exact: numbers.iter().map(|&n| n as f64).collect(),
            single,
            whole: true,
        });
    }
    if width > 1 {
        return Ok(Labels::Rows { values: targets.into_f32()?, width });
    }
    let whole = !matches!(targets.elements, Elements::Singles(_) | Elements::Doubles(_));
    let single = targets.clone().into_f32()?;
    Ok(Labels::Numbers { exact: targets.into_f64()?, single, whole })
}
