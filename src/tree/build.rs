//! Building a tree from its entries in key order, from the bottom up: one open page a level, closed when the next entry does not
//! fit. What comes out is what sorted puts leave behind: full pages, and here in the order in which a scan reads them.
//!
//! A closed page goes to a [`PageSink`] and is never looked at again, so a tree of any size takes the memory of one path. Called by
//! `backup`.

use super::Tree;
use crate::error::Result;
use crate::page::branch;
use crate::page::leaf::{self, Leaf, Value};
use crate::page::{self, BRANCH, LEAF, PageNo, common_prefix_len};

/// Where closed pages go.
pub(crate) trait PageSink {
    /// Takes a page and gives it its number.
    fn add(&mut self, page: &mut [u8]) -> Result<PageNo>;
}

/// The open page of a level.
struct Open {
    page: Box<[u8]>,
    /// What separates it from the page before it; empty for the first one.
    separator: Vec<u8>,
}

impl Open {
    fn new(page_len: usize, kind: u8, level: usize) -> Open {
        let mut page = vec![0; page_len].into_boxed_slice();
        page::init(&mut page, kind, level as u8);
        Open { page, separator: Vec::new() }
    }
}

/// A closed page, or all of a subtree: where it is, and how many entries it has.
type Child = (PageNo, u64);

pub(crate) struct Builder {
    leaf: Open,
    /// The branches, level 1 first.
    branches: Vec<Open>,
    /// The closed page of the highest level that has but one, so that no branch has a single child.
    top: Option<Child>,
    entry_count: u64,
}

impl Builder {
    pub(crate) fn new(page_len: usize) -> Builder {
        Builder { leaf: Open::new(page_len, LEAF, 0), branches: Vec::new(), top: None, entry_count: 0 }
    }

    /// The greatest key so far.
    pub(crate) fn last_key(&self) -> Option<&[u8]> {
        let leaf = Leaf::view(&self.leaf.page).ok()?;
        leaf.key(leaf.len() - 1).ok()
    }

    /// Appends an entry, whose key is greater than the last one.
    pub(crate) fn push(&mut self, key: &[u8], value: Value<'_>, sink: &mut impl PageSink) -> Result<()> {
        self.entry_count += 1;
        if leaf::append(&mut self.leaf.page, key, value) {
            return Ok(());
        }
        let last = self.last_key().expect("an empty leaf takes any entry");
        let separator = key[..common_prefix_len(last, key) + 1].to_vec();
        self.close_leaf(sink)?;
        self.leaf.separator = separator;
        self.leaf.page.fill(0);
        page::init(&mut self.leaf.page, LEAF, 0);
        let fits = leaf::append(&mut self.leaf.page, key, value);
        assert!(fits, "an empty leaf takes any entry");
        Ok(())
    }

    /// Closes what is open and answers with the tree.
    pub(crate) fn finish(mut self, sink: &mut impl PageSink) -> Result<Tree> {
        if self.entry_count == 0 {
            return Ok(Tree::EMPTY);
        }
        self.close_leaf(sink)?;
        let mut level = 0;
        while level < self.branches.len() {
            let closed = close_branch(&mut self.branches[level].page, sink)?;
            let separator = std::mem::take(&mut self.branches[level].separator);
            level += 1;
            self.add_child(level, separator, closed, sink)?;
        }
        let (root, _) = self.top.expect("the highest level has one page");
        Ok(Tree { root, depth: level + 1, entry_count: self.entry_count })
    }

    fn close_leaf(&mut self, sink: &mut impl PageSink) -> Result<()> {
        let count = u64::from(page::header(&self.leaf.page).slot_count.get());
        let no = sink.add(&mut self.leaf.page)?;
        let separator = std::mem::take(&mut self.leaf.separator);
        self.add_child(0, separator, (no, count), sink)
    }

    /// Adds a closed page of `level` to the branch above it. A branch without room is closed in turn.
    fn add_child(
        &mut self,
        mut level: usize,
        mut separator: Vec<u8>,
        mut child: Child,
        sink: &mut impl PageSink,
    ) -> Result<()> {
        while let Some(open) = self.branches.get_mut(level) {
            let slot = usize::from(page::header(&open.page).slot_count.get());
            if branch::insert(&mut open.page, slot, &separator, child.0, child.1) {
                return Ok(());
            }
            let mut right = Open::new(open.page.len(), BRANCH, level + 1);
            let (left, (no, count)) = (&mut open.page, child);
            right.separator = branch::split(left, &mut right.page, slot, &separator, no, count, true);
            child = close_branch(left, sink)?;
            separator = std::mem::replace(open, right).separator;
            level += 1;
        }
        self.top = match self.top.take() {
            None => Some(child),
            Some(first) => {
                let mut open = Open::new(self.leaf.page.len(), BRANCH, level + 1);
                branch::build_root(&mut open.page, first, &separator, child);
                self.branches.push(open);
                None
            }
        };
        Ok(())
    }
}

fn close_branch(page: &mut [u8], sink: &mut impl PageSink) -> Result<Child> {
    let count = branch::total(page);
    Ok((sink.add(page)?, count))
}
