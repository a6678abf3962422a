use std::fs;
use std::path::{Path, PathBuf};

use crate::kind::{Kind, list, survey};
use crate::labels::settle;
use crate::{
    Cut, DataError, Dataset, Layout, Table, TableOptions, Targets, Task, Text, archive, cifar, digits,
    examples, idx, text,
};

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
    /// Drawn from the whole.
    Drawn,
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
    /// Names of the inputs; none unless they are columns of a table.
    pub features: Vec<String>,
    /// For people: what was found out, left out and looks odd.
    pub notes: Vec<String>,
}

/// Choices beside the path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The file with the test part, in place of what the data would give. Default: none.
    pub test: Option<PathBuf>,
    /// The label column of a CSV file or the label array of npz and npy. Default: the usual names.
    pub label: Option<String>,
    /// What labels of tables and arrays are. Default: found out.
    pub task: Task,
    /// Where the channels of images in arrays stand. Default: found out.
    pub layout: Layout,
    /// How tables are read. Default: found out.
    pub table: TableOptions,
    /// How a test part is cut from examples that come without one; of text it is the end. Default: off the end.
    pub cut: Cut,
    /// Share of examples in a test part that is cut, in (0, 1). Default: a sixth.
    pub test_fraction: Option<f64>,
}

/// Reads `digits` (the embedded ones), a file or a folder. Each file may be packed: `.gz`, `.bz2`, `.xz`.
///
/// | kind | files | test part, unless `options.test` names it |
/// |---|---|---|
/// | MNIST IDX | `…train-images-idx3-ubyte` with `…labels-idx1-ubyte` beside it | `…t10k-images-…` beside it, else the last sixth |
/// | CIFAR binary | `.bin`, CIFAR-10 or CIFAR-100 | in a folder the files with `test` in their name, else the last sixth |
/// | CSV, TSV | a [`Table`] with one label column | as CIFAR; columns are matched by name |
/// | npz, npy | arrays `x`, `y` (see below) | arrays `x_test`, `y_test`, else as CIFAR |
/// | text | `.txt`, UTF-8 | in a folder as CIFAR, else the last tenth |
///
/// What labels of tables and arrays mean is settled for both parts at once, see [`Task`]. npz inputs are (n, d),
/// (n, h, w), (n, h, w, c) or (n, c, h, w), see [`Layout`]; `x` may also be `X`, `x_train`, `X_train`, `images`,
/// and `y` may be `Y`, `labels`, `label`, `target`, `class`, with the same ending.
///
/// # Errors
/// Files that are missing, damaged, inconsistent or of unknown kind, folders with more than one kind.
pub fn load(data: &str, options: &Options) -> Result<Loaded, DataError> {
    if data == "digits" {
        let given = [
            ("test", options.test.is_some()),
            ("label", options.label.is_some()),
            ("task", options.task != Task::Auto),
            ("layout", options.layout != Layout::Auto),
            ("table", options.table != TableOptions::default()),
        ];
        if let Some(&(option, _)) = given.iter().find(|(_, given)| *given) {
            return Err(DataError::NoOption { data: data.into(), option, kind: "the embedded digits" });
        }
        let (train, test) = digits();
        let source = Source::Examples { train, test };
        return Ok(loaded(data, "embedded images", source, Origin::Given, Vec::new(), Vec::new()));
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
    let (table, arrays) = (kind == Kind::Csv, matches!(kind, Kind::Npz | Kind::Npy));
    let misplaced = [
        ("label", label.is_some() && !table && !arrays),
        ("task", options.task != Task::Auto && !table && !arrays),
        ("layout", options.layout != Layout::Auto && !arrays),
        ("table", options.table != TableOptions::default() && !table),
    ];
    if let Some(&(option, _)) = misplaced.iter().find(|(_, misplaced)| *misplaced) {
        return Err(DataError::NoOption { data: data.into(), option, kind: kind.name() });
    }
    if files.is_empty() {
        return Err(DataError::NoData { folder: path.into(), found: "only the test file".into() });
    }
    if let Some(several) = [&files, &tests].into_iter().find(|f| f.len() > 1 && kind != Kind::Cifar) {
        return Err(DataError::Ambiguous { folder: path.into(), found: list(several) });
    }

    let (file, test) = (files[0].as_path(), tests.first().map(PathBuf::as_path));
    let (mut features, mut notes) = (Vec::new(), Vec::new());
    let (mut train, given) = match kind {
        Kind::Text => {
            let (train, test_part) = text::read(file, test)?;
            let origin = if test.is_some() { Origin::Given } else { Origin::Cut };
            let source = Source::Text { train, test: test_part };
            return Ok(loaded(data, kind.name(), source, origin, features, notes));
        }
        Kind::Idx => (idx::read(file)?, test.map(idx::read).transpose()?),
        Kind::Cifar => (cifar::read(&files)?, test.map(|_| cifar::read(&tests)).transpose()?),
        Kind::Csv => {
            let table = Table::read(file, &options.table)?;
            notes.extend_from_slice(table.notes());
            let (train, names) = examples::of(&table, label, options.task)?;
            examples::note_constant(&train, &names, &mut notes);
            let mut other = None;
            if let Some(test) = test {
                let table = Table::read(test, &options.table)?;
                let told = table.notes().iter().filter(|note| !notes.contains(note));
                let told: Vec<String> = told.map(|note| format!("{}: {note}", test.display())).collect();
                notes.extend(told);
                let (mut part, found) = examples::of(&table, label, options.task)?;
                examples::in_order(&mut part, &found, &names, test, &mut notes)?;
                other = Some(part);
            }
            features = names;
            settle(train, other, options.task, test.unwrap_or(file), &mut notes)?
        }
        Kind::Npz | Kind::Npy => {
            let (train, beside) = archive::read(file, label, options.layout, &mut notes)?;
            let other = match test {
                Some(test) => Some(archive::read(test, label, options.layout, &mut Vec::new())?.0),
                None => beside,
            };
            settle(train, other, options.task, test.unwrap_or(file), &mut notes)?
        }
    };
    let (train, test, origin) = match given {
        Some(mut given) => {
            train.align(&mut given, test.unwrap_or(file))?;
            (train, given, Origin::Given)
        }
        None => {
            let n = train.len();
            if n < 2 {
                return Err(DataError::TooFew { file: file.into() });
            }
            let tests = match options.test_fraction {
                None => n - n * 5 / 6,
                Some(share) if share > 0.0 && share < 1.0 => {
                    ((share * n as f64).round() as usize).clamp(1, n - 1)
                }
                Some(share) => return Err(DataError::Fraction { share }),
            };
            let (train, test) = options.cut.apply(&train, tests);
            (train, test, if options.cut == Cut::Tail { Origin::Cut } else { Origin::Drawn })
        }
    };
    note_classes(&train, &test, &mut notes);
    Ok(loaded(data, kind.name(), Source::Examples { train, test }, origin, features, notes))
}

/// Notes classes that one part lacks.
fn note_classes(train: &Dataset, test: &Dataset, notes: &mut Vec<String>) {
    let (Targets::Classes { labels: first, names }, Targets::Classes { labels: second, .. }) =
        (&train.targets, &test.targets)
    else {
        return;
    };
    for (part, labels, other) in [("training", first, second), ("test", second, first)] {
        let there = |labels: &[u32]| {
            let mut there = vec![false; names.len()];
            labels.iter().for_each(|&l| there[l as usize] = true);
            there
        };
        let (here, other) = (there(labels), there(other));
        let lacking: Vec<&str> =
            (0..names.len()).filter(|&c| !here[c] && other[c]).map(|c| &*names[c]).collect();
        if !lacking.is_empty() {
            let shown = lacking[..lacking.len().min(6)].join(", ");
            let of = format!("{} of {} classes: {shown}", lacking.len(), names.len());
            notes.push(format!(
                "the {part} part lacks {of}{}; cut the parts otherwise if that is not meant",
                if lacking.len() > 6 { ", …" } else { "" }
            ));
        }
    }
}

fn loaded(
    data: &str,
    kind: &str,
    source: Source,
    origin: Origin,
    features: Vec<String>,
    notes: Vec<String>,
) -> Loaded {
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
    let cut = match origin {
        Origin::Given => "",
        Origin::Cut => ", the test part cut off the end",
        Origin::Drawn => ", the test part drawn at random with a share of each class",
    };
    let description = format!("{data} ({kind}): {train} training and {test} test {what}{cut}");
    Loaded { source, origin, description, features, notes }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
