//! All integration tests of the crate in one program, which compiles its generics once.

mod common;
mod factor;
mod knee;
mod method;
mod settings;
