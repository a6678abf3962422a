use std::ops::Range;
use std::path::Path;

use crate::DataError;

/// Inputs as in the file, without scaling.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Pixels or counts, 0..=255.
    Bytes(Vec<u8>),
    /// Real numbers, all finite.
    Floats(Vec<f32>),
}

/// What is to be predicted, one entry per example.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// One of `names.len()` classes.
    Classes {
        /// Index into `names`, per example.
        labels: Vec<u32>,
        /// Name of each class.
        names: Vec<String>,
    },
    /// Real numbers, `width` per example.
    Values {
        /// Row-major, all finite.
        values: Vec<f32>,
        /// Numbers per example.
        width: usize,
    },
}

/// Examples row-major, channels last.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Inputs, `len() · example_len()` of them.
    pub x: Values,
    /// Shape of one example: `[d]` or `[height, width, channels]`.
    pub shape: Vec<usize>,
    /// Targets, one entry per example.
    pub targets: Targets,
}

/// Class names `"0"`, `"1"`, …
pub(crate) fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|c| c.to_string()).collect()
}

/// Classes named by their own number, as many as the largest label asks for.
pub(crate) fn number_classes(labels: Vec<u32>) -> Targets {
    let classes = labels.iter().max().map_or(0, |&l| l as usize + 1);
    Targets::Classes { labels, names: numbered(classes) }
}

fn rows<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
    let mut out = Vec::with_capacity(rows.len() * width);
    rows.iter().for_each(|&r| out.extend_from_slice(&values[r * width..][..width]));
    out
}

fn range<T: Copy>(values: &[T], width: usize, rows: &Range<usize>) -> Vec<T> {
    values[rows.start * width..rows.end * width].to_vec()
}

fn joined<T: Copy>(a: &[T], b: &[T]) -> Vec<T> {
    [a, b].concat()
}

impl Dataset {
    /// Number of examples.
    pub fn len(&self) -> usize {
        match &self.targets {
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Values { values, width } => values.len().checked_div(*width).unwrap_or(0),
        }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inputs per example.
    pub fn example_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of classes; `None` if the targets are real numbers.
    pub fn classes(&self) -> Option<usize> {
        match &self.targets {
            Targets::Classes { names, .. } => Some(names.len()),
            Targets::Values { .. } => None,
        }
    }

    /// A number that tells these examples, in this order, from others: of shape, inputs and targets (FNV-1a).
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |word: u64| hash = (hash ^ word).wrapping_mul(0x100_0000_01b3);
        self.shape.iter().for_each(|&n| add(n as u64));
        match &self.x {
            Values::Bytes(x) => x.iter().for_each(|&v| add(v.into())),
            Values::Floats(x) => x.iter().for_each(|v| add(v.to_bits().into())),
        }
        match &self.targets {
            Targets::Classes { labels, .. } => labels.iter().for_each(|&l| add(l.into())),
            Targets::Values { values, .. } => values.iter().for_each(|v| add(v.to_bits().into())),
        }
        hash
    }

    /// The examples `index`, in that order, repeats allowed.
    ///
    /// # Panics
    /// If an index is not below `len()`.
    pub fn select(&self, index: &[usize]) -> Self {
        let d = self.example_len();
        let x = match &self.x {
            Values::Bytes(x) => Values::Bytes(rows(x, d, index)),
            Values::Floats(x) => Values::Floats(rows(x, d, index)),
        };
        let targets = match &self.targets {
            Targets::Classes { labels, names } => {
                Targets::Classes { labels: rows(labels, 1, index), names: names.clone() }
            }
            Targets::Values { values, width } => {
                Targets::Values { values: rows(values, *width, index), width: *width }
            }
        };
        Self { x, shape: self.shape.clone(), targets }
    }

    /// The examples of a range.
    ///
    /// # Panics
    /// If the range ends behind `len()`.
    pub fn slice(&self, part: Range<usize>) -> Self {
        let d = self.example_len();
        let x = match &self.x {
            Values::Bytes(x) => Values::Bytes(range(x, d, &part)),
            Values::Floats(x) => Values::Floats(range(x, d, &part)),
        };
        let targets = match &self.targets {
            Targets::Classes { labels, names } => {
                Targets::Classes { labels: range(labels, 1, &part), names: names.clone() }
            }
            Targets::Values { values, width } => {
                Targets::Values { values: range(values, *width, &part), width: *width }
            }
        };
        Self { x, shape: self.shape.clone(), targets }
    }

