//! Ranges: which bounds there are, and the double-ended iterator between two of them.

use std::ops::{self, Bound};

use super::leaves::Leaves;
use super::{Entry, Pages, Tree};
use crate::error::{Error, Result};
use crate::page::leaf::{Entries, Value};

/// A range of keys: `..`, `a..`, `a..b`, `a..=b`, `..b`, `..=b`, or a pair of [`Bound`]s.
///
/// A range whose start lies behind its end is empty.
pub trait KeyRange {
    /// The two bounds.
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>);
}

impl KeyRange for ops::RangeFull {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Unbounded, Bound::Unbounded)
    }
}

impl<K: AsRef<[u8]>> KeyRange for ops::Range<K> {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Included(self.start.as_ref()), Bound::Excluded(self.end.as_ref()))
    }
}

impl<K: AsRef<[u8]>> KeyRange for ops::RangeInclusive<K> {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Included(self.start().as_ref()), Bound::Included(self.end().as_ref()))
    }
}

impl<K: AsRef<[u8]>> KeyRange for ops::RangeFrom<K> {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Included(self.start.as_ref()), Bound::Unbounded)
    }
}

impl<K: AsRef<[u8]>> KeyRange for ops::RangeTo<K> {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Unbounded, Bound::Excluded(self.end.as_ref()))
    }
}

impl<K: AsRef<[u8]>> KeyRange for ops::RangeToInclusive<K> {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Unbounded, Bound::Included(self.end.as_ref()))
    }
}

impl<K: AsRef<[u8]>> KeyRange for (Bound<K>, Bound<K>) {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.0.as_ref().map(AsRef::as_ref), self.1.as_ref().map(AsRef::as_ref))
    }
}

/// Whether no key can lie between the bounds.
pub(crate) fn is_empty((start, end): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match (start, end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
    }
}

/// The first key that does not begin with `prefix` and lies behind those that do: `None` if there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// How far a range has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There may be leaves between its two ends.
    Apart,
    /// Both ends are in one leaf: what is left is one run, which is in the hands of either.
    Met,
    Done,
}

/// An iterator over the entries between two places.
///
/// `front` and `back` hold what is left of the leaves that the two ends have come to, and nearly all that `next` does is to take an entry
/// from there. `first` and `last` are the walks that fetch the next leaf. A side without a bound begins its walk when it is first used.
pub(crate) struct Range<'p, P> {
    front: Entries<'p>,
    back: Entries<'p>,
    pages: P,
    tree: Tree,
    first: Option<Leaves<'p, P>>,
    last: Option<Leaves<'p, P>>,
    progress: Progress,
    /// Why there is no first entry, until it is told.
    error: Option<Error>,
}

