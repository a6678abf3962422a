//! The vocabulary of Thalweg. Three things are kept apart: **the method is its hyper-parameters;
//! the problem is what the user has; the state is what changes.**
//!
//! [`Method`] moves a state over a [`Problem`] (for instance an [`Objective`]); the driver loops,
//! asks the stopping rules, tells the observers and writes checkpoints.
#![forbid(unsafe_code)]

mod error;
mod layout;
mod method;
mod problem;
mod real;
mod seed;

pub use error::{Invalid, MethodError};
pub use layout::{Block, Kind, Layout};
pub use method::{Method, Progress};
pub use problem::{Objective, Problem};
pub use real::Real;
pub use seed::{Seed, normal, rademacher};
