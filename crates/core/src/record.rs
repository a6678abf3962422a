use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::{Observe, StopReason, Tick};

/// Writes one JSON object per recorded step: `step`, `evaluations`, `seconds`, `value`, then the
/// metrics. Numbers that are not finite become `null`.
///
/// A run that starts at step `s` first cuts the file behind the record of step `s`: a fresh run
/// begins with an empty file, a resumed one ends with the file of the uninterrupted run, times
/// aside.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    every: u64,
    words: Vec<(&'static str, Vec<&'static str>)>,
    file: Option<BufWriter<File>>,
}

impl Recorder {
    /// Records every `every`-th step, and each step to which a callback has added a metric
    /// ([`Tick::note`]); 0 records only those.
    pub fn new(path: impl Into<PathBuf>, every: u64) -> Self {
        Self { path: path.into(), every, words: Vec::new(), file: None }
    }

    /// Writes words in the place of metrics that count them from 0: by the metric's name.
    pub fn words(mut self, words: impl IntoIterator<Item = (&'static str, Vec<&'static str>)>) -> Self {
        self.words.extend(words);
        self
    }

    /// A metric as it is written.
    fn written(&self, name: &str, value: f64) -> Value {
        let words = self.words.iter().find(|w| w.0 == name);
        words.and_then(|w| w.1.get(value as usize)).map_or_else(|| value.into(), |word| (*word).into())
    }

    fn named(&self, e: io::Error) -> io::Error {
        io::Error::new(e.kind(), format!("{}: {e}", self.path.display()))
    }

    /// Opens the file and keeps its intact records up to `step`.
    fn open(&self, step: u64) -> io::Result<BufWriter<File>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        let mut reader = BufReader::new(file);
        let (mut keep, mut line) = (0, Vec::new());
        while step > 0 && reader.read_until(b'\n', &mut line)? > 0 {
            let record: Option<Value> = serde_json::from_slice(&line).ok();
            let at = record.and_then(|r| r.get("step")?.as_u64());
            if !line.ends_with(b"\n") || at.is_none_or(|at| at > step) {
                break;
            }
            keep += line.len() as u64;
            line.clear();
        }
        let mut file = reader.into_inner();
        if file.metadata()?.len() != keep {
            file.set_len(keep)?; // devices and pipes have no length to set
        }
        file.seek(io::SeekFrom::Start(keep))?;
        Ok(BufWriter::new(file))
    }
}

impl<S> Observe<S> for Recorder {
    fn start(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        self.file = Some(self.open(tick.step).map_err(|e| self.named(e))?);
        Ok(())
    }

    fn step(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        let due = self.every > 0 && tick.step.is_multiple_of(self.every);
        if !due && !tick.noted() {
            return Ok(());
        }
        let mut record = Map::new();
        record.insert("step".into(), tick.step.into());
        record.insert("evaluations".into(), tick.evaluations.into());
        record.insert("seconds".into(), tick.elapsed.as_secs_f64().into());
        record.insert("value".into(), tick.progress.value.into());
        for (name, value) in &tick.progress.metrics {
            record.insert(name.clone(), self.written(name, *value));
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut written = writeln!(file, "{}", Value::Object(record));
        if tick.noted() {
            written = written.and_then(|()| file.flush()); // rare and what a reader waits for
        }
        written.map_err(|e| self.named(e))
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.flush().and_then(|()| file.get_ref().sync_data()).map_err(|e| self.named(e))
    }

    fn end(&mut self, _tick: &Tick<'_, S>, _reason: StopReason) -> io::Result<()> {
        <Self as Observe<S>>::flush(self)
    }
}
