use std::path::Path;

use crate::labels::{Labels, Task, Unlabelled};
use crate::table::{Table, parsed, parsed_single};
use crate::{DataError, Options, TableOptions, Values};

/// Label columns looked for when none is named.
pub(crate) const LABELS: [&str; 4] = ["label", "target", "y", "class"];

/// Examples of a table in a file, with the names of their inputs: without the columns `options.drop`, and of
/// `options.features` those alone, in their order. What is dropped must be in the `first` file.
pub(crate) fn read(
    file: &Path,
    options: &Options,
    first: bool,
    notes: &mut Vec<String>,
) -> Result<(Unlabelled, Vec<String>), DataError> {
    // Rows are left out for what they lack in the columns that are used.
    let plain = TableOptions { drop_missing: false, ..options.table.clone() };
    let mut table = Table::read(file, &plain)?;
    let label = options.label.as_deref();
    let at = label_column(&table, label)?;
    let columns = table.columns();
    let no_column =
        |wanted: String| DataError::NoColumn { file: file.into(), wanted, columns: columns.join(", ") };
    if let Some(absent) = options.drop.iter().find(|name| first && !columns.contains(name)) {
        return Err(no_column(absent.clone()));
    }
    let dropped = |name: &String| options.drop.contains(name);
    let mut kept: Vec<usize> = (0..columns.len()).filter(|&j| j == at || !dropped(&columns[j])).collect();
    if !options.features.is_empty() {
        let named = |name: &String| columns.iter().position(|c| c == name).filter(|j| kept.contains(j));
        let lacking: Vec<&str> =
            options.features.iter().filter(|f| named(f).is_none()).map(String::as_str).collect();
        if !lacking.is_empty() {
            return Err(no_column(lacking.join(", ")));
        }
        let wanted: Vec<usize> = options.features.iter().filter_map(named).collect();
        let extra: Vec<&str> = (kept.iter().filter(|j| **j != at && !wanted.contains(j)))
            .map(|&j| columns[j].as_str())
            .collect();
        if !extra.is_empty() {
            notes.push(format!("left out, since the model does not read it: {}", extra.join(", ")));
        }
        if !wanted.is_sorted() {
            notes.push("the columns are in another order than the model's; they are matched by name".into());
        }
        kept = wanted.into_iter().filter(|&j| j != at).chain([at]).collect();
    }
    table.keep(&kept);
    if options.table.drop_missing {
        table.drop_missing();
    }
    notes.extend_from_slice(table.notes());
    of(&table, label, options.task())
}

/// Examples of a table: the column `label` (else the first of `label`, `target`, `y`, `class`) holds the targets,
/// all others the inputs, whose names are given too.
fn of(table: &Table, label: Option<&str>, task: Task) -> Result<(Unlabelled, Vec<String>), DataError> {
    let at = label_column(table, label)?;
    if table.rows() == 0 {
        return Err(DataError::Empty { file: table.file().into() });
    }
    let inputs: Vec<usize> = (0..table.columns().len()).filter(|&column| column != at).collect();
    let mut x = Vec::with_capacity(table.rows() * inputs.len());
    for row in 0..table.rows() {
        for &column in &inputs {
            x.push(table.single(row, column)?);
        }
    }
    let labels = labels(table, at, task)?;
    let names = inputs.iter().map(|&column| table.columns()[column].clone()).collect();
    Ok((Unlabelled { x: Values::Floats(x), shape: vec![inputs.len()], labels }, names))
}

fn label_column(table: &Table, label: Option<&str>) -> Result<usize, DataError> {
    let columns = table.columns();
    let at = match label {
        Some(label) => columns.iter().position(|c| c == label),
        None if !table.has_header() => {
            let file = table.file().into();
            return Err(DataError::NoHeader { file, columns: columns.join(", ") });
        }
        None => LABELS.iter().find_map(|l| columns.iter().position(|c| c.eq_ignore_ascii_case(l))),
    };
    match at {
        Some(_) if columns.len() == 1 => Err(DataError::NoInputs { file: table.file().into() }),
        Some(at) => Ok(at),
        None => Err(DataError::NoLabelColumn {
            file: table.file().into(),
            wanted: label.map_or_else(|| LABELS.join("/"), |l| format!("{l:?}")),
            columns: columns.join(", "),
        }),
    }
}

