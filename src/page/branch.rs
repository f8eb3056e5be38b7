//! Branch pages: separators and the children between them. A view to read one, and the edits of a dirty one.
//!
//! As in `leaf`, a view checks every offset and answers `Error::Corrupt`; the edits work on dirty pages, which are known to
//! be well formed. An edit that changes the common prefix takes the page apart into [`Children`] and builds it anew.

use std::cmp::Ordering;
use std::ops::Range;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    BRANCH, Coverage, DEPTH_MAX, HEADER_LEN, Malformed, PageNo, common_prefix_len, equal_run, head_of, header,
    header_mut, lower_bound, nonzero_in, release_record, stray_byte_behind,
};

/// What reading a branch comes to.
type Result<'a, T> = std::result::Result<T, Malformed<'a>>;

/// Where the record of a child lies, and how long its suffix is.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Place {
    at: U16,
    suffix_len: U16,
}

const HEAD_LEN: usize = 4;
const CHILD_LEN: usize = 8;
const PLACE_LEN: usize = 4;
const _: () = assert!(size_of::<Place>() == PLACE_LEN);

/// Head, child and place.
const SLOT_LEN: usize = HEAD_LEN + CHILD_LEN + PLACE_LEN;

/// The entry count that a record begins with; the suffix follows.
const COUNT_LEN: usize = 8;

/// Where the three arrays of a page lie.
#[derive(Clone, Copy)]
struct Layout {
    heads: usize,
    count: usize,
}

impl Layout {
    #[inline]
    fn of(page: &[u8]) -> Layout {
        let header = header(page);
        Layout { heads: slots_start(usize::from(header.prefix_len.get())), count: usize::from(header.slot_count.get()) }
    }

    #[inline]
    fn children(&self) -> usize {
        self.heads + self.count * HEAD_LEN
    }

    #[inline]
    fn places(&self) -> usize {
        self.children() + self.count * CHILD_LEN
    }

    fn end(&self) -> usize {
        self.heads + self.count * SLOT_LEN
    }
}

fn slots_start(prefix_len: usize) -> usize {
    HEADER_LEN + prefix_len.next_multiple_of(8)
}

/// A separator as it is stored: the prefix of its page, and the rest.
#[derive(Clone, Copy)]
pub(crate) struct Separator<'a> {
    prefix: &'a [u8],
    suffix: &'a [u8],
}

impl Separator<'_> {
    pub(crate) fn cmp_key(&self, key: &[u8]) -> Ordering {
        let (start, end) = key.split_at(self.prefix.len().min(key.len()));
        self.prefix.cmp(start).then_with(|| self.suffix.cmp(end))
    }

    pub(crate) fn append_to(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(self.prefix);
        key.extend_from_slice(self.suffix);
    }
}

/// A branch to be read.
#[derive(Clone, Copy)]
pub(crate) struct Branch<'a> {
    page: &'a [u8],
    prefix: &'a [u8],
    heads: &'a [U32],
    children: &'a [U64],
}

impl<'a> Branch<'a> {
    /// A branch is expected at `level`, which is what bounds every descent.
    #[inline]
    pub(crate) fn view(page: &'a [u8], level: usize) -> Result<'a, Branch<'a>> {
        let header = header(page);
        let layout = Layout::of(page);
        // One slice for heads and children, so that bounds are checked once.
        let arrays = page.get(layout.heads..layout.places());
        let prefix = page.get(HEADER_LEN..HEADER_LEN + usize::from(header.prefix_len.get()));
        let (Some(arrays), Some(prefix)) = (arrays, prefix) else { return Err(Malformed(page)) };
        let (heads, children) = arrays.split_at(layout.count * HEAD_LEN);
        match (<[U32]>::ref_from_bytes(heads), <[U64]>::ref_from_bytes(children)) {
            (Ok(heads), Ok(children))
                if header.kind == BRANCH && usize::from(header.level) == level && layout.count > 0 =>
            {
                Ok(Branch { page, prefix, heads, children })
            }
            _ => Err(Malformed(page)),
        }
    }

