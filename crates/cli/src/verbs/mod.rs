//! One file per verb: parse, call the task, print, say how it ended.

pub mod bilevel;
pub mod dag;
pub mod evaluate;
pub mod linsolve;
pub mod prune;
pub mod tour;
pub mod train;
