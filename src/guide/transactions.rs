//! Transactions: read, write, nested, shared, optimistic.
//!
//! Every read and every change belongs to a transaction. A read transaction sees one committed state of the whole database, its
//! *snapshot*, and nothing else. A write transaction sees its own changes at once; all others see them, in all buckets
//! together, when it commits.
//!
//! | you want | use | waits for |
//! |---|---|---|
//! | to read | [`begin_read`], [`view`] | nobody |
//! | to write | [`begin_write`], [`exec`] | the writer before it, and for a durable commit the disk |
//! | to undo a part of what a transaction did | [`savepoint`], [`nested`] | |
//! | many threads that each write a little | [`batch`] | the same, but one sync serves all |
//! | to compute for long, then write little | [`begin_optimistic`], [`exec_optimistic`] | others only to commit, and may have to run again |
//!
//! # Reading
//!
//! [`view`] runs a closure on a snapshot. [`begin_read`] hands you the transaction itself. It takes no lock, belongs to no
//! thread, and can be sent, shared and cloned. There is no limit to their number. What it lends, keys and values, lives as long
//! as it does.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| txn.bucket_mut("users")?.put("id:1", "Alice"))?;
//! let before = db.begin_read()?;
//! db.exec(|txn| txn.bucket_mut("users")?.put("id:1", "Bob"))?;
//!
//! let name = |txn: &folio::ReadTxn| txn.bucket("users")?.expect("made above").get("id:1").map(|name| name.map(<[u8]>::to_vec));
//! assert_eq!(name(&before)?.as_deref(), Some(&b"Alice"[..])); // still
//! assert_eq!(db.view(|txn| name(txn))?.as_deref(), Some(&b"Bob"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! A snapshot that is held for long keeps its pages from being reused: see [readers](super::readers).
//!
//! # Writing
//!
//! There is one write transaction at a time; others wait in line. [`exec`] runs a closure and commits if it answers `Ok`. After
//! an `Err` or a panic nothing has happened. [`begin_write`] leaves the end to you: [`commit`], or drop it to abort.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! let mut txn = db.begin_write()?;
//! txn.bucket_mut("accounts")?.put("ann", 70u64.to_be_bytes())?;
//! txn.bucket_mut("accounts")?.put("bob", 30u64.to_be_bytes())?;
//! txn.bucket_mut("log")?.put("1", "ann gave bob 30")?;
//! let id = txn.commit()?; // both buckets, one sync
//! assert_eq!(db.begin_read()?.id(), id);
//! # Ok(())
//! # }
//! ```
//!
//! A thread that begins a second write transaction while it holds one waits for itself, for ever. [`try_begin_write`] answers
//! `None` instead. A transaction may begin in one thread and go on in another, as in an async program. Use it in the new
//! thread before anything there waits for it: until then nobody can know where it is, and [`Error::WriteTxnOpen`] may come a
//! second late, or never. A write transaction of any size is fine: past [`dirty_limit`] it spills to free places in the file.
//!
//! An error of your own goes through `exec` and `view` as [`Error::other`].
//!
//! # Savepoints: to undo a part
//!
//! [`nested`] runs a closure as a transaction within the transaction. If it answers `Err` or panics, its changes are taken
//! back, and only those. [`savepoint`] and [`rollback_to`] are the same by hand. They nest to any depth, and cover entries,
//! buckets and large values alike. To take one costs next to nothing; to go back costs what was changed since.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| {
//!     for line in ["a=1", "nonsense", "c=3"] {
//!         let put = txn.nested(|txn| {
//!             txn.bucket_mut("lines")?.put(line, "")?;
//!             let (key, value) = line.split_once('=').ok_or_else(|| folio::Error::other("no ="))?;
//!             txn.bucket_mut("settings")?.put(key, value)
//!         });
//!         match put {
//!             Err(folio::Error::Other(_)) => txn.bucket_mut("rejected")?.put(line, "")?,
//!             done => done?,
//!         }
//!     }
//!     let savepoint = txn.savepoint()?;
//!     txn.drop_bucket("settings")?;
//!     txn.rollback_to(&savepoint) // it is back
//! })?;
//! let txn = db.begin_read()?;
//! let len = |name| txn.bucket(name).map(|bucket| bucket.map_or(0, |bucket| bucket.len()));
//! assert_eq!((len("settings")?, len("lines")?, len("rejected")?), (2, 2, 1));
//! # Ok(())
//! # }
//! ```
//!
//! A savepoint belongs to its transaction, and ends with it. To compare or read a state from before a *commit*, hold a read
//! transaction.
//!
//! # Group commit: many threads, one sync
//!
//! What a small durable commit costs is the sync. [`batch`] lets transactions of many threads share one. The thread that comes
//! first runs the closures of all who come meanwhile, one after the other in the same write transaction, and commits; each
//! `batch` returns when what it did is committed. A closure that fails or panics takes back itself and nobody else. Each runs once, and
//! owns what it needs, since another thread may run it. Alone it is an `exec`.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! std::thread::scope(|scope| {
//!     for order in 0..16u32 {
//!         let db = &db;
//!         scope.spawn(move || db.batch(move |txn| txn.bucket_mut("orders")?.put(order.to_be_bytes(), "paid")));
//!     }
//! });
//! assert_eq!(db.begin_read()?.bucket("orders")?.expect("made above").len(), 16);
//! assert!(db.stats()?.commits <= 16); // as many as it took
//! # Ok(())
//! # }
//! ```
//!
//! # Optimistic transactions: first to commit wins
//!
//! An [`OptimisticTxn`] works on a snapshot, and others may write meanwhile. What it writes is kept in memory. Its commit
//! compares what it has read and written with the newest state. If another transaction has changed any of that, the answer is
//! [`Error::Conflict`], which names the bucket and the key, and nothing has happened. Otherwise it is applied, in a group
//! commit.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! # db.exec(|txn| txn.bucket_mut("stock")?.put("tea", 5u64.to_be_bytes()))?;
//! // Runs again after a conflict, up to ten times.
//! db.exec_optimistic(10, |txn| {
//!     let mut stock = txn.bucket_mut("stock")?;
//!     let left = stock.get("tea")?.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().expect("8 bytes")));
//!     stock.put("tea", (left - 1).to_be_bytes())
//! })?;
//! # assert_eq!(db.begin_read()?.bucket("stock")?.unwrap().get("tea")?, Some(&4u64.to_be_bytes()[..]));
//! # Ok(())
//! # }
//! ```
//!
//! By default this is serializable: ranges that were walked count as read, as far as they were walked, and so do keys that were
//! not there. [`Isolation::Snapshot`] checks only what was written. It has fewer conflicts, and allows write skew: two
//! transactions that each read what the other one writes may both commit.
//!
//! Use it where work between the read and the write is long, and conflicts are rare. Where many change the same few keys,
//! `batch` is better: it never has to run anything again.
//!
//! [`Error::Conflict`]: crate::Error::Conflict
//! [`Error::WriteTxnOpen`]: crate::Error::WriteTxnOpen
//! [`Error::other`]: crate::Error::other
//! [`Isolation::Snapshot`]: crate::Isolation::Snapshot
//! [`OptimisticTxn`]: crate::OptimisticTxn
//! [`batch`]: crate::Database::batch
//! [`begin_optimistic`]: crate::Database::begin_optimistic
//! [`begin_read`]: crate::Database::begin_read
//! [`begin_write`]: crate::Database::begin_write
//! [`commit`]: crate::WriteTxn::commit
//! [`dirty_limit`]: crate::Options::dirty_limit
//! [`exec`]: crate::Database::exec
//! [`exec_optimistic`]: crate::Database::exec_optimistic
//! [`nested`]: crate::WriteTxn::nested
//! [`rollback_to`]: crate::WriteTxn::rollback_to
//! [`savepoint`]: crate::WriteTxn::savepoint
//! [`try_begin_write`]: crate::Database::try_begin_write
//! [`view`]: crate::Database::view
