//! Walks whole trees: to find what is wrong with one, and to measure it.

use super::{Pages, Tree, put};
use crate::error::{Error, Result};
use crate::page::branch::{self, Branch};
use crate::page::large::LargeRef;
use crate::page::leaf::{self, Leaf, Value};
use crate::page::space_log::Extent;
use crate::page::{self, BESIDE_END, BRANCH, HEADER_LEN, LEAF, PageNo, TxnId, VALUE_MAX};

/// What a walk over a tree asks of its caller. A path is the page numbers from the root of the tree to the page in question.
pub(crate) trait Auditor {
    /// The tree owns these pages. An error says why they cannot be its own: then the walk does not go there.
    fn claim(&mut self, extent: Extent) -> Result<(), &'static str>;

    /// Something is wrong with the page that the path leads to.
    fn problem(&mut self, path: &[u64], what: String);

    /// The same, and the walk turns back: nothing is known of what lies below.
    fn unread(&mut self, path: &[u64], what: String);

    /// What the page that the path leads to holds is whole, and not as the format has it.
    fn deviation(&mut self, path: &[u64], what: String);

    /// Whether large values are to be read, and bytes that nothing uses. That values are in the file is checked anyhow.
    fn is_thorough(&self) -> bool {
        true
    }

    /// A page that was read and found sound, before those below it. An error says why it is no good all the same.
    fn page(&mut self, _no: PageNo, _page: &[u8]) -> Result<()> {
        Ok(())
    }

    /// A large value that lies where one can.
    fn large(&mut self, _extent: Extent, _large: &LargeRef) {}

    /// A leaf that was read and found sound.
    fn leaf(&mut self, _path: &[u64], _leaf: &Leaf<'_>) {}
}

/// Checks a tree: every page's checksum and structure, order, levels, entry counts, large values, limits, and bytes that nothing uses.
/// Answers the number of entries found. No page is born after `born_max`, nor after the page that refers to it. One problem is one
/// finding: the counts above a page that could not be read are not held against it.
pub(crate) fn check<'p>(
    tree: &Tree,
    pages: impl Pages<'p>,
    page_len: usize,
    born_max: TxnId,
    auditor: &mut impl Auditor,
) -> u64 {
    if tree.depth == 0 {
        return 0;
    }
    let path = Vec::with_capacity(tree.depth + 1);
    let mut walk = Check { pages, page_len, auditor, path, txn: born_max, born_max, found: 0 };
    let count = walk.page(tree.root, tree.depth - 1, None, None);
    let found = walk.found;
    if count.is_some_and(|count| count != tree.entry_count) {
        let what = format!("the tree has {found} entries, {} are claimed", tree.entry_count);
        auditor.problem(&[tree.root.get()], what);
    }
    found
}

struct Check<'a, P, A> {
    pages: P,
    page_len: usize,
    auditor: &'a mut A,
    /// From the root to the page that is being looked at: never longer than the tree is deep, and a large value.
    path: Vec<u64>,
    /// The newest transaction that there is.
    txn: TxnId,
    /// When the page above it was born.
    born_max: TxnId,
    /// Entries so far.
    found: u64,
}

