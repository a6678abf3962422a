//! All integration tests of the crate in one program, which compiles its generics once.

mod common;
mod dense;
mod iterative;
mod quasi_newton;
mod sparse;
mod vector;
