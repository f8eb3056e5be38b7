//! Leaf pages: entries in key order, with slots or uniform. Here is the view that reads one; [`edit`] changes one.
//!
//! A view checks every offset on access and answers `Error::Corrupt`. Called by `tree`.

mod edit;

use std::cmp::Ordering;
use std::ops::Range;
use std::slice;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

pub(crate) use edit::{
    append, choose_cut, fill_from, halve, insert, merge, push, remove, remove_each, remove_range, replace, separator,
    split,
};

use super::large::{LARGE_REF_LEN, LargeRef};
use super::uniform::{self, Shape, is_uniform};
use super::{
    Coverage, HAS_LARGE, HEADER_LEN, Head, LEAF, Malformed, SLOT_LEN, Slot, equal_run, head_of, header, lower_bound,
    slots_at, stray_byte_behind,
};

/// What reading a leaf comes to.
type Result<'a, T> = std::result::Result<T, Malformed<'a>>;

const VALUE_LEN_LEN: usize = 2;

/// The bit in `value_len` that says: what follows the key refers to a large value.
const LARGE: u16 = 1 << 15;

/// A value as a leaf stores it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value<'a> {
    Inline(&'a [u8]),
    Large(LargeRef),
}

impl Value<'_> {
    fn stored_len(&self) -> usize {
        match self {
            Value::Inline(bytes) => bytes.len(),
            Value::Large(_) => LARGE_REF_LEN,
        }
    }

    fn stored_bytes(&self) -> &[u8] {
        match self {
            Value::Inline(bytes) => bytes,
            Value::Large(large) => large.as_bytes(),
        }
    }

    fn len_field(&self) -> u16 {
        self.stored_len() as u16 | if matches!(self, Value::Large(_)) { LARGE } else { 0 }
    }
}

/// What an entry takes in a leaf, its slot included.
pub(crate) fn entry_len(key: &[u8], value: &Value<'_>) -> usize {
    SLOT_LEN + VALUE_LEN_LEN + key.len() + value.stored_len()
}

/// Like [`entry_len`], for an inline value of `value_len` bytes.
pub(crate) fn inline_entry_len(key: &[u8], value_len: usize) -> usize {
    SLOT_LEN + VALUE_LEN_LEN + key.len() + value_len
}

/// How a leaf says where its entries are.
#[derive(Clone, Copy)]
enum Layout<'a> {
    /// Each slot says where its record lies.
    Slotted(&'a [Slot]),
    /// All records are of one length and lie in a row.
    Uniform(&'a [U32], Shape),
}

/// A leaf to be read.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a> {
    page: &'a [u8],
    layout: Layout<'a>,
    prefix_len: usize,
}

/// Entries of one leaf, from either end.
pub(crate) struct Entries<'a> {
    page: &'a [u8],
    rest: Rest<'a>,
}

enum Rest<'a> {
    Slotted(slice::Iter<'a, Slot>),
    /// The records in a row, the first one at its end.
    Uniform(&'a [u8], Shape),
}

impl Default for Entries<'_> {
    fn default() -> Self {
        Entries { page: &[], rest: Rest::Slotted([].iter()) }
    }
}

impl<'a> Entries<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        match &self.rest {
            Rest::Slotted(slots) => slots.as_slice().is_empty(),
            Rest::Uniform(records, _) => records.is_empty(),
        }
    }

    #[inline]
    fn entry<T>(&self, parts: Option<T>) -> Result<'a, T> {
        parts.ok_or(Malformed(self.page))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<'a, (&'a [u8], Value<'a>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let parts = match &mut self.rest {
            Rest::Slotted(slots) => slotted_entry(self.page, slots.next()?),
            Rest::Uniform(records, shape) => {
                let start = records.len().checked_sub(shape.record_len())?;
                let record = records.split_off(start..)?;
                uniform_entry(record, shape.key_len())
            }
        };
        Some(self.entry(parts))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let parts = match &mut self.rest {
            Rest::Slotted(slots) => slotted_entry(self.page, slots.next_back()?),
            Rest::Uniform(records, shape) => {
                let record = records.split_off(..shape.record_len())?;
                uniform_entry(record, shape.key_len())
            }
        };
        Some(self.entry(parts))
    }
}

