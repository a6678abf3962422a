//! Networks and their derivatives: gradients, exact Hessian-vector products on the same batch,
//! Jacobian products, layer statistics; parameters in ONE flat buffer with named blocks.

mod error;
mod graph;
pub mod kernel;
mod layer;
mod loss;
mod num;
mod pass;
mod planes;
mod tap;

pub use error::NetError;
pub use graph::{Act, Graph, Node, Op};
pub use layer::Mode;
pub use loss::{Batch, Loss, Targets, sample_labels};
pub use pass::{Directions, Net, Pass};
pub use tap::Tap;
