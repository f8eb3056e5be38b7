//! A set of pages as a bit for each: for those that every commit asks and changes in a hundred places, far apart. There a tree of
//! extents takes ten times as long. A second row of bits says which words of the first are not zero, so that a large file that has few free
//! pages is gone through quickly. It takes 32 KiB of memory for each GiB of file, where there are free pages.

use std::ops::Range;

use zerocopy::FromZeros;

use crate::page::space_log::Extent;

#[derive(Default)]
pub(crate) struct PageSet {
    words: Vec<u64>,
    /// Which words are not zero.
    summary: Vec<u64>,
    extent_count: usize,
    page_count: u64,
}

impl PageSet {
    /// A set with room for so many pages; `None` if there is no memory for it.
    pub(crate) fn with_capacity(page_count: u64) -> Option<PageSet> {
        let count = usize::try_from(page_count).ok()?.div_ceil(64);
        // Not touched before it is used.
        let zeroed = |count| u64::new_vec_zeroed(count).ok();
        Some(PageSet { words: zeroed(count)?, summary: zeroed(count.div_ceil(64))?, extent_count: 0, page_count: 0 })
    }

    /// How many extents the pages make up.
    pub(crate) fn extent_count(&self) -> usize {
        self.extent_count
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.page_count
    }

    /// Adds pages; those that are there already stay.
    pub(crate) fn insert(&mut self, extent: Extent) {
        let len = extent.end().div_ceil(64) as usize;
        if len > self.words.len() {
            self.words.resize(len.next_power_of_two(), 0);
            self.summary.resize(self.words.len().div_ceil(64), 0);
        }
        self.change(extent, |word, mask| word | mask);
    }

    /// Removes pages; those that are not there are passed over.
    pub(crate) fn remove(&mut self, extent: Extent) {
        let end = extent.end().min(self.words.len() as u64 * 64);
        self.change(Extent::new(extent.first, end.saturating_sub(extent.first)), |word, mask| word & !mask);
    }

    fn change(&mut self, extent: Extent, change: impl Fn(u64, u64) -> u64) {
        // What begins before the pages, or right after them, may come to be one with them, or two.
        let around = extent.first..extent.end() + 1;
        self.extent_count -= self.starts(around.clone());
        for (at, mask) in masks(extent.pages()) {
            let before = self.words[at];
            self.words[at] = change(before, mask);
            self.page_count -= u64::from(before.count_ones());
            self.page_count += u64::from(self.words[at].count_ones());
            let is_empty = self.words[at] == 0;
            self.summary[at / 64] = self.summary[at / 64] & !(1 << (at % 64)) | u64::from(!is_empty) << (at % 64);
        }
        self.extent_count += self.starts(around);
    }

    /// How many extents begin within these pages.
    fn starts(&self, pages: Range<u64>) -> usize {
        let starts = masks(pages).map(|(at, mask)| {
            let before = at.checked_sub(1).map_or(0, |before| self.word(before));
            let word = self.word(at);
            (word & !(word << 1 | before >> 63) & mask).count_ones() as usize
        });
        starts.sum()
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }

    /// Whether any of these pages is in the set.
    pub(crate) fn overlaps(&self, extent: Extent) -> bool {
        masks(extent.pages()).any(|(at, mask)| self.word(at) & mask != 0)
    }

