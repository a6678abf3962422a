//! The claims of a method as tables that this machine measures now:
//! `cargo run --release -p thalweg-claims -- mkor perceptron`.
#![forbid(unsafe_code)]

mod adahessian;
mod bilevel;
mod claim;
mod cost;
mod measure;
mod mfac;
mod mkor;
mod relax;
mod sources;
mod topo;

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
enum System {
    /// AdaHessian: block averaging, convolutions, cost, robustness, transformer, the diagonal
    Adahessian(adahessian::Claims),
    /// MKOR: perceptron, autoencoder, scaling, communication, LeNet, transformer, robustness, rank one
    Mkor(mkor::Claims),
    /// M-FAC: training, fine-tuning, one-shot and gradual pruning, scaling, memory bandwidth
    Mfac(mfac::Claims),
    /// Bilevel optimisation: toys, rates, regularisation, hyper-cleaning, quadratics
    Bilevel(bilevel::Claims),
    /// Acyclic graphs by topological swaps: scores, distances and times
    Topo(topo::Claims),
    /// Learned relaxation: iterations, time, overhead, kernels
    Relax(relax::Claims),
}

impl System {
    fn run(self) -> Result<()> {
        match self {
            Self::Adahessian(claims) => claims.run(),
            Self::Mkor(claims) => claims.run(),
            Self::Mfac(claims) => claims.run(),
            Self::Bilevel(claims) => claims.run(),
            Self::Topo(claims) => claims.run(),
            Self::Relax(claims) => claims.run(),
        }
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
