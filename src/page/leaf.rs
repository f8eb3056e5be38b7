//! Leaf pages: entries in key order. A view to read one, and the edits of a dirty one.
//!
//! A view checks every offset on access and answers `Error::Corrupt`. The edits work on dirty pages, which are known to be
//! well formed: they were made here, or verified when they were copied. Called by `tree`.
//!
//! A leaf begins as a uniform one if its first entry allows that (see `uniform`), and gets slots when an entry of other lengths comes. A
//! leaf with slots becomes uniform where it is full, split, merged or packed, and all that it holds is alike. So nobody has to declare
//! lengths, an odd entry concerns its own leaf, and a whole tree never has to be converted.

use std::cmp::Ordering;
use std::ops::Range;
use std::slice;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use super::large::{LARGE_REF_LEN, LargeRef};
use super::uniform::{self, Shape, is_uniform};
use super::{
    Coverage, HAS_LARGE, HEADER_LEN, Head, LEAF, Malformed, SLOT_LEN, Slot, common_prefix_len, equal_run, head_of,
    header, header_mut, insert_slot, lower_bound, release_record, remove_slots, slots_at, slots_at_mut,
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

    /// The error for a leaf that does not follow the one before it in the order of keys.
    pub(crate) fn out_of_order(&self) -> crate::error::Error {
        super::corrupt(self.page, "a leaf out of order")
    }

    /// The prefix that all keys share, as it stands in a record that an insert before slot `i` touches next: in a uniform leaf the one in
    /// that slot; in a slotted one the newest, if that is certain to be in use.
    #[inline]
    fn prefix(&self, i: usize) -> Result<'a, &'a [u8]> {
        let header = header(self.page);
        if is_uniform(self.page) || header.dead_len.get() > 0 {
            let near = self.key(i.min(self.len() - 1))?;
            return self.sound(near.get(..self.prefix_len));
        }
        let newest = self.page.len().checked_sub(usize::from(header.heap_len.get()));
        self.sound(newest.and_then(|at| self.page.get(at + VALUE_LEN_LEN..)?.get(..self.prefix_len)))
    }

    /// The slot that holds `key` (`Ok`), or the slot before which it belongs (`Err`). Looks at few records: the page's prefix is read in
    /// the one that the key's head leads to, and not in the first.
    pub(crate) fn search(&self, key: &[u8]) -> Result<'a, std::result::Result<usize, usize>> {
        let Some((start, rest)) = key.split_at_checked(self.prefix_len) else {
            return self.search_run(0..self.len(), key);
        };
        let head = head_of(rest);
        let (first, _) = self.lower_bound(head);
        if self.prefix_len > 0 {
            let near = self.key(first.min(self.len() - 1))?;
            match start.cmp(self.sound(near.get(..self.prefix_len))?) {
                Ordering::Less => return Ok(Err(0)),
                Ordering::Equal => {}
                Ordering::Greater => return Ok(Err(self.len())),
            }
        }
        self.search_run(self.equal_run(first, head), key)
    }

    /// About where [`Leaf::bound`] leads, judged by heads alone: for a prefetch.
    #[inline]
    pub(crate) fn near(&self, key: &[u8]) -> usize {
        key.get(self.prefix_len..).map_or(0, |rest| self.lower_bound(head_of(rest)).0)
    }

    /// The first slot whose key is not less than `key`, or with `after` is greater.
    pub(crate) fn bound(&self, key: &[u8], after: bool) -> Result<'a, usize> {
        Ok(match self.search(key)? {
            Ok(i) => i + usize::from(after),
            Err(i) => i,
        })
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

