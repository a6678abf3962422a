//! `thalweg certify`: how much a network's output can change, proved.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use thalweg::certify::{Settings, certify, check};

use crate::args::RunFlags;
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg train --data digits --model mlp:64-32-32-10 --epochs 20 --out run/
  thalweg certify run/model.safetensors --bound all
  thalweg certify run/model.safetensors --data digits --eps 0.05,0.1,0.2 --out certificate/
  thalweg certify weights.npz --activation maxmin --norm linf --output-row 7 --json

Models are dense, convolutional or residual networks. Archives hold W1, b1, W2, … or W0, b0, W1, … (rows
are outputs), names like fc1.weight or dense/kernel in the order of the layers, v1, … for Householder, or U,
bz, Wz, Wo, bo for an equilibrium; matrices that are no part of it are refused. Bounds hold for the stored
weights in real arithmetic, per unit of the input as the model scales it (by 1/255 where bytes were trained
on); inference in float32 adds its own rounding. Sizes of changes and radii count in the range of the data:
of digits, whose grey levels go from 0 to 16, 0.05 is 0.8 grey levels; --eps-unit raw counts grey levels.
--bound auto takes the product of norms where the programs would take long, and says so. The run folder holds
the tightest certificate as certificate.json, with data also radii.csv. Exit code 3: nothing better than the
product of norms could be proved.")]
pub struct Certify {
    #[command(flatten)]
    settings: Settings,
    /// Repeat the proof of a certificate that --out wrote, without a solver; it knows its row, pair and activation
    #[arg(long, value_name = "certificate.json", conflicts_with_all = ["out", "resume", "data"])]
    check: Option<PathBuf>,
    #[command(flatten)]
    run: RunFlags,
}

impl Certify {
    pub fn run(self) -> Result<Status> {
        let opened = self.run.open(&self.settings, None)?;
        if let Some(file) = &self.check {
            let checked = check(&opened.settings, file, &opened.host)?;
            if opened.json {
                print_json(&checked.json())?;
            } else {
                print(&checked.text())?;
            }
            return Ok(if checked.verified { Status::Done } else { Status::Unproved });
        }
        let outcome = certify(&opened.settings, opened.folder.as_ref(), &opened.host)?;
        if opened.json {
            print_json(&outcome.json())?;
        } else {
            print(&outcome.text())?;
        }
        Ok(if outcome.verified() { Status::Done } else { Status::Unproved })
    }
}
