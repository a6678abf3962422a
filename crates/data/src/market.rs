use std::path::Path;
use std::str::FromStr;

use crate::{DataError, file};

/// A sparse matrix as it stands in a MatrixMarket file.
#[derive(Clone, Debug, PartialEq)]
pub struct Market {
    /// Rows: the header's word, which the entries bear out in size.
    pub rows: usize,
    /// Columns, likewise.
    pub columns: usize,
    /// Entries `(row, column, value)` in the order of the file, counted from 0, finite; mirror images of a
    /// symmetric matrix are among them, each behind its own. Repeated places are to be added.
    pub triplets: Vec<(usize, usize, f64)>,
}

impl Market {
    /// The matrix as a vector of its one column; `file` names it in errors.
    ///
    /// # Errors
    /// More columns than one, and a length that the entries do not bear out.
    pub fn into_vector(self, file: &Path) -> Result<Vec<f64>, DataError> {
        let Self { rows, columns, triplets } = self;
        let wrong = |what| Err(DataError::Market { file: file.into(), line: 2, what });
        if columns != 1 {
            return wrong(format!(
                "{columns} columns where a right-hand side has one; give one vector per file"
            ));
        }
        if unborne(rows, triplets.len()) {
            return wrong(format!("{rows} rows of which {} have an entry; check the sizes", triplets.len()));
        }
        let mut vector = vec![0.0; rows];
        triplets.into_iter().for_each(|(i, _, value)| vector[i] += value);
        Ok(vector)
    }
}

/// Whether a length that stands in a file claims memory which the entries of the file do not bear out.
pub(crate) fn unborne(length: usize, entries: usize) -> bool {
    length > 1 << 24 && length / 1000 > entries
}

/// Reads a MatrixMarket file: coordinate or array; real, integer or pattern (a pattern has ones); general,
/// symmetric or skew-symmetric.
///
/// # Errors
/// Unreadable files, and what is no such file, with the line.
pub fn read_market(file: &Path) -> Result<Market, DataError> {
    let text = file::text(file)?;
    let parsed = Header::parse(&text).and_then(|market| {
        let (rows, columns) = (market.rows, market.cols);
        Ok(Market { rows, columns, triplets: market.triplets()? })
    });
    parsed.map_err(|(line, what)| DataError::Market { file: file.into(), line, what })
}

/// A vector as the text of a MatrixMarket array; each number is the shortest that is read back to the same bits.
pub fn vector_text(x: &[f64]) -> String {
    let mut text = format!("%%MatrixMarket matrix array real general\n{} 1\n", x.len());
    for x in x {
        text += &format!("{x:?}\n");
    }
    text
}

/// Line, from 1, and what is wrong with it.
type Fault = (usize, String);

fn fail<T>(line: usize, what: impl Into<String>) -> Result<T, Fault> {
    Err((line, what.into()))
}

/// A file's header, and its data lines with their numbers.
struct Header<'a> {
    array: bool,
    pattern: bool,
    symmetry: Symmetry,
    rows: usize,
    cols: usize,
    lines: Vec<(usize, &'a str)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Symmetry {
    General,
    Symmetric,
    Skew,
}

fn number<T: FromStr>(line: usize, what: &str, word: Option<&str>) -> Result<T, Fault> {
    match word {
        None => fail(line, format!("{what} is missing")),
        Some(word) => word.parse().or_else(|_| fail(line, format!("{what} is {word:?}, which is no number"))),
    }
}

