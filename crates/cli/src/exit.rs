//! What the user sees when something goes wrong: one line, and an exit status that scripts can rely on.

use std::io::{self, Write};
use std::process::exit;
use std::sync::OnceLock;

use thalweg::tasks::{Fault, TaskError};

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// What was asked for is done.
    Done = 0,
    /// Failure.
    Failed = 1,
    /// Usage or bad input.
    Usage = 2,
    /// Finished without the proof or target that was asked for.
    Unproved = 3,
    /// Interrupted: 128 + SIGINT.
    Interrupted = 130,
}

/// The status that an error means.
pub fn status(e: &anyhow::Error) -> Status {
    match e.chain().find_map(|cause| cause.downcast_ref::<TaskError>()).map(TaskError::fault) {
        Some(Fault::Interrupted) => Status::Interrupted,
        Some(Fault::Failure) => Status::Failed,
        Some(Fault::Input) | None => Status::Usage,
    }
}

/// Prints an error on one line, in the program's words: a field in backticks that is a flag of the verb
/// reads as the flag.
pub fn say(e: &anyhow::Error) {
    let word = if status(e) == Status::Interrupted { "note" } else { "error" };
    let resume = e.chain().find_map(|cause| match cause.downcast_ref() {
        Some(TaskError::Interrupted { folder: Some(folder) }) => Some(folder),
        _ => None,
    });
    let how = resume.map_or_else(String::new, |folder| {
        format!("; continue with `thalweg {} --resume {}`", Verb::called().name, folder.display())
    });
    // A broken pipe is no error.
    let _ = writeln!(io::stderr(), "{word}: {}{how}", in_flags(&one_line(e)));
}

/// The verb that was called, and its flags.
#[derive(Clone, Debug, Default)]
pub struct Verb {
    /// With its sub-commands, e.g. `dag fit`.
    name: String,
    flags: Vec<String>,
}

static CALLED: OnceLock<Verb> = OnceLock::new();

/// A message of a task in the program's words: `` `field` `` as `--field`, where the verb has such a flag.
pub fn in_flags(text: &str) -> String {
    Verb::called().in_flags(text)
}

impl Verb {
    fn called() -> &'static Self {
        CALLED.get_or_init(Self::default)
    }

    /// Keeps the verb of the parsed command line in mind.
    pub fn call(mut command: &clap::Command, mut matches: &clap::ArgMatches) {
        let mut names = Vec::new();
        while let Some((name, inner)) = matches.subcommand() {
            let Some(next) = command.find_subcommand(name) else { break };
            names.push(name);
            (command, matches) = (next, inner);
        }
        let flags = command.get_arguments().filter_map(|a| a.get_long()).map(String::from).collect();
        let _ = CALLED.set(Self { name: names.join(" "), flags });
    }

    fn in_flags(&self, text: &str) -> String {
        let pieces: Vec<&str> = text.split('`').collect();
        let flag = |i: usize| {
            // What stands between two backticks.
            let flag = pieces[i].replace('_', "-");
            (i % 2 == 1 && i + 1 < pieces.len() && self.flags.contains(&flag)).then(|| format!("--{flag}"))
        };
        let mut said = String::new();
        for (i, piece) in pieces.iter().enumerate() {
            match flag(i) {
                Some(flag) => said += &flag,
                None if i > 0 && flag(i - 1).is_none() => said += &format!("`{piece}"),
                None => said += piece,
            }
        }
        said
    }
}

/// The chain of causes, without what a transparent wrapper says twice.
fn one_line(e: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in e.chain() {
        let text = cause.to_string().replace('\n', " ");
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
        exit(Status::Failed as i32);
    }));
}

/// The second Ctrl-C.
pub fn at_once() -> ! {
    exit(Status::Interrupted as i32)
}
