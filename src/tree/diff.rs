//! What differs between two trees: the entries that only one of them has, and those with another value. Called by `diff`.
//!
//! Two sides walk in step, in the order of keys. Whenever both stand at the start of the same page, both pass over it and all that
//! lies below; over the highest such page, and over what follows it in both parents alike. So it does not matter where in its tree a
//! page is: depths may differ, separators move, leaves split and merge.
//!
//! # Why the number of a page is enough
//!
//! The caller sees to it that a number means the same bytes on both sides, as it does for two snapshots of one database that are both
//! pinned. The older one has been current or pinned ever since it was published, and a page that such a snapshot can reach is never
//! written. So its pages have kept their bytes up to now. If the newer tree has a page of the same number, then it has those bytes, and
//! with them the same birth: there is no need to compare it. The numbers in these bytes are those of pages that the older
//! snapshot reaches too, so the same holds all the way down; and for a large value, of which the reference says where it lies. The
//! dirty pages of a transaction have numbers that no clean page has.
//!
//! # Why few pages are looked at
//!
//! A page is shared if both trees have it, else private. What lies below a shared page is shared. A private page was made by a
//! change; a change makes one for each level, and a few where it splits or merges. Each private page is opened once.
//!
//! Two leaves with a key in common are the same leaf or both private, since a tree has a key once. So no shared leaf is walked: when one
//! side has come to the start of it, then the other side, which has its first key too, comes there by passing that key. The way
//! down to that first key may have been opened too early, by the side that came first. That happens at most once for each end of a
//! private leaf and for each run of pages that was passed over beside a change, and costs the depth of the tree.
//!
//! # Forged trees
//!
//! A tree that shares its pages with itself has more ways than pages. On each side the separators that are passed on the way down must
//! ascend, and the keys of a leaf must lie behind them: so it is noticed before it is walked as often as it has ways.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Bound;

use super::range::is_empty;
use super::{Pages, Tree};
use crate::error::{Error, Result};
use crate::page::PageNo;
use crate::page::branch::Branch;
use crate::page::leaf::{Leaf, Value};

/// A key and what each tree has for it. At least one has something, and they are not the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference<'p> {
    pub(crate) key: &'p [u8],
    pub(crate) old: Option<Value<'p>>,
    pub(crate) new: Option<Value<'p>>,
}

/// An iterator over the differences between two trees inside a range of keys, in key order. It ends after an error.
pub(crate) struct Diff<'p, P> {
    old: Side<'p, P>,
    new: Side<'p, P>,
    bounds: Bounds,
    is_done: bool,
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

