//! Opening a database, its options, and who may have it open.
//!
//! A database is one file. There is no second file beside it: no log, no lock file, no directory.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("library.folio");
//! let db = folio::Database::open(&path)?; // made, if there is none
//! db.exec(|txn| txn.bucket_mut("books")?.put("1984", "Orwell"))?;
//! # Ok(())
//! # }
//! ```
//!
//! A new database appears whole or not at all: it is written under a temporary name, synced, and named. What a process leaves that dies
//! before that, under the beginning of the name with `.new-` and some digits, the next opening for writing removes. An empty file becomes
//! a database where it is, mounted or not, whatever its directory permits, and stays as good as empty until that is done. A file that holds
//! something else is refused ([`Error::NotADatabase`]) and left as it is.
//!
//! The directory is synced, too, so that the name survives a power cut: unless the file system has no such thing, or the directory may not be
//! read. Then it is up to the system when the name is durable.
//!
//! Opening takes constant time, however large the file is and however it was closed. There is no recovery run. The first
//! *write* after opening reads the list of free space, which takes longer the more fragments there are.
//!
//! # Options
//!
//! [`Options`] is a chain that ends with [`Options::open`]. The defaults are good for most programs.
//!
//! ```
//! use folio::{Durability, Options};
//! # fn main() -> folio::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("cache.folio");
//! let db = Options::new()
//!     .page_size(16 << 10)
//!     .durability(Durability::Relaxed)
//!     .max_size(1 << 30)
//!     .open(&path)?;
//! assert_eq!(db.stats()?.page_size, 16384);
//! # Ok(())
//! # }
//! ```
//!
//! | option | default | change it when |
//! |---|---|---|
//! | [`page_size`] | 4 KiB | keys are longer than 1,984 bytes, or values of some KiB are many. Fixed when the file is made: for an existing one it says nothing. |
//! | [`durability`] | durable | the newest commits may be lost in a power cut: [durability](super::durability) |
//! | [`sync_bytes`] | 64 MiB | relaxed commits should be synced more or less often |
//! | [`sync_interval`] | never | relaxed commits should be synced at least this often, while there are commits |
//! | [`dirty_limit`] | 256 MiB | a large write transaction should take less memory, or may take more |
//! | [`max_size`] | no limit | the file must not grow past some size: then [`Error::Full`] |
//! | [`read_only`] | no | several processes are to read, or nothing may be written |
//! | [`create`] | yes | a missing file is a mistake |
//! | [`verify`] | once | you suspect the memory or the disk, or trust them wholly |
//! | [`advice`] | normal | the file is larger than memory and the reads are all random, or all scans |
//! | [`prefault`] | no | the first reads after opening should not wait for the disk |
//! | [`no_lock`] | with the lock | the file system has no locks |
//! | [`lock_timeout`] | none | another process is about to close the file |
//!
//! An option that cannot be is [`Error::InvalidOption`], which names it, or [`Error::PageSize`].
//!
//! # Several handles in one process
//!
//! [`Database`] is a handle. It is cheap to clone and can be shared between threads. Opening the same file again in the same
//! process gives another handle to the same database, whatever name or link it was opened under. Durability and `read_only`
//! belong to the handle; the other options are those of the first opening, and asking for others is an error:
//!
//! ```
//! use folio::{Database, Error, Options};
//! # fn main() -> folio::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("a.folio");
//! let first = Database::open(&path)?;
//! let second = Database::open(&path)?;
//! first.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
//! assert!(second.begin_read()?.bucket("a")?.is_some()); // the same database
//!
//! let refused = Options::new().max_size(1 << 30).open(&path);
//! assert!(matches!(refused, Err(Error::InvalidOption { option: "max_size", .. })));
//! # Ok(())
//! # }
//! ```
//!
//! The database is closed when the last handle and the last transaction are gone. Closing makes relaxed commits durable. It has
//! nobody to report an error to: if you must know, call [`Database::sync`] before.
//!
//! # Several processes
//!
//! One process may have the file open for writing, and then no other may have it open at all. Or any number may have it open
//! with [`Options::read_only`]. The others get [`Error::Locked`]: at once, or after [`Options::lock_timeout`]. The lock is an
//! advisory one (`flock`). It goes with the process, so there is nothing to clean up after a crash. Some network and FUSE file systems have
//! no locks. There opening is [`Error::LockUnsupported`], unless [`Options::no_lock`] does without: then nothing but you keeps other
//! processes away, and the option says what from.
//!
//! A read-only opening writes nothing, not even after a crash, and needs no right to write.
//!
//! ```
//! use folio::{Database, Error, Options};
//! # fn main() -> folio::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("a.folio");
//! # drop(Database::open(&path)?);
//! let db = Options::new().read_only(true).open(&path)?;
//! assert!(matches!(db.begin_write(), Err(Error::ReadOnly)));
//! # Ok(())
//! # }
//! ```
//!
//! A child that was made by `fork` shares the file and the lock with its parent, but not the table of readers. Used there, what was
//! opened or begun before the fork returns [`Error::Forked`]: where a transaction begins, opens a bucket, or commits. A
//! [`Bucket`], an iterator and a borrowed slice are not asked again, for that would cost every lookup. Do not use those in the child: nobody
//! holds their pages for it, so their bytes change when the parent reuses the pages. Drop it all there and open the database anew when the parent
//! has closed it; or fork first. A child that calls `exec`, as [`std::process::Command`] makes it, changes nothing.
//!
//! The C library tells of a fork, and so does Linux since 4.14. Of a child that a program makes past the C library, by a bare
//! `clone`, an older kernel or a sandbox may not tell: then only what would write is refused there.
//!
//! # In memory
//!
//! [`Database::in_memory`] needs no file. It does all that a file does, and is gone with its last handle. [`MemoryStore`] is
//! the disk under it: keep it, and the database can be opened again. It can also cut the power and fail calls, for tests of
//! your own: see [durability](super::durability).
//!
//! ```
//! use folio::{Options, disk::MemoryStore};
//! # fn main() -> folio::Result<()> {
//! let disk = MemoryStore::new();
//! let db = Options::new().open_store(&disk)?;
//! db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
//! drop(db);
//! let db = Options::new().open_store(&disk)?;
//! assert!(db.begin_read()?.bucket("a")?.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! [`Bucket`]: crate::Bucket
//! [`Database`]: crate::Database
//! [`Database::in_memory`]: crate::Database::in_memory
//! [`Database::sync`]: crate::Database::sync
//! [`Error::Forked`]: crate::Error::Forked
//! [`Error::Full`]: crate::Error::Full
//! [`Error::InvalidOption`]: crate::Error::InvalidOption
//! [`Error::Locked`]: crate::Error::Locked
//! [`Error::NotADatabase`]: crate::Error::NotADatabase
//! [`Error::PageSize`]: crate::Error::PageSize
//! [`MemoryStore`]: crate::disk::MemoryStore
//! [`Error::LockUnsupported`]: crate::Error::LockUnsupported
//! [`Options`]: crate::Options
//! [`Options::no_lock`]: crate::Options::no_lock
//! [`Options::lock_timeout`]: crate::Options::lock_timeout
//! [`Options::open`]: crate::Options::open
//! [`Options::read_only`]: crate::Options::read_only
//! [`advice`]: crate::Options::advice
//! [`create`]: crate::Options::create
//! [`sync_interval`]: crate::Options::sync_interval
//! [`dirty_limit`]: crate::Options::dirty_limit
//! [`durability`]: crate::Options::durability
//! [`no_lock`]: crate::Options::no_lock
//! [`lock_timeout`]: crate::Options::lock_timeout
//! [`max_size`]: crate::Options::max_size
//! [`page_size`]: crate::Options::page_size
//! [`prefault`]: crate::Options::prefault
//! [`read_only`]: crate::Options::read_only
//! [`sync_bytes`]: crate::Options::sync_bytes
//! [`verify`]: crate::Options::verify