    /// These examples, then those of `other`.
    ///
    /// # Errors
    /// If shape, kind of input or kind of target differ.
    pub fn concat(&self, other: &Self) -> Result<Self, DataError> {
        if self.shape != other.shape {
            return Err(unlike("shape", &self.shape, &other.shape));
        }
        let x = match (&self.x, &other.x) {
            (Values::Bytes(a), Values::Bytes(b)) => Values::Bytes(joined(a, b)),
            (Values::Floats(a), Values::Floats(b)) => Values::Floats(joined(a, b)),
            (a, b) => return Err(unlike("inputs", a.kind(), b.kind())),
        };
        let targets = match (&self.targets, &other.targets) {
            (Targets::Classes { labels: a, names }, Targets::Classes { labels: b, names: same })
                if names == same =>
            {
                Targets::Classes { labels: joined(a, b), names: names.clone() }
            }
            (Targets::Values { values: a, width }, Targets::Values { values: b, width: same })
                if width == same =>
            {
                Targets::Values { values: joined(a, b), width: *width }
            }
            (a, b) => return Err(unlike("targets", a.kind(), b.kind())),
        };
        Ok(Self { x, shape: self.shape.clone(), targets })
    }

    /// Gives `test`, read from `file`, the class names of `self` (or both the longer list where
    /// classes are numbers) and checks that the two parts are alike.
    pub(crate) fn align(&mut self, test: &mut Self, file: &Path) -> Result<(), DataError> {
        match (&mut self.targets, &mut test.targets) {
            (Targets::Classes { names: a, .. }, Targets::Classes { names: b, .. })
                if a.starts_with(b) || b.starts_with(a) =>
            {
                let longer = if a.len() < b.len() { &*b } else { &*a }.clone();
                (*a, *b) = (longer.clone(), longer);
            }
            (Targets::Classes { names: a, .. }, Targets::Classes { names: b, labels }) => {
                let mut renumber = Vec::with_capacity(b.len());
                for name in &*b {
                    let unseen = || DataError::UnseenClass { file: file.into(), class: name.clone() };
                    renumber.push(a.iter().position(|n| n == name).ok_or_else(unseen)? as u32);
                }
                labels.iter_mut().for_each(|l| *l = renumber[*l as usize]);
                *b = a.clone();
            }
            // Real targets that happen to be whole in the test part.
            (Targets::Values { width: 1, .. }, classes @ Targets::Classes { .. }) => {
                if let Some(values) = classes.numbers() {
                    let values = values.into_iter().map(|v| v as f32).collect();
                    *classes = Targets::Values { values, width: 1 };
                }
            }
            _ => {}
        }
        let named = |e| DataError::Parts { file: file.into(), cause: Box::new(e) };
        self.slice(0..0).concat(&test.slice(0..0)).map(drop).map_err(named)
    }
}

fn unlike(what: &'static str, first: impl std::fmt::Debug, second: impl std::fmt::Debug) -> DataError {
    DataError::Unlike { what, first: format!("{first:?}"), second: format!("{second:?}") }
}

impl Values {
    fn kind(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Floats(_) => "real numbers",
        }
    }
}

impl Targets {
    /// One number per example: the value, or the number that its class is named by. `None` where there are several,
    /// or classes named by words.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Self::Values { values, width: 1 } => Some(values.iter().map(|&v| v.into()).collect()),
            Self::Values { .. } => None,
            Self::Classes { labels, names } => {
                let named: Option<Vec<f64>> = names.iter().map(|name| name.parse().ok()).collect();
                named.map(|named| labels.iter().map(|&l| named[l as usize]).collect())
            }
        }
    }

    fn kind(&self) -> String {
        match self {
            Self::Classes { names, .. } => format!("{} classes", names.len()),
            Self::Values { width, .. } => format!("{width} real numbers"),
        }
    }
}