impl<'p, P: Pages<'p>> Diff<'p, P> {
    pub(crate) fn new(
        old_pages: P,
        old_tree: Tree,
        new_pages: P,
        new_tree: Tree,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Diff<'p, P> {
        Diff {
            old: Side::new(old_pages, old_tree),
            new: Side::new(new_pages, new_tree),
            is_done: is_empty(bounds),
            bounds: (bounds.0.map(<[u8]>::to_vec), bounds.1.map(<[u8]>::to_vec)),
        }
    }

    fn find_next(&mut self) -> Result<Option<Difference<'p>>> {
        loop {
            if self.skip_shared()? || self.open()? {
                continue;
            }
            let (old, new) = (self.old.entry(&self.bounds.1)?, self.new.entry(&self.bounds.1)?);
            let order = match (old, new) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let old = old.filter(|_| order.is_le()).inspect(|_| self.old.pass_entry());
            let new = new.filter(|_| order.is_ge()).inspect(|_| self.new.pass_entry());
            if let (Some((_, old)), Some((_, new))) = (old, new)
                && self.is_same(old, new)?
            {
                continue;
            }
            let key = old.or(new).map(|(key, _)| key);
            let value = |(_, value)| value;
            return Ok(key.map(|key| Difference { key, old: old.map(value), new: new.map(value) }));
        }
    }

    /// If both sides stand at the start of a page that both trees have, moves both behind it, and behind what follows it in both.
    fn skip_shared(&mut self) -> Result<bool> {
        let (old, new) = (self.old.starts()?, self.new.starts()?);
        let low = old.lowest.max(new.lowest);
        let shared = old.from(low).zip(new.from(low)).take_while(|(old, new)| old == new).count();
        if shared == 0 {
            return Ok(false);
        }
        let highest = low + shared - 1;
        let parents = (self.old.close(highest), self.new.close(highest));
        let run = match parents {
            (Some(old), Some(new)) => old.view.shared_run(old.slot, &new.view, new.slot),
            _ => 1,
        };
        self.old.pass_children(run);
        self.new.pass_children(run);
        Ok(true)
    }

    /// Opens the page that a side stands before, on the side where it is higher up, or both. False if there is none.
    fn open(&mut self) -> Result<bool> {
        let levels = (self.old.closed_level(), self.new.closed_level());
        let Some(highest) = levels.0.max(levels.1) else { return Ok(false) };
        if levels.0 == Some(highest) {
            self.old.open(&self.bounds)?;
        }
        if levels.1 == Some(highest) {
            self.new.open(&self.bounds)?;
        }
        Ok(true)
    }

    /// Whether two values of a key have the same bytes. They are looked at only where nothing else tells.
    fn is_same(&self, old: Value<'p>, new: Value<'p>) -> Result<bool> {
        match (old, new) {
            (Value::Inline(old), Value::Inline(new)) => Ok(old == new),
            (Value::Large(old), Value::Large(new)) if old == new => Ok(true),
            (Value::Large(old), Value::Large(new)) if old.checksum() != new.checksum() => Ok(false),
            _ if value_len(old) != value_len(new) => Ok(false),
            _ => Ok(self.old.pages.lend(old)? == self.new.pages.lend(new)?),
        }
    }
}

impl<'p, P: Pages<'p>> Iterator for Diff<'p, P> {
    type Item = Result<Difference<'p>>;

    fn next(&mut self) -> Option<Result<Difference<'p>>> {
        if self.is_done {
            return None;
        }
        let next = self.find_next();
        self.is_done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

fn value_len(value: Value<'_>) -> u64 {
    match value {
        Value::Inline(bytes) => bytes.len() as u64,
        Value::Large(large) => large.len(),
    }
}

/// A place between two keys: in front of a key, or behind it.
pub(crate) type Place<'a> = (&'a [u8], bool);

/// Places in the order of keys, at some of which differences matter.
pub(crate) trait Places {
    /// The first place, not before `from`, at which they do.
    fn next<'a>(&'a self, from: Place<'a>) -> Option<Place<'a>>;
}

/// The differences at some places alone.
///
/// Costs about as much as the fewer of both: where there are few places the walk begins anew at each, and where there are few differences,
/// it is they that lead to the next place.
pub(crate) struct DiffAt<'a, 'p, P, S> {
    sides: [(P, Tree); 2],
    places: &'a S,
    /// The next difference that matters is not before this place; `None` at the end.
    next: Option<(Vec<u8>, bool)>,
    diff: Option<Diff<'p, P>>,
}

/// So many differences in a row that do not matter are passed over before the walk begins anew at the place where one may.
const PASSED_MAX: usize = 8;

