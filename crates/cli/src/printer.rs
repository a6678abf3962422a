//! Standard output: results and nothing else.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use thalweg::tasks::TaskError;

/// Prints to standard output; a broken pipe is no error.
pub fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(TaskError::Failed(format!("cannot write to standard output: {e}")).into())
        }
        _ => Ok(()),
    }
}

/// Prints one JSON object or list on one line.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string(value)?))
}
