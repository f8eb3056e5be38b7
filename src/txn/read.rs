//! Read transactions: a pinned snapshot.

use std::fmt;
use std::sync::Arc;

use super::readers::PinIndex;
use super::{PageSource, Shared, Snapshot};
use crate::bucket::{Bucket, open_bucket};
use crate::database::Handle;
use crate::diff::Diff;
use crate::error::Result;
use crate::inspect::PageInfo;
use crate::page::TxnId;
use crate::tree::Tree;

/// A snapshot of the database that stays as it is for as long as this is held.
///
/// Taking one takes no lock and some tens of nanoseconds, and there may be as many as you like. It belongs to no thread: it can
/// be sent, shared and cloned. While it is held, the pages that it can see are not reused; see
/// [`crate::Database::snapshots`] for what is held back, and by whom.
///
/// In a child that was made by `fork` nothing holds those pages: there it returns [`crate::Error::Forked`], and what it has lent before
/// must not be used.
pub struct ReadTxn {
    handle: Arc<Handle>,
    pin: PinIndex,
    pub(super) snapshot: Snapshot,
}

impl ReadTxn {
    #[inline]
    pub(crate) fn begin(handle: &Arc<Handle>, shard: usize) -> Result<ReadTxn> {
        handle.shared.check_process()?;
        let handle = Arc::clone(handle);
        let (pin, snapshot) = handle.shared.readers.pin(shard);
        Ok(ReadTxn { handle, pin, snapshot })
    }

    /// The same transaction, under a label.
    pub(crate) fn labelled(mut self, label: &str) -> ReadTxn {
        self.handle.shared.labels.add(self.snapshot.txn, self.pin.place(), label);
        self.pin = self.pin.labelled();
        self
    }

    /// Before the pin is let go of, since then it may be another's, which has no label.
    #[cold]
    fn leave_label(&mut self) {
        self.handle.shared.labels.leave(self.snapshot.txn, self.pin.place());
        self.pin = self.pin.without_label();
    }

    /// The transaction that committed this snapshot.
    pub fn id(&self) -> TxnId {
        self.snapshot.txn
    }

    /// The bucket of this name, if there is one.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Corrupt`] if the catalog is damaged; [`crate::Error::Forked`] in a forked child.
    pub fn bucket(&self, name: &str) -> Result<Option<Bucket<'_>>> {
        self.shared().check_process()?;
        open_bucket(self.source(), self.snapshot.catalog, name)
    }

    /// The names of all buckets, in order.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Corrupt`] if the catalog is damaged; [`crate::Error::Forked`] in a forked child.
    pub fn buckets(&self) -> Result<Vec<String>> {
        self.shared().check_process()?;
        crate::bucket::names(self.source(), self.snapshot.catalog)
    }

    /// What changed between this snapshot and `newer`: bucket by bucket the entries that were added, removed or given another value.
    ///
    /// Parts that both snapshots share are skipped unseen. So it costs time in proportion to the number of changes times the depth of
    /// the trees, whatever the size of the database and however many commits lie between the two. Keys and values are lent, without a
    /// copy. Nothing is reported of an entry that was written again with the same value, nor of a bucket whose entries are
    /// all the same.
    ///
    /// If `newer` is the older of the two, the changes are told the other way round: it is what would undo them.
    ///
    /// A bucket is known by its name. One that was renamed is dropped under the old name and created under the new one, and to
    /// read both through costs as much as to read the bucket twice. One that was dropped and made anew is kept, with the difference
    /// between the old entries and the new.
    ///
    /// ```
    /// use folio::{BucketChange, Change};
    ///
    /// # let db = folio::Database::in_memory()?;
    /// db.exec(|txn| {
    ///     let mut users = txn.bucket_mut("users")?;
    ///     users.put("id:1", "Alice")?;
    ///     users.put("id:2", "Bob")
    /// })?;
    /// let old = db.begin_read()?;
    /// db.exec(|txn| {
    ///     let mut users = txn.bucket_mut("users")?;
    ///     users.put("id:1", "Alice Liddell")?;
    ///     users.put("id:2", "Bob")?; // the same again
    ///     users.put("id:3", "Carol")
    /// })?;
    /// let new = db.begin_read()?;
    ///
    /// for bucket in old.diff(&new)? {
    ///     let bucket = bucket?;
    ///     assert_eq!((bucket.name(), bucket.kind()), ("users", BucketChange::Kept));
    ///     let changes: Vec<Change> = bucket.collect::<folio::Result<_>>()?;
    ///     assert_eq!(changes, [
    ///         Change::Changed { key: b"id:1", old: b"Alice", new: b"Alice Liddell" },
    ///         Change::Added { key: b"id:3", value: b"Carol" },
    ///     ]);
    /// }
    /// assert!(old.diff(&old)?.next().is_none());
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`crate::Error::OtherDatabase`] if `newer` is a snapshot of another database; [`crate::Error::Forked`] in a forked child. The iterators answer [`crate::Error::Corrupt`] if a
    /// page that they come to is damaged.
    pub fn diff<'txn>(&'txn self, newer: &'txn ReadTxn) -> Result<Diff<'txn>> {
        self.shared().check_process()?;
        Diff::new(self, newer)
    }

    /// What page number `page` holds, going by its own bytes: they may be left over from an earlier use. `None` past the end of the
    /// snapshot. What the page is used for, if anything, is in [`Database::page_map`](crate::Database::page_map).
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] if the page cannot be read; [`crate::Error::Forked`] in a forked child. Bytes that make no sense are no error, but
    /// [`PageKind::Unknown`](crate::PageKind::Unknown).
    pub fn page_info(&self, page: u64) -> Result<Option<PageInfo>> {
        self.shared().check_process()?;
        crate::inspect::page_info(self.shared(), page, self.page_count())
    }

    #[inline]
    pub(crate) fn source(&self) -> PageSource<'_> {
        let map = self.handle.shared.map(self.snapshot.map);
        PageSource { map, page_count: self.snapshot.page_count, dirty: None }
    }

    pub(crate) fn catalog(&self) -> Tree {
        self.snapshot.catalog
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.snapshot.page_count
    }

    pub(crate) fn page_len(&self) -> usize {
        self.handle.shared.options.page_len
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Shared {
        &self.handle.shared
    }
}

impl Clone for ReadTxn {
    /// Shares the pin of the snapshot, and the label.
    fn clone(&self) -> ReadTxn {
        let handle = Arc::clone(&self.handle);
        handle.shared.readers.share(self.pin.without_label());
        if self.pin.is_labelled() {
            handle.shared.labels.share(self.snapshot.txn, self.pin.place());
        }
        ReadTxn { handle, pin: self.pin, snapshot: self.snapshot }
    }
}

impl Drop for ReadTxn {
    #[inline]
    fn drop(&mut self) {
        if self.pin.is_labelled() {
            self.leave_label();
        }
        self.handle.shared.readers.unpin(self.pin);
    }
}

impl fmt::Debug for ReadTxn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadTxn").field("id", &self.id()).finish_non_exhaustive()
    }
}
