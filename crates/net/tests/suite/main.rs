//! All integration tests of the crate in one program, which compiles its generics once.

mod capabilities;
mod common;
mod derivatives;
mod files;
mod fixtures;
mod nets;
mod stats;