    /// The extents in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Extent> {
        self.iter_from(0)
    }

    /// The part of the set from page `from` on.
    pub(crate) fn iter_from(&self, from: u64) -> impl Iterator<Item = Extent> {
        self.starting_in(from..u64::MAX)
    }

    /// The extents that begin within these pages, or the parts of extents.
    fn starting_in(&self, mut pages: Range<u64>) -> impl Iterator<Item = Extent> {
        std::iter::from_fn(move || {
            let first = self.first_in(pages.clone())?;
            pages.start = self.end_from(first);
            Some(Extent::new(first, pages.start - first))
        })
    }

    /// The extents that have some of these pages, or border on them.
    pub(crate) fn touching(&self, extent: Extent) -> impl Iterator<Item = Extent> {
        self.starting_in(self.start_from(extent.first)..extent.end() + 1)
    }

    /// The first of the pages in a row that end right before page `end`; `end` itself if there are none.
    fn start_from(&self, end: u64) -> u64 {
        let Some(last) = end.checked_sub(1) else { return end };
        let mut at = word_of(last);
        let mut missing = !self.word(at) & u64::MAX >> (63 - last % 64);
        while missing == 0 {
            match at.checked_sub(1) {
                Some(before) => at = before,
                None => return 0,
            }
            missing = !self.word(at);
        }
        at as u64 * 64 + 64 - u64::from(missing.leading_zeros())
    }

    /// The first of these pages that is in the set.
    fn first_in(&self, pages: Range<u64>) -> Option<u64> {
        let at = word_of(pages.start);
        let rest = self.word(at) & u64::MAX << (pages.start % 64);
        let first = if rest != 0 { Some(first_bit(at, rest)) } else { self.first_after(at, pages.end) };
        first.filter(|first| pages.contains(first))
    }

    /// The first page of the set after word `at`. It need not be found if it is not before page `end`.
    fn first_after(&self, at: usize, end: u64) -> Option<u64> {
        let (next, end) = (at + 1, word_of(end) + 1);
        let summary = self.summary.get(next / 64..self.summary.len().min(end.div_ceil(64)))?;
        let unseen = u64::MAX << (next % 64);
        let masked = summary.iter().zip([unseen].into_iter().chain(std::iter::repeat(u64::MAX)));
        let (at, word) = (next / 64..).zip(masked.map(|(word, mask)| word & mask)).find(|(_, word)| *word != 0)?;
        let at = first_bit(at, word) as usize;
        Some(first_bit(at, self.words[at]))
    }

    /// The first page from page `from` on that is not in the set.
    fn end_from(&self, from: u64) -> u64 {
        let mut at = word_of(from);
        let mut missing = !self.word(at) & u64::MAX << (from % 64);
        while missing == 0 {
            at += 1;
            missing = !self.word(at);
        }
        first_bit(at, missing)
    }
}

fn word_of(page: u64) -> usize {
    (page / 64) as usize
}

/// The page of the first bit of a word.
fn first_bit(at: usize, word: u64) -> u64 {
    at as u64 * 64 + u64::from(word.trailing_zeros())
}

/// Pages as words, and which bits of them.
fn masks(pages: Range<u64>) -> impl Iterator<Item = (usize, u64)> {
    let words = if pages.is_empty() { 0..0 } else { word_of(pages.start)..word_of(pages.end - 1) + 1 };
    words.map(move |at| {
        let from = pages.start.saturating_sub(at as u64 * 64);
        let to = (pages.end - at as u64 * 64).min(64);
        (at, u64::MAX << from & u64::MAX >> (64 - to))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// It is asked for memory where there may be none, and once only.
    #[test]
    fn a_set_of_the_pages_that_it_has_room_for_takes_no_more_memory() {
        for page_count in [64, 100, 128, 4096, 6400] {
            let mut set = PageSet::with_capacity(page_count).expect("memory");
            let capacity = set.words.capacity();
            set.insert(Extent::new(16, page_count - 16));
            assert_eq!(set.words.capacity(), capacity, "{page_count} pages");
        }
    }

    #[test]
    fn agrees_with_a_set_of_pages() {
        fn property(steps: Vec<(bool, u16, u8)>) -> bool {
            let mut set = PageSet::with_capacity(100).expect("memory");
            let mut model = BTreeSet::new();
            for (inserts, first, count) in steps {
                let first = u64::from(first % 9000);
                let count = if count < 128 { u64::from(count % 5) } else { u64::from(count) };
                let extent = Extent::new(first, count);
                assert_eq!(set.overlaps(extent), extent.pages().any(|page| model.contains(&page)));
                if inserts {
                    set.insert(extent);
                    model.extend(extent.pages());
                } else {
                    set.remove(extent);
                    model.retain(|page| !extent.pages().contains(page));
                }
                assert!(set.iter().flat_map(Extent::pages).eq(model.iter().copied()));
                assert!(set.iter_from(first).flat_map(Extent::pages).eq(model.range(first..).copied()));
                let extents: Vec<Extent> = set.iter().collect();
                assert!(extents.windows(2).all(|pair| pair[0].end() < pair[1].first), "extents border on each other");
                assert_eq!((set.extent_count(), set.page_count()), (extents.len(), model.len() as u64));
                let touching = |near: &&Extent| near.end() >= extent.first && near.first <= extent.end();
                assert!(set.touching(extent).eq(extents.iter().filter(touching).copied()));
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<(bool, u16, u8)>) -> bool);
    }
}
