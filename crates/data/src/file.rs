use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::DataError;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// All bytes of a file with data, unpacked if it starts as gzip does.
pub(crate) fn bytes(file: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = unpacked(file)?;
    if bytes.is_empty() {
        return Err(DataError::Empty { file: file.into() });
    }
    Ok(bytes)
}

fn unpacked(file: &Path) -> Result<Vec<u8>, DataError> {
    let raw = fs::read(file).map_err(|e| DataError::Unreadable { file: file.into(), source: e })?;
    if !raw.starts_with(&GZIP) {
        return Ok(raw);
    }
    let mut bytes = Vec::new();
    let damaged = |e| DataError::Gzip { file: file.into(), source: e };
    MultiGzDecoder::new(&raw[..]).read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

/// All of a UTF-8 file, unpacked if it starts as gzip does, without the byte-order mark; perhaps empty.
///
/// # Errors
/// An unreadable file, damaged gzip, and other encodings, with line and offset.
pub fn read_text(file: &Path) -> Result<String, DataError> {
    decoded(file, unpacked(file)?)
}

/// As [`read_text`], of a file with data.
pub(crate) fn text(file: &Path) -> Result<String, DataError> {
    decoded(file, bytes(file)?)
}

fn decoded(file: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
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

/// Up to eight bytes from the start of a file, unpacked; fewer where it cannot be read.
pub(crate) fn start(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Ok(mut raw) = File::open(file) else { return bytes };
    let mut magic = [0; 2];
    if raw.read_exact(&mut magic).is_ok() {
        let all = magic.chain(raw);
        // What is damaged is reported when the file is read.
        let _ = match magic {
            GZIP => MultiGzDecoder::new(all).take(8).read_to_end(&mut bytes),
            _ => all.take(8).read_to_end(&mut bytes),
        };
    }
    bytes
}

/// File name in lower case without `.gz`.
pub(crate) fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.strip_suffix(".gz").unwrap_or(&name).to_owned()
}
