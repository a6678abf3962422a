//! Flags that verbs share, from one place, and their merging with a configuration file: flags override it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Command};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thalweg::tasks::folder::{CONFIG, read_table};
use thalweg::tasks::settings::{Time, field_value, merged};
use thalweg::tasks::{Folder, Host, Opening};

use crate::host;

/// Flags of every verb.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Threads; results do not depend on their number [default: all cores]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub threads: Option<usize>,
    /// Print one JSON object on standard output
    #[arg(long, help_heading = "Run")]
    pub json: bool,
    /// No progress, no notes
    #[arg(long, help_heading = "Run")]
    pub quiet: bool,
}

impl Common {
    /// Starts the threads and says who looks on. The main thread is part of the pool, so that small
    /// parallel steps need no hand-over; code that blocks on other threads must use its own pool.
    pub fn start(&self) -> Result<Host> {
        if self.threads == Some(0) {
            bail!("threads = 0 is not allowed; use at least 1");
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads.unwrap_or(0))
            .use_current_thread()
            .build_global()
            .context("cannot start the threads")?;
        host::terminal(self.quiet)
    }
}

/// Flags of every verb that writes a run folder.
#[derive(Args, Clone, Debug, Default)]
pub struct RunFlags {
    /// TOML file with settings named as the flags; flags override it
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub config: Option<PathBuf>,
    /// Run folder: settings, metrics, summary, report and what the verb makes
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    pub out: Option<PathBuf>,
    /// Go on with the unfinished run of that folder, to the same bits as without interruption
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out"], help_heading = "Run")]
    pub resume: Option<PathBuf>,
    /// Replace the run in the output folder
    #[arg(long, conflicts_with = "resume", help_heading = "Run")]
    pub overwrite: bool,
    /// Stop after this time with the best so far, e.g. 30s, 5m; the run can be resumed
    #[arg(long, help_heading = "Run")]
    pub time: Option<Time>,
    /// Any setting, e.g. seed=3; also fields of methods, where the verb has methods: lr=0.1, sgd.lr=0.1
    #[arg(long, value_name = "FIELD=VALUE", help_heading = "Run")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub common: Common,
}

/// Settings, folder and host of a run.
pub struct Opened<S> {
    pub settings: S,
    pub folder: Option<Folder>,
    pub host: Host,
    pub json: bool,
}

impl<S> Opened<S> {
    /// The folder of a verb that always writes one.
    pub fn into_folder(self) -> Result<(S, Folder, Host, bool)> {
        let folder = self.folder.context("no run folder; add --out DIR")?;
        Ok((self.settings, folder, self.host, self.json))
    }
}

impl RunFlags {
    /// Starts the threads and brings together what is asked for: the flags over the file, or over the
    /// settings of the run that is to go on. `out` is the folder where none is named.
    pub fn open<S>(self, flags: &S, out: Option<&str>) -> Result<Opened<S>>
    where
        S: Args + Serialize + DeserializeOwned,
    {
        let mut host = self.common.start()?;
        let mut given = toml::Table::try_from(flags)?;
        given.extend(set::<S>(&self.set)?);
        let opening = match (&self.resume, self.overwrite) {
            (Some(_), _) => Opening::Resume,
            (None, true) => Opening::Overwrite,
            (None, false) => Opening::Fresh,
        };
        let path = self.resume.clone().or(self.out).or_else(|| out.map(PathBuf::from));
        let folder = path.map(|path| Folder::open(path, opening)).transpose()?;
        let saved = folder.as_ref().filter(|_| self.resume.is_some()).map(|folder| folder.file(CONFIG));
        // A time limit bounds this run, it does not decide its result: of a file it is a default.
        let in_file =
            self.config.as_deref().map(read_table).transpose()?.and_then(|t| t.get("time").cloned());
        let in_file = in_file.map(toml::Value::try_into::<Time>).transpose()?;
        host.time = self.time.or(in_file).map(|time| time.0);
        let settings = merged(given, saved.as_deref().or(self.config.as_deref()))?;
        Ok(Opened { settings, folder, host, json: self.common.json })
    }
}

/// The settings that `--set` names, read as the flags of that name are; what is no setting of the verb is
/// left to its methods.
fn set<S: Args + Serialize>(pairs: &[String]) -> Result<toml::Table> {
    let command = S::augment_args(Command::new("set").no_binary_name(true)).mut_args(|a| a.required(false));
    let (mut flags, mut others) = (Vec::new(), Vec::new());
    for pair in pairs {
        let (field, value) = field_value(pair)?;
        let (field, value) = (field.trim().replace('_', "-"), value.trim());
        let called = |a: &&clap::Arg| {
            let aliases = a.get_all_aliases().unwrap_or_default();
            a.get_long().into_iter().chain(aliases).any(|name| name == field)
        };
        match command.get_arguments().find(called) {
            Some(flag)
                if flag.get_action().takes_values()
                    && flag.get_num_args().is_none_or(|n| n.max_values() > 0) =>
            {
                flags.push(format!("--{field}={value}"));
            }
            Some(_) if value == "true" => flags.push(format!("--{field}")),
            Some(_) => bail!("{field} = {value} is not allowed; use true, or leave it out"),
            None => others.push(pair.clone()),
        }
    }
    let matches = command.try_get_matches_from(flags).map_err(|e| {
        anyhow::anyhow!(
            "--set: {}",
            e.render().to_string().trim_start_matches("error: ").lines().next().unwrap_or_default()
        )
    })?;
    let mut table = toml::Table::try_from(S::from_arg_matches(&matches)?)?;
    if !others.is_empty() {
        table.insert("set".into(), others.into());
    }
    Ok(table)
}
