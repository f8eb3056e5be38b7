//! What differs between two snapshots of a database: buckets, and in each bucket entries. Called by `ReadTxn::diff`.
//!
//! The catalog is a tree like any other, so the buckets that differ are found as entries are, by `tree::diff`, which also says why
//! pages that both snapshots have need not be looked at.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Bound;

use crate::bucket::{self, NOT_UTF8, to_tree};
use crate::error::{Error, Result};
use crate::page::leaf::Value;
use crate::tree::diff::{Diff as TreeDiff, Difference};
use crate::tree::{Pages, Tree};
use crate::txn::PageSource;
use crate::txn::read::ReadTxn;

/// What differs between two snapshots: the buckets, in the order of their names. See [`ReadTxn::diff`].
///
/// An item is an error if a page is corrupt; after an error nothing more comes.
pub struct Diff<'txn> {
    old: Half<'txn>,
    new: Half<'txn>,
    catalogs: TreeDiff<'txn, PageSource<'txn>>,
    is_done: bool,
}

/// What became of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BucketChange {
    /// Only the newer snapshot has it. All its entries are added; it may have none.
    Created,
    /// Only the older snapshot has it. All its entries are removed; it may have had none.
    Dropped,
    /// Both have it, and at least one entry differs.
    Kept,
}

/// A bucket that differs between two snapshots: an iterator over its entries that differ, in key order.
///
/// An item is an error if a page is corrupt; after an error nothing more comes. Of a bucket that was created or dropped no page is
/// read before the first item is asked for.
pub struct BucketDiff<'txn> {
    name: &'txn str,
    kind: BucketChange,
    changes: Changes<'txn>,
    /// It was looked at to see whether there is any.
    first: Option<Change<'txn>>,
}

/// An entry that differs between two snapshots. Keys and values are lent, as by [`crate::Bucket`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'txn> {
    /// Only the newer snapshot has it.
    Added {
        /// The key.
        key: &'txn [u8],
        /// The value in the newer snapshot.
        value: &'txn [u8],
    },
    /// Only the older snapshot has it.
    Removed {
        /// The key.
        key: &'txn [u8],
        /// The value in the older snapshot.
        value: &'txn [u8],
    },
    /// Both have the key, with different values.
    Changed {
        /// The key.
        key: &'txn [u8],
        /// The value in the older snapshot.
        old: &'txn [u8],
        /// The value in the newer snapshot.
        new: &'txn [u8],
    },
}

impl<'txn> Change<'txn> {
    /// The key.
    pub fn key(&self) -> &'txn [u8] {
        match *self {
            Change::Added { key, .. } | Change::Removed { key, .. } | Change::Changed { key, .. } => key,
        }
    }
}

/// One of the two snapshots.
#[derive(Clone, Copy)]
struct Half<'txn> {
    source: PageSource<'txn>,
    catalog: Tree,
}

impl<'txn> Half<'txn> {
    fn of(txn: &'txn ReadTxn) -> Half<'txn> {
        Half { source: txn.source(), catalog: txn.catalog() }
    }

    /// The tree that the record of `name` in the catalog describes; an empty one if there is no record.
    fn tree(&self, name: &[u8], record: Option<Value<'txn>>) -> Result<Tree> {
        match record {
            Some(record) => to_tree(self.source.lend(record)?).map_err(|what| self.corrupt(name, what)),
            None => Ok(Tree::EMPTY),
        }
    }

    /// What is wrong with an entry of the catalog.
    fn corrupt(&self, name: &[u8], what: &'static str) -> Error {
        bucket::corrupt(self.source, self.catalog, name, what)
    }
}

/// What differs between the trees of two halves.
fn diff<'txn>(old: Half<'txn>, old_tree: Tree, new: Half<'txn>, new_tree: Tree) -> TreeDiff<'txn, PageSource<'txn>> {
    TreeDiff::new(old.source, old_tree, new.source, new_tree, (Bound::Unbounded, Bound::Unbounded))
}