    /// The number of children: at least one.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    #[inline]
    fn sound<T>(&self, found: Option<T>) -> Result<'a, T> {
        found.ok_or(Malformed(self.page))
    }

    /// The place of record `i`.
    #[inline]
    fn place(&self, i: usize) -> Result<'a, &'a Place> {
        let at = Layout::of(self.page).places() + i * PLACE_LEN;
        let place = self.page.get(at..at + PLACE_LEN).filter(|_| i < self.len());
        self.sound(place.and_then(|bytes| Place::ref_from_bytes(bytes).ok()))
    }

    /// The entry count and the suffix of record `i`.
    fn record(&self, i: usize) -> Result<'a, (u64, &'a [u8])> {
        let place = self.place(i)?;
        let bytes = self.page.get(usize::from(place.at.get())..);
        let record = bytes.and_then(|bytes| {
            let (count, rest) = bytes.split_first_chunk::<COUNT_LEN>()?;
            Some((u64::from_le_bytes(*count), rest.get(..usize::from(place.suffix_len.get()))?))
        });
        self.sound(record)
    }

    #[inline]
    pub(crate) fn child(&self, i: usize) -> Result<'a, PageNo> {
        self.sound(self.children.get(i).map(|child| PageNo::new(child.get())))
    }

    /// How many children from slot `i` on are the same pages as those of `other` from slot `j` on.
    pub(crate) fn shared_run(&self, i: usize, other: &Branch<'_>, j: usize) -> usize {
        let pairs = self.children.iter().skip(i).zip(other.children.iter().skip(j));
        pairs.take_while(|(one, two)| one == two).count()
    }

    /// Where the entry count of child `i` stands in the page.
    #[inline]
    pub(crate) fn entry_count_at(&self, i: usize) -> Result<'a, usize> {
        Ok(usize::from(self.place(i)?.at.get()))
    }

    /// How many entries lie below child `i`.
    pub(crate) fn entry_count(&self, i: usize) -> Result<'a, u64> {
        Ok(self.record(i)?.0)
    }

    /// How many entries lie below the children in `range`. Saturates, so that a hostile page cannot overflow it.
    pub(crate) fn entries_in(&self, range: Range<usize>) -> Result<'a, u64> {
        range.map(|i| self.entry_count(i)).try_fold(0, |sum: u64, count| Ok(sum.saturating_add(count?)))
    }

    /// The separator before child `i`, whole; child 0 has none.
    pub(crate) fn separator(&self, i: usize) -> Result<'a, Vec<u8>> {
        let Separator { prefix, suffix } = self.stored_separator(i)?;
        Ok([prefix, suffix].concat())
    }

    /// The same, as it is stored.
    pub(crate) fn stored_separator(&self, i: usize) -> Result<'a, Separator<'a>> {
        let (_, suffix) = self.record(i)?;
        Ok(if i == 0 { Separator { prefix: &[], suffix: &[] } } else { Separator { prefix: self.prefix, suffix } })
    }

    /// The child that `key` belongs to.
    #[inline(always)] // Each descent is a call of this for each level, and little else.
    pub(crate) fn child_for(&self, key: &[u8]) -> Result<'a, usize> {
        let mut rest = key;
        if !self.prefix.is_empty() {
            let Some(suffix) = key.strip_prefix(self.prefix) else {
                return Ok(if key < self.prefix { 0 } else { self.len() - 1 });
            };
            rest = suffix;
        }
        let head = head_of(rest);
        let separators = &self.heads[1..];
        let less = lower_bound(separators, head);
        match separators.get(less) {
            Some(equal) if equal.get() == head => self.child_among_equals(less, head, rest),
            _ => Ok(less),
        }
    }

    /// As `child_for`, when there are separators with the key's head: the number of those that are not greater.
    #[inline(never)]
    fn child_among_equals(&self, less: usize, head: u32, rest: &[u8]) -> Result<'a, usize> {
        let layout = Layout::of(self.page);
        let places = self.page.get(layout.places()..layout.end());
        let places = self.sound(places.and_then(|bytes| <[Place]>::ref_from_bytes(bytes).ok()))?;
        let mut run = equal_run(&self.heads[1..], less, head);
        while !run.is_empty() {
            let middle = run.start + run.len() / 2;
            let suffix = places.get(middle + 1).and_then(|place| {
                let bytes = self.page.get(usize::from(place.at.get()) + COUNT_LEN..)?;
                bytes.get(..usize::from(place.suffix_len.get()))
            });
            if self.sound(suffix)? <= rest {
                run.start = middle + 1;
            } else {
                run.end = middle;
            }
        }
        Ok(run.start)
    }

    /// The error for a branch that does not lie where its keys lead.
    pub(crate) fn out_of_order(&self) -> crate::error::Error {
        super::corrupt(self.page, "a branch out of order")
    }
}

