use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::dataset::number_classes;
use crate::table::{LABELS, MOST_CLASSES};
use crate::{DataError, Dataset, Targets, Values, file};

const MAGIC: &[u8] = b"\x93NUMPY";
const INPUTS: [&str; 7] = ["x", "X", "x_train", "X_train", "images", "x_test", "X_test"];

/// Examples from named arrays.
///
/// Inputs are the array `x` (or `X`, `x_train`, `X_train`, `images`), targets `label` (else `y`,
/// `labels` or a name usual in tables), with `_train` or `_test` if the inputs have it. In an npz
/// archive these are members; an `.npy` file holds the inputs, its neighbours the targets.
pub(crate) fn read(file: &Path, label: Option<&str>) -> Result<Dataset, DataError> {
    let mut arrays = Arrays::open(file)?;
    let x = arrays.inputs()?;
    arrays.pair(&x, label)
}

/// The test examples that `file` has beside those that [`read`] gives, named alike with `_test`.
pub(crate) fn read_test(file: &Path, label: Option<&str>) -> Result<Option<Dataset>, DataError> {
    let mut arrays = Arrays::open(file)?;
    let x = arrays.inputs()?;
    let test = format!("{}_test", stem(&x).0);
    let there = test != x && arrays.names.contains(&test);
    there.then(|| arrays.pair(&test, label)).transpose()
}

/// Whether an `.npy` file has a name usual for inputs.
pub(crate) fn is_inputs(file: &Path) -> bool {
    array_name(file).is_some_and(|name| INPUTS.contains(&&*name))
}

/// An array name without and its ending `_train` or `_test`.
fn stem(name: &str) -> (&str, &str) {
    let end = ["_train", "_test"].iter().find_map(|end| name.strip_suffix(end)).map_or(name.len(), str::len);
    name.split_at(end)
}

/// The members of an npz archive, or the `.npy` files of a folder.
struct Arrays {
    file: PathBuf,
    names: Vec<String>,
    archive: Option<ZipArchive<Cursor<Vec<u8>>>>,
}

impl Arrays {
    fn open(file: &Path) -> Result<Self, DataError> {
        let bytes = file::bytes(file)?;
        if bytes.starts_with(MAGIC) {
            let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let unreadable = |e| DataError::Unreadable { file: folder.into(), source: e };
            let mut names = Vec::new();
            for entry in fs::read_dir(folder).map_err(unreadable)? {
                names.extend(array_name(&entry.map_err(unreadable)?.path()));
            }
            return Ok(Self { file: file.into(), names, archive: None });
        }
        let archive = ZipArchive::new(Cursor::new(bytes))
            .map_err(|e| DataError::Archive { file: file.into(), cause: e.to_string() })?;
        let member = |i| Some(archive.name_for_index(i)?.ok()?.strip_suffix(".npy")?.to_owned());
        let names = (0..archive.len()).filter_map(member).collect();
        Ok(Self { file: file.into(), names, archive: Some(archive) })
    }

    /// Name of the array with the inputs.
    fn inputs(&self) -> Result<String, DataError> {
        match &self.archive {
            None => array_name(&self.file).ok_or_else(|| self.missing(&["NAME.npy"])),
            Some(_) => self.find(&INPUTS),
        }
    }

    fn find(&self, wanted: &[impl AsRef<str>]) -> Result<String, DataError> {
        let found = wanted.iter().map(AsRef::as_ref).find(|w| self.names.iter().any(|n| n == w));
        found.map(str::to_owned).ok_or_else(|| self.missing(wanted))
    }

    fn missing(&self, wanted: &[impl AsRef<str>]) -> DataError {
        let wanted: Vec<_> = wanted.iter().map(AsRef::as_ref).collect();
        let mut found = self.names.join(", ");
        if found.is_empty() {
            found.push_str("none");
        }
        DataError::NoArray { file: self.file.clone(), wanted: wanted.join("/"), found }
    }

