//! Write transactions: a snapshot and the dirty pages above it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::commit;
use super::dirty::DirtyPages;
use super::extents::ExtentSet;
use super::open_buckets::{OpenBucket, OpenBuckets};
use super::pending::Freed;
use super::pieces::{LARGE_LEN, Pieces};
use super::savepoint::{Deferred, Kept, Marks};
use super::seat::WaitFor;
use super::space::{LogSpace, Space};
use super::written::Written;
use super::zone::{self, Zone};
use super::{PageSource, Shared, Writer};
use crate::bucket::{self, Bucket, BucketMut};
use crate::disk::map::Memory;
use crate::error::{Error, Result};
use crate::options::{Durability, Verify};
use crate::page::large::LargeRef;
use crate::page::space_log::{self, Extent};
use crate::page::{self, PageNo, TxnId, VALUE_MAX};
use crate::tree::put::{self, Finger, Mode};
use crate::tree::{Pages, PagesMut, Tree, delete};

/// Pages kept back from `put`, at least, on the disk and below `Options::max_size`, so that what fills the file can still be deleted.
const FULL_RESERVE: u64 = 24;

/// The part of a file, without what is pinned, that may be free before scattered pages are taken again.
const SLACK: u64 = 8;

/// How many bytes are written before the disk is told to begin with them. On a virtual disk that took a fifth off a commit of a thousand
/// scattered puts, and a sixth off one of 32; four times as much, or a quarter, is about as good.
const BEGIN_LEN: usize = 64 << 10;

/// How many bytes are readied for growth at a time.
const READY_LEN: u64 = 256 << 10;

/// A write transaction: sees its own changes at once; others see them when it commits.
///
/// There is one at a time. Dropping it without a commit leaves the database as it was.
pub struct WriteTxn {
    pub(super) pages: WritePages,
    pub(super) catalog: Tree,
    pub(super) catalog_finger: Finger,
    pub(super) open: OpenBuckets,
    /// The most dirty pages beside the open buckets.
    dirty_max: usize,
    /// That of `commit`.
    durability: Durability,
    pub(super) is_broken: bool,
}

/// The pages of a write transaction: the snapshot's, and its own dirty ones.
pub(crate) struct WritePages {
    pub(super) shared: Arc<Shared>,
    /// Present until the drop gives it back.
    writer: Option<Box<Writer>>,
    pub(super) txn: TxnId,
    /// Page counts of the snapshot and now.
    base_page_count: u64,
    pub(super) page_count: u64,
    /// Extents taken by this transaction and still in use.
    pub(super) taken: ExtentSet,
    /// Free pages at the end of the file that are not to be taken, since it is to become shorter.
    pub(super) held_back: Vec<Extent>,
    /// Pages of the snapshot that it no longer uses.
    pub(super) freed: Vec<Freed>,
    pub(super) freed_set: ExtentSet,
    pub(super) marks: Marks,
    /// Dirty pages were numbered and then not all written: what refers to them leads nowhere.
    pub(super) is_torn: bool,
    pub(super) written: Written,
    /// Whether something was put, or only deleted.
    pub(super) has_put: bool,
    is_committed: bool,
}

impl WriteTxn {
    pub(crate) fn begin(shared: &Arc<Shared>, wait_for: WaitFor, durability: Durability) -> Result<Option<WriteTxn>> {
        let Some(mut writer) = shared.lock_writer(wait_for)? else { return Ok(None) };
        writer.prepare(shared)?;
        let catalog = Tree::from_record(&writer.meta.catalog, 0)?;
        // Readers may have left since the last commit.
        writer.reclaim(shared);
        if writer.is_short_of_room(shared) {
            writer.make_durable(shared)?;
        }
        let fields = writer.meta.fields();
        let pages = WritePages {
            shared: Arc::clone(shared),
            txn: fields.txn.next(),
            writer: Some(writer.take()),
            base_page_count: fields.page_count,
            page_count: fields.page_count,
            taken: ExtentSet::default(),
            held_back: Vec::new(),
            freed: Vec::new(),
            freed_set: ExtentSet::default(),
            marks: Marks::default(),
            is_torn: false,
            written: Written::default(),
            has_put: false,
            is_committed: false,
        };
        Ok(Some(WriteTxn {
            dirty_max: shared.options.dirty_page_max,
            pages,
            catalog,
            catalog_finger: Finger::NONE,
            open: OpenBuckets::default(),
            durability,
            is_broken: false,
        }))
    }

    /// The id that the snapshot will have when this commits. If it does not, the next transaction has the same id.
    pub fn id(&self) -> TxnId {
        self.pages.txn
    }

