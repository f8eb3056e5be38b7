//! # The file format, version 1
//!
//! This text is enough to write a second reader. All integers are little-endian; all lengths are in bytes; a *page* is
//! `page_size` bytes, one of 4096, 8192, 16384, 32768, 65536, fixed when the file is created. Page `n` starts at byte
//! `n * page_size`. Bytes that no field or record uses are zero. Checksums are CRC32C (Castagnoli).
//!
//! ```text
//! page 0   page 1 ... 7      page 8   page 9 ... 15     page 16 ...      page_count - 1 | room to grow
//! +--------+--------+- - - -+--------+--------+- - - -+--------+--------+- - - -+------|- - - - - -
//! | meta A | branch | ...   | meta B | free   | ...   | leaf   | large  | log   | ...  |
//! +--------+--------+- - - -+--------+--------+- - - -+--------+--------+- - - -+------|- - - - - -
//! ```
//!
//! A file has 16 pages at least. It may be longer than `page_count` pages; what lies behind is room to grow.
//!
//! ## Meta slots ([`meta`])
//!
//! The first 4,096 bytes of pages 0 and 8 (whatever the page size) are the two meta slots. A commit overwrites the slot
//! that does not hold the last durable commit. A reader takes the slot with the highest transaction id that passes its
//! checksum, whose `page_count` pages fit the file, and that is *trusted*; else the other one. If slot A is unreadable,
//! slot B is looked for at 8 * 4096, 8 * 8192, ... 8 * 65536: it is the first of these that begins with the magic, unless its
//! checksum is right and it gives another page size.
//!
//! The pages behind a slot, 1 to 7 and 9 to 15, are pages like any other. A writer does well to keep them for pages that every
//! commit writes anew, such as the roots: then these and the meta lie in a row, and are one transfer to the disk. Another place
//! is as good to a reader. Only a large value never lies there, since it could be taken for slot B.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic: `"folio\r\n\0"` |
//! | 8 | 4 | format version: 1 |
//! | 12 | 4 | checksum of bytes 0..12 and 16..4096 |
//! | 16 | 4 | page size |
//! | 20 | 4 | flags: 0 |
//! | 24 | 16 | database id: random, fixed at creation |
//! | 40 | 8 | transaction id |
//! | 48 | 8 | page count: the first page number past the end |
//! | 56 | 24 | the catalog, a tree record |
//! | 80 | 8 | the newest space log page, or 0 |
//! | 88 | 8 | how many pages the space log has |
//! | 96 | 1 | trust: 1 synced, 2 digest, 3 boot |
//! | 97 | 3 | zero |
//! | 100 | 4 | digest, if trust is 2 |
//! | 104 | 16 | boot id, if trust is 3 |
//! | 120 | 8 | how many of the following words are in use |
//! | 128 | 3968 | space records, 496 words of 8 bytes |
//!
//! A *tree record* is: root page (8; 0 if the tree is empty), entry count (8), depth (1; 0 empty, 1 a single leaf),
//! zero (7).
//!
//! Trust says when a meta counts. *Synced*: everything that it refers to was synced before it was written. *Digest*: the
//! pages that its own transaction wrote (the `taken` extents below `page_count` of the last space record, whose
//! transaction id is the meta's) may or may not have reached the disk; take them in ascending order, take of each page its first
//! four bytes and then the CRC32C of the rest of it, and compare the CRC32C of all of these with the digest. *Boot*: nothing was synced; the
//! meta counts only while the kernel's boot id is still the same, because then the page cache still holds every write.
//!
//! When a database is closed, the slot that does not hold the last commit gets a copy of its meta that says synced. Of two slots with
//! the same transaction id that one is taken: from then on a page that does not match is damage, not a commit cut short.
//!
//! ## Page header
//!
//! Leaf, branch and space log pages begin with 32 bytes:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | checksum of the rest of the page |
//! | 4 | 1 | kind: 1 leaf, 2 branch, 3 space log |
//! | 5 | 1 | level: 0 for a leaf, a branch is one above its children |
//! | 6 | 2 | slot count |
//! | 8 | 8 | the page's own number |
//! | 16 | 8 | born: the transaction that wrote it |
//! | 24 | 2 | heap length; in a uniform leaf the length of a key |
//! | 26 | 2 | dead bytes: the part of the heap that no record uses; in a uniform leaf the length of a value |
//! | 28 | 2 | prefix length |
//! | 30 | 2 | flags: bit 0, a leaf that refers to large values; bit 1, a uniform leaf. No leaf has both |
//!
//! ## Leaf and branch
//!
//! ```text
//! leaf    | header | slot 0 | slot 1 | ... ->               free            <- ... | record | record |
//! branch  | header | prefix | heads | children | places ->     free         <- ... | record | record |
//!                                                                           |<---- heap length ----->|
//! uniform | header | head 0 | head 1 | ... ->               free          <- ... | record 1 | record 0 |
//! ```
//!
//! Slots are sorted by key. All keys of a page share their first `prefix length` bytes; the *head* of a key is the next four
//! bytes read as a big-endian number, zero-padded, stored little-endian like any integer. Comparing heads compares keys, except
//! where heads are equal. So a search touches the header and some heads, and then one record.
//!
//! A **leaf slot** is 8 bytes: head (4), `at` (2), `key_len` (2). The record lies `at` bytes from the start of the page.
//!
//! A **leaf record** is `value_len` (2), key, value: the key is whole, so that it can be lent. If the top bit of `value_len`
//! is set, the value is a reference to a large value (28 bytes): first page (8), length (8), born (8), CRC32C of the value (4).
//! `key_len` is the length of the whole key.
//!
//! A **uniform leaf** ([`uniform`]) has keys of one length, 1 at least, and values of one length, and key and value are 32 bytes or
//! fewer. Its slots are the heads alone, 4 bytes each. A record is key, value; record i ends where record i - 1 begins, and record 0
//! at the end of the page. A writer may store any entries in leaves with slots; the two kinds may lie side by side in a tree.
//!
//! A **branch slot** is spread over three arrays, one behind the other, each as long as the slot count: head (4), child page
//! (8), place (4: `at` and suffix length, 2 each). So a search that finds no equal heads, as most do, reads nothing but heads and
//! one child, and the parts of a branch that are read often lie close together. A **branch record** is the number of entries below
//! the child (8) and the suffix of the separator. The prefix that all separators share is stored once, behind the header,
//! zero-padded to a multiple of 8 bytes. Slot 0 has no separator (head 0, suffix length 0): its child holds whatever is less than
//! the separator in slot 1. The child in slot i holds the keys from separator i on.
//!
//! A **large value** is a run of whole pages without a header: the value, then zeros to the end of the page.
//!
//! ## Catalog and buckets
//!
//! The catalog is a tree like any other. It maps the name of a bucket (1 to 255 bytes of UTF-8) to a *bucket record* of 32
//! bytes: a tree record (24), flags (4; 0), zero (4).
//!
//! ## Space log ([`space_log`])
//!
//! The set of free pages is the result of replaying *space records*: first those of the log pages, oldest page first, then
//! those in the meta. A record is: transaction id (1 word), then a word with the number of extents taken (upper 32
//! bits) and freed (lower 32 bits), then one word for each extent, taken ones first: first page (upper 40 bits), page count
//! (lower 24 bits). Replaying it removes every taken page from the set and adds every freed page. Removing what is not
//! there, or adding what is there, does nothing.
//!
//! A log page is: the header (slot count: number of words), then the previous (older) log page (8), then the lap and the
//! first and last-plus-one page of its *sweep* (8 each), then the words. The chain has as many pages as the meta says; the
//! `previous` of the last one means nothing. So that the oldest page can always be dropped, each new log page also restates
//! a part of the set, the pages of its sweep, as a record that takes the whole range and frees what is free in it. When a
//! later sweep has come round to where a page's own sweep ended, that page has nothing left to say.