impl<'a, 'p, P: Pages<'p>, S: Places> DiffAt<'a, 'p, P, S> {
    pub(crate) fn new(old: (P, Tree), new: (P, Tree), places: &'a S) -> DiffAt<'a, 'p, P, S> {
        let next = places.next((&[], false)).map(|(key, is_behind)| (key.to_vec(), is_behind));
        DiffAt { sides: [old, new], places, next, diff: None }
    }

    fn find_next(&mut self) -> Result<Option<Difference<'p>>> {
        let [(old_pages, old), (new_pages, new)] = self.sides;
        let mut passed = 0;
        while let Some((key, is_behind)) = &self.next {
            let diff = self.diff.get_or_insert_with(|| {
                let start = if *is_behind { Bound::Excluded(&key[..]) } else { Bound::Included(&key[..]) };
                Diff::new(old_pages, old, new_pages, new, (start, Bound::Unbounded))
            });
            let Some(found) = diff.next().transpose()? else { break };
            let place = (found.key, false);
            if place < (&key[..], *is_behind) {
                passed += 1;
                if passed == PASSED_MAX {
                    (self.diff, passed) = (None, 0);
                }
                continue;
            }
            passed = 0;
            let next = self.places.next(place).map(|(key, is_behind)| (key.to_vec(), is_behind));
            let matters = next.as_ref().is_some_and(|(key, is_behind)| (&key[..], *is_behind) == place);
            self.next = next.map(|(key, is_behind)| (key, is_behind || matters));
            if matters {
                return Ok(Some(found));
            }
        }
        self.next = None;
        Ok(None)
    }
}

impl<'p, P: Pages<'p>, S: Places> Iterator for DiffAt<'_, 'p, P, S> {
    type Item = Result<Difference<'p>>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.find_next();
        if next.is_err() {
            self.next = None;
        }
        next.transpose()
    }
}

/// Whether a key lies behind the end of the range.
fn is_behind(key: &[u8], end: &Bound<Vec<u8>>) -> bool {
    match end {
        Bound::Unbounded => false,
        Bound::Included(end) => key > &end[..],
        Bound::Excluded(end) => key >= &end[..],
    }
}

/// A page on the way from the root to where a side stands.
struct Open<V> {
    no: PageNo,
    view: V,
    /// The slot that it was entered at: 0, but where the range begins inside the page.
    first: usize,
    slot: usize,
}

impl<V> Open<V> {
    fn is_at_start(&self) -> bool {
        self.slot == self.first
    }
}

/// One of the two trees and the place that the walk has come to: before a child that is not open yet, or at an entry of a leaf.
struct Side<'p, P> {
    pages: P,
    tree: Tree,
    /// From the root down.
    branches: Vec<Open<Branch<'p>>>,
    leaf: Option<Open<Leaf<'p>>>,
    /// It has passed nothing yet: the first key of the range belongs to the page that is opened next.
    is_at_edge: bool,
    is_done: bool,
    /// What all keys to come are not less than.
    floor: Cow<'p, [u8]>,
}

/// The pages at whose start a side stands, each the first child of the next.
struct Starts<'a, 'p> {
    /// The level of `page`.
    lowest: usize,
    page: Option<PageNo>,
    branches: &'a [Open<Branch<'p>>],
}

impl Starts<'_, '_> {
    /// From a level up.
    fn from(&self, level: usize) -> impl Iterator<Item = PageNo> {
        let above = self.branches.iter().rev().take_while(|branch| branch.is_at_start()).map(|branch| branch.no);
        // Where nothing starts, nothing above does.
        self.page.into_iter().chain(above.filter(|_| self.page.is_some())).skip(level - self.lowest)
    }
}

