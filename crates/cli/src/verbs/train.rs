//! `thalweg train`: one method, or several side by side.

use anyhow::Result;
use clap::Args;
use thalweg::comm::World;
use thalweg::tasks::folder::REPORT;
use thalweg::tasks::train::{Settings, Summary, fit_shared, report};

use crate::args::RunFlags;
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg train --data digits --model mlp:64-128-10 --method adahessian --epochs 10 --out run/
  thalweg train --data digits --model mlp:64-128-10 --compare adahessian,adamw,sgd --out cmp/ --json

Models: mlp:a-b-c[:act], lenet, cnn:depth,width, resnet8|20|32[:projection],
char-transformer:layers,width,heads,context, or a TOML file of layers.
Data: `digits`; a folder with MNIST IDX or CIFAR binary files; a single file of those; text;
CSV or npz with a label column. All may be gzipped.
Files of settings may also have tables [methods.NAME].")]
pub struct Train {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    run: RunFlags,
}

impl Train {
    pub fn run(mut self, world: &mut World) -> Result<Status> {
        let first = world.rank() == 0;
        self.run.common.quiet |= !first;
        let (settings, folder, host, json) = self.run.open(&self.settings, Some("run"))?.into_folder()?;
        let fitted = fit_shared(&settings, Some(&folder), &host, Some(world))?;
        if !first {
            return Ok(Status::Done);
        }
        let summaries: Vec<&Summary> = fitted.trained.iter().map(|t| &t.0).collect();
        match (&*summaries, settings.compare) {
            ([one], None) if json => print_json(one)?,
            (all, _) if json => print_json(&all)?,
            (all, _) => print(&report::table(all).text())?,
        }
        host.note(format!("report: {}", folder.file(REPORT).display()));
        Ok(Status::Done)
    }
}
