//! All integration tests of the crate in one program, which compiles its generics once.

#[path = "../common/mod.rs"]
mod common;
mod oracles;
mod shared;
mod soundness;