pub(crate) mod branch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod large;
pub(crate) mod leaf;
pub(crate) mod meta;
pub(crate) mod space_log;
mod uniform;

use std::fmt;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};

/// The number of a page in the file; or, while a transaction has it dirty, an index into its arena, tagged in the top bit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PageNo(u64);

impl PageNo {
    const DIRTY: u64 = 1 << 63;

    pub(crate) const NONE: PageNo = PageNo(0);

    #[inline]
    pub(crate) const fn new(no: u64) -> PageNo {
        PageNo(no)
    }

    #[inline]
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn dirty(index: usize) -> PageNo {
        PageNo(index as u64 | PageNo::DIRTY)
    }

    /// The arena index, if the page is dirty.
    #[inline]
    pub(crate) const fn as_dirty(self) -> Option<usize> {
        if self.0 & PageNo::DIRTY != 0 { Some((self.0 & !PageNo::DIRTY) as usize) } else { None }
    }
}

/// The id of a transaction. Ids grow by one with each commit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TxnId(u64);

impl TxnId {
    pub(crate) const fn new(id: u64) -> TxnId {
        TxnId(id)
    }

    /// The id as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn next(self) -> TxnId {
        TxnId(self.0 + 1)
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(crate) const PAGE_LEN_MIN: usize = 4096;
pub(crate) const PAGE_LEN_MAX: usize = 65536;

/// The pages that the meta slots A and B begin.
pub(crate) const SLOT_PAGES: [u64; 2] = [0, 8];

/// The first page that does not lie beside a meta slot; no file has fewer pages.
pub(crate) const BESIDE_END: u64 = 16;

/// Whether a page is a meta slot's.
pub(crate) fn is_slot(no: u64) -> bool {
    SLOT_PAGES.contains(&no)
}

/// No tree is deeper. With two entries a page, the least that a page can hold, that is four billion leaves.
pub(crate) const DEPTH_MAX: usize = 32;

pub(crate) const HEADER_LEN: usize = 32;
pub(crate) const SLOT_LEN: usize = 8;

/// The header of leaf, branch and space log pages. See the table above.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) checksum: U32,
    pub(crate) kind: u8,
    pub(crate) level: u8,
    pub(crate) slot_count: U16,
    pub(crate) no: U64,
    pub(crate) born: U64,
    pub(crate) heap_len: U16,
    pub(crate) dead_len: U16,
    pub(crate) prefix_len: U16,
    pub(crate) flags: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN);

