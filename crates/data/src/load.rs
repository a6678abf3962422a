use std::fs;
use std::path::{Path, PathBuf};

use crate::kind::{Kind, list, survey};
use crate::labels::settle;
use crate::{
    Cut, DataError, Dataset, Header, Layout, TableOptions, Targets, Task, Text, Values, archive, cifar, cut,
    digits, examples, idx, text,
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
    /// Smallest and largest value that an input can have: 0 and 16 of the embedded digits, 0 and 255 of other
    /// bytes; none of real numbers and texts.
    pub range: Option<[f32; 2]>,
    /// [`Dataset::fingerprint`] of the whole that a test part was cut from.
    pub whole: Option<u64>,
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
    /// The same, where `task` leaves it open, for data in which labels may be either: what they are for a model.
    /// Default: found out.
    pub expected: Task,
    /// Where the channels of images in arrays stand. Default: found out.
    pub layout: Layout,
    /// How tables are read. Default: found out.
    pub table: TableOptions,
    /// Columns of tables that are no inputs. Default: none.
    pub drop: Vec<String>,
    /// The inputs among the columns of tables, in this order; others are left out, with a note. Data whose inputs
    /// have no names take no notice. Default: all columns, in the order of the file.
    pub features: Vec<String>,
    /// How a test part is cut from examples that come without one; of text it is the end. Default: off the end.
    pub cut: Cut,
    /// Share of examples (of a text: of characters) in a test part that is cut, in (0, 1). Default: a sixth, of a
    /// text a tenth.
    pub test_fraction: Option<f64>,
}

impl Options {
    pub(crate) fn task(&self) -> Task {
        if self.task == Task::Auto { self.expected } else { self.task }
    }
}

/// Reads `digits` (the embedded ones), a file or a folder. Each file may be packed: `.gz`, `.bz2`, `.xz`.
///
/// | kind | files | test part, unless `options.test` names it |
/// |---|---|---|
/// | MNIST IDX | `…train-images-idx3-ubyte` with `…labels-idx1-ubyte` beside it | `…t10k-images-…` beside it, else the last sixth |
/// | CIFAR binary | `.bin`, CIFAR-10 or CIFAR-100 | in a folder the files with `test` in their name, else the last sixth |
/// | CSV, TSV | a [`Table`](crate::Table) with one label column | as CIFAR; columns are matched by name |
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
    if let Some(share) = options.test_fraction.filter(|share| !(*share > 0.0 && *share < 1.0)) {
        return Err(DataError::Fraction { share });
    }
    if data == "digits" {
        refuse(data, "the embedded digits", options, &[], options.test.is_some().then_some("test"))?;
        let (train, test) = digits();
        let mut loaded = Loaded::of(data, "embedded images", Source::Examples { train, test }, Origin::Given);
        loaded.range = Some([0.0, 16.0]);
        return Ok(loaded);
    }
    let path = Path::new(data);
    let (kind, files, tests) = find(path, options)?;
    let applicable: &[&str] = match kind {
        Kind::Csv => &["label", "task", "header", "separator", "missing", "drop_missing", "drop"],
        Kind::Npz | Kind::Npy => &["label", "task", "layout"],
        _ => &[],
    };
    refuse(data, kind.name(), options, applicable, None)?;
    if files.is_empty() {
        return Err(DataError::NoData { folder: path.into(), found: "only the test file".into() });
    }
    if let Some(several) = [&files, &tests].into_iter().find(|f| f.len() > 1 && kind != Kind::Cifar) {
        return Err(DataError::Ambiguous { folder: path.into(), found: list(several) });
    }
    if kind == Kind::Text {
        let test = tests.first().map(PathBuf::as_path);
        let (train, test_part) = text::read(&files[0], test, options.test_fraction)?;
        let origin = if test.is_some() { Origin::Given } else { Origin::Cut };
        return Ok(Loaded::of(data, kind.name(), Source::Text { train, test: test_part }, origin));
    }
    let (mut features, mut notes) = (Vec::new(), Vec::new());
    let (mut train, given) = examples(kind, &files, &tests, options, &mut features, &mut notes)?;
    let mut whole = None;
    let (train, test, origin) = match given {
        Some(mut given) => {
            train.align(&mut given, tests.first().unwrap_or(&files[0]))?;
            (train, given, Origin::Given)
        }
        None => {
            let n = train.len();
            if n < 2 {
                return Err(DataError::TooFew { file: files[0].clone() });
            }
            whole = Some(train.fingerprint());
            let tests = options.test_fraction.map_or(n - n * 5 / 6, |share| cut::tests(share, n));
            let (train, test) = options.cut.apply(&train, tests);
            (train, test, if options.cut == Cut::Tail { Origin::Cut } else { Origin::Drawn })
        }
    };
    note_classes(&train, &test, &mut notes);
    let range = matches!(train.x, Values::Bytes(_)).then_some([0.0, 255.0]);
    let loaded = Loaded::of(data, kind.name(), Source::Examples { train, test }, origin);
    Ok(Loaded { features, notes, range, whole, ..loaded })
}

