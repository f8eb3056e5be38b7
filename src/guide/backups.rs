//! Backups: copies of a database that is in use, and how to know that they are good.
//!
//! # Which copies are whole
//!
//! | copy | is whole | |
//! |---|---|---|
//! | `cp` of a file that no process has open | yes | one file is all there is |
//! | `cp` of a file that a process writes to | **no** | the pages are of different moments; it may open and be wrong |
//! | a snapshot of the file system or of the disk, taken at one moment | yes | it is what a power cut leaves: the last durable commit (P1) |
//! | [`ReadTxn::backup`] | yes | a snapshot never changes; readers and writers go on; the copy is verified, checked and synced |
//! | `folio backup` of a file that no process writes to | yes | the same, by another process |
//! | `folio dump` of a file that no process writes to | yes | text, out of one snapshot; `folio load` makes a database of it again, of any version |
//!
//! # Through a snapshot
//!
//! A read transaction sees one committed state for as long as it is held. So a program copies its own database while it goes on
//! writing to it:
//!
//! ```
//! use folio::Database;
//!
//! # fn main() -> folio::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let db = Database::open(dir.path().join("library.folio"))?;
//! # db.exec(|txn| txn.bucket_mut("users")?.put("id:1", "Alice"))?;
//! let snapshot = db.begin_read()?;
//! db.exec(|txn| txn.bucket_mut("users")?.put("id:2", "Bob"))?; // goes on meanwhile
//! snapshot.backup().to_path(dir.path().join("copy.folio"))?;
//!
//! let copy = Database::open(dir.path().join("copy.folio"))?;
//! assert_eq!(copy.begin_read()?.bucket("users")?.expect("it was copied").len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! The copy is packed: its pages are full, in order, and there is no free space but for some pages at the front. With [`exact`] it has the same pages in the
//! same places instead, which is quicker. [`to_writer`] streams it to a pipe or a socket, and [`progress`] tells how far it is
//! and can put an end to it. To make a smaller file of one with much free space, use `folio compact`.
//!
//! While it runs, the read transaction holds back the pages that its snapshot can see: [readers](super::readers). Between two
//! backups, [`ReadTxn::diff`] finds what has changed, if the older snapshot is still held.
//!
//! # Is it good?
//!
//! A backup that was never opened is a hope. [`Database::check`] reads every page of it, and every large value; so does `folio
//! check`, whose exit code is 0 if all is well, and `folio verify`, in one line. Open it read-only, so that not a byte of it
//! changes:
//!
//! ```
//! use folio::Options;
//! # fn main() -> folio::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("copy.folio");
//! # folio::Database::open(&path)?.exec(|txn| txn.bucket_mut("users")?.put("id:1", "Alice"))?;
//! let copy = Options::new().read_only(true).open(&path)?;
//! let report = copy.check()?;
//! assert!(report.is_ok(), "{}", report.problems[0]);
//! println!("{} entries in {} buckets", report.entries, report.buckets);
//! # Ok(())
//! # }
//! ```
//!
//! # Restoring
//!
//! Close the database everywhere. Rename the damaged file away rather than deleting it, put the copy in its place, and open it.
//! There is no other file to look after. `folio restore` checks the copy first.
//!
//! From a damaged file much can still be read: damage is told page by page, and only what lies below the damaged page is lost.
//! Read bucket by bucket into a new database. Where a range ends with an error, begin a new range behind the gap. Where the file does not
//! open, since the last commit is damaged at its root, [`Options::previous_snapshot`] opens the one before, if the file was not closed since:
//! `folio backup --previous` makes a new file of it.
//!
//! [`Database::check`]: crate::Database::check
//! [`ReadTxn::diff`]: crate::ReadTxn::diff
//! [`ReadTxn::backup`]: crate::ReadTxn::backup
//! [`Options::previous_snapshot`]: crate::Options::previous_snapshot
//! [`exact`]: crate::Backup::exact
//! [`progress`]: crate::Backup::progress
//! [`to_writer`]: crate::Backup::to_writer
