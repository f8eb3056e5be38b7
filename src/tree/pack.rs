//! Packing: neighbours that a transaction has changed move together into fewer pages, before it writes them.
//!
//! Pages that split at random are two thirds full. To share out their entries among siblings at each split fills them better, and
//! costs a look at two cold pages for every few puts. Packing moves each entry once in a transaction, in key order, and
//! pays for itself: there is less to write. Pages that are clean stay as they are, so a small transaction, which seldom has
//! neighbours among its pages, packs little.
//!
//! Called by `txn::commit`, and when the dirty pages of a transaction come to their limit.

use super::delete::drop_thin_roots;
use super::{Pages, PagesMut, Tree};
use crate::error::Result;
use crate::page::branch::{self, Branch, Children};
use crate::page::leaf;
use crate::page::{BRANCH, HEADER_LEN, LEAF, PageNo, header};

/// So many places of a leaf are left free at most, so that the next puts at random split few pages, and of a leaf with few places one
/// in `ROOM_SHARE`.
const ROOM_MAX: usize = 3;
const ROOM_SHARE: usize = 8;

/// The part of a branch that is left free.
const BRANCH_ROOM: usize = 16;

/// Neighbours move if that saves one page in so many.
const WORTH: usize = 8;

/// So many neighbours move at a time. While they do, they are there twice: that is what packing takes beyond `Options::dirty_limit`.
const RUN_MAX: usize = 64;

/// How many cache lines of a page are asked for while the one before it is read: all of a small one.
const PREFETCH: usize = 64;

/// A child, with its slot.
type Child = (usize, PageNo);

/// A page that was packed: what separates it from the one before, its number, and how many entries it has.
type Packed = (Vec<u8>, PageNo, u64);

/// Packs the pages of a tree that may be changed in place. Fingers into it are good for nothing afterwards.
pub(crate) fn pack<P: PagesMut>(tree: &mut Tree, pages: &mut P) -> Result<()> {
    if tree.depth < 2 || !pages.is_changeable(tree.root) {
        return Ok(());
    }
    pack_below(pages, tree.root, tree.depth - 1)?;
    drop_thin_roots(tree, pages)
}

/// Packs what is below a branch of `level`, the leaves first.
fn pack_below<P: PagesMut>(pages: &mut P, no: PageNo, level: usize) -> Result<()> {
    let branch = Branch::view(pages.view().page(no)?, level)?;
    let mut children: Vec<Child> = Vec::new();
    for i in 0..branch.len() {
        let child = branch.child(i)?;
        if pages.is_changeable(child) {
            children.push((i, child));
        }
    }
    if level > 1 {
        children.iter().try_for_each(|&(_, child)| pack_below(pages, child, level - 1))?;
    }
    // From the last, so that the slots of the others stay what they are.
    let runs = children.chunk_by(|a, b| a.0 + 1 == b.0).flat_map(|run| run.chunks(RUN_MAX));
    for run in runs.rev().filter(|run| run.len() > 1) {
        pack_run(pages, no, level, run)?;
    }
    Ok(())
}

/// Packs neighbours below the branch `parent` of `level`.
fn pack_run<P: PagesMut>(pages: &mut P, parent: PageNo, level: usize, run: &[Child]) -> Result<()> {
    let count_max = run.len() - (run.len() / WORTH).max(1);
    let packed = match level {
        1 => pack_leaves(pages, run, count_max)?,
        _ => pack_branches(pages, parent, level, run, count_max)?,
    };
    let slots = run[0].0..run[0].0 + run.len();
    // The new separators may be longer than the old ones, so there may be no room even for fewer of them.
    let is_done = (1..=count_max).contains(&packed.len()) && branch::replace(pages.page_mut(parent), slots, &packed);
    if is_done {
        run.iter().try_for_each(|&(_, no)| pages.free(no))
    } else {
        packed.iter().try_for_each(|&(_, no, _)| pages.free(no))
    }
}

/// Copies the entries of neighbours into new pages, evenly. Answers with none if it is clear that these are more than `count_max`.
fn pack_leaves<P: PagesMut>(pages: &mut P, run: &[Child], count_max: usize) -> Result<Vec<Packed>> {
    let (mut live_len, mut entry_count) = (0, 0);
    for &(_, no) in run {
        let page = pages.view().page(no)?;
        live_len += leaf::packed_len(page);
        entry_count += slot_count(page);
    }
    let full = ((pages.page_len() - HEADER_LEN) * entry_count / live_len).max(1);
    let page_count = entry_count.div_ceil(full - (full / ROOM_SHARE).min(ROOM_MAX));
    if page_count > count_max {
        return Ok(Vec::new());
    }

    let mut into = vec![pages.alloc(LEAF, 0)];
    let mut closed_len = 0;
    for (n, &(_, from)) in run.iter().enumerate() {
        if let Some(&(_, next)) = run.get(n + 1) {
            pages.view().prefetch::<PREFETCH>(next, 0);
        }
        let mut slot = 0;
        loop {
            let last = into[into.len() - 1];
            let share = (live_len * into.len() / page_count).saturating_sub(closed_len);
            let (last_page, from_page) = pages.pair_mut(last, from);
            slot = leaf::fill_from(last_page, from_page, slot, share);
            if slot == slot_count(from_page) {
                break;
            }
            closed_len += leaf::live_len(last_page);
            into.push(pages.alloc(LEAF, 0));
        }
    }

    let mut packed: Vec<Packed> = Vec::with_capacity(into.len());
    for (n, &no) in into.iter().enumerate() {
        let page = pages.view().page(no)?;
        let separator = match n.checked_sub(1) {
            Some(before) => leaf::separator(pages.view().page(into[before])?, page).to_vec(),
            None => Vec::new(),
        };
        packed.push((separator, no, slot_count(page) as u64));
    }
    Ok(packed)
}

/// As `pack_leaves`, for branches, each of which takes about as many children as it may. Stops when they are more than `count_max`.
fn pack_branches<P: PagesMut>(
    pages: &mut P,
    parent: PageNo,
    level: usize,
    run: &[Child],
    count_max: usize,
) -> Result<Vec<Packed>> {
    let len_max = pages.page_len() - pages.page_len() / BRANCH_ROOM;
    let view = pages.view();
    let (mut own_len, mut prefix_len) = (0, usize::MAX);
    for &(_, no) in run {
        let page = view.page(no)?;
        own_len += branch::own_len(page);
        prefix_len = prefix_len.min(branch::live_len(page) - branch::own_len(page));
    }
    // To take branches apart is dear, and most are full.
    let room = len_max.saturating_sub(HEADER_LEN + prefix_len).max(1);
    if own_len.div_ceil(room) > count_max {
        return Ok(Vec::new());
    }
    let above = Branch::view(view.page(parent)?, level)?;
    let mut children = Children::default();
    for &(i, no) in run {
        children.extend(view.page(no)?, &above.separator(i)?);
    }
    let mut packed: Vec<Packed> = Vec::new();
    let mut start = 0;
    while start < children.len() && packed.len() <= count_max {
        let end = children.fitting(start, len_max);
        let no = pages.alloc(BRANCH, level - 1);
        children.build(start..end, pages.page_mut(no));
        packed.push((children.key(start).to_vec(), no, children.entries_in(start..end)));
        start = end;
    }
    Ok(packed)
}

fn slot_count(page: &[u8]) -> usize {
    usize::from(header(page).slot_count.get())
}