fn slot_count(page: &[u8]) -> usize {
    usize::from(header(page).slot_count.get())
}

fn prefix_len(page: &[u8]) -> usize {
    usize::from(header(page).prefix_len.get())
}

fn view(page: &[u8]) -> Branch<'_> {
    Branch::view(page, usize::from(header(page).level)).expect("a dirty branch is well formed")
}

/// The place of child `i` of a dirty page.
fn place(page: &[u8], i: usize) -> Place {
    *view(page).place(i).expect("a dirty branch is well formed")
}

/// Bytes of prefix, slots and records that are in use. Saturates, for a page that nobody verified.
pub(crate) fn live_len(page: &[u8]) -> usize {
    slots_start(prefix_len(page)) - HEADER_LEN + own_len(page)
}

/// The same without the prefix, which several pages may share.
pub(crate) fn own_len(page: &[u8]) -> usize {
    let header = header(page);
    let used = slot_count(page) * SLOT_LEN + usize::from(header.heap_len.get());
    used.saturating_sub(usize::from(header.dead_len.get()))
}

pub(crate) fn set_child(page: &mut [u8], i: usize, no: PageNo) {
    let at = Layout::of(page).children() + i * CHILD_LEN;
    page[at..at + CHILD_LEN].copy_from_slice(&no.get().to_le_bytes());
}

pub(crate) fn set_entry_count(page: &mut [u8], i: usize, entry_count: u64) {
    *entry_count_mut(page, i) = entry_count.to_le_bytes();
}

/// Adds `change` to the number of entries below child `i`.
#[inline]
pub(crate) fn add_entries(page: &mut [u8], i: usize, change: i64) {
    let count = entry_count_mut(page, i);
    *count = u64::from_le_bytes(*count).wrapping_add_signed(change).to_le_bytes();
}

/// The bytes of a child's entry count. Each put comes here once a level, so there is no view in between.
#[inline]
fn entry_count_mut(page: &mut [u8], i: usize) -> &mut [u8; COUNT_LEN] {
    let place_at = Layout::of(page).places() + i * PLACE_LEN;
    let place = Place::ref_from_bytes(&page[place_at..place_at + PLACE_LEN]).expect("as many bytes as a place has");
    let at = usize::from(place.at.get());
    page[at..].first_chunk_mut().expect("a dirty branch is well formed")
}

/// The number of entries below the page.
pub(crate) fn total(page: &[u8]) -> u64 {
    let branch = view(page);
    branch.entries_in(0..branch.len()).expect("a dirty branch is well formed")
}

/// Makes an empty branch page one of two children.
pub(crate) fn build_root(page: &mut [u8], left: (PageNo, u64), separator: &[u8], right: (PageNo, u64)) {
    let mut children = Children::default();
    children.push(&[], left.0, left.1);
    children.push(separator, right.0, right.1);
    children.build(0..2, page);
}

/// Inserts a child before slot `i` > 0, behind `separator`. Answers false, and changes nothing, if it does not fit.
pub(crate) fn insert(page: &mut [u8], i: usize, separator: &[u8], no: PageNo, entry_count: u64) -> bool {
    let count = slot_count(page);
    let start = slots_start(prefix_len(page));
    // A single child has no separator to share a prefix with, so the new one brings its own.
    let suffix = if count > 1 { separator.strip_prefix(view(page).prefix) } else { None };
    let used = start + count * SLOT_LEN + usize::from(header(page).heap_len.get());
    if let Some(suffix) = suffix
        && used + SLOT_LEN + COUNT_LEN + suffix.len() <= page.len()
    {
        push_record(page, i, suffix, no, entry_count);
        return true;
    }
    let mut children = Children::take(page);
    children.insert(i, separator, no, entry_count);
    let fits = children.built_len(0..children.len()) <= page.len();
    if fits {
        children.build(0..children.len(), page);
    }
    fits
}

