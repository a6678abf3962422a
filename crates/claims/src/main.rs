//! The claims of a method as tables that this machine measures now:
//! `cargo run --release -p thalweg-claims -- mkor perceptron`.
#![forbid(unsafe_code)]

mod claim;
mod measure;
mod sources;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measure the claims of a method: one table per claim.
#[derive(Parser)]
#[command(name = "thalweg-claims", version)]
struct Cli {
    #[command(subcommand)]
    system: System,
}

#[derive(Subcommand)]
enum System {}

impl System {
    fn run(self) -> Result<()> {
        match self {}
    }
}

fn main() -> ExitCode {
    match Cli::parse().system.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(2)
        }
    }
}
