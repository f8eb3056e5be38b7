//! The seam between transactions and bytes, for tests and for other backends.

use std::io;

use super::map::Region;

/// A growable array of bytes that can be written, synced and mapped.
///
/// One writer at a time calls `write_at`, `sync` and `set_len`; any thread may call the others. Bytes that were written
/// show in every region at once. What a power cut leaves of writes after the last `sync` is anybody's guess.
pub(crate) trait Store: Send + Sync + 'static {
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `bytes` from `at` on; an error if the store ends before.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `at`. Pages that a pinned snapshot can see are never written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// A sync is next, after some more writes: the disk may begin with what was written to this range. Never waits for it. If it fails,
    /// the sync says so.
    fn begin_sync(&self, at: u64, len: u64);

    /// Returns once everything written before is durable, the length included.
    fn sync(&self) -> io::Result<()>;

    /// Grows, with zeros for which there is room on the disk, or cuts off the end.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Writes bytes that are there already, for a disk that may not have got them the first time.
    fn rewrite(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Makes the next write to a range that was never written as cheap to sync as any later one. The range stays zero.
    fn ready(&self, at: u64, len: u64) -> io::Result<()>;

    /// Maps the first `len` bytes, of which not all need exist yet.
    fn region(&self, len: u64) -> io::Result<Region>;

    /// What stays the same as long as unsynced writes survive the death of the process, if there is such a thing.
    fn boot_id(&self) -> Option<[u8; 16]>;
}
