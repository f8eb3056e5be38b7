//! Buckets: named trees, seen through a transaction. [`Bucket`] reads, [`BucketMut`] reads and writes.

use std::fmt;
use std::iter::FusedIterator;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use crate::error::{Error, Result};
use crate::inspect::TreePages;
use crate::page::{self, BucketRecord};
use crate::tree::cursor::Cursor as TreeCursor;
use crate::tree::put::{self, Mode};
use crate::tree::range::{self, KeyRange, Range as TreeRange};
use crate::tree::retain::Retain;
use crate::tree::{Pages, Tree, check, delete};
use crate::txn::PageSource;
use crate::txn::dirty::DirtyPages;
use crate::txn::write::WriteTxn;

/// The longest name of a bucket, in bytes.
pub(crate) const NAME_MAX: usize = 255;

/// What is wrong with a name that no bucket can have.
pub(crate) const NOT_UTF8: &str = "a bucket name that is not UTF-8";

/// A key and its value, lent by a transaction.
pub type Entry<'txn> = (&'txn [u8], &'txn [u8]);

pub(crate) fn check_name(name: &str) -> Result<()> {
    match name.len() {
        1..=NAME_MAX => Ok(()),
        len => Err(Error::BucketName { len, max: NAME_MAX }),
    }
}

pub(crate) fn check_key(page_len: usize, key: &[u8]) -> Result<()> {
    let max = page::key_max(page_len);
    if key.len() > max { Err(Error::KeyTooLong { len: key.len(), max }) } else { Ok(()) }
}

pub(crate) fn check_value_len(len: usize) -> Result<()> {
    let (len, max) = (len as u64, page::VALUE_MAX);
    if len > max { Err(Error::ValueTooLong { len, max }) } else { Ok(()) }
}

/// The tree of the bucket of this name, as the catalog has it.
#[inline]
pub(crate) fn find(source: PageSource<'_>, catalog: Tree, name: &str) -> Result<Option<Tree>> {
    let Some(bytes) = catalog.get(source, name.as_bytes())? else { return Ok(None) };
    to_tree(bytes).map(Some).map_err(|what| corrupt(source, catalog, name.as_bytes(), what))
}

/// The tree that a record of the catalog describes, or what is wrong with the record.
#[inline]
pub(crate) fn to_tree(record: &[u8]) -> std::result::Result<Tree, &'static str> {
    match BucketRecord::ref_from_bytes(record) {
        Ok(record) => Tree::read(&record.tree),
        Err(_) => Err("a bucket record of the wrong length"),
    }
}

/// What is wrong with the entry of a bucket in the catalog, told of the page where it is.
#[cold]
pub(crate) fn corrupt(source: PageSource<'_>, catalog: Tree, name: &[u8], what: &'static str) -> Error {
    catalog.leaf(source, name).map_or_else(|error| error, |leaf| leaf.corrupt(what))
}

/// What the catalog holds for a bucket with this tree.
pub(crate) fn to_record(tree: Tree) -> [u8; size_of::<BucketRecord>()] {
    let record = BucketRecord { tree: tree.to_record(), flags: U32::ZERO, zero: U32::ZERO };
    record.as_bytes().try_into().expect("a record has its own length")
}

#[inline]
pub(crate) fn open_bucket<'txn>(source: PageSource<'txn>, catalog: Tree, name: &str) -> Result<Option<Bucket<'txn>>> {
    Ok(find(source, catalog, name)?.map(|tree| Bucket { source, tree, root: source.keep(tree.root) }))
}

/// Names and trees of all buckets, in the order of their names.
pub(crate) fn all(source: PageSource<'_>, catalog: Tree) -> Result<Vec<(String, Tree)>> {
    let mut buckets: Vec<(String, Tree)> = Vec::new();
    for entry in TreeRange::new(source, catalog, (..).bounds()) {
        let (name, record) = entry?;
        let bucket = std::str::from_utf8(name).map_err(|_| NOT_UTF8).and_then(|known| Ok((known, to_tree(record)?)));
        let (name, tree) = bucket.map_err(|what| corrupt(source, catalog, name, what))?;
        buckets.push((name.to_string(), tree));
    }
    Ok(buckets)
}

