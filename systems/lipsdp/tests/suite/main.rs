//! All integration tests of the crate in one program, which compiles its generics once.

mod edges;
mod networks;
mod operators;
mod oracles;
mod shared;
mod soundness;
