//! The leaves of a tree, one after the other, either way. `cursor` and `range` walk on this.

use super::{Pages, Tree, prefetch_counted};
use crate::error::Result;
use crate::page::PageNo;
use crate::page::branch::Branch;
use crate::page::leaf::Leaf;

/// How many cache lines of the following leaf a walk asks for when it comes to one.
const NEXT_LINES: usize = 8;

/// The same once it has gone on from a leaf to another, and so is likely to read the next one whole; where a leaf holds as many entries
/// as these. Few long records the processor loads ahead by itself, and is only kept from it.
const WHOLE_LINES: usize = 64;
const WHOLE_LEN: usize = 12;

/// How many records behind a place a walk asks for when it begins there, and how many lines of each.
const RECORDS_AHEAD: usize = 8;
const RECORD_LINES: usize = 2;

/// Where a walk stands.
#[derive(Clone, Copy)]
enum Place<'p> {
    BeforeFirst,
    At(PageNo, Leaf<'p>),
    AfterLast,
}

/// A walk over the leaves of a tree.
///
/// Of the way to its leaf it knows the last branch alone. Where that one has no more children, the key that it stands at leads from
/// the root to the next one: once a hundred leaves or so. So it is small, and made quickly.
#[derive(Clone)]
pub(super) struct Leaves<'p, P> {
    pages: P,
    tree: Tree,
    /// The branch above the leaf, and the slot taken in it. Of no meaning where the root is a leaf.
    parent: PageNo,
    slot: usize,
    place: Place<'p>,
    has_moved: bool,
}

