//! Commit: make a write transaction durable and visible, or neither.
//!
//! Order is everything here. Nothing that the last durable commit can see is written (I1), and the meta goes to the other
//! slot (I4), so a power cut at any line leaves one of the two whole. Until the meta is written an error undoes
//! everything; from then on it stops the writer (I6).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::numbering::{self, Numbering};
use super::shrink;
use super::space::{Record, Space};
use super::write::{WritePages, WriteTxn};
use super::{Committed, Snapshot};
use crate::error::Result;
use crate::options::Durability;
use crate::page::meta::{Meta, MetaFields, Trust};
use crate::page::space_log;
use crate::page::{self, TxnId};
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
    pages.write_numbered(&mut numbered, durability == Durability::Durable)?;

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

/// Packs the trees of the buckets.
pub(super) fn pack_buckets(txn: &mut WriteTxn) -> Result<()> {
    txn.open.changed().into_iter().try_for_each(|i| {
        let bucket = &mut txn.open[i];
        bucket.finger.forget();
        pack::pack(&mut bucket.tree, &mut txn.pages)
    })
}

/// Writes out all dirty pages, so that they are in the file and no longer in memory: those of the trees as they are, and as they are
/// at each savepoint. They stay the transaction's own: a page that is changed again becomes dirty again, and its place in the file free.
pub(super) fn spill(txn: &mut WriteTxn) -> Result<()> {
    let pages = &mut txn.pages;
    pages.written.give_up_digest();
    let mut numbering = Numbering::new(pages, &[])?;
    pages.extend_store(0)?;
    pages.is_torn = true;
    let mut marks = std::mem::take(&mut pages.marks);
    for bucket in txn.open.iter_mut() {
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
    pages.write_numbered(&mut numbered, false)?;
    pages.dirty_mut().clear();
    pages.is_torn = false;
    Ok(())
}

/// Writes out a row of what sorted input has filled and left behind at the end of a bucket, while it is in the processor's cache, and lets go
/// of its memory. The pages stay the transaction's own, as after [`spill`].
pub(super) fn write_finished(txn: &mut WriteTxn, index: usize) -> Result<()> {
    let (bucket, pages) = (&mut txn.open[index], &mut txn.pages);
    let finished = bucket.finger.take_finished();
    let Some(mut row) = pages.take_row(finished)? else { return Ok(()) };
    bucket.finger.forget();
    pages.written.give_up_digest();
    pages.is_torn = true;
    let mut numbered = numbering::number_row(pages.dirty_mut(), &mut bucket.tree, &mut row);
    if row.count > 0 {
        // Some of what was filled has gone since, or was spilled.
        pages.let_go_of_own(row);
    }
    pages.write_numbered(&mut numbered, false)?;
    numbered.iter().for_each(|&(_, index)| pages.dirty_mut().free(index));
    pages.is_torn = false;
    Ok(())
}

/// Packs the trees of the buckets, moves pages away from the end of a file that is to shrink, and numbers the dirty pages of all trees; the
/// catalog comes last, since it holds the roots of the others.
fn number_all(txn: &mut WriteTxn) -> Result<Vec<(u64, usize)>> {
    pack_buckets(txn)?;
    let changed = txn.open.changed();
    // Recorded once for the shape of the catalog, which decides how many pages there are, and once for the roots.
    record_roots(txn, &changed)?;
    let trees: Vec<Tree> = changed.iter().map(|&i| txn.open[i].tree).chain([txn.catalog]).collect();
    shrink::move_tail(&mut txn.pages, &trees)?;
    let mut numbering = Numbering::new(&mut txn.pages, &trees)?;
    txn.pages.give_back_tail();
    for &i in &changed {
        numbering.number(txn.pages.dirty_mut(), &mut txn.open[i].tree);
    }
    record_roots(txn, &changed)?;
    numbering.number(txn.pages.dirty_mut(), &mut txn.catalog);
    Ok(numbering.finish())
}

/// Tells the catalog what the trees of these open buckets are.
pub(super) fn record_roots(txn: &mut WriteTxn, changed: &[usize]) -> Result<()> {
    for &i in changed {
        let (name, tree) = (Arc::clone(&txn.open[i].name), txn.open[i].tree);
        txn.record(&name, tree)?;
    }
    Ok(())
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
        was_as_long: pages.page_count * pages.page_len() as u64 <= pages.writer().synced_len,
        ..before
    }
}