/// Inserts an entry before slot `i`. Answers false, and changes no entry, if it does not fit.
pub(crate) fn insert(page: &mut [u8], i: usize, key: &[u8], value: Value<'_>) -> bool {
    let is_empty = slot_count(page) == 0;
    if !is_empty && !is_uniform(page) {
        // Rather than split a leaf, see whether what made it slotted is gone.
        return insert_slotted(page, i, key, value)
            || (Shape::of(key, &value).is_some() && make_uniform(page) && insert(page, i, key, value));
    }
    let shape = Shape::of(key, &value);
    if is_empty {
        let Some(shape) = shape else { return insert_slotted(page, i, key, value) };
        uniform::begin(page, shape, key.len());
    }
    if shape == Some(Shape::read(page)) {
        return insert_uniform(page, i, key, value.stored_bytes());
    }
    if HEADER_LEN + slotted_len(page) + entry_len(key, &value) > page.len() {
        return false;
    }
    to_slots(page);
    insert_slotted(page, i, key, value)
}

fn insert_uniform(page: &mut [u8], i: usize, key: &[u8], value: &[u8]) -> bool {
    if HEADER_LEN + live_len(page) + Shape::read(page).entry_len() > page.len() {
        return false;
    }
    if slot_count(page) > 0 {
        share_prefix(page, i, key);
    }
    uniform::insert(page, i, key, value);
    true
}

#[inline]
fn insert_slotted(page: &mut [u8], i: usize, key: &[u8], value: Value<'_>) -> bool {
    if HEADER_LEN + live_len(page) + entry_len(key, &value) > page.len() {
        return false;
    }
    let count = slot_count(page);
    let heap_len = usize::from(header(page).heap_len.get());
    if HEADER_LEN + count * SLOT_LEN + heap_len + entry_len(key, &value) > page.len() {
        rewrite(page);
    }
    if count == 0 {
        header_mut(page).prefix_len = U16::new(key.len() as u16);
    } else {
        share_prefix(page, i, key);
    }
    let prefix_len = usize::from(header(page).prefix_len.get());
    let at = push_record(page, key, value);
    let slot = Slot {
        head: U32::new(head_of(&key[prefix_len..])),
        at: U16::new(at as u16),
        key_len: U16::new(key.len() as u16),
    };
    insert_slot(page, HEADER_LEN, count, i, slot);
    true
}

/// Shortens the page's prefix to what `key` has of it. The key belongs before slot `i`.
#[inline]
fn share_prefix(page: &mut [u8], i: usize, key: &[u8]) {
    // Without a prefix this touches no record.
    let prefix = view(page).prefix(i).expect("a dirty leaf is well formed");
    if !key.starts_with(prefix) {
        let shared = common_prefix_len(prefix, key);
        set_prefix(page, shared);
    }
}

/// Appends an entry. Answers false, and changes no entry, if it does not fit.
pub(crate) fn append(page: &mut [u8], key: &[u8], value: Value<'_>) -> bool {
    let count = slot_count(page);
    insert(page, count, key, value)
}

/// Writes a record at the lower end of the heap and returns where.
fn push_record(page: &mut [u8], key: &[u8], value: Value<'_>) -> usize {
    let len = VALUE_LEN_LEN + key.len() + value.stored_len();
    let at = page.len() - usize::from(header(page).heap_len.get()) - len;
    let (value_len, rest) = page[at..at + len].split_at_mut(VALUE_LEN_LEN);
    value_len.copy_from_slice(&value.len_field().to_le_bytes());
    rest[..key.len()].copy_from_slice(key);
    rest[key.len()..].copy_from_slice(value.stored_bytes());
    let header = header_mut(page);
    header.heap_len += len as u16;
    if matches!(value, Value::Large(_)) {
        header.flags |= HAS_LARGE;
    }
    at
}

/// Sets the prefix length and with it every head.
fn set_prefix(page: &mut [u8], prefix_len: usize) {
    if is_uniform(page) {
        return uniform::set_prefix(page, prefix_len);
    }
    header_mut(page).prefix_len = U16::new(prefix_len as u16);
    for i in 0..slot_count(page) {
        let head = head_of(&view_entry(page, i).0[prefix_len..]);
        slots_at_mut(page, HEADER_LEN, i + 1)[i].head = U32::new(head);
    }
}

