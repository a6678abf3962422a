//! What a user wants done, from settings to outcome: the jobs behind the `thalweg` program, the library and
//! the Python package.
//!
//! Every job takes its settings, a run folder if it shall write one ([`Folder`]), and a [`Host`]: who looks
//! on, who may interrupt, how long it may take. It never prints, exits or knows a terminal.
#![forbid(unsafe_code)]

#[cfg(feature = "bilevel")]
pub mod bilevel;
#[cfg(feature = "lipsdp")]
pub mod certify;
#[cfg(feature = "topo")]
pub mod dag;
mod error;
pub mod evaluate;
mod finding;
#[cfg(feature = "convex-relu")]
pub mod fit;
pub mod folder;
mod host;
#[cfg(feature = "relax")]
pub mod linsolve;
mod marks;
#[cfg(feature = "cbo")]
pub mod minimize;
pub mod model;
#[cfg(feature = "mfac")]
pub mod prune;
pub mod settings;
pub mod source;
pub mod train;

pub use error::{Context, Fault, Result, TaskError};
pub use finding::Finding;
pub use folder::{Folder, Opening};
pub use host::{Driver, Host, Watcher};
pub use marks::Marks;
