//! Putting entries: find the place, make the path dirty, insert, split upwards.

use std::cmp::Ordering;

use super::{Pages, PagesMut, Path, Tree, prefetch_child};
use crate::error::{Error, Result};
use crate::page::branch::{self, Branch};
use crate::page::leaf::{self, Leaf, Value};
use crate::page::{BRANCH, DEPTH_MAX, LEAF, PageNo, inline_max};

/// Where a writer last was in a tree: the next key is often near, and then needs no descent.
///
/// Whoever changes a tree by other means than its finger, or writes out its pages, calls `forget`.
#[derive(Clone)]
pub(crate) struct Finger {
    path: Path,
    /// The leaf is the last one of the tree.
    is_last: bool,
    /// The last key went to the same leaf as the one before. Where keys come at random, a look at the leaf's first and last key is two
    /// cache misses for nothing.
    is_near: bool,
    /// Full pages that sorted input has left behind, to be written early. A split elsewhere leaves pages that are not, as input that is
    /// nearly sorted does all the time: then it starts anew, and a commit packs them.
    finished: u64,
}

/// How many cache lines of the next leaf a walk asks for.
const NEXT_LINES: usize = 32;

impl Finger {
    pub(crate) const NONE: Finger = Finger { path: Path::EMPTY, is_last: false, is_near: false, finished: 0 };

    pub(crate) fn forget(&mut self) {
        self.path.len = 0;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the finger points to the last leaf of the tree.
    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        self.is_last && self.path.len > 0
    }

    /// How many full pages sorted input has left behind since they were taken last.
    pub(crate) fn finished(&self) -> u64 {
        self.finished
    }

    pub(crate) fn take_finished(&mut self) -> u64 {
        std::mem::take(&mut self.finished)
    }

    /// The leaf that the finger points to.
    pub(super) fn leaf_no(&self) -> PageNo {
        self.path.nos[self.path.len - 1]
    }

    /// Points to the leaf that `key` belongs to, in a tree that is not empty. Answers the slot that holds the key
    /// (`Ok`) or before which it belongs (`Err`).
    pub(super) fn locate<P: PagesMut>(&mut self, tree: &Tree, pages: &P, key: &[u8]) -> Result<Result<usize, usize>> {
        let before = (self.path.len > 0).then(|| self.leaf_no());
        if self.is_near
            && let Some(leaf_no) = before
            && let Some(place) = self.locate_in(&Leaf::view(pages.read(leaf_no)?)?, key)?
        {
            return Ok(place);
        }
        let place = self.descend(tree, pages, key);
        match place {
            Ok(_) => self.is_near = before.map_or(self.is_near, |before| before == self.leaf_no()),
            Err(_) => self.forget(),
        }
        place
    }

    /// The place of `key` if it is certain to be in the finger's leaf. Sorted input comes behind the last key, which is looked at first.
    #[inline]
    fn locate_in(&self, leaf: &Leaf<'_>, key: &[u8]) -> Result<Option<Result<usize, usize>>> {
        let last = leaf.len() - 1;
        Ok(match key.cmp(leaf.key(last)?) {
            Ordering::Greater => self.is_last.then_some(Err(last + 1)),
            Ordering::Equal => Some(Ok(last)),
            Ordering::Less if key < leaf.key(0)? => None,
            Ordering::Less => Some(leaf.search_to_change(key)?),
        })
    }

    fn descend<P: PagesMut>(&mut self, tree: &Tree, pages: &P, key: &[u8]) -> Result<Result<usize, usize>> {
        self.path.len = 0;
        self.is_last = true;
        let mut no = tree.root;
        for level in (1..tree.depth).rev() {
            let branch = Branch::view(pages.read(no)?, level)?;
            let i = branch.child_for(key)?;
            self.is_last &= i + 1 == branch.len();
            self.path.push(no, i);
            if level == 1 {
                // It is about to change, and meanwhile the leaf is on its way.
                pages.view().prefetch::<1>(no, branch.entry_count_at(i)?);
            }
            no = branch.child(i)?;
            prefetch_child(pages.view(), no, level);
        }
        self.path.push(no, 0);
        let leaf = Leaf::view(pages.read(no)?)?;
        if let Some(at) = leaf.heap_at() {
            // Where an entry that is put will lie: three lines of the gap, and the newest record.
            pages.view().prefetch::<4>(no, at.saturating_sub(3 * 64));
        }
        Ok(leaf.search_to_change(key)?)
    }

