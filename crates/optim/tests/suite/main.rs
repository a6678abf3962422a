//! All integration tests of the crate in one program, which compiles its generics once.

mod common;
mod curvature;
mod functions;
#[cfg(unix)]
mod programs;
mod reports;
mod same_bits;
mod schedule;
mod steps;
