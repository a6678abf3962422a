//! Shell commands in process groups of their own, waited for no longer than patience lasts.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use thalweg_core::Interrupt;

/// Why a call gave no answer.
pub(super) enum Failure {
    Timeout,
    Said(String),
}

/// How long an answer is waited for.
pub(super) struct Patience<'a> {
    /// No longer than until this moment.
    pub end: Instant,
    /// Asks to stop before.
    pub interrupt: &'a Interrupt,
}

/// Between looks at the clock and at the token.
const SLICE: Duration = Duration::from_millis(50);

/// A shell command in a process group of its own, which can be ended as a whole.
fn shell(line: &str, input: Stdio) -> std::io::Result<Child> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).stdin(input).stdout(Stdio::piped()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn()
}

/// Ends a child and what it has started.
fn end_group(child: &mut Child) {
    #[cfg(unix)]
    let _ = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -KILL -{}", child.id()))
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

/// The next thing a reader sends, unless patience is over.
fn wait(receiver: &Receiver<String>, patience: &Patience<'_>) -> Result<String, Failure> {
    loop {
        let left = patience.end.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left.min(SLICE)) {
            Ok(text) => return Ok(text),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Said("it ended without an answer".into()));
            }
            Err(RecvTimeoutError::Timeout) if left <= SLICE => return Err(Failure::Timeout),
            Err(RecvTimeoutError::Timeout) if patience.interrupt.requested() => {
                return Err(Failure::Said("interrupted".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// What a command says that is started for one answer.
pub(super) fn once(line: &str, patience: &Patience<'_>) -> Result<String, Failure> {
    let mut child = shell(line, Stdio::null()).map_err(|e| Failure::Said(e.to_string()))?;
    let (sender, receiver) = channel();
    if let Some(mut out) = child.stdout.take() {
        thread::spawn(move || {
            let mut text = String::new();
            if out.read_to_string(&mut text).is_ok() {
                let _ = sender.send(text); // nobody waits any more after a time-out
            }
        });
    }
    let answer = wait(&receiver, patience);
    if answer.is_err() {
        end_group(&mut child);
        return answer;
    }
    match child.wait() {
        Ok(status) if status.success() => answer,
        Ok(status) => Err(Failure::Said(format!("it ended with {status}"))),
        Err(e) => Err(Failure::Said(e.to_string())),
    }
}

/// A long-lived process with a thread that reads its lines.
pub(super) struct Worker {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Worker {
    pub fn start(line: &str) -> std::io::Result<Self> {
        let mut child = shell(line, Stdio::piped())?;
        let (Some(input), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("it has no standard input and output"));
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, input, lines })
    }

    /// Writes a line and waits for the answer's.
    pub fn ask(&mut self, line: &str, patience: &Patience<'_>) -> Result<String, Failure> {
        let said = |e: std::io::Error| Failure::Said(format!("it does not take the point: {e}"));
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).map_err(said)?;
        wait(&self.lines, patience)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        end_group(&mut self.child);
    }
}
