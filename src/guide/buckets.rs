//! Buckets: finding, walking, counting and changing entries.
//!
//! A bucket is a named tree of entries. An entry is a key and a value, both bytes. Keys are sorted byte by byte, each is there
//! once, and the empty key is a key. What takes a key takes anything that is `AsRef<[u8]>`: `"text"`, `b"bytes"`,
//! `7u32.to_be_bytes()`.
//!
//! [`Bucket`] reads, and is a small view that is copied freely. [`BucketMut`] reads and writes. A bucket comes into being when
//! [`WriteTxn::bucket_mut`] first names it; it can be dropped and renamed. A bucket that is missing is `None`, and no error.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| {
//!     let mut users = txn.bucket_mut("users")?;
//!     users.put("id:1", "Alice")?; // there or not
//!     assert!(!users.insert("id:1", "Bob")?); // only if it is not there
//!     assert_eq!(users.replace("id:1", "Carol")?.as_deref(), Some(&b"Alice"[..]));
//!     assert!(users.delete("id:1")?);
//!     assert!(!users.delete("id:1")?);
//!     Ok(())
//! })?;
//! let txn = db.begin_read()?;
//! assert!(txn.bucket("users")?.expect("made above").is_empty());
//! assert!(txn.bucket("no such bucket")?.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! What a [`BucketMut`] lends lives until the next change of the transaction: the compiler refuses code that holds on to it.
//! Copy what you need (`to_vec`), then change.
//!
//! # Ranges
//!
//! [`range`] takes any Rust range of keys, or a pair of bounds; [`prefix`] takes the first bytes; [`iter`] is all. Each runs
//! from both ends. Items are results, since a page may turn out to be damaged; after an error nothing more comes.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| {
//!     let mut days = txn.bucket_mut("days")?;
//!     (1..=31).try_for_each(|day| days.put(format!("2025-01-{day:02}"), day.to_string()))
//! })?;
//! let txn = db.begin_read()?;
//! let days = txn.bucket("days")?.expect("made above");
//!
//! let week = days.range("2025-01-06".."2025-01-13").collect::<folio::Result<Vec<_>>>()?;
//! assert_eq!((week.len(), week[0].1), (7, &b"6"[..]));
//!
//! let last = days.prefix("2025-01-").next_back().transpose()?;
//! assert_eq!(last, Some((&b"2025-01-31"[..], &b"31"[..])));
//! # Ok(())
//! # }
//! ```
//!
//! # Cursors
//!
//! A [`Cursor`] is a position that moves either way: [`seek`](crate::Cursor::seek) to the first key not less than one given,
//! [`seek_for_prev`](crate::Cursor::seek_for_prev) to the last one not greater, `next`, `prev`, `first`, `last`. Use it to
//! leap; to walk, a range is simpler.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! # db.exec(|txn| ["a", "c", "e"].into_iter().try_for_each(|key| txn.bucket_mut("letters")?.put(key, "")))?;
//! # let txn = db.begin_read()?;
//! # let letters = txn.bucket("letters")?.unwrap();
//! let mut cursor = letters.cursor(); // a, c, e
//! assert_eq!(cursor.seek("b")?.map(|(key, _)| key), Some(&b"c"[..]));
//! assert_eq!(cursor.next()?.map(|(key, _)| key), Some(&b"e"[..]));
//! assert_eq!(cursor.seek_for_prev("d")?.map(|(key, _)| key), Some(&b"c"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Counting
//!
//! Every branch knows how many entries are below each child. So [`len`] takes no time, and [`nth`], [`rank`] and
//! [`count_range`] take as long as a lookup: pages of results, medians, random samples and even splits for threads cost no
//! walk.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! # db.exec(|txn| (0..1000u32).try_for_each(|n| txn.bucket_mut("scores")?.put(n.to_be_bytes(), "")))?;
//! # let txn = db.begin_read()?;
//! # let scores = txn.bucket("scores")?.unwrap();
//! let median = scores.nth(scores.len() / 2)?.expect("1,000 entries").0; // keys 0 to 999
//! assert_eq!(median, 500u32.to_be_bytes());
//! assert_eq!(scores.rank(median)?, 500); // this many are less
//! assert_eq!(scores.count_range(..=median)?, 501);
//!
//! let fourth_page = scores.nth(3 * 20)?.expect("1,000 entries").0;
//! assert_eq!(scores.range(fourth_page..).take(20).count(), 20);
//! # Ok(())
//! # }
//! ```
//!
//! # Many keys at once
//!
//! [`get_many`] descends with many keys together, so that their cache misses overlap: two to four times the speed of one `get` after the
//! other, when the keys are random and the data is larger than the processor's caches. [`get_many_into`] does it without an
//! allocation.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! # db.exec(|txn| { let mut b = txn.bucket_mut("b")?; b.put("a", "1")?; b.put("c", "3") })?;
//! # let txn = db.begin_read()?;
//! # let bucket = txn.bucket("b")?.unwrap();
//! assert_eq!(bucket.get_many(&["c", "b", "a"])?, [Some(&b"3"[..]), None, Some(b"1")]);
//! # Ok(())
//! # }
//! ```
//!
//! # Changing many
//!
//! [`delete_range`] and [`clear`] free whole subtrees without a look at their entries. [`retain`] keeps what a closure likes.
//! [`pop_first`] and [`pop_last`] make a queue or a priority queue. [`append`] is for sorted input. [`entry`] looks first and
//! then decides:
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| {
//!     let mut words = txn.bucket_mut("words")?;
//!     for word in "to be or not to be".split(' ') {
//!         let count = words.entry(word)?;
//!         count.and_modify(|old| [old[0] + 1])?.or_insert([1])?;
//!     }
//!     assert_eq!(words.get("be")?, Some(&[2][..]));
//!     assert_eq!(words.delete_range("n".."p")?, 2); // "not" and "or"
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Large values
//!
//! A value that with its key takes more than about half a page gets pages of its own, in one piece. It is lent like any other,
//! without a copy, whatever its size up to 1 TiB: a slice of the map. It is written to the file when it is put, so a
//! transaction that puts many of them takes no memory for them. Its checksum covers the whole value: with
//! [`Verify::Once`](crate::Verify::Once) the first `get` of it in a process reads all of it, later ones do not.
//!
//! [`reserve`] lets a closure fill a value of a given length, and then puts it. If the closure panics, nothing has changed.
//!
//! ```
//! # fn main() -> folio::Result<()> {
//! # let db = folio::Database::in_memory()?;
//! db.exec(|txn| {
//!     let mut blobs = txn.bucket_mut("blobs")?;
//!     blobs.put("film", vec![7; 10 << 20])?;
//!     blobs.reserve("header", 16, |bytes| bytes[..4].copy_from_slice(&1u32.to_le_bytes()))
//! })?;
//! let txn = db.begin_read()?;
//! let film = txn.bucket("blobs")?.expect("made above").get("film")?.expect("put above");
//! assert_eq!(film.len(), 10 << 20); // nothing was copied
//! # Ok(())
//! # }
//! ```
//!
//! [`BucketMut`]: crate::BucketMut
//! [`Bucket`]: crate::Bucket
//! [`Cursor`]: crate::Cursor
//! [`WriteTxn::bucket_mut`]: crate::WriteTxn::bucket_mut
//! [`append`]: crate::BucketMut::append
//! [`clear`]: crate::BucketMut::clear
//! [`count_range`]: crate::Bucket::count_range
//! [`delete_range`]: crate::BucketMut::delete_range
//! [`entry`]: crate::BucketMut::entry
//! [`get_many_into`]: crate::Bucket::get_many_into
//! [`get_many`]: crate::Bucket::get_many
//! [`iter`]: crate::Bucket::iter
//! [`len`]: crate::Bucket::len
//! [`nth`]: crate::Bucket::nth
//! [`pop_first`]: crate::BucketMut::pop_first
//! [`pop_last`]: crate::BucketMut::pop_last
//! [`prefix`]: crate::Bucket::prefix
//! [`range`]: crate::Bucket::range
//! [`rank`]: crate::Bucket::rank
//! [`reserve`]: crate::BucketMut::reserve
//! [`retain`]: crate::BucketMut::retain
