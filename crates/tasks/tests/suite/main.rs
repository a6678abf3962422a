//! Training from the library: results, resumed runs, several ranks.

mod parallel;
mod training;