/// A slot of a leaf.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct Slot {
    pub(crate) head: U32,
    pub(crate) at: U16,
    pub(crate) key_len: U16,
}

const _: () = assert!(size_of::<Slot>() == SLOT_LEN);

/// Root, entry count and depth of a tree, as the meta and the bucket records hold them.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct TreeRecord {
    pub(crate) root: U64,
    pub(crate) entry_count: U64,
    pub(crate) depth: u8,
    pub(crate) zero: [u8; 7],
}

const _: () = assert!(size_of::<TreeRecord>() == 24);

/// The value that the catalog holds for a bucket.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct BucketRecord {
    pub(crate) tree: TreeRecord,
    pub(crate) flags: U32,
    pub(crate) zero: U32,
}

const _: () = assert!(size_of::<BucketRecord>() == 32);

pub(crate) const LEAF: u8 = 1;
pub(crate) const BRANCH: u8 = 2;
pub(crate) const SPACE_LOG: u8 = 3;

/// Header flag of a leaf: one of its values is large.
pub(crate) const HAS_LARGE: u16 = 1;

/// Header flag of a leaf: all its keys are of one length and all its values of another.
pub(crate) const UNIFORM: u16 = 2;

/// The longest key, in bytes: three of them and their records fit a branch, two a leaf.
pub(crate) const fn key_max(page_len: usize) -> usize {
    (page_len - HEADER_LEN) / 2 - 48
}

