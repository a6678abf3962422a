//! Thalweg: optimisation beyond the plain gradient.
//!
//! One door to everything: the contract ([`core`]), first-order methods ([`optim`]), networks and
//! their derivatives ([`net`]), readers and embedded samples ([`data`]), pictures ([`plot`]), one
//! module per published method behind a feature of its name ([`adahessian`]), and [`tasks`]: whole jobs,
//! from settings to outcome, as the program does them.
//!
//! ```
//! use thalweg::adahessian::AdaHessian;
//! use thalweg::core::Seed;
//! use thalweg::net::{Init, Net, initial, named};
//! use thalweg::train::{Examples, Plan, Sampling, Training, run, score, standardize};
//!
//! let (train, test) = thalweg::data::digits();
//! let preprocess = standardize(&train);
//! let (train, test) = (Examples::set(train, &preprocess)?, Examples::set(test, &preprocess)?);
//!
//! let net = Net::new(named("mlp:64-32-10", train.shape(), 10)?)?;
//! let (theta, buffers) = initial(net.graph(), &Init::default(), Seed(1))?;
//! let mut training = Training::new(&net, theta, buffers, &train, Sampling { batch: 64, ..Sampling::default() })?;
//! let outcome = run(&AdaHessian::default(), &mut training, &Plan { steps: 44, ..Plan::default() })?;
//! let score = score(&net, &outcome.solution, training.buffers(), &test)?;
//! assert!(score.accuracy.unwrap() > 0.85);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "adahessian")]
pub use thalweg_adahessian as adahessian;
#[cfg(feature = "bilevel")]
pub use thalweg_bilevel as bilevel;
#[cfg(feature = "cbo")]
pub use thalweg_cbo as cbo;
pub use thalweg_comm as comm;
#[cfg(feature = "convex-relu")]
pub use thalweg_convex_relu as convex_relu;
pub use thalweg_core as core;
pub use thalweg_data as data;
pub use thalweg_linalg as linalg;
#[cfg(feature = "lipsdp")]
pub use thalweg_lipsdp as lipsdp;
#[cfg(feature = "mfac")]
pub use thalweg_mfac as mfac;
#[cfg(feature = "mkor")]
pub use thalweg_mkor as mkor;
pub use thalweg_net as net;
pub use thalweg_optim as optim;
pub use thalweg_plot as plot;
#[cfg(feature = "relax")]
pub use thalweg_relax as relax;
#[cfg(feature = "topo")]
pub use thalweg_topo as topo;

pub use thalweg_tasks as tasks;
#[cfg(feature = "lipsdp")]
pub use thalweg_tasks::certify;
#[cfg(feature = "topo")]
pub use thalweg_tasks::dag;
#[cfg(feature = "convex-relu")]
pub use thalweg_tasks::fit;
#[cfg(feature = "relax")]
pub use thalweg_tasks::linsolve;
#[cfg(feature = "cbo")]
pub use thalweg_tasks::minimize;
#[cfg(feature = "mfac")]
pub use thalweg_tasks::prune;
pub use thalweg_tasks::train;
