//! Commit: make a write transaction durable and visible, or neither.
//!
//! Order is everything here. Nothing that the last durable commit can see is written (I1), and the meta goes to the other
//! slot (I4), so a power cut at any line leaves one of the two whole. Until the meta is written an error undoes
//! everything; from then on it stops the writer (I6).

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::dirty::DirtyPages;
use super::space::{Record, Space};
use super::write::{WritePages, WriteTxn};
use super::{Committed, Snapshot};
use crate::error::Result;
use crate::options::Durability;
use crate::page::branch::{self, Branch};
use crate::page::meta::{DIGEST_PAGES_MAX, Meta, MetaFields, Trust};
use crate::page::space_log::{self, Extent};
use crate::page::{self, BRANCH, PageNo, TxnId};
use crate::tree::{PagesMut, Tree};

/// Commits the transaction and answers its id; one that changed nothing has the id of the current snapshot.
pub(super) fn commit(txn: &mut WriteTxn, durability: Durability) -> Result<TxnId> {
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
    pages.extend_store()?;
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
    let written_len = pages.written_len;
    let writer = pages.writer_mut();
    writer.meta = meta;
    writer.slot = slot;
    writer.unsynced_len += written_len;
    writer.history.insert(fields.txn, Committed { at: Instant::now(), page_count: fields.page_count });
    if durability == Durability::Durable {
        writer.durable = fields.txn;
        writer.durable_slot = slot;
        writer.unsynced_len = 0;
    }
    let pins = shared.pins(writer);
    writer.history.retain(|txn, _| pins.binary_search(txn).is_ok());
    writer.space.as_mut().expect("prepared at begin").apply(fields.txn, record, freed, &pins);
    writer.report(&shared);
    if writer.unsynced_len >= shared.options.sync_bytes {
        writer.make_durable(&shared)?;
    }
    writer.cut_store(&shared);
    Ok(fields.txn)
}

/// Writes out all dirty pages, so that they are in the file and no longer in memory. They stay the transaction's own: a page
/// that is changed again becomes dirty again, and its place in the file free.
pub(super) fn spill(txn: &mut WriteTxn) -> Result<()> {
    txn.pages.written = None;
    let count = txn.pages.dirty().len() as u64;
    let mut numbers = take_numbers(&mut txn.pages, count)?;
    let mut numbered = Vec::with_capacity(count as usize);
    for bucket in &mut txn.buckets {
        bucket.finger.forget();
        number(txn.pages.dirty_mut(), &mut bucket.tree, &mut numbers, &mut numbered);
    }
    txn.catalog_finger.forget();
    number(txn.pages.dirty_mut(), &mut txn.catalog, &mut numbers, &mut numbered);
    txn.pages.extend_store()?;
    txn.pages.write_numbered(&mut numbered)?;
    txn.pages.dirty_mut().clear();
    Ok(())
}

/// Numbers the dirty pages of all trees; the catalog comes last, since it holds the roots of the others.
fn number_all(txn: &mut WriteTxn) -> Result<Vec<(u64, usize)>> {
    let changed: Vec<usize> =
        (0..txn.buckets.len()).filter(|&i| txn.buckets[i].tree != txn.buckets[i].recorded).collect();
    // Recorded once for the shape of the catalog, which decides how many pages there are, and once for the roots.
    record_roots(txn, &changed)?;
    let count = txn.pages.dirty().len() as u64;
    let mut numbers = take_numbers(&mut txn.pages, count)?;
    let mut numbered = Vec::with_capacity(count as usize);
    for &i in &changed {
        number(txn.pages.dirty_mut(), &mut txn.buckets[i].tree, &mut numbers, &mut numbered);
    }
    record_roots(txn, &changed)?;
    number(txn.pages.dirty_mut(), &mut txn.catalog, &mut numbers, &mut numbered);
    assert!(numbered.len() as u64 == count, "every dirty page belongs to a tree");
    Ok(numbered)
}

fn record_roots(txn: &mut WriteTxn, changed: &[usize]) -> Result<()> {
    for &i in changed {
        let (name, tree) = (txn.buckets[i].name.clone(), txn.buckets[i].tree);
        txn.record(&name, tree)?;
    }
    Ok(())
}

fn take_numbers(pages: &mut WritePages, count: u64) -> Result<impl Iterator<Item = u64> + use<>> {
    Ok(pages.take_pages(count)?.into_iter().flat_map(|extent| extent.first..extent.end()))
}

/// Gives the dirty pages of a tree their numbers, children before parents and in key order.
fn number(
    dirty: &mut DirtyPages,
    tree: &mut Tree,
    numbers: &mut impl Iterator<Item = u64>,
    numbered: &mut Vec<(u64, usize)>,
) {
    tree.root = number_page(dirty, tree.root, numbers, numbered);
}

fn number_page(
    dirty: &mut DirtyPages,
    no: PageNo,
    numbers: &mut impl Iterator<Item = u64>,
    numbered: &mut Vec<(u64, usize)>,
) -> PageNo {
    let Some(index) = no.as_dirty() else { return no };
    let mut page = dirty.take(index);
    if page::header(&page).kind == BRANCH {
        let level = usize::from(page::header(&page).level);
        let branch = Branch::view(&page, level).expect("a dirty branch is well formed");
        let child = |i| (i, branch.child(i).expect("a dirty branch is well formed"));
        let children: Vec<_> = (0..branch.len()).map(child).filter(|(_, no)| no.as_dirty().is_some()).collect();
        for (i, child) in children {
            let no = number_page(dirty, child, numbers, numbered);
            branch::set_child(&mut page, i, no);
        }
    }
    dirty.put_back(index, page);
    let no = numbers.next().expect("a number for every dirty page");
    numbered.push((no, index));
    PageNo::new(no)
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

fn choose_trust(pages: &WritePages, record: &Record, durability: Durability) -> Trust {
    let writer = pages.writer();
    if durability == Durability::Relaxed {
        // Without a boot id nothing tells whether the machine was up all the time: then one that no boot has.
        return Trust::Boot(pages.shared.store.boot_id().unwrap_or_default());
    }
    let follows_durable = writer.durable == writer.meta.txn();
    match digest(pages).filter(|_| follows_durable && record.is_inline) {
        Some(digest) => Trust::Digest(digest),
        None => Trust::Synced,
    }
}

/// The digest over the pages that this transaction wrote and still uses; `None` if they are too many.
fn digest(pages: &WritePages) -> Option<u32> {
    if pages.taken.page_count() > DIGEST_PAGES_MAX as u64 {
        return None;
    }
    let mut written = pages.written.clone()?;
    // Stable: of a page that was written more than once, the last part counts.
    written.sort_by_key(|&(no, _)| no);
    let mut parts = Vec::new();
    for no in pages.taken.iter().flat_map(|extent: Extent| extent.first..extent.end()) {
        let past = written.partition_point(|&(written, _)| written <= no);
        let (_, part) = written[..past].last().filter(|&&(written, _)| written == no)?;
        parts.extend(part);
    }
    Some(crc32c::crc32c(&parts))
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
