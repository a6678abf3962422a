use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::cells::{Cells, Separator};
use crate::choice::choice;
use crate::{DataError, file};

/// Whether the first row holds the names of the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// Unless it is made of numbers and marks of missing values, or one of its words stands below it again.
    #[default]
    Auto,
    /// Yes.
    Yes,
    /// No: the columns are `X0`, `X1`, …
    No,
}

impl Header {
    /// The choices by name.
    pub const ALL: [(&str, Self); 3] = [("auto", Self::Auto), ("yes", Self::Yes), ("no", Self::No)];
}

choice!(Header, "header");

/// How a table is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableOptions {
    /// What separates cells. Default: found out from the first rows.
    pub separator: Option<Separator>,
    /// Whether there is a header. Default: found out.
    pub header: Header,
    /// What else marks a missing value beside `NA`, `NaN`, `null`, `?`, nothing and the like. Default: nothing else.
    pub missing: Vec<String>,
    /// Leaves out the rows in which a value is missing; they are counted in the notes. Default: no.
    pub drop_missing: bool,
}

/// A table of named columns: CSV in any dialect.
///
/// Cells are separated by commas, semicolons (then decimal commas are read), tabulators, bars or blanks, and may
/// be quoted. Row names are left out: an unnamed first column of distinct whole numbers, as pandas and R write
/// them, or of distinct words. Whatever was found out is said in [`Table::notes`].
///
/// ```
/// use thalweg_data::{Table, TableOptions};
/// let text = ";a;b\n0;1,5;2\n1;2,5;NA\n".to_owned();
/// let table = Table::parse("t.csv".as_ref(), text, &TableOptions::default())?;
/// assert_eq!(table.columns(), ["a", "b"]);
/// assert_eq!(table.numbers(0)?, [1.5, 2.5]);
/// assert!(table.numbers(1).unwrap_err().to_string().contains("line 3"));
/// # Ok::<(), thalweg_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    file: PathBuf,
    cells: Cells,
    columns: Vec<String>,
    /// Which cell of a row is in each column.
    place: Vec<usize>,
    /// Which rows of `cells` are in the table.
    rows: Vec<usize>,
    row_names: Option<usize>,
    header: bool,
    decimal_comma: bool,
    /// Which columns hold a number.
    numeric: Vec<bool>,
    missing: Vec<String>,
    notes: Vec<String>,
}

impl Table {
    /// Reads a file, perhaps packed.
    ///
    /// # Errors
    /// Unreadable or empty files, rows of unequal length, quotes that are never closed, columns of one name.
    pub fn read(file: &Path, options: &TableOptions) -> Result<Self, DataError> {
        Self::parse(file, file::text(file)?, options)
    }

