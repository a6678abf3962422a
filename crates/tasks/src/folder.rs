//! The run folder, the same for every job: `config.toml` (what decides the result), `metrics.jsonl`,
//! `checkpoint.bin` (while unfinished), `summary.json` (an object), `report.html`, and the product.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thalweg_core::{StopReason, replace_file};
use thalweg_plot::Report;

use crate::error::bail;
use crate::{Context, Result, TaskError};

/// The effective settings.
pub const CONFIG: &str = "config.toml";
/// One line per recorded step.
pub const METRICS: &str = "metrics.jsonl";
/// State of an unfinished run.
pub const CHECKPOINT: &str = "checkpoint.bin";
/// What the job has to say, an object; written last.
pub const SUMMARY: &str = "summary.json";
/// Tables and pictures.
pub const REPORT: &str = "report.html";

/// What to do with what is in the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// A new run; refused where there is one already.
    #[default]
    Fresh,
    /// A new run in place of an older one.
    Overwrite,
    /// The run in the folder goes on.
    Resume,
}

/// A run folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    opening: Opening,
}

impl Folder {
    /// Looks at the folder without touching it.
    ///
    /// # Errors
    /// A new run where there is one already, a run to resume where there is none.
    pub fn open(path: impl Into<PathBuf>, opening: Opening) -> Result<Self> {
        let folder = Self { path: path.into(), opening };
        let shown = folder.path.display();
        match opening {
            Opening::Resume if !folder.file(CONFIG).is_file() => bail!(
                "{shown} holds no run to continue ({CONFIG} is missing); name the folder that was given to `out`"
            ),
            Opening::Fresh if folder.unfinished() => {
                bail!(
                    "{shown} holds an unfinished run; continue it with `resume` {shown}, or set `overwrite`"
                )
            }
            Opening::Fresh if folder.used() => {
                bail!("{shown} holds a run already; choose another folder for `out`, or set `overwrite`")
            }
            _ => Ok(folder),
        }
    }

    /// Makes the folder, removes what an older run left under the names that every run writes and under
    /// `products`, and writes the settings, with everything decided and paths from the root. A resumed run keeps
    /// all of it.
    ///
    /// # Errors
    /// The folder cannot be written to; a new run would replace something; a resumed run has other settings.
    pub fn begin(&self, settings: &impl Serialize, products: &[&str]) -> Result<()> {
        let mut table = toml::Table::try_from(settings)?;
        table.iter_mut().filter(|(key, _)| is_path(key)).for_each(|(_, value)| each_text(value, &absolute));
        if self.opening == Opening::Resume {
            self.agrees(&table)?;
        }
        self.clear(products)?;
        match self.opening {
            Opening::Resume => Ok(()),
            _ => self.write(CONFIG, toml::to_string(&table)?.as_bytes()),
        }
    }

    /// Refuses settings other than those of the run in the folder.
    fn agrees(&self, settings: &toml::Table) -> Result<()> {
        let own = read_table(&self.file(CONFIG))?;
        let keys = own.keys().chain(settings.keys());
        match keys.into_iter().find(|key| *key != "time" && own.get(*key) != settings.get(*key)) {
            None => Ok(()),
            Some(key) => {
                let shown =
                    |table: &toml::Table| table.get(key).map_or("not set".into(), toml::Value::to_string);
                bail!(
                    "`{key}` is {}, but {} in the run of {}; a run goes on with its own settings: leave it out, or \
                     start another run",
                    shown(settings),
                    shown(&own),
                    self.path.display()
                )
            }
        }
    }

    /// As [`Folder::begin`], without settings: for one of several methods.
    ///
    /// # Errors
    /// The folder cannot be written to; a new run would replace something.
    pub fn clear(&self, products: &[&str]) -> Result<()> {
        self.make()?;
        if self.opening == Opening::Resume {
            return Ok(());
        }
        for name in [CHECKPOINT, SUMMARY, METRICS, REPORT].iter().chain(products) {
            let file = self.file(name);
            if file.exists() {
                if self.opening == Opening::Fresh && fs::metadata(&file).is_ok_and(|m| m.len() > 0) {
                    let shown = file.display();
                    bail!("{shown} is there already; choose another folder for `out`, or set `overwrite`")
                }
                fs::remove_file(&file).map_err(|e| {
                    TaskError::Input(format!("cannot replace {}: {e}; check permissions", file.display()))
                })?;
            }
        }
        Ok(())
    }