    /// The bucket of this name, to read.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the catalog is damaged.
    pub fn bucket(&self, name: &str) -> Result<Option<Bucket<'_>>> {
        self.pages.shared.check_process()?;
        match self.open.place(name) {
            Some(place) => Ok(Some(Bucket::new(self.pages.view(), self.open[place].tree))),
            None => bucket::open_bucket(self.pages.view(), self.catalog, name),
        }
    }

    /// The bucket of this name, to read and write. Creates it if it is missing.
    ///
    /// One bucket at a time is open for writing, and nothing that was read through the transaction lives across a change:
    /// the borrow checker sees to it. What is to go from one bucket to another is copied on the way, and to open a bucket again costs
    /// little:
    ///
    /// ```
    /// # let db = folio::Database::in_memory()?;
    /// # db.exec(|txn| txn.bucket_mut("users")?.put("id:1", "Alice"))?;
    /// db.exec(|txn| {
    ///     let users = txn.bucket("users")?.expect("it is there");
    ///     let names: Vec<_> = users.iter().collect::<folio::Result<_>>()?;
    ///     let names: Vec<_> = names.iter().map(|(id, name)| (name.to_vec(), id.to_vec())).collect();
    ///     let mut by_name = txn.bucket_mut("by name")?;
    ///     names.iter().try_for_each(|(name, id)| by_name.put(name, id))
    /// })?;
    /// # Ok::<(), folio::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BucketName`] if the name is empty or longer than 255 bytes; [`Error::Corrupt`] or [`Error::Io`] if the catalog
    /// cannot be read or changed.
    pub fn bucket_mut(&mut self, name: &str) -> Result<BucketMut<'_>> {
        self.pages.shared.check_process()?;
        self.used();
        bucket::check_name(name)?;
        let place = match self.open.place(name) {
            Some(place) => place,
            None => self.open_bucket(name)?,
        };
        self.keep(place);
        Ok(BucketMut::new(self, place))
    }

    /// This thread has the transaction.
    #[inline]
    pub(super) fn used(&self) {
        self.pages.shared.writer.used();
    }

    fn open_bucket(&mut self, name: &str) -> Result<usize> {
        let limit = self.pages.shared.options.dirty_limit;
        if self.open.memory_len() > limit / 2 {
            self.close_buckets()?;
        }
        let tree = match bucket::find(self.pages.view(), self.catalog, name)? {
            Some(tree) => tree,
            None => {
                self.make_room()?;
                self.check_room(0)?;
                self.pages.marks.keep(name.into(), None);
                self.record(name, Tree::EMPTY)?;
                Tree::EMPTY
            }
        };
        let finger = Finger::NONE;
        let place = self.open.add(OpenBucket { name: name.into(), tree, recorded: tree, finger, kept_by: 0 });
        self.share_limit();
        Ok(place)
    }

    /// Closes the buckets that the catalog has as they are; if the others take a quarter of the limit, all, whose dirty pages are
    /// written out for that.
    fn close_buckets(&mut self) -> Result<()> {
        self.open.close_unchanged();
        if self.open.memory_len() > self.pages.shared.options.dirty_limit / 4 {
            self.pages.shared.check_writing_process()?;
            self.change(commit::spill)?;
            (0..self.open.len()).for_each(|place| self.keep(place));
            commit::record_roots(self, &self.open.changed())?;
            self.open = OpenBuckets::default();
        }
        self.share_limit();
        Ok(())
    }

    /// What the open buckets take, the dirty pages may not. Half of the limit is theirs in any case.
    fn share_limit(&mut self) {
        let limit = self.pages.shared.options.dirty_page_max;
        self.dirty_max = limit - (self.open.memory_len() / self.pages.page_len()).min(limit / 2);
    }

    /// An open bucket is about to change: the newest savepoint keeps it as it is, if it has not kept it before.
    #[inline]
    fn keep(&mut self, place: usize) {
        let (bucket, serial) = (&mut self.open[place], self.pages.marks.serial());
        if bucket.kept_by < serial {
            bucket.kept_by = serial;
            let kept = Kept { tree: bucket.tree, recorded: bucket.recorded };
            self.pages.marks.keep(Arc::clone(&bucket.name), Some(kept));
        }
    }

    /// Sets what the catalog says of a bucket.
    pub(super) fn record(&mut self, name: &str, tree: Tree) -> Result<()> {
        let record = bucket::to_record(tree);
        self.change(|txn| {
            let (catalog, finger) = (&mut txn.catalog, &mut txn.catalog_finger);
            put::put(catalog, &mut txn.pages, finger, name.as_bytes(), &record, Mode::Upsert)?;
            Ok(())
        })
    }

    /// Drops a bucket and everything in it. Answers whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] or [`Error::Io`] if a page cannot be read.
    pub fn drop_bucket(&mut self, name: &str) -> Result<bool> {
        self.used();
        self.make_room()?;
        let open = self.open.place(name);
        let tree = match open {
            Some(place) => Some(self.open[place].tree),
            None => bucket::find(self.pages.view(), self.catalog, name)?,
        };
        let Some(mut tree) = tree else { return Ok(false) };
        open.into_iter().for_each(|place| self.keep(place));
        self.change(|txn| {
            let mut finger = Finger::NONE;
            delete::clear(&mut tree, &mut txn.pages, &mut finger)?;
            delete::delete(&mut txn.catalog, &mut txn.pages, &mut txn.catalog_finger, name.as_bytes())
        })?;
        self.open.remove(name);
        Ok(true)
    }

    /// Gives a bucket another name. Answers whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error::BucketExists`] if there is a bucket named `to`; [`Error::BucketName`] if `to` is empty or too long;
    /// [`Error::Corrupt`] or [`Error::Io`] if the catalog cannot be read or changed.
    pub fn rename_bucket(&mut self, from: &str, to: &str) -> Result<bool> {
        self.used();
        bucket::check_name(to)?;
        if self.bucket(from)?.is_none() {
            return Ok(false);
        }
        if from == to {
            return Ok(true);
        }
        if self.bucket(to)?.is_some() {
            return Err(Error::BucketExists { name: to.to_string() });
        }
        let place = match self.open.place(from) {
            Some(place) => place,
            None => self.open_bucket(from)?,
        };
        self.keep(place);
        self.pages.marks.keep(to.into(), None);
        let recorded = self.open[place].recorded;
        self.change(|txn| delete::delete(&mut txn.catalog, &mut txn.pages, &mut txn.catalog_finger, from.as_bytes()))?;
        self.record(to, recorded)?;
        if let Some(bucket) = self.open.remove(from) {
            self.open.add(OpenBucket { name: to.into(), ..bucket });
        }
        Ok(true)
    }

    /// The names of all buckets, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the catalog is damaged.
    pub fn buckets(&self) -> Result<Vec<String>> {
        self.pages.shared.check_process()?;
        bucket::names(self.pages.view(), self.catalog)
    }

    /// Makes the changes durable, as [`crate::Options::durability`] says, and visible to new readers. Answers the transaction's id; that of
    /// the commit before if nothing was changed.
    ///
    /// # Errors
    ///
    /// [`Error::Full`], [`Error::Io`]: nothing has changed, and the transaction is gone. If the error came from the final sync or
    /// the write of the meta, then the database takes no more writes until it is opened anew ([`Error::Failed`]): what is on the
    /// disk is the state before or the state after, whole. Readers go on with the state before; only where a relaxed commit was
    /// done and then its sync failed, which [`crate::Options::sync_bytes`] or [`crate::Options::sync_interval`] had asked for, do
    /// they see the state after. [`Error::Broken`]: an earlier call on this transaction failed half way.
    pub fn commit(self) -> Result<TxnId> {
        let durability = self.durability;
        self.commit_with(durability)
    }

    /// Commits with another durability than the database's.
    ///
    /// # Errors
    ///
    /// As [`WriteTxn::commit`].
    pub fn commit_with(mut self, durability: Durability) -> Result<TxnId> {
        self.used();
        if self.is_broken {
            return Err(Error::Broken);
        }
        self.pages.shared.check_writing_process()?;
        commit::commit(&mut self, durability)
    }

    /// Drops the changes. The same as dropping the transaction.
    pub fn abort(self) {}

    /// Runs a change of pages. One that fails half way leaves the transaction good for nothing but to be dropped.
    #[inline]
    pub(crate) fn change<T>(&mut self, f: impl FnOnce(&mut WriteTxn) -> Result<T>) -> Result<T> {
        if self.is_broken {
            return Err(Error::Broken);
        }
        // Broken until proven whole: so it is, too, if `f` panics.
        self.is_broken = true;
        let result = f(self);
        self.is_broken =
            matches!(&result, Err(error) if !matches!(error, Error::KeyOrder | Error::ValueTooLong { .. }));
        result
    }

    /// Keeps the dirty pages within their limit: packs them, and writes them all out if that is not enough. In the file they stay until
    /// they are changed again.
    pub(crate) fn make_room(&mut self) -> Result<()> {
        let limit = self.dirty_max;
        if self.pages.dirty().len() <= limit {
            return Ok(());
        }
        self.pages.shared.check_writing_process()?;
        self.change(|txn| {
            commit::pack_buckets(txn)?;
            // Where keys come at random, packed pages are soon as many as before, and to pack again and again would take longer than to write.
            let is_enough = txn.pages.dirty().len() <= limit / 8 * 7;
            if is_enough { Ok(()) } else { commit::spill(txn) }
        })
    }

    /// Writes out what sorted input has filled and left behind in a bucket, once that is a row. What a savepoint may see stays.
    pub(crate) fn write_finished(&mut self, index: usize) -> Result<()> {
        if self.open[index].finger.finished() < self.pages.row_len() || !self.pages.marks.is_empty() {
            return Ok(());
        }
        self.pages.shared.check_writing_process()?;
        self.change(|txn| commit::write_finished(txn, index))
    }

    pub(crate) fn page_len(&self) -> usize {
        self.pages.page_len()
    }

    /// The tree of an open bucket.
    #[inline]
    pub(crate) fn tree(&self, index: usize) -> Tree {
        self.open[index].tree
    }

    /// The catalog, which has the names of all buckets, and the trees of those that have not changed in this transaction.
    pub(crate) fn catalog(&self) -> Tree {
        self.catalog
    }

    /// The buckets whose trees are not what the catalog says.
    pub(crate) fn unrecorded(&self) -> impl Iterator<Item = (&str, Tree)> {
        self.open.iter().filter(|bucket| bucket.is_changed()).map(|bucket| (&bucket.name[..], bucket.tree))
    }

    /// A bucket's tree and finger, and the pages.
    pub(crate) fn parts(&mut self, index: usize) -> (&mut Tree, &mut WritePages, &mut Finger) {
        let bucket = &mut self.open[index];
        (&mut bucket.tree, &mut self.pages, &mut bucket.finger)
    }

    pub(crate) fn view(&self) -> PageSource<'_> {
        self.pages.view()
    }

    /// Puts an entry behind all others of an open bucket if that needs no page, and so no room. Answers whether it did.
    #[inline]
    pub(crate) fn push(&mut self, index: usize, key: &[u8], value: &[u8]) -> Result<bool> {
        if !self.open[index].finger.is_at_end() {
            return Ok(false);
        }
        self.change(|txn| {
            let (tree, pages, finger) = txn.parts(index);
            let pushed = put::push(tree, pages, finger, key, value);
            pages.has_put |= pushed;
            Ok(pushed)
        })
    }

    /// Refuses to put more into a database that is at its limit.
    pub(crate) fn check_room(&mut self, value_len: usize) -> Result<()> {
        self.pages.check_room(value_len)
    }
}

