//! Standard output, run folders, small files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use thalweg::core::replace_file;

use crate::failure::Failed;

/// Prints to standard output; a reader that has gone away is no error.
pub fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failed(format!("cannot write to standard output: {e}")).into())
        }
        _ => Ok(()),
    }
}

/// Prints one JSON object or list on one line.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string(value)?))
}

/// Makes a folder and checks that it can be written to.
pub fn make_folder(folder: &Path) -> Result<()> {
    let probe = folder.join(".probe");
    let made =
        fs::create_dir_all(folder).and_then(|()| File::create(&probe)).and_then(|_| fs::remove_file(&probe));
    made.with_context(|| {
        format!("cannot write to the output folder {}; choose another one with --out", folder.display())
    })
}

/// Writes a file so that at any moment either the old or the new one is there, whole.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    replace_file(path, &[content]).map_err(|e| {
        Failed(format!("cannot write {}: {e}; check permissions and free space", path.display())).into()
    })
}

/// As [`write()`], pretty JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write(path, format!("{}\n", serde_json::to_string_pretty(value)?).as_bytes())
}
