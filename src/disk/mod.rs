//! Where the bytes are: [`store`] is the seam, [`file`] and [`memory`] are behind it, [`map`] is how pages are read.

pub(crate) mod file;
pub(crate) mod map;
pub(crate) mod memory;
pub(crate) mod store;
