use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use half::f16;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::{DataError, file};

const MAGIC: &[u8] = b"\x93NUMPY";

/// The elements of an array, the last index fastest.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Truth values.
    Bools(Vec<bool>),
    /// Whole numbers of one byte without sign: pixels.
    Bytes(Vec<u8>),
    /// All other whole numbers.
    Whole(Vec<i64>),
    /// Real numbers of two or four bytes.
    Singles(Vec<f32>),
    /// Real numbers of eight bytes, and whole ones beyond `i64`.
    Doubles(Vec<f64>),
    /// Words.
    Words(Vec<String>),
}

/// A named array of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Where it was read.
    pub file: PathBuf,
    /// Its name there; of an `.npy` file that of the file.
    pub name: String,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// As many as the shape says.
    pub elements: Elements,
}

impl Array {
    /// An error that names this array.
    pub fn refused(&self, cause: impl Into<String>) -> DataError {
        DataError::Array { file: self.file.clone(), key: self.name.clone(), cause: cause.into() }
    }

    /// The lengths of the `N` axes.
    ///
    /// # Errors
    /// Another number of axes; `wanted` says what they are, for instance `a matrix [outputs, inputs]`.
    pub fn axes<const N: usize>(&self, wanted: &str) -> Result<[usize; N], DataError> {
        let wrong = |_| self.refused(format!("shape {:?}; save {wanted}", self.shape));
        <[usize; N]>::try_from(&self.shape[..]).map_err(wrong)
    }

    /// The elements in single precision.
    ///
    /// # Errors
    /// Words, and elements that are not finite.
    pub fn into_f32(mut self) -> Result<Vec<f32>, DataError> {
        let values: Vec<f32> = match self.take() {
            Elements::Bools(v) => v.into_iter().map(|b| f32::from(u8::from(b))).collect(),
            Elements::Bytes(v) => v.into_iter().map(f32::from).collect(),
            Elements::Whole(v) => v.into_iter().map(|n| n as f32).collect(),
            Elements::Singles(v) => v,
            Elements::Doubles(v) => v.into_iter().map(|x| x as f32).collect(),
            Elements::Words(_) => return Err(self.words()),
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(self.at(i, format!("{}; save finite numbers", values[i]))),
            None => Ok(values),
        }
    }

    /// The elements in double precision.
    ///
    /// # Errors
    /// Words, and elements that are not finite.
    pub fn into_f64(mut self) -> Result<Vec<f64>, DataError> {
        let values = self.doubles()?;
        match values.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(self.at(i, format!("{}; save finite numbers", values[i]))),
            None => Ok(values),
        }
    }

    /// The elements in double precision, NaN where nothing was measured.
    ///
    /// # Errors
    /// Words and infinities.
    pub fn into_f64_or_nan(mut self) -> Result<Vec<f64>, DataError> {
        let values = self.doubles()?;
        match values.iter().position(|v| v.is_infinite()) {
            Some(i) => Err(self.at(i, format!("{}; save finite numbers", values[i]))),
            None => Ok(values),
        }
    }

    /// The elements as whole numbers.
    ///
    /// # Errors
    /// Words, and elements that are no whole numbers.
    pub fn into_i64(mut self) -> Result<Vec<i64>, DataError> {
        let real = |array: &Self, values: Vec<f64>| {
            let whole = |v: &f64| v.fract() == 0.0 && v.abs() < 2f64.powi(53);
            match values.iter().position(|v| !whole(v)) {
                Some(i) => Err(array.at(i, format!("{}; save whole numbers", values[i]))),
                None => Ok(values.into_iter().map(|v| v as i64).collect()),
            }
        };
        match self.take() {
            Elements::Bools(v) => Ok(v.into_iter().map(i64::from).collect()),
            Elements::Bytes(v) => Ok(v.into_iter().map(i64::from).collect()),
            Elements::Whole(v) => Ok(v),
            Elements::Singles(v) => real(&self, v.into_iter().map(f64::from).collect()),
            Elements::Doubles(v) => real(&self, v),
            Elements::Words(_) => Err(self.words()),
        }
    }

    /// The elements as words.
    ///
    /// # Errors
    /// An array of numbers.
    pub fn into_words(mut self) -> Result<Vec<String>, DataError> {
        match self.take() {
            Elements::Words(v) => Ok(v),
            _ => Err(self.refused("numbers where words are needed; save with astype(str)")),
        }
    }

    fn take(&mut self) -> Elements {
        std::mem::replace(&mut self.elements, Elements::Bools(Vec::new()))
    }

    fn doubles(&mut self) -> Result<Vec<f64>, DataError> {
        Ok(match self.take() {
            Elements::Bools(v) => v.into_iter().map(|b| f64::from(u8::from(b))).collect(),
            Elements::Bytes(v) => v.into_iter().map(f64::from).collect(),
            Elements::Whole(v) => v.into_iter().map(|n| n as f64).collect(),
            Elements::Singles(v) => v.into_iter().map(f64::from).collect(),
            Elements::Doubles(v) => v,
            Elements::Words(_) => return Err(self.words()),
        })
    }

    fn words(&self) -> DataError {
        self.refused("words where numbers are needed; save it as float64")
    }

    fn at(&self, element: usize, what: String) -> DataError {
        self.refused(format!("element {element} is {what}"))
    }
}

