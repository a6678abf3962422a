//! The `thalweg` program: one file per verb.
#![forbid(unsafe_code)]

mod bench;
mod bilevel;
mod certify;
mod config;
mod dag;
mod evaluate;
mod failure;
mod fit;
mod linsolve;
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
use thalweg::comm;

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
    /// Train a model whose training is a convex program, with a certified gap.
    Fit(Box<fit::Fit>),
    /// Prove how much a network's output can change.
    Certify(Box<certify::Certify>),
    /// Remove weights of a trained network.
    Prune(Box<prune::Prune>),
    /// Score a saved model on data.
    Evaluate(evaluate::Evaluate),
    /// Learn a directed acyclic graph from data.
    Dag(dag::Dag),
    /// Solve linear systems; learn the relaxation factor across a sequence of them.
    Linsolve(linsolve::Linsolve),
    /// Minimise a function or a program, by gradients or by values alone.
    Minimize(Box<minimize::Minimize>),
    /// Optimise one problem subject to the solution of another.
    Bilevel(bilevel::Bilevel),
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
    // Of several processes that `mpirun` started, all do the same; the first speaks and writes.
    let mut world = match comm::world() {
        Ok(world) => world,
        Err(e) => return failure::report(&e.into()),
    };
    let done = match cli.verb {
        Verb::Train(args) => args.run(&mut world),
        _ if world.size() > 1 => {
            Err(anyhow::anyhow!("only `train` runs in several processes; start it alone"))
        }
        Verb::Fit(args) => args.run(),
        Verb::Certify(args) => args.run(),
        Verb::Prune(args) => args.run(),
        Verb::Evaluate(args) => args.run(),
        Verb::Dag(args) => args.run(),
        Verb::Linsolve(args) => args.run(),
        Verb::Minimize(args) => args.run(),
        Verb::Bilevel(args) => args.run(),
        Verb::Tour(args) => args.run(),
        Verb::Bench(args) => args.run(),
    };
    let code = done.as_ref().map_or_else(failure::code, |()| 0);
    ExitCode::from(world.end(code, || {
        if let Err(e) = &done {
            failure::say(e);
        }
    }))
}
