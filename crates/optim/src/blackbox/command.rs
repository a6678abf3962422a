//! Objectives that are programs: one call per point, or a long-lived process that answers line by
//! line. What crashes, hangs or says no number is a failure of its point alone.
//!
//! **The protocol of a process.** A point per line in, its numbers separated by blanks; one line per point out: the
//! value and those of the constraints, separated by blanks; `nan` where there is none. In Python:
//!
//! ```python
//! import sys
//! for line in sys.stdin:
//!     x = [float(v) for v in line.split()]
//!     print(sum((v - 1) ** 2 for v in x), flush=True)
//! ```
//!
//! Everything else belongs on standard error, whose end is shown with the first failure. A process that prints a line
//! more, or one that holds no numbers, is out of step: the point is a failure, and a new process takes over.
//! [`External::again`] finds out the ones that answered out of step unnoticed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use thalweg_core::{Interrupt, StopReason};

use super::process::{Failure, Patience, Worker, once, quoted};
use super::{BlackBox, Constraints, Incumbent};
use crate::OptimError;

/// How the program is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A shell command per point; `{x}` stands for its numbers, separated by blanks. One value on
    /// standard output.
    Once(String),
    /// A shell command that is started once per worker: one point per line in, one value (and those of
    /// the constraints) per line out, nothing else.
    Process(String),
}

/// Failures in the same words, before any answer, after which a program is given up.
const ALIKE: u64 = 20;

/// Attempts to hear a value again from a program that may fail.
const ATTEMPTS: u32 = 10;

/// What is known of a program's failures.
#[derive(Default)]
struct Log {
    /// What the first one said.
    complaint: Option<String>,
    /// Whether it ever answered.
    answered: bool,
    /// The latest one but for its numbers, and how often it came in a row.
    words: String,
    alike: u64,
    /// Whether there is no such program.
    missing: bool,
}

impl Log {
    fn failed(&mut self, what: String) {
        let words: String = what.chars().filter(|c| c.is_alphabetic()).collect();
        self.alike = if words == self.words { self.alike + 1 } else { 1 };
        self.words = words;
        self.complaint.get_or_insert(what);
    }

    fn hopeless(&self) -> bool {
        self.missing || (!self.answered && self.alike >= ALIKE)
    }
}

/// An objective that is a program.
pub struct External {
    call: Call,
    workers: usize,
    patience: Duration,
    deadline: Option<Instant>,
    interrupt: Interrupt,
    constraints: Option<Constraints>,
    idle: Mutex<Vec<Worker>>,
    timeouts: AtomicU64,
    log: Mutex<Log>,
}