#[inline]
fn slotted_entry<'a>(page: &'a [u8], slot: &Slot) -> Option<(&'a [u8], Value<'a>)> {
    let record = page.get(usize::from(slot.at.get())..)?;
    let (value_len, rest) = record.split_first_chunk::<VALUE_LEN_LEN>()?;
    let (key, rest) = rest.split_at_checked(usize::from(slot.key_len.get()))?;
    let value_len = u16::from_le_bytes(*value_len);
    let stored = rest.get(..usize::from(value_len & !LARGE))?;
    match value_len & LARGE {
        0 => Some((key, Value::Inline(stored))),
        _ => Some((key, Value::Large(LargeRef::read_from_bytes(stored).ok()?))),
    }
}

#[inline]
fn slotted_record<'a>(page: &'a [u8], slot: &Slot) -> Option<&'a [u8]> {
    let record = page.get(usize::from(slot.at.get())..)?;
    let (value_len, _) = record.split_first_chunk::<VALUE_LEN_LEN>()?;
    let stored_len = usize::from(u16::from_le_bytes(*value_len) & !LARGE);
    record.get(..VALUE_LEN_LEN + usize::from(slot.key_len.get()) + stored_len)
}

#[inline]
fn slotted_key<'a>(page: &'a [u8], slots: &[Slot], i: usize) -> Option<&'a [u8]> {
    let slot = slots.get(i)?;
    let at = usize::from(slot.at.get()) + VALUE_LEN_LEN;
    page.get(at..at + usize::from(slot.key_len.get()))
}

#[inline]
fn uniform_record<'a>(page: &'a [u8], heads: &[U32], shape: Shape, i: usize) -> Option<&'a [u8]> {
    let record = page.get(uniform::record_at(page.len(), shape.record_len(), i)?..)?.get(..shape.record_len())?;
    (i < heads.len()).then_some(record)
}

#[inline]
fn uniform_key<'a>(page: &'a [u8], heads: &[U32], shape: Shape, i: usize) -> Option<&'a [u8]> {
    uniform_record(page, heads, shape, i)?.get(..shape.key_len())
}

#[inline]
fn uniform_entry(record: &[u8], key_len: usize) -> Option<(&[u8], Value<'_>)> {
    let (key, value) = record.split_at_checked(key_len)?;
    Some((key, Value::Inline(value)))
}

impl<'a> Leaf<'a> {
    #[inline]
    pub(crate) fn view(page: &'a [u8]) -> Result<'a, Leaf<'a>> {
        let header = header(page);
        let count = usize::from(header.slot_count.get());
        let layout = if is_uniform(page) {
            uniform::heads(page, count).map(|heads| Layout::Uniform(heads, Shape::read(page)))
        } else {
            slots_at(page, HEADER_LEN, count).map(Layout::Slotted)
        };
        match layout {
            Some(layout) if header.kind == LEAF && count > 0 => {
                Ok(Leaf { page, layout, prefix_len: usize::from(header.prefix_len.get()) })
            }
            _ => Err(Malformed(page)),
        }
    }