/// Writes a record at the lower end of the heap and a slot for it before slot `i`.
fn push_record(page: &mut [u8], i: usize, suffix: &[u8], no: PageNo, entry_count: u64) {
    let len = COUNT_LEN + suffix.len();
    let at = page.len() - usize::from(header(page).heap_len.get()) - len;
    page[at..at + COUNT_LEN].copy_from_slice(&entry_count.to_le_bytes());
    page[at + COUNT_LEN..at + len].copy_from_slice(suffix);
    header_mut(page).heap_len += len as u16;
    open_slot(page, i);
    set_head(page, i, head_of(suffix));
    set_child(page, i, no);
    set_place(page, i, Place { at: U16::new(at as u16), suffix_len: U16::new(suffix.len() as u16) });
}

fn set_head(page: &mut [u8], i: usize, head: u32) {
    let at = Layout::of(page).heads + i * HEAD_LEN;
    page[at..at + HEAD_LEN].copy_from_slice(&head.to_le_bytes());
}

fn set_place(page: &mut [u8], i: usize, place: Place) {
    let at = Layout::of(page).places() + i * PLACE_LEN;
    page[at..at + PLACE_LEN].copy_from_slice(place.as_bytes());
}

/// Makes room for a slot before slot `i`: everything behind it moves up, the last array first.
fn open_slot(page: &mut [u8], i: usize) {
    let old = Layout::of(page);
    let (children, places, end) = (old.children(), old.places(), old.end());
    page.copy_within(places + i * PLACE_LEN..end, places + i * PLACE_LEN + SLOT_LEN);
    page.copy_within(places..places + i * PLACE_LEN, places + HEAD_LEN + CHILD_LEN);
    page.copy_within(children + i * CHILD_LEN..places, children + i * CHILD_LEN + HEAD_LEN + CHILD_LEN);
    page.copy_within(children..children + i * CHILD_LEN, children + HEAD_LEN);
    page.copy_within(old.heads + i * HEAD_LEN..children, old.heads + i * HEAD_LEN + HEAD_LEN);
    header_mut(page).slot_count += 1;
}

/// Closes slot `i`: everything behind it moves down, the first array first.
fn close_slot(page: &mut [u8], i: usize) {
    let old = Layout::of(page);
    let (children, places, end) = (old.children(), old.places(), old.end());
    let (head, child, place) = (old.heads + i * HEAD_LEN, children + i * CHILD_LEN, places + i * PLACE_LEN);
    page.copy_within(head + HEAD_LEN..children, head);
    page.copy_within(children..child, children - HEAD_LEN);
    page.copy_within(child + CHILD_LEN..places, child - HEAD_LEN);
    page.copy_within(places..place, places - HEAD_LEN - CHILD_LEN);
    page.copy_within(place + PLACE_LEN..end, place - HEAD_LEN - CHILD_LEN);
    page[end - SLOT_LEN..end].fill(0);
    header_mut(page).slot_count -= 1;
}

/// Removes the child in slot `i`. If it is the first, the next one loses its separator.
pub(crate) fn remove(page: &mut [u8], i: usize) {
    let gone = place(page, i);
    release_record(page, usize::from(gone.at.get()), COUNT_LEN + usize::from(gone.suffix_len.get()));
    close_slot(page, i);
    if i == 0 && slot_count(page) > 0 {
        let first = place(page, 0);
        let suffix_at = usize::from(first.at.get()) + COUNT_LEN;
        page[suffix_at..suffix_at + usize::from(first.suffix_len.get())].fill(0);
        header_mut(page).dead_len += first.suffix_len.get();
        set_head(page, 0, 0);
        set_place(page, 0, Place { at: first.at, suffix_len: U16::ZERO });
    }
}

