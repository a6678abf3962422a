use std::path::Path;

use crate::choice::choice;
use crate::dataset::{number_classes, numbered};
use crate::{DataError, Dataset, Targets, Values};

/// Whole numbers up to here can be classes; larger ones are quantities.
pub(crate) const MOST_CLASSES: u32 = 1 << 16;

/// What labels are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Classes, if they are words, truth values, one-hot rows, whole numbers ≥ 0, ±1, or few whole numbers that
    /// each occur more than once; else quantities.
    #[default]
    Auto,
    /// Classes, one per distinct label.
    Classification,
    /// Quantities.
    Regression,
}

impl Task {
    /// The choices by name.
    pub const ALL: [(&str, Self); 3] =
        [("auto", Self::Auto), ("classification", Self::Classification), ("regression", Self::Regression)];
}

choice!(Task, "task");

/// Labels as a file has them.
#[derive(Clone, Debug)]
pub(crate) enum Labels {
    Words(Vec<String>),
    Numbers {
        exact: Vec<f64>,
        /// The same, rounded once.
        single: Vec<f32>,
        /// Written as whole numbers, not as real ones that happen to be whole.
        whole: bool,
    },
    /// Several numbers per example.
    Rows {
        values: Vec<f32>,
        width: usize,
    },
}

/// Inputs with labels whose meaning is not settled.
#[derive(Clone, Debug)]
pub(crate) struct Unlabelled {
    pub x: Values,
    pub shape: Vec<usize>,
    pub labels: Labels,
}

/// Settles what the labels of both parts mean, by one map for both; `file` is that of the test part.
pub(crate) fn settle(
    train: Unlabelled,
    test: Option<Unlabelled>,
    task: Task,
    file: &Path,
    notes: &mut Vec<String>,
) -> Result<(Dataset, Option<Dataset>), DataError> {
    let (inputs, labels) = test.map(|t| ((t.x, t.shape), t.labels)).unzip();
    let (targets, others) = settle_labels(train.labels, labels, task, file, notes)?;
    let dataset = |(x, shape), targets| Dataset { x, shape, targets };
    let test = inputs.zip(others).map(|(inputs, targets)| dataset(inputs, targets));
    Ok((dataset((train.x, train.shape), targets), test))
}

/// As [`settle`], of labels alone.
pub(crate) fn settle_labels(
    train: Labels,
    test: Option<Labels>,
    task: Task,
    file: &Path,
    notes: &mut Vec<String>,
) -> Result<(Targets, Option<Targets>), DataError> {
    let coding = Coding::of(&train, test.as_ref(), task, notes);
    Ok((coding.apply(train, file)?, test.map(|labels| coding.apply(labels, file)).transpose()?))
}

/// What the labels of all parts mean.
enum Coding {
    /// Classes 0, 1, …, each its own number.
    Counted,
    /// Classes by number, rising.
    Numbers(Vec<f64>),
    /// Classes by word, sorted.
    Words(Vec<String>),
    /// Rows with a 1 where the class is.
    OneHot,
    Quantities,
}

impl Coding {
    fn of(train: &Labels, test: Option<&Labels>, task: Task, notes: &mut Vec<String>) -> Self {
        match (train, test) {
            (Labels::Words(words), _) => Self::Words(sorted(words.clone())),
            (Labels::Rows { .. }, _) => {
                let one_hot = |labels: &Labels| match labels {
                    Labels::Rows { values, width } => values.chunks(*width).all(is_one_hot),
                    _ => false,
                };
                if task != Task::Regression && one_hot(train) && test.is_none_or(one_hot) {
                    notes.push("the labels are one-hot rows; they are taken for classes".into());
                    return Self::OneHot;
                }
                Self::Quantities
            }
            // What stands in the test part only is refused where it is met.
            (Labels::Numbers { exact, .. }, Some(Labels::Words(_))) => {
                Self::Words(sorted(exact.iter().map(f64::to_string).collect()))
            }
            (Labels::Numbers { exact, whole, .. }, test) => {
                let (mut all, mut whole) = (exact.clone(), *whole);
                if let Some(Labels::Numbers { exact, whole: also, .. }) = test {
                    all.extend(exact);
                    whole &= also;
                }
                Self::of_numbers(all, whole, task, notes)
            }
        }
    }