    /// The number of entries: at least one.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self.layout {
            Layout::Slotted(slots) => slots.len(),
            Layout::Uniform(heads, _) => heads.len(),
        }
    }

    /// Whether all keys are of one length and all values of another, and both short.
    pub(crate) fn is_uniform(&self) -> bool {
        matches!(self.layout, Layout::Uniform(..))
    }

    #[inline]
    fn sound<T>(&self, found: Option<T>) -> Result<'a, T> {
        found.ok_or(Malformed(self.page))
    }

    #[inline]
    pub(crate) fn key(&self, i: usize) -> Result<'a, &'a [u8]> {
        let key = match self.layout {
            Layout::Slotted(slots) => slotted_key(self.page, slots, i),
            Layout::Uniform(heads, shape) => uniform_key(self.page, heads, shape, i),
        };
        self.sound(key)
    }

    #[inline]
    pub(crate) fn entry(&self, i: usize) -> Result<'a, (&'a [u8], Value<'a>)> {
        let entry = match self.layout {
            Layout::Slotted(slots) => slots.get(i).and_then(|slot| slotted_entry(self.page, slot)),
            Layout::Uniform(heads, shape) => {
                let record = uniform_record(self.page, heads, shape, i);
                record.and_then(|record| uniform_entry(record, shape.key_len()))
            }
        };
        self.sound(entry)
    }

    /// The entries in slots `range`; none of slots that there are not.
    #[inline]
    pub(crate) fn entries(&self, range: Range<usize>) -> Result<'a, Entries<'a>> {
        let rest = match self.layout {
            Layout::Slotted(slots) => Some(Rest::Slotted(slots.get(range).unwrap_or_default().iter())),
            Layout::Uniform(heads, shape) if shape.record_len() > 0 => {
                let range = if heads.get(range.clone()).is_some() { range } else { 0..0 };
                uniform::records(self.page, shape.record_len(), range).map(|records| Rest::Uniform(records, shape))
            }
            Layout::Uniform(..) => None,
        };
        self.sound(rest.map(|rest| Entries { page: self.page, rest }))
    }

    #[inline]
    pub(crate) fn value(&self, i: usize) -> Result<'a, Value<'a>> {
        self.entry(i).map(|(_, value)| value)
    }

    /// The first slot whose head is not less than `head`, and whether it is equal.
    #[inline(always)]
    fn lower_bound(&self, head: u32) -> (usize, bool) {
        #[inline(always)]
        fn among(heads: &[impl Head], head: u32) -> (usize, bool) {
            let first = lower_bound(heads, head);
            (first, heads.get(first).is_some_and(|slot| slot.head() == head))
        }
        match self.layout {
            Layout::Slotted(slots) => among(slots, head),
            Layout::Uniform(heads, _) => among(heads, head),
        }
    }

    /// The head in slot `i`, which exists.
    fn head(&self, i: usize) -> u32 {
        match self.layout {
            Layout::Slotted(slots) => slots[i].head(),
            Layout::Uniform(heads, _) => heads[i].head(),
        }
    }

    /// The slots from `first`, their lower bound, on whose head is `head`.
    fn equal_run(&self, first: usize, head: u32) -> Range<usize> {
        match self.layout {
            Layout::Slotted(slots) => equal_run(slots, first, head),
            Layout::Uniform(heads, _) => equal_run(heads, first, head),
        }
    }

    /// The first slot with the head of `key`, if there is one: no record is looked at.
    #[inline]
    pub(crate) fn candidate(&self, key: &[u8]) -> Option<usize> {
        let (first, is_equal) = self.lower_bound(head_of(key.get(self.prefix_len..)?));
        is_equal.then_some(first)
    }

    /// Where the record of slot `i` lies, if there is such a slot and what it says is true.
    #[inline]
    pub(crate) fn record_at(&self, i: usize) -> Option<usize> {
        match self.layout {
            Layout::Slotted(slots) => slots.get(i).map(|slot| usize::from(slot.at.get())),
            Layout::Uniform(heads, shape) => {
                uniform::record_at(self.page.len(), shape.record_len(), i).filter(|_| i < heads.len())
            }
        }
    }

    /// Where some records from slot `i` on lie, for a prefetch: of `count` records each that is not beside one of the others.
    #[inline(always)]
    pub(crate) fn places(&self, i: usize, count: usize, mut place: impl FnMut(usize)) {
        match self.layout {
            Layout::Slotted(slots) => slots.iter().skip(i).take(count).for_each(|slot| place(slot.at.get().into())),
            Layout::Uniform(heads, _) => {
                let last = (i + count).min(heads.len()).saturating_sub(1);
                [i, last].into_iter().filter_map(|i| self.record_at(i)).for_each(place);
            }
        }
    }

    /// Whether the page's records are long: several cache lines each.
    #[inline]
    pub(crate) fn has_long_records(&self) -> bool {
        match self.layout {
            Layout::Slotted(slots) => usize::from(header(self.page).heap_len.get()) > slots.len() * 64,
            Layout::Uniform(..) => false,
        }
    }

    /// The value of `key`, if it is here; its candidate is `i`. Looks at one record, at most a few.
    #[inline(always)]
    pub(crate) fn get_from(&self, i: usize, key: &[u8]) -> Result<'a, Option<Value<'a>>> {
        let (found, value) = self.entry(i)?;
        if found == key { Ok(Some(value)) } else { get_among_equals(self.page, i, key) }
    }

    /// The value of `key`, if it is here.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn get(&self, key: &[u8]) -> Result<'a, Option<Value<'a>>> {
        match self.candidate(key) {
            Some(i) => self.get_from(i, key),
            None => Ok(None),
        }
    }

    /// The error for something that is wrong with the leaf.
    pub(crate) fn corrupt(&self, what: &'static str) -> crate::error::Error {
        super::corrupt(self.page, what)
    }

    /// The error for a leaf that does not follow the one before it in the order of keys.
    pub(crate) fn out_of_order(&self) -> crate::error::Error {
        self.corrupt("a leaf out of order")
    }

    /// The prefix that all keys share, as it stands in a record that an insert before slot `i` touches next: in a uniform leaf the one in
    /// that slot; in a slotted one the newest, if that is certain to be in use.
    #[inline]
    fn prefix(&self, i: usize) -> Result<'a, &'a [u8]> {
        let header = header(self.page);
        if matches!(self.layout, Layout::Uniform(..)) || header.dead_len.get() > 0 {
            let near = self.key(i.min(self.len() - 1))?;
            return self.sound(near.get(..self.prefix_len));
        }
        self.sound(self.heap_at().and_then(|at| self.page.get(at + VALUE_LEN_LEN..)?.get(..self.prefix_len)))
    }

    /// Where the newest record of a slotted leaf lies, and behind it the others.
    #[inline]
    pub(crate) fn heap_at(&self) -> Option<usize> {
        match self.layout {
            Layout::Slotted(_) => self.page.len().checked_sub(usize::from(header(self.page).heap_len.get())),
            Layout::Uniform(..) => None,
        }
    }

    /// As [`Leaf::search`], where what is found is about to change: looks at no record but those that the change touches, if heads tell
    /// the key from the others. In a leaf that nobody verified it may be wrong about keys that are there.
    pub(crate) fn search_to_change(&self, key: &[u8]) -> Result<'a, std::result::Result<usize, usize>> {
        if let Some((start, rest)) = key.split_at_checked(self.prefix_len) {
            let (near, is_equal) = self.lower_bound(head_of(rest));
            if is_equal {
                if self.key(near)? == key {
                    return Ok(Ok(near));
                }
            } else if self.prefix_len == 0 || start == self.prefix(near)? {
                return Ok(Err(near));
            }
        }
        self.search(key)
    }

    /// The slot that holds `key` (`Ok`), or the slot before which it belongs (`Err`). Looks at few records: the page's prefix is read in
    /// the one that the key's head leads to, and not in the first.
    pub(crate) fn search(&self, key: &[u8]) -> Result<'a, std::result::Result<usize, usize>> {
        self.search_near(self.near(key), key)
    }

    /// The same, where [`Leaf::near`] has found `near` for the key.
    fn search_near(&self, near: usize, key: &[u8]) -> Result<'a, std::result::Result<usize, usize>> {
        let Some((start, rest)) = key.split_at_checked(self.prefix_len) else {
            return self.search_run(0..self.len(), key);
        };
        if self.prefix_len > 0 {
            let near = self.key(near.min(self.len() - 1))?;
            match start.cmp(self.sound(near.get(..self.prefix_len))?) {
                Ordering::Less => return Ok(Err(0)),
                Ordering::Equal => {}
                Ordering::Greater => return Ok(Err(self.len())),
            }
        }
        self.search_run(self.equal_run(near, head_of(rest)), key)
    }

    /// About where `key` belongs, judged by heads alone: no record is looked at.
    #[inline]
    pub(crate) fn near(&self, key: &[u8]) -> usize {
        key.get(self.prefix_len..).map_or(0, |rest| self.lower_bound(head_of(rest)).0)
    }

    /// The first slot whose key is not less than `key`, or with `after` is greater, where [`Leaf::near`] has found `near` for the key.
    pub(crate) fn bound_near(&self, near: usize, key: &[u8], after: bool) -> Result<'a, usize> {
        Ok(match self.search_near(near, key)? {
            Ok(i) => i + usize::from(after),
            Err(i) => i,
        })
    }

    /// The same, with nothing found yet.
    pub(crate) fn bound(&self, key: &[u8], after: bool) -> Result<'a, usize> {
        self.bound_near(self.near(key), key, after)
    }

    fn search_run(&self, run: Range<usize>, key: &[u8]) -> Result<'a, std::result::Result<usize, usize>> {
        #[inline]
        fn among<'a>(
            mut run: Range<usize>,
            key: &[u8],
            key_at: impl Fn(usize) -> Option<&'a [u8]>,
        ) -> Option<std::result::Result<usize, usize>> {
            while !run.is_empty() {
                let middle = run.start + run.len() / 2;
                match key_at(middle)?.cmp(key) {
                    Ordering::Less => run.start = middle + 1,
                    Ordering::Equal => return Some(Ok(middle)),
                    Ordering::Greater => run.end = middle,
                }
            }
            Some(Err(run.start))
        }
        let place = match self.layout {
            Layout::Slotted(slots) => among(run, key, |i| slotted_key(self.page, slots, i)),
            Layout::Uniform(heads, shape) => among(run, key, |i| uniform_key(self.page, heads, shape, i)),
        };
        self.sound(place)
    }

    /// The bytes of record `i`, its `value_len` included where it has one.
    fn record(&self, i: usize) -> Result<'a, &'a [u8]> {
        let record = match self.layout {
            Layout::Slotted(slots) => slots.get(i).and_then(|slot| slotted_record(self.page, slot)),
            Layout::Uniform(heads, shape) => uniform_record(self.page, heads, shape, i),
        };
        self.sound(record)
    }

    /// What entry `i` takes in a leaf of the page's layout.
    fn entry_len(&self, i: usize) -> Result<'a, usize> {
        match self.layout {
            Layout::Slotted(_) => self.slotted_entry_len(i),
            Layout::Uniform(_, shape) => Ok(shape.entry_len()),
        }
    }

    /// What entry `i` takes in a slotted leaf.
    fn slotted_entry_len(&self, i: usize) -> Result<'a, usize> {
        match self.layout {
            Layout::Slotted(_) => self.record(i).map(|record| SLOT_LEN + record.len()),
            Layout::Uniform(_, shape) => Ok(SLOT_LEN + VALUE_LEN_LEN + shape.record_len()),
        }
    }

    /// The shape that all entries have, if a uniform leaf can hold them.
    fn shape(&self) -> Option<Shape> {
        match self.layout {
            Layout::Uniform(..) => Some(Shape::read(self.page)),
            Layout::Slotted(slots) => {
                let (key, value) = self.entry(0).ok()?;
                let shape = Shape::of(key, &value)?;
                let is_alike = |slot| {
                    let (key, value) = slotted_entry(self.page, slot)?;
                    (Shape::of(key, &value) == Some(shape)).then_some(())
                };
                slots.iter().try_for_each(is_alike).map(|()| shape)
            }
        }
    }
}

