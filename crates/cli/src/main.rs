//! The `thalweg` program: one file per verb.
#![forbid(unsafe_code)]

mod bench;
mod config;
mod evaluate;
mod failure;
mod minimize;
mod output;
mod pictures;
mod prune;
mod subject;
mod task;
mod tour;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Optimisation beyond the plain gradient.
#[derive(Parser)]
#[command(
    name = "thalweg",
    version,
    after_help = "Start with `thalweg tour`; see `thalweg VERB --help` for examples."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Train a network with one method, or compare several.
    Train(Box<train::Train>),
    /// Remove weights of a trained network.
    Prune(Box<prune::Prune>),
    /// Score a saved model on data.
    Evaluate(evaluate::Evaluate),
    /// Minimise a test function and draw the trajectory.
    Minimize(minimize::Minimize),
    /// Every system against its baselines on embedded data, into one report.
    Tour(tour::Tour),
    /// Measure the claims of a method: one table per claim.
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    failure::tame_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return failure::usage(&e),
    };
    let done = match cli.verb {
        Verb::Train(args) => args.run(),
        Verb::Prune(args) => args.run(),
        Verb::Evaluate(args) => args.run(),
        Verb::Minimize(args) => args.run(),
        Verb::Tour(args) => args.run(),
        Verb::Bench(args) => args.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failure::report(&e),
    }
}
