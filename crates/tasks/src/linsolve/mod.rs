//! Linear systems by relaxation: [`solve`] one, [`scan()`] over ω, or solve a [`sequence()`] whose solver learns.

mod files;
mod keep;
mod natural;
mod pictures;
mod scan;
mod sequence;
mod solve;
mod system;
pub mod tour;

pub use natural::natural;
pub use scan::{Scan, ScanSettings, scan};
pub use sequence::{SequenceSettings, SequenceSummary, sequence};
pub use solve::{Solution, SolveSettings, SolveSummary, solve};
