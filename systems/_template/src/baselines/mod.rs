//! Other people's methods, each in a file of its name.

mod fixed;

pub use fixed::Fixed;