/// As `get_from`, when the candidate is not the key's. It takes the page and views it again, so that where this is not called, nothing of
/// the view has to be in memory.
#[inline(never)]
fn get_among_equals<'a>(page: &'a [u8], first: usize, key: &[u8]) -> Result<'a, Option<Value<'a>>> {
    let leaf = Leaf::view(page)?;
    let head = key.get(leaf.prefix_len..).map_or(0, head_of);
    match leaf.search_run(leaf.equal_run(first, head), key)? {
        Ok(i) => leaf.value(i).map(Some),
        Err(_) => Ok(None),
    }
}

/// Bytes of slots, or heads, and records that are in use. Saturates, for a page that nobody verified.
pub(crate) fn live_len(page: &[u8]) -> usize {
    if is_uniform(page) {
        return uniform::live_len(page);
    }
    let header = header(page);
    let used = usize::from(header.slot_count.get()) * SLOT_LEN + usize::from(header.heap_len.get());
    used.saturating_sub(usize::from(header.dead_len.get()))
}

/// As [`live_len`], of the page as packing leaves it: uniform if it can be.
pub(crate) fn packed_len(page: &[u8]) -> usize {
    match view(page).shape() {
        Some(shape) => slot_count(page) * shape.entry_len(),
        None => live_len(page),
    }
}

