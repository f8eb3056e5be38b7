//! A cursor: a path to an entry, which moves either way.

use super::{Entry, Pages, Path, Tree, prefetch_child};
use crate::error::Result;
use crate::page::PageNo;
use crate::page::branch::Branch;
use crate::page::leaf::Leaf;

/// How many cache lines of the following leaf a scan asks for while it walks one.
const SCAN_LINES: usize = 8;

/// Where a cursor stands.
#[derive(Clone, Copy)]
enum State<'p> {
    BeforeFirst,
    /// In a leaf, at a slot that exists.
    At(PageNo, Leaf<'p>, usize),
    AfterLast,
}

/// A position among the entries of a tree. `path` holds the branches above the leaf.
#[derive(Clone)]
pub(crate) struct Cursor<'p, P> {
    pages: P,
    tree: Tree,
    path: Path,
    state: State<'p>,
}

impl<'p, P: Pages<'p>> Cursor<'p, P> {
    /// A cursor before the first entry.
    pub(crate) fn new(pages: P, tree: Tree) -> Cursor<'p, P> {
        Cursor { pages, tree, path: Path::EMPTY, state: State::BeforeFirst }
    }

    /// The entry that the cursor stands at.
    #[inline]
    pub(crate) fn entry(&self) -> Result<Option<Entry<'p>>> {
        match self.state {
            State::At(_, leaf, slot) => {
                let (key, value) = leaf.entry(slot)?;
                Ok(Some((key, self.pages.lend(value)?)))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn is_at_entry(&self) -> bool {
        matches!(self.state, State::At(..))
    }

    /// Whether both stand at the same entry, or both behind the last.
    #[inline]
    pub(crate) fn is_at(&self, other: &Cursor<'p, P>) -> bool {
        match (&self.state, &other.state) {
            (State::At(a, _, i), State::At(b, _, j)) => i == j && a == b,
            (State::AfterLast, State::AfterLast) => true,
            _ => false,
        }
    }

    /// Moves to the first entry.
    pub(crate) fn first(&mut self) -> Result<()> {
        self.state = State::AfterLast;
        self.path.len = 0;
        if self.tree.depth > 0 { self.descend_to_edge(self.tree.root, false) } else { Ok(()) }
    }

    /// Moves to the last entry.
    pub(crate) fn last(&mut self) -> Result<()> {
        self.state = State::BeforeFirst;
        self.path.len = 0;
        if self.tree.depth > 0 { self.descend_to_edge(self.tree.root, true) } else { Ok(()) }
    }

    /// Moves behind the last entry.
    pub(crate) fn end(&mut self) {
        self.state = State::AfterLast;
    }

    /// Moves to the first entry whose key is not less than `key`, or, with `after`, is greater.
    pub(crate) fn seek(&mut self, key: &[u8], after: bool) -> Result<()> {
        self.state = State::AfterLast;
        self.path.len = 0;
        if self.tree.depth == 0 {
            return Ok(());
        }
        let mut no = self.tree.root;
        for level in (1..self.tree.depth).rev() {
            let branch = Branch::view(self.pages.page(no)?, level)?;
            let i = branch.child_for(key)?;
            self.path.push(no, i);
            no = branch.child(i)?;
            prefetch_child(self.pages, no, level);
        }
        let leaf = Leaf::view(self.pages.page(no)?)?;
        let slot = match leaf.search(key)? {
            Ok(i) => i + usize::from(after),
            Err(i) => i,
        };
        if slot < leaf.len() {
            self.state = State::At(no, leaf, slot);
            return Ok(());
        }
        self.find_leaf_beside(true)
    }

    /// Moves to the next entry; from before the first, to the first.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<()> {
        match &mut self.state {
            State::At(_, leaf, slot) if *slot + 1 < leaf.len() => {
                *slot += 1;
                Ok(())
            }
            State::At(..) => self.step_leaf(true),
            State::BeforeFirst => self.first(),
            State::AfterLast => Ok(()),
        }
    }

    /// Moves to the previous entry; from behind the last, to the last.
    #[inline]
    pub(crate) fn prev(&mut self) -> Result<()> {
        match &mut self.state {
            State::At(_, _, slot) if *slot > 0 => {
                *slot -= 1;
                Ok(())
            }
            State::At(..) => self.step_leaf(false),
            State::BeforeFirst => Ok(()),
            State::AfterLast => self.last(),
        }
    }

    /// Moves to the nearest entry of the leaf after or before the one that `path` leads to.
    ///
    /// What follows must follow in the order of keys: so a tree that shares its pages, which only a forged one does, is noticed before
    /// it is walked as often as it has ways. Both ends of the leaf behind count, since nobody may have verified that they are in order.
    fn step_leaf(&mut self, forward: bool) -> Result<()> {
        let end = if forward { State::AfterLast } else { State::BeforeFirst };
        let before = std::mem::replace(&mut self.state, end);
        self.find_leaf_beside(forward)?;
        if let (State::At(_, old, _), State::At(_, new, _)) = (before, self.state) {
            let behind = (old.key(0)?, old.key(old.len() - 1)?);
            let is_ordered = match forward {
                true => behind.0.max(behind.1) < new.key(0)?,
                false => new.key(new.len() - 1)? < behind.0.min(behind.1),
            };
            if !is_ordered {
                self.state = end;
                return Err(new.out_of_order());
            }
        }
        Ok(())
    }

    fn find_leaf_beside(&mut self, forward: bool) -> Result<()> {
        while let Some(step) = self.path.len.checked_sub(1) {
            let branch = Branch::view(self.pages.page(self.path.nos[step])?, self.tree.depth - 1 - step)?;
            let slot = self.path.slot(step);
            let next = if forward { Some(slot + 1).filter(|&i| i < branch.len()) } else { slot.checked_sub(1) };
            if let Some(next) = next {
                self.path.slots[step] = next as u16;
                return self.descend_to_edge(branch.child(next)?, !forward);
            }
            self.path.len = step;
        }
        Ok(())
    }

    /// Moves to the first or last entry below `no`, to which `path` leads.
    fn descend_to_edge(&mut self, mut no: PageNo, to_last: bool) -> Result<()> {
        while self.path.len + 1 < self.tree.depth {
            let branch = Branch::view(self.pages.page(no)?, self.tree.depth - 1 - self.path.len)?;
            let i = if to_last { branch.len() - 1 } else { 0 };
            self.path.push(no, i);
            no = branch.child(i)?;
        }
        let leaf = Leaf::view(self.pages.page(no)?)?;
        self.prefetch_beside(to_last)?;
        self.state = State::At(no, leaf, if to_last { leaf.len() - 1 } else { 0 });
        Ok(())
    }

    /// Asks for the leaf that a scan will come to next, if it has the same parent.
    fn prefetch_beside(&self, backward: bool) -> Result<()> {
        let Some(step) = self.path.len.checked_sub(1) else { return Ok(()) };
        let branch = Branch::view(self.pages.page(self.path.nos[step])?, 1)?;
        let slot = self.path.slot(step);
        let beside = if backward { slot.checked_sub(1) } else { Some(slot + 1).filter(|&i| i < branch.len()) };
        if let Some(beside) = beside {
            self.pages.prefetch::<SCAN_LINES>(branch.child(beside)?, 0);
        }
        Ok(())
    }
}
