use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why data could not be read: the file, the place in it, the cause and the remedy.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum DataError {
    /// A file or folder that is missing or may not be read.
    #[error("{file}: cannot be read: {source}; check the path and the permissions")]
    Unreadable { file: PathBuf, source: io::Error },
    /// A packed stream that ends early or fails its checksum.
    #[error("{file}: damaged {format}: {source}; fetch the file again")]
    Packed { file: PathBuf, format: &'static str, source: io::Error },
    /// A file without content, or a header without examples.
    #[error("{file}: empty: there is no example in it; pass a file with data")]
    Empty { file: PathBuf },
    /// One example cannot be cut into a training and a test part.
    #[error("{file}: only one example, nothing is left to test on; pass more, or name a test file")]
    TooFew { file: PathBuf },
    /// A file of no known kind.
    #[error("{file}: unknown kind of data; pass {KINDS}")]
    UnknownKind { file: PathBuf },
    /// A folder without data.
    #[error("{folder}: no data in this folder (found: {found}); pass a folder with {KINDS}")]
    NoData { folder: PathBuf, found: String },
    /// A folder with several kinds of data.
    #[error("{folder}: more than one kind of data: {found}; name the one file to read")]
    Mixed { folder: PathBuf, found: String },
    /// A folder with several training files of a kind where one is read.
    #[error("{folder}: several files to choose from: {found}; name the one file to read")]
    Ambiguous { folder: PathBuf, found: String },
    /// An option that has no meaning for this data.
    #[error("{data}: the option `{option}` does not apply to {kind}; leave it out")]
    NoOption { data: String, option: &'static str, kind: &'static str },

    /// A choice that there is not.
    #[error("{what} = {given:?} is not allowed; use one of {known}")]
    Choice { what: &'static str, given: String, known: String },

    /// A share of test examples that leaves one part empty.
    #[error("`test_fraction` = {share} is not allowed; use a number in (0, 1)")]
    Fraction { share: f64 },

    /// The first bytes are not those of the format.
    #[error(
        "{file}: byte 0: the file starts with {found:02x?}, not with {expected}; check which file this is"
    )]
    Magic { file: PathBuf, found: Vec<u8>, expected: &'static str },
    /// A number of dimensions other than needed.
    #[error("{file}: byte 3: {found} dimensions where {expected} are needed; pass {remedy}")]
    Dimensions { file: PathBuf, found: u8, expected: u8, remedy: &'static str },
    /// More or fewer bytes than the header says.
    #[error(
        "{file}: byte {offset}: the header promises {expected} bytes from here, the file has {found}; \
         it was cut off or is damaged, fetch it again"
    )]
    Length { file: PathBuf, offset: usize, expected: u128, found: usize },
    /// The file with the labels is missing.
    #[error("{images}: no labels beside it (looked for {labels}); put them there under that name")]
    NoLabels { images: PathBuf, labels: String },
    /// Inputs and labels differ in number.
    #[error("{file}: {labels} labels for {examples} examples; pass files that belong together")]
    Count { file: PathBuf, labels: usize, examples: usize },
    /// A label outside the classes.
    #[error("{file}: byte {offset}: label {found}, but labels are 0 to {most}; check that this is {format}")]
    Label { file: PathBuf, offset: usize, found: u8, most: u8, format: &'static str },
    /// A CIFAR file that does not end with an image.
    #[error(
        "{file}: {size} bytes are not a whole number of CIFAR images (3073 bytes each: label and 32×32×3): \
         {left} are left over at byte {offset}; fetch the file again"
    )]
    CifarSize { file: PathBuf, size: usize, left: usize, offset: usize },

    /// Bytes that are not UTF-8.
    #[error(
        "{file}: line {line} (byte {offset}): not UTF-8, perhaps Latin-1; convert the file to UTF-8, for \
         instance with iconv"
    )]
    Utf8 { file: PathBuf, line: usize, offset: usize },
    /// A character that the vocabulary lacks.
    #[error(
        "character {at}: {character:?} is not in the vocabulary; use only characters of the training text"
    )]
    Character { character: char, at: usize },

    /// A cell that is not what its column needs.
    #[error("{file}: line {line}, column {column:?}: {cell:?} is not {expected}; correct or drop it")]
    Cell { file: PathBuf, line: u64, column: String, cell: String, expected: &'static str },
    /// A cell that marks a missing value.
    #[error(
        "{file}: line {line}, column {column:?}: {cell:?} is not {expected} but marks a missing value, as in \
         {lacking} of {rows} rows; leave these out (`drop_missing`) or fill them in"
    )]
    Missing {
        file: PathBuf,
        line: u64,
        column: String,
        cell: String,
        expected: &'static str,
        lacking: usize,
        rows: usize,
    },
    /// A quote without an end.
    #[error("{file}: line {line}: the quote \" that opens a cell here is never closed; close or drop it")]
    Quote { file: PathBuf, line: usize },
    /// A row with more or fewer cells than the header.
    #[error("{file}: line {line}: {found} cells where the header has {expected}; complete or quote the row")]
    Ragged { file: PathBuf, line: u64, found: u64, expected: u64 },
    /// A first line of numbers.
    #[error(
        "{file}: line 1: the header line is missing; add the column names, or name the column of the labels: \
         {columns}"
    )]
    NoHeader { file: PathBuf, columns: String },
    /// Two columns of the same name.
    #[error("{file}: line 1: the column {column:?} occurs twice; rename one")]
    DuplicateColumn { file: PathBuf, column: String },
    /// No label column.
    #[error("{file}: line 1: no column {wanted}; name the label column, one of: {columns}")]
    NoLabelColumn { file: PathBuf, wanted: String, columns: String },
    /// A column that is needed and missing.
    #[error("{file}: line 1: no column {wanted:?} among {columns}; add it or rename the one that holds it")]
    NoColumn { file: PathBuf, wanted: String, columns: String },
    /// Nothing but labels.
    #[error("{file}: no inputs beside the labels; add at least one column")]
    NoInputs { file: PathBuf },
    /// Columns that differ between training and test file.
    #[error("{file}: line 1: columns {found}, but the training file has {expected}; bring them in line")]
    Columns { file: PathBuf, found: String, expected: String },

    /// A word of svmlight that is not what it must be.
    #[error("{file}: line {line}: {word:?} is not {expected}; correct or drop it")]
    Word { file: PathBuf, line: usize, word: String, expected: &'static str },
    /// Features of svmlight out of order or twice.
    #[error("{file}: line {line}: index {index} after {last}; sort the row and keep each index once")]
    Order { file: PathBuf, line: usize, index: u32, last: u32 },

    /// An index of svmlight that would claim memory which the entries do not bear out.
    #[error(
        "{file}: line {line}: index {index} where the files have {entries} entries in all; check the index, or number \
         the features from 1"
    )]
    Index { file: PathBuf, line: usize, index: u32, entries: usize },

    /// A damaged npz archive.
    #[error("{file}: damaged npz archive: {cause}; write it again with numpy.savez")]
    Archive { file: PathBuf, cause: String },
    /// A zip archive of something else.
    #[error(
        "{file}: a zip archive without arrays; it holds: {found}; unpack it and pass the one file to read"
    )]
    NotArrays { file: PathBuf, found: String },
    /// An array that is needed and missing.
    #[error("{file}: no array {wanted}; it holds: {found}; write it under that name or name the label array")]
    NoArray { file: PathBuf, wanted: String, found: String },
    /// An array that cannot be used.
    #[error("{file}: array {key:?}: {cause}")]
    Array { file: PathBuf, key: String, cause: String },

    /// Arrays that nobody asked for.
    #[error("{file}: not used: {unused}; used: {used}; rename these arrays or leave them out")]
    Unused { file: PathBuf, unused: String, used: String },

    /// A MatrixMarket file that cannot be read.
    #[error("{file}: line {line}: {what}")]
    Market { file: PathBuf, line: usize, what: String },

    /// A class of the test file that the training file lacks.
    #[error("{file}: the class {class:?} does not occur in the training file; correct it or train on it too")]
    UnseenClass { file: PathBuf, class: String },
    /// Two data sets that do not fit together.
    #[error("{what} differ: {first} and {second}; join data of one kind")]
    Unlike { what: &'static str, first: String, second: String },
    /// A file that does not fit the training file.
    #[error("{file}: does not fit the training file: {cause}")]
    Parts { file: PathBuf, cause: Box<DataError> },
}

const KINDS: &str = "MNIST IDX files (…-images-idx3-ubyte), CIFAR binary (.bin), .csv, .tsv, .npz, .npy or .txt, \
                     each also as .gz, .bz2 or .xz";