/// As [`live_len`], of the page with slots.
fn slotted_len(page: &[u8]) -> usize {
    if !is_uniform(page) {
        return live_len(page);
    }
    slot_count(page).saturating_mul(SLOT_LEN + VALUE_LEN_LEN + Shape::read(page).record_len())
}

/// What the entries of two pages take in one.
pub(crate) fn merged_len(left: &[u8], right: &[u8]) -> usize {
    if is_alike(left, right) { live_len(left) + live_len(right) } else { slotted_len(left) + slotted_len(right) }
}

/// Whether both pages have slots, or both are uniform and of one shape.
fn is_alike(left: &[u8], right: &[u8]) -> bool {
    match (is_uniform(left), is_uniform(right)) {
        (true, true) => Shape::read(left) == Shape::read(right),
        (left, right) => left == right,
    }
}

fn slot_count(page: &[u8]) -> usize {
    usize::from(header(page).slot_count.get())
}

/// Whether any entry may be large.
pub(crate) fn has_large(page: &[u8]) -> bool {
    header(page).flags.get() & HAS_LARGE != 0
}

/// The page as a view. A dirty page is well formed, and the callers know that it is not empty.
fn view(page: &[u8]) -> Leaf<'_> {
    Leaf::view(page).expect("a dirty leaf is well formed")
}

