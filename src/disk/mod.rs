//! Where the bytes are. [`MemoryStore`] keeps a database in memory and simulates crashes and failures, for your tests as for
//! folio's own; files are opened with [`crate::Options::open`].

pub(crate) mod file;
pub(crate) mod map;
mod memory;
pub(crate) mod store;

pub use memory::{Failure, MemoryStore, SECTOR_LEN, Unsynced};