/// The labels of a column: numbers if all are or one is a fraction, else words.
fn labels(table: &Table, at: usize, task: Task) -> Result<Labels, DataError> {
    let rows = 0..table.rows();
    let cell = |row: usize| table.cell(row, at);
    if let Some(row) = rows.clone().find(|&row| table.is_missing(row, at)) {
        return Err(table.refused(row, at, "a label"));
    }
    let comma = table.decimal_comma();
    if let Some(row) = rows.clone().find(|&row| cell(row).parse().is_ok_and(|v: f32| !v.is_finite())) {
        return Err(table.refused(row, at, "a label or a finite number"));
    }
    let numbers: Vec<Option<f64>> = rows.clone().map(|row| parsed(cell(row), comma)).collect();
    if let Some(row) = numbers.iter().position(Option::is_none) {
        if task == Task::Regression {
            return Err(table.refused(row, at, "a number, as regression needs"));
        }
        if numbers.iter().flatten().any(|v| v.fract() != 0.0 || *v < 0.0) {
            return Err(table.refused(row, at, "a number, as other labels of this column are"));
        }
        return Ok(Labels::Words(rows.map(|row| cell(row).to_owned()).collect()));
    }
    let whole = rows.clone().all(|row| cell(row).parse::<i64>().is_ok());
    let single = |row| {
        parsed_single(cell(row), comma)
            .ok_or_else(|| table.refused(row, at, "a finite number of single precision"))
    };
    let single = rows.map(single).collect::<Result<_, _>>()?;
    Ok(Labels::Numbers { exact: numbers.into_iter().flatten().collect(), single, whole })
}

/// The inputs of `part` in the order of the columns `expected`; `found` are its own.
///
/// # Errors
/// Other columns than these.
pub(crate) fn in_order(
    part: &mut Unlabelled,
    found: &[String],
    expected: &[String],
    file: &Path,
    notes: &mut Vec<String>,
) -> Result<(), DataError> {
    if found == expected {
        return Ok(());
    }
    let place = |name: &String| found.iter().position(|f| f == name);
    let (Some(order), true) =
        (expected.iter().map(place).collect::<Option<Vec<_>>>(), found.len() == expected.len())
    else {
        let (found, expected) = (found.join(", "), expected.join(", "));
        return Err(DataError::Columns { file: file.into(), found, expected });
    };
    if let Values::Floats(x) = &mut part.x {
        let rows = x.chunks(found.len());
        *x = rows.flat_map(|row| order.iter().map(|&j| row[j])).collect();
    }
    notes.push(format!("{}: the columns are in another order; they are matched by name", file.display()));
    Ok(())
}

/// Notes columns of which nothing can be learnt.
pub(crate) fn note_constant(part: &Unlabelled, names: &[String], notes: &mut Vec<String>) {
    let Values::Floats(x) = &part.x else { return };
    let rows = x.len() / names.len().max(1);
    let constant = |j: &usize| x[*j..].iter().step_by(names.len()).all(|v| v == &x[*j]);
    let constant: Vec<&str> = (0..names.len()).filter(constant).map(|j| &*names[j]).collect();
    if rows > 1 && !constant.is_empty() {
        let columns = if constant.len() == 1 { "the column" } else { "the columns" };
        let shown = constant[..constant.len().min(6)].join(", ");
        let more =
            if constant.len() > 6 { format!(" and {} more", constant.len() - 6) } else { String::new() };
        notes.push(format!(
            "{columns} {shown}{more} never change{}",
            if constant.len() == 1 { "s" } else { "" }
        ));
    }
}
