//! Shell commands in process groups of their own: waited for no longer than patience lasts, heard no further than
//! an answer may be long.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use thalweg_core::Interrupt;

/// Longest answer, in bytes.
pub(super) const ANSWER: usize = 16 << 10;

/// Longest piece of what a program says that is repeated, in characters.
const REPEATED: usize = 200;

/// How much of standard error is kept, in bytes.
const KEPT: usize = 2 << 10;

/// Between looks at the clock and at the token.
const SLICE: Duration = Duration::from_millis(50);

/// How long a program that has ended may take to say so.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long output that nobody asked for is waited for after a worker's first answer, at most.
const SETTLE: Duration = Duration::from_millis(50);

/// Why a call gave no answer.
pub(super) enum Failure {
    /// Patience was over.
    Timeout,
    /// The program answers in turn, but has no value at this point.
    NoValue(String),
    /// It crashed or says what it should not.
    Said(String),
    /// The shell finds no such program: no call will ever do better.
    Missing(String),
}

/// How long an answer is waited for.
pub(super) struct Patience<'a> {
    /// No longer than until this moment.
    pub end: Instant,
    /// Asks to stop before.
    pub interrupt: &'a Interrupt,
}

/// The beginning of a text, quoted.
pub(super) fn quoted(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(REPEATED) {
        Some((end, _)) => format!("{:?} …", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The end of what a program says on standard error.
struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    /// Closed with the program's end.
    open: Receiver<()>,
}

impl Tail {
    fn of(err: Option<ChildStderr>) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, open) = channel();
        if let Some(mut err) = err {
            let kept = Arc::clone(&kept);
            thread::spawn(move || {
                let mut piece = [0; 1024];
                while let Ok(n @ 1..) = err.read(&mut piece) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend(&piece[..n]);
                    let surplus = kept.len().saturating_sub(KEPT);
                    kept.drain(..surplus);
                }
                drop(sender);
            });
        }
        Self { kept, open }
    }

    /// Its last lines, at most three, as words that follow a failure; nothing where it said nothing.
    fn words(&self) -> String {
        let _ = self.open.recv_timeout(LAST_WORDS); // closed, or held open by what it has started
        let kept: Vec<u8> =
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(3)..].join(" | ");
        let skipped = last.chars().count().saturating_sub(REPEATED);
        let last: String = last.chars().skip(skipped).collect();
        if last.is_empty() { last } else { format!("; its last words: {last}") }
    }
}

/// A shell command in a process group of its own, which is ended as a whole when this is dropped.
struct Program {
    child: Child,
    errors: Tail,
}

