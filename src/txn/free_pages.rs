//! The pages that may be taken: found by place, and in rows by length. To give and to take costs O(log extents).

use std::collections::{BTreeSet, VecDeque};

use super::page_set::PageSet;
use crate::page::space_log::Extent;

pub(crate) struct FreePages {
    pages: PageSet,
    /// The length and the first page of each extent.
    by_count: BTreeSet<(u64, u64)>,
}

impl FreePages {
    /// No pages yet, with room for those of a file; `None` if there is no memory for it.
    pub(crate) fn with_capacity(page_count: u64) -> Option<FreePages> {
        Some(FreePages { pages: PageSet::with_capacity(page_count)?, by_count: BTreeSet::new() })
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.pages.page_count()
    }

    /// The extents in order, of the part from page `from` on.
    pub(crate) fn iter_from(&self, from: u64) -> impl Iterator<Item = Extent> {
        self.pages.iter_from(from)
    }

    /// Adds pages; those that are there already stay.
    pub(crate) fn insert(&mut self, extent: Extent) {
        self.change(extent, |pages| pages.insert(extent));
    }

    /// Removes pages; those that are not there are passed over.
    pub(crate) fn remove(&mut self, extent: Extent) {
        self.change(extent, |pages| pages.remove(extent));
    }

    fn change(&mut self, extent: Extent, change: impl FnOnce(&mut PageSet)) {
        if extent.count == 0 {
            return;
        }
        for before in self.pages.touching(extent) {
            self.by_count.remove(&(before.count, before.first));
        }
        change(&mut self.pages);
        for after in self.pages.touching(extent) {
            self.by_count.insert((after.count, after.first));
        }
    }

    fn take(&mut self, extent: Extent) -> Extent {
        self.remove(extent);
        extent
    }

    /// Takes `count` pages in a row out of the shortest extent that has them.
    pub(crate) fn take_run(&mut self, count: u64) -> Option<Extent> {
        let &(_, first) = self.by_count.range((count, 0)..).next()?;
        Some(self.take(Extent::new(first, count)))
    }

    /// Takes the longest extent.
    pub(crate) fn take_largest(&mut self) -> Option<Extent> {
        let &(count, first) = self.by_count.last()?;
        Some(self.take(Extent::new(first, count)))
    }

    /// The length of the longest extent.
    pub(crate) fn largest(&self) -> u64 {
        self.by_count.last().map_or(0, |&(count, _)| count)
    }

    /// Takes up to `count_max` pages out of the first extent.
    pub(crate) fn take_first(&mut self, count_max: u64) -> Option<Extent> {
        let first = self.iter_from(0).next()?;
        Some(self.take(Extent::new(first.first, first.count.min(count_max))))
    }

    /// Takes the extent that ends at page `end`.
    pub(crate) fn take_ending_at(&mut self, end: u64) -> Option<Extent> {
        let last = self.pages.touching(Extent::new(end, 0)).next().filter(|last| last.end() == end)?;
        Some(self.take(last))
    }

    /// Takes the pages within `bounds`.
    pub(crate) fn take_in(&mut self, bounds: Extent) -> Vec<Extent> {
        let within = self.iter_from(bounds.first).take_while(|extent| extent.first < bounds.end());
        let cut = |extent: Extent| Extent::new(extent.first, extent.count.min(bounds.end() - extent.first));
        let taken = within.map(cut).collect();
        self.remove(bounds);
        taken
    }

