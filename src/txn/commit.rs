//! Commit: make a write transaction durable and visible, or neither.
//!
//! Order is everything here. Nothing that the last durable commit can see is written (I1), and the meta goes to the other
//! slot (I4), so a power cut at any line leaves one of the two whole. Until the meta is written an error undoes
//! everything; from then on it stops the writer (I6).
//!
//! What a small commit costs is the sync, and what the sync costs is the number of places on the disk that it has to write. So the
//! pages at the top of the trees, which every commit writes anew, go beside the meta slot; many branches go in rows in a part of
//! the file that is theirs (see `zone`); the others go in a row, for which the file may grow by an eighth; and the blocks that it
//! grows into are readied ahead. On a virtual disk where each place costs 40 us, this took a durable commit of one put among a
//! million from 3.6 places to 2.7 on average, and one of 32 puts from 36 places to 24.

use std::iter;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Instant;
use std::vec;

use super::dirty::DirtyPages;
use super::space::{Record, Space};
use super::write::{WritePages, WriteTxn};
use super::{Committed, Snapshot};
use crate::error::Result;
use crate::options::Durability;
use crate::page::branch::{self, Branch};
use crate::page::meta::{Meta, MetaFields, Trust};
use crate::page::space_log::{self, Extent};
use crate::page::{self, PageNo, TxnId};
use crate::tree::{PagesMut, Tree, pack};

/// Commits the transaction and answers its id; one that changed nothing has the id of the current snapshot.
pub(super) fn commit(txn: &mut WriteTxn, durability: Durability) -> Result<TxnId> {
    txn.pages.release_from(0);
    if txn.pages.is_unchanged() {
        let current = txn.pages.writer().meta.txn();
        if durability == Durability::Durable {
            let shared = txn.pages.shared.clone();
            txn.pages.writer_mut().make_durable(&shared)?;
        }
        return Ok(current);
    }

    // 1. Every dirty page gets a number, the space record says which.
    let mut numbered = number_all(txn)?;
    let pages = &mut txn.pages;
    let record = Space::plan(pages, pages.txn, pages.page_len())?;
    add_log_pages(pages, &record, &mut numbered);

    // 2. The pages go to places that nothing pinned can see (I1).
    pages.extend_store(pages.reserve())?;
    if durability == Durability::Durable {
        pages.ready_growth();
    }
    pages.write_numbered(&mut numbered)?;

    // 3. The meta goes to the slot that does not hold the last durable commit (I4).
    let shared = pages.shared.clone();
    let slot = 1 - pages.writer().durable_slot;
    let trust = choose_trust(pages, &record, durability);
    if trust == Trust::Synced {
        shared.sync_store(Some(slot))?;
    }
    let fields = meta_fields(pages, txn.catalog, &record);
    let meta = Meta::new(fields, trust, &record.inline);
    shared.write_meta(&meta, slot)?;
    if durability == Durability::Durable {
        shared.sync_store(Some(slot))?;
    }

    // 4. New readers see it; what it freed is pending.
    let (map, _) = shared.newest_map();
    shared.readers.publish(&Snapshot { txn: fields.txn, catalog: txn.catalog, page_count: fields.page_count, map });
    shared.counters.commits.fetch_add(1, Ordering::Relaxed);
    let pages = &mut txn.pages;
    pages.is_committed();
    let freed = std::mem::take(&mut pages.freed);
    let written_len = pages.written.len();
    let writer = pages.writer_mut();
    writer.meta = meta;
    writer.slot = slot;
    writer.is_sealed = false;
    writer.unsynced_len += written_len;
    writer.history.insert(fields.txn, Committed { at: Instant::now(), page_count: fields.page_count });
    if durability == Durability::Durable {
        writer.keep_slot(&shared);
    }
    writer.reclaim(&shared);
    writer.space.as_mut().expect("prepared at begin").apply(fields.txn, record, freed);
    writer.report(&shared);
    if writer.is_sync_due(&shared.options) {
        writer.make_durable(&shared)?;
    }
    writer.cut_store(&shared);
    Ok(fields.txn)
}

/// Writes out all dirty pages, so that they are in the file and no longer in memory: those of the trees as they are, and as they are
/// at each savepoint. They stay the transaction's own: a page that is changed again becomes dirty again, and its place in the file free.
pub(super) fn spill(txn: &mut WriteTxn) -> Result<()> {
    let pages = &mut txn.pages;
    pages.written.give_up_digest();
    let count = pages.dirty().len();
    let numbers = Numbers::take(pages, count, Branches::default())?;
    pages.extend_store(0)?;
    pages.is_torn = true;
    let mut marks = std::mem::take(&mut pages.marks);
    let mut numbering = Numbering::new(count, numbers);
    for bucket in &mut txn.buckets {
        bucket.finger.forget();
        numbering.number(pages.dirty_mut(), &mut bucket.tree);
    }
    txn.catalog_finger.forget();
    numbering.number(pages.dirty_mut(), &mut txn.catalog);
    for tree in marks.trees() {
        numbering.number(pages.dirty_mut(), tree);
    }
    marks.all_spilled(|index| numbering.number_of(index));
    let mut numbered = numbering.finish();
    numbered.iter().for_each(|&(no, index)| marks.spilled(pages.dirty().epoch(index), no));
    pages.marks = marks;
    pages.write_numbered(&mut numbered)?;
    pages.dirty_mut().clear();
    pages.is_torn = false;
    Ok(())
}