/// A leaf record (with its slot) above this length moves its value out of the page.
pub(crate) const fn inline_max(page_len: usize) -> usize {
    (page_len - HEADER_LEN) / 2
}

/// The longest value, in bytes: 1 TiB.
pub(crate) const VALUE_MAX: u64 = 1 << 40;

/// The header of a page that is known to be as long as one.
#[inline]
pub(crate) fn header(page: &[u8]) -> &Header {
    Header::ref_from_prefix(page).expect("a page is longer than its header").0
}

#[inline]
pub(crate) fn header_mut(page: &mut [u8]) -> &mut Header {
    Header::mut_from_prefix(page).expect("a page is longer than its header").0
}

/// Makes a zeroed buffer an empty page.
pub(crate) fn init(page: &mut [u8], kind: u8, level: u8) {
    let header = header_mut(page);
    header.kind = kind;
    header.level = level;
}

/// Writes number, birth and checksum: the last thing that happens to a page before it goes to the store.
pub(crate) fn seal(page: &mut [u8], no: PageNo, born: TxnId) {
    let header = header_mut(page);
    header.no = U64::new(no.get());
    header.born = U64::new(born.get());
    let checksum = crc32c::crc32c(&page[4..]);
    header_mut(page).checksum = U32::new(checksum);
}

/// What stands for a page in the digest of a meta: its first four bytes, and the checksum of the rest. For a page with a header
/// the two are the same, and known when it is sealed.
pub(crate) fn digest_part(page: &[u8]) -> [u8; 8] {
    let mut part = [0; 8];
    part[..4].copy_from_slice(&page[..4]);
    part[4..].copy_from_slice(&crc32c::crc32c(&page[4..]).to_le_bytes());
    part
}

/// Like [`digest_part`], for a page that was just sealed.
pub(crate) fn sealed_digest_part(page: &[u8]) -> [u8; 8] {
    let mut part = [0; 8];
    part[..4].copy_from_slice(&page[..4]);
    part[4..].copy_from_slice(&page[..4]);
    part
}

/// A page that makes no sense where it was read. It carries no words, so that the paths that find nothing wrong carry none
/// either; what is wrong is found out when it becomes an [`Error`].
#[derive(Clone, Copy)]
pub(crate) struct Malformed<'a>(&'a [u8]);

impl std::fmt::Debug for Malformed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Malformed").field(&header(self.0).no.get()).finish()
    }
}

impl From<Malformed<'_>> for Error {
    #[cold]
    fn from(Malformed(page): Malformed<'_>) -> Error {
        let what = verify_structure(page).err();
        corrupt(page, what.unwrap_or("a page of another kind or level than belongs here"))
    }
}

#[cold]
pub(crate) fn corrupt(page: &[u8], what: &'static str) -> Error {
    Error::Corrupt { page: Header::ref_from_prefix(page).map_or(0, |(header, _)| header.no.get()), what }
}

/// Checksum, own number and structure of a page: what is checked once, before anything in the page is believed.
pub(crate) fn verify(page: &[u8], no: PageNo) -> Result<()> {
    let bad = |what| Err(Error::Corrupt { page: no.get(), what });
    let header = header(page);
    if header.checksum.get() != crc32c::crc32c(&page[4..]) {
        return bad("checksum mismatch");
    }
    if header.no.get() != no.get() {
        return bad("the page carries another page's number");
    }
    verify_structure(page).or_else(bad)
}

/// Whether a page's slots and records are in bounds, in order, and described rightly.
pub(crate) fn verify_structure(page: &[u8]) -> Result<(), &'static str> {
    match header(page).kind {
        LEAF => leaf::verify(page),
        BRANCH => branch::verify(page),
        SPACE_LOG => space_log::verify(page),
        _ => Err("unknown kind of page"),
    }
}