impl fmt::Debug for WriteTxn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteTxn").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl WritePages {
    #[inline]
    pub(super) fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("present until the drop")
    }

    #[inline]
    pub(super) fn writer_mut(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("present until the drop")
    }

    pub(super) fn space_mut(&mut self) -> &mut Space {
        self.writer_mut().space.as_mut().expect("prepared at begin")
    }

    #[inline]
    pub(super) fn dirty(&self) -> &DirtyPages {
        &self.writer().dirty
    }

    #[inline]
    pub(super) fn dirty_mut(&mut self) -> &mut DirtyPages {
        &mut self.writer_mut().dirty
    }

    /// Whether anything at all has changed.
    pub(super) fn is_unchanged(&self) -> bool {
        self.freed.is_empty() && self.taken.page_count() == 0 && self.dirty().len() == 0
    }

    fn check_room(&mut self, value_len: usize) -> Result<()> {
        self.has_put = true;
        if self.has_room(value_len) || self.space_mut().dissolve_zone() && self.has_room(value_len) {
            return Ok(());
        }
        Err(Error::Full { limit: self.shared.options.max_size })
    }

    fn has_room(&self, value_len: usize) -> bool {
        let max = self.shared.options.page_count_max;
        // A shorter value is inline, or takes one page, which the reserve has.
        let is_large = value_len >= self.page_len();
        let value_pages = if is_large { value_len.div_ceil(self.page_len()) as u64 } else { 0 };
        let space = self.space();
        let used = self.page_count - space.usable_page_count() + self.dirty().len() as u64 + value_pages;
        let has_run = value_pages <= max.saturating_sub(self.page_count) || value_pages <= space.free.largest();
        used + self.full_reserve() <= max && has_run
    }

    /// How many pages are kept back: some for the trees, and some for the list of what was freed if that is in shreds.
    fn full_reserve(&self) -> u64 {
        FULL_RESERVE + self.page_count / space_log::words_max(self.page_len()) as u64
    }

    /// Takes `count` pages in a row, out of the smallest free extent that has them, else at the end of the file, else out of the zone.
    fn take_run(&mut self, count: u64) -> Result<Extent> {
        let extent = match self.space_mut().free.take_run(count) {
            Some(extent) => extent,
            None if self.needs_zone(count) && self.space_mut().dissolve_zone() => return self.take_run(count),
            None => self.grow(count)?,
        };
        self.took(extent);
        Ok(extent)
    }

    /// How many pages of sorted input are written at a time: a large piece, or half of what may be dirty.
    fn row_len(&self) -> u64 {
        let half = (self.shared.options.dirty_page_max / 2) as u64;
        ((LARGE_LEN / self.page_len()) as u64).min(1 << half.ilog2())
    }

    /// Takes up to `count` pages, which are `row_len` or more, that lie in a row and end at a multiple of it, so that the next row is a large
    /// piece; `None` where there are no such pages.
    pub(super) fn take_row(&mut self, count: u64) -> Result<Option<Extent>> {
        let row_len = self.row_len();
        // What is known to be filled may be long gone.
        let count = count.min(2 * row_len - 1);
        let whole = |row: Extent| Extent::new(row.first, row.count - row.end() % row_len);
        let row = if let Some(free) = self.space_mut().free.take_run(count) {
            let row = whole(free);
            self.space_mut().free.insert(Extent::new(row.end(), free.count - row.count));
            row
        } else {
            let row = whole(Extent::new(self.page_count, count));
            if !self.is_little_free(row.count) || !self.can_grow(row.count) {
                return Ok(None);
            }
            self.grow(row.count)?
        };
        self.took(row);
        Ok(Some(row))
    }

    /// Whether limit and disk allow for `count` pages at the end of the file.
    fn can_grow(&mut self, count: u64) -> bool {
        count <= self.shared.options.page_count_max.saturating_sub(self.page_count) && self.extend_store(count).is_ok()
    }

    /// Whether nothing but the zone may have `count` pages.
    fn needs_zone(&mut self, count: u64) -> bool {
        let space = self.space();
        space.usable_page_count() > space.free.page_count() && !self.can_grow(count)
    }

    /// Takes pages at the end of the file.
    fn grow(&mut self, count: u64) -> Result<Extent> {
        let first = self.page_count;
        if count > self.shared.options.page_count_max.saturating_sub(first) {
            return Err(Error::Full { limit: self.shared.options.max_size });
        }
        self.page_count += count;
        Ok(Extent::new(first, count))
    }

    /// The file ends where its last free pages begin, or at page `end` if that is behind. So no trace is left of what was taken there, and
    /// no page is free that the file has no room for because the disk had none.
    pub(super) fn cut_tail(&mut self, end: u64) {
        let page_count = self.page_count;
        let space = self.space_mut();
        space.give_up_zone_behind(end);
        if let Some(last) = space.free.take_ending_at(page_count) {
            let end = last.first.max(end);
            space.free.insert(Extent::new(last.first, end - last.first));
            self.page_count = end;
        }
    }

    /// Takes `count` pages in as few extents as there can be.
    pub(super) fn take_pages(&mut self, mut count: u64) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        while count > 0 {
            let extent = self.take_some(count)?;
            self.took(extent);
            extents.push(extent);
            count -= extent.count;
        }
        extents.sort_unstable();
        Ok(extents)
    }

    /// Takes `count` pages in a row, or fewer. While little of the file is free it grows for the sake of a longer row: to a disk, pages
    /// in a row are one transfer. Where it may not, or the disk has no room, scattered pages will do.
    fn take_some(&mut self, count: u64) -> Result<Extent> {
        if let Some(run) = self.space_mut().free.take_run(count) {
            return Ok(run);
        }
        if let Some(run) = self.grow_for_row(count) {
            return Ok(run);
        }
        if let Some(largest) = self.space_mut().free.take_largest() {
            return Ok(largest);
        }
        if self.space_mut().dissolve_zone() {
            return self.take_some(count);
        }
        self.grow(count).or_else(|full| self.space_mut().take_any_beside(count).ok_or(full))
    }

    /// Takes pages at the end of the file for the sake of a long row, if little of the file is free.
    fn grow_for_row(&mut self, count: u64) -> Option<Extent> {
        (self.is_little_free(0) && self.can_grow(count)).then(|| self.grow(count).ok())?
    }

    /// Whether little of the file is free, now that `count` pages more are about to be in use.
    fn is_little_free(&self, count: u64) -> bool {
        let free_count = self.space().free.page_count();
        self.held_back.is_empty() && free_count < (self.in_use() + count + free_count) / SLACK
    }

    /// Keeps the free pages from page `end` on from being taken.
    pub(super) fn hold_back_tail(&mut self, end: u64) {
        let tail = Extent::new(end, self.page_count.saturating_sub(end));
        self.held_back = self.space_mut().free.take_in(tail);
    }

    /// Lets them be taken again.
    pub(super) fn give_back_tail(&mut self) {
        let held_back = std::mem::take(&mut self.held_back);
        held_back.into_iter().for_each(|extent| self.space_mut().free.insert(extent));
    }

    /// Takes up to `count` pages beside the meta slot that the commit will write.
    pub(super) fn take_beside(&mut self, count: usize) -> Vec<u64> {
        let slot = 1 - self.writer().durable_slot;
        let taken = self.space_mut().take_beside(slot, count);
        taken.iter().for_each(|&no| self.took(Extent::new(no, 1)));
        taken
    }

    /// Takes `count` pages for branches out of the zone, or none.
    pub(super) fn take_zone(&mut self, count: u64) -> Vec<Extent> {
        if count < zone::ROW_MIN {
            return Vec::new();
        }
        self.fit_zone();
        let taken = self.space_mut().take_zone(count);
        taken.iter().for_each(|&extent| self.took(extent));
        taken
    }

    /// Makes a zone as long as it should be: where half of the pages are free, else at the end of the file, if little of it is free.
    fn fit_zone(&mut self) {
        let needed = self.zone_needed();
        if 2 * self.space().zone_len() >= needed {
            return;
        }
        self.space_mut().dissolve_zone();
        let (mut bounds, free_count) = self.space().free.densest(needed);
        if free_count < needed / 2
            && let Some(grown) = self.grow_for_row(needed)
        {
            self.space_mut().give(grown);
            bounds = grown;
        }
        self.space_mut().set_zone(bounds);
    }

    pub(super) fn zone_needed(&self) -> u64 {
        Zone::len_for(self.in_use())
    }

    /// How many pages are in use, or about to be. Those that only pinned snapshots see are not.
    pub(super) fn in_use(&self) -> u64 {
        self.page_count.saturating_sub(self.space().recorded().page_count())
    }

    fn took(&mut self, extent: Extent) {
        self.taken.insert(extent);
        self.marks.take(extent);
    }

    /// Lets go of pages that are in the file: for others to see until their snapshots go, or, if they are this
    /// transaction's own, at once.
    fn release(&mut self, extent: Extent, born: TxnId) -> Result<()> {
        if born == self.txn && self.taken.contains(extent) {
            self.let_go_of_own(extent);
            return Ok(());
        }
        self.check_in_use(extent, born)?;
        self.freed_set.insert(extent);
        self.freed.push(Freed { extent, born });
        Ok(())
    }

    /// Whether pages are the snapshot's, and in use once.
    fn check_in_use(&self, extent: Extent, born: TxnId) -> Result<()> {
        let bad = |what| Err(Error::Corrupt { page: extent.first, what });
        // Again, since not every option verifies pages.
        self.shared.newest_map().1.verify_birth(PageNo::new(extent.first), born)?;
        if extent.has_slot() || extent.end() > self.base_page_count || born >= self.txn {
            return bad("a page that the snapshot cannot have");
        }
        if self.space().recorded().overlaps(extent) {
            return bad("a page that is both in use and free");
        }
        if self.freed_set.overlaps(extent) {
            return bad("a page that is in use twice");
        }
        Ok(())
    }

    /// Lets go of pages that this transaction has written.
    pub(super) fn let_go_of_own(&mut self, extent: Extent) {
        if !self.marks.defers(extent) {
            self.taken.remove(extent);
            self.space_mut().give(extent);
        }
    }

    /// Lets go of a dirty page.
    pub(super) fn let_go(&mut self, index: usize) {
        if self.dirty().is_frozen(index) {
            self.marks.deferred.push(Deferred { first: PageNo::dirty(index), count: 1 });
        } else {
            self.dirty_mut().free(index);
        }
    }

    /// How many pages behind the page count the store must have when this commits: what fills a disk can still be deleted.
    pub(super) fn reserve(&self) -> u64 {
        let count = self.full_reserve().saturating_sub(self.space().usable_page_count());
        if self.has_put { count.min(self.shared.options.page_count_max.saturating_sub(self.page_count)) } else { 0 }
    }

    /// Makes sure that the store has the page count and `count` pages more, with room to spare, and that it is mapped.
    pub(super) fn extend_store(&mut self, count: u64) -> Result<()> {
        let needed = (self.page_count + count) * self.page_len() as u64;
        let len = self.writer().file_len;
        if needed <= len {
            return Ok(());
        }
        let limit = (self.shared.options.page_count_max * self.page_len() as u64).max(needed);
        let base_len = self.base_page_count * self.page_len() as u64;
        let grown = grown_len(base_len, len, needed).min(limit);
        let store = &self.shared.store;
        // When the disk has no room to spare, it may still have what is needed.
        let done = store.set_len(grown).map(|()| grown).or_else(|_| store.set_len(needed).map(|()| needed));
        let len = done.map_err(Error::io("growing the database"))?;
        // Known to be longer only once it is mapped: a map that fails is tried again by the next transaction.
        self.shared.map_to(len)?;
        self.writer_mut().file_len = len;
        Ok(())
    }

    /// Readies the room behind a file that has grown by a little, since it will again. Where that fails, nothing is lost but time.
    pub(super) fn ready_growth(&mut self) {
        let page_len = self.page_len() as u64;
        let (end, step) = (self.page_count, READY_LEN / page_len);
        let writer = self.writer_mut();
        let grown = end.saturating_sub(writer.ready_end);
        if grown == 0 {
            return;
        }
        writer.ready_end = if grown > step { end } else { (end + step).min(writer.file_len / page_len) };
        let len = (writer.ready_end - end) * page_len;
        if self.shared.store.ready(end * page_len, len).is_ok() {
            self.shared.counters.bytes_written.fetch_add(len, Ordering::Relaxed);
        }
    }

    /// Writes numbered pages, sealed, in as few writes as their numbers allow. If the sync is next, the disk begins with the first of them
    /// while the others are sealed.
    pub(super) fn write_numbered(&mut self, numbered: &mut [(u64, usize)], is_sync_next: bool) -> Result<()> {
        numbered.sort_unstable();
        let mut written = std::mem::take(&mut self.written);
        let staging = self.writer_mut().staging.take();
        let mut staging = staging.unwrap_or_else(|| Memory::zeroed(LARGE_LEN, false));
        let page_len = self.page_len();
        let (mut rest, mut begun) = (&*numbered, 0);
        let mut result = Ok(());
        while let (Some(&(first, _)), true) = (rest.first(), result.is_ok()) {
            let in_a_row = rest.iter().zip(first..).take_while(|((no, _), expected)| no == expected);
            let in_a_row = in_a_row.take(LARGE_LEN / page_len).count();
            let (run, more) = rest.split_at(Pieces::page_count(first, in_a_row, page_len));
            result = self.write_run(run, &mut written, &mut staging);
            rest = more;
            let done = numbered.len() - rest.len();
            if is_sync_next && !rest.is_empty() && (done - begun) * page_len >= BEGIN_LEN {
                let (first, end) = (numbered[begun].0, numbered[done - 1].0 + 1);
                self.shared.store.begin_sync(first * page_len as u64, (end - first) * page_len as u64);
                begun = done;
            }
        }
        self.writer_mut().staging = Some(staging);
        self.written = written;
        result
    }

    /// Seals pages whose numbers are in a row, and writes them as one piece.
    fn write_run(&mut self, run: &[(u64, usize)], written: &mut Written, staging: &mut [u8]) -> Result<()> {
        let (shared, page_len) = (Arc::clone(&self.shared), self.page_len());
        let extent = Extent::new(run[0].0, run.len() as u64);
        self.prepare_piece(extent);
        let bytes = match *run {
            // One page goes from where it lies.
            [(no, index)] => self.sealed(no, index),
            _ => {
                for (&(no, index), place) in run.iter().zip(staging.chunks_exact_mut(page_len)) {
                    place.copy_from_slice(self.sealed(no, index));
                }
                &staging[..run.len() * page_len]
            }
        };
        let result = written.write(&shared, extent, bytes, page::sealed_digest_part);
        shared.newest_map().1.set_written(extent.first, extent.count);
        result
    }

    /// A dirty page with its number and its checksum.
    fn sealed(&mut self, no: u64, index: usize) -> &[u8] {
        let txn = self.txn;
        let page = self.dirty_mut().page_mut(index);
        page::seal(page, PageNo::new(no), txn);
        page
    }

    /// An extent is about to be written as one.
    fn prepare_piece(&mut self, extent: Extent) {
        let (shared, page_len) = (Arc::clone(&self.shared), self.page_len());
        let (at, len) = (extent.first * page_len as u64, extent.count as usize * page_len);
        self.writer_mut().pieces.prepare(shared.newest_map().1, at, len);
    }

    /// Gives everything back as it was at begin, savepoints or not.
    fn roll_back(&mut self) {
        self.give_back_tail();
        let taken = std::mem::take(&mut self.taken);
        let (base, count) = (self.base_page_count, self.page_count);
        let space = self.space_mut();
        taken.iter().for_each(|extent| space.give(extent));
        if count < base {
            space.free.insert(Extent::new(count, base - count));
        } else {
            space.cut(base, count - base);
        }
    }
}