impl Program {
    fn start(line: &str, input: Stdio) -> std::io::Result<Self> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let errors = Tail::of(child.stderr.take());
        Ok(Self { child, errors })
    }

    /// How it ended, if it does until then.
    fn status(&mut self, until: Instant) -> Option<ExitStatus> {
        let mut pause = Duration::from_micros(50);
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => thread::sleep(pause),
                Ok(status) => return status,
                Err(_) => return None,
            }
            pause = (2 * pause).min(Duration::from_millis(10));
        }
    }

    /// Why there is no answer of a program that has closed its output.
    fn ended(&mut self) -> Failure {
        let status = self.status(Instant::now() + LAST_WORDS);
        let how = status.map_or_else(|| "it closed its output".into(), |s| format!("it ended with {s}"));
        let what = format!("{how} and no answer{}", self.errors.words());
        match status.and_then(|s| s.code()) {
            Some(126 | 127) => Failure::Missing(what),
            _ => Failure::Said(what),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has been waited for is gone, and its number may be another's.
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        #[cfg(unix)]
        let _ = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -KILL -{}", self.child.id()))
            .stderr(Stdio::null())
            .status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next thing a reader sends, unless patience is over; none when it has ended.
fn wait<T>(receiver: &Receiver<T>, patience: &Patience<'_>) -> Result<Option<T>, Failure> {
    loop {
        let left = patience.end.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left.min(SLICE)) {
            Ok(text) => return Ok(Some(text)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if left <= SLICE => return Err(Failure::Timeout),
            Err(RecvTimeoutError::Timeout) if patience.interrupt.requested() => {
                return Err(Failure::Said("interrupted".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn too_long() -> Failure {
    Failure::Said(format!("it said more than {ANSWER} bytes where numbers are wanted"))
}

/// What a command says that is started for one answer.
pub(super) fn once(line: &str, patience: &Patience<'_>) -> Result<String, Failure> {
    let mut program = Program::start(line, Stdio::null()).map_err(|e| Failure::Said(e.to_string()))?;
    let (sender, receiver) = channel();
    if let Some(out) = program.child.stdout.take() {
        thread::spawn(move || {
            let mut text = Vec::new();
            if out.take(ANSWER as u64 + 1).read_to_end(&mut text).is_ok() {
                let _ = sender.send(text); // nobody waits any more after a time-out
            }
        });
    }
    let Some(text) = wait(&receiver, patience)? else { return Err(program.ended()) };
    if text.len() > ANSWER {
        return Err(too_long());
    }
    match program.status(patience.end) {
        Some(status) if status.success() => Ok(String::from_utf8_lossy(&text).into_owned()),
        Some(_) => Err(program.ended()),
        None => Err(Failure::Timeout),
    }
}

/// The lines that a process says, each no longer than an answer may be; few are kept, so that one that talks
/// without end has to wait.
fn lines(out: ChildStdout) -> Receiver<Option<String>> {
    let (sender, lines) = sync_channel(4);
    thread::spawn(move || {
        let mut out = BufReader::new(out);
        loop {
            let mut line = Vec::new();
            let read = (&mut out).take(ANSWER as u64 + 1).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) | Err(_) => break,
                Ok(n) => (n <= ANSWER).then(|| String::from_utf8_lossy(&line).into_owned()),
            };
            let last = line.is_none();
            if sender.send(line).is_err() || last {
                break;
            }
        }
    });
    lines
}

/// A long-lived process that answers one line per line, in turn.
pub(super) struct Worker {
    program: Program,
    input: ChildStdin,
    lines: Receiver<Option<String>>,
    /// Whether it has answered before.
    known: bool,
}

impl Worker {
    pub fn start(line: &str) -> std::io::Result<Self> {
        let mut program = Program::start(line, Stdio::piped())?;
        let (Some(input), Some(out)) = (program.child.stdin.take(), program.child.stdout.take()) else {
            return Err(std::io::Error::other("it has no standard input and output"));
        };
        Ok(Self { program, input, lines: lines(out), known: false })
    }

    /// Writes a line and waits for the answer's. After a failure, whose answer the next line would be is not
    /// known: the worker must not be asked again.
    pub fn ask(&mut self, line: &str, patience: &Patience<'_>) -> Result<String, Failure> {
        self.silent(Duration::ZERO)?;
        let began = Instant::now();
        if writeln!(self.input, "{line}").and_then(|()| self.input.flush()).is_err() {
            return Err(self.program.ended());
        }
        let answer = match wait(&self.lines, patience)? {
            Some(Some(answer)) => answer,
            Some(None) => return Err(too_long()),
            None => return Err(self.program.ended()),
        };
        // A line more comes at once or after what it belongs to: a little of the time that an answer takes is
        // spent on hearing it.
        let settle = if self.known { (began.elapsed() / 50).min(SETTLE) } else { SETTLE };
        self.known = true;
        match self.silent(settle) {
            Err(Failure::Said(what)) => {
                Err(Failure::Said(format!("it answered {}, then {what}", quoted(&answer))))
            }
            other => other.map(|()| answer),
        }
    }

    /// Refuses output that nobody has asked for, now or within this time.
    pub fn silent(&self, within: Duration) -> Result<(), Failure> {
        let said = match within.as_micros() {
            0..50 => self.lines.try_recv().map_err(|e| e == TryRecvError::Disconnected),
            _ => self.lines.recv_timeout(within).map_err(|e| e == RecvTimeoutError::Disconnected),
        };
        match said {
            Err(_) => Ok(()), // silent, or at its end, which the next question finds out
            Ok(None) => Err(too_long()),
            Ok(Some(line)) => Err(Failure::Said(format!(
                "it said {} that nobody asked for; a program prints one line per point and nothing else",
                quoted(&line)
            ))),
        }
    }
}
