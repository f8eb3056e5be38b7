//! A look at the pages themselves: what one holds, how a bucket's tree is built, and what every page of the file is used for.
//!
//! For tools and for the curious; nothing here is needed to read or write entries. Whatever the bytes of a file say, the answers
//! are owned, bounded by the size of the file, and no panic (P2). The map of all pages comes out of the walk in `audit`. Called
//! by `database`, `bucket` and `txn::read`.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::page::branch::{self, Branch};
use crate::page::leaf::{self, Leaf, Value};
use crate::page::meta::{META_LEN, Meta, Slot};
use crate::page::space_log::{self, Extent, LogPage};
use crate::page::{self, BRANCH, HEADER_LEN, LEAF, PageNo, SPACE_LOG, TxnId};
use crate::tree::{Pages, Tree};
use crate::txn::extents::ExtentSet;
use crate::txn::read::ReadTxn;
use crate::txn::{PageSource, Shared};

/// What a page is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PageKind {
    /// A meta slot.
    Meta,
    /// Separators and children.
    Branch,
    /// Entries.
    Leaf,
    /// A part of a large value.
    Large,
    /// Records of the free space.
    SpaceLog,
    /// Reusable. While a write transaction runs, pending pages are among these: only the writer can tell them apart.
    Free,
    /// Freed, but held back by a pinned snapshot or the last durable commit.
    Pending,
    /// None of these, as far as is known: damaged, or used by something that is.
    Unknown,
}

impl fmt::Display for PageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PageKind::Meta => "meta",
            PageKind::Branch => "branch",
            PageKind::Leaf => "leaf",
            PageKind::Large => "large",
            PageKind::SpaceLog => "space log",
            PageKind::Free => "free",
            PageKind::Pending => "pending",
            PageKind::Unknown => "unknown",
        })
    }
}

/// A page and what it holds. See [`ReadTxn::page_info`](crate::ReadTxn::page_info) and [`Bucket::pages`](crate::Bucket::pages).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PageInfo {
    /// The number of the page; of a dirty page, its place among the dirty pages of the transaction.
    pub page: u64,
    /// Whether it is dirty: it gets a number at commit.
    pub is_dirty: bool,
    /// Meta, branch, leaf or space log; unknown if the bytes are none of them, as those of a large value.
    pub kind: PageKind,
    /// 0 for a leaf; a branch is one above its children.
    pub level: u32,
    /// The transaction that wrote it; of a dirty page, 0.
    pub born: TxnId,
    /// The number of children, of entries, or of words of space records.
    pub entry_count: u64,
    /// The bytes in use, the header included.
    pub used_bytes: u64,
    /// The children of a branch, in order.
    pub children: Vec<ChildInfo>,
    /// The entries of a leaf, in order.
    pub entries: Vec<EntryInfo>,
    /// Why the kind is unknown. That is damage only where a page with a header belongs.
    pub problem: Option<&'static str>,
}

/// A child of a branch.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ChildInfo {
    /// The number of its page; if that is dirty, its place among the dirty pages of the transaction.
    pub page: u64,
    /// Whether its page is dirty.
    pub is_dirty: bool,
    /// The key that it begins at; empty for the first child, which begins wherever the branch does.
    pub separator: Vec<u8>,
    /// The number of entries below it.
    pub entry_count: u64,
}

/// An entry of a leaf, without its value.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EntryInfo {
    /// The key.
    pub key: Vec<u8>,
    /// The length of the value in bytes.
    pub value_len: u64,
    /// The first page of the value, if it is a large one.
    pub large_page: Option<u64>,
}

impl PageInfo {
    fn new(page: u64, kind: PageKind) -> PageInfo {
        PageInfo {
            page,
            is_dirty: false,
            kind,
            level: 0,
            born: TxnId::default(),
            entry_count: 0,
            used_bytes: 0,
            children: Vec::new(),
            entries: Vec::new(),
            problem: None,
        }
    }

    /// A page with a header, whose bytes are trusted no more than any others.
    fn read(no: PageNo, page: &[u8]) -> Result<PageInfo> {
        let header = page::header(page);
        let (number, is_dirty) = number_of(no);
        let kind = kind_of(header.kind);
        let mut info = PageInfo {
            is_dirty,
            level: u32::from(header.level),
            born: if is_dirty { TxnId::default() } else { TxnId::new(header.born.get()) },
            entry_count: u64::from(header.slot_count.get()),
            used_bytes: used_len(page),
            ..PageInfo::new(number, kind)
        };
        match kind {
            PageKind::Branch => info.children = children(&Branch::view(page, usize::from(header.level))?)?,
            PageKind::Leaf => info.entries = entries(&Leaf::view(page)?)?,
            PageKind::SpaceLog => info.entry_count = LogPage::view(page)?.words.len() as u64,
            _ => return Err(page::corrupt(page, "unknown kind of page")),
        }
        Ok(info)
    }