    /// As [`Table::read`], from the text of `file`.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn parse(file: &Path, text: String, options: &TableOptions) -> Result<Self, DataError> {
        let (ahead, told) = prelude(&text);
        let (comments, body) = text.split_at(ahead);
        let separator = options.separator.or(told).or_else(|| Separator::detect(body));
        let separator = separator.unwrap_or(Separator::Comma);
        let line = 1 + comments.lines().count();
        let split = |text: &str, line| {
            let unclosed = |line| DataError::Quote { file: file.into(), line };
            Cells::split(text, separator, line, usize::MAX).map_err(unclosed)
        };
        let cells = split(body, line)?;
        if cells.rows() == 0 {
            return Err(DataError::Empty { file: file.into() });
        }
        // A header may stand in a comment, as NumPy writes it.
        let comment = comments.lines().next_back().and_then(|c| c.strip_prefix('#'));
        let above = split(comment.unwrap_or_default(), line - 1)?;
        let mut table = Self {
            file: file.into(),
            columns: Vec::new(),
            place: Vec::new(),
            rows: (0..cells.rows()).collect(),
            row_names: None,
            header: false,
            decimal_comma: false,
            numeric: Vec::new(),
            missing: options.missing.clone(),
            notes: Vec::new(),
            cells,
        };
        table.decimal_comma = separator == Separator::Semicolon && table.any(decimal_comma);
        table.name_columns(&above, options.header)?;
        table.drop_empty();
        table.take_row_names();
        table.check_names()?;
        table.numeric = table.place.iter().map(|&p| table.down(p).any(|c| table.is_number(c))).collect();
        if options.drop_missing {
            table.drop_missing();
        }
        Ok(table)
    }

    /// The file it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether the names of the columns are the file's.
    pub fn has_header(&self) -> bool {
        self.header
    }

    /// For people: what was found out and left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Line of a row in the file, from 1.
    pub fn line(&self, row: usize) -> usize {
        self.cells.line(self.rows[row])
    }

    /// Name of a row, where the rows have names.
    pub fn row_name(&self, row: usize) -> Option<&str> {
        self.row_names.map(|place| self.at(self.rows[row], place))
    }

    /// The text of a cell, without quotes.
    pub fn cell(&self, row: usize, column: usize) -> &str {
        self.at(self.rows[row], self.place[column])
    }

    /// Whether a cell marks a missing value.
    pub fn is_missing(&self, row: usize, column: usize) -> bool {
        let cell = self.cell(row, column);
        // Among words, none is one.
        self.marks_missing(cell) && (self.numeric[column] || !cell.eq_ignore_ascii_case("none"))
    }

    /// The first of these columns that there is, spelt alike or but for capitals.
    pub fn column(&self, names: &[&str]) -> Option<usize> {
        let find = |same: fn(&str, &str) -> bool| {
            names.iter().find_map(|n| self.columns.iter().position(|c| same(c, n)))
        };
        find(|a, b| a == b).or_else(|| find(|a, b| a.eq_ignore_ascii_case(b)))
    }

    /// As [`Table::column`].
    ///
    /// # Errors
    /// There is none of them.
    pub fn need(&self, names: &[&str]) -> Result<usize, DataError> {
        self.column(names).ok_or_else(|| DataError::NoColumn {
            file: self.file.clone(),
            wanted: names.join("/"),
            columns: self.columns.join(", "),
        })
    }

    /// A finite number.
    ///
    /// # Errors
    /// A missing value, and what is no finite number, with its place.
    pub fn number(&self, row: usize, column: usize) -> Result<f64, DataError> {
        let cell = self.present(row, column);
        let number = cell.and_then(|cell| parsed(cell, self.decimal_comma));
        number.ok_or_else(|| self.refused(row, column, "a finite number"))
    }

    /// As [`Table::number`] in single precision, rounded once.
    ///
    /// # Errors
    /// As [`Table::number`].
    pub fn single(&self, row: usize, column: usize) -> Result<f32, DataError> {
        let cell = self.present(row, column);
        let number = cell.and_then(|cell| parsed_single(cell, self.decimal_comma));
        number.ok_or_else(|| self.refused(row, column, "a finite number"))
    }

    /// A whole number ≥ 0.
    ///
    /// # Errors
    /// Any other cell.
    pub fn count(&self, row: usize, column: usize) -> Result<usize, DataError> {
        self.cell(row, column).parse().map_err(|_| self.refused(row, column, "a whole number ≥ 0"))
    }

    /// A column of finite numbers.
    ///
    /// # Errors
    /// As [`Table::number`].
    pub fn numbers(&self, column: usize) -> Result<Vec<f64>, DataError> {
        (0..self.rows()).map(|row| self.number(row, column)).collect()
    }

    /// All cells as finite numbers, row by row.
    ///
    /// # Errors
    /// As [`Table::number`].
    pub fn matrix(&self) -> Result<Vec<f64>, DataError> {
        let cells = (0..self.rows()).flat_map(|row| (0..self.columns.len()).map(move |column| (row, column)));
        cells.map(|(row, column)| self.number(row, column)).collect()
    }

    /// Leaves out the rows in which a value is missing; gives their number and notes it.
    pub fn drop_missing(&mut self) -> usize {
        let all = self.rows();
        let lacking = |row: usize| (0..self.columns.len()).any(|column| self.is_missing(row, column));
        self.rows = (0..all).filter(|&row| !lacking(row)).map(|row| self.rows[row]).collect();
        let dropped = all - self.rows();
        if dropped > 0 {
            self.notes.push(format!("{dropped} of {all} rows lack a value and are left out"));
        }
        dropped
    }

    /// The same rows with these columns alone, in this order.
    pub(crate) fn keep(&mut self, columns: &[usize]) {
        self.place = columns.iter().map(|&j| self.place[j]).collect();
        self.numeric = columns.iter().map(|&j| self.numeric[j]).collect();
        self.columns = columns.iter().map(|&j| self.columns[j].clone()).collect();
    }

    /// The error of a cell that is not what it should be: missing, or something else.
    pub fn refused(&self, row: usize, column: usize, expected: &'static str) -> DataError {
        let (file, line, name) = (self.file.clone(), self.line(row) as u64, self.columns[column].clone());
        let cell = self.cell(row, column).to_owned();
        if !self.is_missing(row, column) {
            return DataError::Cell { file, line, column: name, cell, expected };
        }
        let lacking = |row: &usize| (0..self.columns.len()).any(|column| self.is_missing(*row, column));
        let (lacking, rows) = ((0..self.rows()).filter(lacking).count(), self.rows());
        DataError::Missing { file, line, column: name, cell, expected, lacking, rows }
    }

    pub(crate) fn decimal_comma(&self) -> bool {
        self.decimal_comma
    }

    fn at(&self, row: usize, place: usize) -> &str {
        self.cells.cell(self.cells.row(row).start + place)
    }

    fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        self.rows.iter().any(|&row| self.cells.row(row).any(|cell| is(self.cells.cell(cell))))
    }

    /// Cells of one place in the rows.
    fn down(&self, place: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().map(move |&row| self.at(row, place))
    }

    /// A cell that is no mark of a missing value that was named: such marks may be numbers.
    fn present(&self, row: usize, column: usize) -> Option<&str> {
        let cell = self.cell(row, column);
        Some(cell).filter(|cell| !self.missing.iter().any(|mark| mark == cell))
    }

    fn marks_missing(&self, cell: &str) -> bool {
        missing(cell) || self.missing.iter().any(|mark| mark == cell)
    }

    fn is_number(&self, cell: &str) -> bool {
        parsed(cell, self.decimal_comma).is_some()
    }

    /// Finds the header, in the line `above` or the first row, and checks the lengths of the rows.
    fn name_columns(&mut self, above: &Cells, header: Header) -> Result<(), DataError> {
        let first = self.cells.row(0);
        let names = |cells: &Cells, row: std::ops::Range<usize>| -> Vec<String> {
            row.map(|cell| cells.cell(cell).to_owned()).collect()
        };
        let in_comment = above.rows() > 0
            && header != Header::No
            && above.row(0).len() == first.len()
            && above.row(0).any(|cell| !self.is_number(above.cell(cell)))
            && first.clone().any(|cell| self.is_number(self.cells.cell(cell)));
        let mut columns = names(&self.cells, first);
        self.header = true;
        if in_comment {
            columns = names(above, above.row(0));
        } else if header == Header::Yes || (header == Header::Auto && self.first_is_header(&columns)) {
            self.rows.remove(0);
        } else {
            self.header = false;
        }
        let length = |row: &usize| self.cells.row(*row).len();
        let mut expected = columns.len();
        if self.header && !self.rows.is_empty() && self.rows.iter().all(|row| length(row) == expected + 1) {
            // One cell more in each row: nothing behind the last separator, or names of the rows.
            if self.down(expected).all(str::is_empty) {
                columns.push(String::new());
                expected += 1;
            } else if self.rows.len() > 1 && self.names_rows(0) {
                columns.insert(0, String::new());
                expected += 1;
            }
        }
        if let Some(&row) = self.rows.iter().find(|row| length(row) != expected) {
            let (line, found) = (self.cells.line(row) as u64, length(&row) as u64);
            return Err(DataError::Ragged {
                file: self.file.clone(),
                line,
                found,
                expected: expected as u64,
            });
        }
        self.place = (0..expected).collect();
        if !self.header {
            columns = (0..expected).map(|j| format!("X{j}")).collect();
            self.notes.push(match expected {
                1 => "the first row is no header; the column is named X0".into(),
                _ => format!("the first row is no header; the columns are named X0 to X{}", expected - 1),
            });
        }
        self.columns = columns;
        Ok(())
    }

    /// Whether the first row, `names`, is above the others rather than one of them.
    fn first_is_header(&mut self, names: &[String]) -> bool {
        let numbers = names.iter().filter(|c| self.is_number(c)).count();
        let gaps = names.iter().filter(|c| self.marks_missing(c)).count();
        if numbers == 0 {
            return true;
        }
        let below = || self.rows[1..].iter().filter(|&&row| self.cells.row(row).len() == names.len());
        if numbers + gaps == names.len() {
            // pandas numbers the columns of a bare array.
            let counted = names.len() > 1 && names.iter().enumerate().all(|(j, name)| *name == j.to_string());
            let real = |cell: &str| self.marks_missing(cell) || cell.contains(['.', ',', 'e', 'E']);
            let broken = |j: usize| below().all(|&row| real(self.at(row, j)));
            return counted && below().count() > 0 && (0..names.len()).all(broken);
        }
        let word = |j: &usize| !self.is_number(&names[*j]) && !self.marks_missing(&names[*j]);
        let again = (0..names.len()).filter(word).any(|j| below().any(|&row| self.at(row, j) == names[j]));
        if !again && names.iter().any(|c| self.is_number(c) && c.parse::<i64>().is_err()) {
            self.notes.push(
                "the first row holds numbers but is taken for the names of the columns; header = no takes it for data"
                    .into(),
            );
        }
        !again
    }

    /// Leaves out columns without a name and rows in which nothing stands.
    fn drop_empty(&mut self) {
        let empty = |place: &usize| {
            (!self.header || self.columns[*place].is_empty()) && self.down(*place).all(str::is_empty)
        };
        let all = self.place.len();
        if self.rows.is_empty() {
            return;
        }
        let kept: Vec<usize> = (0..all).filter(|place| !empty(place)).collect();
        if kept.len() < all && !kept.is_empty() {
            self.notes.push(format!("{} of {all} columns are empty and left out", all - kept.len()));
            self.columns = kept.iter().map(|&place| self.columns[place].clone()).collect();
            self.place = kept;
        }
        let all = self.rows.len();
        let full = |row: &usize| self.place.iter().any(|&place| !self.at(*row, place).is_empty());
        let kept: Vec<usize> = self.rows.iter().copied().filter(full).collect();
        if kept.len() < all && self.place.len() > 1 {
            self.notes.push(format!("{} of {all} rows are empty and left out", all - kept.len()));
            self.rows = kept;
        }
    }

    /// Takes an unnamed first column for the names of the rows.
    fn take_row_names(&mut self) {
        let unnamed = |name: &String| name.is_empty() || name == "Unnamed: 0";
        if !self.header
            || self.place.len() < 2
            || !self.columns.first().is_some_and(unnamed)
            || self.rows.is_empty()
            || !self.names_rows(self.place[0])
        {
            return;
        }
        let place = self.place.remove(0);
        self.columns.remove(0);
        self.row_names = Some(place);
        let numbers = self.down(place).all(|c| c.parse::<f64>().is_ok());
        let what = if numbers { "numbers" } else { "names" };
        self.notes.push(format!("the unnamed first column {what} the rows; it is left out"));
    }

    /// Whether a place holds distinct whole numbers, or distinct words.
    fn names_rows(&self, place: usize) -> bool {
        let whole = |c: &str| c.parse::<f64>().is_ok_and(|v| v.fract() == 0.0 && v >= 0.0);
        let words = self.down(place).all(|c| !self.is_number(c) && !self.marks_missing(c));
        let mut seen = HashSet::new();
        (words || self.down(place).all(whole)) && self.down(place).all(|c| seen.insert(c))
    }

    /// Gives unnamed columns a name and refuses two of one.
    fn check_names(&mut self) -> Result<(), DataError> {
        for (name, place) in self.columns.iter_mut().zip(&self.place) {
            if name.is_empty() {
                *name = format!("column {}", place + 1);
            }
        }
        let mut seen = HashSet::new();
        match self.columns.iter().find(|c| !seen.insert(*c)) {
            Some(twice) => Err(DataError::DuplicateColumn { file: self.file.clone(), column: twice.clone() }),
            None => Ok(()),
        }
    }
}

