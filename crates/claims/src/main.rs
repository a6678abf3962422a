//! The claims of a method as tables that this machine measures now:
//! `cargo run --release -p thalweg-claims -- mkor perceptron`.
#![forbid(unsafe_code)]

mod adahessian;
mod bilevel;
mod cbo;
mod claim;
mod convex_relu;
mod cost;
mod lipsdp;
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
    /// Convex two-layer ReLU networks: certified solves, scaling, sampling, gradients, robustness, images
    ConvexRelu(convex_relu::Claims),
    /// Lipschitz certificates: known values in ℓ2 and ℓ∞, eighteen layers, pairs of classes, large networks, scaling
    Lipsdp(lipsdp::Claims),
    /// Bilevel optimisation: toys, rates, regularisation, hyper-cleaning, quadratics
    Bilevel(bilevel::Claims),
    /// Consensus-based optimisation: barriers, classic functions, the theorem, phase diagrams, learning, speed
    Cbo(cbo::Claims),
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
            Self::ConvexRelu(claims) => claims.run(),
            Self::Lipsdp(claims) => claims.run(),
            Self::Bilevel(claims) => claims.run(),
            Self::Cbo(claims) => claims.run(),
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
            // As the program: finished without what was asked for, or bad input.
            ExitCode::from(if e.is::<claim::Turned>() { 3 } else { 2 })
        }
    }
}