/// The arrays of an `.npz` archive, or that of an `.npy` file. An array is read when it is taken.
///
/// ```no_run
/// # use std::path::Path;
/// let mut arrays = thalweg_data::Arrays::open(Path::new("weights.npz"))?;
/// let weight = arrays.take("W1")?;
/// let [outputs, inputs] = weight.axes("a matrix [outputs, inputs]")?;
/// let weight = weight.into_f64()?;
/// arrays.finish(2)?; // no matrix is left that nobody asked for
/// # Ok::<(), thalweg_data::DataError>(())
/// ```
pub struct Arrays {
    file: PathBuf,
    names: Vec<String>,
    store: Store,
    taken: BTreeSet<String>,
}

enum Store {
    Archive(ZipArchive<Cursor<Vec<u8>>>),
    Single(Vec<u8>),
    Folder,
}

impl Arrays {
    /// Opens a file, perhaps packed.
    ///
    /// # Errors
    /// Unreadable, empty or damaged files, and archives without arrays.
    pub fn open(file: &Path) -> Result<Self, DataError> {
        let bytes = file::bytes(file)?;
        if bytes.starts_with(MAGIC) {
            let stem = || file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let names = vec![array_name(file).unwrap_or_else(stem)];
            return Ok(Self::new(file, names, Store::Single(bytes)));
        }
        let damaged = |cause| DataError::Archive { file: file.into(), cause };
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(e.to_string()))?;
        let member = |i| Some(archive.name_for_index(i)?.ok()?.into_owned());
        let members: Vec<String> = (0..archive.len()).filter_map(member).collect();
        let names: Vec<String> =
            members.iter().filter_map(|m| m.strip_suffix(".npy")).map(str::to_owned).collect();
        if names.is_empty() && !members.is_empty() {
            return Err(DataError::NotArrays { file: file.into(), found: members.join(", ") });
        }
        Ok(Self::new(file, names, Store::Archive(archive)))
    }

    /// As [`Arrays::open`], where an `.npy` file has the others of its folder beside it.
    pub(crate) fn open_folder(file: &Path) -> Result<Self, DataError> {
        let arrays = Self::open(file)?;
        if !matches!(arrays.store, Store::Single(_)) || array_name(file).is_none() {
            return Ok(arrays);
        }
        let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unreadable = |e| DataError::Unreadable { file: folder.into(), source: e };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            names.extend(array_name(&entry.map_err(unreadable)?.path()));
        }
        names.sort(); // a plain file and its packed one have one name
        names.dedup();
        Ok(Self::new(file, names, Store::Folder))
    }

    fn new(file: &Path, names: Vec<String>, store: Store) -> Self {
        Self { file: file.into(), names, store, taken: BTreeSet::new() }
    }

    /// The file that was opened.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Names of all arrays, in the order of the file.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether there is an array of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// Whether this is an `.npy` file, which holds one array.
    pub fn is_single(&self) -> bool {
        matches!(self.store, Store::Single(_))
    }

    /// The first of these names that is there.
    ///
    /// # Errors
    /// None of them is.
    pub fn find(&self, wanted: &[impl AsRef<str>]) -> Result<String, DataError> {
        let found = wanted.iter().map(AsRef::as_ref).find(|w| self.contains(w));
        found.map(str::to_owned).ok_or_else(|| self.missing(wanted))
    }

    /// The error of a file with none of these arrays; it lists those that there are.
    pub fn missing(&self, wanted: &[impl AsRef<str>]) -> DataError {
        let wanted: Vec<_> = wanted.iter().map(AsRef::as_ref).collect();
        let mut found = self.names.join(", ");
        if found.is_empty() {
            found.push_str("none");
        }
        DataError::NoArray { file: self.file.clone(), wanted: wanted.join("/"), found }
    }

    /// Reads an array.
    ///
    /// # Errors
    /// Its absence, damage, and types other than numbers, truth values and words.
    pub fn take(&mut self, name: &str) -> Result<Array, DataError> {
        if !self.contains(name) {
            return Err(self.missing(&[name]));
        }
        let bytes = self.bytes(name)?;
        self.taken.insert(name.to_owned());
        let parsed = Header::parse(&bytes).and_then(|header| Ok((header.elements(&bytes)?, header.shape)));
        match parsed {
            Ok((elements, shape)) => {
                Ok(Array { file: self.file.clone(), name: name.into(), shape, elements })
            }
            Err(cause) => Err(DataError::Array { file: self.file.clone(), key: name.into(), cause }),
        }
    }

    /// Reads an array that may be absent.
    ///
    /// # Errors
    /// As [`Arrays::take`], but for the absence.
    pub fn take_if_there(&mut self, name: &str) -> Result<Option<Array>, DataError> {
        self.contains(name).then(|| self.take(name)).transpose()
    }

    /// Reads the first of these arrays that is there, or the only array of the file.
    ///
    /// # Errors
    /// As [`Arrays::take`].
    pub fn take_any_or_only(&mut self, names: &[&str]) -> Result<Array, DataError> {
        let name = match (self.find(names), &self.names[..]) {
            (Err(_), [only]) => only.clone(),
            (found, _) => found?,
        };
        self.take(&name)
    }

    /// Refuses arrays of numbers with at least that many axes that nobody has taken.
    ///
    /// # Errors
    /// Such arrays, by name.
    pub fn finish(mut self, axes: usize) -> Result<(), DataError> {
        let left: Vec<String> = self.names.iter().filter(|n| !self.taken.contains(*n)).cloned().collect();
        let mut unused = Vec::new();
        for name in left {
            let bytes = self.bytes(&name)?;
            // What cannot be read is no numbers.
            let header = Header::parse(&bytes).ok().filter(|h| !matches!(h.kind, Kind::Words(_)));
            unused.extend(header.filter(|h| h.shape.len() >= axes).map(|_| name));
        }
        if unused.is_empty() {
            return Ok(());
        }
        let used = self.taken.into_iter().collect::<Vec<_>>().join(", ");
        Err(DataError::Unused { file: self.file, unused: unused.join(", "), used })
    }

    /// The npy file of an array.
    fn bytes(&mut self, name: &str) -> Result<Vec<u8>, DataError> {
        match &mut self.store {
            Store::Single(bytes) => Ok(bytes.clone()),
            Store::Archive(archive) => {
                let damaged = |cause| DataError::Archive {
                    file: self.file.clone(),
                    cause: format!("{name:?}: {cause}"),
                };
                let mut member =
                    archive.by_name(&format!("{name}.npy")).map_err(|e| damaged(e.to_string()))?;
                let mut bytes = Vec::new();
                member.read_to_end(&mut bytes).map_err(|e| damaged(e.to_string()))?;
                Ok(bytes)
            }
            Store::Folder => {
                let plain = self.file.with_file_name(format!("{name}.npy"));
                let packed = file::PACKED.map(|p| self.file.with_file_name(format!("{name}.npy.{p}")));
                let files = [self.file.clone(), plain.clone()].into_iter().chain(packed);
                let mut there = files.filter(|p| array_name(p).as_deref() == Some(name) && p.is_file());
                file::bytes(&there.next().unwrap_or(plain))
            }
        }
    }
}