    fn unknown(page: u64, problem: &'static str) -> PageInfo {
        PageInfo { problem: Some(problem), ..PageInfo::new(page, PageKind::Unknown) }
    }
}

fn children(branch: &Branch<'_>) -> Result<Vec<ChildInfo>> {
    let child = |i| {
        let (page, is_dirty) = number_of(branch.child(i)?);
        Ok(ChildInfo { page, is_dirty, separator: branch.separator(i)?, entry_count: branch.entry_count(i)? })
    };
    (0..branch.len()).map(child).collect()
}

fn entries(leaf: &Leaf<'_>) -> Result<Vec<EntryInfo>> {
    let entry = |i| {
        let (key, value) = leaf.entry(i)?;
        let (value_len, large_page) = match value {
            Value::Inline(bytes) => (bytes.len() as u64, None),
            Value::Large(large) => (large.len(), Some(large.page().get())),
        };
        Ok(EntryInfo { key: key.to_vec(), value_len, large_page })
    };
    (0..leaf.len()).map(entry).collect()
}

/// The number of a page, or its place among the dirty ones.
fn number_of(no: PageNo) -> (u64, bool) {
    match no.as_dirty() {
        Some(index) => (index as u64, true),
        None => (no.get(), false),
    }
}

fn kind_of(kind: u8) -> PageKind {
    match kind {
        LEAF => PageKind::Leaf,
        BRANCH => PageKind::Branch,
        SPACE_LOG => PageKind::SpaceLog,
        _ => PageKind::Unknown,
    }
}

/// The bytes of a page that are in use, its header included.
fn used_len(page: &[u8]) -> u64 {
    let live_len = match page::header(page).kind {
        LEAF => leaf::live_len(page),
        BRANCH => branch::live_len(page),
        _ => space_log::live_len(page),
    };
    (HEADER_LEN + live_len) as u64
}

/// What page `page` holds, by its own bytes. They are read from the store and not through the map: nobody vouches that the page
/// is in use, so the writer may be writing it.
pub(crate) fn page_info(shared: &Shared, page: u64, page_count: u64) -> Result<Option<PageInfo>> {
    if page >= page_count {
        return Ok(None);
    }
    let page_len = shared.options.page_len;
    let mut bytes = vec![0; page_len];
    shared.store.read_at(&mut bytes, page * page_len as u64).map_err(Error::io("reading a page"))?;
    if page::is_slot(page) {
        return Ok(Some(meta_info(page, &bytes)));
    }
    let no = PageNo::new(page);
    let read = page::verify(&bytes, no).and_then(|()| PageInfo::read(no, &bytes));
    Ok(Some(match read {
        Err(Error::Corrupt { what, .. }) => PageInfo::unknown(page, what),
        read => read?,
    }))
}

fn meta_info(page: u64, bytes: &[u8]) -> PageInfo {
    let slot = bytes.first_chunk::<META_LEN>().expect("a page is no shorter than a meta");
    match Meta::read(slot) {
        Slot::Good(meta) => PageInfo {
            born: meta.txn(),
            entry_count: meta.space_words().len() as u64,
            used_bytes: META_LEN as u64,
            ..PageInfo::new(page, PageKind::Meta)
        },
        _ => PageInfo::unknown(page, "a meta slot that was never written, or is damaged"),
    }
}

/// The pages of a bucket's tree, from the root down and from left to right. See [`Bucket::pages`](crate::Bucket::pages).
///
/// A page that cannot be read is an error; the walk goes on beside it.
pub struct TreePages<'txn> {
    source: PageSource<'txn>,
    /// Pages yet to be visited, the next one last, with the level where each belongs.
    next: Vec<(PageNo, usize)>,
    /// A tree cannot have more pages than these, whatever its branches say.
    pages_left: u64,
}