    /// Sets `separator` to what separates the finger's leaf from the next one: the empty key if there is none. A leaf below the same branch is
    /// on its way from then on.
    pub(super) fn separator_behind<P: PagesMut>(&self, tree: &Tree, pages: &P, separator: &mut Vec<u8>) -> Result<()> {
        separator.clear();
        for step in (0..self.path.len - 1).rev() {
            let branch = Branch::view(pages.read(self.path.nos[step])?, tree.depth - 1 - step)?;
            let slot = self.path.slot(step) + 1;
            if slot < branch.len() {
                if step + 2 == self.path.len {
                    pages.view().prefetch::<NEXT_LINES>(branch.child(slot)?, 0);
                }
                branch.stored_separator(slot)?.append_to(separator);
                break;
            }
        }
        Ok(())
    }

    /// Makes every page of the path changeable.
    pub(super) fn touch(&mut self, tree: &mut Tree, pages: &mut impl PagesMut) -> Result<()> {
        if pages.is_changeable(self.leaf_no()) {
            return Ok(()); // T3
        }
        for step in 0..self.path.len {
            let no = self.path.nos[step];
            if pages.is_changeable(no) {
                continue;
            }
            self.path.check_place(tree, pages.view(), pages.view().page(no)?, step)?;
            let dirty = pages.touch(no)?;
            self.path.nos[step] = dirty;
            match step.checked_sub(1) {
                None => tree.root = dirty,
                Some(above) => branch::set_child(pages.page_mut(self.path.nos[above]), self.path.slot(above), dirty),
            }
        }
        Ok(())
    }

    /// Adds `change` to the entry counts on the path and to the tree's.
    pub(super) fn count(&self, tree: &mut Tree, pages: &mut impl PagesMut, change: i64) {
        for step in 0..self.path.len - 1 {
            branch::add_entries(pages.page_mut(self.path.nos[step]), self.path.slot(step), change);
        }
        tree.entry_count = tree.entry_count.wrapping_add_signed(change);
    }
}

/// What `put` does about a key that is there, or that comes in the wrong order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Replace the value.
    Upsert,
    /// Leave it as it is.
    Insert,
    /// The key must be greater than the last one.
    Append,
}

/// Puts an entry. Answers whether the key was there.
pub(crate) fn put<P: PagesMut>(
    tree: &mut Tree,
    pages: &mut P,
    finger: &mut Finger,
    key: &[u8],
    value: &[u8],
    mode: Mode,
) -> Result<bool> {
    if tree.depth == 0 {
        let value = stored(pages, key, value)?;
        let root = pages.alloc(LEAF, 0);
        let fits = leaf::insert(pages.page_mut(root), 0, key, value);
        assert!(fits, "an empty leaf takes any entry");
        *tree = Tree { root, depth: 1, entry_count: 1 };
        finger.forget();
        return Ok(false);
    }
    let place = finger.locate(tree, pages, key)?;
    match (place, mode) {
        (Ok(_), Mode::Insert) => return Ok(true),
        (Ok(_), Mode::Append) => return Err(Error::KeyOrder),
        (Err(i), Mode::Append) => {
            let leaf = pages.read(finger.leaf_no())?;
            if !finger.is_last || i < usize::from(crate::page::header(leaf).slot_count.get()) {
                return Err(Error::KeyOrder);
            }
        }
        _ => {}
    }
    let value = stored(pages, key, value)?;
    finger.touch(tree, pages)?;
    let leaf_no = finger.leaf_no();
    match place {
        Err(i) => {
            finger.count(tree, pages, 1);
            insert(tree, pages, finger, i, key, value)?;
            Ok(false)
        }
        Ok(i) => {
            free_if_large(pages, leaf_no, i)?;
            if !leaf::replace(pages.page_mut(leaf_no), i, value) {
                leaf::remove(pages.page_mut(leaf_no), i);
                insert(tree, pages, finger, i, key, value)?;
            }
            Ok(true)
        }
    }
}

/// Puts an entry behind all others if that needs no page and no look at any but those on the finger's path, which are changeable. Answers
/// whether it did: most of sorted input needs nothing else.
#[inline]
pub(crate) fn push<P: PagesMut>(tree: &mut Tree, pages: &mut P, finger: &mut Finger, key: &[u8], value: &[u8]) -> bool {
    if !finger.is_at_end() || !is_inline(pages.page_len(), key, value.len()) {
        return false;
    }
    let leaf_no = finger.leaf_no();
    let pushed = pages.is_changeable(leaf_no) && leaf::push(pages.page_mut(leaf_no), key, value);
    if pushed {
        finger.is_near = true;
        finger.count(tree, pages, 1);
    }
    pushed
}

