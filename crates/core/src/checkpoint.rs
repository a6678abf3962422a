use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use thiserror::Error;

use crate::{Progress, Seed};

/// Where and how often a run saves itself. It also does so before the first step, which finds an
/// unwritable folder at once, and after the last one.
#[derive(Clone, Debug)]
pub struct Checkpointer {
    /// The file, replaced atomically.
    pub path: PathBuf,
    /// The rhythm.
    pub every: Every,
}

/// Rhythm of a [`Checkpointer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// After each so many steps.
    Steps(u64),
    /// After each so much time, at the next step boundary.
    Time(Duration),
}

/// Why a checkpoint could not be written or used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("cannot {verb} checkpoint {}: {source}; check the folder and its permissions", path.display())]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another kind of file.
    #[error("{} is not a Thalweg checkpoint (byte 0: wrong signature); name the checkpoint of a run folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later or earlier format.
    #[error("{} has checkpoint format {found} (byte 8) but this program reads {VERSION}; resume it with the program that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Format number found.
        found: u32,
    },
    /// Too short or too long.
    #[error("{} is damaged: {found} bytes where its header (byte 12) promises {expected}; use another copy or start afresh", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Length of the file.
        found: u64,
        /// Length that it should have.
        expected: u64,
    },
    /// The content does not match its checksum.
    #[error("{} is damaged: the checksum (byte 20) does not match; use another copy or start afresh", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
    },
    /// The content is intact but does not fit this run's types.
    #[error("the {what} in {} cannot be decoded ({cause}); resume it with the program that wrote it", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Header, settings, state or problem.
        what: &'static str,
        /// The decoder's answer.
        cause: String,
    },
    /// The run is configured differently.
    #[error("{} was written with {field} = {saved} but this run has {field} = {now}; use the same configuration or start afresh", path.display())]
    Different {
        /// The file.
        path: PathBuf,
        /// First setting that differs.
        field: String,
        /// Value in the checkpoint.
        saved: String,
        /// Value of this run.
        now: String,
    },
}

const MAGIC: [u8; 8] = *b"THALWEG\0";
const VERSION: u32 = 2;
/// Signature, version, length of the content, checksum of the content.
const HEAD: usize = 8 + 4 + 8 + 8;

/// What a checkpoint holds beside the method's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// JSON of method, hyper-parameters, seed and the caller's configuration.
    pub configuration: String,
    pub seed: Seed,
    pub step: u64,
    pub evaluations: u64,
    pub elapsed: Duration,
    pub progress: Progress,
    /// A callback has ended the run.
    pub ended: bool,
    /// [`crate::Problem::save`].
    pub problem: Vec<u8>,
    /// Of each rule [`crate::Stop::Still`]: the number it compares with, and the step that had it.
    pub still: Vec<(f64, u64)>,
}

/// A checkpoint read from disk and found intact.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    state: Vec<u8>,
}

impl Checkpoint {
    /// Reads and verifies a file.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(CheckpointError::Io { verb: "read", path, source }),
        };
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if magic.is_empty() || magic != &MAGIC[..magic.len()] {
            return Err(CheckpointError::Foreign { path });
        }
        let found = bytes.len() as u64;
        let Some((head, content)) = bytes.split_at_checked(HEAD) else {
            return Err(CheckpointError::Length { path, found, expected: HEAD as u64 });
        };
        let found_version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if found_version != VERSION {
            return Err(CheckpointError::Version { path, found: found_version });
        }
        let expected = word(&head[12..20]).saturating_add(HEAD as u64);
        if found != expected {
            return Err(CheckpointError::Length { path, found, expected });
        }
        if checksum(content) != word(&head[20..28]) {
            return Err(CheckpointError::Checksum { path });
        }
        match postcard::take_from_bytes::<Header>(content) {
            Ok((header, state)) => Ok(Self { path, header, state: state.to_vec() }),
            Err(e) => Err(CheckpointError::Content { path, what: "header", cause: e.to_string() }),
        }
    }

    /// Writes what a loop of the caller's own needs to go on, as [`crate::Run`] does for its methods:
    /// atomically, under settings that the resumed loop must share.
    pub fn write(
        path: &Path,
        settings: &impl Serialize,
        seed: Seed,
        step: u64,
        state: &impl Serialize,
    ) -> Result<(), CheckpointError> {
        let header = Header { step, ..Header::fresh(json(path, settings)?, seed) };
        write(path, &header, state)
    }

    /// Reads the state that [`Checkpoint::write`] wrote, unless the settings differ.
    pub fn load<S: DeserializeOwned>(path: &Path, settings: &impl Serialize) -> Result<S, CheckpointError> {
        let saved = Self::read(path)?;
        saved.compare(&json(path, settings)?)?;
        saved.state()
    }

    /// Steps made when it was written.
    pub fn step(&self) -> u64 {
        self.header.step
    }

    /// Seed of the run.
    pub fn seed(&self) -> Seed {
        self.header.seed
    }

    /// Refuses a run with other settings, naming the first that differs.
    pub(crate) fn compare(&self, configuration: &str) -> Result<(), CheckpointError> {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        let (saved, now) = (parse(&self.header.configuration), parse(configuration));
        match difference("", &saved, &now) {
            None => Ok(()),
            Some((field, saved, now)) => {
                Err(CheckpointError::Different { path: self.path.clone(), field, saved, now })
            }
        }
    }

    pub(crate) fn state<S: DeserializeOwned>(&self) -> Result<S, CheckpointError> {
        let error =
            |cause: String| CheckpointError::Content { path: self.path.clone(), what: "state", cause };
        match postcard::take_from_bytes(&self.state) {
            Ok((state, [])) => Ok(state),
            Ok((_, rest)) => Err(error(format!("{} bytes are left over", rest.len()))),
            Err(e) => Err(error(e.to_string())),
        }
    }
}