    /// Makes the folder and checks that it can be written to.
    ///
    /// # Errors
    /// It cannot.
    pub fn make(&self) -> Result<()> {
        let probe = self.file(".probe");
        let made = fs::create_dir_all(&self.path)
            .and_then(|()| File::create(&probe))
            .and_then(|_| fs::remove_file(&probe));
        made.map_err(|e| {
            let shown = self.path.display();
            TaskError::Input(format!(
                "cannot write to the output folder {shown}: {e}; choose another one for `out`"
            ))
        })
    }

    /// A folder of its own inside, for one of several methods; opened the same way, not checked.
    pub fn inner(&self, name: &str) -> Self {
        Self { path: self.path.join(name), opening: self.opening }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where steps are recorded.
    pub fn metrics(&self) -> PathBuf {
        self.file(METRICS)
    }

    /// Where the run saves itself.
    pub fn checkpoint(&self) -> PathBuf {
        self.file(CHECKPOINT)
    }

    /// Whether the run in it goes on, from wherever it is.
    pub fn reopened(&self) -> bool {
        self.opening == Opening::Resume
    }

    /// Whether the run goes on from a checkpoint.
    pub fn resumes(&self) -> bool {
        self.opening == Opening::Resume && self.checkpoint().exists()
    }

    /// Whether a run in it, or in one of its inner folders, has not ended.
    pub fn unfinished(&self) -> bool {
        let inner = fs::read_dir(&self.path).into_iter().flatten().flatten();
        self.checkpoint().exists() || inner.into_iter().any(|entry| entry.path().join(CHECKPOINT).exists())
    }

    /// Whether a run has left anything: settings alone are nothing.
    fn used(&self) -> bool {
        self.file(SUMMARY).exists() || fs::metadata(self.metrics()).is_ok_and(|m| m.len() > 0)
    }

    /// The summary of a run that has ended, when it is resumed.
    pub fn finished<T: DeserializeOwned>(&self) -> Option<T> {
        let text = fs::read_to_string(self.file(SUMMARY)).ok()?;
        let ended = self.opening == Opening::Resume && !self.unfinished();
        serde_json::from_str(&text).ok().filter(|_| ended)
    }

    /// Writes a file so that at any moment either the old or the new one is there, whole.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        write_file(&self.file(name), content)
    }

    /// As [`Folder::write`], pretty JSON.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        self.write(name, format!("{}\n", serde_json::to_string_pretty(value)?).as_bytes())
    }

    /// Writes the records of a job that is no run of a method: one JSON object per unit of work.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_metrics(&self, records: impl IntoIterator<Item = Value>) -> Result<()> {
        let lines: String = records.into_iter().map(|record| format!("{record}\n")).collect();
        self.write(METRICS, lines.as_bytes())
    }

    /// Writes the report, with the settings of the run at its end: a reader can tell what was compared with what.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn report(&self, mut report: Report) -> Result<()> {
        if let Ok(settings) = self.read(CONFIG) {
            let version = env!("CARGO_PKG_VERSION");
            let section = report.section("Settings");
            section
                .text(&format!("Thalweg {version}; {CONFIG} beside this report repeats the run."))
                .code(&settings);
        }
        Ok(report.save(&self.file(REPORT))?)
    }

    /// Reads a text file in it.
    ///
    /// # Errors
    /// There is none.
    pub fn read(&self, name: &str) -> Result<String> {
        read_file(&self.file(name))
    }

    /// Saves what a job has done so far that is no run of a method but a list of calls.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn save(&self, done: &impl Serialize) -> Result<()> {
        let bytes = postcard::to_stdvec(done)
            .map_err(|e| TaskError::Failed(format!("cannot save what was done: {e}")))?;
        self.write(CHECKPOINT, &bytes)
    }

    /// What was saved by [`Folder::save`], when the job is resumed.
    ///
    /// # Errors
    /// A checkpoint that cannot be read.
    pub fn restore<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        if !self.resumes() {
            return Ok(None);
        }
        let file = self.checkpoint();
        let damaged =
            || TaskError::Input(format!("{} cannot be read; start anew with `overwrite`", file.display()));
        let bytes = fs::read(&file).map_err(|_| damaged())?;
        postcard::from_bytes(&bytes).map(Some).map_err(|_| damaged())
    }

    /// The end of a run: the summary is written; the checkpoint goes, unless the run was cut short and may
    /// go on.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn end(&self, summary: &impl Serialize, reason: Option<StopReason>) -> Result<()> {
        self.write_json(SUMMARY, summary)?;
        if !matches!(reason, Some(StopReason::Interrupted | StopReason::Time)) {
            self.drop_checkpoint();
        }
        Ok(())
    }

    /// Empties the inner folders `NAME-0`, `NAME-1`, … of what runs and their `products` leave there; a folder in
    /// which nothing else is goes too.
    pub fn drop_numbered(&self, name: &str, products: &[&str]) {
        let numbered = (0..).map(|k| self.inner(&format!("{name}-{k}")));
        let all: Vec<Self> = numbered.take_while(|inner| inner.path.is_dir()).collect();
        // The last one first: whenever this is cut short, those that are left still count from 0.
        for inner in all.iter().rev() {
            for file in [CHECKPOINT, METRICS].iter().chain(products) {
                let _ = fs::remove_file(inner.file(file)); // what is not there need not go
            }
            let _ = fs::remove_dir(&inner.path);
        }
    }

    /// Removes the checkpoint.
    pub fn drop_checkpoint(&self) {
        let _ = fs::remove_file(self.checkpoint()); // what is not there need not go
    }
}