/// Removes the entry in slot `i`.
pub(crate) fn remove(page: &mut [u8], i: usize) {
    let count = slot_count(page);
    if count == 1 {
        clear(page);
    } else if is_uniform(page) {
        uniform::remove(page, i..i + 1);
    } else {
        let leaf = view(page);
        let at = leaf.record_at(i).expect("a dirty leaf is well formed");
        let len = leaf.record(i).expect("a dirty leaf is well formed").len();
        release_record(page, at, len);
        remove_slots(page, HEADER_LEN, count, i..i + 1);
    }
}

/// Removes the entries in slots `range`, which is not all of them.
pub(crate) fn remove_range(page: &mut [u8], range: Range<usize>) {
    if is_uniform(page) {
        uniform::remove(page, range);
        let prefix_len = common_prefix_len(view_entry(page, 0).0, view_entry(page, slot_count(page) - 1).0);
        if prefix_len != usize::from(header(page).prefix_len.get()) {
            set_prefix(page, prefix_len);
        }
        return;
    }
    let count = slot_count(page);
    remove_slots(page, HEADER_LEN, count, range);
    compact(page);
}

/// Replaces the value in slot `i`. Answers false, and changes nothing, if the new one does not fit.
pub(crate) fn replace(page: &mut [u8], i: usize, value: Value<'_>) -> bool {
    let (key, old) = view_entry(page, i);
    let (old_len, new_len) = (old.stored_len(), value.stored_len());
    if is_uniform(page) && old_len == new_len && matches!(value, Value::Inline(_)) {
        value_mut(page, i).copy_from_slice(value.stored_bytes());
        return true;
    }
    if HEADER_LEN + slotted_len(page) - old_len + new_len > page.len() {
        return false;
    }
    let key = key.to_vec();
    if is_uniform(page) {
        to_slots(page);
    }
    if new_len > old_len {
        remove(page, i);
        return insert_slotted(page, i, &key, value);
    }
    let at = view(page).record_at(i).expect("a dirty leaf is well formed");
    let (value_len, rest) = page[at..].split_at_mut(VALUE_LEN_LEN);
    value_len.copy_from_slice(&value.len_field().to_le_bytes());
    let place = &mut rest[key.len()..key.len() + old_len];
    place[..new_len].copy_from_slice(value.stored_bytes());
    place[new_len..].fill(0);
    let header = header_mut(page);
    header.dead_len += (old_len - new_len) as u16;
    if matches!(value, Value::Large(_)) {
        header.flags |= HAS_LARGE;
    }
    true
}

/// The bytes of the inline value in slot `i`, to be written in place.
pub(crate) fn value_mut(page: &mut [u8], i: usize) -> &mut [u8] {
    let (key, value) = view_entry(page, i);
    let (key_len, value_len) = (key.len(), value.stored_len());
    let record_at = view(page).record_at(i).expect("a dirty leaf is well formed");
    let at = record_at + key_len + if is_uniform(page) { 0 } else { VALUE_LEN_LEN };
    &mut page[at..at + value_len]
}

/// Rewrites a slotted leaf without dead bytes and with the longest prefix, or as a uniform one if it can be that.
fn compact(page: &mut [u8]) {
    if !is_uniform(page) && slot_count(page) > 0 && !make_uniform(page) {
        rewrite(page);
    }
}

/// Makes a slotted leaf uniform if its entries are alike. Answers whether they are.
fn make_uniform(page: &mut [u8]) -> bool {
    if is_uniform(page) || slot_count(page) == 0 {
        return false;
    }
    let shape = view(page).shape();
    shape.inspect(|&shape| to_uniform(page, shape)).is_some()
}

/// Rewrites a slotted leaf without dead bytes and with the longest prefix.
fn rewrite(page: &mut [u8]) {
    let old = page.to_vec();
    clear(page);
    append_from(page, &old, 0..slot_count(&old));
}

