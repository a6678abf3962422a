//! What the user sees when something goes wrong: one line, and an exit code that scripts can rely
//! on: 2 for usage and bad input, 1 for failure, 130 for interruption.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use thalweg::core::{CheckpointError, MethodError, RunError};
use thalweg::net::NetError;

/// The run was interrupted and can go on.
#[derive(Debug)]
pub struct Interrupted {
    /// How to continue, if anything was saved.
    pub resume: Option<String>,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resume {
            Some(command) => write!(f, "interrupted; continue with `{command}`"),
            None => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Interrupted {}

/// A failure that is not the input's fault: a full disk after the start, a broken picture.
#[derive(Debug)]
pub struct Failed(pub String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// Prints an error on one line.
pub fn say(e: &anyhow::Error) {
    let word = if code(e) == 130 { "note" } else { "error" };
    // Nothing is left to tell a reader that has gone away.
    let _ = writeln!(io::stderr(), "{word}: {}", one_line(e));
}

/// Prints an error and gives its exit code.
pub fn report(e: &anyhow::Error) -> ExitCode {
    say(e);
    ExitCode::from(code(e))
}

/// clap's message; help and version are no errors.
pub fn usage(e: &clap::Error) -> ExitCode {
    let _ = e.print();
    ExitCode::from(if e.use_stderr() { 2 } else { 0 })
}

/// Exit code of an error.
pub fn code(e: &anyhow::Error) -> u8 {
    let failed = e.chain().any(|cause| {
        cause.is::<Failed>()
            || matches!(cause.downcast_ref(), Some(CheckpointError::Io { verb: "write", .. }))
            || matches!(
                cause.downcast_ref::<RunError>(),
                Some(
                    RunError::Method { source: MethodError::NonFinite { .. }, .. }
                        | RunError::Observer(_)
                        | RunError::Callback { .. }
                        | RunError::Interrupt(_)
                        | RunError::Checkpoint(CheckpointError::Io { verb: "write", .. })
                )
            )
    });
    match () {
        () if e.chain().any(|cause| cause.is::<Interrupted>()) => 130,
        () if failed => 1,
        () => 2,
    }
}

/// The chain of causes, without what a transparent wrapper says twice; a library's remedies are named
/// by their flags.
fn one_line(e: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in e.chain() {
        let text = match cause.downcast_ref() {
            Some(NetError::NoGraph { path }) => format!(
                "{}: it carries no `graph`; give the architecture (--arch NAME|FILE.toml) and the input's \
                 normalisation (--normalize mean=…,std=…)",
                path.display()
            ),
            _ => cause.to_string().replace('\n', " "),
        };
        if !line.contains(text.trim()) {
            line = if line.is_empty() { text } else { format!("{line}: {text}") };
        }
    }
    line
}

/// A defect of the program is one line too, not a backtrace.
pub fn tame_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
        let what = info.payload_as_str().unwrap_or("unknown cause");
        let _ = writeln!(io::stderr(), "error: internal error{place}: {what}; please report it");
        std::process::exit(1);
    }));
}
