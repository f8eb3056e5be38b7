//! Ranges: which bounds there are, and the double-ended iterator between two of them.

use std::ops::{self, Bound};

use super::cursor::Cursor;
use super::{Entry, Pages, Tree};
use crate::error::Result;

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

/// An iterator over the entries between two cursors.
///
/// `front` stands at the next entry to yield, or, once `front_yielded`, at the one last yielded. `back` stands behind
/// the last entry to yield. A side without a bound gets its cursor when it is first used.
pub(crate) struct Range<'p, P> {
    pages: P,
    tree: Tree,
    front: Option<Cursor<'p, P>>,
    front_yielded: bool,
    back: Option<Cursor<'p, P>>,
    done: bool,
}

impl<'p, P: Pages<'p>> Range<'p, P> {
    pub(crate) fn new(pages: P, tree: Tree, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Range<'p, P>> {
        let mut range = Range { pages, tree, front: None, front_yielded: false, back: None, done: is_empty(bounds) };
        if range.done {
            return Ok(range);
        }
        range.front = range.seek(bounds.0, false)?;
        range.back = range.seek(bounds.1, true)?;
        Ok(range)
    }

    /// An iterator that yields nothing.
    pub(crate) fn empty(pages: P) -> Range<'p, P> {
        Range { pages, tree: Tree::EMPTY, front: None, front_yielded: false, back: None, done: true }
    }

    /// The cursor at the first entry inside a start bound, or behind an end bound.
    fn seek(&self, bound: Bound<&[u8]>, is_end: bool) -> Result<Option<Cursor<'p, P>>> {
        let (key, included) = match bound {
            Bound::Unbounded => return Ok(None),
            Bound::Included(key) => (key, true),
            Bound::Excluded(key) => (key, false),
        };
        let mut cursor = Cursor::new(self.pages, self.tree);
        cursor.seek(key, included == is_end)?;
        Ok(Some(cursor))
    }

    /// Stops for good and passes the result on: after an error there is nothing more.
    #[cold]
    fn finish(&mut self, result: Result<Option<Entry<'p>>>) -> Option<Result<Entry<'p>>> {
        self.done = true;
        result.transpose()
    }

    fn step_front(&mut self) -> Result<Option<Entry<'p>>> {
        let front = self.front.get_or_insert_with(|| Cursor::new(self.pages, self.tree));
        if self.front_yielded || !front.is_at_entry() {
            front.next()?;
        }
        self.front_yielded = true;
        if self.back.as_ref().is_some_and(|back| back.is_at(front)) {
            return Ok(None);
        }
        front.entry()
    }

    fn step_back(&mut self) -> Result<Option<Entry<'p>>> {
        let back = self.back.get_or_insert_with(|| {
            let mut cursor = Cursor::new(self.pages, self.tree);
            cursor.end();
            cursor
        });
        // Before the step `back` may stand at a front that is yet to yield; after it, at one that has.
        let meets = |back: &Cursor<'p, P>| self.front.as_ref().is_some_and(|front| front.is_at(back));
        if !self.front_yielded && meets(back) {
            return Ok(None);
        }
        back.prev()?;
        if self.front_yielded && meets(back) {
            return Ok(None);
        }
        back.entry()
    }
}

impl<'p, P: Pages<'p>> Iterator for Range<'p, P> {
    type Item = Result<Entry<'p>>;

    #[inline]
    fn next(&mut self) -> Option<Result<Entry<'p>>> {
        if self.done {
            return None;
        }
        match self.step_front() {
            Ok(Some(entry)) => Some(Ok(entry)),
            end => self.finish(end),
        }
    }
}

impl<'p, P: Pages<'p>> DoubleEndedIterator for Range<'p, P> {
    #[inline]
    fn next_back(&mut self) -> Option<Result<Entry<'p>>> {
        if self.done {
            return None;
        }
        match self.step_back() {
            Ok(Some(entry)) => Some(Ok(entry)),
            end => self.finish(end),
        }
    }
}
