//! Problems to solve: closed forms, and tasks of the field.

pub mod toys;
