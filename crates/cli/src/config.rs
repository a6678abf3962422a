//! Options that all verbs share, and their merging with a configuration file: flags override it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Options of every verb.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Threads; results do not depend on their number [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// No progress, no notes
    #[arg(long)]
    pub quiet: bool,
}

impl Common {
    /// Sets the number of threads for the whole program. This one is of them: a small parallel step
    /// then costs no handing over. So whoever starts others and waits for them gives them a pool.
    pub fn start(&self) -> Result<()> {
        if self.threads == Some(0) {
            bail!("threads = 0 is not allowed; use at least 1");
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads.unwrap_or(0))
            .use_current_thread()
            .build_global()
            .context("cannot start the threads")
    }

    /// A line for people, on standard error.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            // A reader that has gone away is no error.
            let _ = writeln!(io::stderr(), "{}", text.as_ref());
        }
    }
}

/// A time such as `30s`, `5m`, `1.5h`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub Duration);

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = || format!("{text:?} is no time; use e.g. 30s, 5m or 1.5h");
        let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = match unit {
            "s" | "" => 1.0,
            "ms" => 1e-3,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(legal()),
        };
        let number: f64 = number.trim().parse().map_err(|_| legal())?;
        Duration::try_from_secs_f64(number * unit).map(Self).map_err(|_| legal())
    }
}

impl TryFrom<String> for Time {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        format!("{}s", time.0.as_secs_f64())
    }
}

/// Settings of which a run has one: a flag for one replaces the other in the file.
const EITHER: [[&str; 2]; 5] = [
    ["epochs", "steps"],
    ["method", "compare"],
    ["function", "command"],
    ["function", "process"],
    ["command", "process"],
];

/// The settings of a file, overridden by flags.
fn merged<T: Serialize + DeserializeOwned>(flags: &T, file: Option<&Path>) -> Result<T> {
    let flags = toml::Table::try_from(flags)?;
    let mut settings = match file {
        None => toml::Table::new(),
        Some(path) => read_table(path)?,
    };
    for [one, other] in EITHER.into_iter().filter(|keys| keys.iter().any(|k| flags.contains_key(*k))) {
        settings.remove(one);
        settings.remove(other);
    }
    settings.extend(flags);
    let named = || file.map_or_else(String::new, |p| p.display().to_string());
    settings.try_into().with_context(named)
}

/// Folder and settings of a run: those of the run that is to go on, else of the file, overridden by
/// flags.
pub fn of_run<T: Serialize + DeserializeOwned>(
    flags: &T,
    resume: Option<&Path>,
    out: &Path,
    file: Option<&Path>,
) -> Result<(PathBuf, T)> {
    let Some(folder) = resume else { return Ok((out.into(), merged(flags, file)?)) };
    let file = folder.join("config.toml");
    if !file.is_file() {
        bail!(
            "{} holds no run to continue (config.toml is missing); name the folder that was given to --out",
            folder.display()
        );
    }
    Ok((folder.into(), merged(flags, Some(&file))?))
}

fn read_table(path: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    text.parse().with_context(|| format!("{} is not valid TOML", path.display()))
}

/// Text for a configuration file.
pub fn to_toml(settings: &impl Serialize) -> Result<String> {
    Ok(toml::to_string(settings)?)
}

/// Field and value of `--set FIELD=VALUE`.
pub fn field_value(entry: &str) -> Result<(&str, &str)> {
    entry.split_once('=').with_context(|| format!("--set {entry} is no FIELD=VALUE pair"))
}

/// A number, a truth value or a list where it reads as one, else text.
pub fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// `FIELD=VALUE` pairs; a value is JSON, or else a word.
pub fn fields(pairs: &[String]) -> Result<Map<String, Value>> {
    let field = |pair: &String| {
        let (key, written) = field_value(pair)?;
        Ok((key.to_owned(), value(written)))
    };
    pairs.iter().map(field).collect()
}

/// The shared data folder: the variable THALWEG_DATA, or `../shared/data`.
pub fn shared_data() -> PathBuf {
    std::env::var_os("THALWEG_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from)
}

/// A file or folder of the shared data that must be there.
pub fn shared_file(path: impl AsRef<Path>) -> Result<PathBuf> {
    let file = shared_data().join(path);
    if !file.exists() {
        bail!("{} does not exist; name the folder of shared data with THALWEG_DATA", file.display());
    }
    Ok(file)
}