/// How long a file of `len` bytes becomes that needs `needed`. For a transaction that began with `base_len` and adds much of that anyway it
/// grows by little more than is needed.
fn grown_len(base_len: u64, len: u64, needed: u64) -> u64 {
    let (step, added) = (growth_step(len), needed - base_len);
    if added >= step / 4 { needed.next_multiple_of((added / 64).next_multiple_of(64 << 10)) } else { len + step }
}

/// By how much a file of `len` bytes grows: a thirty-second. With an eighth, most of what held snapshots cost beyond their pages was room
/// that nothing had asked for yet.
fn growth_step(len: u64) -> u64 {
    step(len / 32)
}

/// How much may be free at the end of a file of `len` bytes before it is cut off: more than it grows by, so that it does not grow and
/// shrink in turns.
pub(super) fn cut_step(len: u64) -> u64 {
    step(len / 8)
}

/// A step of `len` bytes or so, between 1 and 256 MiB.
fn step(len: u64) -> u64 {
    len.clamp(1 << 20, 256 << 20).next_multiple_of(64 << 10)
}

impl LogSpace for WritePages {
    fn space(&self) -> &Space {
        self.writer().space.as_ref().expect("prepared at begin")
    }

    fn page_count(&self) -> u64 {
        self.page_count
    }