pub(crate) fn names(source: PageSource<'_>, catalog: Tree) -> Result<Vec<String>> {
    Ok(all(source, catalog)?.into_iter().map(|(name, _)| name).collect())
}

/// A bucket to be read: a small view that is copied freely.
///
/// Everything that it lends lives as long as the transaction. Keys and values come straight out of the memory map.
///
/// # Errors
///
/// Every method that reads pages answers [`Error::Corrupt`] with the number of a page that fails its checksum or makes no
/// sense.
#[derive(Clone, Copy)]
pub struct Bucket<'txn> {
    source: PageSource<'txn>,
    tree: Tree,
    /// The page of the root, looked up once for all lookups; `None` where each has to look itself.
    root: Option<&'txn [u8]>,
}

/// What a bucket is made of. See [`Bucket::stats`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct BucketStats {
    /// The number of entries.
    pub entries: u64,
    /// The number of levels: 0 for an empty bucket, 1 for a single leaf.
    pub depth: u32,
    /// Pages that hold separators and children.
    pub branch_pages: u64,
    /// Pages that hold entries.
    pub leaf_pages: u64,
    /// Pages that hold large values.
    pub large_pages: u64,
    /// The length of all keys together.
    pub key_bytes: u64,
    /// The length of all values together.
    pub value_bytes: u64,
    /// The bytes in use in branch and leaf pages.
    pub used_bytes: u64,
    /// The part of the branch and leaf pages that is in use, from 0 to 1.
    pub fill: f64,
}

impl<'txn> Bucket<'txn> {
    pub(crate) fn new(source: PageSource<'txn>, tree: Tree) -> Bucket<'txn> {
        Bucket { source, tree, root: None }
    }

    /// The value of `key`.
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<&'txn [u8]>> {
        match self.root {
            Some(root) => self.tree.get_below(self.source, root, key.as_ref()),
            None => self.tree.get(self.source, key.as_ref()),
        }
    }

    /// Whether there is an entry with this key.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The values of many keys, in their order. Faster than one [`Bucket::get`] after the other: the keys descend together, so that
    /// their cache misses overlap.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<&'txn [u8]>>> {
        let mut values = vec![None; keys.len()];
        self.get_many_into(keys, &mut values)?;
        Ok(values)
    }

    /// As [`Bucket::get_many`], without an allocation.
    ///
    /// # Panics
    ///
    /// If `values` is not as long as `keys`.
    pub fn get_many_into<K: AsRef<[u8]>>(&self, keys: &[K], values: &mut [Option<&'txn [u8]>]) -> Result<()> {
        assert_eq!(keys.len(), values.len(), "a value for each key");
        self.tree.get_many(self.source, keys, values)
    }

    /// The entry with the least key.
    pub fn first(&self) -> Result<Option<Entry<'txn>>> {
        self.cursor().first()
    }

    /// The entry with the greatest key.
    pub fn last(&self) -> Result<Option<Entry<'txn>>> {
        self.cursor().last()
    }

    /// All entries, in key order.
    pub fn iter(&self) -> Range<'txn> {
        self.range(..)
    }

    /// The entries whose keys lie in a range, in key order, or with `rev` against it.
    pub fn range(&self, range: impl KeyRange) -> Range<'txn> {
        Range { range: TreeRange::new(self.source, self.tree, range.bounds()) }
    }

    /// The entries whose keys begin with `prefix`.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range<'txn> {
        let prefix = prefix.as_ref();
        match range::prefix_end(prefix) {
            Some(end) => self.range(prefix..&end[..]),
            None => self.range(prefix..),
        }
    }

    /// A cursor, before the first entry.
    pub fn cursor(&self) -> Cursor<'txn> {
        Cursor { cursor: TreeCursor::new(self.source, self.tree) }
    }

    /// The number of entries. Takes no time.
    pub fn len(&self) -> u64 {
        self.tree.entry_count
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entry number `n` in key order, counted from 0; O(log n).
    pub fn nth(&self, n: u64) -> Result<Option<Entry<'txn>>> {
        self.tree.nth(self.source, n)
    }

    /// The number of entries with a key less than `key`; O(log n).
    pub fn rank(&self, key: impl AsRef<[u8]>) -> Result<u64> {
        Ok(self.tree.rank(self.source, key.as_ref())?.0)
    }

    /// The number of entries in a range; O(log n).
    pub fn count_range(&self, range: impl KeyRange) -> Result<u64> {
        use std::ops::Bound;
        let bounds = range.bounds();
        if range::is_empty(bounds) {
            return Ok(0);
        }
        let rank = |key, with_key: bool| -> Result<u64> {
            let (rank, found) = self.tree.rank(self.source, key)?;
            Ok(rank.saturating_add(u64::from(found && with_key)))
        };
        let start = match bounds.0 {
            Bound::Unbounded => 0,
            Bound::Included(key) => rank(key, false)?,
            Bound::Excluded(key) => rank(key, true)?,
        };
        let end = match bounds.1 {
            Bound::Unbounded => self.len(),
            Bound::Included(key) => rank(key, true)?,
            Bound::Excluded(key) => rank(key, false)?,
        };
        Ok(end.saturating_sub(start))
    }

    /// The pages of the bucket's tree, from the root down and from left to right, with their separators and keys: the tree as it
    /// is built. Those of large values are named in the leaves.
    pub fn pages(&self) -> TreePages<'txn> {
        TreePages::new(self.source, self.tree, self.page_count_max())
    }

    /// No tree has more pages than these.
    fn page_count_max(&self) -> u64 {
        self.source.page_count + self.source.dirty.map_or(0, DirtyPages::len) as u64
    }

    /// Measures the bucket by a walk over its pages.
    pub fn stats(&self) -> Result<BucketStats> {
        let page_len = self.source.map.page_len();
        let measure = check::measure(&self.tree, self.source, page_len, self.page_count_max())?;
        let tree_len = (measure.branch_pages + measure.leaf_pages) * page_len as u64;
        Ok(BucketStats {
            entries: self.tree.entry_count,
            depth: self.tree.depth as u32,
            branch_pages: measure.branch_pages,
            leaf_pages: measure.leaf_pages,
            large_pages: measure.large_pages,
            key_bytes: measure.key_len,
            value_bytes: measure.value_len,
            used_bytes: measure.used_len,
            fill: if tree_len == 0 { 0.0 } else { measure.used_len as f64 / tree_len as f64 },
        })
    }
}

