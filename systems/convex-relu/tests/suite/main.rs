//! All integration tests of the crate in one program, which compiles its generics once.

mod common;
mod errors;
mod hand;
mod oracles;
mod patterns;
mod reference;
