//! Models whose training is a convex program: [`convex_relu`] fits a two-layer ReLU network with a certified gap
//! to the global optimum.

mod beta;
mod check;
mod compare;
mod data;
mod job;
mod network;
mod report;
mod robustness;
mod settings;
pub mod tour;
pub mod words;

pub use beta::{ChosenBeta, choose_beta};
pub use compare::Row;
pub use data::Data;
use job::patterns;
pub use job::{MODEL, Outcome, SamplingBound, Summary, convex_relu, fit_data};
pub use network::model;
pub use robustness::Withstood;
pub use settings::Settings;
