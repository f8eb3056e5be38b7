//! B+trees over numbered pages. Nothing here knows of files: pages come through [`Pages`], changes go through
//! [`PagesMut`], and the unit tests run over a plain vector of pages.
//!
//! Invariants:
//! - T1: a page's level is one less than its parent's, so every descent ends; the root's level is `depth - 1`.
//! - T2: no page of a tree is empty; an empty tree has no page.
//! - T3: the parent of a dirty page is dirty, up to the root, and that of a page that may be changed in place may be, too.
//! - T4: a branch knows the number of entries below each child.
//! - T5: the keys of a dirty page lie between the separators around it. A clean page may be sound and yet lie in the wrong place; so
//!   this is checked before it becomes dirty, and the edits rely on it. Pages that are only relocated are no longer edited, and not checked.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod cursor;
pub(crate) mod delete;
pub(crate) mod diff;
mod leaves;
pub(crate) mod pack;
pub(crate) mod put;
pub(crate) mod range;
pub(crate) mod relocate;
pub(crate) mod retain;
pub(crate) mod walk;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use zerocopy::little_endian::U64;

use crate::error::{Error, Result};
use crate::page::branch::Branch;
use crate::page::large::LargeRef;
use crate::page::leaf::{Leaf, Value};
use crate::page::space_log::Extent;
use crate::page::{DEPTH_MAX, PageNo, TreeRecord};

/// Where pages are read. Copied freely: it is a few pointers.
pub(crate) trait Pages<'p>: Copy {
    /// The page, checked as far as the options ask.
    fn page(self, no: PageNo) -> Result<&'p [u8]>;

    /// A large value.
    fn large(self, large: &LargeRef) -> Result<&'p [u8]>;

    /// Whole pages as they lie in the file, of which nothing is checked.
    fn raw(self, extent: Extent) -> Result<&'p [u8]>;

    /// Starts loading `LINES` cache lines of a page, `at` bytes into it. Never fails, never waits.
    fn prefetch<const LINES: usize>(self, _no: PageNo, _at: usize) {}

    /// The value that a leaf holds or refers to.
    #[inline]
    fn lend(self, value: Value<'p>) -> Result<&'p [u8]> {
        match value {
            Value::Inline(bytes) => Ok(bytes),
            Value::Large(large) => self.large(&large),
        }
    }
}

/// Where pages are changed. Only dirty pages are that nobody else needs as they are; `touch` makes one of any.
pub(crate) trait PagesMut {
    type View<'a>: Pages<'a>
    where
        Self: 'a;

    /// The pages as they are now.
    fn view(&self) -> Self::View<'_>;

    fn page_len(&self) -> usize;

    /// A new dirty page, empty.
    fn alloc(&mut self, kind: u8, level: usize) -> PageNo;

    /// The page, if it is one to change in place.
    fn changeable(&self, no: PageNo) -> Option<&[u8]>;

    /// Whether the page is one to change in place.
    #[inline]
    fn is_changeable(&self, no: PageNo) -> bool {
        self.changeable(no).is_some()
    }

    /// The page as it is now. Quick for those to change in place.
    #[inline]
    fn read(&self, no: PageNo) -> Result<&[u8]> {
        match self.changeable(no) {
            Some(page) => Ok(page),
            None => self.view().page(no),
        }
    }

    /// The page to change for `no`: itself, or a copy that takes its place.
    fn touch(&mut self, no: PageNo) -> Result<PageNo>;

    /// Whether a clean page is what it claims to be, whatever the options ask, so that `touch` copies no damage.
    fn is_sound(&self, no: PageNo) -> bool;

    /// The bytes of a page to change.
    fn page_mut(&mut self, no: PageNo) -> &mut [u8];

    /// The bytes of two of them.
    fn pair_mut(&mut self, a: PageNo, b: PageNo) -> (&mut [u8], &mut [u8]);

