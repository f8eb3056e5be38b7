//! Leaf pages: entries in key order. A view to read one, and the edits of a dirty one.
//!
//! A view checks every offset on access and answers `Error::Corrupt`. The edits work on dirty pages, which are known to be
//! well formed: they were made here, or verified when they were copied. Called by `tree`.

use std::cmp::Ordering;
use std::ops::Range;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use super::large::{LARGE_REF_LEN, LargeRef};
use super::{
    Coverage, HAS_LARGE, HEADER_LEN, LEAF, Malformed, SLOT_LEN, Slot, common_prefix_len, equal_run, head_of, header,
    header_mut, insert_slot, lower_bound, release_record, remove_slots, slots_at, slots_at_mut,
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

/// The entry of a slot of a page.
#[inline]
pub(crate) fn entry_at<'a>(page: &'a [u8], slot: &Slot) -> Result<'a, (&'a [u8], Value<'a>)> {
    let parts = page.get(usize::from(slot.at.get())..).and_then(|record| {
        let (value_len, rest) = record.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(usize::from(slot.key_len.get()))?;
        let value_len = u16::from_le_bytes(*value_len);
        let stored = rest.get(..usize::from(value_len & !LARGE))?;
        match value_len & LARGE {
            0 => Some((key, Value::Inline(stored))),
            _ => Some((key, Value::Large(LargeRef::read_from_bytes(stored).ok()?))),
        }
    });
    parts.ok_or(Malformed(page))
}

/// A leaf to be read.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a> {
    page: &'a [u8],
    slots: &'a [Slot],
    prefix_len: usize,
}

impl<'a> Leaf<'a> {
    #[inline]
    pub(crate) fn view(page: &'a [u8]) -> Result<'a, Leaf<'a>> {
        let header = header(page);
        match slots_at(page, HEADER_LEN, usize::from(header.slot_count.get())) {
            Some(slots) if header.kind == LEAF && !slots.is_empty() => {
                Ok(Leaf { page, slots, prefix_len: usize::from(header.prefix_len.get()) })
            }
            _ => Err(Malformed(page)),
        }
    }

