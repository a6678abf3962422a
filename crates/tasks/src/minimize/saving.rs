//! Checkpoints of searches: a file per run, in the folder `checkpoints` until all are through.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg::cbo::{Answer, Record, Saved};
use thalweg::core::{Checkpoint, Every, Seed};

/// What is kept of a run.
#[derive(Serialize, Deserialize)]
pub enum Kept {
    /// It goes on from here.
    Running { course: Saved, history: Vec<Record> },
    /// It is through.
    Done { answer: Answer, history: Vec<Record> },
}

/// Where and how often runs save themselves.
pub struct Saver {
    folder: PathBuf,
    /// Settings that a resumed search must share.
    shared: Value,
    every: Every,
    /// Runs that are through and not yet on the disk, and the time of the last that are. Many short runs
    /// would else spend their time waiting for the disk.
    waiting: Mutex<(Instant, Vec<(u64, Kept)>)>,
}

impl Saver {
    /// Of the searches of a run folder.
    pub fn new(folder: &Path, shared: Value, every: Option<u64>) -> Result<Self> {
        let folder = place(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let every = every.map_or(Every::Time(Duration::from_secs(10)), Every::Steps);
        Ok(Self { folder, shared, every, waiting: Mutex::new((Instant::now(), Vec::new())) })
    }

    /// Whether a search of this folder is not through.
    pub fn unfinished(folder: &Path) -> bool {
        let files = fs::read_dir(place(folder)).into_iter().flatten().flatten();
        files.into_iter().any(|f| f.path().extension().is_some_and(|e| e == "bin"))
    }

    /// Removes the checkpoints of a run folder.
    pub fn remove(folder: &Path) -> Result<()> {
        let folder = place(folder);
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(e).with_context(|| format!("cannot remove {}", folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// The checkpoints of a search that is through are of no more use.
    pub fn clear(&self) -> Result<()> {
        self.folder.parent().map_or(Ok(()), Self::remove)
    }

    /// What is kept of run `k`, if anything.
    pub fn load(&self, k: u64) -> Result<Option<Kept>> {
        let path = self.path(k);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(Checkpoint::load(&path, &self.settings(k))?))
    }

    /// Whether a run that has made `steps`, the last time saved then, is to be saved again.
    pub fn due(&self, steps: u64, then: Instant) -> bool {
        match self.every {
            Every::Steps(n) => steps.is_multiple_of(n),
            Every::Time(t) => then.elapsed() >= t,
        }
    }

    /// Saves run `k`.
    pub fn save(&self, k: u64, kept: &Kept) -> Result<()> {
        let history = match kept {
            Kept::Running { history, .. } | Kept::Done { history, .. } => history,
        };
        let steps = history.len() as u64;
        Ok(Checkpoint::write(&self.path(k), &self.settings(k), Seed(k), steps, kept)?)
    }

    /// Saves run `k`, which is through, now or with the next ones.
    pub fn finished(&self, k: u64, kept: Kept) -> Result<()> {
        let due = {
            let (since, waiting) = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push((k, kept));
            matches!(self.every, Every::Steps(_)) || self.due(1, *since)
        };
        if due { self.flush() } else { Ok(()) }
    }

    /// Saves the runs that wait for it.
    pub fn flush(&self) -> Result<()> {
        let (since, waiting) = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *since = Instant::now();
        waiting.drain(..).try_for_each(|(k, kept)| self.save(k, &kept))
    }

    fn path(&self, k: u64) -> PathBuf {
        self.folder.join(format!("{k}.bin"))
    }

    fn settings(&self, k: u64) -> Value {
        json!({ "search": self.shared, "run": k })
    }
}

fn place(folder: &Path) -> PathBuf {
    folder.join("checkpoints")
}
