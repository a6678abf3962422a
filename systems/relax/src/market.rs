//! MatrixMarket files: coordinate and array, real, integer and pattern, general, symmetric and
//! skew-symmetric; gzip is seen through.

use std::io::Read;
use std::str::FromStr;

use flate2::read::MultiGzDecoder;

use crate::{Csr, RelaxError};

fn fail<T>(line: usize, what: impl Into<String>) -> Result<T, RelaxError> {
    Err(RelaxError::Market { line, what: what.into() })
}

/// A file's header, and its data lines with their numbers.
struct Market<'a> {
    array: bool,
    pattern: bool,
    symmetry: Symmetry,
    rows: usize,
    cols: usize,
    lines: Vec<(usize, &'a str)>,
    /// Lines of the file.
    end: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Symmetry {
    General,
    Symmetric,
    Skew,
}

fn number<T: FromStr>(line: usize, what: &str, word: Option<&str>) -> Result<T, RelaxError> {
    match word {
        None => fail(line, format!("{what} is missing")),
        Some(word) => word.parse().or_else(|_| fail(line, format!("{what} is {word:?}, which is no number"))),
    }
}

impl<'a> Market<'a> {
    fn parse(text: &'a str) -> Result<Self, RelaxError> {
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
        if symmetry != Symmetry::General && rows != cols {
            return Err(RelaxError::NotSquare { rows, cols });
        }
        Ok(Self { array, pattern, symmetry, rows, cols, lines, end })
    }

    /// All entries, with mirror images.
    fn triplets(&self) -> Result<Vec<(usize, usize, f64)>, RelaxError> {
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

/// The text of a file's bytes, unpacked if they start as gzip does.
fn text(bytes: &[u8]) -> Result<String, RelaxError> {
    let mut unpacked = Vec::new();
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        let done = MultiGzDecoder::new(bytes).read_to_end(&mut unpacked);
        done.or_else(|e| fail(1, format!("the gzip stream is damaged: {e}; pack the file again")))?;
        unpacked
    } else {
        bytes.to_vec()
    };
    String::from_utf8(bytes).or_else(|e| {
        let offset = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..offset].iter().filter(|&&b| b == b'\n').count() + 1;
        fail(line, "the file is no text; MatrixMarket files are ASCII")
    })
}

/// A square matrix from the bytes of a MatrixMarket file, coordinate or array. A pattern has ones.
pub fn read_matrix(bytes: &[u8]) -> Result<Csr, RelaxError> {
    let text = text(bytes)?;
    let market = Market::parse(&text)?;
    Csr::from_triplets(market.rows, market.cols, market.triplets()?)
}

/// A vector from the bytes of a MatrixMarket file with one column, array or coordinate.
pub fn read_vector(bytes: &[u8]) -> Result<Vec<f64>, RelaxError> {
    let text = text(bytes)?;
    let market = Market::parse(&text)?;
    if market.cols != 1 {
        return fail(
            market.end.min(2),
            format!("{} columns where a right-hand side has one; give one vector per file", market.cols),
        );
    }
    let mut vector = vec![0.0; market.rows];
    for (i, _, value) in market.triplets()? {
        vector[i] += value;
    }
    Ok(vector)
}
