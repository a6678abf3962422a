//! The vocabulary of Thalweg. Three things are kept apart: **the method is its hyper-parameters;
//! the problem is what the user has; the state is what changes.**
//!
//! [`Method`] moves a state over a [`Problem`] (for instance an [`Objective`]); the driver loops,
//! asks the stopping rules, tells the observers and writes checkpoints.
#![forbid(unsafe_code)]

mod checkpoint;
mod drive;
mod error;
mod interrupt;
mod layers;
mod layout;
mod method;
pub mod named;
mod observe;
mod problem;
mod real;
mod record;
mod run;
mod seed;
mod stop;

pub use checkpoint::{Checkpoint, CheckpointError, Checkpointer, Every, replace_file};
pub use drive::Drive;
pub use error::{Invalid, MethodError};
pub use interrupt::Interrupt;
pub use layers::{LayerStats, Layered, SecondMoments};
pub use layout::{Block, Kind, Layout};
pub use method::{Iterate, Method, Progress};
pub use named::NamedError;
pub use observe::{Meter, Observe, Tick};
pub use problem::{Objective, Problem};
pub use real::Real;
pub use record::Recorder;
pub use run::{BoxError, Outcome, Run, RunError};
pub use seed::{Seed, normal, rademacher};
pub use stop::{Stop, StopReason};

#[doc(hidden)]
pub use serde as __serde;
#[doc(hidden)]
pub use serde_json as __json;
