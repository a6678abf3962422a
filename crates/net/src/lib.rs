//! Networks and their derivatives: gradients, exact Hessian-vector products on the same batch,
//! Jacobian products, layer statistics; parameters in ONE flat buffer with named blocks.
//!
//! A [`Graph`] of operations ([`Op`]) says what the network is; a [`Net`] is that graph ready to compute
//! in `f32` or `f64`; a [`Pass`] is the workspace that does it. The numbers are the caller's: parameters
//! θ, running statistics and a [`Batch`] come as slices.
//!
//! ```
//! use thalweg_core::Seed;
//! use thalweg_net::{Batch, Init, Mode, Net, Pass, Targets, initial, named};
//!
//! let graph = named("mlp:2-8-3:tanh", &[2], 3)?;
//! let (theta, buffers) = initial::<f32>(&graph, &Init::PyTorch, Seed(1))?;
//! let (net, mut pass) = (Net::new(graph)?, Pass::default());
//! let batch = Batch { x: &[0.5, -1.0, 0.2, 0.7], targets: Targets::Classes(&[1, 2]), weights: None };
//! let mut gradient = vec![0.0; theta.len()];
//! let loss = pass.loss_grad(&net, &theta, &buffers, &batch, Mode::train(), &mut gradient)?;
//! // H·z for the direction z = θ, exact and in one pass with the gradient.
//! let mut product = [vec![0.0; theta.len()]];
//! let (probes, mode) = ([&theta[..]], Mode::train());
//! let same = pass.loss_grad_hvp(&net, &theta, &buffers, &batch, mode, &mut gradient, &probes, &mut product)?;
//! assert!((loss - same).abs() < 1e-6);
//! # Ok::<(), thalweg_net::NetError>(())
//! ```
//!
//! **What else.** [`named`] architectures and descriptions in TOML ([`Graph::from_toml`]); [`Model`] files
//! (safetensors, readable by PyTorch); [`Preprocess`] of raw inputs; [`fold()`]ing of batch norm; [`Mask`]s of
//! pruned weights; gradients of micro-batches as rows ([`FlatGrads`]); statistics of layers for curvature
//! ([`Gather`]).
//!
//! **How it differentiates.** By instantiation: each layer is written once over a number type, and runs
//! with plain numbers (values, gradients) or with dual numbers (their derivatives along a direction:
//! forward over reverse, Pearlmutter 1994).
//!
//! **Where to read.** `op.rs`, the list of operations; `layer/scale.rs`, the smallest layer with a parameter;
//! `layer/mod.rs`, what a layer is and how to add one; `pass/mod.rs` and `pass/backward.rs`, the walk through
//! the graph; `num.rs`, dual numbers. The loops that take the time are in [`kernel`], the only place with
//! unsafe code.

#![deny(unsafe_code)]

mod arch;
mod describe;
mod error;
mod flat_grads;
mod fold;
mod graph;
mod init;
#[allow(unsafe_code, reason = "vector instructions, and tiles of one buffer written by several threads")]
pub mod kernel;
mod layer;
mod loops;
mod loss;
mod mask;
mod model;
mod net;
mod num;
mod op;
mod pass;
mod planes;
mod preprocess;
mod stats;

pub use arch::{arch_or_file, default_init, named};
pub use error::NetError;
pub use flat_grads::FlatGrads;
pub use fold::fold;
pub use graph::{Graph, Node};
pub use init::{Init, initial};
pub use layer::{Act, Mode};
pub use loss::{Batch, Loss, Targets, sample_labels};
pub use mask::Mask;
pub use model::{Model, Tensor, tensors};
pub use net::Net;
pub use op::Op;
pub use pass::{Directions, Pass};
pub use preprocess::{Normalize, Preprocess};
pub use stats::Gather;
