//! The check of a whole file: who owns each page, and everything that is wrong, with the place where it is. The same walk makes the
//! map of all pages.
//!
//! What is wrong is damage or a deviation: readers pass over bytes that should be zero, and over limits that only writers have to
//! keep; the check does not.
//!
//! The space log is read first, then the catalog, and each bucket when the walk over the catalog comes to its record. So what
//! is kept in memory is the set of owned pages and one path, however many buckets there are. One damaged page is one problem:
//! where a tree or the log could not be read to its end, pages that nobody owns are not called lost.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, thread};

use zerocopy::{FromBytes, IntoBytes};

use crate::bucket::{self, NAME_MAX, NOT_UTF8};
use crate::error::Result;
use crate::inspect::{PageKind, PageMap, PageRun};
use crate::page::large::LargeRef;
use crate::page::leaf::{Leaf, Value};
use crate::page::meta::{META_LEN, Meta, Slot};
use crate::page::space_log::{Extent, LogPage};
use crate::page::{self, BucketRecord, PageNo, SLOT_PAGES, TxnId};
use crate::tree::check::{Auditor, born_too_late, check, describe};
use crate::tree::{Pages, Tree};
use crate::txn::extents::ExtentSet;
use crate::txn::read::ReadTxn;
use crate::txn::recover::PassedOver;
use crate::txn::space::Space;
use crate::txn::{PageSource, Shared};

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
    /// Everything that is wrong, up to 1,000 problems of each kind.
    pub problems: Vec<Problem>,
    /// How many problems there are.
    pub problem_count: u64,
    /// How many of the problems are damage.
    pub damage_count: u64,
    /// What is left of a commit that a power cut has interrupted. It is no problem: all data of the commit that was opened is whole, and the next
    /// commit takes the place of what is left. But damage to the newest commit or to a slot may look the same. So where there was no
    /// power cut, it is that.
    pub interrupted: Vec<Interrupted>,
}

/// Something that an interrupted commit has left, in a [`CheckReport`]. It displays as a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Interrupted {
    /// A newer commit that the open has passed over.
    PassedOver(PassedOver),
    /// A meta slot that holds no commit.
    Slot {
        /// The page that the slot begins.
        page: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interrupted::PassedOver(passed_over) => write!(f, "interrupted: {passed_over}"),
            Interrupted::Slot { page, what } => write!(f, "interrupted: page {page}: {what}"),
        }
    }
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.problem_count == 0
    }

    /// Whether one of the problems is damage. If not, everything that was stored is there and can be read.
    pub fn is_damaged(&self) -> bool {
        self.damage_count > 0
    }
}

/// What a problem means for the data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Something was lost, cannot be read or cannot be relied on, such as a page that fails its checksum or a page that nobody owns.
    /// Restore a backup.
    Damage,
    /// The file is not as its format has it, and yet all data is whole: a byte that nothing uses is not zero, or a key is longer than a
    /// writer accepts. No version of this library writes such a file. Another program did, or a fault that came before the checksum was
    /// made. A [compact](crate::Backup) copy is free of most of it.
    Deviation,
}

/// Something that is wrong with a file. It displays as a line: the bucket or the catalog, the page and the path to it, and what
/// is wrong, such as `bucket "users": page 56 (root 12 > 34 > 56): checksum mismatch`; if it is a deviation, behind that word.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// Whether it is damage, or the data is whole.
    pub kind: ProblemKind,
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
        if self.kind == ProblemKind::Deviation {
            f.write_str("deviation: ")?;
        }
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

/// A report keeps no more problems of a kind than this: a hostile file can have as many as it has bytes.
const PROBLEMS_MAX: u64 = 1000;

/// A slot is written in less time than this.
const SLOT_PAUSE: Duration = Duration::from_millis(2);

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
    audit.slots(meta);
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
    /// While nothing has been committed since the open.
    passed_over: Option<PassedOver>,
    shared: &'txn Shared,
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
    /// What each page is used for, if that is what is asked: then large values are not read, nor is it told what deviates.
    runs: Option<Vec<PageRun>>,
    progress: F,
    report: CheckReport,
}

