//! Removal of weights of a trained network: [`prune()`] does what the settings say.

mod job;
mod micro_batches;
mod report;
mod settings;
pub mod tour;

pub use job::{Job, Outcome, Row, prune};
pub use micro_batches::{MicroBatches, refreshed};
pub use report::{curves, table};
pub use settings::Settings;
