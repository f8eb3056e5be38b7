//! Relocation: pages that lie behind a place in the file are copied, to be written before it, without a change to what they hold.
//!
//! A copy needs a parent that is dirty, to take its number. Those that a transaction has changed are, so that a copy costs one
//! page to write and no more. What lies below clean branches stays where it is.
//!
//! Called by `txn::commit`, last before the pages get their numbers: nothing is edited any more.

use super::{Pages, PagesMut, Tree};
use crate::error::Result;
use crate::page::PageNo;
use crate::page::branch::{self, Branch};
use crate::page::leaf::Leaf;

/// Makes up to `count_max` clean pages of a tree dirty that lie at page `from` or behind it, and takes as many off `count_max`.
pub(crate) fn relocate<P: PagesMut>(tree: &Tree, pages: &mut P, from: PageNo, count_max: &mut u64) -> Result<()> {
    if tree.depth < 2 || !pages.is_changeable(tree.root) {
        return Ok(());
    }
    relocate_below(pages, tree.root, tree.depth - 1, from, count_max)
}

/// Relocates what is below a dirty branch of `level`.
fn relocate_below<P: PagesMut>(
    pages: &mut P,
    no: PageNo,
    level: usize,
    from: PageNo,
    count_max: &mut u64,
) -> Result<()> {
    for i in 0..Branch::view(pages.read(no)?, level)?.len() {
        let mut child = Branch::view(pages.read(no)?, level)?.child(i)?;
        if !pages.is_changeable(child) {
            if *count_max == 0 || child < from || !is_in_place(pages, child, level - 1) {
                continue;
            }
            child = pages.touch(child)?;
            branch::set_child(pages.page_mut(no), i, child);
            *count_max -= 1;
        }
        if level > 1 {
            relocate_below(pages, child, level - 1, from, count_max)?;
        }
    }
    Ok(())
}

/// Whether a page may be copied: the copy gets a checksum of its own, so one that is damaged, or not of this level, stays where it is and
/// is found by whoever reads it.
fn is_in_place<P: PagesMut>(pages: &P, no: PageNo, level: usize) -> bool {
    pages.is_sound(no)
        && pages.view().page(no).is_ok_and(|page| match level {
            0 => Leaf::view(page).is_ok(),
            _ => Branch::view(page, level).is_ok(),
        })
}
