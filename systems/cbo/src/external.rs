//! Objectives that are programs: one call per point, or a long-lived process that answers line by
//! line. What crashes, hangs or says no number is a failure of its point alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use thalweg_core::interrupt;

use crate::{BlackBox, CboError, Constraints};

/// How the program is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A shell command per point; `{x}` stands for its numbers, separated by blanks. One value on
    /// standard output.
    Once(String),
    /// A shell command that is started once per worker: one point per line in, one value (and those of
    /// the constraints) per line out.
    Process(String),
}

/// An objective that is a program.
pub struct External {
    call: Call,
    workers: usize,
    patience: Duration,
    deadline: Option<Instant>,
    constraints: Option<Constraints>,
    idle: Mutex<Vec<Worker>>,
    timeouts: AtomicU64,
    complaint: Mutex<Option<String>>,
}

/// Between looks at the clock and at Ctrl-C.
const SLICE: Duration = Duration::from_millis(50);

impl External {
    /// `workers` calls at a time, each of at most `patience`. A process is started at once, so that a
    /// wrong name is an error here and not a failure later.
    pub fn new(call: Call, workers: usize, patience: Duration) -> Result<Self, CboError> {
        let bad = |program: &str, cause: &str| {
            Err(CboError::Program { program: program.into(), cause: cause.into() })
        };
        match &call {
            Call::Once(line) if !line.contains("{x}") => {
                return bad(line, "it does not say where the point goes; write {x} there");
            }
            Call::Once(line) | Call::Process(line) if line.trim().is_empty() => {
                return bad(line, "there is nothing to run; name a program");
            }
            _ => {}
        }
        let (deadline, constraints, idle, timeouts, complaint) = Default::default();
        let external = Self {
            call,
            workers: workers.max(1),
            patience,
            deadline,
            constraints,
            idle,
            timeouts,
            complaint,
        };
        if let Call::Process(line) = &external.call {
            let worker = Worker::start(line)
                .map_err(|e| CboError::Program { program: line.clone(), cause: e.to_string() })?;
            lock(&external.idle).push(worker);
        }
        Ok(external)
    }

    /// No call goes on after this moment.
    pub fn until(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// The program says the values of its constraints after the objective's, separated by blanks.
    pub fn constrained(mut self, constraints: Constraints) -> Self {
        self.constraints = Some(constraints);
        self
    }

    /// Overwrites `out` by the numbers that the program says; by NaN without a call when the time is over
    /// or the user has interrupted.
    fn numbers(&self, x: &[f64], deadline: Option<Instant>, out: &mut [f64]) {
        out.fill(f64::NAN);
        if interrupt::requested() || deadline.is_some_and(|d| d <= Instant::now()) {
            return;
        }
        let line = x.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
        let began = Instant::now();
        let end = began + self.patience;
        let end = deadline.map_or(end, |d| d.min(end));
        let answer = match &self.call {
            Call::Once(command) => once(&command.replace("{x}", &line), end),
            Call::Process(command) => self.process(command, &line, end),
        };
        let failure = match answer {
            Ok(text) => match text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>() {
                Ok(said) if said.len() != out.len() => wrong(&text, out.len()),
                Ok(said) => match said.iter().find(|v| v.is_nan() || **v == f64::INFINITY) {
                    Some(value) => format!("it said {value}"),
                    None => return out.copy_from_slice(&said),
                },
                Err(_) => wrong(&text, out.len()),
            },
            Err(Failure::Timeout) => {
                self.timeouts.fetch_add(1, Ordering::Relaxed);
                format!("no answer within {:.3} s", began.elapsed().as_secs_f64())
            }
            Err(Failure::Said(what)) => what,
        };
        lock(&self.complaint).get_or_insert(failure);
    }

    /// What the program says of each point, `[n, width]`.
    fn all(&self, points: &[f64], dim: usize, width: usize) -> Vec<f64> {
        let mut said = vec![f64::NAN; points.len() / dim * width];
        // A point alone is the final consensus, whose value is wanted even after the deadline.
        let grace = Instant::now() + Duration::from_secs(u64::from(said.len() == width));
        let deadline = self.deadline.map(|d| d.max(grace));
        let next = AtomicUsize::new(0);
        let cells: Vec<Mutex<&mut [f64]>> = said.chunks_exact_mut(width).map(Mutex::new).collect();
        thread::scope(|scope| {
            for _ in 0..self.workers.min(cells.len()) {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        let Some(cell) = cells.get(i) else { break };
                        self.numbers(&points[i * dim..(i + 1) * dim], deadline, &mut lock(cell));
                    }
                });
            }
        });
        drop(cells);
        said
    }

    fn process(&self, command: &str, line: &str, end: Instant) -> Result<String, Failure> {
        let idle = lock(&self.idle).pop();
        let mut worker = match idle {
            Some(worker) => worker,
            None => Worker::start(command).map_err(|e| Failure::Said(e.to_string()))?,
        };
        // A worker that failed is not asked again; dropping it ends it.
        let answer = worker.ask(line, end)?;
        lock(&self.idle).push(worker);
        Ok(answer)
    }
}

/// What was wrong with an answer.
fn wrong(text: &str, wanted: usize) -> String {
    let numbers = if wanted == 1 { "one number".into() } else { format!("{wanted} numbers") };
    format!("it said {:?} instead of {numbers}", text.trim())
}

impl BlackBox for External {
    fn values(&self, points: &[f64], dim: usize, values: &mut [f64]) {
        values.copy_from_slice(&self.all(points, dim, 1));
    }

    fn constraints(&self) -> Option<Constraints> {
        self.constraints
    }

    fn constrained(&self, points: &[f64], dim: usize, values: &mut [f64], constraints: &mut [f64]) {
        let (n, width) = (values.len(), 1 + self.constraints.map_or(0, |c| c.count()));
        for (i, said) in self.all(points, dim, width).chunks_exact(width).enumerate() {
            values[i] = said[0];
            constraints.iter_mut().skip(i).step_by(n).zip(&said[1..]).for_each(|(c, said)| *c = *said);
        }
    }

    fn complaint(&self) -> Option<String> {
        lock(&self.complaint).clone()
    }

    fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }
}

enum Failure {
    Timeout,
    Said(String),
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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

/// The next thing a reader sends, unless the time is over or the user interrupts.
fn wait(receiver: &Receiver<String>, end: Instant) -> Result<String, Failure> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left.min(SLICE)) {
            Ok(text) => return Ok(text),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Said("it ended without an answer".into()));
            }
            Err(RecvTimeoutError::Timeout) if left <= SLICE => return Err(Failure::Timeout),
            Err(RecvTimeoutError::Timeout) if interrupt::requested() => {
                return Err(Failure::Said("interrupted".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn once(line: &str, end: Instant) -> Result<String, Failure> {
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
    let answer = wait(&receiver, end);
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
struct Worker {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Worker {
    fn start(line: &str) -> std::io::Result<Self> {
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

    fn ask(&mut self, line: &str, end: Instant) -> Result<String, Failure> {
        let said = |e: std::io::Error| Failure::Said(format!("it does not take the point: {e}"));
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).map_err(said)?;
        wait(&self.lines, end)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        end_group(&mut self.child);
    }
}