/// Tells the catalog where the open buckets are, whose pages were just spilled, so that nothing of them needs to be in memory.
pub(super) fn close_buckets(txn: &mut WriteTxn) -> Result<()> {
    let changed = changed(txn);
    record_roots(txn, &changed)?;
    txn.buckets.clear();
    Ok(())
}

/// The buckets that the catalog does not have as they are.
fn changed(txn: &WriteTxn) -> Vec<usize> {
    (0..txn.buckets.len()).filter(|&i| txn.buckets[i].tree != txn.buckets[i].recorded).collect()
}

/// Packs the trees of the buckets, and numbers the dirty pages of all trees; the catalog comes last, since it holds the roots of the others.
fn number_all(txn: &mut WriteTxn) -> Result<Vec<(u64, usize)>> {
    let changed = changed(txn);
    for &i in &changed {
        pack::pack(&mut txn.buckets[i].tree, &mut txn.pages)?;
    }
    // Recorded once for the shape of the catalog, which decides how many pages there are, and once for the roots.
    record_roots(txn, &changed)?;
    let count = txn.pages.dirty().len();
    let trees = changed.iter().map(|&i| txn.buckets[i].tree).chain([txn.catalog]);
    let mut branches = Branches::default();
    trees.for_each(|tree| branches.count(txn.pages.dirty(), tree.root, top_level(&tree)));
    let mut numbering = Numbering::new(count, Numbers::take(&mut txn.pages, count, branches)?);
    for &i in &changed {
        numbering.number(txn.pages.dirty_mut(), &mut txn.buckets[i].tree);
    }
    record_roots(txn, &changed)?;
    numbering.number(txn.pages.dirty_mut(), &mut txn.catalog);
    Ok(numbering.finish())
}

fn record_roots(txn: &mut WriteTxn, changed: &[usize]) -> Result<()> {
    for &i in changed {
        let (name, tree) = (txn.buckets[i].name.clone(), txn.buckets[i].tree);
        txn.record(&name, tree)?;
    }
    Ok(())
}

/// Where in a tree a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Branch,
    Leaf,
}

impl Place {
    fn of(level: usize, top_level: usize) -> Place {
        match level {
            _ if level >= top_level => Place::Top,
            0 => Place::Leaf,
            _ => Place::Branch,
        }
    }
}

/// The pages of extents, one by one.
type PagesOf = iter::FlatMap<vec::IntoIter<Extent>, Range<u64>, fn(Extent) -> Range<u64>>;

/// The page numbers that a commit gives out.
struct Numbers {
    /// Those beside the meta slot, ascending and given out from the end, to the last pages at the top of trees. The very last, roots
    /// and the catalog's, come to lie nearest, and are free again when the commit after next writes to the same slot.
    beside: Vec<u64>,
    /// How many pages at the top of trees come before them.
    top_before: usize,
    /// Those for branches, if there is a zone.
    in_zone: PagesOf,
    others: PagesOf,
}

impl Numbers {
    /// Takes the numbers for `count` pages, of which some are branches.
    fn take(pages: &mut WritePages, count: usize, branches: Branches) -> Result<Numbers> {
        let beside = pages.take_beside(branches.top);
        let top_before = branches.top - beside.len();
        let in_zone = pages.take_zone((branches.below + top_before) as u64);
        let zone_count: u64 = in_zone.iter().map(|extent| extent.count).sum();
        let others = pages.take_pages((count - beside.len()) as u64 - zone_count)?;
        let [in_zone, others] =
            [in_zone, others].map(|extents| extents.into_iter().flat_map(Extent::pages as fn(_) -> _));
        Ok(Numbers { beside, top_before, in_zone, others })
    }

    fn next(&mut self, place: Place) -> u64 {
        if place == Place::Top && self.top_before > 0 {
            self.top_before -= 1;
        } else if place == Place::Top
            && let Some(no) = self.beside.pop()
        {
            return no;
        }
        let branch = if place == Place::Leaf { None } else { self.in_zone.next() };
        branch.or_else(|| self.others.next()).expect("a number for every dirty page")
    }
}

