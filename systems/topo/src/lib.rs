//! Learning directed acyclic graphs from data by moves in a topological order.
//!
//! Once an order of the variables is fixed, the best graph that respects it is a regression of each
//! variable on its predecessors. Topological swaps walk over orders; which pairs are worth exchanging is
//! read off the optimality conditions of the problem in which acyclicity is a smooth constraint. This
//! crate has the published search for any score, and for Gaussian ones a faster, more thorough one: all
//! exchanges and insertions of an order from a single Cholesky factor, in O(d³).
//!
//! C. Deng, K. Bello, B. Aragam, P. Ravikumar, *Optimizing NOTEARS Objectives via Topological Swaps*,
//! ICML 2023, arXiv:2305.17277.
//!
//! ```
//! use thalweg_core::Seed;
//! use thalweg_topo::{Given, Mechanism, Noise, Simulation, Topo, compare};
//!
//! let simulation = Simulation {
//!     family: "er:2".parse()?, // two edges per node
//!     dim: 10,
//!     samples: 1000,
//!     noise: Noise::GaussEv,
//!     mechanism: Mechanism::Linear,
//! };
//! let (truth, sample) = simulation.run(Seed(1))?;
//! let learned = Topo::default().fit(&sample, &Given::seed(1))?;
//! assert!(compare(&truth, &learned.graph)?.shd <= 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Where to read:** `search` the searches, `factor` all moves from one factor, `walks` which edges
//! close cycles, `least_squares`, `bic`, `logistic`, `mlp` the scores, `exact` the optimum of few
//! variables, `continuous` NOTEARS, DAGMA and GOLEM, `learn` how it all goes together.
//!
//! Least squares depends on the units of the variables, and simulated data give their order away by them:
//! [`varsortability`] tells. On standardised data use [`Score::Bic`].
#![forbid(unsafe_code)]

mod bic;
mod certificate;
mod continuous;
mod cpdag;
mod error;
mod exact;
mod factor;
mod graph;
mod knowledge;
mod learn;
mod least_squares;
mod logistic;
mod metrics;
mod mlp;
mod owlqn;
mod sachs;
mod sample;
mod score;
mod search;
mod simulate;
mod start;
mod subsets;
mod walks;

pub use bic::Bic;
pub use certificate::kkt_violation;
pub use continuous::{Dagma, Golem, Notears};
pub use cpdag::Cpdag;
pub use error::TopoError;
pub use factor::{Factor, Move};
pub use faer::Mat;
pub use graph::{edges, is_order, made_acyclic, positions, thresholded, topological_order};
pub use knowledge::Knowledge;
pub use learn::{Given, Init, Learned, Mode, Polished, Score, Searched, Topo};
pub use least_squares::{Linear, Loss, Penalty};
pub use logistic::Logistic;
pub use metrics::{Metrics, compare, order_divergence, r2_sortability, sortability, varsortability};
pub use mlp::{Mlp, MlpScore};
pub use sachs::{sachs, sachs_truth};
pub use sample::Sample;
pub use score::{Custom, NodeFit, NodeScore};
pub use search::{Candidates, Round, Watch};
pub use simulate::{Family, Mechanism, Noise, Simulation};
pub use start::{random_order, top_down, variance_order};
pub use walks::Walks;
