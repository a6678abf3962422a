//! What decides the result of a fit.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_convex_relu::{ConvexRelu, Loss, Solver};
use thalweg_core::Seed;
use thalweg_core::named::text;

use crate::source::Reading;

use super::words::{Baseline, Beta, HalfWidth, Method, Multiclass, Patterns, Robustness};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Training data: CSV, npz, images, `digits`
    #[arg(long, visible_alias = "data", value_name = "FILE")]
    #[serde(alias = "data")]
    pub train: Option<String>,
    /// Test data [default: drawn at random of each class, or in the format]
    #[arg(long, value_name = "FILE")]
    pub test: Option<PathBuf>,
    /// Column of the targets, or array of a plain archive
    #[arg(long)]
    pub target: Option<String>,
    /// Use only the first N training samples
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Take features and targets as they are: no scaling, no constant, no centred numbers
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub raw: Option<bool>,
    /// squared, hinge or bce [default: hinge for classes, squared for numbers]
    #[arg(long, value_parser = text::<Loss>)]
    pub loss: Option<Loss>,
    /// admm, admm-paper, rbcd, scp or exact [default: exact for small programs, else admm]
    #[arg(long, value_parser = text::<Method>)]
    pub method: Option<Method>,
    /// Directions to draw patterns from (neurons of scp), `all`, or a file with a 0/1 matrix D
    /// [default: 50; 400 for scp]
    #[arg(long, value_name = "N|all|FILE")]
    pub patterns: Option<Patterns>,
    /// Weight decay β against the sum of losses; `auto` by cross-validation of fits with the same settings;
    /// path:N for N values [default: 0.1]
    #[arg(long, value_name = "B|auto|path:N", allow_negative_numbers = true)]
    pub beta: Option<Beta>,
    /// Folds of the cross-validation [default: 5]
    #[arg(long, value_name = "K")]
    pub cv: Option<usize>,
    /// Relative certified gap to stop at [default: 1e-4; 1e-6 for scp, 1e-3 for adversarial training]
    #[arg(long)]
    pub tol: Option<f64>,
    /// Steps of the iterative methods at most [default: 20000; 100000 for scp]
    #[arg(long, alias = "max-iters", value_name = "N")]
    #[serde(alias = "max-iters")]
    pub max_steps: Option<u64>,
    /// Searches for missing patterns after each solve
    #[arg(long, alias = "grow", value_name = "TRIES")]
    #[serde(alias = "grow")]
    pub extra_pattern_searches: Option<u64>,
    /// An unpenalised linear part (squared and bce)
    #[arg(long, alias = "skip", num_args = 0, default_missing_value = "true")]
    #[serde(alias = "skip")]
    pub linear_part: Option<bool>,
    /// Reduce the network to at most n neurons
    #[arg(long, alias = "prune", num_args = 0, default_missing_value = "true")]
    #[serde(alias = "prune")]
    pub minimal_network: Option<bool>,
    /// Several classes or targets: ova (a program each) or shared (one norm per pattern) [default: ova]
    #[arg(long, value_name = "ova|shared", value_parser = text::<Multiclass>)]
    pub multiclass: Option<Multiclass>,
    /// Train against the worst case in boxes of this half width (of scaled features)
    #[arg(long, value_name = "eps=E")]
    pub adversarial: Option<HalfWidth>,
    /// File with the numbers (from 0) of features that no attack may move
    #[arg(long, value_name = "FILE")]
    pub eps_mask: Option<PathBuf>,
    /// Attacks on the test part: fgsm, pgd:STEPS; where training is not adversarial with eps=E among them
    /// [default: fgsm,pgd:40]
    #[arg(long, value_delimiter = ',', value_name = "fgsm,pgd:40")]
    pub attack: Option<Vec<Robustness>>,
    /// Also train by gradients on the same objective: adam, sgd, pgd (adversarial), linear
    #[arg(long, value_delimiter = ',', value_name = "M,M,…", value_parser = text::<Baseline>)]
    pub compare: Option<Vec<Baseline>>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's largest
    pub seed: Option<u64>,
    /// How the data are read.
    #[command(flatten)]
    #[serde(flatten)]
    pub reading: Reading,
}

impl Settings {
    /// The seed, 0 unless set.
    pub fn seed(&self) -> Seed {
        Seed(self.seed.unwrap_or(0))
    }

    /// The gap that is asked for; where none is, what the method reaches.
    pub fn wanted_gap(&self) -> f64 {
        self.tol.unwrap_or(match (self.method, self.adversarial) {
            (Some(Method::Scp), _) => 1e-6,
            (_, Some(_)) => 1e-3,
            _ => 1e-4,
        })
    }

    /// How programs are solved.
    pub(super) fn solver(&self) -> Solver {
        let plain = Solver::default();
        Solver {
            algorithm: self.method.and_then(Method::algorithm),
            tol: self.tol.unwrap_or(plain.tol),
            max_steps: self.max_steps.unwrap_or(plain.max_steps),
            rho: None,
        }
    }

    /// The fit of patterns that are drawn or listed.
    pub(super) fn model(&self, loss: Loss, beta: f64, eps: Option<Vec<f64>>) -> ConvexRelu {
        ConvexRelu {
            loss,
            beta,
            patterns: self.patterns.as_ref().map_or(Patterns::Draw(50), Clone::clone).choice(),
            solver: self.solver(),
            linear_part: self.linear_part.unwrap_or(false),
            extra_pattern_searches: self.extra_pattern_searches.unwrap_or(0),
            minimal_network: self.minimal_network.unwrap_or(false),
            eps: eps.filter(|_| self.adversarial.is_some()),
            seed: self.seed(),
        }
    }
}
