//! A set of pages as disjoint extents, for sets that are small beside the file. Every operation is O(log extents) for each extent
//! that it touches.

use std::collections::BTreeMap;

use crate::page::space_log::Extent;

#[derive(Default, Clone)]
pub(crate) struct ExtentSet {
    by_first: BTreeMap<u64, u64>,
    page_count: u64,
}

impl ExtentSet {
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
        self.page_count += extent.count;
    }

    fn unlink(&mut self, extent: Extent) {
        self.by_first.remove(&extent.first);
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

    /// Takes up to `count_max` pages out of the first extent.
    pub(crate) fn take_first(&mut self, count_max: u64) -> Option<Extent> {
        let (&first, &has) = self.by_first.first_key_value()?;
        let taken = Extent::new(first, has.min(count_max));
        self.remove(taken);
        Some(taken)
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
            let mut set = ExtentSet::default();
            let mut model = BTreeSet::new();
            for (what, first, count) in steps {
                let extent = Extent::new(u64::from(first), u64::from(count % 9));
                let pages = || extent.first..extent.end();
                assert_eq!(set.overlaps(extent), pages().any(|page| model.contains(&page)));
                if extent.count > 0 {
                    assert_eq!(set.contains(extent), pages().all(|page| model.contains(&page)));
                }
                match what % 4 {
                    0 | 1 => {
                        set.insert(extent);
                        model.extend(pages());
                    }
                    2 => {
                        set.remove(extent);
                        model.retain(|page| !pages().contains(page));
                    }
                    _ if extent.count > 0 => {
                        let lowest: Vec<u64> = model.iter().copied().take(1).collect();
                        let first = set.take_first(extent.count);
                        assert_eq!(first.map(|first| first.first), lowest.first().copied());
                        for page in first.into_iter().flat_map(|first| first.first..first.end()) {
                            assert!(model.remove(&page));
                        }
                    }
                    _ => {}
                }
                let pages: Vec<u64> = set.iter().flat_map(Extent::pages).collect();
                assert!(pages.iter().eq(model.iter()));
                assert_eq!(set.page_count(), model.len() as u64);
                let ends: Vec<_> = set.iter().collect();
                assert!(ends.windows(2).all(|pair| pair[0].end() < pair[1].first), "extents border on each other");
                let from = u64::from(first);
                assert!(set.iter_from(from).flat_map(Extent::pages).eq(model.range(from..).copied()));
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<(u8, u8, u8)>) -> bool);
    }
}
