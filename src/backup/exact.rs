//! The exact copy: every page that the snapshot reaches, where it is. What it does not reach is free in the copy, and zero.
//!
//! The space records of an older snapshot are gone, so the free space is found by a walk over all trees, which also verifies the
//! large values; pages are verified once more when they are copied.

use super::{Output, STEP_LEN, STEP_PAGES, buckets, verify_large};
use crate::disk::map::Memory;
use crate::error::{Error, Result};
use crate::page::leaf::{Leaf, Value};
use crate::page::meta::{Meta, MetaFields, Trust};
use crate::page::space_log::Extent;
use crate::page::{self, PageNo, SLOT_PAGES};
use crate::tree::Pages;
use crate::tree::walk::{Visitor, walk};
use crate::txn::extents::ExtentSet;
use crate::txn::read::ReadTxn;
use crate::txn::space::Statement;
use crate::txn::{PageSource, first_pages};

/// Which pages are copied, and what is new in the copy.
pub(super) struct Plan {
    reached: Reached,
    free: Statement,
}

/// The pages of the trees, and those of large values.
#[derive(Default)]
struct Reached {
    tree: ExtentSet,
    large: ExtentSet,
}

impl Plan {
    pub(super) fn make(txn: &ReadTxn, output: &mut Output<'_, '_>) -> Result<Plan> {
        let (source, catalog) = (txn.source(), txn.catalog());
        let mut survey = Survey { source, is_catalog: true, reached: Reached::default(), output };
        walk(&catalog, source, &mut survey)?;
        let reached = survey.reached;
        let mut free = ExtentSet::default();
        free.insert(Extent::new(0, txn.page_count()));
        SLOT_PAGES.iter().for_each(|&slot| free.remove(Extent::new(slot, 1)));
        reached.tree.iter().chain(reached.large.iter()).for_each(|extent| free.remove(extent));
        let free = Statement::new(free, txn.id(), txn.page_count(), txn.shared().options.page_len);
        Ok(Plan { reached, free })
    }

    pub(super) fn write(&self, txn: &ReadTxn, output: &mut Output<'_, '_>) -> Result<()> {
        let shared = txn.shared();
        let meta = self.meta(txn);
        let page_len = shared.options.page_len;
        let first_pages = first_pages(&meta);
        let mut chunk = Memory::zeroed(STEP_LEN, false);
        let step = (STEP_LEN / page_len) as u64;
        let mut first = 0;
        while first < txn.page_count() {
            let all = Extent::new(first, step.min(txn.page_count() - first));
            let bytes = &mut chunk[..all.count as usize * page_len];
            bytes.fill(0);
            let place = |extent: Extent| {
                let at = (extent.first - first) as usize * page_len;
                at..at + extent.count as usize * page_len
            };
            for extent in self.reached.tree.iter_in(all).chain(self.reached.large.iter_in(all)) {
                let read = shared.store.read_at(&mut bytes[place(extent)], extent.first * page_len as u64);
                read.map_err(Error::io("reading pages for the backup"))?;
            }
            for extent in self.reached.tree.iter_in(all) {
                let pages = bytes[place(extent)].chunks_exact(page_len);
                (extent.first..).zip(pages).try_for_each(|(no, page)| page::verify(page, PageNo::new(no)))?;
            }
            let log = &self.free.pages[self.free.pages.partition_point(|(no, _)| no.get() < all.first)..];
            for (no, page) in log.iter().take_while(|(no, _)| no.get() < all.end()) {
                bytes[place(Extent::new(no.get(), 1))].copy_from_slice(page);
            }
            for slot in SLOT_PAGES.into_iter().filter(|slot| (all.first..all.end()).contains(slot)) {
                let at = slot as usize * page_len;
                bytes[place(Extent::new(slot, 1))].copy_from_slice(&first_pages[at..at + page_len]);
            }
            output.write(bytes)?;
            first = all.end();
        }
        Ok(())
    }

    fn meta(&self, txn: &ReadTxn) -> Box<Meta> {
        let fields = MetaFields {
            page_len: txn.shared().options.page_len,
            database_id: txn.shared().database_id,
            txn: txn.id(),
            page_count: txn.page_count(),
            catalog: txn.catalog().to_record(),
            log_head: self.free.pages.last().map_or(PageNo::NONE, |(no, _)| *no),
            log_count: self.free.pages.len() as u64,
            was_as_long: false,
        };
        Meta::new(fields, Trust::Synced, &self.free.inline)
    }
}

/// Finds out which pages the snapshot reaches.
struct Survey<'a, 'o, 'p> {
    source: PageSource<'a>,
    /// Whether it is the catalog that is walked.
    is_catalog: bool,
    reached: Reached,
    output: &'a mut Output<'o, 'p>,
}

impl Survey<'_, '_, '_> {
    /// No page is part of two things, and none lies outside the file.
    fn claim(&mut self, extent: Extent, is_large: bool) -> Result<()> {
        let bad = |what| Err(Error::Corrupt { page: extent.first, what });
        if extent.first.checked_add(extent.count).is_none_or(|end| end > self.source.page_count) || extent.has_slot() {
            return bad("a page number outside the file");
        }
        let Reached { tree, large } = &mut self.reached;
        if tree.overlaps(extent) || large.overlaps(extent) {
            return bad("a page that is in use twice");
        }
        let before = tree.page_count() + large.page_count();
        if is_large {
            large.insert(extent)
        } else {
            tree.insert(extent)
        }
        let step = |seen: u64| seen / STEP_PAGES;
        if step(before + extent.count) != step(before) { self.output.tell() } else { Ok(()) }
    }
}

impl Visitor for Survey<'_, '_, '_> {
    fn enter(&mut self, extent: Extent) -> Result<()> {
        self.claim(extent, false)
    }

    fn leaf(&mut self, leaf: &Leaf<'_>) -> Result<()> {
        if std::mem::take(&mut self.is_catalog) {
            for bucket in buckets(leaf) {
                let (_, tree) = bucket?;
                walk(&tree, self.source, self)?;
            }
            self.is_catalog = true;
            return Ok(());
        }
        for i in 0..leaf.len() {
            if let Value::Large(large) = leaf.value(i)? {
                let extent = Extent::new(large.page().get(), large.page_count(self.source.map.page_len()));
                self.claim(extent, true)?;
                verify_large(&large, self.source.large(&large)?)?;
            }
        }
        Ok(())
    }
}