/// Refuses the options that are given and not `applicable`, and the one that is `misplaced` anyway.
fn refuse(
    data: &str,
    kind: &'static str,
    options: &Options,
    applicable: &[&str],
    misplaced: Option<&'static str>,
) -> Result<(), DataError> {
    let table = &options.table;
    let given = [
        ("label", options.label.is_some()),
        ("task", options.task != Task::Auto),
        ("layout", options.layout != Layout::Auto),
        ("header", table.header != Header::Auto),
        ("separator", table.separator.is_some()),
        ("missing", !table.missing.is_empty()),
        ("drop_missing", table.drop_missing),
        ("drop", !options.drop.is_empty()),
    ];
    let unsuited = given.iter().find(|(option, given)| *given && !applicable.contains(option));
    match misplaced.or(unsuited.map(|(option, _)| *option)) {
        Some(option) => Err(DataError::NoOption { data: data.into(), option, kind }),
        None => Ok(()),
    }
}

/// The kind of data and its training and test files.
fn find(path: &Path, options: &Options) -> Result<(Kind, Vec<PathBuf>, Vec<PathBuf>), DataError> {
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
    Ok((kind, files, tests))
}

/// The examples of files of one kind, and the test part that they give.
fn examples(
    kind: Kind,
    files: &[PathBuf],
    tests: &[PathBuf],
    options: &Options,
    features: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<(Dataset, Option<Dataset>), DataError> {
    let (file, test) = (files[0].as_path(), tests.first().map(PathBuf::as_path));
    let label = options.label.as_deref();
    match kind {
        Kind::Cifar => Ok((cifar::read(files)?, test.map(|_| cifar::read(tests)).transpose()?)),
        Kind::Csv => {
            let (train, names) = examples::read(file, options, true, notes)?;
            examples::note_constant(&train, &names, notes);
            let mut other = None;
            if let Some(test) = test {
                let mut of_test = Vec::new();
                let (mut part, found) = examples::read(test, options, false, &mut of_test)?;
                of_test.retain(|note| !notes.contains(note));
                notes.extend(of_test.iter().map(|note| format!("{}: {note}", test.display())));
                examples::in_order(&mut part, &found, &names, test, notes)?;
                other = Some(part);
            }
            *features = names;
            settle(train, other, options.task(), test.unwrap_or(file), notes)
        }
        Kind::Npz | Kind::Npy => {
            let (train, beside) = archive::read(file, label, options.layout, notes)?;
            let other = match test {
                Some(test) => Some(archive::read(test, label, options.layout, &mut Vec::new())?.0),
                None => beside,
            };
            settle(train, other, options.task(), test.unwrap_or(file), notes)
        }
        Kind::Idx | Kind::Text => Ok((idx::read(file)?, test.map(idx::read).transpose()?)),
    }
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
                "warning: the {part} part lacks {of}{}; cut the parts otherwise if that is not meant",
                if lacking.len() > 6 { ", …" } else { "" }
            ));
        }
    }
}

impl Loaded {
    fn of(data: &str, kind: &str, source: Source, origin: Origin) -> Self {
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
            Origin::Drawn if matches!(&source, Source::Examples { train, .. } if train.classes().is_none()) => {
                ", the test part drawn at random"
            }
            Origin::Drawn => ", the test part drawn at random with a share of each class",
        };
        let description = format!("{data} ({kind}): {train} training and {test} test {what}{cut}");
        let (features, notes) = Default::default();
        Self { source, origin, description, features, notes, range: None, whole: None }
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