/// Makes a uniform leaf of a slotted one, whose entries are all of one shape.
fn to_uniform(page: &mut [u8], shape: Shape) {
    let old = page.to_vec();
    let leaf = view(&old);
    let entry = |i| leaf.entry(i).expect("a dirty leaf is well formed");
    clear(page);
    uniform::begin(page, shape, common_prefix_len(entry(0).0, entry(leaf.len() - 1).0));
    for i in 0..leaf.len() {
        let (key, value) = entry(i);
        uniform::insert(page, i, key, value.stored_bytes());
    }
}

/// Makes a slotted leaf of a uniform one. There is room.
fn to_slots(page: &mut [u8]) {
    let old = page.to_vec();
    clear(page);
    append_as_slots(page, view(&old), 0..slot_count(&old));
}

/// Empties the page.
fn clear(page: &mut [u8]) {
    page[HEADER_LEN..].fill(0);
    let header = header_mut(page);
    header.slot_count = U16::ZERO;
    header.heap_len = U16::ZERO;
    header.dead_len = U16::ZERO;
    header.prefix_len = U16::ZERO;
    header.flags = U16::ZERO;
}

/// Appends the entries of `from` in slots `range`, which are known to fit and to follow the page's own.
fn append_from(page: &mut [u8], from: &[u8], range: Range<usize>) {
    if range.is_empty() {
        return;
    }
    let source = view(from);
    let key = |i| source.key(i).expect("a dirty leaf is well formed");
    let last = key(range.end - 1);
    let is_empty = slot_count(page) == 0;
    let first = if is_empty { key(range.start) } else { view_entry(page, 0).0 };
    let prefix_len = common_prefix_len(first, last);
    if is_empty && is_uniform(from) {
        uniform::begin(page, Shape::read(from), prefix_len);
    } else if is_uniform(page) && !is_alike(page, from) {
        to_slots(page);
    }
    if prefix_len != usize::from(header(page).prefix_len.get()) {
        set_prefix(page, prefix_len);
    }
    match source.layout {
        Layout::Slotted(slots) => append_slots(page, from, &slots[range]),
        Layout::Uniform(..) if is_uniform(page) => uniform::append_from(page, from, range),
        Layout::Uniform(..) => append_as_slots(page, source, range),
    }
}

/// As `append_from`, from slots of `from` to a slotted leaf whose prefix is right.
fn append_slots(page: &mut [u8], from: &[u8], slots: &[Slot]) {
    let (count, prefix_len) = (slot_count(page), usize::from(header(page).prefix_len.get()));
    let mut heap_at = page.len() - usize::from(header(page).heap_len.get());
    let mut slot_at = HEADER_LEN + count * SLOT_LEN;
    let mut value_lens = 0;
    for slot in slots {
        let record = slotted_record(from, slot).expect("a dirty leaf is well formed");
        let key_len = slot.key_len;
        let head = head_of(&record[VALUE_LEN_LEN + prefix_len..VALUE_LEN_LEN + usize::from(key_len.get())]);
        value_lens |= u16::from_le_bytes([record[0], record[1]]);
        heap_at -= record.len();
        page[heap_at..heap_at + record.len()].copy_from_slice(record);
        let slot = Slot { head: U32::new(head), at: U16::new(heap_at as u16), key_len };
        page[slot_at..slot_at + SLOT_LEN].copy_from_slice(slot.as_bytes());
        slot_at += SLOT_LEN;
    }
    let heap_len = page.len() - heap_at;
    let header = header_mut(page);
    header.slot_count = U16::new((count + slots.len()) as u16);
    header.heap_len = U16::new(heap_len as u16);
    if value_lens & LARGE != 0 {
        header.flags |= HAS_LARGE;
    }
}

/// As `append_from`, from a uniform leaf to a slotted one.
fn append_as_slots(page: &mut [u8], from: Leaf<'_>, range: Range<usize>) {
    for i in range {
        let (key, value) = from.entry(i).expect("a dirty leaf is well formed");
        let count = slot_count(page);
        let fits = insert_slotted(page, count, key, value);
        assert!(fits, "entries that are known to fit");
    }
}