    /// The `len` pages in a row of which most are free, and how many those are: where all are, as far in front as possible, so that what is
    /// behind them can be cut off. Looks at every extent.
    pub(crate) fn densest(&self, len: u64) -> (Extent, u64) {
        let mut best = (Extent::new(0, len), 0);
        let mut within = VecDeque::new();
        let mut count = 0;
        // There is one that ends where an extent ends.
        for extent in self.iter_from(0) {
            if extent.count >= len {
                return (Extent::new(extent.first, len), len);
            }
            within.push_back(extent);
            count += extent.count;
            let first = extent.end().saturating_sub(len);
            while within.front().is_some_and(|before: &Extent| before.end() <= first) {
                count -= within.pop_front().map_or(0, |before| before.count);
            }
            let outside = within.front().map_or(0, |straddling| first.saturating_sub(straddling.first));
            if count - outside > best.1 {
                best = (Extent::new(first, len), count - outside);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn agrees_with_a_set_of_pages() {
        fn property(steps: Vec<(u8, u8, u8)>) -> bool {
            let mut free = FreePages::with_capacity(100).expect("memory");
            let mut model = BTreeSet::new();
            for (what, first, count) in steps {
                let extent = Extent::new(u64::from(first), u64::from(count % 9));
                let rows = rows(&model);
                let longest = rows.iter().map(|row| row.count).max().unwrap_or(0);
                let taken = match what % 8 {
                    0..3 => {
                        free.insert(extent);
                        model.extend(extent.pages());
                        None
                    }
                    3 => {
                        free.remove(extent);
                        model.retain(|page| !extent.pages().contains(page));
                        None
                    }
                    4 => {
                        let fits =
                            rows.iter().filter(|row| row.count >= extent.count.max(1)).min_by_key(|row| row.count);
                        let run = free.take_run(extent.count.max(1));
                        assert_eq!(run.map(|run| run.count), fits.map(|_| extent.count.max(1)));
                        assert!(run.is_none_or(|run| {
                            rows.iter()
                                .any(|row| row.first == run.first && Some(row.count) == fits.map(|fits| fits.count))
                        }));
                        run
                    }
                    5 => {
                        let row = free.take_largest();
                        assert_eq!(row.map_or(0, |row| row.count), longest);
                        assert!(row.is_none_or(|row| rows.contains(&row)));
                        row
                    }
                    6 => {
                        let some = free.take_first(extent.count.max(1));
                        let expected =
                            rows.first().map(|row| Extent::new(row.first, row.count.min(extent.count.max(1))));
                        assert_eq!(some, expected);
                        some
                    }
                    _ => {
                        let last = free.take_ending_at(extent.first);
                        assert_eq!(last, rows.iter().find(|row| row.end() == extent.first).copied());
                        last
                    }
                };
                for page in taken.into_iter().flat_map(Extent::pages) {
                    assert!(model.remove(&page));
                }
                let now = self::rows(&model);
                assert!(free.iter_from(0).eq(now.iter().copied()));
                assert_eq!(free.page_count(), model.len() as u64);
                assert_eq!(free.largest(), now.iter().map(|row| row.count).max().unwrap_or(0));
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<(u8, u8, u8)>) -> bool);
    }

    /// The extents of a set of pages.
    fn rows(pages: &BTreeSet<u64>) -> Vec<Extent> {
        let mut rows: Vec<Extent> = Vec::new();
        for &page in pages {
            match rows.last_mut().filter(|row| row.end() == page) {
                Some(row) => row.count += 1,
                None => rows.push(Extent::new(page, 1)),
            }
        }
        rows
    }

    #[test]
    fn the_densest_part_is_found_and_taken() {
        fn property(extents: Vec<(u8, u8)>, len: u8) -> bool {
            let mut free = FreePages::with_capacity(0).expect("memory");
            extents.iter().for_each(|&(first, count)| free.insert(Extent::new(first.into(), (count % 9).into())));
            let model: BTreeSet<u64> = free.iter_from(0).flat_map(Extent::pages).collect();
            let len = 1 + u64::from(len);
            let count_in = |first: u64| model.range(first..first + len).count() as u64;
            let (bounds, count) = free.densest(len);
            assert_eq!((bounds.count, count), (len, count_in(bounds.first)));
            assert_eq!(count, (0..300).map(count_in).max().unwrap_or(0));
            let taken = free.take_in(bounds);
            assert!(taken.into_iter().flat_map(Extent::pages).eq(model.range(bounds.pages()).copied()));
            assert!(
                free.iter_from(0)
                    .flat_map(Extent::pages)
                    .eq(model.iter().copied().filter(|page| !bounds.pages().contains(page)))
            );
            true
        }
        quickcheck::quickcheck(property as fn(Vec<(u8, u8)>, u8) -> bool);
    }

    #[test]
    fn t20_a_run_is_found_quickly_among_a_million_fragments() {
        let mut free = FreePages::with_capacity(3_000_000).expect("memory");
        (0..1_000_000).for_each(|n| free.insert(Extent::new(n * 3, 1 + n % 2)));
        free.insert(Extent::new(5_000_000, 40));
        let start = std::time::Instant::now();
        assert_eq!(free.take_run(33), Some(Extent::new(5_000_000, 33)));
        for _ in 0..1000 {
            assert!(free.take_run(2).is_some());
        }
        assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
    }
}