    /// Lets go of a page, dirty or not.
    fn free(&mut self, no: PageNo) -> Result<()>;

    /// Writes a value out of line.
    fn put_large(&mut self, value: &[u8]) -> Result<LargeRef>;

    /// Lets go of the run of a large value.
    fn free_large(&mut self, large: &LargeRef) -> Result<()>;
}

/// A tree: its root (`NONE` if it is empty), its depth (0 empty, 1 a single leaf) and its number of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tree {
    pub(crate) root: PageNo,
    pub(crate) depth: usize,
    pub(crate) entry_count: u64,
}

/// Entry number, key order and the like: what an entry is found by.
pub(crate) type Entry<'p> = (&'p [u8], &'p [u8]);

/// Starts loading the child of a page at `level` that a descent comes to next: a leaf's header and first 28 slots, a branch's
/// header and first 120 heads. Higher up there are few pages, which are in the cache anyway.
#[inline]
fn prefetch_child<'p>(pages: impl Pages<'p>, child: PageNo, level: usize) {
    match level {
        1 => pages.prefetch::<4>(child, 0),
        2 => pages.prefetch::<8>(child, 0),
        _ => {}
    }
}

/// From so many entries a leaf on, more than its first lines are loaded.
const MANY_SLOTS: u64 = 48;

/// The same for a descent that has counted the children of the branches on its way. Their product is about the number of leaves, so
/// that where leaves hold many entries more of their slots are loaded: the first 124.
#[inline]
fn prefetch_counted<'p>(pages: impl Pages<'p>, child: PageNo, level: usize, tree: &Tree, leaf_count: u64) {
    if level == 1 && tree.entry_count > leaf_count.saturating_mul(MANY_SLOTS) {
        pages.prefetch::<16>(child, 0);
    } else {
        prefetch_child(pages, child, level);
    }
}

/// How many descents of `get_many` are in flight together.
const BATCH: usize = 32;

impl Tree {
    pub(crate) const EMPTY: Tree = Tree { root: PageNo::NONE, depth: 0, entry_count: 0 };

    /// The tree that a record in page `holder` describes.
    pub(crate) fn from_record(record: &TreeRecord, holder: u64) -> Result<Tree> {
        Tree::read(record).map_err(|what| Error::Corrupt { page: holder, what })
    }

