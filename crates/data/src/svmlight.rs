use std::path::Path;

use crate::market::unborne;
use crate::{DataError, file};

/// Rows of numbers of which most are 0, with a label each: compressed sparse rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Svmlight {
    /// As in the file, one per row.
    pub labels: Vec<f64>,
    /// Row i holds the entries `indptr[i]..indptr[i + 1]`, `[rows + 1]`.
    pub indptr: Vec<usize>,
    /// Columns, from 0, rising within a row.
    pub indices: Vec<u32>,
    /// Numbers in these columns, all finite.
    pub values: Vec<f64>,
    /// Columns of the whole.
    pub columns: usize,
}

/// Reads files in the format of svmlight and LIBSVM, `label index:value …  # comment`, that belong together:
/// all have the columns that any of them has. `qid:` is passed over.
///
/// Indices count from 1, as LIBSVM writes them, unless one of the files has an index 0.
///
/// # Errors
/// Unreadable or empty files, rows that are no such and indices that the entries do not bear out, with their line.
///
/// ```no_run
/// let [train, test] = thalweg_data::read_svmlight(["ijcnn1.train.svm.bz2", "ijcnn1.test.svm.bz2"])?;
/// assert_eq!(train.columns, test.columns);
/// # Ok::<(), thalweg_data::DataError>(())
/// ```
pub fn read_svmlight<const N: usize>(files: [impl AsRef<Path>; N]) -> Result<[Svmlight; N], DataError> {
    let mut read = [const { None }; N];
    let mut most: Option<(u32, &Path, usize)> = None;
    for (file, read) in files.iter().zip(&mut read) {
        let (rows, largest) = rows(file.as_ref())?;
        if let Some((index, line)) = largest.filter(|l| most.is_none_or(|(index, ..)| index < l.0)) {
            most = Some((index, file.as_ref(), line));
        }
        *read = Some(rows);
    }
    let mut read = read.map(Option::unwrap_or_default);
    let from = u32::from(!read.iter().any(|r| r.indices.contains(&0)));
    let columns = most.map_or(0, |(index, ..)| (index - from) as usize + 1);
    let entries = read.iter().map(|r| r.indices.len()).sum();
    if let Some((index, file, line)) = most.filter(|_| unborne(columns, entries)) {
        return Err(DataError::Index { file: file.into(), line, index, entries });
    }
    for r in &mut read {
        r.indices.iter_mut().for_each(|j| *j -= from);
        r.columns = columns;
    }
    Ok(read)
}

/// The rows of one file, its indices as they are written, and the largest of them with its line.
fn rows(file: &Path) -> Result<(Svmlight, Option<(u32, usize)>), DataError> {
    let text = file::text(file)?;
    let mut rows = Svmlight { indptr: vec![0], ..Svmlight::default() };
    let mut largest: Option<(u32, usize)> = None;
    for (line, row) in (1..).zip(text.lines()) {
        let wrong =
            |word: &str, expected| DataError::Word { file: file.into(), line, word: word.into(), expected };
        let number = |cell: &str| cell.parse().ok().filter(|v: &f64| v.is_finite());
        let row = row.split_once('#').map_or(row, |(row, _)| row);
        let mut words = row.split_ascii_whitespace();
        let Some(label) = words.next() else { continue };
        rows.labels.push(number(label).ok_or_else(|| wrong(label, "a label, a finite number"))?);
        let mut last = None;
        for word in words.filter(|w| !w.starts_with("qid:")) {
            let pair = || wrong(word, "index:value, a whole number ≥ 0 and a finite one");
            let (index, value) = word.split_once(':').ok_or_else(pair)?;
            let index: u32 = index.parse().map_err(|_| pair())?;
            if let Some(last) = last.filter(|&last| last >= index) {
                return Err(DataError::Order { file: file.into(), line, index, last });
            }
            last = Some(index);
            rows.indices.push(index);
            rows.values.push(number(value).ok_or_else(pair)?);
        }
        if let Some(last) = last.filter(|&last| largest.is_none_or(|(index, _)| index < last)) {
            largest = Some((last, line));
        }
        rows.indptr.push(rows.indices.len());
    }
    if rows.labels.is_empty() {
        return Err(DataError::Empty { file: file.into() });
    }
    Ok((rows, largest))
}