impl<'a> Header<'a> {
    fn parse(text: &'a str) -> Result<Self, Fault> {
        let header = text.lines().next().unwrap_or_default().to_lowercase();
        let words: Vec<&str> = header.split_whitespace().collect();
        let [magic, "matrix", format, field, symmetry] = words[..] else {
            return fail(
                1,
                "no MatrixMarket header; it should read e.g. %%MatrixMarket matrix coordinate real symmetric",
            );
        };
        if magic != "%%matrixmarket" {
            return fail(1, format!("the header starts with {magic:?} instead of %%MatrixMarket"));
        }
        let array = match format {
            "coordinate" => false,
            "array" => true,
            _ => return fail(1, format!("the format {format:?} is not known; use coordinate or array")),
        };
        let pattern = match field {
            "real" | "double" | "integer" => false,
            "pattern" if !array => true,
            _ => {
                return fail(
                    1,
                    format!("the field {field:?} is not supported; use real, integer or pattern"),
                );
            }
        };
        let symmetry = match symmetry {
            "general" => Symmetry::General,
            "symmetric" => Symmetry::Symmetric,
            "skew-symmetric" => Symmetry::Skew,
            _ => {
                return fail(
                    1,
                    format!(
                        "the symmetry {symmetry:?} is not supported; use general, symmetric or skew-symmetric"
                    ),
                );
            }
        };
        let mut lines = text.lines().enumerate().skip(1).map(|(i, l)| (i + 1, l.trim()));
        let size = lines.find(|(_, l)| !l.is_empty() && !l.starts_with('%'));
        let Some((at, size)) = size else { return fail(1, "the line with the sizes is missing") };
        let mut words = size.split_whitespace();
        let rows: usize = number(at, "the number of rows", words.next())?;
        let cols: usize = number(at, "the number of columns", words.next())?;
        let entries: usize = match (array, symmetry) {
            (false, _) => number(at, "the number of entries", words.next())?,
            (true, Symmetry::General) => rows.saturating_mul(cols),
            (true, Symmetry::Symmetric) => rows.saturating_mul(rows.saturating_add(1)) / 2,
            (true, Symmetry::Skew) => rows.saturating_mul(rows.saturating_sub(1)) / 2,
        };
        let lines: Vec<_> = lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('%')).collect();
        let end = text.lines().count();
        if lines.len() != entries {
            let line = lines.get(entries).map_or(end, |l| l.0);
            return fail(line, format!("{} entries where line {at} promises {entries}", lines.len()));
        }
        if unborne(rows.max(cols), entries) {
            return fail(
                at,
                format!("{rows} rows and {cols} columns with {entries} entries; check the sizes"),
            );
        }
        if symmetry != Symmetry::General && rows != cols {
            return fail(at, format!("{rows} rows and {cols} columns; a symmetric matrix is square"));
        }
        Ok(Self { array, pattern, symmetry, rows, cols, lines })
    }

    /// All entries, with mirror images.
    fn triplets(&self) -> Result<Vec<(usize, usize, f64)>, Fault> {
        let mut all = Vec::with_capacity(2 * self.lines.len());
        let place = self.array_places();
        for (k, &(line, text)) in self.lines.iter().enumerate() {
            let mut words = text.split_whitespace();
            let (i, j) = if self.array {
                place(k)
            } else {
                let row: usize = number(line, "the row", words.next())?;
                let col: usize = number(line, "the column", words.next())?;
                if row == 0 || row > self.rows || col == 0 || col > self.cols {
                    return fail(
                        line,
                        format!(
                            "entry ({row}, {col}) lies outside a matrix of {} × {}; indices start at 1",
                            self.rows, self.cols
                        ),
                    );
                }
                (row - 1, col - 1)
            };
            let value: f64 = if self.pattern { 1.0 } else { number(line, "the value", words.next())? };
            if !value.is_finite() {
                return fail(line, format!("the value is {value}; it must be a finite number"));
            }
            if let Some(extra) = words.next() {
                return fail(line, format!("{extra:?} is left over behind the value"));
            }
            all.push((i, j, value));
            if i != j && self.symmetry != Symmetry::General {
                all.push((j, i, if self.symmetry == Symmetry::Skew { -value } else { value }));
            }
        }
        Ok(all)
    }

    /// Row and column of the k-th value of an array, which runs down the columns.
    fn array_places(&self) -> impl Fn(usize) -> (usize, usize) + use<> {
        let (rows, symmetry) = (self.rows, self.symmetry);
        let skip = usize::from(symmetry == Symmetry::Skew);
        let firsts: Vec<usize> = match symmetry {
            _ if !self.array => Vec::new(),
            Symmetry::General => Vec::new(),
            _ => (0..rows).scan(0, |sum, j| Some(std::mem::replace(sum, *sum + rows - j - skip))).collect(),
        };
        move |k| match symmetry {
            Symmetry::General => (k % rows, k / rows),
            _ => {
                let j = firsts.partition_point(|&first| first <= k) - 1;
                (j + skip + k - firsts[j], j)
            }
        }
    }
}