/// Splits `left`, which has no room for a new child before slot `i`, into itself and the empty page `right`; returns the
/// separator between the two. `at_edge`: the child goes behind the last one of the tree, so `left` stays as full as it may.
pub(crate) fn split(
    left: &mut [u8],
    right: &mut [u8],
    i: usize,
    separator: &[u8],
    no: PageNo,
    entry_count: u64,
    at_edge: bool,
) -> Vec<u8> {
    let mut children = Children::take(left);
    children.insert(i, separator, no, entry_count);
    let count = children.len();
    let cut = if at_edge { children.edge(left.len()) } else { children.middle(left.len()) };
    children.build(cut..count, right);
    children.build(0..cut, left);
    children.key(cut).to_vec()
}

/// What `left` would take if it took over the children of `right`, which lie behind `separator`.
pub(crate) fn merged_len(left: &[u8], separator: &[u8], right: &[u8]) -> usize {
    let children = Children::merged(left, separator, right);
    children.built_len(0..children.len())
}

/// Moves the children of `right`, which lie behind `separator` and are known to fit, to the end of `left`.
pub(crate) fn merge(left: &mut [u8], separator: &[u8], right: &[u8]) {
    let children = Children::merged(left, separator, right);
    children.build(0..children.len(), left);
}

/// Puts `new` (separator, page and entry count of each) in the place of the children in slots `range`, the first of which keeps its
/// separator. Answers false, and changes nothing, if they do not fit.
pub(crate) fn replace(page: &mut [u8], range: Range<usize>, new: &[(Vec<u8>, PageNo, u64)]) -> bool {
    let old = Children::take(page);
    let mut children = Children::default();
    (0..range.start).for_each(|i| children.push_from(&old, i));
    for (n, (separator, no, entry_count)) in new.iter().enumerate() {
        children.push(if n == 0 { old.key(range.start) } else { separator }, *no, *entry_count);
    }
    (range.end..old.len()).for_each(|i| children.push_from(&old, i));
    let fits = children.built_len(0..children.len()) <= page.len();
    if fits {
        children.build(0..children.len(), page);
    }
    fits
}

/// Branches taken apart: whole separators, all in one buffer.
#[derive(Default)]
pub(crate) struct Children {
    keys: Vec<u8>,
    items: Vec<(Range<usize>, PageNo, u64)>,
}

impl Children {
    fn take(page: &[u8]) -> Children {
        let mut children = Children::default();
        children.extend(page, &[]);
        children
    }

    fn merged(left: &[u8], separator: &[u8], right: &[u8]) -> Children {
        let mut children = Children::take(left);
        children.extend(right, separator);
        children
    }

    /// Appends the children of a page whose first child lies behind `first`.
    pub(crate) fn extend(&mut self, page: &[u8], first: &[u8]) {
        let branch = view(page);
        for i in 0..branch.len() {
            let (entry_count, suffix) = branch.record(i).expect("a dirty branch is well formed");
            let no = branch.child(i).expect("a dirty branch is well formed");
            let start = self.keys.len();
            if i == 0 {
                self.keys.extend_from_slice(first);
            } else {
                self.keys.extend_from_slice(branch.prefix);
                self.keys.extend_from_slice(suffix);
            }
            self.items.push((start..self.keys.len(), no, entry_count));
        }
    }

    fn push(&mut self, key: &[u8], no: PageNo, entry_count: u64) {
        self.insert(self.items.len(), key, no, entry_count);
    }

    fn insert(&mut self, i: usize, key: &[u8], no: PageNo, entry_count: u64) {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        self.items.insert(i, (start..self.keys.len(), no, entry_count));
    }