    /// The lowest pages there are: the log stays where it is for long, and is not to hold up the end of the file.
    fn take(&mut self, mut count: u64) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        while count > 0 {
            let extent = match self.space_mut().free.take_first(count) {
                Some(extent) => extent,
                None if self.needs_zone(count) && self.space_mut().dissolve_zone() => continue,
                None => self.grow(count).or_else(|full| self.space_mut().take_any_beside(count).ok_or(full))?,
            };
            self.took(extent);
            extents.push(extent);
            count -= extent.count;
        }
        Ok(extents)
    }

    fn release(&mut self, freed: Freed) -> Result<()> {
        WritePages::release(self, freed.extent, freed.born)
    }

    fn settle(&mut self) -> (Vec<Extent>, Vec<Extent>) {
        // A zone that has become too long may be what holds up the end of the file.
        if self.space().zone_len() > 2 * self.zone_needed() {
            self.space_mut().dissolve_zone();
        }
        while let Some(last) = {
            let end = self.page_count;
            self.space_mut().free.take_ending_at(end)
        } {
            self.page_count = last.first;
        }
        let (base, count) = (self.base_page_count, self.page_count);
        let mut taken: Vec<Extent> = self.taken.iter().collect();
        if count < base {
            taken.push(Extent::new(count, base - count));
        }
        // Pages of the snapshot lie below `base`, those that came and went with this transaction above.
        let mut freed: Vec<Extent> = self.freed_set.iter().chain(self.space().free_from(base)).collect();
        freed.sort_unstable();
        (taken, freed)
    }
}