    /// Inputs `x` with the targets that go with them.
    fn pair(&mut self, x: &str, label: Option<&str>) -> Result<Dataset, DataError> {
        let part = stem(x).1;
        let y = match label {
            Some(label) if part != "_test" => self.find(&[label.to_owned(), format!("{label}{part}")]),
            Some(label) => self.find(&[format!("{}_test", stem(label).0), label.to_owned()]),
            None => {
                let names = ["y", "Y", "labels"].into_iter().chain(LABELS);
                self.find(&names.map(|n| format!("{n}{part}")).collect::<Vec<_>>())
            }
        }?;
        let (inputs, targets) = (self.array(x)?, self.array(&y)?);
        let bad =
            |key: &str, cause: String| DataError::Array { file: self.file.clone(), key: key.into(), cause };
        let shape = match inputs.shape[..] {
            [_, d] => vec![d],
            [_, height, width] => vec![height, width, 1],
            [_, height, width, channels] => vec![height, width, channels],
            _ => {
                let cause = format!("shape {:?}; save (n, d), (n, h, w) or (n, h, w, c)", inputs.shape);
                return Err(bad(x, cause));
            }
        };
        let width = match targets.shape[..] {
            [_] => 1,
            [_, width] if width > 0 => width,
            _ => return Err(bad(&y, format!("shape {:?}; save (n) or (n, width)", targets.shape))),
        };
        let (examples, labels) = (inputs.shape[0], targets.shape[0]);
        if examples != labels {
            return Err(bad(&y, format!("{labels} rows for {examples} of {x:?}; save as many of both")));
        }
        if examples == 0 || shape.contains(&0) {
            return Err(DataError::Empty { file: self.file.clone() });
        }
        let x = match inputs.numbers {
            Numbers::Bytes(bytes) => Values::Bytes(bytes),
            numbers => Values::Floats(numbers.floats().map_err(|e| bad(x, e))?),
        };
        let targets = match targets.numbers.classes().filter(|_| width == 1) {
            Some(labels) => number_classes(labels),
            None => Targets::Values { values: targets.numbers.floats().map_err(|e| bad(&y, e))?, width },
        };
        Ok(Dataset { x, shape, targets })
    }

    fn array(&mut self, key: &str) -> Result<Array, DataError> {
        let bytes = match &mut self.archive {
            None => {
                let named = |end: &str| self.file.with_file_name(format!("{key}{end}"));
                let path = [self.file.clone(), named(".npy"), named(".npy.gz")]
                    .into_iter()
                    .find(|p| array_name(p).as_deref() == Some(key) && p.is_file());
                file::bytes(&path.unwrap_or_else(|| named(".npy")))?
            }
            Some(archive) => {
                let damaged = |cause| DataError::Archive { file: self.file.clone(), cause };
                let mut member =
                    archive.by_name(&format!("{key}.npy")).map_err(|e| damaged(format!("{key:?}: {e}")))?;
                let mut bytes = Vec::new();
                member.read_to_end(&mut bytes).map_err(|e| damaged(format!("{key:?}: {e}")))?;
                bytes
            }
        };
        Array::parse(&bytes).map_err(|cause| DataError::Array {
            file: self.file.clone(),
            key: key.into(),
            cause,
        })
    }
}

/// `NAME` of `NAME.npy` or `NAME.npy.gz`.
fn array_name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    Some(name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".npy")?.to_owned())
}

/// An array in C order.
#[derive(Debug, PartialEq)]
struct Array {
    shape: Vec<usize>,
    numbers: Numbers,
}

#[derive(Debug, PartialEq)]
enum Numbers {
    Bytes(Vec<u8>),
    Whole(Vec<i64>),
    Real(Vec<f32>),
}

impl Numbers {
    /// Whole numbers that can be classes.
    fn classes(&self) -> Option<Vec<u32>> {
        let class = |&n: &i64| u32::try_from(n).ok().filter(|&n| n < MOST_CLASSES);
        match self {
            Self::Bytes(v) => Some(v.iter().map(|&n| u32::from(n)).collect()),
            Self::Whole(v) => v.iter().map(class).collect(),
            Self::Real(_) => None,
        }
    }

