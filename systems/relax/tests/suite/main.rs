//! All integration tests of the crate in one program, which compiles its generics once.

mod fixtures;
mod lessons;
mod oracles;
mod truth;
