//! Readers for the field's data formats and the embedded samples