/// The lowest level that counts as the top of a tree: the root's, and in a tree of four levels or more the one below it, which is
/// not many pages either.
fn top_level(tree: &Tree) -> usize {
    if tree.depth < 4 { tree.depth.saturating_sub(1) } else { tree.depth - 2 }
}

/// How many dirty branches there are: at the top of trees, and below it.
#[derive(Clone, Copy, Default)]
struct Branches {
    top: usize,
    below: usize,
}

impl Branches {
    fn count(&mut self, dirty: &DirtyPages, no: PageNo, top_level: usize) {
        let Some(index) = no.as_dirty() else { return };
        let page = dirty.page(index);
        let level = usize::from(page::header(page).level);
        match Place::of(level, top_level) {
            Place::Top => self.top += 1,
            Place::Branch => self.below += 1,
            Place::Leaf => {}
        }
        if level > 1 {
            dirty_children(page, level).for_each(|(_, child)| self.count(dirty, child, top_level));
        }
    }
}

/// The children of a dirty branch that are dirty themselves, with their slots.
fn dirty_children(page: &[u8], level: usize) -> impl Iterator<Item = (usize, PageNo)> {
    let branch = Branch::view(page, level).expect("a dirty branch is well formed");
    let child = move |i| (i, branch.child(i).expect("a dirty branch is well formed"));
    (0..branch.len()).map(child).filter(|(_, no)| no.as_dirty().is_some())
}

/// Gives dirty pages their numbers.
struct Numbering {
    numbers: Numbers,
    count: usize,
    /// Numbers and indices of those that have one.
    numbered: Vec<(u64, usize)>,
    /// The number of each by its index, or `NONE`: a page that several trees share, as they are now and at savepoints, gets one.
    number_of: Vec<PageNo>,
}

impl Numbering {
    fn new(count: usize, numbers: Numbers) -> Numbering {
        Numbering { numbers, count, numbered: Vec::with_capacity(count), number_of: Vec::new() }
    }

    /// The dirty pages of a tree, children before parents and in key order.
    fn number(&mut self, dirty: &mut DirtyPages, tree: &mut Tree) {
        tree.root = self.number_page(dirty, tree.root, top_level(tree));
    }

    fn number_page(&mut self, dirty: &mut DirtyPages, no: PageNo, top_level: usize) -> PageNo {
        let Some(index) = no.as_dirty() else { return no };
        if self.number_of(index) != PageNo::NONE {
            return self.number_of(index);
        }
        let level = usize::from(page::header(dirty.page(index)).level);
        if level > 0 {
            let children: Vec<_> = dirty_children(dirty.page(index), level).collect();
            for (i, child) in children {
                let no = self.number_page(dirty, child, top_level);
                branch::set_child(dirty.page_mut(index), i, no);
            }
        }
        let no = self.numbers.next(Place::of(level, top_level));
        self.numbered.push((no, index));
        if index >= self.number_of.len() {
            self.number_of.resize(index + 1, PageNo::NONE);
        }
        self.number_of[index] = PageNo::new(no);
        PageNo::new(no)
    }

    fn number_of(&self, index: usize) -> PageNo {
        self.number_of.get(index).copied().unwrap_or(PageNo::NONE)
    }

    fn finish(self) -> Vec<(u64, usize)> {
        assert!(self.numbered.len() == self.count, "every dirty page belongs to a tree");
        self.numbered
    }
}

/// Builds the record's log pages in the arena, to be written with the others.
fn add_log_pages(pages: &mut WritePages, record: &Record, numbered: &mut Vec<(u64, usize)>) {
    let mut previous = record.log_before();
    for (no, words) in &record.pages {
        let dirty = pages.dirty_mut().alloc(page::SPACE_LOG, 0);
        let index = dirty.as_dirty().expect("just made");
        space_log::build(pages.dirty_mut().page_mut(index), previous, record.sweep, words);
        numbered.push((no.get(), index));
        previous = *no;
    }
}

fn choose_trust(pages: &mut WritePages, record: &Record, durability: Durability) -> Trust {
    let writer = pages.writer();
    if durability == Durability::Relaxed {
        // Without a boot id nothing tells whether the machine was up all the time: then one that no boot has.
        return Trust::Boot(pages.shared.store.boot_id().unwrap_or_default());
    }
    let follows_durable = writer.durable == writer.meta.txn();
    match pages.written.digest(&pages.taken) {
        Some(digest) if follows_durable && record.is_inline => Trust::Digest(digest),
        _ => Trust::Synced,
    }
}

fn meta_fields(pages: &WritePages, catalog: Tree, record: &Record) -> MetaFields {
    let before = pages.writer().meta.fields();
    let (log_head, log_count) = record.log_head();
    MetaFields {
        txn: pages.txn,
        page_count: pages.page_count,
        catalog: catalog.to_record(),
        log_head,
        log_count,
        ..before
    }
}