/// Bytes of the lines before the table, comments and `sep=;`, and the separator that is told there.
fn prelude(text: &str) -> (usize, Option<Separator>) {
    let mut ahead = 0;
    let mut told = None;
    for line in text.split_inclusive('\n') {
        let sep = line.trim_end().strip_prefix("sep=").filter(|_| ahead == 0);
        let sep = sep.and_then(|s| Separator::of_char(s.chars().next()?));
        told = told.or(sep);
        if sep.is_none() && !line.starts_with('#') {
            break;
        }
        ahead += line.len();
    }
    // Comments alone are no comments.
    if ahead == text.len() { (0, told) } else { (ahead, told) }
}

/// What pandas takes for missing, in any capitals, and `?`.
fn missing(cell: &str) -> bool {
    let marks = [
        "", "na", "n/a", "nan", "-nan", "null", "none", "?", "#n/a", "#na", "#n/a n/a", "<na>", "1.#ind",
        "-1.#ind", "1.#qnan", "-1.#qnan",
    ];
    cell.len() <= 8 && marks.iter().any(|mark| cell.eq_ignore_ascii_case(mark))
}

/// Whether a number is written with a decimal comma.
fn decimal_comma(cell: &str) -> bool {
    let Some((before, behind)) = cell.split_once(',') else { return false };
    behind.starts_with(|c: char| c.is_ascii_digit()) && format!("{before}.{behind}").parse::<f64>().is_ok()
}

/// A finite number.
pub(crate) fn parsed(cell: &str, decimal_comma: bool) -> Option<f64> {
    as_written(cell, decimal_comma, |c| c.parse().ok().filter(|v: &f64| v.is_finite()))
}

/// A finite number, rounded once.
pub(crate) fn parsed_single(cell: &str, decimal_comma: bool) -> Option<f32> {
    as_written(cell, decimal_comma, |c| c.parse().ok().filter(|v: &f32| v.is_finite()))
}

/// Where numbers have decimal commas, a point may stand for thousands: such a cell is no number.
fn as_written<T>(cell: &str, decimal_comma: bool, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    match decimal_comma {
        false => parse(cell),
        true if cell.contains('.') => None,
        true => parse(&cell.replacen(',', ".", 1)),
    }
}
