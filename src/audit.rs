//! The check of a whole file: who owns each page, and everything that is wrong, with the place where it is. The same walk makes the
//! map of all pages.
//!
//! The space log is read first, then the catalog, and each bucket when the walk over the catalog comes to its record. So what
//! is kept in memory is the set of owned pages and one path, however many buckets there are. One damaged page is one problem:
//! where a tree or the log could not be read to its end, pages that nobody owns are not called lost.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::bucket;
use crate::inspect::{PageKind, PageMap, PageRun};
use crate::page::large::LargeRef;
use crate::page::leaf::{Leaf, Value};
use crate::page::meta::Meta;
use crate::page::space_log::{Extent, LogPage};
use crate::page::{self, PageNo, SLOT_PAGES, TxnId};
use crate::tree::check::{Auditor, check, describe};
use crate::tree::{Pages, Tree};
use crate::txn::PageSource;
use crate::txn::extents::ExtentSet;
use crate::txn::read::ReadTxn;
use crate::txn::space::Space;

/// What [`Database::check`](crate::Database::check) found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckReport {
    /// The number of pages in the file.
    pub pages: u64,
    /// The number of buckets.
    pub buckets: u64,
    /// The number of entries in all buckets.
    pub entries: u64,
    /// Everything that is wrong, up to 1,000 problems.
    pub problems: Vec<Problem>,
    /// How many problems there are.
    pub problem_count: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.problem_count == 0
    }
}

/// Something that is wrong with a file. It displays as a line: the bucket or the catalog, the page and the path to it, and what
/// is wrong, such as `bucket "users": page 56 (root 12 > 34 > 56): checksum mismatch`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The page, if it is one page's problem; of a large value, or of a run of lost pages, the first one.
    pub page: Option<u64>,
    /// The bucket, if it is a bucket's problem.
    pub bucket: Option<String>,
    /// The page numbers from the root of the tree to `page`, both included. It is the tree of the bucket; of the catalog, if
    /// there is no bucket or the problem is the bucket's record there. Empty if the page belongs to no tree.
    pub path: Vec<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bucket {
            Some(bucket) => write!(f, "bucket {bucket:?}: ")?,
            None if !self.path.is_empty() => f.write_str("catalog: ")?,
            None => {}
        }
        if let Some(page) = self.page {
            write!(f, "page {page}")?;
            match &self.path[..] {
                [] => {}
                [_] => f.write_str(" (root)")?,
                [root, below @ ..] => {
                    write!(f, " (root {root}")?;
                    below.iter().try_for_each(|no| write!(f, " > {no}"))?;
                    f.write_str(")")?;
                }
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
    }
}

/// A report keeps no more problems than this: a hostile file can have as many as it has bytes.
const PROBLEMS_MAX: usize = 1000;

/// How many pages go by between two calls of `progress`.
const PROGRESS_STEP: u64 = 1024;