impl<'txn, F: FnMut(u64, u64) -> ControlFlow<()>> Audit<'txn, F> {
    fn new(txn: &'txn ReadTxn, progress: F) -> Audit<'txn, F> {
        let page_count = txn.page_count();
        let report = CheckReport {
            pages: page_count,
            buckets: 0,
            entries: 0,
            problems: Vec::new(),
            problem_count: 0,
            damage_count: 0,
            interrupted: Vec::new(),
        };
        Audit {
            passed_over: txn.shared().passed_over.filter(|it| it.opened == txn.id()),
            shared: txn.shared(),
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
            report,
        }
    }

    /// What in the meta and behind both slots is not as the format has it.
    fn slots(&mut self, meta: &Meta) {
        if let Some(what) = meta.stray_bytes() {
            // The slot may have been overwritten since.
            let page =
                SLOT_PAGES.into_iter().find(|&no| self.slot(no, 0..META_LEN).is_ok_and(|slot| slot == meta.as_bytes()));
            self.report(ProblemKind::Deviation, page, &[], what.to_string());
        }
        if let Some(passed_over) = self.passed_over {
            self.report.interrupted.push(Interrupted::PassedOver(passed_over));
        }
        for no in SLOT_PAGES {
            if let Some(what) = self.bad_slot(no) {
                self.report.interrupted.push(Interrupted::Slot { page: no, what });
            }
            match self.slot(no, META_LEN..self.page_len) {
                Ok(behind) => {
                    if let Some(at) = page::nonzero_in(&behind, 0..behind.len()) {
                        let what = format!("byte {} is not zero, though nothing uses it", META_LEN + at);
                        self.report(ProblemKind::Deviation, Some(no), &[], what);
                    }
                }
                Err(error) => self.damage(Some(no), &[], format!("cannot be read: {error}")),
            }
        }
    }

    /// Why a slot holds no commit. A writer may be writing it: then it is different the next time.
    fn bad_slot(&self, no: u64) -> Option<&'static str> {
        let (mut before, _) = self.read_bad_slot(no)?;
        if let Some(seen) = self.shared.while_nobody_writes(|| self.read_bad_slot(no)) {
            return seen.map(|(_, what)| what);
        }
        loop {
            thread::sleep(SLOT_PAUSE);
            let (bytes, what) = self.read_bad_slot(no)?;
            if bytes == before {
                return Some(what);
            }
            before = bytes;
        }
    }

    /// The bytes of a slot that holds no commit, and why. One that cannot be read is told of with the bytes behind it.
    fn read_bad_slot(&self, no: u64) -> Option<(Vec<u8>, &'static str)> {
        let bytes = self.slot(no, 0..META_LEN).ok()?;
        let what = match Meta::read(bytes.first_chunk().expect("as many bytes as a meta has")) {
            Slot::Good(_) => return None,
            Slot::Foreign => "a meta slot that holds no commit; the other one does",
            Slot::Damaged | Slot::Version { .. } => "a meta slot that fails its checksum; the other one does not",
        };
        Some((bytes, what))
    }

