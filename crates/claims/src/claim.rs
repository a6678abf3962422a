//! What all claims share: their names, their options, how findings are published.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, json};
use thalweg::core::Meter;
use thalweg::plot::Report;
use thalweg::tasks::folder::REPORT;
use thalweg::tasks::{Finding, Folder, Host, Marks, Opening, Watcher};

/// Options of every claim.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Seeds 1..=N
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seeds: u64,
    /// Folder for report.html and results.json
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// No notes
    #[arg(long)]
    pub quiet: bool,
    /// Write down which marks hold, in place of comparing them with what is written there
    #[arg(long)]
    pub record: bool,
    /// Where it is written which marks hold
    #[arg(long, value_name = "FILE", default_value = "docs/marks.json")]
    pub marks: PathBuf,
}

impl Options {
    /// Checks the options and starts the threads.
    pub fn start(&self) -> Result<()> {
        if self.seeds == 0 || self.threads == Some(0) {
            bail!("seeds and threads are at least 1");
        }
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(self.threads.unwrap_or(0)).use_current_thread();
        pool.build_global().context("cannot start the threads")
    }

    /// Notes on standard error.
    pub fn host(&self) -> Host {
        let watcher: Option<Arc<dyn Watcher>> = if self.quiet { None } else { Some(Arc::new(Notes)) };
        Host { watcher, ..Host::default() }
    }
}

struct Notes;

impl Watcher for Notes {
    fn note(&self, text: &str) {
        eprintln!("{text}");
    }

    fn meter(&self, _title: &str, _total: Option<u64>) -> Option<Box<dyn Meter>> {
        None
    }
}

/// A claim of `B`: its name, and what measures it.
pub type Entry<B> = (&'static str, fn(&B) -> Result<Finding>);

/// Those of the known claims that are asked for; `all` are all.
fn select<'a, B>(asked: &[String], known: &'a [Entry<B>]) -> Result<Vec<&'a Entry<B>>> {
    if matches!(asked, [one] if one == "all") {
        return Ok(known.iter().collect());
    }
    let place = |name: &String| match known.iter().find(|k| k.0 == name) {
        Some(entry) => Ok(entry),
        None => {
            let names: Vec<&str> = known.iter().map(|k| k.0).collect();
            bail!("there is no claim `{name}`; use one of {}, or all", names.join(", "))
        }
    };
    asked.iter().map(place).collect()
}

/// Measures the claims asked for one after the other, prints and writes what they find.
pub fn publish<B>(
    title: &str,
    options: &Options,
    claims: &B,
    asked: &[String],
    known: &[Entry<B>],
) -> Result<()> {
    let chosen = select(asked, known)?;
    let folder = options.out.as_ref().map(|out| Folder::open(out, Opening::Overwrite)).transpose()?;
    if let Some(folder) = &folder {
        folder.make()?;
    }
    let mut report = Report::new(title);
    let (mut all, mut marks) = (Map::new(), Marks::read(&options.marks)?);
    for (_, measure) in chosen {
        let finding = measure(claims)?;
        if !options.json {
            println!("{}", finding.text());
        }
        finding.add_to(&mut report);
        marks.take(&finding);
        let result = json!({ "results": finding.data, "marks": finding.marks_json() });
        all.insert(finding.name.into(), result);
    }
    if let Some(folder) = &folder {
        folder.write_json("results.json", &all)?;
        report.save(&folder.file(REPORT))?;
    }
    if options.json {
        println!("{}", serde_json::to_string(&all)?);
    }
    // The sub-command, under which marks are kept.
    let system = std::env::args().nth(1).unwrap_or_default();
    if options.record {
        return Ok(marks.write(&system, &options.marks)?);
    }
    let turned = marks.turned(&system);
    if turned.is_empty() { Ok(()) } else { Err(Turned(turned).into()) }
}

/// Marks that held when they were written down and miss now.
#[derive(Debug)]
pub struct Turned(Vec<String>);

impl std::error::Error for Turned {}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held when it was written down, and misses now: {}", self.0.join("; "))
    }
}
