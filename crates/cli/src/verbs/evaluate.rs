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

A model that `train` saved knows how its test part was cut: the same file is scored on that part, another
file without a test part as a whole. `digits`, texts and data with a test part of their own are scored on it.")]
pub struct Evaluate {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    common: Common,
}

impl Evaluate {
    pub fn run(self) -> Result<Status> {
        let found = evaluate(&self.settings, &self.common.start()?)?;
        if self.common.json {
            print_json(&found)?;
            return Ok(Status::Done);
        }
        let score = found.score;
        let mut said = score.accuracy.map_or_else(String::new, |a| format!("accuracy {:.2} %   ", 100.0 * a));
        if let Some(rmse) = score.rmse {
            said += &format!("RMSE {rmse:.4}   ");
        }
        if let Some(r2) = score.r2 {
            said += &format!("R² {r2:.4}   ");
        }
        let loss = if score.rmse.is_some() { "mean squared error" } else { "loss" };
        print(&format!("{said}{loss} {:.4}   n {}\n", score.loss, score.n))?;
        Ok(Status::Done)
    }
}