impl fmt::Debug for Bucket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<'txn> IntoIterator for &Bucket<'txn> {
    type Item = Result<Entry<'txn>>;
    type IntoIter = Range<'txn>;

    fn into_iter(self) -> Range<'txn> {
        self.iter()
    }
}

impl<'txn> IntoIterator for Bucket<'txn> {
    type Item = Result<Entry<'txn>>;
    type IntoIter = Range<'txn>;

    fn into_iter(self) -> Range<'txn> {
        self.iter()
    }
}

/// An iterator over entries, from both ends.
///
/// An item is an error if a page is corrupt; after an error nothing more comes.
pub struct Range<'txn> {
    range: TreeRange<'txn, PageSource<'txn>>,
}

impl<'txn> Iterator for Range<'txn> {
    type Item = Result<Entry<'txn>>;

    #[inline]
    fn next(&mut self) -> Option<Result<Entry<'txn>>> {
        self.range.next()
    }
}

impl<'txn> DoubleEndedIterator for Range<'txn> {
    #[inline]
    fn next_back(&mut self) -> Option<Result<Entry<'txn>>> {
        self.range.next_back()
    }
}

impl FusedIterator for Range<'_> {}

impl fmt::Debug for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").finish_non_exhaustive()
    }
}

/// A position among the entries of a bucket, which moves either way.
///
/// It stands at an entry, before the first or behind the last. Each move answers with the entry that it came to, or `None` if it
/// left the bucket at that end; moving back brings it in again.
#[derive(Clone)]
pub struct Cursor<'txn> {
    cursor: TreeCursor<'txn, PageSource<'txn>>,
}