impl<'p, P: Pages<'p>> Range<'p, P> {
    /// What goes wrong at the start is what the first step answers.
    pub(crate) fn new(pages: P, tree: Tree, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Range<'p, P> {
        let mut range = Range {
            front: Entries::default(),
            back: Entries::default(),
            pages,
            tree,
            first: None,
            last: None,
            progress: Progress::Apart,
            error: None,
        };
        if tree.depth == 0 || is_empty(bounds) {
            range.progress = Progress::Done;
        } else {
            range.error = range.seek(bounds).err();
            if range.error.is_some() {
                range.drop_runs();
            }
        }
        range
    }

    fn seek(&mut self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<()> {
        let (mut start, mut end) = (0, 0);
        if let Some((key, after)) = place(bounds.0, false) {
            let leaves = self.first.insert(Leaves::new(self.pages, self.tree));
            if let Some(leaf) = leaves.seek(key)? {
                let near = leaf.near(key);
                leaves.prefetch_from(near)?;
                start = leaf.bound_near(near, key, after)?;
                self.front = leaf.entries(start..leaf.len())?;
            }
        }
        if let Some((key, after)) = place(bounds.1, true) {
            let leaves = self.last.insert(Leaves::new(self.pages, self.tree));
            if let Some(leaf) = leaves.seek(key)? {
                end = leaf.bound(key, after)?;
                self.back = leaf.entries(0..end)?;
            }
        }
        if let (Some(first), Some(last)) = (&self.first, &self.last)
            && first.is_at(last)
        {
            self.progress = Progress::Met;
            self.front = first.leaf().map(|leaf| leaf.entries(start..end)).transpose()?.unwrap_or_default();
            self.back = Entries::default();
        }
        Ok(())
    }

    /// Goes on, with one end that has nothing left, to the leaf where there is more. Answers false, for good, where there is none.
    #[inline(never)]
    fn refill(&mut self, forward: bool) -> Result<bool> {
        let found = match self.error.take() {
            Some(error) => Err(error),
            None => self.find(forward),
        };
        if !matches!(found, Ok(true)) {
            self.progress = Progress::Done;
            self.drop_runs();
        }
        found
    }

    fn drop_runs(&mut self) {
        (self.front, self.back) = (Entries::default(), Entries::default());
    }

    fn find(&mut self, forward: bool) -> Result<bool> {
        if self.progress == Progress::Done {
            return Ok(false);
        }
        if self.progress == Progress::Apart {
            let (own, other) = if forward { (&mut self.first, &self.last) } else { (&mut self.last, &self.first) };
            let own = own.get_or_insert_with(|| {
                let mut leaves = Leaves::new(self.pages, self.tree);
                leaves.leave(!forward);
                leaves
            });
            let Some(leaf) = own.step(forward)? else { return Ok(false) };
            if !other.as_ref().is_some_and(|other| own.is_at(other)) {
                *(if forward { &mut self.front } else { &mut self.back }) = leaf.entries(0..leaf.len())?;
                return Ok(true);
            }
            self.progress = Progress::Met;
        }
        // What the other end has not taken.
        std::mem::swap(&mut self.front, &mut self.back);
        Ok(!(if forward { &self.front } else { &self.back }).is_empty())
    }

    #[inline]
    fn lend(&self, (key, value): (&'p [u8], Value<'p>)) -> Result<Entry<'p>> {
        Ok((key, self.pages.lend(value)?))
    }

    /// After an error there is nothing more.
    #[cold]
    fn fail(&mut self, error: Error) -> Option<Result<Entry<'p>>> {
        self.progress = Progress::Done;
        self.drop_runs();
        Some(Err(error))
    }
}

/// The key of a bound, and whether the place that it means is behind that key's entry.
fn place(bound: Bound<&[u8]>, is_end: bool) -> Option<(&[u8], bool)> {
    match bound {
        Bound::Unbounded => None,
        Bound::Included(key) => Some((key, is_end)),
        Bound::Excluded(key) => Some((key, !is_end)),
    }
}

impl<'p, P: Pages<'p>> Iterator for Range<'p, P> {
    type Item = Result<Entry<'p>>;

    #[inline]
    fn next(&mut self) -> Option<Result<Entry<'p>>> {
        loop {
            if let Some(entry) = self.front.next() {
                return match entry.map_err(Error::from).and_then(|entry| self.lend(entry)) {
                    Ok(entry) => Some(Ok(entry)),
                    Err(error) => self.fail(error),
                };
            }
            match self.refill(true) {
                Ok(true) => {}
                end => return end.err().map(Err),
            }
        }
    }
}

impl<'p, P: Pages<'p>> DoubleEndedIterator for Range<'p, P> {
    #[inline]
    fn next_back(&mut self) -> Option<Result<Entry<'p>>> {
        loop {
            if let Some(entry) = self.back.next_back() {
                return match entry.map_err(Error::from).and_then(|entry| self.lend(entry)) {
                    Ok(entry) => Some(Ok(entry)),
                    Err(error) => self.fail(error),
                };
            }
            match self.refill(false) {
                Ok(true) => {}
                end => return end.err().map(Err),
            }
        }
    }
}