impl<'p, P: Pages<'p>, A: Auditor> Check<'_, P, A> {
    /// Checks the page `no` and all below it, whose keys must lie in `lower..upper`. Answers the number of entries, if all
    /// of them were seen. Levels descend, so this calls itself no deeper than `DEPTH_MAX`.
    fn page(&mut self, no: PageNo, level: usize, lower: Option<&[u8]>, upper: Option<&[u8]>) -> Option<u64> {
        self.path.push(no.get());
        let count = match self.auditor.claim(Extent::new(no.get(), 1)) {
            Ok(()) => self.owned_page(no, level, lower, upper),
            Err(why) => self.unread(why.to_string()),
        };
        self.path.pop();
        count
    }

    fn owned_page(&mut self, no: PageNo, level: usize, lower: Option<&[u8]>, upper: Option<&[u8]>) -> Option<u64> {
        let raw = self.pages.raw(Extent::new(no.get(), 1));
        let verified = raw.and_then(|page| page::verify(page, no).map(|()| page));
        let page = match verified {
            Ok(page) => page,
            Err(error) => return self.unread(describe(&error)),
        };
        let (found, expected) = (place_of(page), (if level == 0 { LEAF } else { BRANCH }, level));
        if found != expected {
            return self.unread(format!("{} where {} belongs", name_of(found), name_of(expected)));
        }
        let (born, above) = (TxnId::new(page::header(page).born.get()), self.born_max);
        if born > above {
            return self.unread(born_too_late(born, above));
        }
        if let Err(error) = self.auditor.page(no, page) {
            return self.unread(describe(&error));
        }
        self.born_max = born;
        if self.auditor.is_thorough() {
            page::deviations(page, |what| self.auditor.deviation(&self.path, what));
        }
        let count =
            if level == 0 { self.leaf(page, lower, upper).map(Some) } else { self.branch(page, level, lower, upper) };
        self.born_max = above;
        count.unwrap_or_else(|error| self.unread(describe(&error)))
    }

    fn problem(&mut self, what: impl Into<String>) {
        self.auditor.problem(&self.path, what.into());
    }

    fn deviation(&mut self, what: String) {
        self.auditor.deviation(&self.path, what);
    }

    fn unread(&mut self, what: String) -> Option<u64> {
        self.auditor.unread(&self.path, what);
        None
    }

    fn leaf(&mut self, page: &'p [u8], lower: Option<&[u8]>, upper: Option<&[u8]>) -> Result<u64> {
        let leaf = Leaf::view(page)?;
        if lower.is_some_and(|lower| leaf.key(0).is_ok_and(|key| key < lower)) {
            self.problem("the first key is less than the separator before the page");
        }
        if upper.is_some_and(|upper| leaf.key(leaf.len() - 1).is_ok_and(|key| key >= upper)) {
            self.problem("the last key is not less than the separator behind the page");
        }
        // A uniform leaf holds short entries alone.
        for entry in leaf.entries(if leaf.is_uniform() { 0..0 } else { 0..leaf.len() })? {
            let (key, value) = entry?;
            self.limits(key, &value);
            if let Value::Large(large) = value {
                self.path.push(large.page().get());
                self.large(&large);
                self.path.pop();
            }
        }
        self.found += leaf.len() as u64;
        self.auditor.leaf(&self.path, &leaf);
        Ok(leaf.len() as u64)
    }

    /// Keys and values no longer than they may be, and values that are large where they have to be and only there.
    fn limits(&mut self, key: &[u8], value: &Value<'_>) {
        let (key_len, key_max) = (key.len(), page::key_max(self.page_len));
        let is_inline = |len| put::is_inline(self.page_len, key, len);
        let what = match value {
            _ if key_len > key_max => format!("a key of {key_len} bytes; the limit is {key_max}"),
            Value::Inline(value) if !is_inline(value.len()) => {
                format!("a value of {} bytes in a leaf, where it should be a large one", value.len())
            }
            Value::Large(large) if usize::try_from(large.len()).is_ok_and(is_inline) => {
                format!("a large value of {} bytes, which should be in the leaf", large.len())
            }
            _ => return,
        };
        self.deviation(what);
    }

    fn large(&mut self, large: &LargeRef) {
        let extent = Extent::new(large.page().get(), large.page_count(self.page_len));
        if let Err(why) = self.auditor.claim(extent) {
            self.unread(format!("a large value of {} bytes: {why}", large.len()));
            return;
        }
        self.auditor.large(extent, large);
        if !self.auditor.is_thorough() {
            return;
        }
        if extent.count > 0 && extent.first < BESIDE_END {
            self.deviation("a large value beside a meta slot".to_string());
        }
        if large.len() > VALUE_MAX {
            self.deviation(format!("a large value of {} bytes; the limit is {VALUE_MAX}", large.len()));
        }
        let (born, above) = (large.born(), self.born_max);
        if born > above {
            let what = format!("a large value {}", born_too_late(born, above));
            // Readers refuse a value of a transaction yet to come.
            if born > self.txn { self.problem(what) } else { self.deviation(what) }
        }
        match self.pages.raw(extent) {
            Ok(pages) => self.value(large, pages),
            Err(error) => self.problem(describe(&error)),
        }
    }

    /// The whole pages of a large value.
    fn value(&mut self, large: &LargeRef, pages: &[u8]) {
        let len = large.len() as usize;
        if crc32c::crc32c(&pages[..len]) != large.checksum() {
            self.problem("a large value fails its checksum");
        } else if let Some(at) = page::nonzero_in(pages, len..pages.len()) {
            self.deviation(format!("byte {at} from the start of a large value of {len} bytes is not zero"));
        }
    }

    fn branch(
        &mut self,
        page: &'p [u8],
        level: usize,
        lower: Option<&[u8]>,
        upper: Option<&[u8]>,
    ) -> Result<Option<u64>> {
        let branch = Branch::view(page, level)?;
        let mut total = Some(0);
        let mut below = lower.map(<[u8]>::to_vec);
        for i in 0..branch.len() {
            let above = match i + 1 < branch.len() {
                true => Some(branch.separator(i + 1)?),
                false => upper.map(<[u8]>::to_vec),
            };
            if let (Some(below), Some(above)) = (&below, &above)
                && below >= above
            {
                self.problem(format!("separator {} is not between its neighbours", i + 1));
            }
            let separator_len = if i + 1 < branch.len() { above.as_ref().map_or(0, Vec::len) } else { 0 };
            if separator_len > page::key_max(self.page_len) {
                self.deviation(format!("separator {} has {separator_len} bytes, more than any key", i + 1));
            }
            let (child, claimed) = (branch.child(i)?, branch.entry_count(i)?);
            let count = self.page(child, level - 1, below.as_deref(), above.as_deref());
            if let Some(count) = count.filter(|count| *count != claimed) {
                self.problem(format!("child {i}, page {}, has {count} entries, {claimed} are claimed", child.get()));
            }
            total = total.zip(count).map(|(total, count)| total + count);
            below = above;
        }
        Ok(total)
    }
}