impl<'p, P: Pages<'p>> Leaves<'p, P> {
    /// A walk that stands before the first leaf.
    pub(super) fn new(pages: P, tree: Tree) -> Leaves<'p, P> {
        Leaves { pages, tree, parent: PageNo::NONE, slot: 0, place: Place::BeforeFirst, has_moved: false }
    }

    pub(super) fn pages(&self) -> P {
        self.pages
    }

    /// The leaf that it stands at.
    #[inline]
    pub(super) fn leaf(&self) -> Option<Leaf<'p>> {
        match self.place {
            Place::At(_, leaf) => Some(leaf),
            _ => None,
        }
    }

    /// Whether both stand at the same leaf.
    pub(super) fn is_at(&self, other: &Leaves<'p, P>) -> bool {
        let is_same_way = (self.parent, self.slot) == (other.parent, other.slot);
        is_same_way && matches!((self.place, other.place), (Place::At(one, _), Place::At(two, _)) if one == two)
    }

    /// Moves before the first leaf, or behind the last.
    pub(super) fn leave(&mut self, forward: bool) {
        self.place = if forward { Place::AfterLast } else { Place::BeforeFirst };
    }

    /// Moves to the leaf that `key` belongs to: `None` if the tree is empty.
    pub(super) fn seek(&mut self, key: &[u8]) -> Result<Option<Leaf<'p>>> {
        self.place = Place::AfterLast;
        if self.tree.depth == 0 {
            return Ok(None);
        }
        let (mut no, mut leaf_count) = (self.tree.root, 1_u64);
        for level in (1..self.tree.depth).rev() {
            let branch = Branch::view(self.pages.page(no)?, level)?;
            (self.parent, self.slot) = (no, branch.child_for(key)?);
            no = branch.child(self.slot)?;
            leaf_count = leaf_count.wrapping_mul(branch.len() as u64);
            prefetch_counted(self.pages, no, level, &self.tree, leaf_count);
        }
        self.enter(no).map(Some)
    }

    /// Asks for what a walk that begins near `slot`, in the leaf that it stands at, comes to first: some records, and the next leaf.
    pub(super) fn prefetch_from(&self, slot: usize) -> Result<()> {
        if let Place::At(no, leaf) = self.place {
            leaf.places(slot, RECORDS_AHEAD, |at| self.pages.prefetch::<RECORD_LINES>(no, at));
        }
        self.prefetch_beside::<NEXT_LINES>(true)
    }

    /// Moves to the next leaf, or to the one before; from before the first, to the first, and from behind the last, to the last. `None`
    /// if there is none.
    ///
    /// What follows must follow in the order of keys: so a tree that shares its pages, which only a forged one does, is noticed before
    /// it is walked as often as it has ways. Both ends of the leaf behind count, since nobody may have verified that they are in order.
    pub(super) fn step(&mut self, forward: bool) -> Result<Option<Leaf<'p>>> {
        let before = self.place;
        self.leave(forward);
        match before {
            Place::At(_, old) => {
                let (one, two) = (old.key(0)?, old.key(old.len() - 1)?);
                let end = if forward { one.max(two) } else { one.min(two) };
                let Some((no, level)) = self.beside(forward, end)? else { return Ok(None) };
                let no = self.descend_to_edge(no, level, forward)?;
                let new = self.enter(no)?;
                let is_ordered = if forward { end < new.key(0)? } else { new.key(new.len() - 1)? < end };
                if !is_ordered {
                    self.leave(forward);
                    return Err(new.out_of_order());
                }
                if self.has_moved && new.len() >= WHOLE_LEN {
                    self.prefetch_beside::<WHOLE_LINES>(forward)?;
                } else {
                    self.prefetch_beside::<NEXT_LINES>(forward)?;
                }
                self.has_moved = true;
                Ok(Some(new))
            }
            Place::BeforeFirst if !forward => Ok(None),
            Place::AfterLast if forward => Ok(None),
            _ if self.tree.depth == 0 => Ok(None),
            _ => {
                let no = self.descend_to_edge(self.tree.root, self.tree.depth - 1, forward)?;
                let leaf = self.enter(no)?;
                self.prefetch_beside::<NEXT_LINES>(forward)?;
                Ok(Some(leaf))
            }
        }
    }

    fn enter(&mut self, no: PageNo) -> Result<Leaf<'p>> {
        let leaf = Leaf::view(self.pages.page(no)?)?;
        self.place = Place::At(no, leaf);
        Ok(leaf)
    }

    /// The page beside the way to the leaf, as deep as there is one, and its level. `end` is the last key on the way.
    fn beside(&mut self, forward: bool, end: &[u8]) -> Result<Option<(PageNo, usize)>> {
        if self.tree.depth < 2 {
            return Ok(None);
        }
        let parent = Branch::view(self.pages.page(self.parent)?, 1)?;
        if let Some(slot) = slot_beside(&parent, self.slot, forward) {
            self.slot = slot;
            return Ok(Some((parent.child(slot)?, 0)));
        }
        let (mut no, mut beside) = (self.tree.root, None);
        for level in (2..self.tree.depth).rev() {
            let branch = Branch::view(self.pages.page(no)?, level)?;
            let slot = branch.child_for(end)?;
            if let Some(slot) = slot_beside(&branch, slot, forward) {
                beside = Some((branch.child(slot)?, level - 1));
            }
            no = branch.child(slot)?;
        }
        if no == self.parent { Ok(beside) } else { Err(parent.out_of_order()) }
    }

    /// The first leaf below `no`, or with `forward` unset the last one. Leaves the branch above it in `parent`.
    fn descend_to_edge(&mut self, mut no: PageNo, level: usize, forward: bool) -> Result<PageNo> {
        for level in (1..=level).rev() {
            let branch = Branch::view(self.pages.page(no)?, level)?;
            (self.parent, self.slot) = (no, if forward { 0 } else { branch.len() - 1 });
            no = branch.child(self.slot)?;
        }
        Ok(no)
    }

    /// Asks for the leaf that a walk will come to next, if it has the same parent.
    fn prefetch_beside<const LINES: usize>(&self, forward: bool) -> Result<()> {
        if self.tree.depth < 2 {
            return Ok(());
        }
        let parent = Branch::view(self.pages.page(self.parent)?, 1)?;
        if let Some(slot) = slot_beside(&parent, self.slot, forward) {
            self.pages.prefetch::<LINES>(parent.child(slot)?, 0);
        }
        Ok(())
    }
}

fn slot_beside(branch: &Branch<'_>, slot: usize, forward: bool) -> Option<usize> {
    if forward { Some(slot + 1).filter(|&slot| slot < branch.len()) } else { slot.checked_sub(1) }
}
