//! All integration tests of the crate in one program, which compiles its generics once.

mod arrays;
mod cases;
mod common;
mod dialects;
mod formats;
mod malformed;
mod market;
mod parts;
