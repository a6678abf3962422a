//! `thalweg fit`: models whose training is a convex program.

use anyhow::Result;
use clap::{Args, Subcommand};
use thalweg::fit::{MODEL, Settings, convex_relu};
use thalweg::tasks::folder::REPORT;

use crate::args::RunFlags;
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
pub struct Fit {
    #[command(subcommand)]
    system: System,
}

#[derive(Subcommand)]
enum System {
    /// A two-layer ReLU network with a certified gap to the global optimum
    #[command(after_help = "Examples:
  thalweg fit convex-relu --data digits --limit 300 --patterns 20 --out m/
  thalweg fit convex-relu --train a.csv --test b.csv --target y --loss bce --beta auto --out m/ --json
  thalweg fit convex-relu --train a.csv --adversarial eps=0.02 --attack fgsm,pgd:40 --json

Features are standardised, a constant is appended for the bias, and all are divided by √(d+1); β and
ε are on this scale, β against the SUM of losses. Numbers to predict are centred: the program and its
proof are of the centred ones, and the saved model, which takes raw features, adds the mean again.
Several numbers per sample have a program each. Archives with Xtrain or patterns D are taken as they
are. Exit code 3: the gap was not reached; the result is written with the gap that it has.")]
    ConvexRelu {
        #[command(flatten)]
        settings: Box<Settings>,
        #[command(flatten)]
        run: Box<RunFlags>,
    },
}

impl Fit {
    pub fn run(self) -> Result<Status> {
        let System::ConvexRelu { settings, run } = self.system;
        let (settings, folder, host, json) = run.open(&*settings, Some("fit"))?.into_folder()?;
        let outcome = convex_relu(&settings, Some(&folder), &host)?;
        if json {
            print_json(&outcome.summary)?;
        } else {
            print(&outcome.summary.table().text())?;
        }
        host.note(format!("model: {}", folder.file(MODEL).display()));
        host.note(format!("report: {}", folder.file(REPORT).display()));
        if outcome.proved() {
            return Ok(Status::Done);
        }
        let (gap, wanted) = (outcome.summary.gap, outcome.wanted_gap);
        host.note(format!(
            "the gap is {gap:.1e}, not {wanted:.1e}; allow more with --max-steps or use --method exact"
        ));
        Ok(Status::Unproved)
    }
}
