//! Objectives that are programs: one call per point, or a long-lived process that answers line by
//! line. What crashes, hangs or says no number is a failure of its point alone.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use thalweg_core::{Interrupt, StopReason};

use super::process::{Failure, Patience, Worker, once};
use super::{BlackBox, Constraints};
use crate::OptimError;

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
    interrupt: Interrupt,
    constraints: Option<Constraints>,
    idle: Mutex<Vec<Worker>>,
    timeouts: AtomicU64,
    complaint: Mutex<Option<String>>,
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
        let (deadline, interrupt, constraints, idle, timeouts, complaint) = Default::default();
        let external = Self {
            call,
            workers: workers.max(1),
            patience,
            deadline,
            interrupt,
            constraints,
            idle,
            timeouts,
            complaint,
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

    /// Overwrites `out` by the numbers that the program says; by NaN without a call when the time is over
    /// or the user has interrupted.
    fn numbers(&self, x: &[f64], deadline: Option<Instant>, out: &mut [f64]) {
        out.fill(f64::NAN);
        if self.interrupt.requested() || deadline.is_some_and(|d| d <= Instant::now()) {
            return;
        }
        let line = x.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
        let began = Instant::now();
        let end = began + self.patience;
        let patience = Patience { end: deadline.map_or(end, |d| d.min(end)), interrupt: &self.interrupt };
        let answer = match &self.call {
            Call::Once(command) => once(&command.replace("{x}", &line), &patience),
            Call::Process(command) => self.process(command, &line, &patience),
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

    fn process(&self, command: &str, line: &str, patience: &Patience<'_>) -> Result<String, Failure> {
        let idle = lock(&self.idle).pop();
        let mut worker = match idle {
            Some(worker) => worker,
            None => Worker::start(command).map_err(|e| Failure::Said(e.to_string()))?,
        };
        // A worker that failed is not asked again; dropping it ends it.
        let answer = worker.ask(line, patience)?;
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

    fn stopped(&self) -> Option<StopReason> {
        match self.deadline {
            _ if self.interrupt.requested() => Some(StopReason::Interrupted),
            Some(deadline) if deadline <= Instant::now() => Some(StopReason::Time),
            _ => None,
        }
    }

    fn complaint(&self) -> Option<String> {
        lock(&self.complaint).clone()
    }

    fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