    fn push_from(&mut self, other: &Children, i: usize) {
        let (_, no, entry_count) = other.items[i];
        self.push(other.key(i), no, entry_count);
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// The number of entries below the children in `range`. Saturates, as that of a [`Branch`] does.
    pub(crate) fn entries_in(&self, range: Range<usize>) -> u64 {
        self.items[range].iter().fold(0, |sum: u64, (_, _, entry_count)| sum.saturating_add(*entry_count))
    }

    pub(crate) fn key(&self, i: usize) -> &[u8] {
        &self.keys[self.items[i].0.clone()]
    }

    /// The prefix that the separators in `range` share; the first child's separator does not count.
    fn prefix(&self, range: &Range<usize>) -> &[u8] {
        if range.len() < 2 {
            return &[];
        }
        let first = self.key(range.start + 1);
        &first[..common_prefix_len(first, self.key(range.end - 1))]
    }

    /// The end of the range from `start` on to make a page of: about the longest one of at most `len_max` bytes. It has two children at
    /// least, and leaves just one only behind those two.
    pub(crate) fn fitting(&self, start: usize, len_max: usize) -> usize {
        let count = self.len();
        let mut end = (start + 2).min(count);
        let mut keys_len: usize = self.items[start..end].iter().skip(1).map(|(key, ..)| key.len()).sum();
        while end < count {
            keys_len += self.key(end).len();
            let range = start..end + 1;
            let prefix_len = self.prefix(&range).len();
            let suffixes = keys_len - (range.len() - 1) * prefix_len;
            if slots_start(prefix_len) + range.len() * (SLOT_LEN + COUNT_LEN) + suffixes > len_max {
                break;
            }
            end += 1;
        }
        if end == count {
            return end;
        }
        if end + 1 == count && end > start + 2 {
            end -= 1;
        }
        self.near(end, start + (end - start).div_ceil(2).max(2)..end)
    }

    /// Where to cut in place of `cut`: in `range`, where the separator is shorter and has less in common with the one before it, by two
    /// heads or more together. Both sides have more in common with their likes then, so that less of their separators is stored and fewer heads
    /// are equal; and so has the page above. (For the separator: Bayer and Unterauer, Prefix B-Trees.)
    fn near(&self, cut: usize, range: Range<usize>) -> usize {
        let cost = |i: usize| self.key(i).len() + common_prefix_len(self.key(i - 1), self.key(i));
        let best = range.min_by_key(|&i| (cost(i), i.abs_diff(cut)));
        best.filter(|&i| cost(i) + 2 * HEAD_LEN <= cost(cut)).unwrap_or(cut)
    }

    /// How long a page of the children in `range` is.
    pub(crate) fn built_len(&self, range: Range<usize>) -> usize {
        let prefix_len = self.prefix(&range).len();
        let suffixes: usize = (range.start + 1..range.end).map(|i| self.key(i).len() - prefix_len).sum();
        slots_start(prefix_len) + range.len() * (SLOT_LEN + COUNT_LEN) + suffixes
    }

    /// Makes `page` a branch of the children in `range`, at the level that it has.
    pub(crate) fn build(&self, range: Range<usize>, page: &mut [u8]) {
        let prefix = self.prefix(&range);
        page[HEADER_LEN..].fill(0);
        let header = header_mut(page);
        header.slot_count = U16::ZERO;
        header.heap_len = U16::ZERO;
        header.dead_len = U16::ZERO;
        header.prefix_len = U16::new(prefix.len() as u16);
        page[HEADER_LEN..HEADER_LEN + prefix.len()].copy_from_slice(prefix);
        for (slot, i) in range.enumerate() {
            let (_, no, entry_count) = self.items[i];
            let suffix = if slot == 0 { &[] } else { &self.key(i)[prefix.len()..] };
            push_record(page, slot, suffix, no, entry_count);
        }
    }

    /// Whether both sides of a cut fit pages.
    fn fits(&self, cut: usize, page_len: usize) -> bool {
        self.built_len(0..cut) <= page_len && self.built_len(cut..self.len()) <= page_len
    }

    /// A cut that leaves both sides about equal in length.
    fn middle(&self, page_len: usize) -> usize {
        let count = self.len();
        let total: usize = (0..count).map(|i| self.key(i).len() + COUNT_LEN + SLOT_LEN).sum();
        let mut left = 0;
        let mut lean = Vec::with_capacity(count);
        for i in 0..count {
            lean.push((left.max(total - left), i));
            left += self.key(i).len() + COUNT_LEN + SLOT_LEN;
        }
        lean.sort();
        let cuts = lean.iter().map(|(_, cut)| *cut).filter(|cut| (1..count).contains(cut));
        let even = cuts.into_iter().find(|&cut| self.fits(cut, page_len)).expect("halves fit");
        let near = self.near(even, (count / 3).max(2)..count - count / 3);
        if self.fits(near, page_len) { near } else { even }
    }

    /// A cut that leaves few children on the right, two at least.
    fn edge(&self, page_len: usize) -> usize {
        let last = self.len() - 2;
        let near = self.near(last, self.len().div_ceil(2).max(2)..last);
        if self.fits(near, page_len) { near } else { last }
    }
}

/// Slots and records in bounds, separators in order, heads true.
pub(super) fn verify(page: &[u8]) -> std::result::Result<(), &'static str> {
    let header = header(page);
    let level = usize::from(header.level);
    if level == 0 || level >= DEPTH_MAX {
        return Err("a branch at a level that cannot be");
    }
    let heap_len = usize::from(header.heap_len.get());
    let slots_end = Layout::of(page).end();
    let Some(heap_at) = page.len().checked_sub(heap_len).filter(|at| *at >= slots_end) else {
        return Err("slots and heap overlap");
    };
    let branch = Branch::view(page, level).map_err(|_| "a branch without children")?;
    let mut records_len = 0;
    let mut covered = Coverage::new();
    let mut previous: Option<&[u8]> = None;
    for (i, (head, child)) in branch.heads.iter().zip(branch.children).enumerate() {
        let (_, suffix) = branch.record(i).map_err(|_| "a record is out of bounds")?;
        let at = branch.place(i).map_or(0, |place| usize::from(place.at.get()));
        if at < heap_at {
            return Err("a record lies outside the heap");
        }
        if !covered.add(at, COUNT_LEN + suffix.len()) {
            return Err("records overlap");
        }
        if PageNo::new(child.get()).as_dirty().is_some() {
            return Err("a child that cannot be");
        }
        if head.get() != head_of(suffix) {
            return Err("a head that is not its separator's");
        }
        if i == 0 && !suffix.is_empty() {
            return Err("the first child has a separator");
        }
        if i > 1 && previous.is_none_or(|previous| previous.cmp(suffix) != Ordering::Less) {
            return Err("separators out of order");
        }
        previous = Some(suffix);
        records_len += COUNT_LEN + suffix.len();
    }
    if records_len + usize::from(header.dead_len.get()) != heap_len {
        return Err("records and dead bytes do not add up to the heap");
    }
    Ok(())
}

