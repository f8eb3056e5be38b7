//! Deleting entries: one, a range of them by cutting subtrees, or all; and mending pages that became too empty.

use std::ops::Bound;

use super::put::{Finger, free_if_large};
use super::range::is_empty;
use super::{Pages, PagesMut, Path, Tree};
use crate::error::Result;
use crate::page::branch::{self, Branch};
use crate::page::leaf::{self, Leaf, Value};
use crate::page::{HEADER_LEN, LEAF, Malformed, PageNo, header};

/// Deletes `key`. Answers whether it was there.
pub(crate) fn delete<P: PagesMut>(tree: &mut Tree, pages: &mut P, finger: &mut Finger, key: &[u8]) -> Result<bool> {
    if tree.depth == 0 {
        return Ok(false);
    }
    let Ok(i) = finger.locate(tree, pages, key)? else {
        return Ok(false);
    };
    finger.touch(tree, pages)?;
    finger.count(tree, pages, -1);
    let leaf_no = finger.leaf_no();
    free_if_large(pages, leaf_no, i)?;
    leaf::remove(pages.page_mut(leaf_no), i);
    rebalance_if_underfull(tree, pages, finger)?;
    Ok(true)
}

/// Mends the finger's leaf, which has lost entries, and the pages above if it has become too empty. Answers whether it had.
pub(super) fn rebalance_if_underfull<P: PagesMut>(tree: &mut Tree, pages: &mut P, finger: &mut Finger) -> Result<bool> {
    let is_underfull = leaf::live_len(pages.page_mut(finger.leaf_no())) < underfull(pages.page_len());
    if is_underfull {
        let path = finger.path().clone();
        finger.forget();
        rebalance(tree, pages, &path)?;
    }
    Ok(is_underfull)
}

/// Merges the finger's leaf with the one before it, if that is below the same branch, has changed, too, and has room.
pub(super) fn merge_with_changed<P: PagesMut>(tree: &mut Tree, pages: &mut P, finger: &mut Finger) -> Result<()> {
    let path = finger.path();
    let Some(step) = path.len.checked_sub(2) else { return Ok(()) };
    let Some(slot) = path.slot(step).checked_sub(1) else { return Ok(()) };
    let before = Branch::view(pages.read(path.nos[step])?, 1)?.child(slot)?;
    if pages.is_changeable(before) && merge(tree, pages, path, step, slot)? {
        let mut above = path.clone();
        above.len -= 1;
        finger.forget();
        rebalance(tree, pages, &above)?;
    }
    Ok(())
}

/// Deletes the entries between two bounds and answers how many there were. Subtrees that lie inside are freed whole.
pub(crate) fn delete_range<P: PagesMut>(
    tree: &mut Tree,
    pages: &mut P,
    finger: &mut Finger,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
) -> Result<u64> {
    finger.forget();
    if tree.depth == 0 || is_empty(bounds) {
        return Ok(0);
    }
    let mut path = Path::EMPTY;
    let cut = cut(tree, pages, &mut path, tree.root, bounds)?;
    if cut.removed == 0 {
        return Ok(0);
    }
    if cut.left == 0 {
        pages.free(cut.no)?;
        *tree = Tree::EMPTY;
        return Ok(cut.removed);
    }
    tree.root = cut.no;
    tree.entry_count = cut.left;
    // The pages along the two edges of the gap may be nearly empty now.
    for bound in [bounds.0, bounds.1] {
        let (Bound::Included(key) | Bound::Excluded(key)) = bound else { continue };
        let _place = finger.locate(tree, pages, key)?;
        finger.touch(tree, pages)?;
        let path = finger.path().clone();
        finger.forget();
        rebalance(tree, pages, &path)?;
    }
    Ok(cut.removed)
}

/// Frees every page of a tree, which is empty afterwards. Answers how many entries it had.
pub(crate) fn clear<P: PagesMut>(tree: &mut Tree, pages: &mut P, finger: &mut Finger) -> Result<u64> {
    finger.forget();
    let removed = if tree.depth == 0 { 0 } else { free_subtree(pages, tree.root, tree.depth - 1)? };
    *tree = Tree::EMPTY;
    Ok(removed)
}

/// What became of a page from which a range was cut: where it is now, and how many entries it kept and lost.
struct Cut {
    no: PageNo,
    left: u64,
    removed: u64,
}