impl<'txn> Cursor<'txn> {
    /// Moves to the first entry whose key is not less than `key`.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<Option<Entry<'txn>>> {
        self.cursor.seek(key.as_ref(), false)?;
        self.cursor.entry()
    }

    /// Moves to the last entry whose key is not greater than `key`.
    pub fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) -> Result<Option<Entry<'txn>>> {
        self.cursor.seek(key.as_ref(), true)?;
        self.cursor.prev()?;
        self.cursor.entry()
    }

    /// Moves to the first entry.
    pub fn first(&mut self) -> Result<Option<Entry<'txn>>> {
        self.cursor.first()?;
        self.cursor.entry()
    }

    /// Moves to the last entry.
    pub fn last(&mut self) -> Result<Option<Entry<'txn>>> {
        self.cursor.last()?;
        self.cursor.entry()
    }

    /// Moves to the next entry: to the first, if it stands before it.
    #[allow(clippy::should_implement_trait)] // A cursor moves both ways and starts again; an iterator does not.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Entry<'txn>>> {
        self.cursor.next()?;
        self.cursor.entry()
    }

    /// Moves to the previous entry: to the last, if it stands behind it.
    #[inline]
    pub fn prev(&mut self) -> Result<Option<Entry<'txn>>> {
        self.cursor.prev()?;
        self.cursor.entry()
    }

    /// The entry that it stands at.
    pub fn current(&self) -> Result<Option<Entry<'txn>>> {
        self.cursor.entry()
    }
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").finish_non_exhaustive()
    }
}

/// A bucket to be read and written.
///
/// What it lends lives until the next change: a stale value is a compile error.
///
/// ```compile_fail
/// # let db = folio::Options::new().open_in_memory().unwrap();
/// # let mut txn = db.begin_write().unwrap();
/// let mut users = txn.bucket_mut("users").unwrap();
/// users.put("a", "1").unwrap();
/// let value = users.get("a").unwrap();
/// users.delete("a").unwrap(); // error: `users` is borrowed by `value`
/// println!("{value:?}");
/// ```
///
/// Nor does a value outlive its transaction:
///
/// ```compile_fail
/// # let db = folio::Options::new().open_in_memory().unwrap();
/// let mut txn = db.begin_write().unwrap();
/// txn.bucket_mut("users").unwrap().put("a", "1").unwrap();
/// let users = txn.bucket("users").unwrap().unwrap();
/// let value = users.get("a").unwrap();
/// txn.commit().unwrap(); // error: `txn` is borrowed by `value`
/// println!("{value:?}");
/// ```
///
/// # Errors
///
/// Beside those of [`Bucket`]: [`Error::KeyTooLong`] and [`Error::ValueTooLong`] before anything is changed; [`Error::Full`] if the
/// database is at its limit; [`Error::Io`] if a page or a large value cannot be written; [`Error::Broken`] if an earlier change
/// failed half way.
pub struct BucketMut<'txn> {
    txn: &'txn mut WriteTxn,
    index: usize,
}

impl<'txn> BucketMut<'txn> {
    pub(crate) fn new(txn: &'txn mut WriteTxn, index: usize) -> BucketMut<'txn> {
        BucketMut { txn, index }
    }

    /// The bucket as it is now, to read.
    #[inline]
    pub fn as_bucket(&self) -> Bucket<'_> {
        Bucket::new(self.txn.view(), self.txn.tree(self.index))
    }

    /// See [`Bucket::get`].
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<&[u8]>> {
        self.as_bucket().get(key)
    }