/// Whether an entry of these lengths keeps its value in the leaf.
pub(crate) fn is_inline(page_len: usize, key: &[u8], value_len: usize) -> bool {
    value_len < page_len && leaf::inline_entry_len(key, value_len) <= inline_max(page_len)
}

/// The value as the leaf stores it; a large one is written.
fn stored<'v, P: PagesMut>(pages: &mut P, key: &[u8], value: &'v [u8]) -> Result<Value<'v>> {
    if is_inline(pages.page_len(), key, value.len()) {
        return Ok(Value::Inline(value));
    }
    Ok(Value::Large(pages.put_large(value)?))
}

/// Frees the run of entry `i` if its value is large.
pub(super) fn free_if_large<P: PagesMut>(pages: &mut P, leaf_no: PageNo, i: usize) -> Result<()> {
    let value = Leaf::view(pages.read(leaf_no)?)?.value(i)?;
    if let Value::Large(large) = value {
        pages.free_large(&large)?;
    }
    Ok(())
}

/// Inserts an entry, which is counted already, before slot `i` of the finger's leaf. A leaf without room is split.
fn insert<P: PagesMut>(
    tree: &mut Tree,
    pages: &mut P,
    finger: &mut Finger,
    i: usize,
    key: &[u8],
    value: Value<'_>,
) -> Result<()> {
    let leaf_no = finger.leaf_no();
    if leaf::insert(pages.page_mut(leaf_no), i, key, value) {
        return Ok(());
    }
    let path = finger.path.clone();
    let page = pages.page_mut(leaf_no);
    let is_behind = i == usize::from(crate::page::header(page).slot_count.get());
    let at_edge = finger.is_last && is_behind;
    let cut = leaf::choose_cut(page, i, key, &value, at_edge);
    if cut.is_none() {
        finger.count(tree, pages, -1);
    }
    finger.forget();
    let right = pages.alloc(LEAF, 0);
    let (left_page, right_page) = pages.pair_mut(leaf_no, right);
    if let Some(cut) = cut {
        leaf::split(left_page, right_page, &cut, i, key, value);
        let full_branches = add_beside(tree, pages, &path, finger.is_last, cut.separator, right)?;
        finger.finished = if at_edge { finger.finished + 1 + full_branches } else { 0 };
        return Ok(());
    }
    finger.finished = 0;
    // Once is enough: with slots, half of the entries take about as much room as all of them did without.
    let separator = leaf::halve(left_page, right_page);
    add_beside(tree, pages, &path, false, separator, right)?;
    let (Ok(i) | Err(i)) = finger.locate(tree, pages, key)?;
    finger.count(tree, pages, 1);
    insert(tree, pages, finger, i, key, value)
}

/// Adds the leaf `right`, which was split off from the one that `path` leads to, to the branches above. `at_edge` says that the path
/// leads along the right edge of the tree, and that more is likely to follow there. Answers how many branches were left full there.
fn add_beside<P: PagesMut>(
    tree: &mut Tree,
    pages: &mut P,
    path: &Path,
    at_edge: bool,
    separator: Vec<u8>,
    right: PageNo,
) -> Result<u64> {
    let mut count = |no: PageNo| u64::from(crate::page::header(pages.page_mut(no)).slot_count.get());
    let mut left_count = count(path.nos[path.len - 1]);
    let mut new = (separator, right, count(right));
    let mut full = 0;

    // Each round puts the new page beside the one that was split; a branch without room is split in turn.
    for step in (0..path.len - 1).rev() {
        let (branch_no, slot) = (path.nos[step], path.slot(step));
        let page = pages.page_mut(branch_no);
        branch::set_entry_count(page, slot, left_count);
        if branch::insert(page, slot + 1, &new.0, new.1, new.2) {
            return Ok(full);
        }
        let right = pages.alloc(BRANCH, tree.depth - 1 - step);
        let (left_page, right_page) = pages.pair_mut(branch_no, right);
        let is_behind = slot + 1 == usize::from(crate::page::header(left_page).slot_count.get());
        let separator = branch::split(left_page, right_page, slot + 1, &new.0, new.1, new.2, at_edge && is_behind);
        full += u64::from(at_edge && is_behind);
        left_count = branch::total(left_page);
        new = (separator, right, branch::total(right_page));
    }
    if tree.depth == DEPTH_MAX {
        return Err(Error::Corrupt { page: path.nos[0].get(), what: "the tree is deeper than a tree can be" });
    }
    let root = pages.alloc(BRANCH, tree.depth);
    branch::build_root(pages.page_mut(root), (tree.root, left_count), &new.0, (new.1, new.2));
    tree.root = root;
    tree.depth += 1;
    Ok(full)
}
