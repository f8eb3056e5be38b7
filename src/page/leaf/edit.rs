//! The edits of leaves. They work on dirty pages, which are known to be well formed: they were made here, or verified when they were
//! copied.
//!
//! A leaf begins as a uniform one if its first entry allows that (see `uniform`), and gets slots when an entry of other lengths comes. A
//! leaf with slots becomes uniform where it is full, split, merged or packed, and all that it holds is alike. So nobody has to declare
//! lengths, an odd entry concerns its own leaf, and a whole tree never has to be converted.

use std::cmp::Ordering;
use std::ops::Range;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::{
    LARGE, Layout, Leaf, VALUE_LEN_LEN, Value, entry_len, is_alike, live_len, slot_count, slotted_len, slotted_record,
    view, view_entry,
};
use crate::page::uniform::{self, Shape, is_uniform};
use crate::page::{
    HAS_LARGE, HEADER_LEN, SLOT_LEN, Slot, common_prefix_len, head_of, header, header_mut, insert_slot, keep_others,
    release_record, remove_slots, slots_at_mut,
};

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
    let count = slot_count(page);
    let (heap_len, dead_len) = (header(page).heap_len.get(), header(page).dead_len.get());
    let len = HEADER_LEN + count * SLOT_LEN + usize::from(heap_len) + entry_len(key, &value);
    if len > page.len() {
        if len - usize::from(dead_len) > page.len() {
            return false;
        }
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

/// Appends an entry with an inline value if that takes nothing but room: the key is greater than the last one and has the page's prefix, and
/// the entry is of the page's layout. Answers false, and changes nothing, if it is not so, or if there is no gap as long. Most of sorted
/// input comes to its end here.
#[inline]
pub(crate) fn push(page: &mut [u8], key: &[u8], value: &[u8]) -> bool {
    let leaf = view(page);
    let (count, prefix_len) = (leaf.len(), leaf.prefix_len);
    let last = leaf.key(count - 1).expect("a dirty leaf is well formed");
    if key.len() < prefix_len || key[..prefix_len] != last[..prefix_len] {
        return false;
    }
    let (head, last_head) = (head_of(&key[prefix_len..]), leaf.head(count - 1));
    if head < last_head || (head == last_head && key <= last) {
        return false;
    }
    let value = Value::Inline(value);
    match leaf.layout {
        Layout::Slotted(_) => {
            let heap_len = usize::from(header(page).heap_len.get());
            let fits = HEADER_LEN + count * SLOT_LEN + heap_len + entry_len(key, &value) <= page.len();
            if fits {
                let at = push_record(page, key, value);
                let (at, key_len) = (U16::new(at as u16), U16::new(key.len() as u16));
                slots_at_mut(page, HEADER_LEN, count + 1)[count] = Slot { head: U32::new(head), at, key_len };
                header_mut(page).slot_count = U16::new((count + 1) as u16);
            }
            fits
        }
        Layout::Uniform(_, shape) => {
            let fits =
                HEADER_LEN + (count + 1) * shape.entry_len() <= page.len() && Shape::of(key, &value) == Some(shape);
            if fits {
                uniform::insert(page, count, key, value.stored_bytes());
            }
            fits
        }
    }
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

/// Removes the entries in the slots `gone`, which ascend.
pub(crate) fn remove_each(page: &mut [u8], gone: &[usize]) {
    let count = slot_count(page);
    if gone.len() == count {
        return clear(page);
    }
    if is_uniform(page) {
        return uniform::remove_each(page, gone);
    }
    let slots = slots_at_mut(page, HEADER_LEN, count);
    let left = keep_others(gone, count, |run, to| slots.copy_within(run, to));
    slots[left..].fill(Slot::new_zeroed());
    header_mut(page).slot_count = U16::new(left as u16);
    compact(page);
}

/// Replaces the value in slot `i`. Answers false, and changes nothing, if the new one does not fit.
pub(crate) fn replace(page: &mut [u8], i: usize, value: Value<'_>) -> bool {
    let (key, old) = view_entry(page, i);
    let (old_len, new_len) = (old.stored_len(), value.stored_len());
    if is_uniform(page) && old_len == new_len && matches!(value, Value::Inline(_)) {
        let at = view(page).record_at(i).expect("a dirty leaf is well formed") + key.len();
        page[at..at + new_len].copy_from_slice(value.stored_bytes());
        return true;
    }
    if HEADER_LEN + slotted_len(page) - old_len + new_len > page.len() {
        return false;
    }
    if new_len > old_len || is_uniform(page) {
        // With slots there may be no room for the old value.
        let key = key.to_vec();
        remove(page, i);
        return insert(page, i, &key, value);
    }
    let key_len = key.len();
    let at = view(page).record_at(i).expect("a dirty leaf is well formed");
    let (value_len, rest) = page[at..].split_at_mut(VALUE_LEN_LEN);
    value_len.copy_from_slice(&value.len_field().to_le_bytes());
    let place = &mut rest[key_len..key_len + old_len];
    place[..new_len].copy_from_slice(value.stored_bytes());
    place[new_len..].fill(0);
    let header = header_mut(page);
    header.dead_len += (old_len - new_len) as u16;
    if matches!(value, Value::Large(_)) {
        header.flags |= HAS_LARGE;
    }
    true
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
    if !is_uniform(left) && header(left).dead_len.get() > 0 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{LEAF, PageNo, TxnId, expect_sound, init, seal};

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
        let Ok(leaf) = Leaf::view(page) else { return Err(0) };
        let place = leaf.search(key).unwrap();
        assert_eq!(leaf.search_to_change(key).unwrap(), place);
        place
    }

    fn page() -> Vec<u8> {
        let mut page = vec![0; 4096];
        init(&mut page, LEAF, 0);
        page
    }

    /// A push changes nothing, or does what an insert behind the last entry does.
    fn check_push(page: &[u8], at: std::result::Result<usize, usize>, Edit { key, value, .. }: &Edit) {
        let (mut pushed, mut inserted) = (page.to_vec(), page.to_vec());
        if push(&mut pushed, key, value) {
            assert_eq!(at, Err(slot_count(page)));
            assert!(insert(&mut inserted, slot_count(page), key, Value::Inline(value)));
        }
        assert!(pushed == inserted);
    }

    #[test]
    fn sorted_entries_are_pushed_until_the_page_is_full() {
        for (digits, value_len) in [(16, 8), (16, 100)] {
            let mut page = page();
            let mut pushed = 0;
            for n in 0.. {
                let (key, value) = (format!("{:0digits$}", n * 3), vec![n as u8; value_len]);
                let is_pushed = n > 0 && push(&mut page, key.as_bytes(), &value);
                if !is_pushed && !append(&mut page, key.as_bytes(), Value::Inline(&value)) {
                    break;
                }
                pushed += usize::from(is_pushed);
                expect_sound(&page);
                assert_eq!(entries(&page).pop(), Some((key.into_bytes(), value)));
            }
            // The others shortened the prefix.
            assert!(pushed >= slot_count(&page) - 4, "{pushed} of {}", slot_count(&page));
        }
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
                if !model.is_empty() {
                    check_push(&page, at, &edit);
                }
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
                    expect_sound(&page);
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
                expect_sound(&left);
                expect_sound(&right);
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

    /// Whatever the shape of the entries, how many there are and what one of them becomes.
    #[test]
    fn a_value_of_another_length_replaces_one_in_a_uniform_leaf() {
        for (key_len, value_len) in [(1, 16), (4, 4), (4, 28), (8, 8), (8, 20), (8, 24), (16, 16), (24, 8), (24, 150)] {
            let mut leaf = page();
            let mut model = Vec::new();
            for n in 0..=u8::MAX {
                let (mut key, value) = (vec![0; key_len], vec![n; value_len]);
                key[0] = n;
                if !insert(&mut leaf, n.into(), &key, Value::Inline(&value)) {
                    break;
                }
                model.push((key, value));
                for new_len in [0, 1, value_len - 1, value_len, value_len + 1, 2 * value_len] {
                    let mut page = leaf.clone();
                    let i = usize::from(n) / 2;
                    let mut expected = model.clone();
                    let is_replaced = replace(&mut page, i, Value::Inline(&vec![9; new_len]));
                    if is_replaced {
                        expected[i].1 = vec![9; new_len];
                    }
                    let fits =
                        new_len == value_len || HEADER_LEN + slotted_len(&leaf) + new_len <= page.len() + value_len;
                    assert_eq!(is_replaced, fits || n == 0);
                    expect_sound(&page);
                    assert_eq!(entries(&page), expected);
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut page = page();
        assert!(insert(&mut page, 0, b"key", Value::Inline(b"value")));
        seal(&mut page, PageNo::new(9), TxnId::new(3));
        assert!(crate::page::verify(&page, PageNo::new(9)).is_ok());
        assert!(crate::page::verify(&page, PageNo::new(8)).is_err());
        page[4000] ^= 1;
        assert!(crate::page::verify(&page, PageNo::new(9)).is_err());
    }
}
