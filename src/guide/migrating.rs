//! Moving from LMDB, redb or bbolt: their call, ours, and what differs.
//!
//! folio does not read their files. To move data from a Rust program, read it in key order with the old library and [`append`]
//! it here, in one write transaction of any size. Or use text: `folio load` takes what `mdb_dump` prints, lines of key and
//! value, CSV and JSON lines, and `folio dump` prints them, so that the way back is open, too:
//!
//! ```sh
//! mdb_dump -a environment | folio load new.folio     # LMDB, all its databases
//! folio dump new.folio | mdb_load environment        # and back
//! ```
//!
//! Three things are different from all of them:
//!
//! - **Bytes only.** Keys and values are `&[u8]`, and keys sort byte by byte. Types are yours: encode numbers with
//!   `to_be_bytes`, cast structs with a crate such as `zerocopy`, use `serde` for the rest.
//! - **One bucket at a time is open for writing**: [`bucket_mut`] borrows the transaction. To name a bucket again costs little.
//!   Its entries can be read while nothing is changed; copy what is to go from one into another.
//! - **What is not there is `None`**: a bucket, a key. There is no error for it.
//!
//! # From LMDB, through heed
//!
//! | heed | folio | what differs |
//! |---|---|---|
//! | `EnvOpenOptions::open` (unsafe) | [`Database::open`] (safe) | a file, not a directory; no `map_size`, `max_dbs`, `max_readers`: the map grows by itself, and there are no such limits |
//! | a second `open` in the process | [`Database::open`] | gives the same database |
//! | `Database<KC, DC>`, `create_database` | [`bucket_mut`] | a name, no handle to keep; untyped |
//! | the unnamed database | a bucket of any name | |
//! | `read_txn` | [`begin_read`] | may change threads and be shared, always |
//! | `clear_stale_readers` | nothing | no reader outlives its process |
//! | `write_txn`, `nested_write_txn` | [`begin_write`], [`nested`], [`savepoint`] | |
//! | `get`, `put`, `delete`, `len` | the same | `len` takes no time |
//! | `put_with_flags`: `NO_OVERWRITE`, `APPEND` | [`insert`], [`append`] | |
//! | `get_or_put`, `put_reserved` | [`entry`], [`reserve`] | |
//! | `iter`, `rev_iter`, `range`, `prefix_iter` | [`iter`], [`range`], [`prefix`], each with `rev` | |
//! | `get_greater_than_or_equal_to`, `get_lower_than_or_equal_to` | [`seek`], [`seek_for_prev`] of a [`Cursor`] | |
//! | `iter_mut` with `put_current`, `del_current` | [`retain`], [`delete_range`]; or collect keys, then change | no changes through a cursor |
//! | `delete_range`, `clear` | the same | subtrees are freed whole |
//! | `DUP_SORT`, `get_duplicates` | composite keys, as below | **missing** |
//! | `INTEGER_KEY`, comparators | `to_be_bytes`; keys encoded so that bytes sort | |
//! | `NO_SYNC`, `NO_META_SYNC`, `force_sync` | [`Durability::Relaxed`], [`Database::sync`] | cannot damage the file |
//! | `READ_ONLY` | [`Options::read_only`] | not beside a process that writes |
//! | `copy_to_path`, with or without compaction | [`ReadTxn::backup`] | packed, or with `exact` page by page; verified, synced, and under its name only when it is whole |
//! | `stat`, `info` | [`Bucket::stats`], [`Database::stats`] | |
//! | many processes that read and write | | **missing**: one that writes, or many that read |
//!
//! Keys may have 1,984 bytes and more instead of 511, and may be empty; values 1 TiB instead of 4 GiB. There are checksums.
//!
//! **Several values for a key.** Make the value a part of the key, and the values of a key are a prefix. If keys differ in
//! length, put something behind the first part that cannot be in it, such as a zero byte in front of which no text has one;
//! else `"ann"` would be a prefix of `"anna"`.
//!
//! ```
//! fn entry(tag: &str, document: u64) -> Vec<u8> {
//!     [tag.as_bytes(), &[0], &document.to_be_bytes()].concat()
//! }
//!
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| {
//!     let mut tags = txn.bucket_mut("tags")?;
//!     tags.put(entry("rust", 7), "")?;
//!     tags.put(entry("rust", 9), "")?;
//!     tags.put(entry("rusty", 8), "")?;
//!     tags.delete(entry("rust", 9)).map(drop) // one of them
//! })?;
//! let txn = db.begin_read()?;
//! let tags = txn.bucket("tags")?.expect("made above");
//! let documents = tags.prefix("rust\0").map(|entry| Ok(entry?.0[5..].to_vec())).collect::<folio::Result<Vec<_>>>()?;
//! assert_eq!(documents, [7u64.to_be_bytes()]);
//! assert_eq!(tags.count_range("rust\0".."rust\x01")?, 1); // how many, in O(log n)
//! # Ok(())
//! # }
//! ```
//!
//! # From redb
//!
//! | redb | folio | what differs |
//! |---|---|---|
//! | `Database::create`, `open` | [`Database::open`], with [`create(false)`] | |
//! | `TableDefinition<K, V>`, `open_table` | [`bucket_mut`]; [`bucket`] to read | untyped. A table that is missing is `None`, not an error |
//! | `begin_read`, `begin_write`, `commit`, `abort` | the same | |
//! | `insert`, `remove`, which answer the old value | [`put`], [`delete`]; [`replace`] answers it | |
//! | `get`, and `AccessGuard::value` | [`get`] | the bytes themselves: a slice of the map instead of a guard on a cache |
//! | `range`, `iter`, `first`, `last`, `pop_first`, `pop_last`, `entry` | the same | |
//! | `lower_bound`, `upper_bound` | [`seek`], [`seek_for_prev`] | |
//! | `retain`, `extract_if` | [`retain`], [`delete_range`] | |
//! | `insert_reserve` | [`reserve`] | |
//! | `MultimapTable` | composite keys, as above | **missing** |
//! | `ephemeral_savepoint`, `restore_savepoint` | [`savepoint`], [`rollback_to`] | at any moment of a transaction, not only before its first change; but gone with it |
//! | `persistent_savepoint` | a backup; a held snapshot and [`diff`] | **missing** |
//! | `Durability::None` | [`Durability::Relaxed`] | survives a killed process (on Linux), and syncs by itself |
//! | `set_two_phase_commit`, `set_quick_repair` | nothing | opening takes constant time in any case |
//! | `compact` | `folio compact`; [`ReadTxn::backup`] makes a packed copy | not in place, and not while it is open. Large commits shrink the file without asking |
//! | `check_integrity` | [`check`] | while others read and write; repairs nothing |
//! | `set_cache_size` | nothing | the cache is the system's |
//! | `ReadOnlyDatabase` | [`Options::read_only`] | |
//! | `ConcurrencyMode` for several processes | | **missing** |
//! | Windows, `no_std`, a `StorageBackend` of your own | | **missing**: Unix; [`MemoryStore`] for tests |
//!
//! redb stores integers little-endian and compares them by type; re-encode such keys big-endian when you move them. To go back
//! to an earlier commit, hold its snapshot and put back what differs:
//!
//! ```
//! use folio::{BucketChange, Change};
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! # db.exec(|txn| txn.bucket_mut("a")?.put("k", "good"))?;
//! let good = db.begin_read()?;
//! db.exec(|txn| {
//!     txn.bucket_mut("b")?.put("k", "bad")?;
//!     txn.bucket_mut("a")?.put("k", "bad")
//! })?;
//!
//! let now = db.begin_read()?;
//! db.exec(|txn| {
//!     for bucket in now.diff(&good)? { // what would make `good` of `now`
//!         let bucket = bucket?;
//!         if bucket.kind() == BucketChange::Dropped {
//!             txn.drop_bucket(bucket.name())?;
//!             continue;
//!         }
//!         let mut into = txn.bucket_mut(bucket.name())?;
//!         for change in bucket {
//!             match change? {
//!                 Change::Added { key, value } | Change::Changed { key, new: value, .. } => into.put(key, value)?,
//!                 Change::Removed { key, .. } => into.delete(key).map(drop)?,
//!             }
//!         }
//!     }
//!     Ok(())
//! })?;
//! let back = db.begin_read()?;
//! assert_eq!(back.bucket("a")?.expect("it is there").get("k")?, Some(&b"good"[..]));
//! assert!(back.bucket("b")?.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # From bbolt
//!
//! | bbolt | folio | what differs |
//! |---|---|---|
//! | `Open`, `Options.Timeout` | [`Database::open`], [`lock_timeout`] | bbolt waits for the lock for ever by default, folio not at all |
//! | `View`, `Update` | [`view`], [`exec`] | |
//! | `Begin(false)`, `Begin(true)` | [`begin_read`], [`begin_write`] | a read transaction may be shared between threads; a write that outgrows the map does not wait for readers |
//! | `Batch`, `MaxBatchDelay` | [`batch`] | a closure runs once, not perhaps again; nobody waits for company |
//! | `CreateBucketIfNotExists`, `Bucket` | [`bucket_mut`], [`bucket`] | names are UTF-8, 255 bytes at most |
//! | `DeleteBucket` | [`drop_bucket`] | a bucket that is missing is `false`; there is [`rename_bucket`], too |
//! | buckets within buckets | a name with a separator, as below | **missing** |
//! | `Put`, `Get`, `Delete` | [`put`], [`get`], [`delete`] | the empty key is a key; keys have 1,984 bytes at 4 KiB pages, and 32,704 at 64 KiB, instead of 32,768 |
//! | `NextSequence` | the last key plus one, as below | **missing** |
//! | `Cursor`: `First`, `Last`, `Seek`, `Next`, `Prev` | [`Cursor`], the same | |
//! | `Cursor.Delete` | [`retain`], [`delete_range`]; or collect keys | |
//! | `ForEach` | [`iter`] | |
//! | `FillPercent` | nothing | sorted input fills pages by itself |
//! | `NoSync`, `Sync` | [`Durability::Relaxed`], [`Database::sync`] | cannot damage the file |
//! | `NoFreelistSync`, `FreelistType` | nothing | the free space is a log: a small commit writes little of it |
//! | `ReadOnly` | [`Options::read_only`] | |
//! | `Tx.WriteTo`, `CopyFile`, `bbolt compact` | [`ReadTxn::backup`], `folio compact` | packed, or with `exact` page by page |
//! | `Tx.Check`, `DB.Stats` | [`check`], [`Database::stats`] | there are checksums on pages and values |
//! | `Tx.OnCommit` | what follows `exec` | |
//! | a file of the machine's own byte order | | may be moved between machines |
//!
//! Buckets within buckets, and a sequence:
//!
//! ```
//! fn drop_below(txn: &mut folio::WriteTxn, path: &str) -> folio::Result<()> {
//!     let names = txn.buckets()?;
//!     names.iter().filter(|name| name.starts_with(path)).try_for_each(|name| txn.drop_bucket(name).map(drop))
//! }
//!
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| {
//!     for name in ["Alice", "Bob"] {
//!         let mut users = txn.bucket_mut("account 7/users")?;
//!         let last = users.last()?.map_or(0, |(key, _)| u64::from_be_bytes(key.try_into().expect("8 bytes")));
//!         users.append((last + 1).to_be_bytes(), name)?;
//!     }
//!     txn.bucket_mut("account 7/notes")?.put("1", "")?;
//!     drop_below(txn, "account 7/")?;
//!     assert!(txn.buckets()?.is_empty());
//!     Ok(())
//! })
//! # }
//! ```
//!
//! A sequence of this kind gives the number of a deleted last entry again. If that must not be, keep the counter in an entry of
//! its own.
//!
//! [`Bucket::stats`]: crate::Bucket::stats
//! [`Cursor`]: crate::Cursor
//! [`Database::open`]: crate::Database::open
//! [`Database::stats`]: crate::Database::stats
//! [`Database::sync`]: crate::Database::sync
//! [`Durability::Relaxed`]: crate::Durability::Relaxed
//! [`MemoryStore`]: crate::disk::MemoryStore
//! [`Options::read_only`]: crate::Options::read_only
//! [`ReadTxn::backup`]: crate::ReadTxn::backup
//! [`append`]: crate::BucketMut::append
//! [`batch`]: crate::Database::batch
//! [`begin_read`]: crate::Database::begin_read
//! [`begin_write`]: crate::Database::begin_write
//! [`bucket_mut`]: crate::WriteTxn::bucket_mut
//! [`bucket`]: crate::ReadTxn::bucket
//! [`check`]: crate::Database::check
//! [`create(false)`]: crate::Options::create
//! [`delete_range`]: crate::BucketMut::delete_range
//! [`delete`]: crate::BucketMut::delete
//! [`diff`]: crate::ReadTxn::diff
//! [`drop_bucket`]: crate::WriteTxn::drop_bucket
//! [`entry`]: crate::BucketMut::entry
//! [`exec`]: crate::Database::exec
//! [`get`]: crate::Bucket::get
//! [`insert`]: crate::BucketMut::insert
//! [`iter`]: crate::Bucket::iter
//! [`lock_timeout`]: crate::Options::lock_timeout
//! [`nested`]: crate::WriteTxn::nested
//! [`prefix`]: crate::Bucket::prefix
//! [`put`]: crate::BucketMut::put
//! [`range`]: crate::Bucket::range
//! [`rename_bucket`]: crate::WriteTxn::rename_bucket
//! [`replace`]: crate::BucketMut::replace
//! [`reserve`]: crate::BucketMut::reserve
//! [`retain`]: crate::BucketMut::retain
//! [`rollback_to`]: crate::WriteTxn::rollback_to
//! [`savepoint`]: crate::WriteTxn::savepoint
//! [`seek_for_prev`]: crate::Cursor::seek_for_prev
//! [`seek`]: crate::Cursor::seek
//! [`view`]: crate::Database::view
