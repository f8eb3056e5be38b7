//! The zone: a part of the file where branches are written in rows.
//!
//! A commit of scattered puts writes leaves and the branches above them anew. There are a hundred leaves to a branch, so each branch
//! is written again soon, and a leaf is not. Where both share the free pages, what comes free is in shreds, and each page a place of
//! its own on the disk. The zone has several times the room that its branches need and is gone through in a circle, as in a
//! file system that is a log: when a commit comes back to where the branches of an earlier one lie, nearly all of them have been
//! written anew since, elsewhere, and their pages are free in a row. So a commit of 32 puts among a million writes its 30 branches in
//! one or two rows, not in 13.
//!
//! The zone is known in memory only: to a reader of the file its pages are free or in use as any others. The next process chooses the
//! part of the file where most pages are free, and that is likely to be the same.

use super::extents::ExtentSet;
use crate::page::space_log::Extent;

/// The part of the pages in use that the zone is. About a hundredth of them are branches.
const PART: u64 = 32;

/// The shortest row: fewer branches are better off in one with the leaves.
pub(crate) const ROW_MIN: u64 = 4;

#[derive(Default)]
pub(crate) struct Zone {
    /// Pages that came to be in use before there was a zone may be among them.
    bounds: Extent,
    free: ExtentSet,
    /// Where the next row begins.
    next: u64,
}

impl Zone {
    pub(crate) fn new(bounds: Extent) -> Zone {
        Zone { bounds, free: ExtentSet::default(), next: bounds.first }
    }

    /// How long the zone should be if so many pages are in use; 0 if there should be none.
    pub(crate) fn len_for(in_use: u64) -> u64 {
        let len = in_use / PART;
        if len < ROW_MIN { 0 } else { len }
    }

    /// Where the zone begins and ends; no pages if there is none.
    pub(crate) fn bounds(&self) -> Extent {
        self.bounds
    }

    pub(crate) fn free(&self) -> &ExtentSet {
        &self.free
    }

    /// Pages of the zone are free from now on.
    pub(crate) fn give(&mut self, extent: Extent) {
        self.free.insert(extent);
    }

    /// Takes `count` pages, the next ones in the circle; none if there are not so many.
    pub(crate) fn take(&mut self, count: u64) -> Vec<Extent> {
        if count > self.free.page_count() {
            return Vec::new();
        }
        let mut left = count;
        let mut taken = Vec::new();
        for extent in self.free.iter_from(self.next).chain(self.free.iter()) {
            let some = Extent::new(extent.first, extent.count.min(left));
            taken.push(some);
            left -= some.count;
            if left == 0 {
                break;
            }
        }
        taken.iter().for_each(|extent| self.free.remove(*extent));
        self.next = taken.last().map_or(self.next, Extent::end);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use super::*;

    #[test]
    fn takes_free_pages_and_each_once() {
        fn property(steps: Vec<(bool, u8)>) -> bool {
            let bounds = Extent::new(100, 60);
            let mut zone = Zone::new(bounds);
            zone.give(bounds);
            let mut free: BTreeSet<u64> = (100..160).collect();
            let mut used = VecDeque::new();
            for (takes, count) in steps {
                let count = u64::from(count % 16);
                if takes {
                    let taken = zone.take(count);
                    let pages: Vec<u64> = taken.iter().copied().flat_map(Extent::pages).collect();
                    assert!(pages.iter().all(|page| free.remove(page)));
                    let is_enough = count <= (free.len() + pages.len()) as u64;
                    assert_eq!(pages.len() as u64, if is_enough { count } else { 0 });
                    used.extend(pages);
                } else {
                    for page in used.drain(..(count as usize).min(used.len())) {
                        zone.give(Extent::new(page, 1));
                        free.insert(page);
                    }
                }
                assert!(zone.free().iter().flat_map(Extent::pages).eq(free.iter().copied()));
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<(bool, u8)>) -> bool);
    }

    /// A hundred branches, of which each commit writes 30 anew, in a zone of four hundred pages.
    #[test]
    fn scattered_branches_go_in_rows() {
        let mut rng = fastrand::Rng::with_seed(1);
        let bounds = Extent::new(0, 400);
        let mut zone = Zone::new(bounds);
        zone.give(bounds);
        let mut branches: Vec<u64> = zone.take(100)[0].pages().collect();
        let (mut rows, mut commits) = (0, 0);
        for commit in 0..500 {
            let taken = zone.take(30);
            rng.shuffle(&mut branches);
            let pages = taken.iter().copied().flat_map(Extent::pages);
            for (branch, page) in branches.iter_mut().zip(pages) {
                zone.give(Extent::new(std::mem::replace(branch, page), 1));
            }
            if commit >= 100 {
                (rows, commits) = (rows + taken.len(), commits + 1);
            }
        }
        println!("{rows} rows in {commits} commits");
        assert!(rows < 2 * commits);
    }
}
