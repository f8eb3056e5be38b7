//! A cursor: a position among the entries of a tree, which moves either way.

use super::leaves::Leaves;
use super::{Entry, Pages, Tree};
use crate::error::Result;

/// A position among the entries of a tree: in a leaf, at a slot that exists; or where the walk over the leaves stands at none, before
/// the first entry or behind the last.
#[derive(Clone)]
pub(crate) struct Cursor<'p, P> {
    leaves: Leaves<'p, P>,
    slot: usize,
}

impl<'p, P: Pages<'p>> Cursor<'p, P> {
    /// A cursor before the first entry.
    pub(crate) fn new(pages: P, tree: Tree) -> Cursor<'p, P> {
        Cursor { leaves: Leaves::new(pages, tree), slot: 0 }
    }

    /// The entry that the cursor stands at.
    #[inline]
    pub(crate) fn entry(&self) -> Result<Option<Entry<'p>>> {
        let Some(leaf) = self.leaves.leaf() else { return Ok(None) };
        let (key, value) = leaf.entry(self.slot)?;
        Ok(Some((key, self.leaves.pages().lend(value)?)))
    }

    /// Moves to the first entry.
    pub(crate) fn first(&mut self) -> Result<()> {
        self.leaves.leave(false);
        self.step_leaf(true)
    }

    /// Moves to the last entry.
    pub(crate) fn last(&mut self) -> Result<()> {
        self.leaves.leave(true);
        self.step_leaf(false)
    }

    /// Moves to the first entry whose key is not less than `key`, or, with `after`, is greater.
    pub(crate) fn seek(&mut self, key: &[u8], after: bool) -> Result<()> {
        let Some(leaf) = self.leaves.seek(key)? else { return Ok(()) };
        self.slot = leaf.bound(key, after)?;
        if self.slot < leaf.len() { Ok(()) } else { self.step_leaf(true) }
    }

    /// Moves to the next entry; from before the first, to the first.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<()> {
        match self.leaves.leaf() {
            Some(leaf) if self.slot + 1 < leaf.len() => {
                self.slot += 1;
                Ok(())
            }
            _ => self.step_leaf(true),
        }
    }

    /// Moves to the previous entry; from behind the last, to the last.
    #[inline]
    pub(crate) fn prev(&mut self) -> Result<()> {
        match self.leaves.leaf() {
            Some(_) if self.slot > 0 => {
                self.slot -= 1;
                Ok(())
            }
            _ => self.step_leaf(false),
        }
    }

    /// Moves to the nearest entry of the leaf after or before this one.
    fn step_leaf(&mut self, forward: bool) -> Result<()> {
        let leaf = self.leaves.step(forward)?;
        self.slot = leaf.map_or(0, |leaf| if forward { 0 } else { leaf.len() - 1 });
        Ok(())
    }
}