/// `NAME` of `NAME.npy`, also packed.
pub(crate) fn array_name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let plain = file::PACKED.iter().find_map(|p| name.strip_suffix(p)?.strip_suffix('.')).unwrap_or(name);
    Some(plain.strip_suffix(".npy")?.to_owned())
}

/// What one element is, with its bytes where that varies.
#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Signed(usize),
    Unsigned(usize),
    Real(usize),
    /// Characters of four bytes each, so many.
    Words(usize),
    /// So many characters of a byte each.
    Letters(usize),
}

/// What stands before the elements.
struct Header {
    kind: Kind,
    big_endian: bool,
    fortran: bool,
    shape: Vec<usize>,
    /// First byte of the elements.
    data: usize,
}

impl Header {
    /// The npy format, versions 1 to 3: magic, version, header length, a Python dictionary with
    /// `descr`, `fortran_order` and `shape`, then the elements.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Some([major, _, rest @ ..]) = bytes.strip_prefix(MAGIC) else {
            return Err("byte 0: not in npy format; write it with numpy.save".into());
        };
        let cut = || "byte 8: the header is cut off; write it again".to_owned();
        let wide = match major {
            1 => 2,
            2 | 3 => 4,
            _ => return Err(format!("byte 6: version {major} of npy; only 1 to 3 are known")),
        };
        let (length, rest) = rest.split_at_checked(wide).ok_or_else(cut)?;
        let length = length.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
        let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
        let header = String::from_utf8_lossy(header);

        let field = |name: &str| {
            let key = ['\'', '"'].map(|quote| format!("{quote}{name}{quote}:"));
            let (_, value) = key.iter().find_map(|key| header.split_once(key))?;
            Some(value.trim_start())
        };
        let wrong = |name| format!("header: no {name} of an array of numbers; write it with numpy.save");
        let shape = field("shape").and_then(|v| v.strip_prefix('(')?.split_once(')'));
        let shape: Vec<usize> = (shape.ok_or_else(|| wrong("shape"))?.0.split(','))
            .map(str::trim)
            .filter(|d| !d.is_empty())
            .map(|d| d.trim_end_matches('L').parse().map_err(|_| wrong("shape")))
            .collect::<Result<_, _>>()?;
        let fortran = field("fortran_order").ok_or_else(|| wrong("fortran_order"))?.starts_with("True");
        let descr = field("descr").ok_or_else(|| wrong("descr"))?;
        if descr.starts_with('[') {
            return Err("structured records; save each field as an array of its own".into());
        }
        let descr = descr.strip_prefix(['\'', '"']).and_then(|d| Some(d.split_once(['\'', '"'])?.0));
        let descr = descr.ok_or_else(|| wrong("descr"))?;
        let (kind, size) = kind(descr)?;

        let elements = shape.iter().try_fold(1u128, |n, &d| n.checked_mul(d as u128));
        let expected = elements.and_then(|n| n.checked_mul(size as u128)).unwrap_or(u128::MAX);
        if expected != data.len() as u128 {
            let offset = bytes.len() - data.len();
            let found = data.len();
            return Err(format!(
                "byte {offset}: shape {shape:?} of type {descr} needs {expected} bytes, the file has {found}; \
                 write it again"
            ));
        }
        Ok(Self { kind, big_endian: descr.starts_with('>'), fortran, shape, data: bytes.len() - data.len() })
    }

    fn elements(&self, bytes: &[u8]) -> Result<Elements, String> {
        let (data, big) = (&bytes[self.data..], self.big_endian);
        let whole = |v| Elements::Whole(self.ordered(v));
        Ok(match self.kind {
            Kind::Bool => Elements::Bools(self.ordered(data.iter().map(|&b| b != 0).collect())),
            Kind::Unsigned(1) => Elements::Bytes(self.ordered(data.to_vec())),
            Kind::Unsigned(2) => whole(decode(data, big, |b| u16::from_le_bytes(b).into())),
            Kind::Unsigned(4) => whole(decode(data, big, |b| u32::from_le_bytes(b).into())),
            Kind::Unsigned(_) => {
                let values = decode(data, big, u64::from_le_bytes);
                match values.iter().map(|&v| i64::try_from(v)).collect() {
                    Ok(small) => whole(small),
                    Err(_) => Elements::Doubles(self.ordered(values.into_iter().map(|v| v as f64).collect())),
                }
            }
            Kind::Signed(1) => whole(decode(data, big, |b| i8::from_le_bytes(b).into())),
            Kind::Signed(2) => whole(decode(data, big, |b| i16::from_le_bytes(b).into())),
            Kind::Signed(4) => whole(decode(data, big, |b| i32::from_le_bytes(b).into())),
            Kind::Signed(_) => whole(decode(data, big, i64::from_le_bytes)),
            Kind::Real(2) => {
                Elements::Singles(self.ordered(decode(data, big, |b| f16::from_le_bytes(b).into())))
            }
            Kind::Real(4) => Elements::Singles(self.ordered(decode(data, big, f32::from_le_bytes))),
            Kind::Real(_) => Elements::Doubles(self.ordered(decode(data, big, f64::from_le_bytes))),
            Kind::Words(length) => Elements::Words(self.words(data, 4 * length, |word| {
                let codes = decode(word, big, u32::from_le_bytes);
                codes.into_iter().map(char::from_u32).collect()
            })?),
            Kind::Letters(length) => Elements::Words(
                self.words(data, length, |word| Some(std::str::from_utf8(word).ok()?.to_owned()))?,
            ),
        })
    }

    /// Words of `size` bytes each, filled up with zeros.
    fn words(
        &self,
        data: &[u8],
        size: usize,
        word: impl Fn(&[u8]) -> Option<String>,
    ) -> Result<Vec<String>, String> {
        let words = data.chunks_exact(size).enumerate().map(|(i, bytes)| {
            let offset = self.data + i * size;
            let word = word(bytes).ok_or_else(|| format!("byte {offset}: no text; write it again"))?;
            Ok(word.trim_end_matches('\0').to_owned())
        });
        Ok(self.ordered(words.collect::<Result<_, String>>()?))
    }

    /// C order: the last index runs fastest; in Fortran's it is the first.
    fn ordered<T: Clone>(&self, values: Vec<T>) -> Vec<T> {
        if !self.fortran || self.shape.len() < 2 {
            return values;
        }
        let element = |mut i: usize| {
            let (mut at, mut stride) = (0, values.len());
            for &d in self.shape.iter().rev() {
                stride /= d;
                at += i % d * stride;
                i /= d;
            }
            values[at].clone()
        };
        (0..values.len()).map(element).collect()
    }
}