    /// Bytes of a page that begins with a meta slot: the one kind of page that is never read through the map.
    fn slot(&self, no: u64, range: Range<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; range.len()];
        self.shared.store.read_at(&mut bytes, no * self.page_len as u64 + range.start as u64)?;
        Ok(bytes)
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
        let (mut no, mut born_max) = (fields.log_head, self.txn);
        for n in 1..=fields.log_count {
            let name = format!("page {n} of the {} of the space log", fields.log_count);
            match self.log_page(no, born_max, &name) {
                Ok(page) => (no, born_max) = (page.previous, page.born),
                Err(why) => {
                    self.is_whole = false;
                    return self.damage(Some(no.get()), &[], format!("{name}: {why}"));
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
                    self.damage(Some(extent.first), &[], "a page of the space log, and free".to_string());
                }
            }
            Err(error) => {
                self.is_whole = false;
                self.damage(None, &[], format!("the space log cannot be read: {}", describe(&error)));
            }
        }
    }

    /// A page of the space log, which is called `name`. What refers to it was born in `born_max`. The error is what is wrong.
    fn log_page(&mut self, no: PageNo, born_max: TxnId, name: &str) -> std::result::Result<LogPage<'txn>, String> {
        let read = self.source.page(no).and_then(|bytes| {
            page::verify(bytes, no)?;
            Ok((bytes, LogPage::view(bytes)?))
        });
        let (bytes, page) = read.map_err(|error| describe(&error))?;
        let extent = Extent::new(no.get(), 1);
        self.claim(extent)?;
        self.log.insert(extent);
        if page.born > born_max {
            return Err(born_too_late(page.born, born_max));
        }
        self.page(no, bytes).map_err(|error| describe(&error))?;
        page::deviations(bytes, |what| {
            self.report(ProblemKind::Deviation, Some(no.get()), &[], format!("{name}: {what}"));
        });
        Ok(page)
    }

    /// A bucket, as its record in the leaf of the catalog that `path` leads to has it.
    fn bucket(&mut self, path: &[u64], name: &[u8], record: &[u8]) {
        let Ok(name) = std::str::from_utf8(name) else {
            return self.unread(path, NOT_UTF8.to_string());
        };
        self.bucket = Some(name.into());
        if !(1..=NAME_MAX).contains(&name.len()) {
            self.deviation(path, format!("a bucket name of {} bytes; it has 1 to {NAME_MAX}", name.len()));
        }
        match bucket::to_tree(record) {
            Ok(tree) => {
                if let Some(what) = BucketRecord::ref_from_bytes(record).ok().and_then(BucketRecord::deviation) {
                    self.deviation(path, format!("its record in the catalog: {what}"));
                }
                self.report.buckets += 1;
                self.report.entries += check(&tree, self.source, self.page_len, self.txn, self);
            }
            Err(what) => self.unread(path, format!("its record in the catalog: {what}")),
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
                self.damage(Some(next), &[], format!("lost: neither reachable nor free{run}"));
            }
            next = owned.end();
        }
    }

    fn damage(&mut self, page: Option<u64>, path: &[u64], what: String) {
        self.report(ProblemKind::Damage, page, path, what);
    }

    fn report(&mut self, kind: ProblemKind, page: Option<u64>, path: &[u64], what: String) {
        let report = &mut self.report;
        report.problem_count += 1;
        report.damage_count += u64::from(kind == ProblemKind::Damage);
        let of_kind = match kind {
            ProblemKind::Damage => report.damage_count,
            ProblemKind::Deviation => report.problem_count - report.damage_count,
        };
        if of_kind <= PROBLEMS_MAX {
            let bucket = self.bucket.as_deref().map(str::to_string);
            report.problems.push(Problem { kind, page, bucket, path: path.to_vec(), what });
        }
    }
}

impl<F: FnMut(u64, u64) -> ControlFlow<()>> Auditor for Audit<'_, F> {
    fn claim(&mut self, extent: Extent) -> std::result::Result<(), &'static str> {
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
        self.damage(path.last().copied(), path, what);
    }

    fn deviation(&mut self, path: &[u64], what: String) {
        self.report(ProblemKind::Deviation, path.last().copied(), path, what);
    }

    fn unread(&mut self, path: &[u64], what: String) {
        self.is_whole = false;
        self.problem(path, what);
    }

    fn is_thorough(&self) -> bool {
        self.runs.is_none()
    }

    fn page(&mut self, no: PageNo, page: &[u8]) -> Result<()> {
        // As readers find it.
        self.source.map.verify_birth(no, TxnId::new(page::header(page).born.get()))?;
        if let Some(runs) = &mut self.runs {
            runs.push(PageRun::sound(no.get(), page, self.bucket.clone()));
        }
        Ok(())
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
