use std::collections::HashSet;
use std::path::Path;

use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};

use crate::dataset::number_classes;
use crate::{DataError, Dataset, Targets, Values, file};

/// Label columns looked for when none is named.
pub(crate) const LABELS: [&str; 4] = ["label", "target", "y", "class"];
/// Whole numbers up to here can be classes; larger ones are quantities.
pub(crate) const MOST_CLASSES: u32 = 1 << 16;

/// CSV files with a header: the column `label` (else the first of `label`, `target`, `y`, `class`)
/// holds the targets, all others the inputs. Both files must have the same input columns.
pub(crate) fn read(
    train: &Path,
    test: Option<&Path>,
    label: Option<&str>,
) -> Result<(Dataset, Option<Dataset>), DataError> {
    let (examples, expected) = read_file(train, label)?;
    let Some(file) = test else { return Ok((examples, None)) };
    let (others, found) = read_file(file, label)?;
    if found != expected {
        let (found, expected) = (found.join(", "), expected.join(", "));
        return Err(DataError::Columns { file: file.into(), found, expected });
    }
    Ok((examples, Some(others)))
}

/// Examples and names of the input columns.
fn read_file(file: &Path, label: Option<&str>) -> Result<(Dataset, Vec<String>), DataError> {
    let text = file::text(file)?;
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
    let failed = |e| failed(file, e);
    let mut columns: Vec<String> = reader.headers().map_err(failed)?.iter().map(str::to_owned).collect();
    let at = header(file, &columns, label)?;

    let (mut x, mut targets) = (Vec::new(), Vec::new());
    let mut row = StringRecord::new();
    while reader.read_record(&mut row).map_err(failed)? {
        let line = row.position().map_or(0, |p| p.line());
        for (i, cell) in row.iter().enumerate() {
            if i == at {
                targets.push((line, cell.to_owned()));
            } else {
                x.push(finite(cell).ok_or_else(|| DataError::Cell {
                    file: file.into(),
                    line,
                    column: columns[i].clone(),
                    cell: cell.to_owned(),
                    expected: "a finite number",
                })?);
            }
        }
    }
    if targets.is_empty() {
        return Err(DataError::Empty { file: file.into() });
    }
    let label = columns.remove(at);
    let targets = classify(targets).map_err(|(line, cell, expected)| DataError::Cell {
        file: file.into(),
        line,
        column: label,
        cell,
        expected,
    })?;
    Ok((Dataset { x: Values::Floats(x), shape: vec![columns.len()], targets }, columns))
}

/// What the CSV reader found wrong with the file.
pub(crate) fn failed(file: &Path, e: csv::Error) -> DataError {
    match *e.kind() {
        ErrorKind::UnequalLengths { ref pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, |p| p.line());
            DataError::Ragged { file: file.into(), line, found: len, expected: expected_len }
        }
        _ => DataError::Unreadable { file: file.into(), source: e.into() },
    }
}

/// Where the label column is, after a check of the header.
fn header(file: &Path, columns: &[String], label: Option<&str>) -> Result<usize, DataError> {
    if columns.is_empty() {
        return Err(DataError::Empty { file: file.into() });
    }
    if columns.iter().all(|c| c.parse::<f64>().is_ok()) {
        return Err(DataError::NoHeader { file: file.into() });
    }
    let mut seen = HashSet::new();
    if let Some(twice) = columns.iter().find(|c| !seen.insert(*c)) {
        return Err(DataError::DuplicateColumn { file: file.into(), column: twice.clone() });
    }
    let at = match label {
        Some(label) => columns.iter().position(|c| c == label),
        None => LABELS.iter().find_map(|l| columns.iter().position(|c| c.eq_ignore_ascii_case(l))),
    };
    match at {
        Some(_) if columns.len() == 1 => Err(DataError::NoInputs { file: file.into() }),
        Some(at) => Ok(at),
        None => Err(DataError::NoLabelColumn {
            file: file.into(),
            wanted: label.map_or_else(|| LABELS.join("/"), |l| format!("{l:?}")),
            columns: columns.join(", "),
        }),
    }
}

fn finite(cell: &str) -> Option<f32> {
    cell.parse().ok().filter(|v: &f32| v.is_finite())
}

/// Whole numbers are classes, other numbers values, words classes in alphabetical order. An error
/// is the line, the cell and what it should be.
fn classify(cells: Vec<(u64, String)>) -> Result<Targets, (u64, String, &'static str)> {
    if let Some((line, cell)) = cells.iter().find(|(_, c)| c.is_empty()) {
        return Err((*line, cell.clone(), "a label"));
    }
    let whole = |c: &str| c.parse().ok().filter(|&n: &u32| n < MOST_CLASSES);
    if let Some(labels) = cells.iter().map(|(_, c)| whole(c)).collect() {
        return Ok(number_classes(labels));
    }
    if let Some((line, cell)) = cells.iter().find(|(_, c)| c.parse().is_ok_and(|v: f32| !v.is_finite())) {
        return Err((*line, cell.clone(), "a label or a finite number"));
    }
    if cells.iter().any(|(_, c)| finite(c).is_some() && whole(c).is_none()) {
        let value = |(line, c): &(u64, String)| {
            finite(c).ok_or_else(|| (*line, c.clone(), "a number, as other labels of this column are"))
        };
        return Ok(Targets::Values { values: cells.iter().map(value).collect::<Result<_, _>>()?, width: 1 });
    }
    let mut names: Vec<String> = cells.iter().map(|(_, c)| c.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let labels = cells.iter().map(|(_, c)| names.partition_point(|n| n < c) as u32).collect();
    Ok(Targets::Classes { labels, names })
}