impl<'p, P: Pages<'p>> Side<'p, P> {
    /// A side that stands before the root.
    fn new(pages: P, tree: Tree) -> Side<'p, P> {
        let is_done = tree.depth == 0;
        let (branches, leaf) = (Vec::with_capacity(tree.depth.saturating_sub(1)), None);
        Side { pages, tree, branches, leaf, is_at_edge: true, is_done, floor: Cow::Borrowed(&[]) }
    }

    /// The level of the page that it stands before, if it stands before one.
    fn closed_level(&self) -> Option<usize> {
        if self.is_done || self.leaf.is_some() { None } else { Some(self.tree.depth - 1 - self.branches.len()) }
    }

    /// The page that it stands before.
    fn closed_page(&self) -> Result<PageNo> {
        match self.branches.last() {
            Some(parent) => Ok(parent.view.child(parent.slot)?),
            None => Ok(self.tree.root),
        }
    }

    fn starts(&self) -> Result<Starts<'_, 'p>> {
        let page = match (&self.leaf, self.is_done) {
            (_, true) => None,
            (Some(leaf), _) => leaf.is_at_start().then_some(leaf.no),
            (None, _) => Some(self.closed_page()?),
        };
        Ok(Starts { lowest: self.closed_level().unwrap_or(0), page, branches: &self.branches })
    }

    /// Opens the page that it stands before. Ends if the range does before that page.
    fn open(&mut self, bounds: &Bounds) -> Result<()> {
        let no = self.closed_page()?;
        if let Some(parent) = self.branches.last()
            && parent.slot > 0
        {
            let separator = parent.view.separator(parent.slot)?;
            if is_behind(&separator, &bounds.1) {
                self.is_done = true;
                return Ok(());
            }
            if separator[..] <= self.floor[..] {
                return Err(Error::Corrupt { page: parent.no.get(), what: "separators out of order" });
            }
            self.floor = Cow::Owned(separator);
        }
        let start = match &bounds.0 {
            Bound::Included(key) => Some((&key[..], false)),
            Bound::Excluded(key) => Some((&key[..], true)),
            Bound::Unbounded => None,
        };
        let start = start.filter(|_| self.is_at_edge);
        let page = self.pages.page(no)?;
        match self.tree.depth - 1 - self.branches.len() {
            0 => self.open_leaf(no, Leaf::view(page)?, start),
            level => {
                let view = Branch::view(page, level)?;
                let first = start.map_or(Ok(0), |(key, _)| view.child_for(key))?;
                self.branches.push(Open { no, view, first, slot: first });
                Ok(())
            }
        }
    }

    /// Opens a leaf at its first entry or at that of the range, which is behind a key or at it. If there is none, passes the leaf.
    fn open_leaf(&mut self, no: PageNo, view: Leaf<'p>, start: Option<(&[u8], bool)>) -> Result<()> {
        let (least, greatest) = (view.key(0)?, view.key(view.len() - 1)?);
        if least < &self.floor[..] || greatest < least {
            return Err(view.out_of_order());
        }
        self.floor = Cow::Borrowed(greatest);
        let first = match start {
            None => 0,
            Some((key, is_excluded)) => view.search(key)?.map_or_else(|i| i, |i| i + usize::from(is_excluded)),
        };
        if first < view.len() {
            self.leaf = Some(Open { no, view, first, slot: first });
        } else {
            self.pass_children(1);
        }
        Ok(())
    }

    /// The entry that it stands at. Ends if that lies behind the range.
    fn entry(&mut self, end: &Bound<Vec<u8>>) -> Result<Option<(&'p [u8], Value<'p>)>> {
        let Some(leaf) = &self.leaf else { return Ok(None) };
        let (key, value) = leaf.view.entry(leaf.slot)?;
        if is_behind(key, end) {
            self.leaf = None;
            self.is_done = true;
            return Ok(None);
        }
        Ok(Some((key, value)))
    }

    /// Moves behind the entry that it stands at.
    fn pass_entry(&mut self) {
        let Some(leaf) = &mut self.leaf else { return };
        leaf.slot += 1;
        if leaf.slot == leaf.view.len() {
            self.leaf = None;
            self.pass_children(1);
        }
    }

    /// Goes back up until it stands before the page of this level, and answers with the parent of that.
    fn close(&mut self, level: usize) -> Option<&Open<Branch<'p>>> {
        self.leaf = None;
        self.branches.truncate(self.tree.depth - 1 - level);
        self.branches.last()
    }

    /// Moves behind so many children of the lowest open branch, and up where it has no more.
    fn pass_children(&mut self, mut count: usize) {
        self.is_at_edge = false;
        while let Some(branch) = self.branches.last_mut() {
            branch.slot += count;
            if branch.slot < branch.view.len() {
                return;
            }
            self.branches.pop();
            count = 1;
        }
        self.is_done = true;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet, HashMap};

    use super::super::delete::{clear, delete, delete_range};
    use super::super::put::{Finger, Mode, put};
    use super::super::tests::VecPages;
    use super::*;
    use crate::page;
    use crate::page::large::LargeRef;
    use crate::page::space_log::Extent;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;
    type Change = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

    /// Pages that note which of them are asked for.
    #[derive(Clone, Copy)]
    struct Noting<'p> {
        pages: &'p VecPages,
        asked: &'p RefCell<Vec<PageNo>>,
    }

    impl<'p> Pages<'p> for Noting<'p> {
        fn page(self, no: PageNo) -> Result<&'p [u8]> {
            self.asked.borrow_mut().push(no);
            self.pages.page(no)
        }

        fn large(self, large: &LargeRef) -> Result<&'p [u8]> {
            self.pages.large(large)
        }

        fn raw(self, extent: Extent) -> Result<&'p [u8]> {
            self.pages.raw(extent)
        }
    }

    /// A tree that changes, and the truth about it.
    struct Run {
        pages: VecPages,
        tree: Tree,
        finger: Finger,
        model: Model,
    }

    impl Run {
        fn new(page_len: usize) -> Run {
            let (pages, model) = (VecPages::pinned(page_len), Model::new());
            Run { pages, tree: Tree::EMPTY, finger: Finger::NONE, model }
        }

        fn put(&mut self, key: &[u8], value: &[u8]) {
            put(&mut self.tree, &mut self.pages, &mut self.finger, key, value, Mode::Upsert).unwrap();
            self.model.insert(key.to_vec(), value.to_vec());
        }

        fn delete(&mut self, key: &[u8]) {
            delete(&mut self.tree, &mut self.pages, &mut self.finger, key).unwrap();
            self.model.remove(key);
        }

        fn delete_range(&mut self, from: &[u8], to: &[u8]) {
            let bounds = (Bound::Included(from), Bound::Excluded(to));
            delete_range(&mut self.tree, &mut self.pages, &mut self.finger, bounds).unwrap();
            self.model.retain(|key, _| &key[..] < from || &key[..] >= to);
        }

        fn clear(&mut self) {
            clear(&mut self.tree, &mut self.pages, &mut self.finger).unwrap();
            self.model.clear();
        }

        /// The tree as it is now, for good.
        fn snapshot(&mut self) -> (Tree, Model) {
            self.tree.root = self.pages.clean(self.tree.root);
            self.finger.forget();
            (self.tree, self.model.clone())
        }

        /// The pages of a tree, and how many of them are leaves.
        fn pages_of(&self, tree: &Tree) -> (BTreeSet<PageNo>, BTreeSet<PageNo>) {
            let mut rows: Vec<BTreeSet<PageNo>> = vec![BTreeSet::from([tree.root])];
            if tree.depth == 0 {
                return Default::default();
            }
            for level in (1..tree.depth).rev() {
                let row = rows.last().unwrap().iter().flat_map(|no| {
                    let branch = Branch::view((&self.pages).page(*no).unwrap(), level).unwrap();
                    (0..branch.len()).map(move |i| branch.child(i).unwrap())
                });
                let row = row.collect();
                rows.push(row);
            }
            let leaves = rows.last().unwrap().clone();
            (rows.into_iter().flatten().collect(), leaves)
        }

        /// What differs from `old` to `new`, and how many pages were looked at to find out. Demands that these are few.
        fn diff(&self, old: &Tree, new: &Tree, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> (Vec<Change>, usize) {
            let asked = [RefCell::new(Vec::new()), RefCell::new(Vec::new())];
            let [old_pages, new_pages] = asked.each_ref().map(|asked| Noting { pages: &self.pages, asked });
            let own = |value: Option<Value<'_>>| value.map(|value| (&self.pages).lend(value).unwrap().to_vec());
            let found: Vec<Change> = Diff::new(old_pages, *old, new_pages, *new, bounds)
                .map(|difference| difference.unwrap())
                .map(|Difference { key, old, new }| (key.to_vec(), own(old), own(new)))
                .collect();

            let ((old_all, old_leaves), (new_all, new_leaves)) = (self.pages_of(old), self.pages_of(new));
            let (private, private_leaves) =
                (old_all.symmetric_difference(&new_all).count(), old_leaves.symmetric_difference(&new_leaves).count());
            let most = private + 2 * old.depth.max(new.depth) * (private_leaves + 2 * found.len());
            let count: usize = asked.iter().map(|asked| asked.borrow().len()).sum();
            assert!(count <= most, "{count} pages for {} differences, {private} private pages", found.len());
            for asked in asked {
                let mut counts = HashMap::new();
                asked.into_inner().into_iter().for_each(|no| *counts.entry(no).or_insert(0) += 1);
                assert!(counts.values().all(|count| *count == 1), "a page is opened once");
            }
            (found, count)
        }
    }

    /// What the models say.
    fn expected(old: &Model, new: &Model, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Vec<Change> {
        if is_empty(bounds) {
            return Vec::new();
        }
        let keys: BTreeSet<&Vec<u8>> =
            old.range::<[u8], _>(bounds).chain(new.range::<[u8], _>(bounds)).map(|e| e.0).collect();
        let changes = keys.into_iter().map(|key| (key.clone(), old.get(key).cloned(), new.get(key).cloned()));
        changes.filter(|(_, old, new)| old != new).collect()
    }

    const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

    fn random_key(rng: &mut fastrand::Rng, page_len: usize) -> Vec<u8> {
        match rng.u32(..12) {
            0 => vec![b'k'; rng.usize(..page::key_max(page_len))],
            1..6 => format!("a/long/shared/prefix/{:05}", rng.u32(..3000)).into_bytes(),
            _ => rng.u32(..3000).to_be_bytes().to_vec(),
        }
    }

    fn random_value(rng: &mut fastrand::Rng, page_len: usize) -> Vec<u8> {
        let len = match rng.u32(..20) {
            0 => rng.usize(..page_len * 2),
            1..4 => rng.usize(..page_len / 2),
            _ => rng.usize(..150),
        };
        vec![rng.u8(..3); len]
    }

    fn random_step(run: &mut Run, rng: &mut fastrand::Rng, page_len: usize) {
        let key = random_key(rng, page_len);
        match rng.u32(..2000) {
            0 => run.clear(),
            1..10 => {
                let to = random_key(rng, page_len);
                run.delete_range(&key, &to);
            }
            10..60 => {
                // A value that is put again as it is.
                if let Some((key, value)) = run.model.range(key..).next() {
                    let (key, value) = (key.clone(), value.clone());
                    run.put(&key, &value);
                }
            }
            60..1200 => {
                let value = random_value(rng, page_len);
                run.put(&key, &value);
            }
            _ => run.delete(&key),
        }
    }

    #[test]
    fn random_histories_agree_with_a_btree_map_at_every_page_size() {
        for (page_len, seeds) in [(4096, 5), (8192, 2), (16384, 1), (32768, 1), (65536, 1)] {
            for seed in 0..seeds {
                println!("page_len {page_len} seed {seed}");
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut run = Run::new(page_len);
                let mut snapshots = vec![run.snapshot()];
                for _ in 0..25 {
                    let steps = [1, 3, 30, 300][rng.usize(..4)];
                    (0..steps).for_each(|_| random_step(&mut run, &mut rng, page_len));
                    snapshots.push(run.snapshot());
                    for _ in 0..6 {
                        let near = snapshots.len() - 1 - rng.usize(..snapshots.len().min(4));
                        let (old, new) = (&snapshots[near], &snapshots[rng.usize(..snapshots.len())]);
                        let mut bound = || match rng.u32(..3) {
                            0 => Bound::Unbounded,
                            1 => Bound::Included(random_key(&mut rng, page_len)),
                            _ => Bound::Excluded(random_key(&mut rng, page_len)),
                        };
                        let (start, end) = (bound(), bound());
                        let bounds = (start.as_ref().map(|key| &key[..]), end.as_ref().map(|key| &key[..]));
                        for bounds in [bounds, ALL] {
                            assert_eq!(run.diff(&old.0, &new.0, bounds).0, expected(&old.1, &new.1, bounds));
                            assert_eq!(run.diff(&new.0, &old.0, bounds).0, expected(&new.1, &old.1, bounds));
                        }
                    }
                }
            }
        }
    }

    fn key(n: u32) -> [u8; 4] {
        n.to_be_bytes()
    }

    /// Single keys, and ranges with their ends in them.
    struct Marked(Vec<(Vec<u8>, Vec<u8>)>);

    impl Places for Marked {
        fn next<'a>(&'a self, from: Place<'a>) -> Option<Place<'a>> {
            let ahead = self.0.iter().filter(|(_, end)| from <= (&end[..], false));
            ahead.map(|(start, _)| from.max((&start[..], false))).min()
        }
    }

    /// The differences at some places, and how many pages were looked at to find them.
    fn diff_at(run: &Run, old: &Tree, new: &Tree, places: &Marked) -> (Vec<Vec<u8>>, usize) {
        let asked = RefCell::new(Vec::new());
        let pages = Noting { pages: &run.pages, asked: &asked };
        let found = DiffAt::new((pages, *old), (pages, *new), places);
        let found = found.map(|difference| difference.unwrap().key.to_vec()).collect();
        (found, asked.into_inner().len())
    }

    #[test]
    fn the_differences_at_some_places_are_those_that_lie_there() {
        for seed in 0..6 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut run = Run::new(4096);
            let mut before = run.snapshot();
            for round in 0..40 {
                let steps = [1, 10, 100, 1000][rng.usize(..4)];
                (0..steps).for_each(|_| random_step(&mut run, &mut rng, 4096));
                let after = run.snapshot();
                let mut places = Vec::new();
                for _ in 0..[0, 1, 10, 200][rng.usize(..4)] {
                    let start = random_key(&mut rng, 4096);
                    let end = if rng.bool() { start.clone() } else { start.clone().max(random_key(&mut rng, 4096)) };
                    places.push((start, if rng.u32(..30) == 0 { vec![0xff] } else { end }));
                }
                let is_in = |key: &Vec<u8>| places.iter().any(|(start, end)| (start..=end).contains(&key));
                let changes = expected(&before.1, &after.1, ALL).into_iter().map(|(key, ..)| key);
                let changes: Vec<_> = changes.filter(is_in).collect();
                let found = diff_at(&run, &before.0, &after.0, &Marked(places)).0;
                assert_eq!(found, changes, "seed {seed}, round {round}");
                before = after;
            }
        }
    }

    /// Few places among many changes, many places among few changes: it is the fewer that cost.
    #[test]
    fn differences_at_places_cost_the_fewer_of_both() {
        let mut run = large_run();
        let before = run.snapshot().0;
        let all = Marked((0..30_000).map(|n| (key(n * 2 + 1).to_vec(), key(n * 2 + 1).to_vec())).collect());
        let few = Marked([301, 30_001, 59_001].map(|n| (key(n).to_vec(), key(n + 100).to_vec())).to_vec());
        (0..10).for_each(|n| run.put(&key(n * 6000), &[2; 100]));
        let few_changes = run.snapshot().0;
        let (found, count) = diff_at(&run, &before, &few_changes, &all);
        assert!(found.is_empty() && count <= 10 * 2 * 2 * 3, "{count} pages");
        (0..30_000).filter(|n| !(15_000..15_050).contains(n)).for_each(|n| run.put(&key(n * 2), &[3; 100]));
        let many_changes = run.snapshot().0;
        let (found, count) = diff_at(&run, &before, &many_changes, &few);
        assert!(found.len() == 101 && count <= 120, "{} differences, {count} pages", found.len());
    }

    /// A tree of three levels, of 30,000 entries with the even keys. 36 fill a leaf.
    fn large_run() -> Run {
        let mut run = Run::new(4096);
        (0..30_000).for_each(|n| run.put(&key(n * 2), &[1; 100]));
        assert_eq!(run.snapshot().0.depth, 3);
        run
    }

    /// Runs `change`, and demands that what it changed is found, by looking at no more than `page_count_max` pages of both trees.
    fn assert_cheap(run: &mut Run, page_count_max: usize, change: impl FnOnce(&mut Run)) {
        let before = run.snapshot();
        change(run);
        let after = run.snapshot();
        for (old, new) in [(&before, &after), (&after, &before)] {
            let (found, count) = run.diff(&old.0, &new.0, ALL);
            assert_eq!(found, expected(&old.1, &new.1, ALL));
            assert!(count <= page_count_max, "{count} pages, {} differences", found.len());
        }
    }

    #[test]
    fn no_page_is_looked_at_where_nothing_changed() {
        let mut run = large_run();
        assert_cheap(&mut run, 0, |_| {});
        let tree = run.tree;
        let bounds = (Bound::Included(&key(500)[..]), Bound::Excluded(&key(700)[..]));
        assert_eq!(run.diff(&tree, &tree, bounds), (vec![], 0));
    }

    #[test]
    fn a_change_costs_the_depth_of_the_tree() {
        let mut run = large_run();
        let path = 2 * 3;
        for n in [0, 2, 30_000, 59_998] {
            assert_cheap(&mut run, path, |run| run.put(&key(n), &[2; 100]));
        }
        // A full leaf is split, and its parent is too.
        for n in [1, 30_001, 59_999] {
            assert_cheap(&mut run, path + 2, |run| run.put(&key(n), &[2; 100]));
        }
        assert_cheap(&mut run, path, |run| run.delete(&key(30_000)));
        // Put again as it was: the pages are others, the entries are not.
        assert_cheap(&mut run, path, |run| run.put(&key(600), &[1; 100]));
    }

    #[test]
    fn scattered_changes_cost_a_path_each_and_clustered_ones_a_leaf_now_and_then() {
        let mut run = large_run();
        assert_cheap(&mut run, 2 * (100 * 2 + 1), |run| (0..100).for_each(|n| run.put(&key(n * 600), &[3; 100])));
        assert_cheap(&mut run, 2 * (100 / 36 + 2 + 2 + 1), |run| {
            (5000..5100).for_each(|n| run.put(&key(n * 2), &[3; 100]));
        });
    }

    /// New leaves push those behind them along, and branches split.
    #[test]
    fn splits_cost_what_is_split() {
        let mut run = large_run();
        assert_cheap(&mut run, 3 + 4 + 2, |run| (10_000..10_010).for_each(|n| run.put(&key(n * 2 + 1), &[4; 100])));
        let depth = run.tree.depth;
        // 278 full leaves, and what becomes of them, and their branches.
        assert_cheap(&mut run, 1200, |run| (0..10_000).for_each(|n| run.put(&key(n * 2 + 1), &[4; 100])));
        assert_eq!(run.tree.depth, depth);
    }

    #[test]
    fn merges_and_cut_ranges_cost_what_is_gone() {
        let mut run = large_run();
        assert_cheap(&mut run, 60, |run| (10_000..10_300).for_each(|n| run.delete(&key(n * 2))));
        assert_cheap(&mut run, 600, |run| run.delete_range(&key(20_000), &key(40_000)));
        assert_cheap(&mut run, 2000, Run::clear);
    }

    #[test]
    fn roots_that_grow_and_collapse() {
        let mut run = Run::new(4096);
        let mut next = 0;
        for (start, depth) in [(30, 1), (5000, 2)] {
            (next..start).for_each(|n| run.put(&key(n), &[1; 100]));
            next = start;
            assert_eq!(run.tree.depth, depth);
            // A leaf at a time, until there is a new root; and back.
            while run.tree.depth == depth {
                assert_cheap(&mut run, 4 * depth + 2, |run| {
                    (next..next + 36).for_each(|n| run.put(&key(n), &[1; 100]))
                });
                next += 36;
            }
            while run.tree.depth > depth {
                next -= 36;
                assert_cheap(&mut run, 4 * depth + 4, |run| (next..next + 36).for_each(|n| run.delete(&key(n))));
            }
        }
    }
}