/// The four bytes that stand for a key in its slot: `rest` is the key behind the page's prefix.
#[inline]
pub(crate) fn head_of(rest: &[u8]) -> u32 {
    match rest.first_chunk::<4>() {
        Some(four) => u32::from_be_bytes(*four),
        None => {
            let mut four = [0; 4];
            four[..rest.len()].copy_from_slice(rest);
            u32::from_be_bytes(four)
        }
    }
}

/// Something with a head to search by.
pub(crate) trait Head {
    fn head(&self) -> u32;
}

impl Head for Slot {
    #[inline]
    fn head(&self) -> u32 {
        self.head.get()
    }
}

impl Head for U32 {
    #[inline]
    fn head(&self) -> u32 {
        self.get()
    }
}

/// So many heads are counted rather than halved: counting is a few vector instructions that wait for nothing, while each step of a
/// binary search waits for the one before.
const COUNTED: usize = 16;

/// The number of slots whose head is less than `head`, without a branch to mispredict.
#[inline]
pub(crate) fn lower_bound<S: Head>(slots: &[S], head: u32) -> usize {
    let count = |slots: &[S]| slots.iter().map(|slot| u32::from(slot.head() < head)).sum::<u32>() as usize;
    let (mut at, mut len) = (0, slots.len());
    while len > COUNTED {
        let half = len / 2;
        at = std::hint::select_unpredictable(slots[at + half - 1].head() < head, at + half, at);
        len -= half;
    }
    // Heads before the ones that are left are less, and those behind are not: so always the same number is counted, where there are
    // as many, and nothing depends on how many are left.
    let at = at.min(slots.len().saturating_sub(COUNTED));
    match slots[at..].first_chunk::<COUNTED>() {
        Some(window) => at + count(window),
        None => count(slots),
    }
}

/// The slots from `from` on whose head is `head`, where `from` is their lower bound: almost always none or one.
#[inline]
pub(crate) fn equal_run<S: Head>(slots: &[S], from: usize, head: u32) -> std::ops::Range<usize> {
    let is = |i: usize| slots.get(i).is_some_and(|slot| slot.head() == head);
    if !is(from) {
        from..from
    } else if !is(from + 1) {
        from..from + 1
    } else if head == u32::MAX {
        from..slots.len()
    } else {
        from..from + lower_bound(&slots[from..], head + 1)
    }
}

/// Which bytes of a page belong to a record: a bit each, so that overlaps are found without a sort or an allocation.
struct Coverage([u64; PAGE_LEN_MAX / 64]);

impl Coverage {
    fn new() -> Coverage {
        Coverage([0; PAGE_LEN_MAX / 64])
    }

    /// Adds a record that lies inside the page. False if a byte of it is taken.
    fn add(&mut self, at: usize, len: usize) -> bool {
        let (mut at, end) = (at, at + len);
        while at < end {
            let (bit, count) = (at % 64, (64 - at % 64).min(end - at));
            let mask = (u64::MAX >> (64 - count)) << bit;
            let word = &mut self.0[at / 64];
            if *word & mask != 0 {
                return false;
            }
            *word |= mask;
            at += count;
        }
        true
    }
}

