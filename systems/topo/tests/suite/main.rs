//! All integration tests of the crate in one program, which compiles its generics once.

mod common;
mod oracles;
mod shared;
mod truth;