/// Cuts the range out of the page `no`, to which `path` leads, and all below it.
fn cut<P: PagesMut>(
    tree: &Tree,
    pages: &mut P,
    path: &mut Path,
    no: PageNo,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
) -> Result<Cut> {
    path.check_place(tree, pages.view(), pages.view().page(no)?, path.len)?;
    if path.len + 1 == tree.depth { cut_leaf(pages, no, bounds) } else { cut_branch(tree, pages, path, no, bounds) }
}

fn cut_leaf<P: PagesMut>(pages: &mut P, no: PageNo, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Cut> {
    let leaf = Leaf::view(pages.view().page(no)?)?;
    let slot = |key, past: bool| leaf.search(key).map(|place| place.map_or_else(|i| i, |i| i + usize::from(past)));
    let start = match bounds.0 {
        Bound::Unbounded => 0,
        Bound::Included(key) => slot(key, false)?,
        Bound::Excluded(key) => slot(key, true)?,
    };
    let end = match bounds.1 {
        Bound::Unbounded => leaf.len(),
        Bound::Included(key) => slot(key, true)?,
        Bound::Excluded(key) => slot(key, false)?,
    };
    // Where nothing is verified, the keys may be in any order.
    let Some(removed) = end.checked_sub(start) else { return Err(leaf.out_of_order()) };
    let left = leaf.len() - removed;
    if removed == 0 {
        return Ok(Cut { no, left: left as u64, removed: 0 });
    }
    let no = pages.touch(no)?;
    for i in start..end {
        free_if_large(pages, no, i)?;
    }
    // A leaf that loses everything is freed by the caller, as it is.
    if left > 0 {
        leaf::remove_range(pages.page_mut(no), start..end);
    }
    Ok(Cut { no, left: left as u64, removed: removed as u64 })
}

fn cut_branch<P: PagesMut>(
    tree: &Tree,
    pages: &mut P,
    path: &mut Path,
    no: PageNo,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
) -> Result<Cut> {
    let level = tree.depth - 1 - path.len;
    let branch = Branch::view(pages.view().page(no)?, level)?;
    // Children strictly between these two lie wholly inside the bounds.
    let first = match bounds.0 {
        Bound::Unbounded => 0,
        Bound::Included(key) | Bound::Excluded(key) => branch.child_for(key)?,
    };
    let last = match bounds.1 {
        Bound::Unbounded => branch.len() - 1,
        Bound::Included(key) | Bound::Excluded(key) => branch.child_for(key)?,
    };
    let children: Vec<PageNo> = (first..=last).map(|i| branch.child(i)).collect::<Result<_, Malformed<'_>>>()?;
    let mut changes = Vec::new();
    let mut removed = 0;
    for (i, child) in (first..=last).zip(children) {
        let inside = (i > first || bounds.0 == Bound::Unbounded) && (i < last || bounds.1 == Bound::Unbounded);
        if inside {
            removed += free_subtree(pages, child, level - 1)?;
            changes.push((i, None));
            continue;
        }
        path.push(no, i);
        let cut = cut(tree, pages, path, child, bounds)?;
        path.len -= 1;
        if cut.removed == 0 {
            continue;
        }
        removed += cut.removed;
        if cut.left == 0 {
            pages.free(cut.no)?;
            changes.push((i, None));
        } else {
            changes.push((i, Some(cut)));
        }
    }
    let no = if changes.is_empty() { no } else { pages.touch(no)? };
    for (i, change) in changes.into_iter().rev() {
        let page = pages.page_mut(no);
        match change {
            None => branch::remove(page, i),
            Some(cut) => {
                branch::set_child(page, i, cut.no);
                branch::set_entry_count(page, i, cut.left);
            }
        }
    }
    let page = pages.view().page(no)?;
    let left = if header(page).slot_count.get() == 0 { 0 } else { total(page, level)? };
    Ok(Cut { no, left, removed })
}

fn total(page: &[u8], level: usize) -> Result<u64> {
    let branch = Branch::view(page, level)?;
    Ok(branch.entries_in(0..branch.len())?)
}

/// Frees a page and all below it. Answers how many entries it held. Leaves are not read beyond their headers, unless
/// they hold large values.
fn free_subtree<P: PagesMut>(pages: &mut P, no: PageNo, level: usize) -> Result<u64> {
    let page = pages.view().page(no)?;
    let mut removed = 0;
    if level == 0 {
        let leaf = Leaf::view(page)?;
        removed = leaf.len() as u64;
        if leaf::has_large(page) {
            let values: Vec<Value<'_>> =
                (0..leaf.len()).map(|i| leaf.value(i)).collect::<Result<_, Malformed<'_>>>()?;
            let large = values.into_iter().filter_map(|value| match value {
                Value::Large(large) => Some(large),
                Value::Inline(_) => None,
            });
            for large in large.collect::<Vec<_>>() {
                pages.free_large(&large)?;
            }
        }
    } else {
        let branch = Branch::view(page, level)?;
        let children: Vec<PageNo> = (0..branch.len()).map(|i| branch.child(i)).collect::<Result<_, Malformed<'_>>>()?;
        for child in children {
            removed += free_subtree(pages, child, level - 1)?;
        }
    }
    pages.free(no)?;
    Ok(removed)
}

/// A page with fewer live bytes looks for a neighbour to merge with.
fn underfull(page_len: usize) -> usize {
    (page_len - HEADER_LEN) / 3
}

fn live_len(page: &[u8]) -> usize {
    if header(page).kind == LEAF { leaf::live_len(page) } else { branch::live_len(page) }
}

/// Goes up a path of dirty pages: frees the empty ones, merges the underfull ones with a neighbour, and takes away roots
/// that have only one child.
fn rebalance<P: PagesMut>(tree: &mut Tree, pages: &mut P, path: &Path) -> Result<()> {
    for step in (1..path.len).rev() {
        let (no, parent, slot) = (path.nos[step], path.nos[step - 1], path.slot(step - 1));
        let page = pages.page_mut(no);
        if header(page).slot_count.get() == 0 {
            pages.free(no)?;
            branch::remove(pages.page_mut(parent), slot);
        } else if live_len(page) < underfull(pages.page_len()) {
            let level = tree.depth - 1 - step;
            let siblings = Branch::view(pages.page_mut(parent), level + 1)?.len();
            let merged = slot > 0 && merge(tree, pages, path, step - 1, slot - 1)?;
            if !merged && slot + 1 < siblings {
                merge(tree, pages, path, step - 1, slot)?;
            }
        }
    }
    drop_thin_roots(tree, pages)
}

/// Takes away the roots that have one child or none.
pub(super) fn drop_thin_roots<P: PagesMut>(tree: &mut Tree, pages: &mut P) -> Result<()> {
    loop {
        let page = pages.view().page(tree.root)?;
        let count = header(page).slot_count.get();
        if count == 0 {
            pages.free(tree.root)?;
            *tree = Tree::EMPTY;
            return Ok(());
        }
        if tree.depth == 1 || count > 1 {
            return Ok(());
        }
        let child = Branch::view(page, tree.depth - 1)?.child(0)?;
        pages.free(tree.root)?;
        tree.root = child;
        tree.depth -= 1;
    }
}

/// Merges the children in slots `i` and `i + 1` of the dirty branch at `step`, if one page can hold both. Answers whether it did.
fn merge<P: PagesMut>(tree: &Tree, pages: &mut P, path: &Path, step: usize, i: usize) -> Result<bool> {
    let (parent, level) = (path.nos[step], tree.depth - 2 - step);
    let view = pages.view();
    let branch = Branch::view(view.page(parent)?, level + 1)?;
    let (left, right) = (branch.child(i)?, branch.child(i + 1)?);
    let separator = branch.separator(i + 1)?;
    let entry_count = branch.entries_in(i..i + 2)?;
    let (left_page, right_page) = (view.page(left)?, view.page(right)?);
    let merged_len = match level {
        0 => leaf::merged_len(left_page, right_page),
        _ => branch::live_len(left_page) + branch::live_len(right_page),
    };
    if HEADER_LEN + merged_len > pages.page_len() {
        return Ok(false);
    }
    // The siblings may be pages that nobody has looked at yet.
    let mut beside = path.clone();
    for (slot, page) in [(i, left_page), (i + 1, right_page)] {
        beside.slots[step] = slot as u16;
        beside.check_place(tree, view, page, step + 1)?;
    }
    let (left, right) = (pages.touch(left)?, pages.touch(right)?);
    branch::set_child(pages.page_mut(parent), i, left);
    branch::set_child(pages.page_mut(parent), i + 1, right);
    let (left_page, right_page) = pages.pair_mut(left, right);
    if level == 0 {
        leaf::merge(left_page, right_page);
    } else if branch::merged_len(left_page, &separator, right_page) <= left_page.len() {
        branch::merge(left_page, &separator, right_page);
    } else {
        return Ok(false);
    }
    let page = pages.page_mut(parent);
    branch::set_entry_count(page, i, entry_count);
    branch::remove(page, i + 1);
    pages.free(right)?;
    Ok(true)
}