    fn of_numbers(mut all: Vec<f64>, written_whole: bool, task: Task, notes: &mut Vec<String>) -> Self {
        let count = all.len();
        all.sort_unstable_by(f64::total_cmp);
        all.dedup();
        let distinct = all;
        let k = distinct.len();
        let (Some(&least), Some(&most)) = (distinct.first(), distinct.last()) else {
            return Self::Quantities;
        };
        let whole = distinct.iter().all(|v| v.fract() == 0.0);
        let small = least > -f64::from(MOST_CLASSES) && most < f64::from(MOST_CLASSES);
        let counted = whole && least >= 0.0 && small && most + 1.0 <= 2.0 * k as f64;
        let signs = distinct.iter().all(|v| v.abs() == 1.0);
        let repeated = count >= 2 * k;
        let classes = match task {
            Task::Classification => k <= MOST_CLASSES as usize,
            Task::Regression => false,
            Task::Auto if !whole => k == 2 && count >= 8,
            Task::Auto if signs || (written_whole && least >= 0.0 && small) => true,
            Task::Auto => (k == 2 || (k <= 20 && small)) && repeated,
        };
        let list = || match k {
            0..=6 => distinct.iter().map(f64::to_string).collect::<Vec<_>>().join(", "),
            _ => format!("{least}, {}, … {most}", distinct[1]),
        };
        if !classes {
            if whole && task == Task::Auto {
                notes.push(format!(
                    "the labels {} are taken for quantities; task = classification takes them for classes",
                    list()
                ));
            }
            return Self::Quantities;
        }
        if task == Task::Auto {
            if k > 20 && 5 * k > count {
                notes.push(format!(
                    "the labels are taken for {k} classes of about {} examples each; task = regression takes them for \
                     quantities",
                    count / k
                ));
            } else if !counted || least != 0.0 || !written_whole {
                notes.push(format!(
                    "the labels {} are taken for {k} classes; task = regression takes them for quantities",
                    list()
                ));
            }
        }
        if counted && least == 0.0 { Self::Counted } else { Self::Numbers(distinct) }
    }

    fn apply(&self, labels: Labels, file: &Path) -> Result<Targets, DataError> {
        let unseen = |class: String| DataError::UnseenClass { file: file.into(), class };
        match (self, labels) {
            (Self::Counted, Labels::Numbers { exact, .. }) => {
                Ok(number_classes(exact.into_iter().map(|v| v as u32).collect()))
            }
            (Self::Numbers(classes), Labels::Numbers { exact, .. }) => {
                let names = classes.iter().map(f64::to_string).collect();
                let place = |v: &f64| classes.partition_point(|c| c < v) as u32;
                Ok(Targets::Classes { labels: exact.iter().map(place).collect(), names })
            }
            (Self::Words(names), labels) => {
                let words = match labels {
                    Labels::Words(words) => words,
                    Labels::Numbers { exact, .. } => exact.iter().map(f64::to_string).collect(),
                    Labels::Rows { width, .. } => return Err(unseen(format!("{width} numbers"))),
                };
                let place = |word: &String| {
                    names.binary_search(word).map(|i| i as u32).map_err(|_| unseen(word.clone()))
                };
                let labels = words.iter().map(place).collect::<Result<_, _>>()?;
                Ok(Targets::Classes { labels, names: names.clone() })
            }
            (Self::OneHot, Labels::Rows { values, width }) => {
                let class = |row: &[f32]| row.iter().position(|&v| v == 1.0).unwrap_or_default() as u32;
                Ok(Targets::Classes {
                    labels: values.chunks(width).map(class).collect(),
                    names: numbered(width),
                })
            }
            (_, Labels::Numbers { single, .. }) => Ok(Targets::Values { values: single, width: 1 }),
            (_, Labels::Rows { values, width }) => Ok(Targets::Values { values, width }),
            (_, Labels::Words(words)) => Err(unseen(words.into_iter().next().unwrap_or_default())),
        }
    }
}

fn is_one_hot(row: &[f32]) -> bool {
    let ones = row.iter().filter(|&&v| v == 1.0).count();
    row.len() > 1 && ones == 1 && row.iter().all(|&v| v == 0.0 || v == 1.0)
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}
