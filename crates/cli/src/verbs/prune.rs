//! `thalweg prune`: remove weights of a trained network.

use anyhow::Result;
use clap::Args;
use thalweg::tasks::folder::REPORT;
use thalweg::tasks::prune::{Settings, prune, table};

use crate::args::RunFlags;
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg train --data digits --model mlp:64-128-10 --epochs 10 --out run/
  thalweg prune --model run/model.safetensors --data digits --sparsity 0.8,0.9 --compare mfac,magnitude
  thalweg prune --model run/model.safetensors --data digits --gradual 0.5,0.75,0.9,0.95 --out p/ --json

Each sparsity starts from the given model; with --gradual each goes on from the one before, with
fine-tuning in between. Gradients come from the training part, scores from the test part.")]
pub struct Prune {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    run: RunFlags,
}

impl Prune {
    pub fn run(self) -> Result<Status> {
        let (settings, folder, host, json) = self.run.open(&self.settings, Some("pruned"))?.into_folder()?;
        let outcome = prune(&settings, Some(&folder), &host)?;
        if json {
            print_json(&outcome.models)?;
        } else {
            print(&table(&outcome.models, &outcome.dense).text())?;
        }
        host.note(format!("report: {}", folder.file(REPORT).display()));
        Ok(Status::Done)
    }
}
