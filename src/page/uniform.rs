//! Uniform leaves: all keys of the page are of one length, and all values of another. So nothing has to say where a record lies or
//! how long it is, and an entry takes four bytes beside its key and value, not ten.
//!
//! The heads ascend behind the page's header. The records lie in the same order from the page's end downwards, so that both ends
//! grow into the gap between them, and appending moves nothing. An insert moves the heads and records behind it. Only short records
//! are stored so ([`RECORD_MAX`]): of an entry with a longer one, six bytes are less than a seventh.
//!
//! Called by `leaf`, which knows which entries a page can take: a uniform leaf never holds a reference to a large value.

use std::ops::Range;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use super::leaf::Value;
use super::{HEADER_LEN, UNIFORM, head_of, header, header_mut, keep_others, nonzero_in};

/// The longest record, key and value.
pub(super) const RECORD_MAX: usize = 32;

const HEAD_LEN: usize = 4;

/// The lengths that all entries of a page have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    key_len: u16,
    value_len: u16,
}

impl Shape {
    /// The shape of a uniform leaf that begins with this entry, if it may be in one.
    pub(super) fn of(key: &[u8], value: &Value<'_>) -> Option<Shape> {
        match value {
            Value::Inline(value) if is_short(key.len(), value.len()) => {
                Some(Shape { key_len: key.len() as u16, value_len: value.len() as u16 })
            }
            _ => None,
        }
    }

    /// The shape of a page that is uniform.
    #[inline]
    pub(super) fn read(page: &[u8]) -> Shape {
        let header = header(page);
        Shape { key_len: header.heap_len.get(), value_len: header.dead_len.get() }
    }

    #[inline]
    pub(super) fn key_len(self) -> usize {
        usize::from(self.key_len)
    }

    #[inline]
    pub(super) fn value_len(self) -> usize {
        usize::from(self.value_len)
    }

    #[inline]
    pub(super) fn record_len(self) -> usize {
        self.key_len() + self.value_len()
    }

    /// What an entry takes, its head included.
    pub(super) fn entry_len(self) -> usize {
        HEAD_LEN + self.record_len()
    }
}

/// Whether a key and a value are so short that a uniform leaf may hold them. One of empty keys would have a single entry.
fn is_short(key_len: usize, value_len: usize) -> bool {
    key_len > 0 && key_len + value_len <= RECORD_MAX
}

/// Whether a page is uniform.
#[inline]
pub(super) fn is_uniform(page: &[u8]) -> bool {
    header(page).flags.get() & UNIFORM != 0
}

/// The heads of a page, whatever its shape.
#[inline]
pub(super) fn heads(page: &[u8], count: usize) -> Option<&[U32]> {
    <[U32]>::ref_from_bytes(page.get(HEADER_LEN..HEADER_LEN + count * HEAD_LEN)?).ok()
}

/// Where record `i` lies, if the page is as long as that.
#[inline]
pub(super) fn record_at(page_len: usize, record_len: usize, i: usize) -> Option<usize> {
    page_len.checked_sub((i + 1) * record_len)
}

fn heads_mut(page: &mut [u8], count: usize) -> &mut [U32] {
    <[U32]>::mut_from_bytes(&mut page[HEADER_LEN..HEADER_LEN + count * HEAD_LEN]).expect("a whole number of heads")
}

/// The records `range`, the last one first. `None` where the page cannot hold them.
#[inline]
pub(super) fn records(page: &[u8], record_len: usize, range: Range<usize>) -> Option<&[u8]> {
    let end = page.len().checked_sub(range.start * record_len)?;
    let start = page.len().checked_sub(range.end * record_len)?;
    page.get(start..end)
}

/// The bytes of the records `range` of a page that holds them.
fn span(page_len: usize, record_len: usize, range: Range<usize>) -> Range<usize> {
    page_len - range.end * record_len..page_len - range.start * record_len
}

/// Makes a leaf without entries a uniform one, whose keys share their first `prefix_len` bytes.
pub(super) fn begin(page: &mut [u8], shape: Shape, prefix_len: usize) {
    let header = header_mut(page);
    header.heap_len = U16::new(shape.key_len);
    header.dead_len = U16::new(shape.value_len);
    header.prefix_len = U16::new(prefix_len as u16);
    header.flags = U16::new(UNIFORM);
}

/// Sets the prefix length and with it every head.
pub(super) fn set_prefix(page: &mut [u8], prefix_len: usize) {
    header_mut(page).prefix_len = U16::new(prefix_len as u16);
    set_heads(page, 0..count(page));
}

