//! The compact copy: every tree is built anew from its entries, leaf after leaf.
//!
//! The meta comes first in the file and says where the catalog is, which is written last. So the trees are built twice: once to see how
//! many pages there are, which leaves out the large values, and once to write them.

use super::{Output, STEP_PAGES, buckets, verify_large};
use crate::bucket;
use crate::error::{Error, Result};
use crate::page::large::LargeRef;
use crate::page::leaf::{Leaf, Value};
use crate::page::meta::MetaFields;
use crate::page::space_log::Extent;
use crate::page::{self, BESIDE_END, PAGE_LEN_MAX, PageNo, TxnId};
use crate::tree::build::{Builder, PageSink};
use crate::tree::walk::{Visitor, walk};
use crate::tree::{Pages, Tree};
use crate::txn::read::ReadTxn;
use crate::txn::{PageSource, first_pages, packed_meta, random_id};

/// What comes out, and how many pages it has.
pub(super) struct Plan {
    catalog: Tree,
    pub(super) page_count: u64,
}

impl Plan {
    pub(super) fn make(txn: &ReadTxn, output: &mut Output<'_, '_>) -> Result<Plan> {
        build(txn, output, false)
    }

    pub(super) fn write(&self, txn: &ReadTxn, output: &mut Output<'_, '_>) -> Result<()> {
        let meta = packed_meta(MetaFields {
            page_len: txn.shared().options.page_len,
            database_id: random_id(),
            txn: txn.id(),
            page_count: self.page_count,
            catalog: self.catalog.to_record(),
            log_head: PageNo::NONE,
            log_count: 0,
            was_as_long: false,
        });
        output.write(&first_pages(&meta))?;
        let written = build(txn, output, true)?;
        match (written.catalog, written.page_count) == (self.catalog, self.page_count) {
            true => Ok(()),
            false => Err(Error::Corrupt { page: 0, what: "the file has changed while it was copied" }),
        }
    }
}

/// Builds all trees, behind the pages of the meta slots. `writes` says whether they are written, too.
fn build(txn: &ReadTxn, output: &mut Output<'_, '_>, writes: bool) -> Result<Plan> {
    let page_len = txn.shared().options.page_len;
    let mut sink = Sink { source: txn.source(), txn: txn.id(), page_len, next: BESIDE_END, seen: 0, output, writes };
    let catalog = txn.catalog();
    let mut copy = CatalogCopy { builder: Builder::new(page_len), sink: &mut sink };
    walk(&catalog, txn.source(), &mut copy)?;
    let catalog = copy.builder.finish(copy.sink)?;
    Ok(Plan { catalog, page_count: sink.next })
}

/// The pages of the copy, one behind the other.
struct Sink<'a, 'o, 'p> {
    source: PageSource<'a>,
    txn: TxnId,
    page_len: usize,
    /// The number of the next page.
    next: u64,
    /// How many pages of the source were read.
    seen: u64,
    output: &'a mut Output<'o, 'p>,
    writes: bool,
}

impl Sink<'_, '_, '_> {
    /// Counts pages that are about to be read, so that a forged file in which a page is below many others comes to an end.
    fn enter(&mut self, extent: Extent) -> Result<()> {
        let before = self.seen;
        self.seen = self.seen.saturating_add(extent.count);
        if self.seen > self.source.page_count {
            return Err(Error::Corrupt { page: extent.first, what: "the trees have more pages than the file" });
        }
        // While the trees are written, the output tells.
        if !self.writes && self.seen / STEP_PAGES != before / STEP_PAGES { self.output.tell() } else { Ok(()) }
    }

    /// Takes whole pages behind what there is.
    fn take(&mut self, count: u64) -> PageNo {
        let first = self.next;
        self.next += count;
        PageNo::new(first)
    }

    /// Copies a large value.
    fn large(&mut self, large: &LargeRef) -> Result<LargeRef> {
        let count = large.page_count(self.page_len);
        self.enter(Extent::new(large.page().get(), count))?;
        if self.writes {
            let value = self.source.large(large)?;
            verify_large(large, value)?;
            self.output.write(value)?;
            let rest = value.len().next_multiple_of(self.page_len) - value.len();
            self.output.write(&[0; PAGE_LEN_MAX][..rest])?;
        }
        Ok(LargeRef::new(self.take(count), large.len(), self.txn, large.checksum()))
    }
}

impl PageSink for Sink<'_, '_, '_> {
    fn add(&mut self, page: &mut [u8]) -> Result<PageNo> {
        let no = self.take(1);
        if self.writes {
            page::seal(page, no, self.txn);
            self.output.write(page)?;
        }
        Ok(no)
    }
}

/// The copy of the catalog, and of each bucket when its record comes.
struct CatalogCopy<'c, 'a, 'o, 'p> {
    builder: Builder,
    sink: &'c mut Sink<'a, 'o, 'p>,
}

impl Visitor for CatalogCopy<'_, '_, '_, '_> {
    fn enter(&mut self, extent: Extent) -> Result<()> {
        self.sink.enter(extent)
    }

    fn leaf(&mut self, leaf: &Leaf<'_>) -> Result<()> {
        for bucket in buckets(leaf) {
            let (name, tree) = bucket?;
            check_key(&self.builder, name, leaf, self.sink.page_len)?;
            let record = bucket::to_record(copy_tree(&tree, self.sink)?);
            self.builder.push(name, Value::Inline(&record), self.sink)?;
        }
        Ok(())
    }
}

/// The copy of a bucket.
struct BucketCopy<'c, 'a, 'o, 'p> {
    builder: Builder,
    sink: &'c mut Sink<'a, 'o, 'p>,
}

impl Visitor for BucketCopy<'_, '_, '_, '_> {
    fn enter(&mut self, extent: Extent) -> Result<()> {
        self.sink.enter(extent)
    }

    fn leaf(&mut self, leaf: &Leaf<'_>) -> Result<()> {
        for i in 0..leaf.len() {
            let (key, value) = leaf.entry(i)?;
            check_key(&self.builder, key, leaf, self.sink.page_len)?;
            let value = match value {
                Value::Inline(bytes) => Value::Inline(bytes),
                Value::Large(large) => Value::Large(self.sink.large(&large)?),
            };
            self.builder.push(key, value, self.sink)?;
        }
        Ok(())
    }
}

fn copy_tree(tree: &Tree, sink: &mut Sink<'_, '_, '_>) -> Result<Tree> {
    let source = sink.source;
    let mut copy = BucketCopy { builder: Builder::new(sink.page_len), sink };
    walk(tree, source, &mut copy)?;
    copy.builder.finish(copy.sink)
}

/// Whether a key may follow those that there are. Leaves that are sound each for itself may still be in the wrong order; and a key
/// that is longer than any, in a file that was forged, would make a separator that fits no branch.
fn check_key(builder: &Builder, key: &[u8], leaf: &Leaf<'_>, page_len: usize) -> Result<()> {
    let is_next = builder.last_key().is_none_or(|last| last < key);
    if is_next && key.len() <= page::key_max(page_len) { Ok(()) } else { Err(leaf.out_of_order()) }
}
