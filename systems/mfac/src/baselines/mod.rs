//! The published way to the same products.

mod recursion;

pub use recursion::Recursion;
