//! All integration tests of the crate in one program, which compiles its generics once.

mod behaviour;
mod common;
mod oracles;
mod peer;
mod settings;