/// Kind and bytes of an element of type `descr`, for instance `<f8`.
fn kind(descr: &str) -> Result<(Kind, usize), String> {
    let code = descr.trim_start_matches(['<', '>', '|', '=']);
    let length = code.get(1..).and_then(|n| n.parse::<usize>().ok());
    let known = match (code.chars().next(), length) {
        (Some('b'), Some(1)) => Some((Kind::Bool, 1)),
        (Some('i'), Some(n @ (1 | 2 | 4 | 8))) => Some((Kind::Signed(n), n)),
        (Some('u'), Some(n @ (1 | 2 | 4 | 8))) => Some((Kind::Unsigned(n), n)),
        (Some('f'), Some(n @ (2 | 4 | 8))) => Some((Kind::Real(n), n)),
        (Some('U'), Some(n)) if n > 0 => n.checked_mul(4).map(|size| (Kind::Words(n), size)),
        (Some('S'), Some(n)) if n > 0 => Some((Kind::Letters(n), n)),
        _ => None,
    };
    known.ok_or_else(|| match code.chars().next() {
        Some('c') => {
            format!("complex numbers of type {descr:?}; save real and imaginary parts as float32 or float64")
        }
        Some('O') => {
            format!(
                "Python objects (type {descr:?}), which are pickled; save with astype(float) or astype(str)"
            )
        }
        Some('M' | 'm') => {
            format!("dates or times of type {descr:?}; save numbers, for instance astype(int)")
        }
        Some('V') => format!("records of type {descr:?}; save each field as an array of its own"),
        Some('U' | 'S') => format!("words of type {descr:?}, which are empty; leave the array out"),
        _ => format!("numbers of type {descr:?}; save float32, float64, uint8 or int64"),
    })
}