/// The first byte of a sound branch that nothing uses and that is not zero.
pub(super) fn stray_byte(page: &[u8]) -> Option<usize> {
    let layout = Layout::of(page);
    let branch = Branch::view(page, usize::from(header(page).level)).ok()?;
    let record = |i| {
        let place = branch.place(i).ok()?;
        Some((usize::from(place.at.get()), COUNT_LEN + usize::from(place.suffix_len.get())))
    };
    nonzero_in(page, HEADER_LEN + prefix_len(page)..layout.heads)
        .or_else(|| stray_byte_behind(page, layout.end(), (0..branch.len()).filter_map(record)))
}

#[cfg(test)]
mod tests {
    use super::super::{expect_sound, init};
    use super::*;

    fn page() -> Vec<u8> {
        let mut page = vec![0; 4096];
        init(&mut page, BRANCH, 1);
        page
    }

    fn content(page: &[u8]) -> Vec<(Vec<u8>, u64, u64)> {
        let branch = view(page);
        (0..branch.len())
            .map(|i| {
                let (key, no) = (branch.separator(i).unwrap(), branch.child(i).unwrap());
                (key, no.get(), branch.entry_count(i).unwrap())
            })
            .collect()
    }

    /// The child for a key, by a linear search.
    fn model_child(model: &[(Vec<u8>, u64, u64)], key: &[u8]) -> usize {
        model[1..].iter().take_while(|(separator, ..)| separator.as_slice() <= key).count()
    }

    /// Keys in two groups, `boundary` of a hundred children's in the first.
    fn grouped(boundary: usize) -> Children {
        let mut children = Children::default();
        for n in 0..100 {
            let group = if n < boundary { "hosts/alpha/page" } else { "hosts/beta/page" };
            children.push(if n == 0 { "" } else { group }.as_bytes(), PageNo::new(n as u64), 1);
            let key = format!("/{:06}", n * 7919 % 1000 + n * 1000);
            children.keys.extend_from_slice(if n == 0 { "" } else { &key }.as_bytes());
            children.items[n].0.end = children.keys.len();
        }
        children
    }

