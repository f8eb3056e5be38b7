//! Savepoints: states of a write transaction that it can go back to.
//!
//! A savepoint is to a transaction what a snapshot is to a database: the roots of its trees, and the promise that no page below them
//! changes. The dirty pages of that moment are *frozen*: like a clean page, a frozen one is copied when it is to change, and what it
//! is replaced by is the transaction's own. The roots of buckets are kept when they are about to change for the first time since. So
//! to take a savepoint costs next to nothing, and to go back or to let go of one costs what has changed since.
//!
//! Savepoints form a stack. Whoever lets go of a page asks the one on top:
//! - A1: a page that came about after the newest savepoint is seen by none, and is let go of at once.
//! - A2: any other page of the transaction is seen by the newest, and waits in `deferred` until that is released.
//! - A3: pages of the database's snapshot are freed as ever, and found again by the length that `freed` had.
//!
//! Nor is what a bucket's name meant kept anywhere but by the newest savepoint before it changed: an older one has it from there.
//!
//! When dirty pages are spilled, those of the savepoints are, too; a page that several of them share is written once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::extents::ExtentSet;
use super::open_buckets::OpenBucket;
use super::write::{WritePages, WriteTxn};
use crate::error::{Error, Result};
use crate::page::PageNo;
use crate::page::space_log::Extent;
use crate::tree::Tree;
use crate::tree::put::Finger;

/// A state of a write transaction to go back to: [`WriteTxn::savepoint`].
///
/// It is good until it is released, until the transaction goes back to an earlier one, or ends.
#[derive(Debug)]
#[must_use = "without it there is no way back"]
pub struct Savepoint {
    serial: u64,
}

/// Where a savepoint stands in what the transaction keeps.
pub(super) struct Mark {
    serial: u64,
    catalog: Tree,
    /// What was open as it was then, by the names that mean something else since; `None` for one that was not. In order, since the same
    /// operations are to make the same file.
    kept: BTreeMap<Arc<str>, Option<Kept>>,
    /// What was taken since, until the next savepoint.
    taken: ExtentSet,
    /// The lengths of lists that only grow while the savepoint is there.
    freed_len: usize,
    claimed_len: usize,
    deferred_len: usize,
    page_count: u64,
    has_put: bool,
}

/// An open bucket as a savepoint sees it.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) tree: Tree,
    pub(super) recorded: Tree,
}

/// Pages that the transaction has let go of and a savepoint sees: a dirty one, or some in the file.
#[derive(Clone, Copy)]
pub(super) struct Deferred {
    pub(super) first: PageNo,
    pub(super) count: u64,
}

/// The savepoints of a transaction, the newest last.
#[derive(Default)]
pub(super) struct Marks {
    marks: Vec<Mark>,
    pub(super) deferred: Vec<Deferred>,
}

