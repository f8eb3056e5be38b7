//! Trees over a vector of pages, against `BTreeMap`, at every page size.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::build::{Builder, PageSink};
use super::check::{Auditor, check};
use super::cursor::Cursor;
use super::delete::{clear, delete, delete_range};
use super::pack::pack;
use super::put::{self, Finger, Mode, is_inline};
use super::range::Range;
use super::relocate::relocate;
use super::retain::Retain;
use super::walk::{Visitor, walk};
use super::*;
use crate::page::space_log::Extent;
use crate::page::{self, TxnId, init, seal};

/// Pages in a vector. All are dirty until `clean` says otherwise; large values have numbers past them.
#[derive(Clone)]
pub(super) struct VecPages {
    page_len: usize,
    pages: Vec<Option<Vec<u8>>>,
    clean: Vec<Option<Vec<u8>>>,
    large: Vec<Option<Vec<u8>>>,
    /// Clean pages and large values stay when they are let go of, as for a pinned snapshot.
    is_pinned: bool,
}

const LARGE_BASE: u64 = 1 << 30;

/// A put as transactions do it.
fn put(
    tree: &mut Tree,
    pages: &mut VecPages,
    finger: &mut Finger,
    key: &[u8],
    value: &[u8],
    mode: Mode,
) -> Result<bool> {
    if put::push(tree, pages, finger, key, value) {
        return Ok(false);
    }
    put::put(tree, pages, finger, key, value, mode)
}

impl VecPages {
    fn new(page_len: usize) -> VecPages {
        VecPages { page_len, pages: Vec::new(), clean: vec![None, None], large: Vec::new(), is_pinned: false }
    }

    /// Pages of which every tree that was cleaned can still be read.
    pub(super) fn pinned(page_len: usize) -> VecPages {
        VecPages { is_pinned: true, ..VecPages::new(page_len) }
    }

    /// Turns the dirty pages of a tree into clean ones, as a commit does.
    pub(super) fn clean(&mut self, no: PageNo) -> PageNo {
        let Some(index) = no.as_dirty() else { return no };
        let mut page = self.pages[index].take().expect("a page in use");
        if page::header(&page).kind == page::BRANCH {
            let level = usize::from(page::header(&page).level);
            for i in 0..Branch::view(&page, level).unwrap().len() {
                let child = Branch::view(&page, level).unwrap().child(i).unwrap();
                let child = self.clean(child);
                page::branch::set_child(&mut page, i, child);
            }
        }
        let no = PageNo::new(self.clean.len() as u64);
        seal(&mut page, no, TxnId::new(1));
        self.clean.push(Some(page));
        no
    }

    fn in_use(&self) -> usize {
        [&self.pages, &self.clean].iter().flat_map(|pages| pages.iter()).filter(|page| page.is_some()).count()
    }
}

impl<'p> Pages<'p> for &'p VecPages {
    fn page(self, no: PageNo) -> Result<&'p [u8]> {
        let page = match no.as_dirty() {
            Some(index) => self.pages.get(index),
            None => self.clean.get(no.get() as usize),
        };
        Ok(page.expect("a page that was allocated").as_deref().expect("a page in use"))
    }

    fn large(self, large: &LargeRef) -> Result<&'p [u8]> {
        Ok(&self.raw(Extent::new(large.page().get(), 1))?[..large.len() as usize])
    }

    fn raw(self, extent: Extent) -> Result<&'p [u8]> {
        match extent.first.checked_sub(LARGE_BASE) {
            Some(index) => Ok(self.large[index as usize].as_deref().expect("a value in use")),
            None => self.page(PageNo::new(extent.first)),
        }
    }
}

impl PagesMut for VecPages {
    type View<'a> = &'a VecPages;

    fn view(&self) -> &VecPages {
        self
    }

    fn page_len(&self) -> usize {
        self.page_len
    }

    fn alloc(&mut self, kind: u8, level: usize) -> PageNo {
        let mut page = vec![0; self.page_len];
        init(&mut page, kind, level as u8);
        self.pages.push(Some(page));
        PageNo::dirty(self.pages.len() - 1)
    }

    fn changeable(&self, no: PageNo) -> Option<&[u8]> {
        Some(self.pages[no.as_dirty()?].as_deref().expect("a page in use"))
    }