    #[test]
    fn cuts_come_where_groups_of_keys_end() {
        for boundary in 34..=66 {
            assert_eq!(grouped(boundary).middle(4096), boundary);
        }
        for boundary in 50..=98 {
            assert_eq!(grouped(boundary).edge(4096), boundary);
        }
        for boundary in 30..=50 {
            assert_eq!(grouped(boundary).fitting(0, 2000), boundary);
        }
        // Not where that leaves a page with little in it.
        assert!((49..=51).contains(&grouped(10).middle(4096)));
        assert_eq!(grouped(40).edge(4096), 98);
        assert!(grouped(20).fitting(0, 2000) > 40);
    }

    #[test]
    fn separators_compare_as_keys() {
        fn property(key: Vec<u8>, prefix: Vec<u8>, suffix: Vec<u8>) -> bool {
            let separator = Separator { prefix: &prefix, suffix: &suffix };
            let whole = [prefix.clone(), suffix.clone()].concat();
            let keys =
                [key.clone(), whole.clone(), [&whole[..], &key].concat(), [&prefix[..], &key].concat(), prefix.clone()];
            keys.iter().all(|key| separator.cmp_key(key) == whole.cmp(key))
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, Vec<u8>, Vec<u8>) -> bool);
    }

    #[test]
    fn edits_agree_with_a_sorted_vec() {
        for seed in 0..60 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut page = page();
            build_root(&mut page, (PageNo::new(2), 5), b"shared/m", (PageNo::new(3), 6));
            let mut model = vec![(vec![], 2, 5), (b"shared/m".to_vec(), 3, 6)];
            for no in 4..400 {
                let stem = ["shared/", "shared/prefix/", "sh", ""][rng.usize(..if seed % 2 == 0 { 2 } else { 4 })];
                let key = format!("{stem}{:03}", rng.u32(..1000)).into_bytes();
                assert_eq!(view(&page).child_for(&key).unwrap(), model_child(&model, &key), "seed {seed}");
                if rng.u32(..4) == 0 && model.len() > 1 {
                    let i = rng.usize(..model.len());
                    remove(&mut page, i);
                    model.remove(i);
                    model[0].0.clear();
                } else {
                    let i = model_child(&model, &key) + 1;
                    if model[i - 1].0 == key {
                        continue;
                    }
                    if insert(&mut page, i, &key, PageNo::new(no), no * 10) {
                        model.insert(i, (key, no, no * 10));
                    } else {
                        let mut right = page.clone();
                        right[HEADER_LEN..].fill(0);
                        let at_edge = i == model.len();
                        let separator = split(&mut page, &mut right, i, &key, PageNo::new(no), no * 10, at_edge);
                        model.insert(i, (key, no, no * 10));
                        expect_sound(&right);
                        let mut halves = content(&page);
                        let cut = halves.len();
                        halves.extend(content(&right));
                        halves[cut].0 = separator.clone();
                        assert_eq!(halves, model, "seed {seed}");
                        assert_eq!(total(&page) + total(&right), model.iter().map(|child| child.2).sum::<u64>());
                        assert!(merged_len(&page, &separator, &right) > page.len());
                        model.truncate(cut);
                    }
                }
                expect_sound(&page);
                assert_eq!(content(&page), model, "seed {seed}");
            }
        }
    }

    #[test]
    fn merge_undoes_split() {
        let mut left = page();
        build_root(&mut left, (PageNo::new(2), 1), b"prefix-b", (PageNo::new(3), 2));
        let mut right = page();
        build_root(&mut right, (PageNo::new(4), 3), b"prefix-x", (PageNo::new(5), 4));
        assert!(merged_len(&left, b"prefix-m", &right) <= left.len());
        merge(&mut left, b"prefix-m", &right);
        expect_sound(&left);
        let keys: Vec<_> = content(&left).into_iter().map(|(key, ..)| String::from_utf8(key).unwrap()).collect();
        assert_eq!(keys, ["", "prefix-b", "prefix-m", "prefix-x"]);
        assert_eq!(total(&left), 10);
    }
}