impl Marks {
    fn find(&self, savepoint: &Savepoint) -> Result<usize> {
        self.marks.binary_search_by_key(&savepoint.serial, |mark| mark.serial).map_err(|_| Error::NoSavepoint)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// That of the newest savepoint; 0 if there is none.
    #[inline]
    pub(super) fn serial(&self) -> u64 {
        self.marks.last().map_or(0, |mark| mark.serial)
    }

    /// The trees as they were at each savepoint.
    pub(super) fn trees(&mut self) -> impl Iterator<Item = &mut Tree> {
        self.marks.iter_mut().flat_map(|mark| {
            let buckets = mark.kept.values_mut().flatten().map(|kept| &mut kept.tree);
            buckets.chain([&mut mark.catalog])
        })
    }

    /// A bucket's name is about to mean something else than this.
    pub(super) fn keep(&mut self, name: Arc<str>, kept: Option<Kept>) {
        if let Some(newest) = self.marks.last_mut() {
            newest.kept.entry(name).or_insert(kept);
        }
    }

    /// What mark `at` and later ones have kept, the newest first: so what a name meant at `at` comes last.
    fn take_kept(&mut self, at: usize) -> Vec<(Arc<str>, Option<Kept>)> {
        self.marks[at..].iter_mut().rev().flat_map(|mark| std::mem::take(&mut mark.kept)).collect()
    }

    /// The transaction takes pages of the file.
    pub(super) fn take(&mut self, extent: Extent) {
        if let Some(newest) = self.marks.last_mut() {
            newest.taken.insert(extent);
        }
    }

    /// The transaction lets go of pages of its own in the file. Answers whether a savepoint sees them, so that they stay for now.
    pub(super) fn defers(&mut self, extent: Extent) -> bool {
        let Some(newest) = self.marks.last_mut() else { return false };
        if newest.taken.contains(extent) {
            newest.taken.remove(extent); // A1
            return false;
        }
        self.deferred.push(Deferred { first: PageNo::new(extent.first), count: extent.count }); // A2
        true
    }

    /// The dirty page `index`, which came about in `epoch`, is page `no` of the file from now on; it was taken just now.
    pub(super) fn spilled(&mut self, epoch: u64, no: u64) {
        let Some(newest) = self.marks.last_mut().filter(|newest| epoch < newest.serial) else { return };
        let page = Extent::new(no, 1);
        newest.taken.remove(page);
        let before = self.marks.partition_point(|mark| mark.serial <= epoch);
        if let Some(i) = before.checked_sub(1) {
            self.marks[i].taken.insert(page);
        }
    }

    /// No page is dirty any more: `number_of` says which page of the file each has become.
    pub(super) fn all_spilled(&mut self, number_of: impl Fn(usize) -> PageNo) {
        for deferred in &mut self.deferred {
            deferred.first = deferred.first.as_dirty().map_or(deferred.first, &number_of);
        }
        self.marks.iter_mut().for_each(|mark| mark.claimed_len = 0);
    }
}

impl WritePages {
    fn mark(&mut self, serial: u64, catalog: Tree) {
        let mark = Mark {
            serial,
            catalog,
            kept: BTreeMap::new(),
            taken: ExtentSet::default(),
            freed_len: self.freed.len(),
            claimed_len: self.dirty().claimed_len(),
            deferred_len: self.marks.deferred.len(),
            page_count: self.page_count,
            has_put: self.has_put,
        };
        self.dirty_mut().freeze(serial);
        self.marks.marks.push(mark);
    }

    /// Undoes what was taken, freed and made dirty since mark `at`, and drops the later ones.
    fn undo_to(&mut self, at: usize) {
        for mut mark in self.marks.marks.drain(at + 1..).collect::<Vec<_>>() {
            self.give_back(std::mem::take(&mut mark.taken));
        }
        let mark = &mut self.marks.marks[at];
        let taken = std::mem::take(&mut mark.taken);
        let (serial, freed_len, claimed_len) = (mark.serial, mark.freed_len, mark.claimed_len);
        let page_count = mark.page_count;
        self.has_put = mark.has_put;
        self.marks.deferred.truncate(mark.deferred_len);
        self.give_back(taken);
        self.cut_tail(page_count);
        for freed in self.freed.drain(freed_len..) {
            self.freed_set.remove(freed.extent);
        }
        self.dirty_mut().undo(claimed_len);
        self.dirty_mut().freeze(serial);
    }

    fn give_back(&mut self, taken: ExtentSet) {
        for extent in taken.iter() {
            self.taken.remove(extent);
            self.space_mut().give(extent);
        }
    }

