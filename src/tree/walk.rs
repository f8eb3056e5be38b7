//! A walk over a tree that trusts nothing: every page is verified, whatever the options say, and the first thing that is wrong ends
//! it. Called by `backup`; `check` is the one that goes on and tells all.

use super::{Pages, Tree};
use crate::error::Result;
use crate::page::branch::Branch;
use crate::page::leaf::Leaf;
use crate::page::space_log::Extent;
use crate::page::{self, PageNo};

/// What a walk calls.
pub(crate) trait Visitor {
    /// The walk comes to a page. An error ends it: it is up to the visitor that a forged tree, in which a page is below many others,
    /// has an end.
    fn enter(&mut self, extent: Extent) -> Result<()>;

    /// A leaf; they come in key order.
    fn leaf(&mut self, leaf: &Leaf<'_>) -> Result<()>;
}

/// Visits every page of a tree, a branch before its children.
pub(crate) fn walk<'p>(tree: &Tree, pages: impl Pages<'p>, visitor: &mut impl Visitor) -> Result<()> {
    match tree.depth {
        0 => Ok(()),
        depth => visit(tree.root, depth - 1, tree.entry_count, pages, visitor),
    }
}

/// Visits a page and all below it, where `entry_count` entries are said to be. Levels descend, so this calls itself no deeper than
/// `DEPTH_MAX`.
fn visit<'p>(
    no: PageNo,
    level: usize,
    entry_count: u64,
    pages: impl Pages<'p>,
    visitor: &mut impl Visitor,
) -> Result<()> {
    visitor.enter(Extent::new(no.get(), 1))?;
    let page = pages.page(no)?;
    page::verify(page, no)?;
    let check_count = |found: u64| match found == entry_count {
        true => Ok(()),
        false => Err(page::corrupt(page, "entry counts do not add up")),
    };
    if level == 0 {
        let leaf = Leaf::view(page)?;
        check_count(leaf.len() as u64)?;
        return visitor.leaf(&leaf);
    }
    let branch = Branch::view(page, level)?;
    check_count(branch.entries_in(0..branch.len())?)?;
    (0..branch.len()).try_for_each(|i| visit(branch.child(i)?, level - 1, branch.entry_count(i)?, pages, visitor))
}