/// Appends entries of `from`, from slot `start` on, until the page has no room or is as near to `live_max` live bytes as it gets; an
/// empty page takes one at least. Answers the slot of the first that was not taken.
///
/// The layout of `from` decides nothing: a page is uniform as long as its entries are alike.
pub(crate) fn fill_from(page: &mut [u8], from: &[u8], mut start: usize, live_max: usize) -> usize {
    let source = view(from);
    while start < source.len() {
        if goes_on_alike(page, from, start) {
            return fill_alike(page, from, start, live_max);
        }
        let (key, value) = source.entry(start).expect("a dirty leaf is well formed");
        let fits_share = live_len(page) + inserted_len(page, key, &value) / 2 <= live_max;
        if (slot_count(page) > 0 && !fits_share) || !append(page, key, value) {
            break;
        }
        start += 1;
    }
    start
}

/// Whether all entries of `from` from slot `start` on can be appended to the page as they are.
fn goes_on_alike(page: &[u8], from: &[u8], start: usize) -> bool {
    let is_empty = slot_count(page) == 0;
    if is_uniform(from) || !is_empty {
        return is_empty || is_alike(page, from);
    }
    let (key, value) = view_entry(from, start);
    Shape::of(key, &value).is_none()
}

/// What an entry adds to the page's bytes in the layout that the page has with it. What else changes with the layout does not count.
fn inserted_len(page: &[u8], key: &[u8], value: &Value<'_>) -> usize {
    match Shape::of(key, value) {
        Some(shape) if is_uniform(page) && shape == Shape::read(page) => shape.entry_len(),
        _ => entry_len(key, value),
    }
}

/// As `fill_from`, where the layout of both is the same.
fn fill_alike(page: &mut [u8], from: &[u8], start: usize, live_max: usize) -> usize {
    let source = view(from);
    let mut len = live_len(page);
    let mut end = start;
    while end < source.len() {
        let next = source.entry_len(end).expect("a dirty leaf is well formed");
        let is_full = HEADER_LEN + len + next > page.len() || len + next / 2 > live_max;
        if is_full && len > 0 {
            break;
        }
        len += next;
        end += 1;
    }
    append_from(page, from, start..end);
    end
}

/// The shortest key that separates two leaves.
pub(crate) fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    let last = view_entry(left, slot_count(left) - 1).0;
    let first = view_entry(right, 0).0;
    &first[..common_prefix_len(last, first) + 1]
}

/// Appends all entries of `right` to `left`, where they are known to fit ([`merged_len`]) and to follow.
pub(crate) fn merge(left: &mut [u8], right: &[u8]) {
    if !is_uniform(left) {
        rewrite(left);
    }
    append_from(left, right, 0..slot_count(right));
    make_uniform(left);
}

/// Where to cut a full leaf that is to take a new entry before slot `i`.
pub(crate) struct Cut {
    /// The first slot that moves to the right page.
    slot: usize,
    /// Whether the new entry goes to the left page.
    new_left: bool,
    /// The shortest key that separates the two.
    pub(crate) separator: Vec<u8>,
}