/// Numbers of `N` bytes each, `big`-endian or little-endian.
fn decode<const N: usize, T>(data: &[u8], big: bool, from_le: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (numbers, _) = data.as_chunks::<N>();
    let number = |&(mut bytes): &[u8; N]| {
        if big {
            bytes.reverse();
        }
        from_le(bytes)
    };
    numbers.iter().map(number).collect()
}

/// A type that arrays are written of.
pub trait Element: Copy {
    /// As NumPy names it.
    const DESCR: &str;

    /// Appends the bytes of one.
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! element {
    ($($type:ty: $descr:literal),*) => {$(
        impl Element for $type {
            const DESCR: &str = $descr;

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}
element!(u8: "|u1", i32: "<i4", u32: "<u4", i64: "<i8", f32: "<f4", f64: "<f8");

impl Element for bool {
    const DESCR: &str = "|b1";

    fn write(self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self));
    }
}

/// The bytes of an `.npy` file, the last index fastest.
///
/// # Panics
/// If there are not as many elements as the shape says.
pub fn npy<T: Element>(shape: &[usize], elements: impl IntoIterator<Item = T>) -> Vec<u8> {
    let axes: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({axes}), }}", T::DESCR);
    // Signature and length take 10 bytes; the numbers start at a multiple of 64.
    header.push_str(&" ".repeat((10 + header.len() + 1).next_multiple_of(64) - 10 - header.len() - 1));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    let mut count = 0;
    for element in elements {
        element.write(&mut bytes);
        count += 1;
    }
    assert_eq!(count, shape.iter().product::<usize>(), "elements for the shape {shape:?}");
    bytes
}

/// The bytes of an `.npz` archive of arrays written by [`npy`], packed.
///
/// # Panics
/// If two names are the same, or longer than 65,000 bytes.
pub fn npz<'a>(arrays: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, npy) in arrays {
        let started = zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().large_file(true));
        started.expect("names differ and are short");
        zip.write_all(&npy).expect("memory takes all bytes");
    }
    zip.finish().expect("memory takes all bytes").into_inner()
}