fn view_entry(page: &[u8], i: usize) -> (&[u8], Value<'_>) {
    view(page).entry(i).expect("a dirty leaf is well formed")
}

/// Slots and records in bounds, keys in order, heads and prefix true.
pub(super) fn verify(page: &[u8]) -> std::result::Result<(), &'static str> {
    if header(page).level != 0 {
        return Err("a leaf above level 0");
    }
    if is_uniform(page) { uniform::verify(page) } else { verify_records(page) }?;
    let leaf = Leaf::view(page).map_err(|_| "a leaf without entries")?;
    let prefix = leaf.key(0).ok().and_then(|key| key.get(..leaf.prefix_len));
    let prefix = prefix.ok_or("the prefix is longer than the first key")?;
    let mut previous: Option<(u32, &[u8])> = None;
    for i in 0..leaf.len() {
        let key = leaf.key(i).map_err(|_| "a record is out of bounds")?;
        let rest = key.strip_prefix(prefix).ok_or("a key without the page's prefix")?;
        let head = leaf.head(i);
        if head != head_of(rest) {
            return Err("a head that is not its key's");
        }
        let ascending = previous.is_none_or(|(last, last_key)| last < head || (last == head && last_key < key));
        if !ascending {
            return Err("keys out of order");
        }
        previous = Some((head, key));
    }
    Ok(())
}

/// The first byte of a sound leaf that nothing uses and that is not zero.
pub(super) fn stray_byte(page: &[u8]) -> Option<usize> {
    let leaf = Leaf::view(page).ok()?;
    if leaf.is_uniform() {
        return uniform::stray_byte(page);
    }
    let records = (0..leaf.len()).filter_map(|i| Some((leaf.record_at(i)?, leaf.record(i).ok()?.len())));
    stray_byte_behind(page, HEADER_LEN + leaf.len() * SLOT_LEN, records)
}

/// Whether the records of a slotted leaf fill the heap, each with bytes of its own.
fn verify_records(page: &[u8]) -> std::result::Result<(), &'static str> {
    let header = header(page);
    let heap_len = usize::from(header.heap_len.get());
    let count = slot_count(page);
    let Some(heap_at) = page.len().checked_sub(heap_len).filter(|at| *at >= HEADER_LEN + count * SLOT_LEN) else {
        return Err("slots and heap overlap");
    };
    let leaf = Leaf::view(page).map_err(|_| "a leaf without entries")?;
    let mut records_len = 0;
    let mut covered = Coverage::new();
    for i in 0..count {
        let (key, value) = leaf.entry(i).map_err(|_| "a record is out of bounds")?;
        let at = leaf.record_at(i).filter(|&at| at >= heap_at).ok_or("a record lies outside the heap")?;
        if matches!(value, Value::Large(_)) && header.flags.get() & HAS_LARGE == 0 {
            return Err("a large value is not flagged");
        }
        let record_len = VALUE_LEN_LEN + key.len() + value.stored_len();
        records_len += record_len;
        if !covered.add(at, record_len) {
            return Err("records overlap");
        }
    }
    if records_len + usize::from(header.dead_len.get()) != heap_len {
        return Err("records and dead bytes do not add up to the heap");
    }
    Ok(())
}
