//! Learning directed acyclic graphs from data by moves in a topological order: for causal discovery in
//! genomics, econometrics and process data, and to improve the graph that any other method has found.
//!
//! C. Deng, K. Bello, B. Aragam, P. Ravikumar, *Optimizing NOTEARS Objectives via Topological Swaps*,
//! ICML 2023, arXiv:2305.17277.
//!
//! ```
//! use thalweg_core::Seed;
//! use thalweg_topo::metrics::compare;
//! use thalweg_topo::simulate::{Mechanism, Noise, Simulation};
//! use thalweg_topo::{FitOptions, Topo};
//!
//! let simulation = Simulation {
//!     family: "er:2".parse()?, // two edges per node
//!     dim: 10,
//!     samples: 1000,
//!     noise: Noise::GaussEv,
//!     mechanism: Mechanism::Linear,
//! };
//! let (truth, sample) = simulation.run(Seed(1))?;
//! let learned = Topo::default().fit(&sample, &FitOptions::seed(1))?;
//! assert!(compare(&truth, &learned.graph)?.shd <= 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **The algorithm.** Wanted are the weights W of a graph without cycles that minimize a score Q(W), a sum
//! over nodes, e.g. (1/2n)‖X − XW‖². In a fixed order π the best W_π is a regression of each node on its
//! predecessors; what is searched is the order:
//!
//! ```text
//! repeat
//!   W ← W_π,  G ← ∇Q(W),  N ← ∇h(W)        N_ij counts the walks from j to i: 0 iff i → j closes no cycle
//!   Y ← pairs i → j that π forbids, with few walks N_ij and a large |G_ij|   a small set, then a large one
//!   δ(i, j) ← Q(W_π with i and j exchanged) − Q(W)
//!   π ← π with the best exchanges δ < 0 whose positions do not overlap       their gains add up
//! until no exchange helps
//! ```
//!
//! That is [`Mode::Paper`], for any score. [`Mode::Fast`], the default, tries all exchanges and insertions:
//! for least squares from one Cholesky factor, in O(d³) together; for other scores each node goes to its
//! best position in turn. Where no move helps, windows of a few positions are put into their best order. A
//! W_π at which G_ij = 0 wherever N_ij = 0 is a local optimum: [`Learned::kkt_violation`] says how far from it.
//!
//! **When not to use it.** Least squares depends on the units of the variables, and simulated data give their
//! order away by them: [`metrics::varsortability`] tells. On standardized data use [`Score::Bic`]. Hidden
//! common causes and feedback are outside the model; with fewer samples than variables use BIC or a penalty.
//!
//! **Where to read:** `method` how it all goes together, `search` the searches, `factor` all moves from one
//! factor, `walks` which edges close cycles, `score` the scores, `exact` the optimum of few variables,
//! `bootstrap` how sure an edge is, `baselines` NOTEARS, DAGMA and GOLEM.
#![forbid(unsafe_code)]

pub mod baselines;
pub mod bootstrap;
pub mod certificate;
pub mod cpdag;
mod error;
mod exact;
pub mod factor;
pub mod graph;
mod knowledge;
mod lbfgsb;
mod learned;
mod line_search;
mod method;
pub mod metrics;
mod owlqn;
mod prepared;
pub mod sachs;
mod sample;
pub mod score;
pub mod search;
pub mod simulate;
pub mod start;
mod subsets;
pub mod walks;

pub use error::TopoError;
pub use faer::Mat;
pub use knowledge::Knowledge;
pub use learned::{Learned, Polished};
pub use method::{FitOptions, Init, Mode, Score, Topo};
pub use sample::Sample;
pub use score::Penalty;