    fn floats(self) -> Result<Vec<f32>, String> {
        let v: Vec<f32> = match self {
            Self::Bytes(v) => v.into_iter().map(f32::from).collect(),
            Self::Whole(v) => v.into_iter().map(|n| n as f32).collect(),
            Self::Real(v) => v,
        };
        match v.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(format!("element {i} is {}; save finite numbers", v[i])),
            None => Ok(v),
        }
    }
}

impl Array {
    /// The npy format, versions 1 to 3: magic, version, header length, a Python dictionary with
    /// `descr`, `fortran_order` and `shape`, then the numbers.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Some([major, _, rest @ ..]) = bytes.strip_prefix(MAGIC) else {
            return Err("byte 0: not in npy format; write it with numpy.save".into());
        };
        let cut = || "byte 8: the header is cut off; write it again".to_owned();
        let wide = if *major == 1 { 2 } else { 4 };
        let (length, rest) = rest.split_at_checked(wide).ok_or_else(cut)?;
        let length = length.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
        let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
        let header = String::from_utf8_lossy(header);

        let field = |name: &str| {
            let (_, value) = header.split_once(&format!("'{name}':"))?;
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
        let descr = field("descr").and_then(|v| Some(v.strip_prefix('\'')?.split_once('\'')?.0));
        let descr = descr.ok_or_else(|| wrong("descr"))?;
        let (big, code) = match descr.split_at_checked(1) {
            Some((order, code)) => (order == ">", code),
            None => (false, ""),
        };

        let size = code.get(1..).and_then(|s| s.parse::<u128>().ok()).ok_or_else(|| wrong("descr"))?;
        let elements = shape.iter().try_fold(1u128, |n, &d| n.checked_mul(d as u128));
        let expected = elements.and_then(|n| n.checked_mul(size)).unwrap_or(u128::MAX);
        if expected != data.len() as u128 {
            let offset = bytes.len() - data.len();
            let found = data.len();
            return Err(format!(
                "byte {offset}: shape {shape:?} of type {descr} needs {expected} bytes, the file has {found}; \
                 write it again"
            ));
        }
        let whole = |v| Numbers::Whole(in_c_order(v, &shape, fortran));
        let real = |v| Numbers::Real(in_c_order(v, &shape, fortran));
        let numbers = match code {
            "u1" => Numbers::Bytes(in_c_order(data.to_vec(), &shape, fortran)),
            "b1" | "i1" => whole(decode(data, big, |b| i8::from_le_bytes(b).into())),
            "i2" => whole(decode(data, big, |b| i16::from_le_bytes(b).into())),
            "u2" => whole(decode(data, big, |b| u16::from_le_bytes(b).into())),
            "i4" => whole(decode(data, big, |b| i32::from_le_bytes(b).into())),
            "u4" => whole(decode(data, big, |b| u32::from_le_bytes(b).into())),
            "i8" => whole(decode(data, big, i64::from_le_bytes)),
            "u8" => real(decode(data, big, |b| u64::from_le_bytes(b) as f32)),
            "f4" => real(decode(data, big, f32::from_le_bytes)),
            "f8" => real(decode(data, big, |b| f64::from_le_bytes(b) as f32)),
            _ => return Err(format!("numbers of type {descr:?}; save float32, float64, uint8 or int64")),
        };
        Ok(Self { shape, numbers })
    }
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

/// C order: the last index runs fastest; in Fortran's it is the first.
fn in_c_order<T: Copy>(values: Vec<T>, shape: &[usize], fortran: bool) -> Vec<T> {
    if !fortran || shape.len() < 2 {
        return values;
    }
    let element = |mut i: usize| {
        let (mut at, mut stride) = (0, values.len());
        for &d in shape.iter().rev() {
            stride /= d;
            at += i % d * stride;
            i /= d;
        }
        values[at]
    };
    (0..values.len()).map(element).collect()
}
