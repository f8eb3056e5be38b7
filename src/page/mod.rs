//! What lies in the file: the views of each kind of page, and the edits of dirty ones. The text of the format follows.
#![doc = include_str!("FORMAT.md")]

pub(crate) mod branch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod large;
pub(crate) mod leaf;
pub(crate) mod meta;
pub(crate) mod space_log;
mod uniform;

use std::fmt;
use std::ops::Range;

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

impl TreeRecord {
    /// Whether the bytes that it does not use are zero.
    fn is_clean(&self) -> bool {
        self.zero == [0; 7]
    }
}

/// The value that the catalog holds for a bucket.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct BucketRecord {
    pub(crate) tree: TreeRecord,
    pub(crate) flags: U32,
    pub(crate) zero: U32,
}

const _: () = assert!(size_of::<BucketRecord>() == 32);

impl BucketRecord {
    /// What in it is not as the format has it, though readers pass over it.
    pub(crate) fn deviation(&self) -> Option<&'static str> {
        if self.flags != U32::ZERO {
            return Some("unknown flags");
        }
        let is_clean = self.tree.is_clean() && self.zero == U32::ZERO;
        (!is_clean).then_some("bytes that are not zero, though nothing uses them")
    }
}

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

/// Demands that a page that was edited is sound, and as the format has it.
#[cfg(test)]
pub(crate) fn expect_sound(page: &[u8]) {
    verify_structure(page).expect("a sound page");
    deviations(page, |what| panic!("{what}"));
}

/// Tells what in a sound page is not as the format has it, though readers pass over it: the page says all that it has to say.
pub(crate) fn deviations(page: &[u8], mut tell: impl FnMut(String)) {
    if let Some(what) = header_deviation(page) {
        tell(what.to_string());
    }
    let stray = match header(page).kind {
        LEAF => leaf::stray_byte(page),
        BRANCH => branch::stray_byte(page),
        _ => space_log::stray_byte(page),
    };
    if let Some(at) = stray {
        tell(format!("byte {at} is not zero, though nothing uses it"));
    }
}

fn header_deviation(page: &[u8]) -> Option<&'static str> {
    let header = header(page);
    let known_flags = if header.kind == LEAF { HAS_LARGE | UNIFORM } else { 0 };
    if header.flags.get() & !known_flags != 0 {
        return Some("unknown flags in the header");
    }
    let is_clean = header.kind != SPACE_LOG
        || (header.level == 0 && [header.heap_len, header.dead_len, header.prefix_len] == [U16::ZERO; 3]);
    (!is_clean).then_some("a field of the header that is not zero, though nothing uses it")
}

/// The first byte of `range` that is not zero.
pub(crate) fn nonzero_in(bytes: &[u8], range: Range<usize>) -> Option<usize> {
    let start = range.start;
    let bytes = bytes.get(range)?;
    // Mostly there is none: then the first is zero, and each is as the one before it.
    let (first, rest) = bytes.split_first()?;
    if *first == 0 && *rest == bytes[..rest.len()] {
        return None;
    }
    bytes.iter().position(|&byte| byte != 0).map(|at| start + at)
}

/// The first byte behind the slots of a sound page that is in no record and not zero. `records` gives place and length of each.
fn stray_byte_behind(page: &[u8], slots_end: usize, records: impl Iterator<Item = (usize, usize)>) -> Option<usize> {
    let header = header(page);
    let heap_at = page.len() - usize::from(header.heap_len.get());
    let in_gap = nonzero_in(page, slots_end..heap_at);
    if in_gap.is_some() || header.dead_len == U16::ZERO {
        return in_gap;
    }
    let mut covered = Coverage::new();
    records.for_each(|(at, len)| {
        covered.add(at, len);
    });
    covered.stray_byte(page, heap_at)
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
pub(crate) fn equal_run<S: Head>(slots: &[S], from: usize, head: u32) -> Range<usize> {
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

    /// The first byte of `page` from `from` on that is in no record and not zero.
    fn stray_byte(&self, page: &[u8], from: usize) -> Option<usize> {
        let words = self.0.iter().zip(page.chunks(64)).enumerate().skip(from / 64);
        words.filter(|(_, (word, _))| **word != u64::MAX).find_map(|(n, (word, bytes))| {
            let is_stray = |&(i, byte): &(usize, &u8)| *byte != 0 && word >> i & 1 == 0 && n * 64 + i >= from;
            bytes.iter().enumerate().find(is_stray).map(|(i, _)| n * 64 + i)
        })
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
fn remove_slots(page: &mut [u8], at: usize, count: usize, range: Range<usize>) {
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

    /// The rows of sixteen bytes that are not all zeros, as the format text shows them.
    fn rows(bytes: &[u8]) -> String {
        let rows = bytes.chunks(16).enumerate().filter(|(_, row)| row.iter().any(|&byte| byte != 0));
        let row = |(i, row): (usize, &[u8])| {
            let digits: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{:04x}  {}  {}\n", i * 16, digits[..8].join(" "), digits[8..].join(" "))
        };
        rows.map(row).collect()
    }

    /// The examples of the format text are what this code writes.
    #[test]
    fn the_examples_in_the_format_text_are_right() {
        let sealed = |kind, level, no, fill: &dyn Fn(&mut [u8])| {
            let mut page = vec![0; 4096];
            init(&mut page, kind, level);
            fill(&mut page);
            seal(&mut page, PageNo::new(no), TxnId::new(7));
            verify(&page, PageNo::new(no)).unwrap();
            rows(&page)
        };
        let leaf = sealed(LEAF, 0, 20, &|page| {
            assert!(leaf::insert(page, 0, b"apple", leaf::Value::Inline(b"red")));
            assert!(leaf::insert(page, 1, b"apricot", leaf::Value::Inline(b"orange")));
        });
        let uniform = sealed(LEAF, 0, 21, &|page| {
            assert!(leaf::insert(page, 0, b"k1", leaf::Value::Inline(b"a")));
            assert!(leaf::insert(page, 1, b"k2", leaf::Value::Inline(b"b")));
        });
        let branch = sealed(BRANCH, 1, 22, &|page| {
            branch::build_root(page, (PageNo::new(20), 2), b"b", (PageNo::new(23), 5));
        });
        let fields = meta::MetaFields {
            page_len: 4096,
            database_id: [0x11; 16],
            txn: TxnId::new(7),
            page_count: 24,
            catalog: TreeRecord { root: U64::new(1), entry_count: U64::new(1), depth: 1, zero: [0; 7] },
            log_head: PageNo::NONE,
            log_count: 0,
            was_as_long: true,
        };
        let extent = space_log::Extent::new;
        let mut words = Vec::new();
        space_log::push_record(&mut words, TxnId::new(7), &[extent(1, 1), extent(20, 4)], &[extent(16, 1)]);
        let meta = rows(meta::Meta::new(fields, meta::Trust::Digest(0x1234_5678), &words).as_bytes());
        let text = include_str!("FORMAT.md");
        for (what, rows) in [("leaf", leaf), ("uniform leaf", uniform), ("branch", branch), ("meta", meta)] {
            assert!(text.contains(&format!("```text\n{rows}```\n")), "the {what} is\n{rows}");
        }
    }
}