    /// The tree that a record describes, or what is wrong with it.
    #[inline]
    pub(crate) fn read(record: &TreeRecord) -> std::result::Result<Tree, &'static str> {
        let tree = Tree {
            root: PageNo::new(record.root.get()),
            depth: usize::from(record.depth),
            entry_count: record.entry_count.get(),
        };
        let empty = tree.root == PageNo::NONE;
        if tree.depth > DEPTH_MAX
            || tree.root.as_dirty().is_some()
            || empty != (tree.depth == 0)
            || empty != (tree.entry_count == 0)
        {
            return Err("a tree record that makes no sense");
        }
        Ok(tree)
    }

    pub(crate) fn to_record(self) -> TreeRecord {
        TreeRecord {
            root: U64::new(self.root.get()),
            entry_count: U64::new(self.entry_count),
            depth: self.depth as u8,
            zero: [0; 7],
        }
    }

    /// The leaf that `key` belongs to, in a tree that is not empty and whose root is `page`.
    #[inline]
    fn descend<'p>(&self, pages: impl Pages<'p>, mut page: &'p [u8], key: &[u8]) -> Result<(PageNo, Leaf<'p>)> {
        let (mut no, mut leaf_count) = (self.root, 1_u64);
        for level in (1..self.depth).rev() {
            let branch = Branch::view(page, level)?;
            no = branch.child(branch.child_for(key)?)?;
            leaf_count = leaf_count.wrapping_mul(branch.len() as u64);
            prefetch_counted(pages, no, level, self, leaf_count);
            page = pages.page(no)?;
        }
        Ok((no, Leaf::view(page)?))
    }

    /// The leaf that `key` belongs to, in a tree that is not empty: for errors. Whoever is in a hurry calls `descend`, which is compiled
    /// into its one caller.
    #[cold]
    pub(crate) fn leaf<'p>(&self, pages: impl Pages<'p>, key: &[u8]) -> Result<Leaf<'p>> {
        let mut page = pages.page(self.root)?;
        for level in (1..self.depth).rev() {
            let branch = Branch::view(page, level)?;
            page = pages.page(branch.child(branch.child_for(key)?)?)?;
        }
        Ok(Leaf::view(page)?)
    }

    /// The value of `key`.
    #[inline]
    pub(crate) fn get<'p>(&self, pages: impl Pages<'p>, key: &[u8]) -> Result<Option<&'p [u8]>> {
        if self.depth == 0 {
            return Ok(None);
        }
        self.get_below(pages, pages.page(self.root)?, key)
    }

    /// The value of `key` in a tree that is not empty and whose root is `page`.
    #[inline]
    pub(crate) fn get_below<'p>(&self, pages: impl Pages<'p>, page: &'p [u8], key: &[u8]) -> Result<Option<&'p [u8]>> {
        let (no, leaf) = self.descend(pages, page, key)?;
        let Some(i) = leaf.candidate(key) else { return Ok(None) };
        if leaf.has_long_records()
            && let Some(at) = leaf.record_at(i)
        {
            // The lines behind the first: where the value ends is known only when that one is here.
            pages.prefetch::<3>(no, at + 64);
        }
        match leaf.get_from(i, key)? {
            Some(value) => Ok(Some(pages.lend(value)?)),
            None => Ok(None),
        }
    }

    /// The values of `keys`, into `values` of the same length. The keys descend together, a level at a time, so that
    /// their cache misses overlap.
    pub(crate) fn get_many<'p, K: AsRef<[u8]>>(
        &self,
        pages: impl Pages<'p>,
        keys: &[K],
        values: &mut [Option<&'p [u8]>],
    ) -> Result<()> {
        values.fill(None);
        if self.depth == 0 {
            return Ok(());
        }
        for (keys, values) in keys.chunks(BATCH).zip(values.chunks_mut(BATCH)) {
            let mut nos = [self.root; BATCH];
            let mut leaf_count: u64 = 1;
            for level in (1..self.depth).rev() {
                let mut child_count = 0;
                for (no, key) in nos.iter_mut().zip(keys) {
                    let branch = Branch::view(pages.page(*no)?, level)?;
                    *no = branch.child(branch.child_for(key.as_ref())?)?;
                    child_count = branch.len() as u64;
                    prefetch_counted(pages, *no, level, self, leaf_count.wrapping_mul(child_count));
                }
                leaf_count = leaf_count.wrapping_mul(child_count);
            }
            let mut candidates = [None; BATCH];
            for ((no, key), candidate) in nos.iter().zip(keys).zip(&mut candidates) {
                let leaf = Leaf::view(pages.page(*no)?)?;
                *candidate = leaf.candidate(key.as_ref());
                if let Some(at) = candidate.and_then(|i| leaf.record_at(i)) {
                    pages.prefetch::<2>(*no, at);
                }
            }
            for (((no, key), value), candidate) in nos.iter().zip(keys).zip(values).zip(candidates) {
                let Some(i) = candidate else { continue };
                if let Some(found) = Leaf::view(pages.page(*no)?)?.get_from(i, key.as_ref())? {
                    *value = Some(pages.lend(found)?);
                }
            }
        }
        Ok(())
    }

    /// Entry number `n` in key order, counted from 0.
    pub(crate) fn nth<'p>(&self, pages: impl Pages<'p>, mut n: u64) -> Result<Option<Entry<'p>>> {
        if n >= self.entry_count {
            return Ok(None);
        }
        let mut no = self.root;
        for level in (1..self.depth).rev() {
            let page = pages.page(no)?;
            let branch = Branch::view(page, level)?;
            let mut i = 0;
            loop {
                if i == branch.len() {
                    return Err(crate::page::corrupt(page, "entry counts do not add up"));
                }
                let below = branch.entry_count(i)?;
                if n < below {
                    break;
                }
                n -= below;
                i += 1;
            }
            no = branch.child(i)?;
        }
        let page = pages.page(no)?;
        let leaf = Leaf::view(page)?;
        if n >= leaf.len() as u64 {
            return Err(crate::page::corrupt(page, "entry counts do not add up"));
        }
        let (key, value) = leaf.entry(n as usize)?;
        Ok(Some((key, pages.lend(value)?)))
    }

    /// The number of entries with a key less than `key`, and whether `key` itself is there.
    pub(crate) fn rank<'p>(&self, pages: impl Pages<'p>, key: &[u8]) -> Result<(u64, bool)> {
        if self.depth == 0 {
            return Ok((0, false));
        }
        let mut rank: u64 = 0;
        let mut no = self.root;
        for level in (1..self.depth).rev() {
            let branch = Branch::view(pages.page(no)?, level)?;
            let i = branch.child_for(key)?;
            rank = rank.saturating_add(branch.entries_in(0..i)?);
            no = branch.child(i)?;
        }
        let (i, found) = match Leaf::view(pages.page(no)?)?.search(key)? {
            Ok(i) => (i, true),
            Err(i) => (i, false),
        };
        Ok((rank.saturating_add(i as u64), found))
    }
}