    fn touch(&mut self, no: PageNo) -> Result<PageNo> {
        if self.is_changeable(no) {
            return Ok(no);
        }
        let clean = &mut self.clean[no.get() as usize];
        let page = if self.is_pinned { clean.clone() } else { clean.take() };
        self.pages.push(page);
        Ok(PageNo::dirty(self.pages.len() - 1))
    }

    fn is_sound(&self, no: PageNo) -> bool {
        self.view().page(no).is_ok_and(|page| page::verify(page, no).is_ok())
    }

    fn page_mut(&mut self, no: PageNo) -> &mut [u8] {
        self.pages[no.as_dirty().expect("a dirty page")].as_deref_mut().expect("a page in use")
    }

    fn pair_mut(&mut self, a: PageNo, b: PageNo) -> (&mut [u8], &mut [u8]) {
        let (a, b) = (a.as_dirty().expect("dirty"), b.as_dirty().expect("dirty"));
        let [a, b] = self.pages.get_disjoint_mut([a, b]).expect("two pages");
        (a.as_deref_mut().expect("in use"), b.as_deref_mut().expect("in use"))
    }

    fn free(&mut self, no: PageNo) -> Result<()> {
        let page = match no.as_dirty() {
            Some(index) => &mut self.pages[index],
            None if self.is_pinned => return Ok(()),
            None => &mut self.clean[no.get() as usize],
        };
        page.take().expect("a page is freed once");
        Ok(())
    }

    fn put_large(&mut self, value: &[u8]) -> Result<LargeRef> {
        let mut pages = value.to_vec();
        pages.resize(value.len().next_multiple_of(self.page_len), 0);
        self.large.push(Some(pages));
        let no = PageNo::new(LARGE_BASE + self.large.len() as u64 - 1);
        Ok(LargeRef::new(no, value.len() as u64, TxnId::new(1), crc32c::crc32c(value)))
    }

    fn free_large(&mut self, large: &LargeRef) -> Result<()> {
        if self.is_pinned {
            return Ok(());
        }
        self.large[(large.page().get() - LARGE_BASE) as usize].take().expect("a value is freed once");
        Ok(())
    }
}

impl PageSink for VecPages {
    fn add(&mut self, page: &mut [u8]) -> Result<PageNo> {
        let no = PageNo::new(self.clean.len() as u64);
        seal(page, no, TxnId::new(1));
        self.clean.push(Some(page.to_vec()));
        Ok(no)
    }
}

/// Counts what a walk comes to.
#[derive(Default)]
struct Seen {
    pages: usize,
    entries: usize,
}

impl Visitor for Seen {
    fn enter(&mut self, _page: Extent) -> Result<()> {
        self.pages += 1;
        Ok(())
    }

    fn leaf(&mut self, leaf: &Leaf<'_>) -> Result<()> {
        self.entries += leaf.len();
        Ok(())
    }
}

/// Counts pages and demands that there is nothing to find.
#[derive(Default, Debug)]
struct Strict {
    pages: usize,
    large: usize,
}

impl Auditor for Strict {
    fn claim(&mut self, extent: Extent) -> Result<(), &'static str> {
        if extent.first < LARGE_BASE {
            self.pages += 1
        } else {
            self.large += 1
        }
        Ok(())
    }

    fn problem(&mut self, path: &[u64], what: String) {
        panic!("pages {path:?}: {what}");
    }

    fn unread(&mut self, path: &[u64], what: String) {
        self.problem(path, what);
    }

    fn deviation(&mut self, path: &[u64], what: String) {
        self.problem(path, what);
    }
}

struct Run {
    rng: fastrand::Rng,
    pages: VecPages,
    tree: Tree,
    finger: Finger,
    model: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The lengths of nearly all keys and values, if they have any in common.
    lengths: Option<(usize, usize)>,
}

impl Run {
    fn new(seed: u64, page_len: usize) -> Run {
        Run {
            rng: fastrand::Rng::with_seed(seed),
            pages: VecPages::new(page_len),
            tree: Tree::EMPTY,
            finger: Finger::NONE,
            model: BTreeMap::new(),
            lengths: None,
        }
    }