    /// See [`Bucket::contains`].
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.as_bucket().contains(key)
    }

    /// See [`Bucket::get_many`].
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<&[u8]>>> {
        self.as_bucket().get_many(keys)
    }

    /// See [`Bucket::get_many_into`].
    pub fn get_many_into<'a, K: AsRef<[u8]>>(&'a self, keys: &[K], values: &mut [Option<&'a [u8]>]) -> Result<()> {
        self.as_bucket().get_many_into(keys, values)
    }

    /// See [`Bucket::first`].
    pub fn first(&self) -> Result<Option<Entry<'_>>> {
        self.as_bucket().first()
    }

    /// See [`Bucket::last`].
    pub fn last(&self) -> Result<Option<Entry<'_>>> {
        self.as_bucket().last()
    }

    /// See [`Bucket::iter`].
    pub fn iter(&self) -> Range<'_> {
        self.as_bucket().iter()
    }

    /// See [`Bucket::range`].
    pub fn range(&self, range: impl KeyRange) -> Range<'_> {
        self.as_bucket().range(range)
    }

    /// See [`Bucket::prefix`].
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range<'_> {
        self.as_bucket().prefix(prefix)
    }

    /// See [`Bucket::cursor`].
    pub fn cursor(&self) -> Cursor<'_> {
        self.as_bucket().cursor()
    }

    /// See [`Bucket::len`].
    pub fn len(&self) -> u64 {
        self.as_bucket().len()
    }

    /// See [`Bucket::is_empty`].
    pub fn is_empty(&self) -> bool {
        self.as_bucket().is_empty()
    }

    /// See [`Bucket::nth`].
    pub fn nth(&self, n: u64) -> Result<Option<Entry<'_>>> {
        self.as_bucket().nth(n)
    }

    /// See [`Bucket::rank`].
    pub fn rank(&self, key: impl AsRef<[u8]>) -> Result<u64> {
        self.as_bucket().rank(key)
    }

    /// See [`Bucket::count_range`].
    pub fn count_range(&self, range: impl KeyRange) -> Result<u64> {
        self.as_bucket().count_range(range)
    }

    /// See [`Bucket::stats`].
    pub fn stats(&self) -> Result<BucketStats> {
        self.as_bucket().stats()
    }

    /// Puts an entry; the value of a key that is there is replaced.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key.as_ref(), value.as_ref(), Mode::Upsert).map(|_| ())
    }

    /// Puts an entry unless the key is there. Answers whether it was put.
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool> {
        Ok(!self.put_with(key.as_ref(), value.as_ref(), Mode::Insert)?)
    }

    /// Puts an entry and answers with the value that it replaced, if any.
    pub fn replace(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let old = self.get(&key)?.map(<[u8]>::to_vec);
        self.put(key, value)?;
        Ok(old)
    }

    /// Puts an entry whose key is greater than all others: what is quickest for sorted input.
    ///
    /// # Errors
    ///
    /// [`Error::KeyOrder`] if the key is not greater than the last one; nothing has changed then.
    pub fn append(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key.as_ref(), value.as_ref(), Mode::Append).map(|_| ())
    }

    /// Puts an entry with a value of `len` bytes, which are zero until `write` fills them. If `write` panics, nothing has changed.
    pub fn reserve(&mut self, key: impl AsRef<[u8]>, len: usize, write: impl FnOnce(&mut [u8])) -> Result<()> {
        let key = key.as_ref();
        check_key(self.txn.page_len(), key)?;
        check_value_len(len)?;
        let mut value = Vec::new();
        let no_memory = |_| Error::io("reserving memory for a value")(std::io::ErrorKind::OutOfMemory.into());
        value.try_reserve_exact(len).map_err(no_memory)?;
        value.resize(len, 0);
        write(&mut value);
        self.put(key, value)
    }

    fn put_with(&mut self, key: &[u8], value: &[u8], mode: Mode) -> Result<bool> {
        check_key(self.txn.page_len(), key)?;
        let index = self.index;
        if self.txn.push(index, key, value)? {
            return Ok(false);
        }
        self.txn.write_finished(index)?;
        self.txn.make_room()?;
        self.txn.check_room(value.len())?;
        self.txn.change(|txn| {
            let (tree, pages, finger) = txn.parts(index);
            put::put(tree, pages, finger, key, value, mode)
        })
    }

    /// Deletes an entry. Answers whether it was there.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.txn.make_room()?;
        let index = self.index;
        self.txn.change(|txn| {
            let (tree, pages, finger) = txn.parts(index);
            delete::delete(tree, pages, finger, key)
        })
    }

    /// Deletes the entries in a range and answers how many there were. Pages that lie wholly inside are freed without a look at
    /// their entries.
    pub fn delete_range(&mut self, range: impl KeyRange) -> Result<u64> {
        let bounds = range.bounds();
        self.txn.make_room()?;
        let index = self.index;
        self.txn.change(|txn| {
            let (tree, pages, finger) = txn.parts(index);
            delete::delete_range(tree, pages, finger, bounds)
        })
    }

    /// Deletes all entries.
    pub fn clear(&mut self) -> Result<()> {
        let index = self.index;
        self.txn.change(|txn| {
            let (tree, pages, finger) = txn.parts(index);
            delete::clear(tree, pages, finger).map(|_| ())
        })
    }

    /// Takes the first entry out.
    pub fn pop_first(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let entry = self.first()?.map(|(key, value)| (key.to_vec(), value.to_vec()));
        self.pop(entry)
    }

    /// Takes the last entry out.
    pub fn pop_last(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let entry = self.last()?.map(|(key, value)| (key.to_vec(), value.to_vec()));
        self.pop(entry)
    }

    fn pop(&mut self, entry: Option<(Vec<u8>, Vec<u8>)>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        if let Some((key, _)) = &entry {
            self.delete_seen(key)?;
        }
        Ok(entry)
    }

    /// Deletes a key that an iterator came to. In a leaf that is out of order, and that nobody verified, a search may not find it.
    fn delete_seen(&mut self, key: &[u8]) -> Result<()> {
        if self.delete(key)? {
            return Ok(());
        }
        let Bucket { source, tree, .. } = self.as_bucket();
        Err(page::corrupt(source.page(tree.root)?, "below this page a key is not where a search looks for it"))
    }

    /// Keeps the entries for which `keep` returns true, and returns how many it deleted. `keep` sees each entry once, in key order. Each page is
    /// changed once, so this is the quickest way to delete many entries that do not lie in a row.
    ///
    /// # Panics
    ///
    /// If `keep` does. The transaction goes on: of the entries that `keep` has seen, some of those that were to go are gone, and no others.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> Result<u64> {
        let (index, mut retain, mut deleted) = (self.index, Retain::default(), 0);
        loop {
            self.txn.make_room()?;
            let (tree, pages, finger) = self.txn.parts(index);
            if !retain.decide(tree, pages, finger, &mut keep)? {
                return Ok(deleted);
            }
            deleted += self.txn.change(|txn| {
                let (tree, pages, finger) = txn.parts(index);
                retain.apply(tree, pages, finger)
            })?;
        }
    }

    /// The place of `key`, there or not, to look at and then decide.
    pub fn entry<K: AsRef<[u8]>>(&mut self, key: K) -> Result<EntryMut<'_, 'txn, K>> {
        let is_occupied = self.contains(&key)?;
        Ok(EntryMut { bucket: self, key, is_occupied })
    }
}