    /// The number of entries: at least one.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    fn sound<T>(&self, found: Option<T>) -> Result<'a, T> {
        found.ok_or(Malformed(self.page))
    }

    #[inline]
    pub(crate) fn key(&self, i: usize) -> Result<'a, &'a [u8]> {
        let key = self.slots.get(i).and_then(|slot| {
            let at = usize::from(slot.at.get()) + VALUE_LEN_LEN;
            self.page.get(at..at + usize::from(slot.key_len.get()))
        });
        self.sound(key)
    }

    #[inline]
    pub(crate) fn entry(&self, i: usize) -> Result<'a, (&'a [u8], Value<'a>)> {
        entry_at(self.page, self.sound(self.slots.get(i))?)
    }

    /// All slots, in the order of their keys. [`entry_at`] has what they stand for.
    pub(crate) fn slots(&self) -> &'a [Slot] {
        self.slots
    }

    pub(crate) fn page(&self) -> &'a [u8] {
        self.page
    }

    #[inline]
    pub(crate) fn value(&self, i: usize) -> Result<'a, Value<'a>> {
        self.entry(i).map(|(_, value)| value)
    }

    /// The first slot with the head of `key`, if there is one: no record is looked at.
    #[inline]
    pub(crate) fn candidate(&self, key: &[u8]) -> Option<usize> {
        let head = head_of(key.get(self.prefix_len..)?);
        let first = lower_bound(self.slots, head);
        self.slots.get(first).filter(|slot| slot.head.get() == head).map(|_| first)
    }

    /// Where the record of slot `i` lies, and whether the page's records are long: several cache lines each.
    #[inline]
    pub(crate) fn record_place(&self, i: usize) -> (usize, bool) {
        let is_long = usize::from(header(self.page).heap_len.get()) > self.len() * 64;
        (self.slots.get(i).map_or(0, |slot| usize::from(slot.at.get())), is_long)
    }

    /// The value of `key`, if it is here; its candidate is `i`. Looks at one record, at most a few.
    #[inline]
    pub(crate) fn get_from(&self, i: usize, key: &[u8]) -> Result<'a, Option<Value<'a>>> {
        let (found, value) = self.entry(i)?;
        if found == key { Ok(Some(value)) } else { self.get_among_equals(i, key) }
    }

    /// The value of `key`, if it is here.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<'a, Option<Value<'a>>> {
        match self.candidate(key) {
            Some(i) => self.get_from(i, key),
            None => Ok(None),
        }
    }

    /// As `get_from`, when the candidate is not the key's.
    #[inline(never)]
    fn get_among_equals(&self, first: usize, key: &[u8]) -> Result<'a, Option<Value<'a>>> {
        let head = self.slots.get(first).map_or(0, |slot| slot.head.get());
        match self.search_run(equal_run(self.slots, first, head), key)? {
            Ok(i) => self.value(i).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The error for a leaf that does not follow the one before it in the order of keys.
    pub(crate) fn out_of_order(&self) -> crate::error::Error {
        super::corrupt(self.page, "a leaf out of order")
    }

    /// Where the record of `key` lies if it is here, judged by heads alone: for a prefetch.
    #[inline]
    pub(crate) fn probable_at(&self, key: &[u8]) -> Option<usize> {
        self.slots.get(self.near(key)).map(|slot| usize::from(slot.at.get()))
    }

    /// The prefix that all keys share, as it stands in one of the records: the newest if that is certain to be in use, since an insert
    /// touches the place before it next.
    #[inline]
    fn prefix(&self) -> Result<'a, &'a [u8]> {
        let header = header(self.page);
        let newest = self.page.len().checked_sub(usize::from(header.heap_len.get()));
        let at = if header.dead_len.get() == 0 { newest } else { self.slots.first().map(|slot| slot.at.get().into()) };
        self.sound(at.and_then(|at| self.page.get(at + VALUE_LEN_LEN..)?.get(..self.prefix_len)))
    }

    /// The slot that holds `key` (`Ok`), or the slot before which it belongs (`Err`). Looks at few records: the page's prefix is read in
    /// the one that the key's head leads to, and not in the first.
    pub(crate) fn search(&self, key: &[u8]) -> Result<'a, std::result::Result<usize, usize>> {
        let Some((start, rest)) = key.split_at_checked(self.prefix_len) else {
            return self.search_run(0..self.len(), key);
        };
        let head = head_of(rest);
        let first = lower_bound(self.slots, head);
        if self.prefix_len > 0 {
            let near = self.key(first.min(self.len() - 1))?;
            match start.cmp(self.sound(near.get(..self.prefix_len))?) {
                Ordering::Less => return Ok(Err(0)),
                Ordering::Equal => {}
                Ordering::Greater => return Ok(Err(self.len())),
            }
        }
        self.search_run(equal_run(self.slots, first, head), key)
    }

    /// About where [`Leaf::bound`] leads, judged by heads alone: for a prefetch.
    #[inline]
    pub(crate) fn near(&self, key: &[u8]) -> usize {
        key.get(self.prefix_len..).map_or(0, |rest| lower_bound(self.slots, head_of(rest)))
    }

    /// The first slot whose key is not less than `key`, or with `after` is greater.
    pub(crate) fn bound(&self, key: &[u8], after: bool) -> Result<'a, usize> {
        Ok(match self.search(key)? {
            Ok(i) => i + usize::from(after),
            Err(i) => i,
        })
    }

    fn search_run(&self, mut run: Range<usize>, key: &[u8]) -> Result<'a, std::result::Result<usize, usize>> {
        while !run.is_empty() {
            let middle = run.start + run.len() / 2;
            match self.key(middle)?.cmp(key) {
                Ordering::Less => run.start = middle + 1,
                Ordering::Equal => return Ok(Ok(middle)),
                Ordering::Greater => run.end = middle,
            }
        }
        Ok(Err(run.start))
    }

    /// The bytes of record `i`.
    fn record(&self, i: usize) -> Result<'a, &'a [u8]> {
        let record = self.slots.get(i).and_then(|slot| {
            let record = self.page.get(usize::from(slot.at.get())..)?;
            let (value_len, _) = record.split_first_chunk::<VALUE_LEN_LEN>()?;
            let stored_len = usize::from(u16::from_le_bytes(*value_len) & !LARGE);
            record.get(..VALUE_LEN_LEN + usize::from(slot.key_len.get()) + stored_len)
        });
        self.sound(record)
    }

    /// The byte length of record `i`.
    fn record_len(&self, i: usize) -> Result<'a, usize> {
        self.record(i).map(<[u8]>::len)
    }
}