    fn key(&mut self) -> Vec<u8> {
        if let Some((len, _)) = self.lengths
            && self.rng.u32(..300) > 0
        {
            let number = u128::from(self.rng.u32(..20_000));
            return number.to_be_bytes()[16 - len..].to_vec();
        }
        match self.rng.u32(..10) {
            0 => vec![b'k'; self.rng.usize(..page::key_max(self.pages.page_len))],
            1..5 => format!("a/long/shared/prefix/{:05}", self.rng.u32(..3000)).into_bytes(),
            5..9 => self.rng.u32(..3000).to_be_bytes().to_vec(),
            _ => vec![],
        }
    }

    fn value(&mut self) -> Vec<u8> {
        if let Some((_, len)) = self.lengths
            && self.rng.u32(..300) > 0
        {
            return vec![self.rng.u8(..); len];
        }
        let len = match self.rng.u32(..20) {
            0 => self.rng.usize(..self.pages.page_len * 2),
            1..4 => self.rng.usize(..self.pages.page_len / 2),
            _ => self.rng.usize(..150),
        };
        vec![self.rng.u8(..); len]
    }

    fn bounds(&mut self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let mut bound = || match self.rng.u32(..3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        };
        (bound(), bound())
    }

    fn in_bounds(&self, (start, end): &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Vec<(Vec<u8>, Vec<u8>)> {
        let inside = |key: &[u8]| {
            (match start {
                Bound::Unbounded => true,
                Bound::Included(start) => key >= start.as_slice(),
                Bound::Excluded(start) => key > start.as_slice(),
            }) && (match end {
                Bound::Unbounded => true,
                Bound::Included(end) => key <= end.as_slice(),
                Bound::Excluded(end) => key < end.as_slice(),
            })
        };
        self.model.iter().filter(|(key, _)| inside(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    fn step(&mut self) {
        let key = self.key();
        match self.rng.u32(..100) {
            0..55 => {
                let value = self.value();
                let mode = if self.rng.bool() { Mode::Upsert } else { Mode::Insert };
                let was = put(&mut self.tree, &mut self.pages, &mut self.finger, &key, &value, mode).unwrap();
                assert_eq!(was, self.model.contains_key(&key));
                if !was || mode == Mode::Upsert {
                    self.model.insert(key, value);
                }
            }
            55..93 => {
                let was = delete(&mut self.tree, &mut self.pages, &mut self.finger, &key).unwrap();
                assert_eq!(was, self.model.remove(&key).is_some());
            }
            93 => {
                // Few go, many, or nearly all, singly or in rows.
                let (share, row) = ([1, 20, 50, 98][self.rng.usize(..4)], [1, 40][self.rng.usize(..2)]);
                let mut rng = self.rng.fork();
                let mut in_row = 0;
                self.retain(|_, _| {
                    let ends_row = in_row == 0 || rng.u32(..row) == 0;
                    in_row = if ends_row { u32::from(rng.u32(..100) < share) + 1 } else { in_row };
                    in_row == 1
                });
            }
            94..96 => {
                let bounds = self.bounds();
                let gone = self.in_bounds(&bounds);
                let borrowed = (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice));
                let count = delete_range(&mut self.tree, &mut self.pages, &mut self.finger, borrowed).unwrap();
                assert_eq!(count, gone.len() as u64);
                gone.iter().for_each(|(key, _)| drop(self.model.remove(key)));
            }
            96..99 => {
                // A commit: every page becomes clean.
                self.finger.forget();
                if self.rng.bool() {
                    pack(&mut self.tree, &mut self.pages).unwrap();
                }
                if self.tree.depth > 0 {
                    self.tree.root = self.pages.clean(self.tree.root);
                }
            }
            _ => {
                if self.rng.u32(..10) == 0 {
                    let count = clear(&mut self.tree, &mut self.pages, &mut self.finger).unwrap();
                    assert_eq!(count, self.model.len() as u64);
                    self.model.clear();
                }
            }
        }
    }

    /// Retains, and sees to it that the one who decides is shown each entry once, in order.
    fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let (mut retain, mut deleted) = (Retain::default(), 0);
        let (mut kept, mut before) = (BTreeMap::new(), self.model.iter());
        let mut decide = |key: &[u8], value: &[u8]| {
            assert_eq!(before.next(), Some((&key.to_vec(), &value.to_vec())));
            let keeps = keep(key, value);
            if keeps {
                kept.insert(key.to_vec(), value.to_vec());
            }
            keeps
        };
        while retain.decide(&self.tree, &self.pages, &mut self.finger, &mut decide).unwrap() {
            deleted += retain.apply(&mut self.tree, &mut self.pages, &mut self.finger).unwrap();
        }
        assert_eq!((before.next(), deleted), (None, (self.model.len() - kept.len()) as u64));
        self.model = kept;
    }

    /// The tree against the model, whole, by every way of reading.
    fn compare(&mut self) {
        let bounds = self.bounds();
        let key = self.key();
        let pages = &self.pages;
        let mut audit = Strict::default();
        let mut copy = pages.clone();
        let mut tree = self.tree;
        if tree.depth > 0 {
            tree.root = copy.clean(tree.root);
        }
        let count = check(&tree, &copy, copy.page_len, TxnId::new(1), &mut audit);
        assert_eq!(count, self.model.len() as u64);
        assert_eq!(audit.pages, pages.in_use(), "a page is lost");
        assert_eq!(audit.large, pages.large.iter().flatten().count(), "a large value is lost");
        assert_eq!(self.tree.entry_count, self.model.len() as u64);

        let borrowed = (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice));
        let expected = self.in_bounds(&bounds);
        let own = |entry: Result<Entry<'_>>| entry.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap();
        let range = || Range::new(pages, self.tree, borrowed);
        assert_eq!(range().map(own).collect::<Vec<_>>(), expected);
        let mut backward: Vec<_> = range().rev().map(own).collect();
        backward.reverse();
        assert_eq!(backward, expected);
        // From both ends in turn.
        let (mut front, mut back) = (Vec::new(), Vec::new());
        let mut range = range();
        loop {
            let forward = self.rng.bool();
            let Some(entry) = (if forward { range.next() } else { range.next_back() }) else { break };
            if forward { front.push(own(entry)) } else { back.push(own(entry)) }
        }
        assert!(range.next().is_none() && range.next_back().is_none());
        back.reverse();
        assert_eq!([front, back].concat(), expected);

        assert_eq!(self.tree.get(pages, &key).unwrap(), self.model.get(&key).map(Vec::as_slice));
        let (rank, found) = self.tree.rank(pages, &key).unwrap();
        assert_eq!(rank, self.model.range(..key.clone()).count() as u64);
        assert_eq!(found, self.model.contains_key(&key));
        if let Some((at, (k, v))) = self.model.iter().enumerate().nth(self.rng.usize(..self.model.len().max(1))) {
            assert_eq!(self.tree.nth(pages, at as u64).unwrap(), Some((k.as_slice(), v.as_slice())));
        }
        assert_eq!(self.tree.nth(pages, self.model.len() as u64).unwrap(), None);
        let mut cursor = Cursor::new(pages, self.tree);
        cursor.seek(&key, false).unwrap();
        let next = self.model.range(key.clone()..).next();
        assert_eq!(cursor.entry().unwrap(), next.map(|(k, v)| (k.as_slice(), v.as_slice())));
        cursor.prev().unwrap();
        let before = self.model.range(..key.clone()).next_back();
        assert_eq!(cursor.entry().unwrap(), before.map(|(k, v)| (k.as_slice(), v.as_slice())));
        let keys: Vec<_> = self.model.keys().step_by(7).cloned().chain([key]).collect();
        let mut values = vec![None; keys.len()];
        self.tree.get_many(pages, &keys, &mut values).unwrap();
        for (key, value) in keys.iter().zip(values) {
            assert_eq!(value, self.model.get(key).map(Vec::as_slice));
        }
    }
}

#[test]
fn random_operations_agree_with_a_btree_map_at_every_page_size() {
    for (page_len, seeds) in [(4096, 8), (8192, 3), (16384, 2), (32768, 1), (65536, 1)] {
        for seed in 0..seeds {
            println!("page_len {page_len} seed {seed}");
            let mut run = Run::new(seed, page_len);
            for step in 0..6000 {
                run.step();
                if step % 150 == 0 {
                    run.compare();
                }
            }
            run.compare();
        }
    }
}

/// Leaves are uniform until another entry comes, which may need a page for itself where a full one was.
#[test]
fn other_entries_among_uniform_ones() {
    for (seed, lengths) in [(2, 0), (2, 2), (3, 5), (8, 8), (16, 0), (16, 16)].into_iter().enumerate() {
        for page_len in [4096, 32768] {
            println!("page_len {page_len} seed {seed}");
            let mut run = Run::new(seed as u64, page_len);
            run.lengths = Some(lengths);
            for _ in 0..8 {
                for _ in 0..4000 {
                    let (key, value) = (run.key(), run.value());
                    put(&mut run.tree, &mut run.pages, &mut run.finger, &key, &value, Mode::Upsert).unwrap();
                    run.model.insert(key, value);
                }
                run.compare();
                (0..1000).for_each(|_| run.step());
                run.compare();
            }
        }
    }
}

#[test]
fn the_longest_entry_into_a_full_uniform_leaf() {
    for (key_len, value_len) in [(2, 0), (2, 6), (8, 8), (16, 16)] {
        for (new, odd_len) in [(true, 1900), (false, 1900), (true, 0), (false, 0), (true, 3000), (false, value_len + 1)]
        {
            let mut run = Run::new(1, 4096);
            let key = |n: u32| u128::from(n).to_be_bytes()[16 - key_len..].to_vec();
            let count = 4064 / (4 + key_len + value_len);
            for n in 0..count as u32 {
                let (key, value) = (key(n * 2), vec![1; value_len]);
                put(&mut run.tree, &mut run.pages, &mut run.finger, &key, &value, Mode::Append).unwrap();
                run.model.insert(key, value);
            }
            assert_eq!(run.tree.depth, 1, "they fill one leaf");
            // In the middle, at the beginning, at the end.
            for n in [count as u32, 0, 2 * (count as u32 - 1)] {
                let (key, value) = (key(n + u32::from(new)), vec![2; odd_len]);
                put(&mut run.tree, &mut run.pages, &mut run.finger, &key, &value, Mode::Upsert).unwrap();
                run.model.insert(key, value);
                run.compare();
            }
        }
    }
}

#[test]
fn sorted_input_fills_its_pages() {
    let mut run = Run::new(1, 4096);
    for n in 0..20_000u64 {
        let key = n.to_be_bytes();
        put(&mut run.tree, &mut run.pages, &mut run.finger, &key, &key, Mode::Append).unwrap();
        run.model.insert(key.to_vec(), key.to_vec());
    }
    run.compare();
    // 20 bytes an entry, 4,064 bytes a leaf.
    let full = 20_000_usize.div_ceil(4064 / 20);
    assert!(run.pages.in_use() <= full + full / 50 + 3, "{} pages", run.pages.in_use());
    let err = put(&mut run.tree, &mut run.pages, &mut run.finger, &7u64.to_be_bytes(), b"", Mode::Append);
    assert!(matches!(err, Err(Error::KeyOrder)));
}

#[test]
fn t24_random_deletes_leave_pages_reasonably_full() {
    let mut run = Run::new(3, 4096);
    let mut keys: Vec<u64> = (0..40_000).collect();
    run.rng.shuffle(&mut keys);
    for key in &keys {
        put(&mut run.tree, &mut run.pages, &mut run.finger, &key.to_be_bytes(), &[1; 50], Mode::Upsert).unwrap();
    }
    run.rng.shuffle(&mut keys);
    for key in &keys[..36_000] {
        assert!(delete(&mut run.tree, &mut run.pages, &mut run.finger, &key.to_be_bytes()).unwrap());
    }
    let measure = check::measure(&run.tree, &run.pages, 4096, u64::MAX).unwrap();
    let fill = measure.used_len as f64 / ((measure.leaf_pages + measure.branch_pages) * 4096) as f64;
    assert!(fill > 0.4, "fill {fill}");
}

/// Whatever the entries and however many of them go, from clean pages and from dirty ones.
#[test]
fn entries_are_retained() {
    for (seed, page_len) in (0..).zip([4096, 8192, 65536]) {
        let mut rng = fastrand::Rng::with_seed(seed);
        for (name, entries) in shapes(&mut rng) {
            let mut full = Run::new(seed, page_len);
            for (key, value) in entries {
                // One in a hundred is large.
                let value = if full.rng.u32(..100) == 0 { vec![9; page_len] } else { value };
                put(&mut full.tree, &mut full.pages, &mut full.finger, &key, &value, Mode::Upsert).unwrap();
                full.model.insert(key, value);
            }
            for (goes, of) in [(0, 1), (1, 1), (1, 2), (1, 100), (99, 100), (300, 301), (2000, 3000), (1, 3000)] {
                println!("page_len {page_len}, {name}, {goes} of {of}");
                let mut run = Run::new(seed, page_len);
                (run.pages, run.tree, run.model) = (full.pages.clone(), full.tree, full.model.clone());
                if run.rng.bool() {
                    run.tree.root = run.pages.clean(run.tree.root);
                }
                let mut n = run.rng.usize(..of);
                run.retain(|_, _| {
                    n += 1;
                    n % of >= goes
                });
                run.compare();
            }
        }
    }
}

/// Where all but a few entries of each leaf go, what is left comes together.
#[test]
fn what_is_retained_is_merged() {
    let mut run = Run::new(5, 4096);
    for n in 0..40_000u64 {
        put(&mut run.tree, &mut run.pages, &mut run.finger, &n.to_be_bytes(), &[1; 50], Mode::Append).unwrap();
        run.model.insert(n.to_be_bytes().to_vec(), vec![1; 50]);
    }
    run.tree.root = run.pages.clean(run.tree.root);
    run.finger.forget();
    run.retain(|key, _| key[7] % 16 == 0);
    run.compare();
    let fill = fill_of(&run);
    assert!(fill > 0.6, "{fill:.3}");
}

/// What is built from the bottom up is a sound tree, and takes no more pages than sorted puts leave behind.
#[test]
fn a_built_tree_agrees_with_one_that_was_appended_to() {
    for (seed, page_len) in (0..).zip([4096, 4096, 8192, 16384, 65536]) {
        let mut run = Run::new(seed, page_len);
        for count in [0, 1, 2, 30, 3000] {
            let model: BTreeMap<_, _> = (0..count).map(|_| (run.key(), run.value())).collect();
            let (mut built, mut appended) = (VecPages::new(page_len), VecPages::new(page_len));
            let (mut tree, mut finger, mut builder) = (Tree::EMPTY, Finger::NONE, Builder::new(page_len));
            for (key, value) in &model {
                put(&mut tree, &mut appended, &mut finger, key, value, Mode::Append).unwrap();
                let value = match is_inline(page_len, key, value.len()) {
                    true => Value::Inline(value),
                    false => Value::Large(built.put_large(value).unwrap()),
                };
                builder.push(key, value, &mut built).unwrap();
                assert_eq!(builder.last_key(), Some(&key[..]));
            }
            let tree_built = builder.finish(&mut built).unwrap();
            assert_eq!(tree_built.entry_count, model.len() as u64);
            let mut strict = Strict::default();
            assert_eq!(check(&tree_built, &built, page_len, TxnId::new(1), &mut strict), model.len() as u64);
            assert!(strict.pages == built.in_use() && strict.pages <= appended.in_use(), "{strict:?}");
            let entries = Range::new(&built, tree_built, (Bound::Unbounded, Bound::Unbounded));
            assert!(entries.map(Result::unwrap).eq(model.iter().map(|(key, value)| (&key[..], &value[..]))));
            for (key, value) in &model {
                assert_eq!(tree_built.get(&built, key).unwrap(), Some(&value[..]));
            }
            let mut seen = Seen::default();
            walk(&tree_built, &built, &mut seen).unwrap();
            assert_eq!((seen.pages, seen.entries), (strict.pages, model.len()));
        }
    }
}

type Owned = (Vec<u8>, Vec<u8>);

/// A name, and what makes an entry.
type Shape = (&'static str, fn(&mut fastrand::Rng) -> Owned);

/// Entries in random order, of several shapes.
fn shapes(rng: &mut fastrand::Rng) -> Vec<(&'static str, Vec<Owned>)> {
    fn path(rng: &mut fastrand::Rng) -> Vec<u8> {
        let stem = ["products", "people", "library"][rng.usize(..3)];
        format!("https://www.example.com/{stem}/articles/{:x}", rng.u64(..1 << 44)).into_bytes()
    }
    let shapes: [Shape; 5] = [
        ("integers", |rng| (rng.u64(..).to_be_bytes().to_vec(), vec![1; 8])),
        ("24 + 150", |rng| ([rng.u64(..).to_be_bytes(); 3].concat(), vec![2; 150])),
        ("text", |rng| (path(rng), vec![3; 60])),
        ("varied", |rng| (path(rng), vec![4; rng.usize(..300)])),
        ("long keys", |rng| ([path(rng), vec![b'k'; rng.usize(..200)]].concat(), vec![])),
    ];
    shapes.into_iter().map(|(name, entry)| (name, (0..9_000).map(|_| entry(rng)).collect())).collect()
}

fn fill_of(run: &Run) -> f64 {
    let measure = check::measure(&run.tree, &run.pages, run.pages.page_len, u64::MAX).unwrap();
    measure.used_len as f64 / ((measure.leaf_pages + measure.branch_pages) as usize * run.pages.page_len) as f64
}

#[test]
fn random_loads_leave_full_pages_when_packed() {
    for page_len in [4096, 16384] {
        let mut rng = fastrand::Rng::with_seed(page_len as u64);
        for (name, entries) in shapes(&mut rng) {
            let mut run = Run::new(1, page_len);
            for (key, value) in entries {
                put(&mut run.tree, &mut run.pages, &mut run.finger, &key, &value, Mode::Upsert).unwrap();
                run.model.insert(key, value);
            }
            let before = fill_of(&run);
            run.finger.forget();
            pack(&mut run.tree, &mut run.pages).unwrap();
            run.compare();
            let after = fill_of(&run);
            assert!(after > 0.83 && after > before, "{name} at {page_len}: from {before:.3} to {after:.3}");

            // Nothing is left to do, and what is full is left alone.
            let in_use = run.pages.pages.len();
            pack(&mut run.tree, &mut run.pages).unwrap();
            assert!(run.pages.pages.len() - in_use <= in_use / 20, "{name} at {page_len}: packed twice");
        }
    }
}

/// Leaves of both layouts are packed together, and those whose entries have become alike are uniform afterwards.
#[test]
fn entries_nearly_alike_are_packed() {
    for (odd, bytes_max) in [(u64::MAX, 20), (1000, 23), (100, 27), (10, 27)] {
        for page_len in [4096, 16384] {
            let mut run = Run::new(odd, page_len);
            let pages_of = |bytes: usize| (20_000 * bytes).div_ceil((page_len - page::HEADER_LEN) * 9 / 10) + 3;
            let mut keys: Vec<u64> = (0..20_000).collect();
            run.rng.shuffle(&mut keys);
            let load = |run: &mut Run, is_odd: &dyn Fn(u64) -> bool| {
                for &key in &keys {
                    let value = vec![1; if is_odd(key) { 9 } else { 8 }];
                    let key = key.to_be_bytes();
                    put(&mut run.tree, &mut run.pages, &mut run.finger, &key, &value, Mode::Upsert).unwrap();
                    run.model.insert(key.to_vec(), value);
                }
                run.finger.forget();
                pack(&mut run.tree, &mut run.pages).unwrap();
                run.compare();
                run.pages.in_use()
            };
            let first = load(&mut run, &|key| key % odd == odd - 1);
            assert!(first <= pages_of(bytes_max), "one in {odd}, {page_len}: {first} pages, {}", pages_of(bytes_max));
            let second = load(&mut run, &|_| true);
            assert!(second <= pages_of(21), "all of 9 bytes, {page_len}: {second} pages, {}", pages_of(21));
        }
    }
}

#[test]
fn what_is_clean_is_not_packed() {
    let mut run = Run::new(7, 4096);
    for n in 0..20_000u64 {
        let key = run.rng.u64(..).to_be_bytes().to_vec();
        put(&mut run.tree, &mut run.pages, &mut run.finger, &key, &n.to_be_bytes(), Mode::Upsert).unwrap();
        run.model.insert(key, n.to_be_bytes().to_vec());
    }
    run.finger.forget();
    run.tree.root = run.pages.clean(run.tree.root);
    let clean = run.pages.clean.iter().flatten().count();
    // One leaf in some twenty becomes dirty, with the branches above.
    let keys: Vec<_> = run.model.keys().step_by(2000).cloned().collect();
    for key in &keys {
        put(&mut run.tree, &mut run.pages, &mut run.finger, key, b"changed", Mode::Upsert).unwrap();
        run.model.insert(key.clone(), b"changed".to_vec());
    }
    let touched = clean - run.pages.clean.iter().flatten().count();
    run.finger.forget();
    pack(&mut run.tree, &mut run.pages).unwrap();
    assert_eq!(clean - run.pages.clean.iter().flatten().count(), touched);
    run.compare();
}

/// Below branches that have changed, what lies behind a place in the file becomes dirty, as many pages as may be; the entries stay.
#[test]
fn pages_behind_a_place_are_relocated() {
    let mut run = Run::new(8, 4096);
    for n in 0..20_000u64 {
        let key = run.rng.u64(..).to_be_bytes().to_vec();
        put(&mut run.tree, &mut run.pages, &mut run.finger, &key, &[1; 200], Mode::Upsert).unwrap();
        run.model.insert(key, vec![1; 200]);
        if n == 10_000 {
            run.finger.forget();
            run.tree.root = run.pages.clean(run.tree.root);
        }
    }
    run.finger.forget();
    assert!(run.tree.depth >= 3);
    run.tree.root = run.pages.clean(run.tree.root);
    let behind = |run: &Run, from: usize| run.pages.clean.iter().skip(from).flatten().count();
    let end = run.pages.clean.len();
    let from = end - end / 4;

    // Nothing is dirty yet, and nothing becomes so for this alone.
    let mut left = u64::MAX;
    relocate(&run.tree, &mut run.pages, PageNo::new(0), &mut left).unwrap();
    assert_eq!((left, run.pages.in_use()), (u64::MAX, behind(&run, 0)));

    // A key in the first leaf makes the branches above it dirty.
    let first = run.model.keys().next().unwrap().clone();
    put(&mut run.tree, &mut run.pages, &mut run.finger, &first, b"changed", Mode::Upsert).unwrap();
    run.model.insert(first, b"changed".to_vec());
    run.finger.forget();
    for count_max in [0, 1, 10, u64::MAX, u64::MAX] {
        let before = (behind(&run, 0), behind(&run, from));
        let mut left = count_max;
        relocate(&run.tree, &mut run.pages, PageNo::new(from as u64), &mut left).unwrap();
        let moved = before.1 - behind(&run, from);
        assert_eq!((count_max - left, before.0 - behind(&run, 0)), (moved as u64, moved));
        assert!(moved as u64 == count_max || count_max == u64::MAX);
        run.compare();
    }
    // What is left lies below branches that are before the place, and clean.
    let mut below = 0;
    let root = Branch::view((&run.pages).page(run.tree.root).unwrap(), run.tree.depth - 1).unwrap();
    for child in (0..root.len()).map(|i| root.child(i).unwrap()) {
        assert!(child.as_dirty().is_some() || child < PageNo::new(from as u64));
        if run.tree.depth == 3 && child.as_dirty().is_none() {
            let branch = Branch::view((&run.pages).page(child).unwrap(), 1).unwrap();
            let children = (0..branch.len()).map(|i| branch.child(i).unwrap());
            below += children.filter(|&child| child >= PageNo::new(from as u64)).count();
        }
    }
    assert_eq!(below, behind(&run, from));
}

#[test]
fn deletes_at_random_leave_full_pages_when_packed() {
    let mut run = Run::new(9, 4096);
    let mut keys: Vec<u64> = (0..10_000).collect();
    run.rng.shuffle(&mut keys);
    for (n, key) in keys.iter().enumerate() {
        put(&mut run.tree, &mut run.pages, &mut run.finger, &key.to_be_bytes(), &[1; 50], Mode::Upsert).unwrap();
        run.model.insert(key.to_be_bytes().to_vec(), vec![1; 50]);
        if n % 2 == 1 {
            let gone = keys[n / 2].to_be_bytes();
            assert!(delete(&mut run.tree, &mut run.pages, &mut run.finger, &gone).unwrap());
            run.model.remove(&gone[..]);
        }
    }
    run.finger.forget();
    pack(&mut run.tree, &mut run.pages).unwrap();
    run.compare();
    let fill = fill_of(&run);
    assert!(fill > 0.88, "{fill:.3}");
}
