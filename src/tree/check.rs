//! Walks whole trees: to find what is wrong with one, and to measure it.

use super::{Pages, Tree};
use crate::error::{Error, Result};
use crate::page::branch::{self, Branch};
use crate::page::large::LargeRef;
use crate::page::leaf::{self, Leaf, Value};
use crate::page::space_log::Extent;
use crate::page::{self, HEADER_LEN, PageNo};

/// What a walk over a tree asks of its caller.
pub(crate) trait Auditor {
    /// The tree owns these pages. False if they cannot be its own: then the walk does not go there.
    fn claim(&mut self, extent: Extent) -> bool;

    /// Something is wrong with a page, or with the tree.
    fn problem(&mut self, page: Option<u64>, what: String);
}

/// Checks a tree: every page's checksum and structure, order, levels, entry counts, large values. Answers the number
/// of entries found.
pub(crate) fn check<'p>(tree: &Tree, pages: impl Pages<'p>, page_len: usize, auditor: &mut impl Auditor) -> u64 {
    if tree.depth == 0 {
        return 0;
    }
    let mut walk = Check { pages, page_len, auditor };
    let count = walk.page(tree.root, tree.depth - 1, None, None);
    if count != tree.entry_count {
        let what = format!("the tree claims {} entries, {count} were found", tree.entry_count);
        auditor.problem(None, what);
    }
    count
}

struct Check<'a, P, A> {
    pages: P,
    page_len: usize,
    auditor: &'a mut A,
}

impl<'p, P: Pages<'p>, A: Auditor> Check<'_, P, A> {
    /// Checks the page `no` and all below it, whose keys must lie in `lower..upper`. Answers the number of entries.
    fn page(&mut self, no: PageNo, level: usize, lower: Option<&[u8]>, upper: Option<&[u8]>) -> u64 {
        if !self.auditor.claim(Extent::new(no.get(), 1)) {
            return 0;
        }
        let checked = self.pages.page(no).and_then(|page| {
            page::verify(page, no)?;
            if level == 0 { self.leaf(no, page, lower, upper) } else { self.branch(no, page, level, lower, upper) }
        });
        checked.unwrap_or_else(|error| {
            self.problem(no, describe(&error));
            0
        })
    }

    fn problem(&mut self, no: PageNo, what: String) {
        self.auditor.problem(Some(no.get()), what);
    }

    fn leaf(&mut self, no: PageNo, page: &'p [u8], lower: Option<&[u8]>, upper: Option<&[u8]>) -> Result<u64> {
        let leaf = Leaf::view(page)?;
        if lower.is_some_and(|lower| leaf.key(0).is_ok_and(|key| key < lower)) {
            self.problem(no, "the first key is less than the separator before the page".to_string());
        }
        if upper.is_some_and(|upper| leaf.key(leaf.len() - 1).is_ok_and(|key| key >= upper)) {
            self.problem(no, "the last key is not less than the separator behind the page".to_string());
        }
        if leaf::has_large(page) {
            for i in 0..leaf.len() {
                if let Value::Large(large) = leaf.value(i)? {
                    self.large(no, &large);
                }
            }
        }
        Ok(leaf.len() as u64)
    }

    fn large(&mut self, leaf: PageNo, large: &LargeRef) {
        if !self.auditor.claim(Extent::new(large.page().get(), large.page_count(self.page_len))) {
            return;
        }
        match self.pages.large(large) {
            Ok(value) if crc32c::crc32c(value) == large.checksum() => {}
            Ok(_) => self.problem(large.page(), format!("a large value of page {} fails its checksum", leaf.get())),
            Err(error) => self.problem(large.page(), describe(&error)),
        }
    }

    fn branch(
        &mut self,
        no: PageNo,
        page: &'p [u8],
        level: usize,
        lower: Option<&[u8]>,
        upper: Option<&[u8]>,
    ) -> Result<u64> {
        let branch = Branch::view(page, level)?;
        let mut total = 0;
        let mut below = lower.map(<[u8]>::to_vec);
        for i in 0..branch.len() {
            let above = match i + 1 < branch.len() {
                true => Some(branch.separator(i + 1)?),
                false => upper.map(<[u8]>::to_vec),
            };
            if let (Some(below), Some(above)) = (&below, &above)
                && below >= above
            {
                self.problem(no, format!("separator {} is not between its neighbours", i + 1));
            }
            let count = self.page(branch.child(i)?, level - 1, below.as_deref(), above.as_deref());
            if count != branch.entry_count(i)? {
                let claimed = branch.entry_count(i)?;
                self.problem(no, format!("child {i} has {count} entries, {claimed} are claimed"));
            }
            total += count;
            below = above;
        }
        Ok(total)
    }
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
