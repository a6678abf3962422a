//! Networks and their derivatives: gradients, exact Hessian-vector products on the same batch,
//! Jacobian products, layer statistics; parameters in ONE flat buffer with named blocks.

mod arch;
mod describe;
mod error;
mod flat_grads;
mod fold;
mod graph;
mod init;
pub mod kernel;
mod layer;
mod loss;
mod mask;
mod model;
mod num;
mod pass;
mod planes;
mod preprocess;
mod stats;

pub use arch::{arch_or_file, default_init, named};
pub use error::NetError;
pub use flat_grads::FlatGrads;
pub use fold::fold;
pub use graph::{Act, Graph, Node, Op};
pub use init::{Init, initial};
pub use layer::Mode;
pub use loss::{Batch, Loss, Targets, sample_labels};
pub use mask::Mask;
pub use model::Model;
pub use pass::{Directions, Net, Pass};
pub use preprocess::Preprocess;
pub use stats::Gather;