/// Checks everything that a snapshot and its meta refer to.
/// `None` if `progress` put an end to it.
pub(crate) fn audit(
    txn: &ReadTxn,
    meta: &Meta,
    progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Option<CheckReport> {
    let mut audit = Audit::new(txn, progress);
    audit.walk(meta);
    audit.lost_pages();
    audit.tell(audit.page_count);
    (!audit.is_stopped).then_some(audit.report)
}

/// What every page is used for that a snapshot and its meta refer to. `pending` is a part of what they have as free. `None` if
/// `progress` put an end to it.
pub(crate) fn page_map(
    txn: &ReadTxn,
    meta: &Meta,
    pending: &[Extent],
    progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Option<PageMap> {
    let mut audit = Audit::new(txn, progress);
    audit.runs = Some(SLOT_PAGES.iter().map(|&slot| PageRun::new(Extent::new(slot, 1), PageKind::Meta)).collect());
    audit.walk(meta);
    audit.tell(audit.page_count);
    let runs = audit.runs.filter(|_| !audit.is_stopped)?;
    Some(PageMap::new(txn, runs, audit.free, pending))
}

/// Who owns which page, and what is wrong so far.
struct Audit<'txn, F> {
    source: PageSource<'txn>,
    txn: TxnId,
    catalog: Tree,
    page_len: usize,
    page_count: u64,
    owned: ExtentSet,
    /// Those of the owned pages that are the space log's, and those that are free.
    log: ExtentSet,
    free: ExtentSet,
    /// Everything could be read so far.
    is_whole: bool,
    /// Nothing more is to be looked at.
    is_stopped: bool,
    /// The bucket whose tree is being walked; none while it is the catalog's.
    bucket: Option<Arc<str>>,
    /// What each page is used for, if that is what is asked: then large values are not read.
    runs: Option<Vec<PageRun>>,
    progress: F,
    report: CheckReport,
}

impl<'txn, F: FnMut(u64, u64) -> ControlFlow<()>> Audit<'txn, F> {
    fn new(txn: &'txn ReadTxn, progress: F) -> Audit<'txn, F> {
        let page_count = txn.page_count();
        Audit {
            source: txn.source(),
            txn: txn.id(),
            catalog: txn.catalog(),
            page_len: txn.shared().options.page_len,
            page_count,
            owned: SLOT_PAGES.iter().map(|&slot| Extent::new(slot, 1)).collect(),
            log: ExtentSet::default(),
            free: ExtentSet::default(),
            is_whole: true,
            is_stopped: false,
            bucket: None,
            runs: None,
            progress,
            report: CheckReport { pages: page_count, buckets: 0, entries: 0, problems: Vec::new(), problem_count: 0 },
        }
    }

    /// Goes through the space log, the catalog and all buckets.
    fn walk(&mut self, meta: &Meta) {
        self.space(meta);
        let catalog = self.catalog;
        check(&catalog, self.source, self.page_len, self.txn, self);
    }

    /// The pages of the space log, and those that it says are free.
    fn space(&mut self, meta: &Meta) {
        let fields = meta.fields();
        let mut no = fields.log_head;
        for n in 1..=fields.log_count {
            match self.log_page(no) {
                Ok(previous) => no = previous,
                Err(why) => {
                    self.is_whole = false;
                    let what = format!("page {n} of the {} of the space log: {why}", fields.log_count);
                    return self.report(Some(no.get()), &[], what);
                }
            }
        }
        match Space::load(meta, self.source) {
            Ok(space) => {
                self.free = space.recorded().iter().collect();
                for extent in space.recorded().iter() {
                    self.own(extent);
                }
                for extent in space.log_pages().filter(|page| space.recorded().overlaps(*page)) {
                    self.report(Some(extent.first), &[], "a page of the space log, and free".to_string());
                }
            }
            Err(error) => {
                self.is_whole = false;
                self.report(None, &[], format!("the space log cannot be read: {}", describe(&error)));
            }
        }
    }

    /// A page of the space log. Answers the one before, or what is wrong.
    fn log_page(&mut self, no: PageNo) -> Result<PageNo, String> {
        let read = self.source.page(no).and_then(|bytes| {
            page::verify(bytes, no)?;
            Ok((bytes, LogPage::view(bytes)?))
        });
        let (bytes, page) = read.map_err(|error| describe(&error))?;
        let extent = Extent::new(no.get(), 1);
        self.claim(extent)?;
        self.log.insert(extent);
        self.page(no, bytes);
        Ok(page.previous)
    }

    /// A bucket, as its record in the leaf of the catalog that `path` leads to has it.
    fn bucket(&mut self, path: &[u64], name: &[u8], record: &[u8]) {
        let Ok(name) = std::str::from_utf8(name) else {
            return self.unread(path, "a bucket name that is not UTF-8".to_string());
        };
        self.bucket = Some(name.into());
        match bucket::to_tree(record, self.catalog) {
            Ok(tree) => {
                self.report.buckets += 1;
                self.report.entries += check(&tree, self.source, self.page_len, self.txn, self);
            }
            Err(error) => self.unread(path, format!("its record in the catalog: {}", describe(&error))),
        }
        self.bucket = None;
    }

    fn own(&mut self, extent: Extent) {
        let before = self.owned.page_count();
        self.owned.insert(extent);
        let seen = self.owned.page_count();
        if seen / PROGRESS_STEP != before / PROGRESS_STEP {
            self.tell(seen);
        }
    }

    fn tell(&mut self, seen: u64) {
        self.is_stopped = self.is_stopped || (self.progress)(seen, self.page_count).is_break();
    }

    /// P4: what nobody owns is lost.
    fn lost_pages(&mut self) {
        if !self.is_whole {
            return;
        }
        let owned = std::mem::take(&mut self.owned);
        let mut next = 0;
        for owned in owned.iter().chain([Extent::new(self.page_count, 0)]) {
            if owned.first > next {
                let run = match owned.first - next {
                    1 => String::new(),
                    count => format!(", {count} pages in a row"),
                };
                self.report(Some(next), &[], format!("lost: neither reachable nor free{run}"));
            }
            next = owned.end();
        }
    }

    fn report(&mut self, page: Option<u64>, path: &[u64], what: String) {
        self.report.problem_count += 1;
        if self.report.problems.len() < PROBLEMS_MAX {
            let bucket = self.bucket.as_deref().map(str::to_string);
            self.report.problems.push(Problem { page, bucket, path: path.to_vec(), what });
        }
    }
}

impl<F: FnMut(u64, u64) -> ControlFlow<()>> Auditor for Audit<'_, F> {
    fn claim(&mut self, extent: Extent) -> Result<(), &'static str> {
        if self.is_stopped {
            return Err("not looked at");
        }
        if extent.first.checked_add(extent.count).is_none_or(|end| end > self.page_count) {
            return Err("outside the file");
        }
        if extent.has_slot() {
            return Err("a meta slot");
        }
        if self.owned.overlaps(extent) {
            return Err(match extent {
                _ if self.free.overlaps(extent) => "both reachable and free",
                _ if self.log.overlaps(extent) => "reached, and a page of the space log",
                _ => "reached twice",
            });
        }
        self.own(extent);
        Ok(())
    }

    fn problem(&mut self, path: &[u64], what: String) {
        self.report(path.last().copied(), path, what);
    }

    fn unread(&mut self, path: &[u64], what: String) {
        self.is_whole = false;
        self.problem(path, what);
    }

    fn reads_values(&self) -> bool {
        self.runs.is_none()
    }

    fn page(&mut self, no: PageNo, page: &[u8]) {
        if let Some(runs) = &mut self.runs {
            runs.push(PageRun::sound(no.get(), page, self.bucket.clone()));
        }
    }

    fn large(&mut self, extent: Extent, large: &LargeRef) {
        if let Some(runs) = &mut self.runs {
            runs.push(PageRun {
                born: Some(large.born()),
                entry_count: 1,
                used_bytes: large.len(),
                bucket: self.bucket.clone(),
                ..PageRun::new(extent, PageKind::Large)
            });
        }
    }

    /// The leaves of the catalog hold the records of the buckets.
    fn leaf(&mut self, path: &[u64], leaf: &Leaf<'_>) {
        if self.bucket.is_some() {
            return;
        }
        for i in 0..leaf.len() {
            match leaf.entry(i) {
                Ok((name, Value::Inline(record))) => self.bucket(path, name, record),
                Ok((name, Value::Large(_))) => self.bucket(path, name, &[]),
                Err(_) => self.unread(path, "a record is out of bounds".to_string()),
            }
        }
    }
}
