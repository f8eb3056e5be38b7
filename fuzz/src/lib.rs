//! What the fuzz targets do with an input. `tests/fuzz.rs` of the library runs the same over the corpus.

pub mod file;
pub mod input;
pub mod operations;