/// Chooses a cut. `at_edge` says that the entry goes behind the last one of the whole tree: then the left page stays
/// full, so that sorted input fills its pages. Else the cut is near the middle, where the separator is shortest.
///
/// There is one for every slotted leaf, and for an entry of the shape of a uniform one. Another entry may need a page of its own
/// between the two sides, which take more room with slots: then there is none, and the page is to be halved first.
pub(crate) fn choose_cut(page: &[u8], i: usize, key: &[u8], value: &Value<'_>, at_edge: bool) -> Option<Cut> {
    let leaf = view(page);
    let count = leaf.len();
    let stays_uniform = is_uniform(page) && Shape::of(key, value) == Some(Shape::read(page));
    let old_len = |n| if stays_uniform { leaf.entry_len(n) } else { leaf.slotted_entry_len(n) };
    let new_len = if stays_uniform { Shape::read(page).entry_len() } else { entry_len(key, value) };
    // The entries as they would be with the new one among them, at `i`.
    let key_at = |n: usize| match n.cmp(&i) {
        Ordering::Less => leaf.key(n).expect("a dirty leaf is well formed"),
        Ordering::Equal => key,
        Ordering::Greater => leaf.key(n - 1).expect("a dirty leaf is well formed"),
    };
    let len_at = |n: usize| match n.cmp(&i) {
        Ordering::Less => old_len(n).expect("a dirty leaf is well formed"),
        Ordering::Equal => new_len,
        Ordering::Greater => old_len(n - 1).expect("a dirty leaf is well formed"),
    };
    let separator_len = |n: usize| common_prefix_len(key_at(n - 1), key_at(n)) + 1;
    let capacity = page.len() - HEADER_LEN;
    let total = if stays_uniform { live_len(page) } else { slotted_len(page) } + new_len;
    // Cuts that leave the sides within an eighth of a page of each other count as equally good.
    let lean = |difference: usize| difference / (capacity / 8);
    let middle = || {
        // Each cut that leaves sides which fit, and how much longer one of them is.
        let mut left = 0;
        let cut = |n| {
            left += len_at(n - 1);
            (n, left, total - left)
        };
        let fitting = (1..=count).map(cut).filter(|&(_, left, right)| left.max(right) <= capacity);
        let mut cuts: Vec<(usize, usize)> = Vec::with_capacity(count);
        cuts.extend(fitting.map(|(n, left, right)| (n, left.abs_diff(right))));
        let least = cuts.iter().map(|&(_, difference)| lean(difference)).min()?;
        let good = cuts.into_iter().filter(|&(_, difference)| lean(difference) == least);
        good.min_by_key(|&(n, difference)| (separator_len(n), difference)).map(|(n, _)| n)
    };
    let cut = if at_edge { count } else { middle()? };
    let new_left = i < cut;
    let separator = key_at(cut)[..separator_len(cut)].to_vec();
    Some(Cut { slot: if new_left { cut - 1 } else { cut }, new_left, separator })
}

/// Splits `left` at `cut` into itself and the empty page `right`, and inserts the new entry before what was slot `i`.
pub(crate) fn split(left: &mut [u8], right: &mut [u8], cut: &Cut, i: usize, key: &[u8], value: Value<'_>) {
    move_tail(left, right, cut.slot);
    let fits = if cut.new_left { insert(left, i, key, value) } else { insert(right, i - cut.slot, key, value) };
    assert!(fits, "a cut leaves room for the new entry");
}

/// Moves half of the entries of `left`, which has two at least, to the empty page `right`. Answers what separates the two.
pub(crate) fn halve(left: &mut [u8], right: &mut [u8]) -> Vec<u8> {
    move_tail(left, right, slot_count(left) / 2);
    separator(left, right).to_vec()
}

