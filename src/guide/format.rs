//! The file format, in short, and where its full text stands.
//!
//! The [specification](#the-file-format-version-1) stands below, complete enough to write a second reader. Here is what helps to
//! understand the rest of the guide.
//!
//! ```text
//! page 0   page 1 ... 7      page 8   page 9 ... 15     page 16 ...      page_count - 1 | room to grow
//! +--------+--------+- - - -+--------+--------+- - - -+--------+--------+- - - -+------|- - - - - -
//! | meta A | branch | ...   | meta B | free   | ...   | leaf   | large  | log   | ...  |
//! +--------+--------+- - - -+--------+--------+- - - -+--------+--------+- - - -+------|- - - - - -
//! ```
//!
//! | kind of page | holds |
//! |---|---|
//! | meta | the root of everything: format version, page size, transaction id, page count, the catalog's root, where the space log begins, and how far it may be trusted. There are two slots, and a commit overwrites the one that does not hold the last durable commit |
//! | branch | separators, children, and how many entries are below each child |
//! | leaf | entries, sorted, each with its key whole. In a *uniform leaf* all keys are of one length and all values of another, 32 bytes together at most, and nothing is stored of lengths and places |
//! | large | a part of a value that has pages of its own, in one run, without a header |
//! | space log | which pages are free, as a log: what each commit took and freed |
//!
//! Leaf, branch and space log pages begin with a header of 32 bytes: a CRC32C of the rest, the kind, the page's own number, so
//! that a page that was written to the wrong place is found out, and the transaction that wrote it. A large value has its
//! checksum where it is referred to.
//!
//! The *catalog* is a tree like any other; it maps the name of each bucket to the root of its tree. So a snapshot is one meta:
//! all else hangs below it. A commit writes changed pages to free places, and then the meta, which takes the place of the one
//! before the last.
//!
//! # Trust
//!
//! After a crash the newest meta counts only if everything that it refers to is sure to be there. It says itself how that is
//! known:
//!
//! - *synced*: the pages were synced before the meta was written;
//! - *digest*: the commit was small; pages and meta were synced together, and the meta has a checksum over the checksums of
//!   just those pages;
//! - *boot*: nothing was synced (a relaxed commit); it counts while the machine has not been started anew, because then the
//!   system's memory still holds every write.
//!
//! If it cannot be trusted, the other meta is the state of the database, and [`Database::passed_over`] says so. That is all there is to
//! recovery. A commit that is known to have been whole on the disk is never passed over: where its meta says *synced* and the root of its
//! catalog or the end of the file is missing, the open is [`Error::Corrupt`]. Who wants the commit before says
//! [`Options::previous_snapshot`].
//!
//! # Moving files
//!
//! All numbers are little-endian, and the page size is recorded: a closed file can be copied to any machine, whatever its
//! processor or its own page size. Do not copy a file while a process has it open for writing: see [backups](super::backups).
//!
//! # Versions
//!
//! The format has a version, 1. A release refuses a file of another version with [`Error::Version`], which says both
//! numbers, and leaves it alone. Before release 1.0 the format may change. To move data, dump with the old release and load
//! with the new one:
//!
//! ```sh
//! old/folio dump old.folio | new/folio load new.folio
//! ```
//!
//! The new file gets the page size of the old one. To change it, give `load` a `--page-size`.
//!
//! # Looking into a file
//!
//! | command | shows |
//! |---|---|
//! | `folio stat FILE` | the pages by state and kind, and the figures of each bucket |
//! | `folio map FILE -o map.svg` | a picture of the file, page by page: what each is used for |
//! | `folio tree FILE BUCKET -o tree.svg` | a picture of a bucket's tree, level by level |
//! | `folio check FILE` | what is wrong, and where, after a look at every page |
//! | `folio shell FILE` | whatever you ask for, command by command |
//!
//! A program learns the same from [`Database::stats`], [`Database::page_map`], [`Bucket::pages`] and [`Database::check`].
//! [`Bucket::stats`] has the sums of a bucket, and [`ReadTxn::page_info`] says what a single page holds.
//!
//! ```
//! use folio::PageKind;
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| (0..5000u32).try_for_each(|n| txn.bucket_mut("a")?.append(n.to_be_bytes(), [0; 50])))?;
//! let stats = db.view(|txn| txn.bucket("a")?.expect("made above").stats())?;
//! assert_eq!((stats.entries, stats.depth), (5000, 2)); // one branch, and its leaves
//! assert!(stats.fill > 0.9); // they were put in order
//!
//! let map = db.page_map()?;
//! let of_bucket = map.runs().iter().filter(|run| run.bucket.as_deref() == Some("a"));
//! assert_eq!(of_bucket.filter(|run| run.kind == PageKind::Leaf).count() as u64, stats.leaf_pages);
//! assert_eq!(map.find(0).map(|run| run.kind), Some(PageKind::Meta));
//! # Ok(())
//! # }
//! ```
//!
//! [`Bucket::pages`]: crate::Bucket::pages
//! [`Bucket::stats`]: crate::Bucket::stats
//! [`Database::check`]: crate::Database::check
//! [`Database::page_map`]: crate::Database::page_map
//! [`Database::stats`]: crate::Database::stats
//! [`Error::Version`]: crate::Error::Version
//! [`ReadTxn::page_info`]: crate::ReadTxn::page_info
//! [`Error::Corrupt`]: crate::Error::Corrupt
//! [`Options::previous_snapshot`]: crate::Options::previous_snapshot
//! [`Database::passed_over`]: crate::Database::passed_over
#![doc = ""]
#![doc = include_str!("../page/FORMAT.md")]
