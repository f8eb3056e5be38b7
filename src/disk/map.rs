//! The mapping: pages as slices of memory, each verified once. The only unsafe code of the library is here.
//!
//! The argument. A [`Region`] is a mapping of a file, shared and read-only, or of anonymous memory. No slice ever spans
//! more than the page or the pages of the large value that was asked for, and:
//!
//! - M1: a slice lies inside the region, and inside the part of the file that exists (`limit`). The file is never cut
//!   below a pinned snapshot, and `limit` is lowered before the file is cut.
//! - M2: the bytes of a slice stay unwritten while it lives. Slices are lent to holders of a pinned snapshot, or of the
//!   write transaction; pages that a pinned snapshot can reach are never written, and the writer writes only pages that it
//!   took for itself, under `&mut`. (`Store::rewrite` gives a file the bytes that it shows already: nobody can see that.)
//!   Meta slots, the one thing that is overwritten, are never lent: they are read with `read_at`.
//! - M3: nobody else writes the file: it is locked. The lock is advisory, so a program that ignores it is outside the
//!   contract, as it is for every database on a memory map; see the crate docs.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};
use zerocopy::FromZeros;

use crate::error::{Error, Result};
use crate::options::Verify;
use crate::page::large::LargeRef;
use crate::page::space_log::Extent;
use crate::page::{self, PageNo, TxnId, is_slot};

/// What is called cold of a folio that is to be split: one page of memory, so less than the folio. Where pages of memory are larger, the
/// system refuses, and nothing is split.
#[cfg(target_os = "linux")]
const SMALL_FOLIO_LEN: usize = 4096;

/// A mapping, shared by whoever needs it.
#[derive(Clone)]
pub(crate) struct Region {
    raw: Arc<MmapRaw>,
}

impl Region {
    /// Maps the first `len` bytes of a file, of which not all need exist.
    pub(crate) fn file(file: &File, len: u64, advice: Option<Advice>, prefault: bool) -> io::Result<Region> {
        let raw = MmapOptions::new().len(to_usize(len)?).map_raw_read_only(file)?;
        if let Some(advice) = advice {
            raw.advise(advice)?;
        }
        if prefault {
            let existing = to_usize(file.metadata()?.len().min(len))?;
            raw.advise_range(Advice::WillNeed, 0, existing)?;
        }
        Ok(Region { raw: Arc::new(raw) })
    }

    /// Anonymous memory, zeroed. Untouched pages take no memory.
    pub(crate) fn anonymous(len: u64) -> io::Result<Region> {
        let map = MmapOptions::new().len(to_usize(len.max(1))?).no_reserve_swap().map_anon()?;
        Ok(Region { raw: Arc::new(MmapRaw::from(map)) })
    }

    pub(crate) fn len(&self) -> u64 {
        self.raw.len() as u64
    }

    /// Asks the system to keep the bytes around `at` in small pieces of memory. Linux splits a large folio when a part of it is called
    /// cold that is mapped. Where it does not, nothing is lost but time. What is not in memory is not read for that.
    #[cfg(target_os = "linux")]
    fn split_folio(&self, at: u64) {
        let at = at as usize & !(SMALL_FOLIO_LEN - 1);
        if at + SMALL_FOLIO_LEN > self.raw.len() {
            return;
        }
        // SAFETY: the range lies in the mapping (checked above).
        let start = unsafe { self.raw.as_mut_ptr().add(at).cast() };
        let mut is_resident = [0];
        // SAFETY: the range is as above, and one page or a part of one, about which the system says one byte.
        let asked = unsafe { libc::mincore(start, SMALL_FOLIO_LEN, is_resident.as_mut_ptr()) };
        if asked == 0 && is_resident[0] & 1 == 0 {
            return;
        }
        let _unmapped = self.raw.advise_range(Advice::PopulateRead, at, SMALL_FOLIO_LEN);
        // SAFETY: the range is as above, and the advice changes no byte of it.
        let _unheard = unsafe { libc::madvise(start, SMALL_FOLIO_LEN, libc::MADV_COLD) };
    }

    #[cfg(not(target_os = "linux"))]
    fn split_folio(&self, _at: u64) {}

