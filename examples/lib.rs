//! Programs that show one task each: `cargo run --release -p thalweg-examples --example train`.
#![forbid(unsafe_code)]