fn json(path: &Path, settings: &impl Serialize) -> Result<String, CheckpointError> {
    serde_json::to_string(settings).map_err(|e| CheckpointError::Content {
        path: path.to_path_buf(),
        what: "settings",
        cause: e.to_string(),
    })
}

/// Path and both values of the first setting in which two configurations differ.
fn difference(path: &str, a: &Value, b: &Value) -> Option<(String, String, String)> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let keys = x.keys().chain(y.keys().filter(|k| !x.contains_key(*k)));
            keys.filter(|k| x.get(*k) != y.get(*k)).find_map(|key| {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                difference(&inner, x.get(key).unwrap_or(&Value::Null), y.get(key).unwrap_or(&Value::Null))
            })
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            let mut pairs = x.iter().zip(y).enumerate();
            pairs.find_map(|(i, (a, b))| difference(&format!("{path}[{i}]"), a, b))
        }
        _ => (a != b).then(|| (path.to_string(), short(a), short(b))),
    }
}

/// A value as text, its tail left out where it is long.
fn short(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b))
}

/// FNV-1a over words of eight bytes with one mixing shift; each step is a bijection of the hash,
/// so any change confined to one word is found with certainty.
fn checksum(bytes: &[u8]) -> u64 {
    let mix = |h: u64, w: u64| {
        let h = (h ^ w).wrapping_mul(0x100_0000_01b3);
        h ^ h >> 32
    };
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |h, chunk| mix(h, word(chunk)))
}

/// Writes the file so that at any moment either the old or the new one is there, whole.
pub(crate) fn write<S: Serialize>(path: &Path, header: &Header, state: &S) -> Result<(), CheckpointError> {
    let encode = |what| {
        move |e: postcard::Error| CheckpointError::Content {
            path: path.to_path_buf(),
            what,
            cause: e.to_string(),
        }
    };
    let content = postcard::to_stdvec(header).map_err(encode("header"))?;
    let content = postcard::to_extend(state, content).map_err(encode("state"))?;
    let mut head = Vec::with_capacity(HEAD);
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend((content.len() as u64).to_le_bytes());
    head.extend(checksum(&content).to_le_bytes());
    replace_file(path, &[&head, &content]).map_err(|source| CheckpointError::Io {
        verb: "write",
        path: path.to_path_buf(),
        source,
    })
}

/// Writes `parts` behind each other so that at any moment either the old file or the new one is
/// there, whole: a temporary file beside the target (`NAME.partial`) is synced and renamed over it,
/// then the folder is synced. What fails leaves the old file and nothing else.
pub fn replace_file(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let mut partial = name.to_os_string();
    partial.push(".partial");
    let partial = path.with_file_name(partial);
    let fill = |mut file: File| {
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    };
    if let Err(e) = File::create(&partial).and_then(fill).and_then(|()| fs::rename(&partial, path)) {
        let _ = fs::remove_file(&partial); // give a full disk its space back
        return Err(e);
    }
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