    /// Drops the marks from `at` on. What waited for them is let go of, unless an earlier one sees it.
    pub(super) fn release_from(&mut self, at: usize) {
        let Some(mark) = self.marks.marks.get(at) else { return };
        let waiting = self.marks.deferred.split_off(mark.deferred_len);
        let later = self.marks.marks.split_off(at);
        for mark in later {
            mark.taken.iter().for_each(|extent| self.marks.take(extent));
            mark.kept.into_iter().for_each(|(name, kept)| self.marks.keep(name, kept));
        }
        let serial = self.marks.serial();
        self.dirty_mut().freeze(serial);
        let claimed_len = self.marks.marks.last().map_or(0, |mark| mark.claimed_len);
        self.dirty_mut().forget_doubles(claimed_len);
        for Deferred { first, count } in waiting {
            match first.as_dirty() {
                Some(index) => self.let_go(index),
                None => self.let_go_of_own(Extent::new(first.get(), count)),
            }
        }
    }
}

impl WriteTxn {
    /// Marks the present state, to go back to it with [`WriteTxn::rollback_to`]. Savepoints nest to any depth.
    ///
    /// Costs next to nothing. While it is there, a page that changes is kept as it was, once for each savepoint that sees it; beyond
    /// [`crate::Options::dirty_limit`] such pages lie in the file. For each bucket that changes, some hundred bytes are kept in memory.
    ///
    /// ```
    /// # let db = folio::Database::in_memory()?;
    /// let mut txn = db.begin_write()?;
    /// txn.bucket_mut("orders")?.put("1", "paid")?;
    /// let savepoint = txn.savepoint()?;
    /// txn.bucket_mut("orders")?.put("1", "shipped")?;
    /// txn.drop_bucket("orders")?;
    /// txn.rollback_to(&savepoint)?;
    /// assert_eq!(txn.bucket("orders")?.expect("it is back").get("1")?, Some(&b"paid"[..]));
    /// txn.commit()?;
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Broken`] if an earlier call on this transaction failed half way.
    pub fn savepoint(&mut self) -> Result<Savepoint> {
        self.used();
        if self.is_broken {
            return Err(Error::Broken);
        }
        // Never given out twice, so that one of another transaction is not taken for one of this.
        static SERIALS: AtomicU64 = AtomicU64::new(1);
        let serial = SERIALS.fetch_add(1, Ordering::Relaxed);
        self.pages.mark(serial, self.catalog);
        Ok(Savepoint { serial })
    }

    /// Goes back to the state of a savepoint, which stays; later ones are gone. Buckets that were created, dropped, renamed or cleared
    /// since are as they were. A transaction that an error left half way is whole again.
    ///
    /// # Errors
    ///
    /// [`Error::NoSavepoint`] if it was released, if the transaction went back to an earlier one, or if it is another transaction's.
    /// [`Error::Broken`] if writing changed pages to the file has failed: then there is no way back but to drop the transaction.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        self.used();
        let at = self.pages.marks.find(savepoint)?;
        if self.pages.is_torn {
            return Err(Error::Broken);
        }
        for (name, kept) in self.pages.marks.take_kept(at) {
            self.open.remove(&name);
            if let Some(Kept { tree, recorded }) = kept {
                self.open.add(OpenBucket { name, tree, recorded, finger: Finger::NONE, kept_by: 0 });
            }
        }
        self.pages.undo_to(at);
        self.catalog = self.pages.marks.marks[at].catalog;
        self.catalog_finger = Finger::NONE;
        self.is_broken = false;
        Ok(())
    }

    /// Lets go of a savepoint and all later ones. The changes since stay, as part of the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::NoSavepoint`], as [`WriteTxn::rollback_to`].
    pub fn release(&mut self, savepoint: Savepoint) -> Result<()> {
        self.used();
        let at = self.pages.marks.find(&savepoint)?;
        self.pages.release_from(at);
        Ok(())
    }

    /// Runs `f` as a transaction within this one: if it answers `Err` or panics, its changes are taken back, and its alone.
    ///
    /// ```
    /// # let db = folio::Database::in_memory()?;
    /// db.exec(|txn| {
    ///     txn.bucket_mut("log")?.put("1", "begun")?;
    ///     let imported = txn.nested(|txn| {
    ///         txn.bucket_mut("orders")?.put("1", "paid")?;
    ///         Err::<(), _>(folio::Error::other("a bad line"))
    ///     });
    ///     assert!(imported.is_err() && txn.bucket("orders")?.is_none());
    ///     txn.bucket_mut("log")?.put("2", "failed")
    /// })?;
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `f` answers; [`Error::Broken`] if it answers `Ok` after an error that left the transaction half way; [`Error::NoSavepoint`]
    /// if `f` itself went back to a savepoint from before, or released it. Then what it did cannot be taken back, and the
    /// transaction is good for nothing but to go back to an earlier savepoint or to be dropped.
    pub fn nested<T>(&mut self, f: impl FnOnce(&mut WriteTxn) -> Result<T>) -> Result<T> {
        let savepoint = self.savepoint()?;
        let shared = Arc::clone(&self.pages.shared);
        let mut inner = Nested { txn: self, savepoint: Some(savepoint) };
        let lent = shared.lend_writer();
        let done = f(inner.txn)?;
        drop(lent);
        if inner.txn.is_broken {
            return Err(Error::Broken);
        }
        let savepoint = inner.savepoint.take().expect("put there above");
        // Where the savepoint is gone, nothing tells what `f` did from what was there before.
        inner.txn.release(savepoint).inspect_err(|_| inner.txn.is_broken = true)?;
        Ok(done)
    }
}

/// Goes back when it is dropped with its savepoint.
struct Nested<'a> {
    txn: &'a mut WriteTxn,
    savepoint: Option<Savepoint>,
}

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        let Some(savepoint) = self.savepoint.take() else { return };
        if self.txn.rollback_to(&savepoint).and_then(|()| self.txn.release(savepoint)).is_err() {
            // What `f` did is still there, and must not be committed.
            self.txn.is_broken = true;
        }
    }
}
