//! The arrays of an `.npz` archive or an `.npy` file, in double precision and C order.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use zip::ZipArchive;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Shape and numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Numbers, the last index fastest.
    pub values: Vec<f64>,
}

/// Reads all arrays; that of an `.npy` file has the name ``.
pub fn read(file: &Path) -> Result<BTreeMap<String, Array>> {
    let named = || format!("cannot read {}", file.display());
    let bytes = fs::read(file).with_context(named)?;
    let mut arrays = BTreeMap::new();
    if bytes.starts_with(MAGIC) {
        arrays.insert(String::new(), parse(&bytes).with_context(named)?);
        return Ok(arrays);
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).with_context(named)?;
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).with_context(named)?;
        let name = member.name()?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).with_context(named)?;
        let array = parse(&bytes).with_context(|| format!("{}: array {name}", file.display()))?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// The npy format: signature, version, length of the header, a Python dictionary, numbers.
fn parse(bytes: &[u8]) -> Result<Array> {
    let Some([major, _, rest @ ..]) = bytes.strip_prefix(MAGIC) else {
        bail!("byte 0: not in npy format; write it with numpy.save");
    };
    let wide = if *major == 1 { 2 } else { 4 };
    let cut = "byte 8: the header is cut off; write it again";
    let (length, rest) = rest.split_at_checked(wide).context(cut)?;
    let length = length.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
    let (header, data) = rest.split_at_checked(length).context(cut)?;
    let header = String::from_utf8_lossy(header);
    let field = |name: &str| header.split_once(&format!("'{name}':")).map(|h| h.1.trim_start());
    let wrong = "the header describes no array of numbers; write it with numpy.save";
    let shape = field("shape").and_then(|v| v.strip_prefix('(')?.split_once(')')).context(wrong)?.0;
    let shape: Vec<usize> = shape
        .split(',')
        .filter(|d| !d.trim().is_empty())
        .map(|d| d.trim().parse().context(wrong))
        .collect::<Result<_>>()?;
    let descr =
        field("descr").and_then(|v| Some(v.strip_prefix('\'')?.split_once('\'')?.0)).context(wrong)?;
    let values: Vec<f64> = match descr {
        "<f8" => numbers(data, f64::from_le_bytes),
        "<f4" => numbers(data, |b| f32::from_le_bytes(b).into()),
        "<i8" => numbers(data, |b| i64::from_le_bytes(b) as f64),
        "<i4" => numbers(data, |b| i32::from_le_bytes(b).into()),
        "|u1" => data.iter().map(|b| f64::from(*b)).collect(),
        "|i1" => data.iter().map(|b| f64::from(*b as i8)).collect(),
        "|b1" => data.iter().map(|b| f64::from(*b)).collect(),
        other => bail!("numbers of type {other:?}; save float64, float32, int64, int32, uint8 or bool"),
    };
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    if count != Some(values.len()) {
        bail!("shape {shape:?} does not fit the {} numbers that follow; write it again", values.len());
    }
    let fortran = field("fortran_order").is_some_and(|v| v.starts_with("True"));
    let values = match shape[..] {
        [rows, columns] if fortran => {
            (0..rows * columns).map(|i| values[i % columns * rows + i / columns]).collect()
        }
        _ => values,
    };
    Ok(Array { shape, values })
}

fn numbers<const N: usize>(data: &[u8], one: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks::<N>().0.iter().map(|b| one(*b)).collect()
}