impl External {
    /// `workers` calls at a time, each of at most `patience`. A process is started at once, so that a
    /// wrong name is an error here and not a failure later.
    ///
    /// # Errors
    /// A command line without `{x}` or without a program, or a process that cannot be started.
    pub fn new(call: Call, workers: usize, patience: Duration) -> Result<Self, OptimError> {
        let bad = |program: &str, cause: &str| {
            Err(OptimError::Program { program: program.into(), cause: cause.into() })
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
        let (deadline, interrupt, constraints, idle, timeouts, log) = Default::default();
        let external = Self {
            call,
            workers: workers.max(1),
            patience,
            deadline,
            interrupt,
            constraints,
            idle,
            timeouts,
            log,
        };
        if let Call::Process(line) = &external.call {
            let worker = Worker::start(line)
                .map_err(|e| OptimError::Program { program: line.clone(), cause: e.to_string() })?;
            lock(&external.idle).push(worker);
        }
        Ok(external)
    }

    /// No call goes on after this moment.
    pub fn until(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// No call goes on after this token asks to stop.
    pub fn interrupt(mut self, token: Interrupt) -> Self {
        self.interrupt = token;
        self
    }

    /// The program says the values of its constraints after the objective's, separated by blanks.
    pub fn constrained(mut self, constraints: Constraints) -> Self {
        self.constraints = Some(constraints);
        self
    }

    /// Overwrites `out` by the numbers that the program says; by NaN without a call when the time is over, the user has
    /// interrupted, or no call gives any.
    fn numbers(&self, x: &[f64], deadline: Option<Instant>, out: &mut [f64]) {
        out.fill(f64::NAN);
        let over = self.interrupt.requested() || deadline.is_some_and(|d| d <= Instant::now());
        if over || self.hopeless() {
            return;
        }
        let answer = self.counted(|| match &self.call {
            Call::Once(command) => {
                let text = once(&command.replace("{x}", &words(x)), &self.patience(deadline))?;
                read(&text, out)
            }
            Call::Process(command) => {
                let mut worker = self.worker(command)?;
                let answer = read(&worker.ask(&words(x), &self.patience(deadline))?, out);
                // A worker that is out of step is not asked again; dropping it ends it.
                if matches!(answer, Ok(()) | Err(Failure::NoValue(_))) {
                    lock(&self.idle).push(worker);
                }
                answer
            }
        });
        if answer.is_none() {
            out.fill(f64::NAN);
        }
    }

    fn patience(&self, deadline: Option<Instant>) -> Patience<'_> {
        let end = Instant::now() + self.patience;
        Patience { end: deadline.map_or(end, |d| d.min(end)), interrupt: &self.interrupt }
    }

    fn worker(&self, command: &str) -> Result<Worker, Failure> {
        let idle = lock(&self.idle).pop();
        idle.map_or_else(|| Worker::start(command).map_err(|e| Failure::Said(e.to_string())), Ok)
    }

    /// Makes a call and keeps its failure in mind.
    fn counted<T>(&self, call: impl FnOnce() -> Result<T, Failure>) -> Option<T> {
        let began = Instant::now();
        let answer = call();
        let mut log = lock(&self.log);
        match answer {
            Ok(answer) => {
                log.answered = true;
                return Some(answer);
            }
            Err(Failure::Timeout) => {
                self.timeouts.fetch_add(1, Ordering::Relaxed);
                log.failed(format!("no answer within {:.3} s", began.elapsed().as_secs_f64()));
            }
            Err(Failure::NoValue(what)) => {
                log.answered = true;
                log.complaint.get_or_insert(what);
            }
            Err(Failure::Said(what)) => log.failed(what),
            Err(Failure::Missing(what)) => {
                log.missing = !log.answered;
                log.failed(what);
            }
        }
        None
    }

    /// The value of a point, asked for anew: what was told before may have belonged to another point. A process is asked
    /// twice, and the second answer counts, which is the point's own also where it lags by a line. Past the deadline a
    /// second is left. `None` where ten attempts give no value.
    pub fn again(&self, x: &[f64]) -> Option<Incumbent> {
        let mut said = vec![f64::NAN; 1 + self.constraints.map_or(0, |c| c.count())];
        let deadline = self.deadline.map(|d| d.max(Instant::now() + Duration::from_secs(1)));
        let ask = |said: &mut [f64]| match &self.call {
            Call::Once(command) => {
                read(&once(&command.replace("{x}", &words(x)), &self.patience(deadline))?, said)
            }
            Call::Process(command) => {
                let mut worker = self.worker(command)?;
                read(&worker.ask(&words(x), &self.patience(deadline))?, said)?;
                read(&worker.ask(&words(x), &self.patience(deadline))?, said)?;
                worker.silent(Duration::from_millis(100))?;
                lock(&self.idle).push(worker);
                Ok(())
            }
        };
        (0..ATTEMPTS).find_map(|_| self.counted(|| ask(&mut said)))?;
        let violation = self.constraints.map_or(0.0, |c| c.beyond(c.violation(&said[1..], 0, 1).1));
        Some(Incumbent { x: x.to_vec(), violation, f: said[0] })
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
}

/// A point as a program reads it.
fn words(x: &[f64]) -> String {
    x.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
}

/// Overwrites `out` by the numbers of an answer.
fn read(text: &str, out: &mut [f64]) -> Result<(), Failure> {
    let said: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    match said {
        Ok(said) if said.len() == out.len() => {
            match said.iter().find(|v| v.is_nan() || **v == f64::INFINITY) {
                Some(value) => return Err(Failure::NoValue(format!("it said {value}"))),
                None => out.copy_from_slice(&said),
            }
            Ok(())
        }
        _ => {
            let numbers = if out.len() == 1 { "one number".into() } else { format!("{} numbers", out.len()) };
            Err(Failure::Said(format!("it said {} instead of {numbers}", quoted(text))))
        }
    }
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

    fn stopped(&self) -> Option<StopReason> {
        match self.deadline {
            _ if self.interrupt.requested() => Some(StopReason::Interrupted),
            Some(deadline) if deadline <= Instant::now() => Some(StopReason::Time),
            _ => None,
        }
    }

    fn hopeless(&self) -> bool {
        lock(&self.log).hopeless()
    }

    fn complaint(&self) -> Option<String> {
        lock(&self.log).complaint.clone()
    }

    fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