impl fmt::Debug for BucketMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketMut").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The place of a key in a bucket. See [`BucketMut::entry`].
///
/// ```
/// # fn main() -> folio::Result<()> {
/// # let db = folio::Options::new().open_in_memory()?;
/// db.exec(|txn| {
///     let mut words = txn.bucket_mut("words")?;
///     for word in ["a", "b", "a"] {
///         let count = words.entry(word)?;
///         count.and_modify(|old| vec![old[0] + 1])?.or_insert([1])?;
///     }
///     assert_eq!(words.get("a")?, Some(&[2][..]));
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct EntryMut<'a, 'txn, K> {
    bucket: &'a mut BucketMut<'txn>,
    key: K,
    is_occupied: bool,
}

impl<K: AsRef<[u8]>> EntryMut<'_, '_, K> {
    /// Whether the key is there.
    pub fn is_occupied(&self) -> bool {
        self.is_occupied
    }

    /// The value, if the key is there.
    pub fn get(&self) -> Result<Option<&[u8]>> {
        self.bucket.get(&self.key)
    }

    /// Replaces the value by what `change` makes of it, if the key is there.
    pub fn and_modify<V: AsRef<[u8]>>(self, change: impl FnOnce(&[u8]) -> V) -> Result<Self> {
        if let Some(new) = self.get()?.map(change) {
            self.bucket.put(&self.key, new)?;
        }
        Ok(self)
    }

    /// Puts a value, unless the key is there.
    pub fn or_insert(self, value: impl AsRef<[u8]>) -> Result<()> {
        if self.is_occupied { Ok(()) } else { self.bucket.put(&self.key, value) }
    }

    /// Puts the value that `value` answers, unless the key is there.
    pub fn or_insert_with<V: AsRef<[u8]>>(self, value: impl FnOnce() -> V) -> Result<()> {
        if self.is_occupied { Ok(()) } else { self.bucket.put(&self.key, value()) }
    }

    /// Deletes the entry. Answers whether it was there.
    pub fn delete(self) -> Result<bool> {
        self.bucket.delete(&self.key)
    }
}
