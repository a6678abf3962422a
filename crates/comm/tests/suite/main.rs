//! All integration tests of the crate in one program; jobs of several processes have their own.

mod local;
