//! What a search records of every iteration: a table that survives interruptions to the last bit.

use std::io;

use thalweg_cbo::search::{BEST, SPREAD};
use thalweg_core::{Observe, Tick};

use crate::Folder;

/// The file of the history.
pub(super) const HISTORY: &str = "history.csv";

/// The metrics that are kept.
const KEPT: [&str; 5] = [BEST, SPREAD, "ess", "alpha", "noise"];

/// One iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Record {
    iteration: u64,
    /// Evaluations made.
    pub evaluations: u64,
    /// The numbers of [`KEPT`].
    numbers: [f64; 5],
}

impl Record {
    /// Best value so far.
    pub fn best_f(&self) -> f64 {
        self.numbers[0]
    }

    fn line(&self, run: u64) -> String {
        let numbers = self.numbers.map(|x| x.to_string()).join(",");
        format!("{run},{},{},{numbers}\n", self.iteration, self.evaluations)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut cells = line.split(',').skip(1);
        let (iteration, evaluations) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
        let mut numbers = [f64::NAN; 5];
        for number in &mut numbers {
            *number = cells.next()?.parse().ok()?;
        }
        Some(Self { iteration, evaluations, numbers })
    }
}

/// The records of several runs as CSV.
pub(super) fn csv<'a>(runs: impl IntoIterator<Item = (u64, &'a [Record])>) -> String {
    let mut text = format!("run,iteration,evaluations,{}\n", KEPT.join(","));
    for (run, records) in runs {
        records.iter().for_each(|r| text += &r.line(run));
    }
    text
}

/// Keeps the records of one run, and saves them with each checkpoint.
pub(super) struct History<'a> {
    run: u64,
    folder: &'a Folder,
    /// None before the run begins.
    records: Option<Vec<Record>>,
}

impl<'a> History<'a> {
    /// Of run `run`, in its folder.
    pub fn new(run: u64, folder: &'a Folder) -> Self {
        Self { run, folder, records: None }
    }

    /// The records.
    pub fn into_records(self) -> Vec<Record> {
        self.records.unwrap_or_default()
    }
}

impl<S> Observe<S> for History<'_> {
    fn start(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        let saved =
            if tick.step > 0 { self.folder.read(HISTORY).map_err(io::Error::other)? } else { String::new() };
        let saved = saved.lines().skip(1).map_while(Record::parse);
        self.records = Some(saved.take_while(|r| r.iteration <= tick.step).collect());
        Ok(())
    }

    fn step(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        let numbers = KEPT.map(|name| tick.progress.metric(name).unwrap_or(f64::NAN));
        let record = Record { iteration: tick.step, evaluations: tick.evaluations, numbers };
        self.records.get_or_insert_default().push(record);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(records) = &self.records else { return Ok(()) };
        let text = csv([(self.run, records.as_slice())]);
        self.folder.write(HISTORY, text.as_bytes()).map_err(io::Error::other)
    }
}