/// The way from the root to a leaf: at each level a page and the slot taken in it. The last step is the leaf.
#[derive(Clone)]
pub(crate) struct Path {
    len: usize,
    nos: [PageNo; DEPTH_MAX],
    slots: [u16; DEPTH_MAX],
}

impl Path {
    pub(crate) const EMPTY: Path = Path { len: 0, nos: [PageNo::NONE; DEPTH_MAX], slots: [0; DEPTH_MAX] };

    fn push(&mut self, no: PageNo, slot: usize) {
        self.nos[self.len] = no;
        self.slots[self.len] = slot as u16;
        self.len += 1;
    }

    fn slot(&self, step: usize) -> usize {
        usize::from(self.slots[step])
    }

    /// Whether the keys of `page`, to which the first `len` steps lead, lie between the separators around it (T5).
    fn check_place<'p>(&self, tree: &Tree, pages: impl Pages<'p>, page: &'p [u8], len: usize) -> Result<()> {
        let level_at = |step: usize| tree.depth - 1 - step;
        let (first, last) = match level_at(len) {
            0 => {
                let leaf = Leaf::view(page)?;
                (Cow::from(leaf.key(0)?), Cow::from(leaf.key(leaf.len() - 1)?))
            }
            level => {
                let branch = Branch::view(page, level)?;
                if branch.len() == 1 {
                    return Ok(());
                }
                (Cow::from(branch.separator(1)?), Cow::from(branch.separator(branch.len() - 1)?))
            }
        };
        let (mut lower, mut upper) = (None, None);
        for step in (0..len).rev() {
            let branch = Branch::view(pages.page(self.nos[step])?, level_at(step))?;
            let slot = self.slot(step);
            if lower.is_none() && slot > 0 {
                lower = Some(branch.stored_separator(slot)?);
            }
            if upper.is_none() && slot + 1 < branch.len() {
                upper = Some(branch.stored_separator(slot + 1)?);
            }
        }
        let is_in_place = lower.is_none_or(|lower| lower.cmp_key(&first).is_le())
            && upper.is_none_or(|upper| upper.cmp_key(&last).is_gt());
        if is_in_place {
            Ok(())
        } else {
            Err(crate::page::corrupt(page, "keys outside the separators around the page"))
        }
    }
}
