use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::DataError;

/// What packed streams start with.
const GZIP: &[u8] = &[0x1f, 0x8b];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = b"\xfd7zXZ\0";
/// The first block or the end of a bzip2 stream, behind `BZh` and a digit.
const BLOCK: [&[u8]; 2] = [&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];

/// A reader that unpacks `raw` and the name of its format, if `start`, its first bytes, are those of one.
fn unpacker<'a>(start: &[u8], raw: impl Read + 'a) -> Option<(&'static str, Box<dyn Read + 'a>)> {
    if start.starts_with(GZIP) {
        return Some(("gzip", Box::new(MultiGzDecoder::new(raw))));
    }
    if start.starts_with(XZ) {
        return Some(("xz", Box::new(XzReader::new(raw, true))));
    }
    let bzip2 = start.starts_with(BZIP2) && start.get(4..10).is_some_and(|block| BLOCK.contains(&block));
    bzip2.then(|| ("bzip2", Box::new(MultiBzDecoder::new(raw)) as Box<dyn Read>))
}

/// All bytes of a file, unpacked if it starts as gzip, bzip2 or xz does; perhaps none.
///
/// # Errors
/// An unreadable file and a damaged packed one.
pub fn read_bytes(file: &Path) -> Result<Vec<u8>, DataError> {
    unpacked(file)
}

/// As [`read_bytes`], of a file with data.
pub(crate) fn bytes(file: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = unpacked(file)?;
    if bytes.is_empty() {
        return Err(DataError::Empty { file: file.into() });
    }
    Ok(bytes)
}

fn unpacked(file: &Path) -> Result<Vec<u8>, DataError> {
    let raw = fs::read(file).map_err(|e| DataError::Unreadable { file: file.into(), source: e })?;
    let Some((format, mut unpacked)) = unpacker(&raw, &raw[..]) else {
        return Ok(raw);
    };
    let mut bytes = Vec::new();
    let damaged = |e| DataError::Packed { file: file.into(), format, source: e };
    unpacked.read_to_end(&mut bytes).map_err(damaged)?;
    drop(unpacked);
    Ok(bytes)
}

/// All of a UTF-8 file (or one of UTF-16 with a byte-order mark, as spreadsheets write it) without the mark,
/// unpacked if it starts as gzip, bzip2 or xz does; perhaps empty.
///
/// # Errors
/// An unreadable file, a damaged packed one, and other encodings, with line and offset.
pub fn read_text(file: &Path) -> Result<String, DataError> {
    decoded(file, unpacked(file)?)
}

/// As [`read_text`], of a file with data.
pub(crate) fn text(file: &Path) -> Result<String, DataError> {
    decoded(file, bytes(file)?)
}

fn decoded(file: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
    if let Some(units) = utf16(&bytes) {
        // Half a pair is no character; it shows as U+FFFD.
        return Ok(String::from_utf16_lossy(&units));
    }
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let offset = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..offset].iter().filter(|&&b| b == b'\n').count() + 1;
        DataError::Utf8 { file: file.into(), line, offset }
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// The units behind the byte-order mark of UTF-16.
fn utf16(bytes: &[u8]) -> Option<Vec<u16>> {
    let read = match bytes.first_chunk()? {
        [0xff, 0xfe] => u16::from_le_bytes,
        [0xfe, 0xff] => u16::from_be_bytes,
        _ => return None,
    };
    Some(bytes[2..].as_chunks().0.iter().map(|&pair| read(pair)).collect())
}

/// Up to eight bytes from the start of a file, unpacked; fewer where it cannot be read.
pub(crate) fn start(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Ok(mut raw) = File::open(file) else { return bytes };
    let mut magic = Vec::new();
    // What is damaged is reported when the file is read.
    let _ = raw.by_ref().take(10).read_to_end(&mut magic);
    let _ = match unpacker(&magic, (&magic[..]).chain(raw)) {
        Some((_, unpacked)) => unpacked.take(8).read_to_end(&mut bytes),
        None => (&magic[..]).take(8).read_to_end(&mut bytes),
    };
    bytes
}

/// Endings of packed files.
pub(crate) const PACKED: [&str; 3] = ["gz", "bz2", "xz"];

/// File name in lower case without `.gz`, `.bz2` or `.xz`.
pub(crate) fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    match name.rsplit_once('.') {
        Some((plain, ending)) if PACKED.contains(&ending) => plain.to_owned(),
        _ => name,
    }
}
