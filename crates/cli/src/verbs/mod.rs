//! One file per verb: parse, call the task, print, say how it ended.

pub mod bilevel;
pub mod certify;
pub mod dag;
pub mod evaluate;
pub mod fit;
pub mod linsolve;
pub mod minimize;
pub mod prune;
pub mod tour;
pub mod train;