/// Moves the entries from slot `start` on to the empty page `right`.
fn move_tail(left: &mut [u8], right: &mut [u8], start: usize) {
    let count = slot_count(left);
    append_from(right, left, start..count);
    if start == 0 {
        clear(left);
    } else if start < count {
        remove_range(left, start..count);
    }
    make_uniform(right);
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

#[cfg(test)]
mod tests {
    use super::super::{PageNo, TxnId, init, seal};
    use super::*;

    #[derive(Clone, Debug)]
    struct Edit {
        key: Vec<u8>,
        value: Vec<u8>,
        delete: bool,
    }

    impl quickcheck::Arbitrary for Edit {
        fn arbitrary(g: &mut quickcheck::Gen) -> Edit {
            let stem = *g.choose(&[&b""[..], b"shared/prefix/", b"shared/"]).expect("not empty");
            let digits = u16::arbitrary(g) % 60;
            if bool::arbitrary(g) {
                // What a uniform leaf takes.
                let value = vec![u8::arbitrary(g); 8];
                return Edit { key: format!("{digits:04}").into_bytes(), value, delete: u8::arbitrary(g) % 3 == 0 };
            }
            let value_len = usize::arbitrary(g) % 90;
            Edit {
                key: [stem, digits.to_string().as_bytes()].concat(),
                value: vec![u8::arbitrary(g); value_len],
                delete: u8::arbitrary(g) % 3 == 0,
            }
        }
    }

    fn entries(page: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Ok(leaf) = Leaf::view(page) else { return Vec::new() };
        (0..leaf.len())
            .map(|i| match leaf.entry(i).unwrap() {
                (key, Value::Inline(value)) => (key.to_vec(), value.to_vec()),
                _ => unreachable!(),
            })
            .collect()
    }

    fn place(page: &[u8], key: &[u8]) -> std::result::Result<usize, usize> {
        Leaf::view(page).map_or(Err(0), |leaf| leaf.search(key).unwrap())
    }

    fn page() -> Vec<u8> {
        let mut page = vec![0; 4096];
        init(&mut page, LEAF, 0);
        page
    }

    /// Applies edits to a page and to a sorted Vec; both must stay equal, and the page well formed.
    #[test]
    fn edits_agree_with_a_sorted_vec() {
        fn property(edits: Vec<Edit>) -> bool {
            let mut page = page();
            let mut model: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            for edit in edits {
                let at = model.binary_search_by(|(key, _)| key.cmp(&edit.key));
                assert_eq!(place(&page, &edit.key), at);
                match at {
                    Ok(i) if edit.delete => {
                        remove(&mut page, i);
                        model.remove(i);
                    }
                    Ok(i) => {
                        if replace(&mut page, i, Value::Inline(&edit.value)) {
                            model[i].1 = edit.value;
                        }
                    }
                    Err(i) => {
                        if insert(&mut page, i, &edit.key, Value::Inline(&edit.value)) {
                            model.insert(i, (edit.key.clone(), edit.value));
                        }
                    }
                }
                if !model.is_empty() {
                    verify(&page).unwrap();
                    let found = Leaf::view(&page).unwrap().get(&edit.key).unwrap();
                    let expected = model.iter().find(|(key, _)| *key == edit.key);
                    assert_eq!(found, expected.map(|(_, value)| Value::Inline(value)));
                }
            }
            entries(&page) == model
        }
        quickcheck::QuickCheck::new().tests(300).quickcheck(property as fn(Vec<Edit>) -> bool);
    }

    #[test]
    fn a_split_keeps_every_entry_and_separates() {
        for (seed, at_edge) in [(1, false), (2, false), (3, true), (4, false)] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut left = page();
            let mut model = Vec::new();
            loop {
                let key = match at_edge {
                    true => format!("key{:06}", model.len()),
                    false => format!("key{:06}", rng.u32(..1_000_000)),
                };
                let value = vec![7; rng.usize(..700)];
                let Err(i) = place(&left, key.as_bytes()) else { continue };
                model.insert(i, (key.clone().into_bytes(), value.clone()));
                if insert(&mut left, i, key.as_bytes(), Value::Inline(&value)) {
                    continue;
                }
                let before = slot_count(&left);
                let mut right = page();
                let cut = choose_cut(&left, i, key.as_bytes(), &Value::Inline(&value), at_edge).unwrap();
                split(&mut left, &mut right, &cut, i, key.as_bytes(), Value::Inline(&value));
                verify(&left).unwrap();
                verify(&right).unwrap();
                let last = entries(&left).pop().unwrap().0;
                assert!(last < cut.separator && cut.separator <= entries(&right)[0].0);
                assert_eq!([entries(&left), entries(&right)].concat(), model);
                if at_edge {
                    assert_eq!(slot_count(&left), before);
                }
                break;
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut page = page();
        assert!(insert(&mut page, 0, b"key", Value::Inline(b"value")));
        seal(&mut page, PageNo::new(9), TxnId::new(3));
        assert!(super::super::verify(&page, PageNo::new(9)).is_ok());
        assert!(super::super::verify(&page, PageNo::new(8)).is_err());
        page[4000] ^= 1;
        assert!(super::super::verify(&page, PageNo::new(9)).is_err());
    }
}