/// Bytes of slots and records that are in use. Saturates, for a page that nobody verified.
pub(crate) fn live_len(page: &[u8]) -> usize {
    let header = header(page);
    let used = usize::from(header.slot_count.get()) * SLOT_LEN + usize::from(header.heap_len.get());
    used.saturating_sub(usize::from(header.dead_len.get()))
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

/// Inserts an entry before slot `i`. Answers false, and changes nothing, if it does not fit.
pub(crate) fn insert(page: &mut [u8], i: usize, key: &[u8], value: Value<'_>) -> bool {
    if HEADER_LEN + live_len(page) + entry_len(key, &value) > page.len() {
        return false;
    }
    let count = slot_count(page);
    let heap_len = usize::from(header(page).heap_len.get());
    if HEADER_LEN + count * SLOT_LEN + heap_len + entry_len(key, &value) > page.len() {
        compact(page);
    }
    if count == 0 {
        header_mut(page).prefix_len = U16::new(key.len() as u16);
    } else {
        // Without a prefix this touches no record.
        let prefix = view(page).prefix().expect("a dirty leaf is well formed");
        if !key.starts_with(prefix) {
            let shared = common_prefix_len(prefix, key);
            set_prefix(page, shared);
        }
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

/// Appends an entry. Answers false, and changes nothing, if it does not fit.
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
    header_mut(page).prefix_len = U16::new(prefix_len as u16);
    for i in 0..slot_count(page) {
        let head = head_of(&view_entry(page, i).0[prefix_len..]);
        slots_at_mut(page, HEADER_LEN, i + 1)[i].head = U32::new(head);
    }
}

/// Removes the entry in slot `i`.
pub(crate) fn remove(page: &mut [u8], i: usize) {
    let leaf = view(page);
    let at = usize::from(leaf.slots[i].at.get());
    let len = leaf.record_len(i).expect("a dirty leaf is well formed");
    let count = leaf.len();
    release_record(page, at, len);
    remove_slots(page, HEADER_LEN, count, i..i + 1);
    if count == 1 {
        let header = header_mut(page);
        header.heap_len = U16::ZERO;
        header.dead_len = U16::ZERO;
        header.prefix_len = U16::ZERO;
        header.flags = U16::ZERO;
    }
}

/// Removes the entries in slots `range`, which is not all of them.
pub(crate) fn remove_range(page: &mut [u8], range: Range<usize>) {
    let count = slot_count(page);
    remove_slots(page, HEADER_LEN, count, range);
    compact(page);
}

/// Replaces the value in slot `i`. Answers false, and changes nothing, if the new one does not fit.
pub(crate) fn replace(page: &mut [u8], i: usize, value: Value<'_>) -> bool {
    let (key, old) = view_entry(page, i);
    let at = usize::from(view(page).slots[i].at.get());
    let value_at = at + VALUE_LEN_LEN + key.len();
    let (old_len, new_len) = (old.stored_len(), value.stored_len());
    if new_len <= old_len {
        page[at..at + VALUE_LEN_LEN].copy_from_slice(&value.len_field().to_le_bytes());
        page[value_at..value_at + new_len].copy_from_slice(value.stored_bytes());
        page[value_at + new_len..value_at + old_len].fill(0);
        let header = header_mut(page);
        header.dead_len += (old_len - new_len) as u16;
        if matches!(value, Value::Large(_)) {
            header.flags |= HAS_LARGE;
        }
        return true;
    }
    if HEADER_LEN + live_len(page) + new_len - old_len > page.len() {
        return false;
    }
    let key = key.to_vec();
    remove(page, i);
    insert(page, i, &key, value)
}

/// The bytes of the inline value in slot `i`, to be written in place.
pub(crate) fn value_mut(page: &mut [u8], i: usize) -> &mut [u8] {
    let (key, value) = view_entry(page, i);
    let at = usize::from(view(page).slots[i].at.get()) + VALUE_LEN_LEN + key.len();
    let len = value.stored_len();
    &mut page[at..at + len]
}

/// Rewrites the page without dead bytes and with the longest prefix.
fn compact(page: &mut [u8]) {
    let old = page.to_vec();
    clear(page);
    append_from(page, &old, 0..slot_count(&old));
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
    let from = view(from);
    let key = |i| from.key(i).expect("a dirty leaf is well formed");
    let last = key(range.end - 1);
    let count = slot_count(page);
    let prefix_len = match count {
        0 => common_prefix_len(key(range.start), last),
        _ => common_prefix_len(view_entry(page, 0).0, last),
    };
    if prefix_len != usize::from(header(page).prefix_len.get()) {
        set_prefix(page, prefix_len);
    }
    let mut heap_at = page.len() - usize::from(header(page).heap_len.get());
    let mut slot_at = HEADER_LEN + count * SLOT_LEN;
    let mut value_lens = 0;
    for i in range.clone() {
        let record = from.record(i).expect("a dirty leaf is well formed");
        let key_len = from.slots[i].key_len;
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
    header.slot_count = U16::new((count + range.len()) as u16);
    header.heap_len = U16::new(heap_len as u16);
    if value_lens & LARGE != 0 {
        header.flags |= HAS_LARGE;
    }
}

/// Appends entries of `from`, from slot `start` on, until the page has no room or is as near to `live_max` live bytes as it gets; an
/// empty page takes one at least. Answers the slot of the first that was not taken.
pub(crate) fn fill_from(page: &mut [u8], from: &[u8], start: usize, live_max: usize) -> usize {
    let source = view(from);
    let mut len = live_len(page);
    let mut end = start;
    while end < source.len() {
        let next = SLOT_LEN + source.record(end).expect("a dirty leaf is well formed").len();
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

/// Appends all entries of `right` to `left`, where they are known to fit and to follow.
pub(crate) fn merge(left: &mut [u8], right: &[u8]) {
    compact(left);
    append_from(left, right, 0..slot_count(right));
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
pub(crate) fn choose_cut(page: &[u8], i: usize, key: &[u8], value: &Value<'_>, at_edge: bool) -> Cut {
    let leaf = view(page);
    let count = leaf.len();
    // The entries as they would be with the new one among them, at `i`.
    let key_at = |n: usize| match n.cmp(&i) {
        Ordering::Less => leaf.key(n).expect("a dirty leaf is well formed"),
        Ordering::Equal => key,
        Ordering::Greater => leaf.key(n - 1).expect("a dirty leaf is well formed"),
    };
    let len_at = |n: usize| match n.cmp(&i) {
        Ordering::Less => leaf.record_len(n).expect("a dirty leaf is well formed") + SLOT_LEN,
        Ordering::Equal => entry_len(key, value),
        Ordering::Greater => leaf.record_len(n - 1).expect("a dirty leaf is well formed") + SLOT_LEN,
    };
    let separator_len = |n: usize| common_prefix_len(key_at(n - 1), key_at(n)) + 1;
    let capacity = page.len() - HEADER_LEN;
    let total = live_len(page) + entry_len(key, value);
    // Each cut that leaves sides which fit, and how much longer one of them is.
    let cuts = || {
        let mut left = 0;
        let cut = move |n| {
            left += len_at(n - 1);
            (n, left, total - left)
        };
        let fitting = (1..=count).map(cut).filter(|&(_, left, right)| left.max(right) <= capacity);
        fitting.map(|(n, left, right)| (n, left.abs_diff(right)))
    };
    // Cuts that leave the sides within an eighth of a page of each other count as equally good.
    let lean = |difference: usize| difference / (capacity / 8);
    let middle = || {
        let least = cuts().map(|(_, difference)| lean(difference)).min()?;
        let good = cuts().filter(|&(_, difference)| lean(difference) == least);
        good.min_by_key(|&(n, difference)| (separator_len(n), difference)).map(|(n, _)| n)
    };
    let cut = if at_edge { count } else { middle().expect("a cut that leaves sides which fit") };
    let new_left = i < cut;
    let separator = key_at(cut)[..separator_len(cut)].to_vec();
    Cut { slot: if new_left { cut - 1 } else { cut }, new_left, separator }
}

/// Splits `left` at `cut` into itself and the empty page `right`, and inserts the new entry before what was slot `i`.
pub(crate) fn split(left: &mut [u8], right: &mut [u8], cut: &Cut, i: usize, key: &[u8], value: Value<'_>) {
    let count = slot_count(left);
    append_from(right, left, cut.slot..count);
    remove_slots(left, HEADER_LEN, count, cut.slot..count);
    if cut.slot < count {
        compact(left);
    }
    let fits = if cut.new_left { insert(left, i, key, value) } else { insert(right, i - cut.slot, key, value) };
    assert!(fits, "a cut leaves room for the new entry");
}

/// Slots and records in bounds, keys in order, heads and prefix true.
pub(super) fn verify(page: &[u8]) -> std::result::Result<(), &'static str> {
    let header = header(page);
    if header.level != 0 {
        return Err("a leaf above level 0");
    }
    let heap_len = usize::from(header.heap_len.get());
    let count = slot_count(page);
    let Some(heap_at) = page.len().checked_sub(heap_len).filter(|at| *at >= HEADER_LEN + count * SLOT_LEN) else {
        return Err("slots and heap overlap");
    };
    let leaf = Leaf::view(page).map_err(|_| "a leaf without entries")?;
    let prefix = leaf.key(0).ok().and_then(|key| key.get(..leaf.prefix_len));
    let prefix = prefix.ok_or("the prefix is longer than the first key")?;
    let mut records_len = 0;
    let mut covered = Coverage::new();
    let mut previous: Option<(u32, &[u8])> = None;
    for (i, slot) in leaf.slots.iter().enumerate() {
        let (key, value) = leaf.entry(i).map_err(|_| "a record is out of bounds")?;
        if usize::from(slot.at.get()) < heap_at {
            return Err("a record lies outside the heap");
        }
        if matches!(value, Value::Large(_)) && header.flags.get() & HAS_LARGE == 0 {
            return Err("a large value is not flagged");
        }
        let rest = key.strip_prefix(prefix).ok_or("a key without the page's prefix")?;
        let head = slot.head.get();
        if head != head_of(rest) {
            return Err("a head that is not its key's");
        }
        let ascending = previous.is_none_or(|(last, last_key)| last < head || (last == head && last_key < key));
        if !ascending {
            return Err("keys out of order");
        }
        previous = Some((head, key));
        let record_len = VALUE_LEN_LEN + key.len() + value.stored_len();
        records_len += record_len;
        if !covered.add(usize::from(slot.at.get()), record_len) {
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
                let cut = choose_cut(&left, i, key.as_bytes(), &Value::Inline(&value), at_edge);
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
