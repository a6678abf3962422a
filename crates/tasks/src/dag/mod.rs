//! Directed acyclic graphs from data: [`fit`] learns one, [`polish`] improves that of another method,
//! [`exact`] finds the best of all, [`evaluate`] compares with the truth, [`simulate`] makes data to try
//! methods on.

mod continuous;
mod evaluate;
mod job;
pub mod picture;
mod report;
mod settings;
mod simulate;
pub mod table;
mod tetrad;
pub mod tour;
mod write;

pub use evaluate::{Evaluation, EvaluationSettings, evaluate};
pub use job::{Improvement, LearnedGraph, exact, fit, polish};
pub use settings::{MethodName, PenaltyName, ScoreName, Settings, Start};
pub use simulate::{Simulated, SimulationSettings, simulate};
