//! A set of pages as disjoint extents, found by place and, if asked for, by size. Every operation is O(log extents) for each
//! extent that it touches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::page::space_log::Extent;

#[derive(Default, Clone)]
pub(crate) struct ExtentSet {
    by_first: BTreeMap<u64, u64>,
    /// Kept only by a set that pages are taken from.
    by_count: Option<BTreeSet<(u64, u64)>>,
    page_count: u64,
}

impl ExtentSet {
    /// The same pages, to be taken from.
    pub(crate) fn indexed(mut self) -> ExtentSet {
        self.by_count = Some(self.iter().map(|extent| (extent.count, extent.first)).collect());
        self
    }

    fn by_count(&self) -> &BTreeSet<(u64, u64)> {
        self.by_count.as_ref().expect("a set to take from is indexed")
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.page_count
    }

    /// The extents in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Extent> {
        self.by_first.iter().map(|(&first, &count)| Extent::new(first, count))
    }

    /// The part of the set from page `from` on.
    pub(crate) fn iter_from(&self, from: u64) -> impl Iterator<Item = Extent> {
        let straddling = self.by_first.range(..from).next_back().map(|(&first, &count)| Extent::new(first, count));
        let straddling = straddling.filter(|extent| extent.end() > from);
        let straddling = straddling.map(|extent| Extent::new(from, extent.end() - from));
        let rest = self.by_first.range(from..).map(|(&first, &count)| Extent::new(first, count));
        straddling.into_iter().chain(rest)
    }

    /// The part of the set within `bounds`.
    pub(crate) fn iter_in(&self, bounds: Extent) -> impl Iterator<Item = Extent> {
        let before = move |extent: Extent| {
            let end = extent.end().min(bounds.end());
            (extent.first < end).then(|| Extent::new(extent.first, end - extent.first))
        };
        self.iter_from(bounds.first).map_while(before)
    }

    fn link(&mut self, extent: Extent) {
        self.by_first.insert(extent.first, extent.count);
        if let Some(by_count) = &mut self.by_count {
            by_count.insert((extent.count, extent.first));
        }
        self.page_count += extent.count;
    }

    fn unlink(&mut self, extent: Extent) {
        self.by_first.remove(&extent.first);
        if let Some(by_count) = &mut self.by_count {
            by_count.remove(&(extent.count, extent.first));
        }
        self.page_count -= extent.count;
    }

    /// The last extent that begins before `end`, if it reaches `from` or beyond.
    fn last_reaching(&self, from: u64, end: u64) -> Option<Extent> {
        let (&first, &count) = self.by_first.range(..end).next_back()?;
        (first + count >= from).then_some(Extent::new(first, count))
    }

    /// Adds pages; those that are there already stay.
    pub(crate) fn insert(&mut self, extent: Extent) {
        if extent.count == 0 {
            return;
        }
        let (mut first, mut end) = (extent.first, extent.end());
        // Takes in whatever overlaps or borders on it, from the right.
        while let Some(near) = self.last_reaching(first, end + 1) {
            first = first.min(near.first);
            end = end.max(near.end());
            self.unlink(near);
        }
        self.link(Extent::new(first, end - first));
    }

    /// Removes pages; those that are not there are passed over.
    pub(crate) fn remove(&mut self, extent: Extent) {
        if extent.count == 0 {
            return;
        }
        while let Some(near) = self.last_reaching(extent.first + 1, extent.end()) {
            self.unlink(near);
            if near.end() > extent.end() {
                self.link(Extent::new(extent.end(), near.end() - extent.end()));
            }
            if near.first < extent.first {
                self.link(Extent::new(near.first, extent.first - near.first));
            }
        }
    }

    /// Whether any of these pages is in the set.
    pub(crate) fn overlaps(&self, extent: Extent) -> bool {
        extent.count > 0 && self.last_reaching(extent.first + 1, extent.end()).is_some()
    }

    /// Whether all of these pages are in the set.
    pub(crate) fn contains(&self, extent: Extent) -> bool {
        let near = self.by_first.range(..=extent.first).next_back();
        near.is_some_and(|(&first, &count)| first + count >= extent.end())
    }

    /// Takes `count` pages in a row out of the smallest extent that has them.
    pub(crate) fn take_run(&mut self, count: u64) -> Option<Extent> {
        let &(has, first) = self.by_count().range((count, 0)..).next()?;
        self.unlink(Extent::new(first, has));
        if has > count {
            self.link(Extent::new(first + count, has - count));
        }
        Some(Extent::new(first, count))
    }

    /// Takes the pages within `bounds`.
    pub(crate) fn take_in(&mut self, bounds: Extent) -> Vec<Extent> {
        let taken = self.iter_in(bounds).collect();
        self.remove(bounds);
        taken
    }

    /// The `len` pages in a row of which most are in the set, and how many those are. Looks at every extent.
    pub(crate) fn densest(&self, len: u64) -> (Extent, u64) {
        let mut best = (Extent::new(0, len), 0);
        let mut within = VecDeque::new();
        let mut count = 0;
        // There is one that ends where an extent ends.
        for extent in self.iter() {
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

    /// Takes the largest extent.
    pub(crate) fn take_largest(&mut self) -> Option<Extent> {
        let &(count, first) = self.by_count().last()?;
        let extent = Extent::new(first, count);
        self.unlink(extent);
        Some(extent)
    }

    /// The length of the largest extent.
    pub(crate) fn largest(&self) -> u64 {
        self.by_count().last().map_or(0, |&(count, _)| count)
    }

    /// Takes up to `count_max` pages out of the first extent.
    pub(crate) fn take_first(&mut self, count_max: u64) -> Option<Extent> {
        let (&first, &has) = self.by_first.first_key_value()?;
        let taken = Extent::new(first, has.min(count_max));
        self.remove(taken);
        Some(taken)
    }

    /// Takes the extent that ends at page `end`.
    pub(crate) fn take_ending_at(&mut self, end: u64) -> Option<Extent> {
        let last = self.last_reaching(end, end)?;
        self.unlink(last);
        Some(last)
    }
}

impl FromIterator<Extent> for ExtentSet {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> ExtentSet {
        let mut set = ExtentSet::default();
        extents.into_iter().for_each(|extent| set.insert(extent));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn agrees_with_a_set_of_pages() {
        fn property(steps: Vec<(u8, u8, u8)>) -> bool {
            let mut set = ExtentSet::default().indexed();
            let mut model = BTreeSet::new();
            for (what, first, count) in steps {
                let extent = Extent::new(u64::from(first), u64::from(count % 9));
                let pages = || extent.first..extent.end();
                assert_eq!(set.overlaps(extent), pages().any(|page| model.contains(&page)));
                if extent.count > 0 {
                    assert_eq!(set.contains(extent), pages().all(|page| model.contains(&page)));
                }
                match what % 7 {
                    0 | 1 => {
                        set.insert(extent);
                        model.extend(pages());
                    }
                    2 => {
                        set.remove(extent);
                        model.retain(|page| !pages().contains(page));
                    }
                    3 if extent.count > 0 => {
                        if let Some(run) = set.take_run(extent.count) {
                            assert_eq!(run.count, extent.count);
                            (run.first..run.end()).for_each(|page| assert!(model.remove(&page)));
                        }
                    }
                    4 if extent.count > 0 => {
                        let lowest: Vec<u64> = model.iter().copied().take(1).collect();
                        let first = set.take_first(extent.count);
                        assert_eq!(first.map(|first| first.first), lowest.first().copied());
                        for page in first.into_iter().flat_map(|first| first.first..first.end()) {
                            assert!(model.remove(&page));
                        }
                    }
                    5 => {
                        let taken = set.take_in(extent);
                        for page in taken.into_iter().flat_map(Extent::pages) {
                            assert!(pages().contains(&page) && model.remove(&page));
                        }
                        assert!(!pages().any(|page| model.contains(&page)));
                    }
                    _ => {
                        let last = set.iter().next_back();
                        if let Some(last) = last {
                            assert_eq!(set.take_ending_at(last.end()), Some(last));
                            (last.first..last.end()).for_each(|page| assert!(model.remove(&page)));
                        }
                    }
                }
                let pages: Vec<u64> = set.iter().flat_map(Extent::pages).collect();
                assert!(pages.iter().eq(model.iter()));
                assert_eq!(set.page_count(), model.len() as u64);
                let ends: Vec<_> = set.iter().collect();
                assert!(ends.windows(2).all(|pair| pair[0].end() < pair[1].first), "extents border on each other");
                let len = 1 + u64::from(count);
                let count_in = |first: u64| model.range(first..first + len).count() as u64;
                let (bounds, has) = set.densest(len);
                assert_eq!((bounds.count, has), (len, count_in(bounds.first)));
                assert_eq!(has, (0..300).map(count_in).max().unwrap());
                let from = u64::from(first);
                assert!(set.iter_from(from).flat_map(Extent::pages).eq(model.range(from..).copied()));
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<(u8, u8, u8)>) -> bool);
    }

    #[test]
    fn t20_a_run_is_found_quickly_among_a_million_fragments() {
        let mut set: ExtentSet = (0..1_000_000).map(|n| Extent::new(n * 3, 1 + n % 2)).collect();
        set = set.indexed();
        set.insert(Extent::new(5_000_000, 40));
        let start = std::time::Instant::now();
        assert_eq!(set.take_run(33), Some(Extent::new(5_000_000, 33)));
        for _ in 0..1000 {
            assert!(set.take_run(2).is_some());
        }
        assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
    }
}
