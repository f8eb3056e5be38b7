//! Retaining: a walk over the entries of a tree from left to right, of which somebody decides which go. Each leaf is looked through as it is
//! and then edited once, so that there is one descent for each leaf and none for each entry.
//!
//! Whoever decides does so between two edits, while the tree is whole, and sees each entry once. If that panics, nothing of the leaf has
//! changed, and what went from the leaves before it is gone.

use super::delete::{merge_with_changed, rebalance_if_underfull};
use super::put::{Finger, free_if_large};
use super::{Pages, PagesMut, Tree};
use crate::error::Result;
use crate::page::leaf::{self, Leaf};

/// Where the walk stands.
#[derive(Default)]
pub(crate) struct Retain {
    /// All entries before this key are done.
    from: Vec<u8>,
    /// Where the leaf that was decided on ends; empty at the end of the tree.
    next: Vec<u8>,
    /// The slots in it of the entries that go.
    gone: Vec<usize>,
    is_done: bool,
}

impl Retain {
    /// Has `keep` decide on the entries of the next leaf. False if there is none.
    pub(crate) fn decide<P: PagesMut>(
        &mut self,
        tree: &Tree,
        pages: &P,
        finger: &mut Finger,
        mut keep: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<bool> {
        if self.is_done || tree.depth == 0 {
            return Ok(false);
        }
        let (Ok(start) | Err(start)) = finger.locate(tree, pages, &self.from)?;
        finger.separator_behind(tree, pages, &mut self.next)?;
        let view = pages.view();
        let leaf = Leaf::view(view.page(finger.leaf_no())?)?;
        if !self.next.is_empty() && self.next <= self.from {
            return Err(leaf.out_of_order());
        }
        self.gone.clear();
        for (slot, entry) in (start..).zip(leaf.entries(start..leaf.len())?) {
            let (key, value) = entry?;
            if !keep(key, view.lend(value)?) {
                self.gone.push(slot);
            }
        }
        Ok(true)
    }

    /// Takes out what was decided on, and returns how many entries that were. Nothing else has changed the tree meanwhile.
    pub(crate) fn apply<P: PagesMut>(&mut self, tree: &mut Tree, pages: &mut P, finger: &mut Finger) -> Result<u64> {
        self.is_done = self.next.is_empty();
        let count = self.gone.len();
        if count > 0 {
            finger.touch(tree, pages)?;
            finger.count(tree, pages, -(count as i64));
            let leaf_no = finger.leaf_no();
            if leaf::has_large(pages.page_mut(leaf_no)) {
                self.gone.iter().try_for_each(|&slot| free_if_large(pages, leaf_no, slot))?;
            }
            leaf::remove_each(pages.page_mut(leaf_no), &self.gone);
            if !rebalance_if_underfull(tree, pages, finger)? {
                merge_with_changed(tree, pages, finger)?;
            }
        }
        std::mem::swap(&mut self.from, &mut self.next);
        Ok(count as u64)
    }
}
