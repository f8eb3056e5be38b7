//! An embedded, ordered, transactional key-value store in one memory-mapped file.
//!
//! Reads walk a read-only memory map of the file and lend `&[u8]` straight out of it: no copy, no cache, no lock. One writer at a
//! time builds new pages beside the old ones, writes them and a meta slot that names them, and as a rule syncs both at once. So
//! readers never wait, a snapshot never changes, and a crash leaves the last commit or the one in flight, whole.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("library.folio");
//! let db = folio::Database::open(path)?;
//!
//! db.exec(|txn| {
//!     txn.bucket_mut("users")?.put("id:100", "Alice")?;
//!     txn.bucket_mut("stats")?.put("total", "1")
//! })?; // both buckets, one sync
//!
//! db.view(|txn| {
//!     let users = txn.bucket("users")?.expect("created above");
//!     for entry in users.range("id:"..) {
//!         let (key, value) = entry?; // &[u8], no copy
//!         assert_eq!((key, value), (&b"id:100"[..], &b"Alice"[..]));
//!     }
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # The guide
//!
//! The chapters of the [guide]: [opening and options](guide::opening), [transactions](guide::transactions), [buckets and
//! ranges](guide::buckets), [durability and crashes](guide::durability), [long readers and diffs](guide::readers),
//! [backups](guide::backups), [errors](guide::errors), [tuning](guide::tuning), [the file format](guide::format), and [moving
//! from LMDB, redb or bbolt](guide::migrating).
//!
//! # What it promises
//!
//! - **P1** After a crash that lost, tore or reordered any of the writes not yet synced, the next open finds the last commit that was
//!   acknowledged as durable, or one that came after it, whole.
//! - **P2** No content of the file, however damaged, makes the library panic, loop, or read outside the map.
//! - **P3** A snapshot never changes while it is held. Readers do not wait for the writer, nor it for them.
//! - **P4** Every page is exactly one of meta, reachable, free, pending: nothing leaks.
//! - **P5** Opening takes constant time, however the file was closed.
//! - **P6** No mode corrupts. A relaxed commit may be lost in a power cut; what was synced before is not.
//! - **P7** A failed write or sync is reported, and what was durable stays so.
//! - **P8** Memory is bounded: a large write transaction spills, a read allocates nothing for each entry.
//!
//! # Why `Database::open` is safe
//!
//! A slice out of a memory map is sound only while nobody changes the bytes under it. folio sees to that: the file is
//! locked against other processes; a page that a pinned snapshot can reach is never written; the file is never cut below
//! a pinned snapshot; meta slots, the one thing that is overwritten, are not read through the map. The lock is advisory.
//! A program that writes into the file or cuts it without asking for the lock is outside this contract, as it is for every
//! database on a memory map. So is changing the file under a file system that does not keep `pwrite` and maps coherent. Who opens a
//! database without the lock ([`Options::no_lock`], which is unsafe) has to keep the others away instead.
//!
//! Outside the contract, too, is a child that was made by `fork` and uses slices that were borrowed before: what its parent had opened is
//! refused there ([`Error::Forked`]), but those are not, and their bytes change when the parent reuses the pages.
//!
//! And so is writing to a file that somebody forged, checksums and all, so that a page is in use and free at once, or in use twice:
//! the next commit may write what a reader holds. Reading such a file is safe, and [`Database::check`] tells it from a good one.
//!
//! Where the system cannot read what is mapped, there is neither an error nor a wrong byte: it ends the process by the signal `SIGBUS`. That
//! is so for a sector that the disk cannot read, for a network file system that is gone, and for a file that another program cut. It
//! is safe, as an abort is, and the price of reads without a copy. A full disk is none of these: folio has the blocks of the
//! file allocated before it writes to them.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | key | 0 to 1,984 bytes at 4 KiB pages, 4,032 at 8, 8,128 at 16, 16,320 at 32, 32,704 at 64 |
//! | value | 0 bytes to 1 TiB |
//! | bucket name | 1 to 255 bytes of UTF-8 |
//! | file | 2^40 pages: 4 PiB at 4 KiB; and no more than half of the address space, since the map keeps room to grow |
//! | readers | no limit, in any threads |
//! | writers | one at a time; others wait in line, or work optimistically and wait only to commit |
//! | savepoints | to any depth |
//! | processes | one that writes, or any number that only read |
//!
//! # The source in reading order
//!
//! `page` (the format; its module text is the specification), `tree` (B+trees over numbered pages), `disk` (files, memory, the map; the
//! only unsafe code), `txn` (snapshots, free space, the commit), `bucket` and `database` (the public face), `optimistic`
//! (transactions that may conflict), `diff` (what differs between two snapshots), `audit` (the check of a whole file), `inspect` (a look at the pages),
//! `backup` (copies).
//!
//! Two paths explain the rest. A read goes `Database::begin_read`, `txn::read`, `tree`, `page`, and ends in a slice of the map. A
//! write goes `Database::begin_write`, `txn::write`, `tree::put`, which makes pages dirty (`txn::dirty`) and edits them
//! (`page::leaf`), and ends in `txn::commit`.

mod audit;
mod backup;
mod bucket;
mod database;
mod diff;
pub mod disk;
mod error;
pub mod guide;
mod inspect;
mod optimistic;
mod options;
mod page;
mod tree;
mod txn;

pub use audit::{CheckReport, Interrupted, Problem, ProblemKind};
pub use backup::Backup;
pub use bucket::{Bucket, BucketMut, BucketStats, Cursor, Entry, EntryMut, Range};
pub use database::{Database, PinnedSnapshot, ReaderLabel, Stats};
pub use diff::{BucketChange, BucketDiff, Change, Diff};
pub use error::{Error, Result};
pub use inspect::{ChildInfo, EntryInfo, PageInfo, PageKind, PageMap, PageRun, TreePages};
pub use optimistic::{Isolation, OptimisticBucket, OptimisticBucketMut, OptimisticRange, OptimisticTxn};
pub use options::{Advice, Durability, Options, Verify};
pub use page::TxnId;
pub use tree::range::KeyRange;
pub use txn::read::ReadTxn;
pub use txn::recover::{PassedOver, PassedOverReason};
pub use txn::savepoint::Savepoint;
pub use txn::write::WriteTxn;

/// What only the fuzz targets call.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    /// Runs an input of the target `page`.
    pub fn page(input: &[u8]) {
        crate::page::fuzz::run(input);
    }
}

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDocTests;