/// The recorded steps of a run, as far as they are intact.
///
/// # Errors
/// There are none.
pub fn read_metrics(folder: &Folder) -> Result<Vec<Value>> {
    Ok(folder.read(METRICS)?.lines().map_while(|line| serde_json::from_str(line).ok()).collect())
}

/// Writes a file outside any folder, atomically.
///
/// # Errors
/// The disk refuses.
pub fn write_file(file: &Path, content: &[u8]) -> Result<()> {
    replace_file(file, &[content]).map_err(|e| {
        TaskError::Failed(format!("cannot write {}: {e}; check permissions and free space", file.display()))
    })
}

/// Reads a text file outside any folder.
///
/// # Errors
/// There is none, or it is no text.
pub fn read_file(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|e| TaskError::Input(format!("cannot read {}: {e}", file.display())))
}

/// What a folder holds, in no order.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect());
    entries.map_err(|e| TaskError::Input(format!("cannot read the folder {}: {e}", folder.display())))
}

/// The settings of a file; the paths in it are seen from its folder.
///
/// # Errors
/// No such file, or it does not fit.
pub fn read_table(path: &Path) -> Result<toml::Table> {
    let text = fs::read_to_string(path)
        .map_err(|e| TaskError::Input(format!("cannot read the configuration {}: {e}", path.display())))?;
    let mut table =
        text.parse::<toml::Table>().with_context(|| format!("{} is not valid TOML", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let seen_from = |text: &str| {
        let file = folder.join(text);
        file.exists().then(|| file.display().to_string())
    };
    table.iter_mut().filter(|(key, _)| is_path(key)).for_each(|(_, value)| each_text(value, &seen_from));
    Ok(table)
}

/// Settings that name files or folders, some of them beside other names.
const PATHS: [&str; 22] = [
    "arch",
    "context",
    "data",
    "eps-mask",
    "files",
    "forbid",
    "from",
    "knowledge",
    "matrix",
    "model",
    "order",
    "patterns",
    "require",
    "rhs",
    "rotate",
    "shift",
    "split",
    "test",
    "tiers",
    "train",
    "truth",
    "validation",
];

fn is_path(key: &str) -> bool {
    PATHS.contains(&key)
}

/// A configuration with its paths from the root, so that a run is the same from any folder.
pub(crate) fn rooted(configuration: &Value) -> Value {
    let each = |key: Option<&str>, value: &Value| match (key, value) {
        (Some(key), Value::String(text)) if is_path(key) && !NAMES.contains(&&**text) => {
            absolute(text).map_or_else(|| value.clone(), Value::String)
        }
        (_, value) => rooted(value),
    };
    match configuration {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), each(Some(key), value))).collect()
        }
        Value::Array(all) => all.iter().map(|value| each(None, value)).collect(),
        value => value.clone(),
    }
}

/// Data that are embedded: their names are no paths.
const NAMES: [&str; 2] = ["digits", "sachs"];

/// A file that exists, from the root.
fn absolute(text: &str) -> Option<String> {
    let there = Path::new(text).exists();
    std::path::absolute(text).ok().filter(|_| there).map(|file| file.display().to_string())
}

/// Replaces the texts of a setting, alone or in a list, where there is something to replace them by.
fn each_text(value: &mut toml::Value, replace: &dyn Fn(&str) -> Option<String>) {
    match value {
        toml::Value::String(text) if !text.is_empty() && !NAMES.contains(&&**text) => {
            if let Some(new) = replace(text) {
                *text = new;
            }
        }
        toml::Value::Array(all) => all.iter_mut().for_each(|value| each_text(value, replace)),
        _ => (),
    }
}