/// The length of the longest common prefix.
pub(crate) fn common_prefix_len(a: &[u8], b: &[u8]) -> usize {
    let mut len = 0;
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let x = u64::from_le_bytes(x.try_into().expect("eight bytes"));
        let y = u64::from_le_bytes(y.try_into().expect("eight bytes"));
        if x != y {
            return len + (x ^ y).trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    len + a[len..].iter().zip(&b[len..]).take_while(|(x, y)| x == y).count()
}

/// Slots of a page whose slot array starts `at` bytes into it.
#[inline]
fn slots_at(page: &[u8], at: usize, count: usize) -> Option<&[Slot]> {
    let bytes = page.get(at..at + count * SLOT_LEN)?;
    <[Slot]>::ref_from_bytes(bytes).ok()
}

fn slots_at_mut(page: &mut [u8], at: usize, count: usize) -> &mut [Slot] {
    <[Slot]>::mut_from_bytes(&mut page[at..at + count * SLOT_LEN]).expect("a whole number of slots")
}

/// Opens a gap at slot `i` of `count` slots that start at `at`, and fills it.
fn insert_slot(page: &mut [u8], at: usize, count: usize, i: usize, slot: Slot) {
    let from = at + i * SLOT_LEN;
    page.copy_within(from..at + count * SLOT_LEN, from + SLOT_LEN);
    page[from..from + SLOT_LEN].copy_from_slice(slot.as_bytes());
    header_mut(page).slot_count = U16::new((count + 1) as u16);
}

/// Closes slots `range` of `count` slots that start at `at`.
fn remove_slots(page: &mut [u8], at: usize, count: usize, range: std::ops::Range<usize>) {
    let end = at + count * SLOT_LEN;
    let gone = range.len() * SLOT_LEN;
    page.copy_within(at + range.end * SLOT_LEN..end, at + range.start * SLOT_LEN);
    page[end - gone..end].fill(0);
    header_mut(page).slot_count = U16::new((count - range.len()) as u16);
}

/// Moves what is not in the slots `gone` of `count`, which ascend, to where it is to be: `copy` does that for slots in a row. Returns how many
/// are left.
fn keep_others(gone: &[usize], count: usize, mut copy: impl FnMut(std::ops::Range<usize>, usize)) -> usize {
    let ends = gone.iter().copied().skip(1).chain([count]);
    let mut left = gone.first().copied().unwrap_or(count);
    for (start, end) in gone.iter().map(|slot| slot + 1).zip(ends) {
        if start < end {
            copy(start..end, left);
            left += end - start;
        }
    }
    left
}

/// Lets go of the `len` bytes of a record: gives them back to the gap if they border on it, else counts them as dead.
fn release_record(page: &mut [u8], at: usize, len: usize) {
    page[at..at + len].fill(0);
    let heap_at = page.len() - usize::from(header(page).heap_len.get());
    let header = header_mut(page);
    if at == heap_at {
        header.heap_len -= len as u16;
    } else {
        header.dead_len += len as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(heads: &[u32]) -> Vec<Slot> {
        heads.iter().map(|&head| Slot { head: U32::new(head), at: U16::ZERO, key_len: U16::ZERO }).collect()
    }

    #[test]
    fn lower_bound_and_equal_run_agree_with_a_linear_search() {
        quickcheck::quickcheck(
            (|mut heads: Vec<u32>, probe: u32| {
                heads.iter_mut().for_each(|head| *head = if *head % 7 == 0 { u32::MAX } else { *head % 20 });
                heads.sort();
                let slots = slots(&heads);
                [probe % 25, u32::MAX, 0].into_iter().all(|head| {
                    let lower = heads.iter().filter(|&&x| x < head).count();
                    let upper = heads.iter().filter(|&&x| x <= head).count();
                    lower_bound(&slots, head) == lower && equal_run(&slots, lower, head) == (lower..upper)
                })
            }) as fn(Vec<u32>, u32) -> bool,
        );
    }

    #[test]
    fn heads_order_as_keys_do() {
        assert_eq!(head_of(b""), 0);
        assert_eq!(head_of(b"a"), 0x6100_0000);
        assert_eq!(head_of(b"abcde"), 0x6162_6364);
        quickcheck::quickcheck(
            (|a: Vec<u8>, b: Vec<u8>| a > b || head_of(&a) <= head_of(&b)) as fn(Vec<u8>, Vec<u8>) -> bool,
        );
    }

    #[test]
    fn common_prefix_agrees_with_a_linear_count() {
        quickcheck::quickcheck(
            (|mut a: Vec<u8>, b: Vec<u8>, shared: Vec<u8>| {
                let b = [shared.clone(), b].concat();
                a.splice(0..0, shared);
                common_prefix_len(&a, &b) == a.iter().zip(&b).take_while(|(x, y)| x == y).count()
            }) as fn(Vec<u8>, Vec<u8>, Vec<u8>) -> bool,
        );
    }
}
