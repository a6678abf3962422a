use std::path::Path;

use crate::labels::MOST_CLASSES;
use crate::{DataError, Table, TableOptions};

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
    let table = Table::read(file, &TableOptions::default())?;
    let mut at = [0; 4];
    for (at, wanted) in at.iter_mut().zip(COLUMNS) {
        *at = table.need(&[wanted])?;
    }
    let mut split = Split::default();
    for row in 0..table.rows() {
        split.index.push(table.count(row, at[0])?);
        split.part.push(match table.cell(row, at[1]) {
            "train" => Part::Train,
            "val" => Part::Val,
            "test" => Part::Test,
            _ => return Err(table.refused(row, at[1], "train, val or test")),
        });
        let class = |column: usize| {
            let class = table.cell(row, column).parse().ok().filter(|&c: &u32| c < MOST_CLASSES);
            class.ok_or_else(|| table.refused(row, column, "a class, a whole number ≥ 0"))
        };
        split.clean.push(class(at[2])?);
        split.given.push(class(at[3])?);
    }
    if split.index.is_empty() {
        return Err(DataError::Empty { file: file.into() });
    }
    Ok(split)
}
