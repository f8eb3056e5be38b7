//! Durability: what a commit waits for, and what a crash may take.
//!
//! Two things can happen to a program: it dies, or the machine under it does. When the program dies, what it has written is
//! still in the system's memory and reaches the disk in time. When the power goes, all is lost that was not *synced*.
//!
//! | commit | it waits for | a killed process takes | a power cut takes |
//! |---|---|---|---|
//! | [`Durable`](crate::Durability::Durable), the default | the disk: as a rule one `fdatasync` | nothing | nothing |
//! | [`Relaxed`](crate::Durability::Relaxed) | nothing | nothing on Linux; elsewhere what is not yet synced | the newest commits, those not yet synced |
//!
//! In both modes a commit is there whole or not at all, in the order of the commits: if one is lost, so are all later ones. No
//! mode damages the file. (What is lost with a killed process elsewhere is lost since only Linux tells whether the machine has
//! been up all the time.)
//!
//! A transaction that has not committed leaves no trace, whatever ends it: a drop, a panic, a kill, a power cut.
//!
//! # The promises
//!
//! - **P1** After a crash that lost, tore or reordered any of the writes not yet synced, the next open finds the last commit
//!   that was acknowledged as durable, or one that came after it, whole. Torn means: 512 bytes are written whole or not at all,
//!   and nothing more is asked of the disk.
//! - **P6** No mode corrupts. A relaxed commit may be lost in a power cut; what was synced before is not.
//! - **P7** A failed write or sync is reported, and what was durable stays so.
//!
//! They rest on one thing that no program can check: that the disk keeps what it has confirmed with `fdatasync`. There is no
//! recovery run. An open reads two meta slots, takes the newest one that it can trust, and writes nothing. If that is not the newest
//! that there is, because a power cut came in the middle of a commit or took relaxed ones, [`Database::passed_over`] says so, with both
//! transactions and the reason, and so do `folio stat` and `folio check`. A commit that was synced is never passed over: if it is
//! damaged so that it cannot be opened, that is [`Error::Corrupt`].
//!
//! # Choosing
//!
//! For the whole database with [`Options::durability`], for one commit with [`WriteTxn::commit_with`]. Many relaxed commits and
//! a durable one at the end of each step is a good pattern: a durable commit makes all before it durable, and so does
//! [`Database::sync`].
//!
//! ```
//! use folio::{Durability, Options};
//! # fn main() -> folio::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("a.folio");
//! let db = Options::new().durability(Durability::Relaxed).open(&path)?;
//! for n in 0..100u32 {
//!     db.exec(|txn| txn.bucket_mut("progress")?.put("done", n.to_be_bytes()))?; // does not wait for the disk
//! }
//! assert!(db.durable_id() < db.stats()?.txn_id);
//! db.sync()?; // now all of it is on the disk
//! assert_eq!(db.durable_id(), db.stats()?.txn_id);
//!
//! let mut txn = db.begin_write()?;
//! txn.bucket_mut("receipts")?.put("1", "paid")?;
//! txn.commit_with(Durability::Durable)?; // this one waits
//! # Ok(())
//! # }
//! ```
//!
//! Relaxed commits sync by themselves, too: the one that brings what is not yet synced to [`Options::sync_bytes`], 64 MiB by
//! default, and the one that comes [`Options::sync_interval`] after the last sync, if that is set. And closing a database that
//! has been written to syncs. There is no background thread: between commits nothing is synced.
//!
//! A program that opens a file, puts an entry and closes it again waits for three syncs: the first write transaction after opening
//! makes sure that what it found is on the disk, the commit syncs, and so does closing. So keep a database open for as long as the
//! program runs.
//!
//! # Waiting later
//!
//! A commit answers its id; inside `exec` and `batch` it is that of `txn.id()`. [`Database::wait_durable`] returns when the
//! transaction of that id is durable, and all before it. If it is not yet, one of the threads that wait syncs for all of them.
//! So a program can commit relaxed, go on, and wait only before it tells the world. [`Database::durable_id`] tells without
//! waiting how far it is.
//!
//! To make relaxed commits durable takes two syncs, however many they are: one for their pages, one for the meta that says so.
//! A durable commit right after a durable one takes one. So for each commit by itself a durable one is the faster way.
//!
//! ```
//! use folio::Durability;
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! let mut txn = db.begin_write()?;
//! txn.bucket_mut("orders")?.put("1", "paid")?;
//! let id = txn.commit_with(Durability::Relaxed)?; // others may write at once
//! assert!(db.durable_id() < id);
//! db.wait_durable(id)?; // before the receipt goes out
//! assert!(db.durable_id() >= id);
//! # Ok(())
//! # }
//! ```
//!
//! If many threads each wait for a durable commit, [`Database::batch`] gives them one sync together, and loses nothing: see
//! [transactions](super::transactions).
//!
//! # A power cut, tried out
//!
//! [`MemoryStore`] is a disk in memory with a log of what was written and synced. It makes what a real disk might hold after a
//! power cut, so your tests can cut the power of your program as folio's tests cut its own.
//!
//! ```
//! use folio::{Durability, Options, disk::MemoryStore};
//! # fn main() -> folio::Result<()> {
//! let disk = MemoryStore::new();
//! disk.set_boot_id([1; 16]);
//! let db = Options::new().open_store(&disk)?;
//! disk.record();
//! db.exec(|txn| txn.bucket_mut("orders")?.put("1", "durable"))?;
//! let mut txn = db.begin_write()?;
//! txn.bucket_mut("orders")?.put("2", "relaxed")?;
//! txn.commit_with(Durability::Relaxed)?;
//!
//! let orders_after = |image: Vec<u8>, boot_id| -> folio::Result<u64> {
//!     let disk = MemoryStore::with_image(&image);
//!     disk.set_boot_id(boot_id);
//!     let db = Options::new().open_store(&disk)?;
//!     assert!(db.check()?.is_ok());
//!     db.view(|txn| Ok(txn.bucket("orders")?.map_or(0, |orders| orders.len())))
//! };
//! // The process is killed; the machine, and what the system keeps in memory, lives on.
//! assert_eq!(orders_after(disk.image(), [1; 16])?, 2);
//! // The power goes, and with it all that was not synced. The machine starts anew.
//! assert_eq!(orders_after(disk.crash(disk.operation_count(), |_| false), [2; 16])?, 1);
//! // The same, but by chance everything had reached the disk. Nothing vouches for it, so it does not count.
//! assert_eq!(orders_after(disk.crash(disk.operation_count(), |_| true), [2; 16])?, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # When the disk fails
//!
//! A write that fails before the meta is written, because the disk is full for instance, is [`Error::Io`]: the transaction is
//! gone and all else as before. Go on writing when there is room.
//!
//! After a failed sync, or a failed write of the meta, nobody knows what the disk holds. The commit answers [`Error::Io`],
//! later write transactions [`Error::Failed`], and reads go on. Open the database anew: it finds the state before that commit
//! or the one after it, whole. It does not try the sync again, since many systems answer a second sync with success though the
//! pages are lost.
//!
//! ```
//! use folio::{Error, Options, disk::{Failure, MemoryStore}};
//! # fn main() -> folio::Result<()> {
//! let disk = MemoryStore::new();
//! let db = Options::new().open_store(&disk)?;
//! db.exec(|txn| txn.bucket_mut("a")?.put("1", ""))?;
//! # let calls = disk.call_count();
//! # db.exec(|txn| txn.bucket_mut("a")?.put("1", ""))?;
//! # let the_sync = disk.call_count() - calls;
//! disk.fail(the_sync, Failure::SyncDrops);
//! assert!(matches!(db.exec(|txn| txn.bucket_mut("a")?.put("2", "")), Err(Error::Io { .. })));
//! assert!(matches!(db.begin_write(), Err(Error::Failed)));
//! assert_eq!(db.begin_read()?.bucket("a")?.expect("made above").len(), 1); // readers go on
//!
//! drop(db);
//! let db = Options::new().open_store(&disk)?;
//! db.exec(|txn| txn.bucket_mut("a")?.put("3", ""))?;
//! assert!(db.begin_read()?.bucket("a")?.expect("made above").contains("1")?);
//! # Ok(())
//! # }
//! ```
//!
//! [`Database::batch`]: crate::Database::batch
//! [`Database::durable_id`]: crate::Database::durable_id
//! [`Database::sync`]: crate::Database::sync
//! [`Database::wait_durable`]: crate::Database::wait_durable
//! [`Error::Corrupt`]: crate::Error::Corrupt
//! [`Error::Failed`]: crate::Error::Failed
//! [`Error::Io`]: crate::Error::Io
//! [`MemoryStore`]: crate::disk::MemoryStore
//! [`Options::durability`]: crate::Options::durability
//! [`Options::sync_bytes`]: crate::Options::sync_bytes
//! [`Options::sync_interval`]: crate::Options::sync_interval
//! [`Database::passed_over`]: crate::Database::passed_over
//! [`WriteTxn::commit_with`]: crate::WriteTxn::commit_with
