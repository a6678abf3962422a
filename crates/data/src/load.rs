use std::fs;
use std::path::{Path, PathBuf};

use crate::kind::{Kind, list, survey};
use crate::{DataError, Dataset, Targets, Text, archive, cifar, digits, idx, table, text};

/// Training and test part of what was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Examples with targets.
    Examples {
        /// Training part.
        train: Dataset,
        /// Test part, of the same shape and classes.
        test: Dataset,
    },
    /// Text for a character model.
    Text {
        /// Training part.
        train: Text,
        /// Test part, of the same vocabulary.
        test: Text,
    },
}

/// Where the test part came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a file of its own or by the format.
    Given,
    /// Cut off the end: training part, then test part are the whole in the order of the file.
    Cut,
}

/// What [`load`] read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The two parts.
    pub source: Source,
    /// Where the test part came from.
    pub origin: Origin,
    /// One line for people: what was read and its sizes.
    pub description: String,
}

/// Choices beside the path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The file with the test part, in place of what the data would give. Default: none.
    pub test: Option<PathBuf>,
    /// The label column of a CSV file or the label array of npz and npy. Default: the usual names.
    pub label: Option<String>,
}

/// Reads `digits` (the embedded ones), a file or a folder. Each file may be packed, `.gz` or `.bz2`.
///
/// | kind | files | test part, unless `options.test` names it |
/// |---|---|---|
/// | MNIST IDX | `…train-images-idx3-ubyte` with `…labels-idx1-ubyte` beside it | `…t10k-images-…` beside it, else the last sixth |
/// | CIFAR binary | `.bin`, CIFAR-10 or CIFAR-100 | in a folder the files with `test` in their name, else the last sixth |
/// | CSV | header, one label column | as CIFAR |
/// | npz, npy | arrays `x`, `y` (see below) | arrays `x_test`, `y_test`, else as CIFAR |
/// | text | `.txt`, UTF-8 | in a folder as CIFAR, else the last tenth |
///
/// Labels of CSV and npz that are all whole numbers ≥ 0 are classes, words likewise (sorted), other
/// numbers are real targets. npz inputs are (n, d), (n, h, w) or (n, h, w, c); `x` may also be `X`,
/// `x_train`, `X_train`, `images`, and `y` may be `Y`, `labels`, `label`, `target`, `class`, with the
/// same ending.
///
/// # Errors
/// Files that are missing, damaged, inconsistent or of unknown kind, folders with more than one kind.
pub fn load(data: &str, options: &Options) -> Result<Loaded, DataError> {
    if data == "digits" {
        let given = [("test", options.test.is_some()), ("label", options.label.is_some())];
        if let Some(&(option, _)) = given.iter().find(|(_, given)| *given) {
            return Err(DataError::NoOption { data: data.into(), option, kind: "the embedded digits" });
        }
        let (train, test) = digits();
        return Ok(loaded(data, "embedded images", Source::Examples { train, test }, Origin::Given));
    }

    let path = Path::new(data);
    let unreadable = |e| DataError::Unreadable { file: path.into(), source: e };
    let (kind, mut files, mut tests) = if fs::metadata(path).map_err(unreadable)?.is_dir() {
        survey(path)?
    } else {
        let kind = Kind::of(path).ok_or_else(|| DataError::UnknownKind { file: path.into() })?;
        let test = (kind == Kind::Idx).then(|| idx::test_beside(path)).flatten();
        (kind, vec![path.to_owned()], test.into_iter().collect())
    };
    if let Some(test) = &options.test {
        let real = |f: &Path| f.canonicalize().ok();
        files.retain(|f| real(f) != real(test));
        tests = vec![test.clone()];
    }
    let label = options.label.as_deref();
    if label.is_some() && !matches!(kind, Kind::Csv | Kind::Npz | Kind::Npy) {
        return Err(DataError::NoOption { data: data.into(), option: "label", kind: kind.name() });
    }
    if files.is_empty() {
        return Err(DataError::NoData { folder: path.into(), found: "only the test file".into() });
    }
    if let Some(several) = [&files, &tests].into_iter().find(|f| f.len() > 1 && kind != Kind::Cifar) {
        return Err(DataError::Ambiguous { folder: path.into(), found: list(several) });
    }

    let (file, test) = (files[0].as_path(), tests.first().map(PathBuf::as_path));
    let (mut train, given) = match kind {
        Kind::Text => {
            let (train, test_part) = text::read(file, test)?;
            let origin = if test.is_some() { Origin::Given } else { Origin::Cut };
            return Ok(loaded(data, kind.name(), Source::Text { train, test: test_part }, origin));
        }
        Kind::Idx => (idx::read(file)?, test.map(idx::read).transpose()?),
        Kind::Cifar => (cifar::read(&files)?, test.map(|_| cifar::read(&tests)).transpose()?),
        Kind::Csv => table::read(file, test, label)?,
        Kind::Npz | Kind::Npy => match test {
            Some(test) => (archive::read(file, label)?, Some(archive::read(test, label)?)),
            None => (archive::read(file, label)?, archive::read_test(file, label)?),
        },
    };
    let (n, cut) = (train.len(), train.len() * 5 / 6);
    let (test, origin) = match given {
        Some(mut given) => {
            train.align(&mut given, test.unwrap_or(file))?;
            (given, Origin::Given)
        }
        None if n < 2 => return Err(DataError::TooFew { file: file.into() }),
        None => (train.slice(cut..n), Origin::Cut),
    };
    if origin == Origin::Cut {
        train = train.slice(0..cut);
    }
    Ok(loaded(data, kind.name(), Source::Examples { train, test }, origin))
}

fn loaded(data: &str, kind: &str, source: Source, origin: Origin) -> Loaded {
    let (train, test, what) = match &source {
        Source::Examples { train, test } => {
            let shape: Vec<_> = train.shape.iter().map(ToString::to_string).collect();
            let targets = match &train.targets {
                Targets::Classes { names, .. } => format!("{} classes", names.len()),
                Targets::Values { width, .. } => format!("{width} real target{}", plural(*width)),
            };
            (train.len(), test.len(), format!("examples of {} inputs, {targets}", shape.join("×")))
        }
        Source::Text { train, test } => {
            let distinct = train.vocabulary.len();
            (train.tokens.len(), test.tokens.len(), format!("characters, {distinct} distinct"))
        }
    };
    let cut = if origin == Origin::Cut { ", the test part cut off the end" } else { "" };
    let description = format!("{data} ({kind}): {train} training and {test} test {what}{cut}");
    Loaded { source, origin, description }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
