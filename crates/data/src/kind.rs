use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{DataError, archive, file};

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Idx,
    Cifar,
    Csv,
    Npz,
    Npy,
    Text,
}

impl Kind {
    /// The kind by name, or where the name does not tell by the first bytes.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = file::name(path);
        let by_name = match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "bin" => Some(Self::Cifar),
            "csv" | "tsv" | "tab" => Some(Self::Csv),
            "npz" => Some(Self::Npz),
            "npy" => Some(Self::Npy),
            "txt" => Some(Self::Text),
            _ if name.contains("idx") && name.ends_with("ubyte") => Some(Self::Idx),
            _ => None,
        };
        by_name.or_else(|| match &*file::start(path) {
            [0, 0, 8, 1..=4, ..] => Some(Self::Idx),
            [b'P', b'K', 3, 4, ..] => Some(Self::Npz),
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Self::Npy),
            _ => None,
        })
    }

    /// Name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idx => "IDX",
            Self::Cifar => "CIFAR binary",
            Self::Csv => "CSV",
            Self::Npz => "npz",
            Self::Npy => "npy",
            Self::Text => "text",
        }
    }
}

/// The one kind of data in a folder and its training and test files, by name; sub-folders are not
/// searched, of a file and its packed ones the plain one is taken.
pub(crate) fn survey(folder: &Path) -> Result<(Kind, Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let unreadable = |e| DataError::Unreadable { file: folder.into(), source: e };
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let mut files: Vec<PathBuf> =
        entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>().map_err(unreadable)?;
    files.retain(|f| f.is_file());
    files.sort(); // a name before the same name with .gz or .bz2
    files.dedup_by(|b, a| {
        let packed = |f: &PathBuf| file::PACKED.iter().any(|p| f.extension().is_some_and(|e| e == *p));
        let plain = |f: &PathBuf| if packed(f) { f.with_extension("") } else { f.clone() };
        packed(b) && plain(a) == plain(b)
    });
    let mut kinds = BTreeMap::<Kind, Vec<PathBuf>>::new();
    for file in files.iter().filter(|f| !is_note(f)) {
        if let Some(kind) = Kind::of(file) {
            kinds.entry(kind).or_default().push(file.clone());
        }
    }
    if kinds.len() > 1 {
        let found = kinds.iter().map(|(kind, files)| format!("{} ({})", kind.name(), list(files)));
        return Err(DataError::Mixed { folder: folder.into(), found: found.collect::<Vec<_>>().join(", ") });
    }
    let Some((kind, mut files)) = kinds.pop_first() else {
        return Err(DataError::NoData { folder: folder.into(), found: list(&files) });
    };
    // Labels are found by the readers.
    match kind {
        Kind::Idx => files.retain(|f| !file::name(f).contains("labels")),
        Kind::Npy => files.retain(|f| archive::is_inputs(f)),
        _ => {}
    }
    if files.is_empty() {
        return Err(DataError::NoData {
            folder: folder.into(),
            found: format!("{} without inputs", kind.name()),
        });
    }
    let (test, train): (Vec<_>, Vec<_>) = files.into_iter().partition(|f| is_test(f));
    // Test files alone are all the data there is.
    let (train, test) = if train.is_empty() { (test, train) } else { (train, test) };
    Ok((kind, train, test))
}

/// Whether the name says that this is the test part.
fn is_test(file: &Path) -> bool {
    let name = file::name(file);
    name.contains("test") || name.contains("t10k")
}

/// Files that come with data and hold none.
fn is_note(file: &Path) -> bool {
    let name = file::name(file);
    [".", "readme", "license", "batches.meta"].iter().any(|start| name.starts_with(start))
}

/// File names, at most six.
pub(crate) fn list(files: &[PathBuf]) -> String {
    let name = |f: &PathBuf| f.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut names: Vec<_> = files.iter().take(6).map(name).collect();
    match files.len() {
        0 => names.push("nothing".into()),
        7.. => names.push(format!("and {} more", files.len() - 6)),
        _ => {}
    }
    names.join(", ")
}
