//! Errors: what each one means, and what to do next.
//!
//! There is one error type, [`Error`]. Its message is one line that says what is wrong and, where that is not plain, what to do. It is `non_exhaustive`: a `match` needs a
//! last arm.
//!
//! # What is not an error
//!
//! A key or a bucket that is not there is `None`. Deleting what is not there is `false`. A range whose start lies behind its
//! end is empty. A transaction that is dropped is aborted, and nothing else. A writer that waits, waits.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| {
//!     assert!(!txn.drop_bucket("never made")?);
//!     assert!(!txn.bucket_mut("made")?.delete("no such key")?);
//!     Ok(())
//! })?;
//! let txn = db.begin_read()?;
//! assert!(txn.bucket("made")?.expect("it is there, and empty").range("z".."a").next().is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # At opening
//!
//! | error | means | do |
//! |---|---|---|
//! | [`NotADatabase`] | the file is something else, or cut short | check the path; the file is as it was |
//! | [`Version`] | another release of folio wrote it, in another format | use that release |
//! | [`Corrupt`] | both meta slots are damaged, or the last commit is, at the page that the error names: the file was cut short, or the root of the catalog is not what was written | restore a backup, or save what there was one commit earlier with [`previous_snapshot`] |
//! | [`Locked`] | another process has it open | close it there, or wait with [`lock_timeout`] |
//! | [`LockUnsupported`] | the file system has no locks | keep it elsewhere; or keep other processes away yourself, and open it with [`no_lock`] |
//! | [`PageSize`], [`InvalidOption`] | an option cannot be, or this process has the file open with another value | the message names it |
//! | [`Io`] | the system refused: there is no such file, no permission, no space | as for any file |
//!
//! # At use
//!
//! None of these has changed anything, unless it is said.
//!
//! | error | means | do |
//! |---|---|---|
//! | [`KeyTooLong`], [`ValueTooLong`], [`BucketName`] | beyond a limit; the error says which | shorten it, or make the database with larger pages |
//! | [`BucketExists`] | a bucket cannot be renamed to this | choose another name |
//! | [`KeyOrder`] | `append` was given a key that is not the greatest | sort the input, or use `put` |
//! | [`ReadOnly`] | the handle was opened read-only | open it for writing |
//! | [`Full`] | the file would pass [`max_size`] | from a `put`: it has not happened, what came before it can be committed. From a commit: the transaction is gone. Raise the limit or delete: room is kept back for a transaction that changes some tens of pages. [`delete_range`] and [`clear`] change few, however much they delete; scattered deletes change one each, so make a transaction of every dozen |
//! | [`Conflict`] | another transaction was first | run the optimistic transaction again; [`exec_optimistic`] does |
//! | [`NoSavepoint`] | the savepoint is gone | take a new one |
//! | [`NotCommitted`] | `wait_durable` was given an id that nothing has been committed under | pass an id that a commit has answered |
//! | [`WriteTxnOpen`] | `batch`, `wait_durable` or the commit of an optimistic transaction would wait for a write transaction that this thread has itself, as far as that can be known. (A second `begin_write`, `exec` or `sync` does wait, for ever) | commit or drop it first |
//! | [`Cancelled`] | your progress function ended a backup; what was written under a path is gone again | begin anew, or not |
//! | [`OtherDatabase`] | a diff of snapshots of two databases | take both from one |
//! | [`Broken`] | an earlier call on this write transaction failed half way | go back to a savepoint, or drop it and begin anew |
//! | [`Forked`] | opened or begun before a `fork`, used in the child: [opening](super::opening#several-processes) | open it in the child |
//! | [`Other`] | an error of your own, from a closure | yours to know |
//!
//! # When something is wrong
//!
//! | error | means | do |
//! |---|---|---|
//! | [`Io`] | the system refused a read, a write or a sync. `doing` says what was being done, `source` what the system said | free space, look at the disk. If it came from the sync or the meta of a commit, see `Failed` |
//! | [`Failed`] | an earlier commit failed on its way to the disk, so nobody knows what the disk holds | open the database anew: it is in the state before that commit or after it, whole. Reads go on meanwhile |
//! | [`Corrupt`] | a page or a large value is not what was written. Nothing that depends on it is answered; everything else can be read | run [`Database::check`] or `folio check`, save what can be read, restore a backup; look at memory and disk |
//!
//! A program that matches errors seldom needs more than this:
//!
//! ```
//! use folio::{Database, Error};
//!
//! fn save(db: &Database, key: &str, value: &[u8]) -> Result<(), String> {
//!     match db.exec(|txn| txn.bucket_mut("files")?.put(key, value)) {
//!         Ok(()) => Ok(()),
//!         // The caller can do something about these.
//!         Err(error @ (Error::KeyTooLong { .. } | Error::Full { .. })) => Err(format!("not saved: {error}")),
//!         // The disk is failing, or the file is damaged: stop writing, keep reading, call for help.
//!         Err(error @ (Error::Failed | Error::Corrupt { .. })) => Err(format!("needs attention: {error}")),
//!         Err(error) => Err(error.to_string()),
//!     }
//! }
//!
//! let db = Database::in_memory().unwrap();
//! assert_eq!(save(&db, "a", b"1"), Ok(()));
//! let message = save(&db, &"a".repeat(5000), b"1").unwrap_err();
//! assert_eq!(message, "not saved: key of 5000 bytes is too long; the limit is 1984, and higher in a database of larger pages");
//! ```
//!
//! # Damage, found and told
//!
//! Each page and each large value has a checksum. A page is checked when a process first reads it, so damage shows as
//! [`Corrupt`] where it is, and not as a wrong answer. [`Database::check`] reads the whole file, goes on past damage, and
//! reports each problem with its bucket, its page and the path to it from the root:
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! # db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
//! let report = db.check()?;
//! for problem in &report.problems {
//!     eprintln!("{problem}"); // bucket "users": page 56 (root 12 > 34 > 56): checksum mismatch
//! }
//! assert!(report.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! A problem is [damage] or a [deviation]: something that readers pass over, such as a byte that nothing uses and that is not zero.
//! [`CheckReport::is_damaged`] says whether there is any of the first. Of a file that is not damaged everything can be read, and a
//! backup that is not exact is free of most deviations.
//!
//! One kind of damage is no error: a part of the file that the disk cannot read at all. Reads go through a memory map, so the system
//! sends the process `SIGBUS`, which ends it, where a `read` would fail with `EIO`. Nothing is lost by that but the process. To save
//! what can be read, copy the file with a program that goes on past such parts (`ddrescue`), and run the check on the copy. The same happens where a network file
//! system goes away, or another program cuts the file.
//!
//! [`BucketExists`]: crate::Error::BucketExists
//! [`BucketName`]: crate::Error::BucketName
//! [`Broken`]: crate::Error::Broken
//! [`Cancelled`]: crate::Error::Cancelled
//! [`Conflict`]: crate::Error::Conflict
//! [`Corrupt`]: crate::Error::Corrupt
//! [`CheckReport::is_damaged`]: crate::CheckReport::is_damaged
//! [`Database::check`]: crate::Database::check
//! [damage]: crate::ProblemKind::Damage
//! [deviation]: crate::ProblemKind::Deviation
//! [`Error`]: crate::Error
//! [`Failed`]: crate::Error::Failed
//! [`Forked`]: crate::Error::Forked
//! [`Full`]: crate::Error::Full
//! [`InvalidOption`]: crate::Error::InvalidOption
//! [`Io`]: crate::Error::Io
//! [`KeyOrder`]: crate::Error::KeyOrder
//! [`KeyTooLong`]: crate::Error::KeyTooLong
//! [`LockUnsupported`]: crate::Error::LockUnsupported
//! [`Locked`]: crate::Error::Locked
//! [`NoSavepoint`]: crate::Error::NoSavepoint
//! [`NotADatabase`]: crate::Error::NotADatabase
//! [`NotCommitted`]: crate::Error::NotCommitted
//! [`OtherDatabase`]: crate::Error::OtherDatabase
//! [`Other`]: crate::Error::Other
//! [`PageSize`]: crate::Error::PageSize
//! [`ReadOnly`]: crate::Error::ReadOnly
//! [`ValueTooLong`]: crate::Error::ValueTooLong
//! [`Version`]: crate::Error::Version
//! [`WriteTxnOpen`]: crate::Error::WriteTxnOpen
//! [`clear`]: crate::BucketMut::clear
//! [`delete_range`]: crate::BucketMut::delete_range
//! [`exec_optimistic`]: crate::Database::exec_optimistic
//! [`no_lock`]: crate::Options::no_lock
//! [`lock_timeout`]: crate::Options::lock_timeout
//! [`max_size`]: crate::Options::max_size
//! [`previous_snapshot`]: crate::Options::previous_snapshot
