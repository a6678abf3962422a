//! The `thalweg` program: parse, call, print, return the exit status.
#![forbid(unsafe_code)]

mod args;
mod exit;
mod host;
mod printer;
mod verbs;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use thalweg::comm::{self, World};

use exit::Status;
use verbs::*;

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
    /// Prove how much a network's output can change.
    Certify(Box<certify::Certify>),
    /// Remove weights of a trained network.
    Prune(Box<prune::Prune>),
    /// Score a saved model on data.
    Evaluate(evaluate::Evaluate),
    /// A model whose training is a convex program, with a certified optimum.
    Fit(fit::Fit),
    /// Learn directed acyclic graphs from data, improve and compare them.
    Dag(dag::Dag),
    /// Solve linear systems; learn the relaxation factor across a sequence of them.
    Linsolve(linsolve::Linsolve),
    /// Minimize a test function or a program, by gradients or by values alone.
    Minimize(Box<minimize::Minimize>),
    /// Optimise one problem subject to the solution of another.
    Bilevel(bilevel::Bilevel),
    /// Every system against its baselines on embedded data, into one report.
    Tour(tour::Tour),
}

impl Verb {
    fn run(self, world: &mut World) -> Result<Status> {
        match self {
            Self::Train(verb) => verb.run(world),
            _ if world.size() > 1 => anyhow::bail!("only `train` runs in several processes; start it alone"),
            Self::Certify(verb) => verb.run(),
            Self::Prune(verb) => verb.run(),
            Self::Evaluate(verb) => verb.run(),
            Self::Fit(verb) => verb.run(),
            Self::Dag(verb) => verb.run(),
            Self::Linsolve(verb) => verb.run(),
            Self::Minimize(verb) => verb.run(),
            Self::Bilevel(verb) => verb.run(),
            Self::Tour(verb) => verb.run(),
        }
    }
}

fn main() -> ExitCode {
    exit::tame_panics();
    let command = Cli::command();
    let parsed = command.clone().try_get_matches().and_then(|m| Ok((Cli::from_arg_matches(&m)?, m)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(e) => {
            let _ = e.print(); // a broken pipe is no error
            return ExitCode::from(if e.use_stderr() { Status::Usage } else { Status::Done } as u8);
        }
    };
    exit::Verb::call(&command, &matches);
    // Of several processes that `mpirun` started, all do the same; the first speaks and writes.
    let mut world = match comm::world() {
        Ok(world) => world,
        Err(e) => {
            exit::say(&e.into());
            return ExitCode::from(Status::Usage as u8);
        }
    };
    let done = cli.verb.run(&mut world);
    let status = done.as_ref().map_or_else(exit::status, |status| *status);
    ExitCode::from(world.end(status as u8, || {
        if let Err(e) = &done {
            exit::say(e);
        }
    }))
}