impl<'txn> TreePages<'txn> {
    pub(crate) fn new(source: PageSource<'txn>, tree: Tree, page_count_max: u64) -> TreePages<'txn> {
        let next = if tree.depth == 0 { Vec::new() } else { vec![(tree.root, tree.depth - 1)] };
        TreePages { source, next, pages_left: page_count_max }
    }

    fn visit(&mut self, no: PageNo, level: usize) -> Result<PageInfo> {
        let page = self.source.page(no)?;
        if self.pages_left == 0 {
            self.next.clear();
            return Err(page::corrupt(page, "the tree has more pages than the file"));
        }
        self.pages_left -= 1;
        if level == 0 {
            Leaf::view(page)?;
        } else {
            let branch = Branch::view(page, level)?;
            for i in (0..branch.len()).rev() {
                self.next.push((branch.child(i)?, level - 1));
            }
        }
        PageInfo::read(no, page)
    }
}

impl Iterator for TreePages<'_> {
    type Item = Result<PageInfo>;

    fn next(&mut self) -> Option<Result<PageInfo>> {
        let (no, level) = self.next.pop()?;
        Some(self.visit(no, level))
    }
}

impl FusedIterator for TreePages<'_> {}

impl fmt::Debug for TreePages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreePages").finish_non_exhaustive()
    }
}

/// Pages in a row that are used for the same thing: one branch or leaf, the run of a large value, a run of free pages.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PageRun {
    /// The number of the first page.
    pub first: u64,
    /// The number of pages.
    pub count: u64,
    /// What they are.
    pub kind: PageKind,
    /// The level of a branch.
    pub level: u32,
    /// The transaction that wrote them, if that is known.
    pub born: Option<TxnId>,
    /// The number of children of a branch, of entries of a leaf, 1 for a large value.
    pub entry_count: u64,
    /// The bytes in use, a page's header included.
    pub used_bytes: u64,
    /// The bucket that they belong to. Branches and leaves of none are the catalog's.
    pub bucket: Option<Arc<str>>,
}

impl PageRun {
    pub(crate) fn new(extent: Extent, kind: PageKind) -> PageRun {
        PageRun {
            first: extent.first,
            count: extent.count,
            kind,
            level: 0,
            born: None,
            entry_count: 0,
            used_bytes: 0,
            bucket: None,
        }
    }

    /// A page with a header that was found sound.
    pub(crate) fn sound(no: u64, page: &[u8], bucket: Option<Arc<str>>) -> PageRun {
        let header = page::header(page);
        PageRun {
            level: u32::from(header.level),
            born: Some(TxnId::new(header.born.get())),
            entry_count: u64::from(header.slot_count.get()),
            used_bytes: used_len(page),
            bucket,
            ..PageRun::new(Extent::new(no, 1), kind_of(header.kind))
        }
    }

    fn extent(&self) -> Extent {
        Extent::new(self.first, self.count)
    }
}

/// What every page of a file is used for, as of one snapshot. See [`Database::page_map`](crate::Database::page_map).
#[derive(Clone, Debug)]
pub struct PageMap {
    page_size: u32,
    txn: TxnId,
    runs: Vec<PageRun>,
}

impl PageMap {
    /// Puts the runs that were found in use in order, and with them what is free, pending and unknown.
    pub(crate) fn new(txn: &ReadTxn, mut runs: Vec<PageRun>, mut free: ExtentSet, pending: &[Extent]) -> PageMap {
        runs.retain(|run| run.count > 0);
        runs.iter().for_each(|run| free.remove(run.extent()));
        for &pending in pending.iter().filter(|pending| pending.count > 0) {
            if free.contains(pending) {
                free.remove(pending);
                runs.push(PageRun::new(pending, PageKind::Pending));
            }
        }
        runs.extend(free.iter().map(|extent| PageRun::new(extent, PageKind::Free)));
        let mut rest: ExtentSet = [Extent::new(0, txn.page_count())].into_iter().collect();
        runs.iter().for_each(|run| rest.remove(run.extent()));
        runs.extend(rest.iter().map(|extent| PageRun::new(extent, PageKind::Unknown)));
        runs.sort_unstable_by_key(|run| run.first);
        PageMap { page_size: txn.shared().options.page_len as u32, txn: txn.id(), runs }
    }

    /// The page size in bytes.
    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    /// The snapshot that was looked at.
    pub fn txn_id(&self) -> TxnId {
        self.txn
    }

    /// The number of pages: the first page number past the end.
    pub fn page_count(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.first + run.count)
    }

    /// All runs, in the order of their pages. Each page is in exactly one.
    pub fn runs(&self) -> &[PageRun] {
        &self.runs
    }

    /// The run that `page` is in: `None` past the end.
    pub fn find(&self, page: u64) -> Option<&PageRun> {
        let after = self.runs.partition_point(|run| run.first <= page);
        self.runs[..after].last().filter(|run| page - run.first < run.count)
    }
}
