//! Shrinking: the file becomes shorter where most of it is free.
//!
//! Pages are reused where they lie. After much was deleted, or overwritten at random, what is left lies all over the file, and its
//! end never comes free by itself. So a large commit into such a file writes to its front alone, and takes some of the pages at its
//! end along. A few such commits leave the end free, and the last of them cuts it off. They write an eighth more than they would. Small
//! commits do not take part, since each page more is a place more on the disk to wait for.
//!
//! What stays where it is: large values, damaged pages, and trees and parts of trees that the transaction did not change. As long as any
//! of that lies at the end of the file, it stays as long as it is. Nothing moves while freed pages are pending.

use super::space::LogSpace;
use super::write::{WritePages, cut_step};
use crate::error::Result;
use crate::page::space_log;
use crate::page::{BESIDE_END, PageNo};
use crate::tree::{PagesMut, Tree, relocate};

/// A large commit writes anew this part of the pages that are in use.
const LARGE: u64 = 8;

/// It takes one page along for so many that it has to write.
const SHARE: u64 = 8;

/// It leaves free this part of the pages that are in use before and after it.
const ROOM: u64 = 16;

/// Where the file should end while a commit writes `dirty_count` pages, if it should be shorter.
fn shorter_end(pages: &WritePages, dirty_count: u64) -> Option<u64> {
    let needed = pages.in_use() + pages.taken.page_count() + dirty_count;
    let end = BESIDE_END + needed + needed / ROOM;
    let step = cut_step(end * pages.page_len() as u64) / pages.page_len() as u64;
    (dirty_count >= pages.in_use() / LARGE && end + step < pages.page_count).then_some(end)
}

/// Moves pages away from the end of the file, if it should be shorter, and holds back those that are free there.
pub(super) fn move_tail(pages: &mut WritePages, trees: &[Tree]) -> Result<()> {
    let dirty_count = pages.dirty().len() as u64;
    // Where a pinned snapshot sees the page that moves, the file becomes no shorter, and there is a copy more.
    let is_pinned = pages.space().pending.extents().next().is_some();
    let Some(end) = shorter_end(pages, dirty_count).filter(|_| !is_pinned) else { return Ok(()) };
    let free_count = pages.space_mut().free_before(end);
    // The log takes pages, too, and a new zone keeps some for branches alone.
    let zone_count = if pages.space().zone_len() == 0 { pages.zone_needed() } else { 0 };
    let log_count = pages.page_count / space_log::words_max(pages.page_len()) as u64;
    let Some(spare) = free_count.checked_sub(dirty_count + zone_count + log_count) else { return Ok(()) };
    let dirty_max = pages.shared.options.dirty_page_max as u64;
    let mut count = spare.min(dirty_count / SHARE).min(dirty_max.saturating_sub(dirty_count));
    trees.iter().try_for_each(|tree| relocate::relocate(tree, pages, PageNo::new(end), &mut count))?;
    pages.hold_back_tail(end);
    Ok(())
}
