//! `thalweg evaluate`: score a saved model.

use anyhow::Result;
use clap::Args;
use thalweg::tasks::evaluate::{Settings, evaluate};

use crate::args::Common;
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg train --data digits --model mlp:64-128-10 --epochs 10 --out run/
  thalweg evaluate --model run/model.safetensors --data digits
  thalweg evaluate --model run/model.safetensors --data digits --part train --json

A folder is scored by its test part, `digits` and texts too; a single file of examples as a whole.")]
pub struct Evaluate {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    common: Common,
}

impl Evaluate {
    pub fn run(self) -> Result<Status> {
        let score = evaluate(&self.settings, &self.common.start()?)?;
        if self.common.json {
            print_json(&score)?;
        } else {
            let accuracy = score.accuracy.map(|a| format!("accuracy {:.2} %   ", 100.0 * a));
            print(&format!("{}loss {:.4}   n {}\n", accuracy.unwrap_or_default(), score.loss, score.n))?;
        }
        Ok(Status::Done)
    }
}