/// Sets the heads of the entries `range`, whose records are there.
fn set_heads(page: &mut [u8], range: Range<usize>) {
    let (shape, prefix_len) = (Shape::read(page), usize::from(header(page).prefix_len.get()));
    for i in range {
        let at = span(page.len(), shape.record_len(), i..i + 1).start;
        let head = U32::new(head_of(&page[at + prefix_len..at + shape.key_len()]));
        page[HEADER_LEN + i * HEAD_LEN..][..HEAD_LEN].copy_from_slice(head.as_bytes());
    }
}

/// Inserts an entry of the page's shape and with its prefix before slot `i`. There is room.
pub(super) fn insert(page: &mut [u8], i: usize, key: &[u8], value: &[u8]) {
    let (count, record_len, page_len) = (count(page), key.len() + value.len(), page.len());
    let head = head_of(&key[usize::from(header(page).prefix_len.get())..]);
    let heads = heads_mut(page, count + 1);
    heads.copy_within(i..count, i + 1);
    heads[i] = U32::new(head);
    let behind = span(page_len, record_len, i..count);
    let moved_to = behind.start - record_len;
    page.copy_within(behind, moved_to);
    let (key_place, value_place) = page[span(page_len, record_len, i..i + 1)].split_at_mut(key.len());
    key_place.copy_from_slice(key);
    value_place.copy_from_slice(value);
    header_mut(page).slot_count = U16::new((count + 1) as u16);
}

/// Appends the entries `range` of `from`, a page of the same shape; they are known to fit. All share the prefix that is set.
pub(super) fn append_from(page: &mut [u8], from: &[u8], range: Range<usize>) {
    let (start, record_len, page_len) = (count(page), Shape::read(page).record_len(), page.len());
    let end = start + range.len();
    let source = &from[span(from.len(), record_len, range)];
    page[span(page_len, record_len, start..end)].copy_from_slice(source);
    header_mut(page).slot_count = U16::new(end as u16);
    set_heads(page, start..end);
}

/// Removes the entries in slots `range`, which is not all of them.
pub(super) fn remove(page: &mut [u8], range: Range<usize>) {
    let (count, record_len, page_len) = (count(page), Shape::read(page).record_len(), page.len());
    let (left, gone) = (count - range.len(), range.len());
    let heads = heads_mut(page, count);
    heads.copy_within(range.end.., range.start);
    heads[left..].fill(U32::ZERO);
    let behind = span(page_len, record_len, range.end..count);
    let moved_to = behind.start + gone * record_len;
    page.copy_within(behind, moved_to);
    page[span(page_len, record_len, left..count)].fill(0);
    header_mut(page).slot_count = U16::new(left as u16);
}

/// Removes the entries in the slots `gone`, which ascend and are not all.
pub(super) fn remove_each(page: &mut [u8], gone: &[usize]) {
    let (count, record_len, page_len) = (count(page), Shape::read(page).record_len(), page.len());
    let heads = heads_mut(page, count);
    let left = keep_others(gone, count, |run, to| heads.copy_within(run, to));
    heads[left..].fill(U32::ZERO);
    keep_others(gone, count, |run, to| {
        let moved_to = span(page_len, record_len, to..to + run.len()).start;
        page.copy_within(span(page_len, record_len, run), moved_to);
    });
    page[span(page_len, record_len, left..count)].fill(0);
    header_mut(page).slot_count = U16::new(left as u16);
}

/// Bytes of heads and records. Saturates, for a page that nobody verified.
pub(super) fn live_len(page: &[u8]) -> usize {
    count(page).saturating_mul(Shape::read(page).entry_len())
}

/// Whether the lengths make sense and the entries fit the page.
pub(super) fn verify(page: &[u8]) -> Result<(), &'static str> {
    if header(page).flags.get() != UNIFORM {
        return Err("a uniform leaf with other flags");
    }
    let shape = Shape::read(page);
    if !is_short(shape.key_len(), shape.value_len()) {
        return Err("a uniform leaf of a shape that there is not");
    }
    if HEADER_LEN + live_len(page) > page.len() {
        return Err("heads and records overlap");
    }
    Ok(())
}

/// The first byte between the heads and the records of a sound page that is not zero.
pub(super) fn stray_byte(page: &[u8]) -> Option<usize> {
    let (count, record_len) = (count(page), Shape::read(page).record_len());
    nonzero_in(page, HEADER_LEN + count * HEAD_LEN..page.len() - count * record_len)
}

fn count(page: &[u8]) -> usize {
    usize::from(header(page).slot_count.get())
}
