//! `thalweg tour`: every system against its baselines on embedded data, into one report.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use thalweg::plot::Report;
use thalweg::tasks::folder::{REPORT, SUMMARY};
use thalweg::tasks::{
    Finding, Folder, Host, Opening, TaskError, bilevel, certify, dag, fit, linsolve, minimize, prune, train,
};

use crate::args::Common;
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg tour
  thalweg tour --out tour/ --json")]
pub struct Tour {
    /// Folder for report.html and summary.json
    #[arg(long, value_name = "DIR", default_value = "tour")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// A stop of the tour: the system's name and what shows it.
type Stop = (&'static str, fn(&Host) -> Result<Finding, TaskError>);

/// The systems in the tour, a few seconds each.
const STOPS: &[Stop] = &[
    ("adahessian", train::tour::adahessian),
    ("adahessian", train::tour::diagonal),
    ("adahessian", minimize::tour::trajectories),
    ("mkor", train::tour::mkor),
    ("mfac", prune::tour::mfac),
    ("convex-relu", fit::tour::certified_gap),
    ("lipsdp", certify::tour::all_bounds),
    ("topo", dag::tour::topo),
    ("relax", linsolve::tour::heat),
    ("cbo", minimize::tour::rugged),
    ("bilevel", bilevel::tour::cleaning),
];

impl Tour {
    pub fn run(self) -> Result<Status> {
        let host = self.common.start()?;
        let folder = Folder::open(&self.out, Opening::Overwrite)?;
        folder.make()?;
        let mut report = Report::new("A tour of Thalweg");
        report
            .lead("Every system against its baselines on embedded data, measured on this machine just now.");
        let clock = Instant::now();
        let mut all = Vec::new();
        for (system, stop) in STOPS {
            let began = Instant::now();
            let finding = stop(&host)?;
            let seconds = began.elapsed().as_secs_f64();
            if !self.common.json {
                print(&format!("{system}: {}\n{}\n", finding.title, finding.table.text()))?;
            }
            finding.add_to(&mut report);
            all.push(json!({
                "system": system,
                "title": finding.title,
                "seconds": seconds,
                "results": finding.data,
                "marks": finding.marks_json(),
            }));
        }
        let file = folder.file(REPORT);
        report.save(&file)?;
        let summary = json!({ "stops": all, "seconds": clock.elapsed().as_secs_f64(), "report": file });
        folder.write_json(SUMMARY, &summary)?;
        if self.common.json {
            print_json(&summary)?;
            return Ok(Status::Done);
        }
        print(&format!("{:.1} s; open {}\n", clock.elapsed().as_secs_f64(), file.display()))?;
        Ok(Status::Done)
    }
}
