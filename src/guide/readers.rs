//! Long readers: what they hold back, and what two snapshots tell.
//!
//! A read transaction *pins* its snapshot: it stays as it is for as long as it is held, whatever the writer does. Neither waits
//! for the other, not even when the file grows. The price is space.
//!
//! # What is held back
//!
//! A commit writes changed pages anew and lets go of the old ones. An old page that a pinned snapshot can see is *pending*: it
//! becomes free when nobody can see it any more. A page that was written after a reader began, and let go of again, is not held
//! back by that reader: it is not in its snapshot.
//!
//! So a reader that is held for hours keeps at most what its snapshot holds, once: the file grows to the old state and the new
//! one side by side, and no further. (In a store that frees by age alone, all that is freed after the oldest reader began is
//! held back, and the file grows with each commit.)
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! let put_all = |round: u32| {
//!     db.exec(|txn| {
//!         let mut bucket = txn.bucket_mut("state")?;
//!         (0..500u32).try_for_each(|n| bucket.put(n.to_be_bytes(), [round as u8; 100]))
//!     })
//! };
//! put_all(0)?;
//! let reader = db.begin_read()?; // held from here on
//! put_all(1)?;
//! put_all(2)?;
//! let after_two = db.stats()?.file_len;
//! (3..50).try_for_each(put_all)?; // the same pages, again and again
//! assert_eq!(db.stats()?.file_len, after_two);
//! # drop(reader);
//! # Ok(())
//! # }
//! ```
//!
//! Other things that hold pages back: the last durable commit, always, so that a crash can go back to it; and with relaxed
//! commits that may be some commits ago. A clone of a read transaction shares its pin. A range, a cursor or a value borrows the
//! transaction, and so keeps it alive.
//!
//! # Who is it?
//!
//! [`Database::snapshots`] lists the snapshots that are held, the oldest first: how old each is, how many hold it, and how much
//! would become free if they went. Give a reader that may take long a name, with [`Database::begin_read_labelled`], and the
//! list says who it is. [`Database::stats`] has the sums. Neither waits for the writer, so a monitor can call them at any time.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! # db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
//! let export = db.begin_read_labelled("nightly export")?;
//! db.exec(|txn| txn.bucket_mut("a")?.put("k", "w"))?;
//! # db.exec(|txn| txn.bucket_mut("a")?.put("k", "x"))?;
//! for held in db.snapshots()? {
//!     assert_eq!((held.id, held.readers), (export.id(), 1));
//!     println!("{} bytes for {:?}, {:?} old", held.held_bytes, held.labels, held.age);
//! #   assert!(held.held_bytes > 0 && held.labels[0].label == "nightly export");
//! }
//! assert_eq!(db.stats()?.pinned_snapshots, 1);
//! # Ok(())
//! # }
//! ```
//!
//! A page that two snapshots see counts for neither in the list, since it would stay if one of them went; `held_bytes` of the
//! stats counts it.
//!
//! What to do about a reader that is too old is up to the program: nothing ends it by force. Work through a large range in
//! parts, and begin a new transaction for each part, if the parts need not be of one state.
//!
//! # What changed between two snapshots
//!
//! [`ReadTxn::diff`] compares two snapshots of a database, bucket by bucket and entry by entry. It skips every page that both
//! have. So it costs what has changed, whatever the size of the database and however many commits lie between.
//!
//! ```
//! use folio::Change;
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| {
//!     let mut users = txn.bucket_mut("users")?;
//!     users.put("id:1", "Alice")?;
//!     users.put("id:2", "Bob")
//! })?;
//! let old = db.begin_read()?;
//! db.exec(|txn| {
//!     let mut users = txn.bucket_mut("users")?;
//!     users.put("id:2", "Robert")?;
//!     users.delete("id:1").map(drop)
//! })?;
//! let new = db.begin_read()?;
//!
//! let mut index_updates = Vec::new();
//! for bucket in old.diff(&new)? {
//!     for change in bucket? {
//!         index_updates.push(match change? {
//!             Change::Added { key, value } => (key, Some(value)),
//!             Change::Changed { key, new, .. } => (key, Some(new)),
//!             Change::Removed { key, .. } => (key, None),
//!         });
//!     }
//! }
//! assert_eq!(index_updates, [(&b"id:1"[..], None), (b"id:2", Some(&b"Robert"[..]))]);
//! # Ok(())
//! # }
//! ```
//!
//! Hold the snapshot that a search index, a cache or a copy elsewhere was built from. To bring it up to date, take a new
//! snapshot, walk the difference, and let go of the old one. If the process ends in between, the old snapshot is gone with it,
//! and the index is to be built anew: snapshots are not kept in the file.
//!
//! [`Database::begin_read_labelled`]: crate::Database::begin_read_labelled
//! [`Database::snapshots`]: crate::Database::snapshots
//! [`Database::stats`]: crate::Database::stats
//! [`ReadTxn::diff`]: crate::ReadTxn::diff
