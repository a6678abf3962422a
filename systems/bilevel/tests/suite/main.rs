//! All integration tests of the crate in one program, which compiles its generics once.

mod baselines;
mod oracles;
mod scales;
mod tasks;