    /// Copies bytes into an anonymous region; out of bounds is a panic.
    pub(crate) fn write(&self, bytes: &[u8], at: u64) {
        let at = self.check(bytes.len(), at);
        // SAFETY: in bounds (checked above); the memory is writable, since only anonymous regions are written; no slice of
        // these bytes is alive (M2), and `bytes` is one of the caller's, so the two do not overlap.
        unsafe { self.raw.as_mut_ptr().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// Copies bytes out; out of bounds is a panic.
    pub(crate) fn read(&self, bytes: &mut [u8], at: u64) {
        let at = self.check(bytes.len(), at);
        // SAFETY: in bounds (checked above); `bytes` is borrowed mutably and so no part of the region. The caller holds the
        // store's lock, under which every write happens.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(self.raw.as_ptr().add(at), bytes.len()) }
    }

    /// Copies the first `len` bytes to another anonymous region.
    pub(crate) fn copy_to(&self, other: &Region, len: u64) {
        let len = len as usize;
        assert!(len <= self.raw.len() && len <= other.raw.len(), "both regions hold the bytes");
        // SAFETY: in bounds (checked above); two mappings do not overlap; `other` is new, so no slice of it is alive.
        unsafe { other.raw.as_mut_ptr().copy_from_nonoverlapping(self.raw.as_ptr(), len) }
    }

    fn check(&self, len: usize, at: u64) -> usize {
        let end = at.checked_add(len as u64);
        assert!(end.is_some_and(|end| end <= self.len()), "access past the end of a region");
        at as usize
    }
}

/// Makes a file of `from` bytes `len` bytes long, with blocks on the disk for what is new. Not by fs2: that looks for the error where
/// `posix_fallocate` does not leave it, so it cannot tell that the disk is full; and it names the whole file, of which the C library
/// then writes into every block where the file system lacks the call.
#[cfg(target_os = "linux")]
pub(crate) fn allocate(file: &File, from: u64, len: u64) -> io::Result<()> {
    let offset = |at: u64| libc::off_t::try_from(at).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    offset(len)?;
    let (mut at, mut piece) = (from, len - from);
    while at < len {
        let count = piece.min(len - at);
        // SAFETY: the descriptor is open as long as `file` is borrowed, and the call touches no memory of ours.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), offset(at)?, offset(count)?) } {
            0 => at += count,
            // Some file systems then give back all that the call had allocated (tmpfs before Linux 6.11). In pieces that are short enough it
            // gets through between two signals.
            libc::EINTR => piece = (count / 2).max(ALLOCATE_MIN),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
    Ok(())
}

/// So little is allocated sooner than signals come.
#[cfg(target_os = "linux")]
const ALLOCATE_MIN: u64 = 64 << 10;

/// Elsewhere without blocks: then a full disk is an error of the write.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allocate(file: &File, _from: u64, len: u64) -> io::Result<()> {
    file.set_len(len)
}

/// Has the system begin to write a part of a file to the disk, and does not wait for the disk, unless that has no room in its queue. If
/// it fails, the next sync says so.
#[cfg(target_os = "linux")]
pub(crate) fn begin_writing(file: &File, at: u64, len: u64) {
    // SAFETY: the descriptor is open as long as `file` is borrowed, and the call touches no memory of ours.
    let _unheard =
        unsafe { libc::sync_file_range(file.as_raw_fd(), at as i64, len as i64, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn begin_writing(_file: &File, _at: u64, _len: u64) {}

fn to_usize(len: u64) -> io::Result<usize> {
    usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// A region seen as pages, with a bit for each that says whether it was verified.
pub(crate) struct Map {
    region: Region,
    page_shift: u32,
    /// How many pages exist in the store.
    limit: AtomicU64,
    verify: Verify,
    /// The transaction that was found at open: what was born later was born here.
    opened: TxnId,
    /// A bit for each page that was verified as a page.
    pages: Bits,
    /// A bit for each page that this process wrote.
    written: Bits,
    values: Values,
}

/// What stands for a reference to a large value among the verified ones; not 0.
fn token(large: &LargeRef) -> u32 {
    let len = large.len();
    (large.checksum() ^ (len as u32).wrapping_mul(0x9e37_79b1) ^ (len >> 32) as u32).max(1)
}

/// Zeroed atomics, from memory that the allocator does not touch before it is used: opening a large file takes no longer.
fn zeroed<T: FromZeros>(count: u64) -> io::Result<Box<[T]>> {
    <[T]>::new_box_zeroed_with_elems(to_usize(count)?).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// A bit for each page.
struct Bits(Box<[AtomicU64]>);

impl Bits {
    fn new(count: u64) -> io::Result<Bits> {
        Ok(Bits(zeroed(count.div_ceil(64))?))
    }

    fn inherit(&self, previous: &Bits) {
        for (new, old) in self.0.iter().zip(&previous.0) {
            new.store(old.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    #[inline]
    fn get(&self, no: u64) -> bool {
        let word = self.0.get((no / 64) as usize);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (no % 64)) != 0)
    }

    fn set(&self, no: u64) {
        if let Some(word) = self.0.get((no / 64) as usize) {
            word.fetch_or(1 << (no % 64), Ordering::Relaxed);
        }
    }

    fn clear(&self, no: u64) {
        if let Some(word) = self.0.get((no / 64) as usize) {
            word.fetch_and(!(1 << (no % 64)), Ordering::Relaxed);
        }
    }
}

/// For each first page of a large value that was verified: what its reference said, as a token; 0 for other pages. A part of them takes
/// memory only once there is one. Where there is no memory for it, values are verified each time.
struct Values(Box<[OnceLock<Box<[AtomicU32]>>]>);

/// How many pages one part of the tokens is for.
const VALUES_PART: u64 = 1 << 16;

impl Values {
    fn new(page_count: u64) -> Values {
        Values((0..page_count.div_ceil(VALUES_PART)).map(|_| OnceLock::new()).collect())
    }

    fn get(&self, no: u64) -> u32 {
        let part = self.0.get((no / VALUES_PART) as usize).and_then(OnceLock::get);
        let known = part.and_then(|part| part.get((no % VALUES_PART) as usize));
        known.map_or(0, |known| known.load(Ordering::Relaxed))
    }

    fn set(&self, no: u64, token: u32) {
        let Some(part) = self.0.get((no / VALUES_PART) as usize) else { return };
        let part = part.get_or_init(|| zeroed(VALUES_PART).unwrap_or_default());
        if let Some(known) = part.get((no % VALUES_PART) as usize) {
            known.store(token, Ordering::Relaxed);
        }
    }
}

impl Map {
    /// `opened` is the transaction that was found at open.
    pub(crate) fn new(region: Region, page_len: usize, limit: u64, verify: Verify, opened: TxnId) -> io::Result<Map> {
        let page_shift = page_len.trailing_zeros();
        let pages = region.len() >> page_shift;
        let limit = AtomicU64::new(limit.min(pages));
        let (known, written) = (Bits::new(pages)?, Bits::new(pages)?);
        Ok(Map { region, page_shift, limit, verify, opened, pages: known, written, values: Values::new(pages) })
    }

    /// The bytes around `at` are to lie in small pieces of memory, since single pages there are about to be written.
    pub(crate) fn split_folio(&self, at: u64) {
        self.region.split_folio(at);
    }

    /// How many pages the address space has room for.
    pub(crate) fn capacity(&self) -> u64 {
        self.region.len() >> self.page_shift
    }

    /// Sets how many pages exist: after the store has grown, before it is cut.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit.min(self.capacity()), Ordering::Relaxed);
    }

    /// Takes over from the map before this one what is known to be good.
    pub(crate) fn inherit(&self, previous: &Map) {
        self.pages.inherit(&previous.pages);
        self.written.inherit(&previous.written);
        // Values are verified again: there are fewer of them, and to copy what is known would touch it all.
    }

    pub(crate) fn page_len(&self) -> usize {
        1 << self.page_shift
    }

    /// A page. Verified according to the options.
    #[inline]
    pub(crate) fn page(&self, no: PageNo) -> Result<&[u8]> {
        let page = self.slice(no, 1, self.page_len())?;
        if !self.pages.get(no.get()) {
            self.verify_page(no, page)?;
        }
        Ok(page)
    }

    /// A large value. Its checksum is verified according to the options.
    pub(crate) fn large(&self, large: &LargeRef) -> Result<&[u8]> {
        let no = large.page();
        let Ok(len) = usize::try_from(large.len()) else {
            return Err(Error::Corrupt { page: no.get(), what: "a large value that is too large" });
        };
        let page_count = large.page_count(self.page_len());
        let value = self.slice(no, page_count, len)?;
        if Extent::new(no.get(), page_count).has_slot() {
            return Err(outside(no));
        }
        if self.values.get(no.get()) != token(large) {
            self.verify_large(large, value)?;
        }
        Ok(value)
    }

    /// A page, or the pages of a large value, of which nothing is verified.
    pub(crate) fn raw(&self, extent: Extent) -> Result<&[u8]> {
        let no = PageNo::new(extent.first);
        let len = usize::try_from(extent.count).ok().and_then(|count| count.checked_mul(self.page_len()));
        let pages = self.slice(no, extent.count, len.ok_or_else(|| outside(no))?)?;
        if extent.has_slot() { Err(outside(no)) } else { Ok(pages) }
    }

    #[inline]
    fn slice(&self, no: PageNo, page_count: u64, len: usize) -> Result<&[u8]> {
        let limit = self.limit.load(Ordering::Relaxed);
        if no.get() >= limit || page_count > limit - no.get() {
            return Err(outside(no));
        }
        let at = (no.get() << self.page_shift) as usize;
        // SAFETY: M1: the pages `no .. no + page_count` are below `limit`, which is at most `capacity`, and `len` bytes
        // fit in them. M2 and M3: they stay unwritten while the slice lives.
        Ok(unsafe { slice::from_raw_parts(self.region.raw.as_ptr().add(at), len) })
    }

    /// The pages of an extent are good: this process wrote them.
    pub(crate) fn set_written(&self, first: u64, count: u64) {
        (first..first + count).for_each(|no| {
            self.written.set(no);
            self.forget_large(no);
        });
        if self.verify != Verify::Always {
            (first..first + count).for_each(|no| self.pages.set(no));
        }
    }

    /// Whether a page was born when it says. One born after the transaction that was found at open was written by this process; else
    /// it is of a transaction that never came about, in the place of a page that the snapshot means, or it is forged, and would be
    /// freed under the readers that see it.
    pub(crate) fn verify_birth(&self, no: PageNo, born: TxnId) -> Result<()> {
        if born <= self.opened || self.written.get(no.get()) {
            return Ok(());
        }
        Err(Error::Corrupt { page: no.get(), what: "a page of a transaction that never came about" })
    }

    /// There is no large value at a page any more: a reference to it, which only a damaged file has, is to be verified.
    pub(crate) fn forget_large(&self, no: u64) {
        if self.values.get(no) != 0 {
            self.values.set(no, 0);
        }
    }

    /// So is a large value, and its `count` pages are not pages of a tree.
    pub(crate) fn set_written_large(&self, large: &LargeRef, count: u64) {
        let first = large.page().get();
        (first..first + count).for_each(|no| {
            self.written.set(no);
            self.pages.clear(no);
            self.forget_large(no);
        });
        self.set_verified_large(large);
    }

    fn set_verified_large(&self, large: &LargeRef) {
        if self.verify != Verify::Always {
            self.values.set(large.page().get(), token(large));
        }
    }

    /// Whether a page is verified each time that it is read.
    #[inline]
    pub(crate) fn verifies_always(&self) -> bool {
        self.verify == Verify::Always
    }

    #[cold]
    fn verify_page(&self, no: PageNo, page: &[u8]) -> Result<()> {
        // A slot's bit is never set, so it always comes this way.
        if is_slot(no.get()) {
            return Err(outside(no));
        }
        // A page that gives another number is not believed at all: whatever is wrong with it would be told of that one.
        if self.verify != Verify::Never || page::header(page).no.get() != no.get() {
            page::verify(page, no)?;
            self.verify_birth(no, TxnId::new(page::header(page).born.get()))?;
        }
        if self.verify != Verify::Always {
            self.pages.set(no.get());
        }
        Ok(())
    }

    #[cold]
    fn verify_large(&self, large: &LargeRef, value: &[u8]) -> Result<()> {
        if self.verify != Verify::Never {
            if crc32c::crc32c(value) != large.checksum() {
                return Err(Error::Corrupt { page: large.page().get(), what: "a large value fails its checksum" });
            }
            self.verify_birth(large.page(), large.born())?;
        }
        self.set_verified_large(large);
        Ok(())
    }

    /// Asks the processor to load `LINES` cache lines of a page. Does nothing where there is no such page.
    #[inline]
    pub(crate) fn prefetch<const LINES: usize>(&self, no: PageNo, at: usize) {
        if no.get() >= self.limit.load(Ordering::Relaxed) {
            return;
        }
        let at = (no.get() << self.page_shift) as usize + at;
        for line in 0..LINES {
            prefetch_line(self.region.raw.as_ptr().wrapping_add(at + line * 64));
        }
    }
}

/// The same for a page in memory.
#[inline]
pub(crate) fn prefetch<const LINES: usize>(page: &[u8], at: usize) {
    for line in 0..LINES {
        prefetch_line(page.as_ptr().wrapping_add(at + line * 64));
    }
}

#[inline]
fn prefetch_line(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint: it reads nothing and faults on no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(line);
}

#[cold]
fn outside(no: PageNo) -> Error {
    Error::Corrupt { page: no.get(), what: "a page number outside the file" }
}

/// Memory of this process alone, in whole pages. It begins at a page, as that does which is copied to it and from it. Large memory of
/// `malloc` begins 16 bytes behind one, and from a page to there `rep movsb`, by which glibc and Linux copy, is slow on AMD's processors.
pub(crate) struct Memory(MmapMut);

impl Memory {
    /// Zeroed memory. Some takes none until it is touched; if `now`, all of it is there at once, which costs a third less than a page
    /// fault for each of its pages.
    pub(crate) fn zeroed(len: usize, now: bool) -> Memory {
        let layout = Layout::array::<u8>(len).expect("no more than there can be");
        let mut options = MmapOptions::new();
        options.len(len);
        let map = if now { options.populate().map_anon() } else { options.map_anon() };
        Memory(map.unwrap_or_else(|_| handle_alloc_error(layout)))
    }
}

impl std::ops::Deref for Memory {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::DerefMut for Memory {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Tells a forked child from the process that made the guard, without a system call: by a word that is zero in the child.
///
/// The C library clears it there (`pthread_atfork`), and so does the kernel where it can (`MADV_WIPEONFORK`, since Linux 4.14), also after a
/// fork that the C library does not know of. A child that opens databases of its own sets it to a number that no guard from before
/// the fork has.
pub(crate) struct ForkGuard {
    word: &'static AtomicU64,
    generation: u64,
    process: u32,
}

/// Where the word lies: a mapping of its own, since the kernel clears whole pages.
static FORK_WORD: OnceLock<Region> = OnceLock::new();

impl ForkGuard {
    pub(crate) fn new() -> io::Result<ForkGuard> {
        // Memory that is not cleared, so a child goes on counting where its parent was.
        static GENERATIONS: AtomicU64 = AtomicU64::new(0);
        let word = fork_word()?;
        let next = GENERATIONS.fetch_add(1, Ordering::Relaxed) + 1;
        let generation = match word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => next,
            Err(current) => current,
        };
        Ok(ForkGuard { word, generation, process: std::process::id() })
    }

    /// Whether this is still the process that made the guard. A child that neither the kernel nor the C library has told of it is taken
    /// for its parent.
    #[inline]
    pub(crate) fn is_intact(&self) -> bool {
        self.word.load(Ordering::Relaxed) == self.generation
    }

    /// The same without that exception, for a system call.
    pub(crate) fn is_own_process(&self) -> bool {
        self.is_intact() && self.process == std::process::id()
    }
}

/// The word, which is mapped and to be cleared in children from the first call on.
fn fork_word() -> io::Result<&'static AtomicU64> {
    if FORK_WORD.get().is_none() {
        let region = Region::anonymous(PAGE)?;
        #[cfg(target_os = "linux")]
        // SAFETY: the range is a private anonymous mapping of our own, and to find it cleared is what we want of it. Where the kernel
        // does not know the advice, the C library is left.
        let _unheard =
            unsafe { libc::madvise(region.raw.as_mut_ptr().cast(), region.raw.len(), libc::MADV_WIPEONFORK) };
        // SAFETY: the function does what may be done in the child of a process with threads: it loads and stores atomics. It is
        // there for as long as this code is.
        match unsafe { libc::pthread_atfork(None, None, Some(clear_fork_word)) } {
            0 => FORK_WORD.get_or_init(|| region),
            code => return Err(io::Error::from_raw_os_error(code)),
        };
    }
    Ok(mapped_fork_word().expect("just mapped"))
}

fn mapped_fork_word() -> Option<&'static AtomicU64> {
    let start = FORK_WORD.get()?.raw.as_mut_ptr();
    // SAFETY: a mapping begins at a page, so the word is aligned; a static is never dropped, so it stays mapped; it is zero at first, and
    // then accessed through this atomic alone, but for the kernel, which clears it before the child runs.
    Some(unsafe { AtomicU64::from_ptr(start.cast()) })
}

/// Runs in each forked child.
extern "C" fn clear_fork_word() {
    if let Some(word) = mapped_fork_word() {
        word.store(0, Ordering::Relaxed);
    }
}

/// The length of the word's region: advice goes by pages, of 64 KiB at most.
const PAGE: u64 = 65536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{LEAF, leaf, seal};

    fn sealed(no: u64) -> Vec<u8> {
        let mut page = vec![0; 4096];
        page::init(&mut page, LEAF, 0);
        assert!(leaf::insert(&mut page, 0, b"key", leaf::Value::Inline(b"value")));
        seal(&mut page, PageNo::new(no), TxnId::new(1));
        page
    }

    fn map(pages: &[Vec<u8>], verify: Verify) -> Map {
        let region = Region::anonymous(4096 * 16).unwrap();
        for (i, page) in pages.iter().enumerate() {
            region.write(page, (2 + i as u64) * 4096);
        }
        Map::new(region, 4096, 2 + pages.len() as u64, verify, TxnId::new(1)).unwrap()
    }

    #[test]
    fn memory_begins_at_a_page() {
        for (len, now) in [(4096, false), (2 << 20, false), (2 << 20, true)] {
            let mut memory = Memory::zeroed(len, now);
            assert!(memory.as_ptr().addr().is_multiple_of(4096) && memory.len() == len);
            memory[len - 1] = 1;
            assert!(memory[..len - 1].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_page_is_verified_once_always_or_never() {
        for (verify, after_damage) in [(Verify::Once, true), (Verify::Always, false), (Verify::Never, true)] {
            let map = map(&[sealed(2)], verify);
            assert!(map.page(PageNo::new(2)).is_ok());
            map.region.write(&[0xff], 2 * 4096 + 4090);
            assert_eq!(map.page(PageNo::new(2)).is_ok(), after_damage, "{verify:?}");
        }
    }

    #[test]
    fn a_damaged_page_never_becomes_good() {
        let mut page = sealed(2);
        page[4090] ^= 1;
        let map = map(&[page], Verify::Once);
        for _ in 0..2 {
            assert!(matches!(map.page(PageNo::new(2)), Err(Error::Corrupt { page: 2, .. })));
        }
    }

    #[test]
    fn numbers_outside_the_file_are_refused() {
        for verify in [Verify::Once, Verify::Always, Verify::Never] {
            let map = map(&(2..12).map(sealed).collect::<Vec<_>>(), verify);
            assert!(map.page(PageNo::new(7)).is_ok() && map.page(PageNo::new(9)).is_ok());
            for no in [0, 8, 12, 16, u64::MAX, 1 << 63] {
                assert!(map.page(PageNo::new(no)).is_err(), "page {no}");
            }
            for (no, len) in [(11, 4097), (2, u64::MAX), (u64::MAX, 1), (12, 0), (0, 1), (8, 1), (7, 4097), (2, 40_000)]
            {
                let large = LargeRef::new(PageNo::new(no), len, TxnId::new(1), 0);
                assert!(map.large(&large).is_err(), "{len} bytes at {no}");
            }
            map.prefetch::<4>(PageNo::new(u64::MAX), 0);
        }
    }

    #[test]
    fn the_fork_guard_is_intact_in_its_own_process() {
        let guards = [ForkGuard::new().unwrap(), ForkGuard::new().unwrap()];
        assert!(guards.iter().all(|guard| guard.is_intact() && guard.is_own_process()));
    }
}