/// The kind and the level of a page.
fn place_of(page: &[u8]) -> (u8, usize) {
    let header = page::header(page);
    (header.kind, usize::from(header.level))
}

fn name_of((kind, level): (u8, usize)) -> String {
    match kind {
        LEAF => "a leaf".to_string(),
        BRANCH => format!("a branch of level {level}"),
        _ => "a page of the space log".to_string(),
    }
}

/// The finding that something was born after what refers to it.
pub(crate) fn born_too_late(born: TxnId, above: TxnId) -> String {
    format!("born in transaction {born}, after what refers to it, in {above}")
}

/// An error as a finding: without the advice that the message gives a user.
pub(crate) fn describe(error: &Error) -> String {
    match error {
        Error::Corrupt { what, .. } => (*what).to_string(),
        other => other.to_string(),
    }
}

/// What a tree is made of.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Measure {
    pub(crate) branch_pages: u64,
    pub(crate) leaf_pages: u64,
    pub(crate) large_pages: u64,
    pub(crate) key_len: u64,
    pub(crate) value_len: u64,
    /// Bytes in use in branches and leaves, headers included.
    pub(crate) used_len: u64,
}

/// Measures a tree in a file of `page_count` pages; no tree has more than that, whatever its branches say.
pub(crate) fn measure<'p>(tree: &Tree, pages: impl Pages<'p>, page_len: usize, page_count: u64) -> Result<Measure> {
    let mut measure = Measure::default();
    if tree.depth > 0 {
        measure_page(tree.root, tree.depth - 1, pages, page_len, page_count, &mut measure)?;
    }
    Ok(measure)
}

fn measure_page<'p>(
    no: PageNo,
    level: usize,
    pages: impl Pages<'p>,
    page_len: usize,
    page_count: u64,
    sum: &mut Measure,
) -> Result<()> {
    let page = pages.page(no)?;
    if sum.branch_pages + sum.leaf_pages >= page_count {
        return Err(page::corrupt(page, "the tree has more pages than the file"));
    }
    if level > 0 {
        let branch = Branch::view(page, level)?;
        sum.branch_pages += 1;
        sum.used_len += (HEADER_LEN + branch::live_len(page)) as u64;
        for i in 0..branch.len() {
            measure_page(branch.child(i)?, level - 1, pages, page_len, page_count, sum)?;
        }
        return Ok(());
    }
    let leaf = Leaf::view(page)?;
    sum.leaf_pages += 1;
    sum.used_len += (HEADER_LEN + leaf::live_len(page)) as u64;
    for i in 0..leaf.len() {
        let (key, value) = leaf.entry(i)?;
        sum.key_len += key.len() as u64;
        match value {
            Value::Inline(value) => sum.value_len += value.len() as u64,
            Value::Large(large) => {
                sum.value_len = sum.value_len.saturating_add(large.len());
                sum.large_pages = sum.large_pages.saturating_add(large.page_count(page_len));
            }
        }
    }
    Ok(())
}
