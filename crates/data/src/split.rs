use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::table::MOST_CLASSES;
use crate::{DataError, file, table};

/// What an example is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Training, labels perhaps wrong.
    Train,
    /// Validation.
    Val,
    /// Test.
    Test,
}

/// A division of examples into parts, with labels of which some are wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// Which examples, from 0, in the order of the file.
    pub index: Vec<usize>,
    /// Part of each.
    pub part: Vec<Part>,
    /// True class of each.
    pub clean: Vec<u32>,
    /// Class of each as it is given to a learner.
    pub given: Vec<u32>,
}

impl Split {
    /// Index, true and given class of the examples of a part.
    pub fn of(&self, part: Part) -> impl Iterator<Item = (usize, u32, u32)> {
        (0..self.part.len())
            .filter(move |&i| self.part[i] == part)
            .map(|i| (self.index[i], self.clean[i], self.given[i]))
    }
}

/// Reads a CSV file with the columns `index`, `part` (train, val or test), `clean_label` and `given_label`;
/// others are passed over.
///
/// # Errors
/// Unreadable or empty files, missing columns, and cells that are no such.
pub fn read_split(file: &Path) -> Result<Split, DataError> {
    const COLUMNS: [&str; 4] = ["index", "part", "clean_label", "given_label"];
    let text = file::text(file)?;
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
    let failed = |e| table::failed(file, e);
    let header = reader.headers().map_err(failed)?.clone();
    let mut at = [0; 4];
    for (at, wanted) in at.iter_mut().zip(COLUMNS) {
        *at = header.iter().position(|c| c == wanted).ok_or_else(|| DataError::NoColumn {
            file: file.into(),
            wanted,
            columns: header.iter().collect::<Vec<_>>().join(", "),
        })?;
    }
    let mut split = Split::default();
    let mut row = StringRecord::new();
    while reader.read_record(&mut row).map_err(failed)? {
        let line = row.position().map_or(0, |p| p.line());
        let cell = |k: usize| row.get(at[k]).unwrap_or_default();
        let wrong = |k: usize, expected| DataError::Cell {
            file: file.into(),
            line,
            column: COLUMNS[k].into(),
            cell: cell(k).into(),
            expected,
        };
        split.index.push(cell(0).parse().map_err(|_| wrong(0, "a whole number ≥ 0"))?);
        split.part.push(match cell(1) {
            "train" => Part::Train,
            "val" => Part::Val,
            "test" => Part::Test,
            _ => return Err(wrong(1, "train, val or test")),
        });
        let class = |k: usize| {
            let class = cell(k).parse().ok().filter(|&c: &u32| c < MOST_CLASSES);
            class.ok_or_else(|| wrong(k, "a class, a whole number ≥ 0"))
        };
        split.clean.push(class(2)?);
        split.given.push(class(3)?);
    }
    if split.index.is_empty() {
        return Err(DataError::Empty { file: file.into() });
    }
    Ok(split)
}