impl PagesMut for WritePages {
    type View<'a> = PageSource<'a>;

    fn view(&self) -> PageSource<'_> {
        let (_, map) = self.shared.newest_map();
        PageSource { map, page_count: self.page_count, dirty: Some(self.dirty()) }
    }

    fn page_len(&self) -> usize {
        self.shared.options.page_len
    }

    fn alloc(&mut self, kind: u8, level: usize) -> PageNo {
        self.dirty_mut().alloc(kind, level)
    }

    #[inline]
    fn changeable(&self, no: PageNo) -> Option<&[u8]> {
        self.dirty().changeable(no.as_dirty()?)
    }

    #[inline]
    fn is_changeable(&self, no: PageNo) -> bool {
        no.as_dirty().is_some_and(|index| self.dirty().is_changeable(index))
    }

    fn touch(&mut self, no: PageNo) -> Result<PageNo> {
        if self.is_changeable(no) {
            return Ok(no);
        }
        if let Some(index) = no.as_dirty() {
            self.let_go(index);
            return Ok(self.dirty_mut().duplicate(index));
        }
        let shared = Arc::clone(&self.shared);
        let (_, map) = shared.newest_map();
        let page = PageSource { map, page_count: self.page_count, dirty: None }.page(no)?;
        if shared.options.verify == Verify::Never {
            // Edits trust a dirty page, so no page becomes dirty unseen.
            page::verify_structure(page).map_err(|what| Error::Corrupt { page: no.get(), what })?;
        }
        self.release(Extent::new(no.get(), 1), TxnId::new(page::header(page).born.get()))?;
        Ok(self.dirty_mut().copy(page))
    }

    fn is_sound(&self, no: PageNo) -> bool {
        let Ok(page) = self.view().page(no) else { return false };
        let (extent, born) = (Extent::new(no.get(), 1), TxnId::new(page::header(page).born.get()));
        let is_own = born == self.txn && self.taken.contains(extent);
        page::verify(page, no).is_ok() && (is_own || self.check_in_use(extent, born).is_ok())
    }

    #[inline]
    fn page_mut(&mut self, no: PageNo) -> &mut [u8] {
        self.dirty_mut().page_mut(no.as_dirty().expect("a dirty page"))
    }

    fn pair_mut(&mut self, a: PageNo, b: PageNo) -> (&mut [u8], &mut [u8]) {
        let (a, b) = (a.as_dirty().expect("a dirty page"), b.as_dirty().expect("a dirty page"));
        self.dirty_mut().pair_mut(a, b)
    }

    fn free(&mut self, no: PageNo) -> Result<()> {
        if let Some(index) = no.as_dirty() {
            self.let_go(index);
            return Ok(());
        }
        let born = page::header(self.view().page(no)?).born.get();
        self.release(Extent::new(no.get(), 1), TxnId::new(born))
    }

    fn put_large(&mut self, value: &[u8]) -> Result<LargeRef> {
        self.shared.check_writing_process()?;
        let (len, page_len) = (value.len() as u64, self.page_len());
        if len > VALUE_MAX {
            return Err(Error::ValueTooLong { len, max: VALUE_MAX });
        }
        let run = self.take_run(len.div_ceil(page_len as u64))?;
        self.extend_store(0)?;
        // Whole pages straight from the value, then the last one filled up with zeros.
        let whole = value.len() / page_len * page_len;
        let (whole_pages, tail) = value.split_at(whole);
        let whole_count = (whole / page_len) as u64;
        self.prepare_piece(run);
        if whole_count > 0 {
            let extent = Extent::new(run.first, whole_count);
            self.written.write(&self.shared, extent, whole_pages, page::digest_part)?;
        }
        if !tail.is_empty() {
            let mut last = vec![0; page_len];
            last[..tail.len()].copy_from_slice(tail);
            let extent = Extent::new(run.first + whole_count, 1);
            self.written.write(&self.shared, extent, &last, page::digest_part)?;
        }
        let large = LargeRef::new(PageNo::new(run.first), len, self.txn, crc32c::crc32c(value));
        self.shared.newest_map().1.set_written_large(&large, run.count);
        Ok(large)
    }

    fn free_large(&mut self, large: &LargeRef) -> Result<()> {
        let extent = Extent::new(large.page().get(), large.page_count(self.page_len()));
        if extent.first.checked_add(extent.count).is_none_or(|end| end > self.page_count) {
            return Err(Error::Corrupt { page: extent.first, what: "a large value past the end" });
        }
        self.shared.newest_map().1.forget_large(extent.first);
        self.release(extent, large.born())
    }
}

impl WritePages {
    pub(super) fn is_committed(&mut self) {
        self.is_committed = true;
    }
}

impl Drop for WritePages {
    fn drop(&mut self) {
        if !self.is_committed {
            self.roll_back();
        }
        self.dirty_mut().reset();
        if let Some(writer) = self.writer.take() {
            self.shared.unlock_writer(writer);
        }
    }
}
