//! Tuning: what makes it faster or smaller, and how to measure that.
//!
//! The defaults are good. Measure before you change them, and change one thing at a time.
//!
//! # How to measure
//!
//! Build with `--release`. Use your own keys and values, as many as you will have: a database that fits the processor's caches
//! tells nothing of one that does not. Run for seconds, several times, and take the median.
//!
//! What the database itself counts explains most results. Take [`Database::stats`] before and after, and subtract:
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let db = folio::Database::open(dir.path().join("a.folio"))?;
//! db.exec(|txn| txn.bucket_mut("a")?.put("first", ""))?; // the first write after an opening takes a sync more
//! let before = db.stats()?;
//! db.exec(|txn| txn.bucket_mut("a")?.put("key", "value"))?;
//! let after = db.stats()?;
//! assert_eq!((after.commits - before.commits, after.syncs - before.syncs), (1, 1));
//! println!("{} bytes written for an entry of 8", after.bytes_written - before.bytes_written);
//! # Ok(())
//! # }
//! ```
//!
//! `Bucket::stats` walks a bucket and tells its depth, its pages by kind, and how full they are. `folio stat` prints all of it.
//! `folio bench FILE` measures gets, scans and commits on your machine and your data, with percentiles. The repository's
//! `benches` measure the library's own operations (`cargo bench`), and `benches/peers` runs it beside LMDB and others.
//!
//! # Reads
//!
//! - **Batch lookups.** [`get_many`] overlaps the cache misses of many keys: among a million random keys it is two to four times
//!   as fast as `get`, or a third faster where entries are so short that most of them are in the processor's caches. In a hot
//!   loop take [`get_many_into`], which allocates nothing.
//! - **Hold a transaction for a batch of reads** rather than one for each. To begin one is cheap, but not as cheap as not to.
//! - **Open the bucket once** for each transaction: [`ReadTxn::bucket`] is a lookup in the catalog. A [`Bucket`] is copied
//!   freely.
//! - **Split a scan among threads** with [`nth`]: it finds the borders at once, and a read transaction can be shared.
//! - **[`Verify`]**: `Once` costs a check at the first touch of a page, and next to nothing later. `Never` saves the first
//!   touch: for a process that reads a large part of a large file once and trusts the disk. `Always` is several times slower.
//! - **[`Advice`]**: `Random` if the file is larger than memory and reads are random, since read-ahead then brings in pages
//!   that nobody asked for. `Sequential` for scans. Measure: on a file that fits in memory neither matters.
//! - **[`prefault`]** starts reading the whole file at open, so that the first reads do not wait for the disk.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! # db.exec(|txn| (0..1000u32).try_for_each(|n| txn.bucket_mut("a")?.put(n.to_be_bytes(), n.to_string())))?;
//! let txn = db.begin_read()?;
//! let bucket = txn.bucket("a")?.expect("made above");
//! let (parts, len) = (4, bucket.len());
//! let lengths = std::thread::scope(|scope| {
//!     let part = |n: u64| {
//!         let take = len * (n + 1) / parts - len * n / parts;
//!         let first = bucket.nth(len * n / parts)?.expect("there is one").0;
//!         bucket.range(first..).take(take as usize).map(|entry| Ok(entry?.1.len())).sum::<folio::Result<usize>>()
//!     };
//!     let threads: Vec<_> = (0..parts).map(|n| scope.spawn(move || part(n))).collect();
//!     threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<folio::Result<usize>>()
//! })?;
//! assert_eq!(lengths, 10 + 90 * 2 + 900 * 3);
//! # Ok(())
//! # }
//! ```
//!
//! # Writes
//!
//! - **Put more into a transaction.** What a small durable commit costs is the sync. (One that changes more than 256 pages takes
//!   two.) A thousand puts in one commit are several times faster than in a thousand; if they are neighbours, many times.
//! - **[`batch`]** when many threads each write a little: they share commits, and lose nothing.
//! - **Relaxed commits** when the newest ones may be lost in a power cut: [durability](super::durability).
//! - **Sorted input** loads faster and leaves full pages behind: the writer remembers where it was, goes down the tree once
//!   a page, and writes what it has filled two megabytes at a time, so that even a large load takes little memory. [`append`]
//!   does the same, and refuses a key that is out of order. Random input splits pages in two; those that lie
//!   side by side are packed when they are committed or come to [`dirty_limit`], so a load in one transaction that fits it leaves its
//!   pages nine tenths full and more.
//! - **[`dirty_limit`]**: a transaction with more changed pages than this writes them out and goes on. A load in order of key writes
//!   each page once, whatever the limit. Give a load in random order as much memory as you can spare, or sort it: a page that was
//!   written out and is changed again is written again, each time. 500,000 entries of 158 bytes in random order wrote 96 MiB with
//!   the default limit, and 1.8 GiB with one of 16 MiB.
//! - **[`delete_range`]**, [`clear`] and [`drop_bucket`] free whole subtrees; deleting key by key visits every leaf.
//!
//! # Keys
//!
//! Search looks at the first four bytes of a key after what all keys of the page have in common, and only if these are equal at
//! the key itself. So:
//!
//! - **What differs should come early.** A prefix that all keys share costs nothing to search. A key whose first bytes after
//!   that are the same for thousands of neighbours, and which differs only later, costs a comparison of keys for each step.
//! - **Numbers big-endian** (`to_be_bytes`), so that bytes sort as the numbers do. For signed ones flip the top bit first.
//! - **Short.** A leaf stores each key whole. What is the same for all keys of a kind belongs into the name of the bucket.
//! - **Of one length**, and the values too, where key and value together are 32 bytes or fewer: numbers, ids, hashes. Such entries take
//!   four bytes in a leaf beside their own, others ten. Nothing is declared: a leaf finds out by itself, and an odd entry
//!   costs that in its own leaf. Where one in a hundred is odd, most leaves have one, and a table that grew at random in many
//!   transactions may be a quarter larger for it.
//! - **Neighbours together.** Entries that are read together should sort together: then they share pages, and a range finds
//!   them.
//! - **Keys at random** (hashes, random UUIDs) touch a page of their own for each put. Ids that grow with time share pages, and
//!   leave them full.
//!
//! ```
//! /// Sorts as the numbers do.
//! fn key(n: i64) -> [u8; 8] {
//!     (n ^ i64::MIN).to_be_bytes()
//! }
//! assert!(key(-2) < key(-1) && key(-1) < key(0) && key(0) < key(1));
//! ```
//!
//! # Page size
//!
//! A value moves out to pages of its own when it and its key take more than about half a page, and then takes whole pages. At 4
//! KiB a value of 2,100 bytes takes 4,096; at 16 KiB seven of them share a page. So values of 1 to 30 KiB are smaller in a file
//! of larger pages. Small entries that are changed one by one are better off with small pages: each commit writes anew a page
//! for each level of the tree.
//!
//! # Space
//!
//! The file grows in steps of a thirty-second, from 1 MiB to 256 MiB. Free pages are reused first, but for one thing: pages in a row
//! are one transfer to the disk, so a commit that finds no such row makes one at the end of the file, until an eighth of the file
//! is free. Free space at the end of the file is cut off when it is more than an eighth. `folio compact` writes a file anew, packed. A
//! reader that is held for long keeps old pages: [readers](super::readers).
//!
//! A commit writes what it changes to other pages than before. So a transaction that changes entries all over a file needs as many
//! pages again as it touches: a file whose entries are all overwritten at random grows to about twice its data and stays there.
//!
//! Where more is free than that, the file shrinks by and by: a commit that writes an eighth of the pages in use or more keeps to the
//! front of the file, and takes some pages at its end along, one for eight that it writes. So half of a million entries, deleted at
//! random in ten transactions, make a file of 400 MiB one of 300. Small commits do not do that. Large values, and parts of a tree
//! that nobody changes, stay where they are, and nothing moves while a snapshot holds pages back. To have all of the space, write
//! the file anew: `folio compact`, or [`ReadTxn::backup`] in a program.
//!
//! [`Advice`]: crate::Advice
//! [`Bucket`]: crate::Bucket
//! [`Database::stats`]: crate::Database::stats
//! [`ReadTxn::backup`]: crate::ReadTxn::backup
//! [`ReadTxn::bucket`]: crate::ReadTxn::bucket
//! [`Verify`]: crate::Verify
//! [`append`]: crate::BucketMut::append
//! [`batch`]: crate::Database::batch
//! [`clear`]: crate::BucketMut::clear
//! [`delete_range`]: crate::BucketMut::delete_range
//! [`dirty_limit`]: crate::Options::dirty_limit
//! [`drop_bucket`]: crate::WriteTxn::drop_bucket
//! [`get_many`]: crate::Bucket::get_many
//! [`get_many_into`]: crate::Bucket::get_many_into
//! [`nth`]: crate::Bucket::nth
//! [`prefault`]: crate::Options::prefault