impl<'txn> Diff<'txn> {
    pub(crate) fn new(old: &'txn ReadTxn, new: &'txn ReadTxn) -> Result<Diff<'txn>> {
        if !std::ptr::eq(old.shared(), new.shared()) {
            return Err(Error::OtherDatabase);
        }
        let (old, new) = (Half::of(old), Half::of(new));
        Ok(Diff { old, new, catalogs: diff(old, old.catalog, new, new.catalog), is_done: false })
    }

    fn find_next(&mut self) -> Result<Option<BucketDiff<'txn>>> {
        while let Some(difference) = self.catalogs.next().transpose()? {
            let bucket = self.bucket(difference)?;
            if bucket.kind != BucketChange::Kept || bucket.first.is_some() {
                return Ok(Some(bucket));
            }
        }
        Ok(None)
    }

    fn bucket(&self, difference: Difference<'txn>) -> Result<BucketDiff<'txn>> {
        let holder = if difference.new.is_some() { self.new } else { self.old };
        let Ok(name) = std::str::from_utf8(difference.key) else {
            return Err(holder.corrupt(difference.key, NOT_UTF8));
        };
        let (old, new) = (self.old, self.new);
        let (old_tree, new_tree) =
            (old.tree(difference.key, difference.old)?, new.tree(difference.key, difference.new)?);
        let entries = diff(old, old_tree, new, new_tree);
        let mut changes = Changes { old: old.source, new: new.source, entries, is_done: false };
        let (kind, first) = match (difference.old, difference.new) {
            (None, _) => (BucketChange::Created, None),
            (_, None) => (BucketChange::Dropped, None),
            (Some(_), Some(_)) => (BucketChange::Kept, changes.next().transpose()?),
        };
        Ok(BucketDiff { name, kind, changes, first })
    }
}

impl<'txn> Iterator for Diff<'txn> {
    type Item = Result<BucketDiff<'txn>>;

    fn next(&mut self) -> Option<Result<BucketDiff<'txn>>> {
        if self.is_done {
            return None;
        }
        let next = self.find_next();
        self.is_done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl FusedIterator for Diff<'_> {}

impl fmt::Debug for Diff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff").finish_non_exhaustive()
    }
}

impl<'txn> BucketDiff<'txn> {
    /// The name of the bucket.
    pub fn name(&self) -> &'txn str {
        self.name
    }

    /// What became of the bucket.
    pub fn kind(&self) -> BucketChange {
        self.kind
    }
}

impl<'txn> Iterator for BucketDiff<'txn> {
    type Item = Result<Change<'txn>>;

    fn next(&mut self) -> Option<Result<Change<'txn>>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.changes.next(),
        }
    }
}

impl FusedIterator for BucketDiff<'_> {}

impl fmt::Debug for BucketDiff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketDiff").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The entries of two trees that differ, with their values.
struct Changes<'txn> {
    old: PageSource<'txn>,
    new: PageSource<'txn>,
    entries: TreeDiff<'txn, PageSource<'txn>>,
    is_done: bool,
}

impl<'txn> Changes<'txn> {
    fn find_next(&mut self) -> Result<Option<Change<'txn>>> {
        let Some(Difference { key, old, new }) = self.entries.next().transpose()? else { return Ok(None) };
        let old = old.map(|value| self.old.lend(value)).transpose()?;
        let new = new.map(|value| self.new.lend(value)).transpose()?;
        Ok(match (old, new) {
            (Some(old), Some(new)) => Some(Change::Changed { key, old, new }),
            (Some(value), None) => Some(Change::Removed { key, value }),
            (None, Some(value)) => Some(Change::Added { key, value }),
            (None, None) => None,
        })
    }
}

impl<'txn> Iterator for Changes<'txn> {
    type Item = Result<Change<'txn>>;

    fn next(&mut self) -> Option<Result<Change<'txn>>> {
        if self.is_done {
            return None;
        }
        let next = self.find_next();
        self.is_done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
